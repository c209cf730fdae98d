//! What our own daemon says, by `routed show … -o json`.

use serde_json::Value;

use super::{Fabric, Seen, as_path, eventually};

/// A peer's row of `routed show peers`.
#[must_use]
pub fn peer(fabric: &Fabric, router: &str, name: &str) -> Value {
    let row = peer_if_known(fabric, router, name);
    assert_ne!(row, Value::Null, "{router} has no peer {name}");
    row
}

/// The same for a dynamic peer, which need not have come yet: then it is `Null`.
fn peer_if_known(fabric: &Fabric, router: &str, name: &str) -> Value {
    let peers = fabric.ask_json(router, &["routed", "show", "peers", "-o", "json"]);
    let rows = peers.as_array().into_iter().flatten();
    rows.into_iter().find(|row| row["name"] == name).cloned().unwrap_or_default()
}

/// Waits until the session with a peer stands. Returns its row of `routed show peers`.
pub fn stands(fabric: &Fabric, router: &str, name: &str) -> Value {
    eventually(
        &format!("{router}'s session with {name} stands"),
        || peer_if_known(fabric, router, name),
        |peer| peer["state"] == "Established",
    )
}

/// Waits until the last error of a peer contains this.
pub fn last_error(fabric: &Fabric, router: &str, name: &str, contains: &str) {
    eventually(
        &format!("{router} says of {name}: {contains}"),
        || peer(fabric, router, name)["last_error"].clone(),
        |error| error.as_str().is_some_and(|error| error.contains(contains)),
    );
}

/// An answer of the daemon's HTTP server, headers included.
#[must_use]
pub fn http(fabric: &Fabric, router: &str, path: &str) -> String {
    // bash speaks TCP, which spares the tests a client.
    let request = format!("GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n");
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/9732 && printf '{request}' >&3 && cat <&3");
    fabric.ask(router, &["bash", "-c", &script])
}

/// What a Prometheus server scrapes.
#[must_use]
pub fn metrics(fabric: &Fabric, router: &str) -> String {
    http(fabric, router, "/metrics")
}

/// What a peer has announced, and our daemon uses.
#[must_use]
pub fn received(fabric: &Fabric, router: &str, name: &str) -> Vec<Seen> {
    let rows = fabric.ask_json(router, &["routed", "show", "received", name, "-o", "json"]);
    let used = |row: &&Value| row["status"] == "best" || row["status"] == "multipath";
    sorted(rows.as_array().into_iter().flatten().filter(used))
}

/// What a peer has announced, whatever became of it.
#[must_use]
pub fn announced(fabric: &Fabric, router: &str, name: &str) -> Vec<Seen> {
    let rows = fabric.ask_json(router, &["routed", "show", "received", name, "-o", "json"]);
    sorted(rows.as_array().into_iter().flatten())
}

/// The row of `routed show bmp` of the one station that there is.
#[must_use]
pub fn station(fabric: &Fabric, router: &str) -> Value {
    let rows = fabric.ask_json(router, &["routed", "show", "bmp", "-o", "json"]);
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    rows[0].clone()
}

/// Puts text in the place of other text in a router's `routed.toml` and reloads it.
pub fn reload(fabric: &Fabric, router: &str, old: &str, new: &str) -> String {
    let file = fabric.path_of(router, "/etc/slash32/routed.toml").expect("a router's own file");
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert!(text.contains(old), "{text}");
    std::fs::write(&file, text.replace(old, new)).expect("it can be written");
    fabric.ask(router, &["routed", "reload"])
}

/// What a peer is told.
#[must_use]
pub fn advertised(fabric: &Fabric, router: &str, name: &str) -> Vec<Seen> {
    let rows = fabric.ask_json(router, &["routed", "show", "advertised", name, "-o", "json"]);
    sorted(rows.as_array().into_iter().flatten().filter(|row| row["advertised"] == true))
}

fn sorted<'a>(rows: impl Iterator<Item = &'a Value>) -> Vec<Seen> {
    let mut seen: Vec<_> = rows.map(seen).collect();
    seen.sort();
    seen
}

fn seen(row: &Value) -> Seen {
    let attributes = &row["attributes"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect();
    Seen {
        prefix: text(&row["prefix"]).parse().expect("a prefix of ours"),
        next_hop: text(&attributes["next_hop"]).parse().expect("a next hop of ours"),
        as_path: as_path(&text(&attributes["as_path"])),
        communities: texts(&attributes["communities"]),
        large_communities: texts(&attributes["large_communities"]),
        med: attributes["med"].as_u64().map(|med| med.try_into().expect("32 bits")),
    }
}
