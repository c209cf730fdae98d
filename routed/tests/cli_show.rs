//! Promises of `routed show`, the administrator's socket and the HTTP endpoints, with two real
//! speakers that peer over loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use bgp::{
    attrs::{Attrs, NextHop},
    prefix::Prefix,
    session::{Cease, State},
};
use routed::{
    admin::AdminServer,
    bmp::StationList,
    config::Config,
    http::HttpServer,
    kernel::watch::Links,
    metrics::Metrics,
    mrt::Recorder,
    peering::{Peering, Peers},
    reload::ReloadHandle,
    sources::Sources,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle};

/// Two speakers, `left` (64512) and `right` (64513), established, each with the faces of a daemon.
struct Pair {
    runtime: Runtime,
    left: Node,
    right: Node,
    _folder: TempDir,
}

struct Node {
    peering: Option<Peering>,
    socket: PathBuf,
    http: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Pair {
    fn established() -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [left_port, right_port] = free_ports();
        let left = Node::start(
            &runtime,
            &folder.path().join("left.sock"),
            &config("left", 1, left_port, ("right", 2, right_port)),
        );
        let right = Node::start(
            &runtime,
            &folder.path().join("right.sock"),
            &config("right", 2, right_port, ("left", 1, left_port)),
        );
        let pair = Self { runtime, left, right, _folder: folder };
        eventually("both are established", || {
            pair.left.is_established() && pair.right.is_established()
        });
        pair
    }

    /// `left` originates a prefix, and `right` knows it.
    fn originate(&self, prefix: &str) {
        let prefix: Prefix = prefix.parse().unwrap();
        let attrs = Arc::new(Attrs::originated(NextHop::new("0.0.0.0".parse().unwrap())));
        let rib = self.left.peering.as_ref().unwrap().rib();
        self.runtime.block_on(rib.originate(prefix, attrs)).unwrap();
        eventually("the route has arrived", || {
            self.right.json(&["routes"]).to_string().contains(&prefix.to_string())
        });
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for node in [&mut self.left, &mut self.right] {
            node.tasks.iter().for_each(JoinHandle::abort);
            if let Some(peering) = node.peering.take() {
                self.runtime.block_on(peering.stop(Cease::AdminShutdown(String::new())));
            }
        }
    }
}

impl Node {
    fn start(runtime: &Runtime, socket: &Path, text: &str) -> Self {
        let config = Config::parse(Path::new("routed.toml"), text).unwrap().config;
        runtime.block_on(async {
            let (peering, _best) =
                Peering::start(&config, watch::channel(Links::default()).1).unwrap();
            let sources = Sources {
                started: Instant::now(),
                peers: peering.peers().clone(),
                rib: peering.rib().clone(),
                pods: None,
                stations: StationList::none(),
                recorder: Recorder::off(),
                cni_socket: None,
                kernel: None,
                cluster: None,
            };
            let admin =
                AdminServer::bind(socket, sources.clone(), ReloadHandle::of_nobody()).unwrap();
            let any = "127.0.0.1:0".parse().unwrap();
            let http = HttpServer::bind(any, Metrics::new(), sources).await.unwrap();
            Self {
                peering: Some(peering),
                socket: socket.to_path_buf(),
                http: http.address().unwrap(),
                tasks: vec![tokio::spawn(admin.run()), tokio::spawn(http.run())],
            }
        })
    }

    fn is_established(&self) -> bool {
        let statuses = self.peering.as_ref().unwrap().statuses();
        statuses.iter().all(|status| status.state == State::Established)
    }

    fn show(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_routed"))
            .arg("show")
            .args(arguments)
            .args(["--socket", self.socket.to_str().unwrap()])
            .output()
            .unwrap()
    }

    fn why(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_routed"))
            .arg("why")
            .args(arguments)
            .args(["--socket", self.socket.to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and what is printed, be it an answer or an error.
    fn policy_test(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_routed"))
            .args(["policy", "test", "--socket"])
            .arg(&self.socket)
            .args(arguments)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    fn table(&self, arguments: &[&str]) -> String {
        let output = self.show(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        serde_json::from_str(&self.table(&arguments)).unwrap()
    }

    fn error(&self, arguments: &[&str]) -> String {
        let output = self.show(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }

    /// Status line's code and the body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

/// Speakers on 127.0.0.N, since a session's ends must differ in their addresses. The second waits
/// for the first: with one connection only, messages can be counted.
fn config(name: &str, number: u8, port: u16, peer: (&str, u8, u16)) -> String {
    let (peer_name, peer_number, peer_port) = peer;
    format!(
        "[node]\nname = \"{name}\"\nmode = \"speaker\"\n\
         [bgp]\nasn = {asn}\nrouter_id = \"10.0.0.{number}\"\n\
         listen = [\"127.0.0.{number}:{port}\"]\nconnect_retry = 1\nimport = \"all\"\n\
         [[peers]]\nname = \"{peer_name}\"\naddress = \"127.0.0.{peer_number}\"\n\
         port = {peer_port}\nlocal_address = \"127.0.0.{number}\"\nasn = {peer_asn}\n\
         passive = {passive}\n{limits}\n\
         export = \"own\"\nnext_hop_ipv4 = \"192.0.2.{number}\"\nfamilies = [\"ipv4\"]\n\
         [[policies]]\nname = \"own\"\ndefault = \"reject\"\n\
         [[policies.statements]]\nname = \"small\"\nprefixes = [\"10.244.0.0/16 ge 17 le 24\"]\n\
         set = {{ med = 7, add_communities = [\"64512:1\"] }}\naction = \"accept\"\n",
        passive = number == 2,
        limits = if number == 2 { LIMITS } else { "" },
        asn = 64511 + u32::from(number),
        peer_asn = 64511 + u32::from(peer_number),
    )
}

const LIMITS: &str = "max_prefixes = { ipv4 = 5, restart_after = 60 }
max_advertised = { ipv4 = 9 }";

/// Ports that nobody listens on at this moment.
fn free_ports() -> [u16; 2] {
    let sockets = [1, 2].map(|number| TcpListener::bind((format!("127.0.0.{number}"), 0)).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "it is not so within 20 s that {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn peers_are_shown_with_their_sessions_and_counts() {
    let pair = Pair::established();
    pair.originate("10.244.1.0/24");
    let table = pair.right.table(&["peers"]);
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..5], ["PEER", "ADDRESS", "AS", "STATE", "UP/DOWN"]);
    assert_eq!(lines[1][..4], ["left", "127.0.0.1", "64512", "Established"]);
    assert_eq!(lines[1][5..8], ["1", "1", "0"], "received, accepted, advertised in {table}");
    let json = pair.right.json(&["peers"]);
    assert_eq!(json[0]["state"], "Established");
    assert_eq!(json[0]["local_asn"], 64513);
    assert_eq!(json[0]["router_id"], "10.0.0.1");
    assert_eq!(json[0]["routes"][0]["received"], 1);
    assert_eq!(json[0]["messages_received"]["open"], 1);
    assert_eq!(pair.right.json(&["peers", "--family", "ipv6"]), Value::Array(Vec::new()));
}

#[test]
fn one_peer_is_shown_in_full() {
    let pair = Pair::established();
    pair.originate("10.244.1.0/24");
    let text = pair.right.table(&["peers", "127.0.0.1"]);
    let line = |title: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(title));
        line.unwrap_or_else(|| panic!("no {title:?} in\n{text}")).trim().to_owned()
    };
    assert!(text.starts_with("left  127.0.0.1\n"), "{text}");
    assert_eq!(line("AS "), "64512; ours is 64513");
    assert!(line("state").starts_with("Established for "), "{text}");
    assert_eq!(line("timers"), "hold 90 s, keepalive 30 s; connect retry 1 s");
    assert_eq!(line("router id"), "10.0.0.1");
    assert!(line("can do").contains("4-octet AS"), "{text}");
    assert_eq!(line("policies"), "import all, export own");
    assert_eq!(line("ipv4"), "1         1     1      0           0");
    assert!(!text.contains("last error"), "{text}");
    assert_eq!(
        pair.left.error(&["peers", "rigth"]),
        "routed: no peer has the name or address \"rigth\"; known are right\n"
    );
}

#[test]
fn limits_are_shown_and_counted_and_so_is_what_was_done_about_them() {
    let pair = Pair::established();
    let text = pair.right.table(&["peers", "left"]);
    let limits = "limits       ipv4: 5 received, warn from 4, then stop and restart after 60 s; ipv4: \
                  told 9 at most\n";
    assert!(text.contains(limits), "{text}");
    for n in 1..=4 {
        pair.originate(&format!("10.244.{n}.0/24"));
    }
    let event = |event: &str| {
        let labels = format!("event=\"{event}\",family=\"ipv4\",peer=\"left\"");
        format!("slash32_bgp_prefix_limit_events_total{{{labels}}}")
    };
    let has = |line: String| pair.right.get("/metrics").1.lines().any(|other| other == line);
    eventually("nearness is counted", || has(format!("{} 1", event("near"))));
    assert!(has(format!("{} 0", event("stopped"))));
    let labels = "family=\"ipv4\",kind=\"received\",peer=\"left\"";
    assert!(has(format!("slash32_bgp_max_prefixes{{{labels}}} 5")));

    let rib = pair.left.peering.as_ref().unwrap().rib();
    for n in 5..=6 {
        let attrs = Arc::new(Attrs::originated(NextHop::new("0.0.0.0".parse().unwrap())));
        let prefix = format!("10.244.{n}.0/24").parse().unwrap();
        pair.runtime.block_on(rib.originate(prefix, attrs)).unwrap();
    }
    eventually("it is stopped", || has(format!("{} 1", event("stopped"))));
    let row = pair.right.json(&["peers"])[0].clone();
    assert_eq!((&row["state"], &row["enabled"]), (&"Idle".into(), &true.into()), "{row}");
    assert!(row["last_error"].as_str().unwrap().contains("(ipv4, limit 5)"), "{row}");
    assert!(row["remedy"].as_str().unwrap().contains("routed peer NAME enable"), "{row}");
    assert!(row["next_attempt_seconds"].as_u64().is_some_and(|s| (1..=60).contains(&s)), "{row}");
    let numbers = ["received", "max_prefixes", "max_advertised"].map(|key| &row["routes"][0][key]);
    assert_eq!(numbers, [&0.into(), &5.into(), &9.into()] as [&Value; 3]);
}

#[test]
fn routes_are_selected_by_range_and_by_peer() {
    let pair = Pair::established();
    for prefix in ["10.244.1.0/24", "10.244.2.0/24", "10.244.32.0/20"] {
        pair.originate(prefix);
    }
    let prefixes = |arguments: &[&str]| {
        let json = pair.right.json(&[&["routes"], arguments].concat());
        let prefix = |route: &Value| route["prefix"].as_str().unwrap().to_owned();
        json.as_array().unwrap().iter().map(prefix).collect::<Vec<_>>()
    };
    assert_eq!(prefixes(&["10.244.0.0/19", "--longer"]), ["10.244.1.0/24", "10.244.2.0/24"]);
    assert_eq!(prefixes(&["10.244.2.0/24", "--longer"]), ["10.244.2.0/24"]);
    assert_eq!(prefixes(&["--peer", "left"]).len(), 3);
    assert_eq!(pair.left.json(&["routes", "--peer", "right"]), Value::Array(Vec::new()));
    assert!(pair.right.error(&["routes", "--peer", "lfet"]).contains("known are left"));
}

#[test]
fn routes_are_shown_from_both_sides_with_reasons() {
    let pair = Pair::established();
    pair.originate("10.244.1.0/24");
    assert_eq!(
        pair.right.table(&["routes", "10.244.1.9"]),
        "10.244.1.9/32 is covered by 10.244.1.0/24\n\
         \n\
         \x20   PREFIX         NEXT HOP   PEER  AS PATH  ORIGIN  MED  COMMUNITIES  WHY\n\
         *>  10.244.1.0/24  192.0.2.1  left  64512    igp       7  64512:1      best\n"
    );
    assert_eq!(
        pair.right.table(&["received", "left"]),
        "    PREFIX         NEXT HOP   AS PATH  ORIGIN  MED  COMMUNITIES  VERDICT\n\
         *>  10.244.1.0/24  192.0.2.1  64512    igp       7  64512:1      best\n"
    );
    assert_eq!(
        pair.left.table(&["advertised", "127.0.0.2"]),
        "PREFIX         NEXT HOP   AS PATH  ORIGIN  MED  COMMUNITIES\n\
         10.244.1.0/24  192.0.2.1  64512    igp       7  64512:1\n"
    );
    assert_eq!(
        pair.right.table(&["advertised", "left"]),
        "PREFIX         NEXT HOP  AS PATH  ORIGIN  NOT ADVERTISED\n\
         10.244.1.0/24                             came from this peer\n"
    );
    let json = pair.right.json(&["routes"]);
    assert_eq!(json[0]["prefix"], "10.244.1.0/24");
    assert_eq!(json[0]["paths"][0]["status"], "best");
    assert_eq!(json[0]["paths"][0]["attributes"]["next_hop"], "192.0.2.1");
    assert_eq!(pair.left.json(&["routes"])[0]["paths"][0]["peer"], Value::Null);
    assert_eq!(pair.left.table(&["routes", "192.0.2.0/24"]), "no route to 192.0.2.0/24\n");
}

#[test]
fn why_tells_a_route_from_its_receipt_to_the_peers() {
    let pair = Pair::established();
    pair.originate("10.244.1.0/24");
    assert_eq!(
        pair.right.why(&["10.244.1.9"]),
        "10.244.1.9/32 is covered by 10.244.1.0/24\n\
         \n\
         paths\n\
         \x20 *> from left: AS path 64512, next hop 192.0.2.1, origin igp, MED 7, communities 64512:1\n\
         \x20      import: accepted by the default of policy all\n\
         \x20      best\n\
         \n\
         kernel\n\
         \x20 no route of ours: only used paths are installed, and only where that is switched on\n\
         \n\
         told to\n\
         \x20 left: no, came from this peer\n"
    );
    let text = pair.left.why(&["10.244.1.0/24", "--to", "right"]);
    assert!(text.contains("  *> originated by this node: AS path empty"), "{text}");
    assert!(text.contains("  right: yes, as AS path 64512, next hop 192.0.2.1"), "{text}");
    assert!(text.contains("export: accepted by statement small of policy own"), "{text}");
    let json: Value =
        serde_json::from_str(&pair.left.why(&["10.244.1.0/24", "-o", "json"])).unwrap();
    assert_eq!(json[0]["told"][0]["export"]["statement"], "small");
    assert_eq!(json[0]["paths"][0]["status"], "best");
    assert!(pair.left.why(&["192.0.2.0/24"]).starts_with("no route to 192.0.2.0/24: "));
}

#[test]
fn a_policy_is_tested_with_the_path_that_the_daemon_has() {
    let pair = Pair::established();
    pair.originate("10.244.1.0/24");
    let (code, text) = pair.right.policy_test(&["--peer", "left", "10.244.1.0/24"]);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "10.244.1.0/24 from left",
            "",
            "  all/(default)  accept",
            "",
            "accepted by the default of policy all",
            "",
            "  next_hop              192.0.2.1",
            "  as_path               64512",
            "  origin                igp",
            "  med                   7",
            "  communities           64512:1",
        ]
    );
    // By address, towards the other side, as JSON.
    let export = ["--export", "--peer", "127.0.0.2", "10.244.1.0/24", "-o", "json"];
    let (code, text) = pair.left.policy_test(&export);
    assert_eq!(code, Some(0), "{text}");
    let view: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(view["peer"], "right");
    assert_eq!(view["policy"]["statement"], "small");
    let med = view["attributes"].as_array().unwrap().iter().find(|one| one["name"] == "med");
    assert_eq!(med.unwrap()["after"], "7");
    // What came from a peer does not go back to it, whatever its policy says.
    let (code, text) = pair.right.policy_test(&["--export", "--peer", "left", "10.244.1.0/24"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("refused: came from this peer"), "{text}");
}

#[test]
fn a_policy_test_without_such_a_path_says_what_to_do() {
    let pair = Pair::established();
    for (arguments, expected) in [
        (
            &["--peer", "left", "10.9.0.0/16"][..],
            "left has not announced 10.9.0.0/16; `routed show",
        ),
        (&["--peer", "left", "--export", "10.9.0.0/16"], "there is no best path to 10.9.0.0/16"),
        (&["--peer", "nobody", "10.9.0.0/16"], "no peer has the name or address \"nobody\""),
    ] {
        let (code, text) = pair.right.policy_test(arguments);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn what_is_kept_from_a_peer_has_its_reason() {
    let pair = Pair::established();
    let attrs = Arc::new(Attrs::originated(NextHop::new("0.0.0.0".parse().unwrap())));
    let rib = pair.left.peering.as_ref().unwrap().rib();
    let prefix = "198.51.100.0/24".parse().unwrap();
    pair.runtime.block_on(rib.originate(prefix, attrs)).unwrap();
    let json = pair.left.json(&["advertised", "right"]);
    assert_eq!(json[0]["advertised"], false);
    assert_eq!(json[0]["reason"], "rejected by the default of policy own");
}

#[test]
fn many_routes_arrive_whole() {
    let pair = Pair::established();
    let rib = pair.left.peering.as_ref().unwrap().rib();
    let attrs = Arc::new(Attrs::originated(NextHop::new("0.0.0.0".parse().unwrap())));
    pair.runtime.block_on(async {
        for number in 0..5000_u32 {
            let address = std::net::Ipv4Addr::from_bits(0xC612_0000 + number).into();
            rib.originate(Prefix::host(address), Arc::clone(&attrs)).await.unwrap();
        }
    });
    assert_eq!(pair.left.json(&["routes"]).as_array().unwrap().len(), 5000);
    assert_eq!(pair.left.table(&["routes"]).lines().count(), 5000 + 3);
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let pair = Pair::established();
    assert_eq!(
        pair.left.error(&["received", "rigth"]),
        "routed: no peer has the name or address \"rigth\"; known are right\n"
    );
    assert_eq!(
        pair.left.error(&["pods"]),
        "routed: this node has no pods: its routed.toml has no section [pods]\n"
    );
}

#[test]
fn a_lost_session_is_shown_with_its_error() {
    let mut pair = Pair::established();
    let right = pair.right.peering.take().unwrap();
    pair.runtime.block_on(right.stop(Cease::AdminShutdown("drained".to_owned())));
    eventually("left has lost its session", || !pair.left.is_established());
    let json = pair.left.json(&["peers"]);
    assert!(json[0]["last_error"].as_str().unwrap().contains("drained"), "{json}");
    assert!(pair.left.table(&["peers"]).contains("drained"));
    let code = &json[0]["last_notification"];
    assert_eq!(
        (&code["sent"], &code["code"], &code["subcode"]),
        // Between speakers that restart gracefully, a hard reset around the reason (RFC 8538 §3.1).
        (&false.into(), &6.into(), &9.into())
    );
    let text = pair.left.table(&["peers", "right"]);
    assert!(text.contains("[code 6/9]"), "{text}");
    assert!(text.contains("what to do   the peer's operator has shut the session down"), "{text}");
    let (status, body) = pair.left.get("/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("0 of 1 sessions established; missing: right ("), "{body}");
}

#[test]
fn the_socket_is_for_its_owner_only_and_taken_over_from_the_dead_alone() {
    let pair = Pair::established();
    let mode = std::fs::metadata(&pair.left.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let sources = Sources {
        started: Instant::now(),
        peers: Peers::none(),
        rib: pair.left.peering.as_ref().unwrap().rib().clone(),
        pods: None,
        stations: StationList::none(),
        recorder: Recorder::off(),
        cni_socket: None,
        kernel: None,
        cluster: None,
    };
    let _runtime = pair.runtime.enter();
    let error = AdminServer::bind(&pair.left.socket, sources.clone(), ReloadHandle::of_nobody())
        .err()
        .unwrap();
    assert!(error.to_string().contains("another routed is listening on"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let error = AdminServer::bind(&file, sources.clone(), ReloadHandle::of_nobody()).err().unwrap();
    assert!(error.to_string().contains("is not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let dead = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let server = AdminServer::bind(&dead, sources, ReloadHandle::of_nobody()).unwrap();
    drop(server);
    assert!(!dead.exists(), "the path goes with the server");
}

#[test]
fn callers_that_send_nonsense_or_nothing_hurt_nobody() {
    let pair = Pair::established();
    // More than there are places, all silent: they are let go after five seconds.
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(&pair.left.socket).unwrap()).collect();
    for octets in [&[0xFF; 8][..], &[0, 0, 0, 2, b'{', b'}'], &[0, 0]] {
        let mut stream = UnixStream::connect(&pair.left.socket).unwrap();
        stream.write_all(octets).unwrap();
    }
    let mut stream = UnixStream::connect(&pair.left.socket).unwrap();
    stream.write_all(b"\0\0\0\x07\"bogus\"").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("bad_request") && answer.contains("bogus"), "{answer}");
    assert!(pair.left.table(&["peers"]).contains("Established"));
    drop(silent);
}

#[test]
fn metrics_tell_sessions_routes_and_the_process() {
    let pair = Pair::established();
    pair.originate("10.244.1.0/24");
    let (status, text) = pair.right.get("/metrics");
    assert_eq!(status, 200);
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        &*format!("slash32_build_info{{version=\"{version}\"}} 1"),
        "slash32_bgp_session_up{peer=\"left\",peer_asn=\"64512\"} 1",
        "slash32_bgp_session_state{peer=\"left\",peer_asn=\"64512\"} 6",
        "slash32_bgp_session_established_total{peer=\"left\",peer_asn=\"64512\"} 1",
        "slash32_bgp_messages_total{direction=\"received\",peer=\"left\",type=\"open\"} 1",
        "slash32_bgp_routes{family=\"ipv4\",kind=\"accepted\",peer=\"left\"} 1",
        "slash32_bgp_routes{family=\"ipv4\",kind=\"advertised\",peer=\"left\"} 0",
        "slash32_bgp_best_routes{family=\"ipv4\"} 1",
        "slash32_bgp_best_routes{family=\"ipv6\"} 0",
        "slash32_bgp_update_faults_total{peer=\"left\",treatment=\"withdraw\"} 0",
        "slash32_bgp_rejected_routes_total{peer=\"left\",reason=\"policy\"} 0",
        "slash32_bgp_rejected_routes_total{peer=\"left\",reason=\"as_loop\"} 0",
        "slash32_bgp_drained 0",
        "slash32_cni_operation_duration_seconds_count{result=\"ok\",verb=\"add\"} 0",
        "slash32_rib_size{what=\"destinations\"} 1",
        "slash32_rib_size{what=\"paths_received\"} 1",
        "slash32_rib_queue_length 0",
        "slash32_scrape_ok{part=\"rib\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\nis not in\n{text}");
    }
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "not a sample: {line}");
    }
}

#[test]
fn health_and_readiness_list_every_check() {
    let pair = Pair::established();
    let (status, body) = pair.left.get("/healthz");
    assert_eq!((status, &*body), (200, "healthy\nok      rib     answers\n"));
    let (status, body) = pair.left.get("/readyz");
    assert_eq!((status, &*body), (200, "ready\nok      bgp     1 of 1 sessions established\n"));
    let (status, body) = pair.left.get("/metric");
    assert_eq!(
        (status, &*body),
        (404, "nothing at /metric; there are /metrics, /healthz and /readyz\n")
    );
}

#[test]
fn an_address_that_is_taken_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let pair = Pair::established();
    let sources = Sources {
        started: Instant::now(),
        peers: Peers::none(),
        rib: pair.left.peering.as_ref().unwrap().rib().clone(),
        pods: None,
        stations: StationList::none(),
        recorder: Recorder::off(),
        cni_socket: None,
        kernel: None,
        cluster: None,
    };
    let bind = HttpServer::bind(address, Metrics::new(), sources);
    let error = pair.runtime.block_on(bind).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "sockets.http: cannot listen on {address}: Address already in use (os error 98); \
             choose another address, or \"\" for none"
        )
    );
}
