//! Promises of the command line that need no daemon: exit codes, and what goes where.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn routed(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_routed")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

fn example() -> String {
    format!("{}/manifests/routed.example.toml", env!("CARGO_MANIFEST_DIR"))
}

fn faulty() -> String {
    format!("{}/../tests/data/config/faults.toml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_valid_file_exits_with_0_and_says_what_it_comes_to() {
    let output = routed(&["check", &example()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
    let expected = "\
node    rack1-node1, mode node
bgp     AS 4200000011, router id 10.0.0.11, listening on 0.0.0.0:179, [::]:179
pods    10.244.1.0/24, fd00:10:244:1::/64, 10.245.1.0/24, fd00:10:245:1::/64
kernel  learned routes into table 254, protocol 132
mrt     /var/lib/slash32/updates.mrt

PEER       ADDRESS                          AS  DISTANCE  HOLD  FAMILIES   IMPORT    EXPORT
tor-a      10.1.1.0                 4200000001  GTSM 1       9  ipv4 ipv6  from-tor  to-tor
tor-b      fd00:1:2::                 external  on link     90  ipv4 ipv6  from-tor  originated
eth1       eth1                       external  on link     90  ipv4 ipv6  all       originated
reflector  10.0.0.250                 internal  any         90  ipv4 ipv6  all       originated
rack       10.9.0.0/16  4200000021, 4200000022  on link     90  ipv4 ipv6  all       originated

PEER       OPTIONS
tor-a      from 10.1.1.1; bfd 300/300 ms x 3; group tors; ipv4: 12000 received, warn from 9000, then stop and restart after 300 s; ipv6: 4000 received, warn from 3000, then stop and restart after 300 s; keepalive s 3; connect retry s 2; IPv4 next hop 10.1.1.1; IPv6 next hop fd00:1:1::1
tor-b      group tors; keepalive s 30; connect retry s 2
eth1       keepalive s 30
reflector  keepalive s 30
rack       dynamic, at most 100; keepalive s 30

STATION    ADDRESS          VIEWS               STATISTICS
collector  192.0.2.10:5000  pre-policy loc-rib        60 s
";
    assert_eq!(stdout(&output), format!("{} is valid\n\n{expected}", example()));
}

#[test]
fn a_faulty_file_exits_with_1_and_tells_every_fault_on_stderr() {
    let output = routed(&["check", &faulty()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let lines: Vec<_> = stderr(&output).lines().collect();
    assert_eq!(lines[0].strip_prefix(&faulty()).unwrap().split(": ").nth(1), Some("node.name"));
    assert_eq!(
        lines.last().unwrap().strip_prefix(&faulty()),
        Some(": 34 faults; routed would not start with it")
    );
    assert!(lines.iter().any(|line| line.contains("warning: no peer uses this policy")));
}

#[test]
fn json_has_each_fault_with_its_key_line_and_message() {
    let output = routed(&["check", "-o", "json", &faulty()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["valid"], false);
    assert_eq!(json["faults"].as_array().unwrap().len(), 34);
    assert_eq!(json["faults"][1]["key"], "node.mod");
    assert_eq!(json["faults"][1]["line"], 3);
    assert_eq!(json["faults"][1]["message"], "unknown key; did you mean mode?");
    assert_eq!(json["summary"], serde_json::Value::Null);
    let output = routed(&["check", "-o", "json", &example()]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["summary"]["peers"][0]["hold_time"], 9);
}

#[test]
fn the_file_of_a_node_of_a_cluster_is_checked_for_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routed.toml");
    let path = path.to_str().unwrap();
    // Name, AS, router id and the policy may come from the cluster.
    let peer = "[[peers]]\naddress = \"10.0.0.1\"\nasn = \"external\"\nimport = \"of-the-cluster\"\nexport = \"all\"\n";
    fs::write(path, format!("[kubernetes]\n{peer}")).unwrap();
    let output = routed(&["check", path]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert!(stdout(&output).starts_with(&format!("{path} is valid for a node of a cluster; ")));
    let output = routed(&["check", "-o", "json", path]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["valid"], &json["in_cluster"]), (&true.into(), &true.into()));

    fs::write(path, format!("[kubernetes]\nstate = \"here\"\n{peer}hold_tme = 9\n")).unwrap();
    let output = routed(&["check", path]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let told = stderr(&output);
    assert!(told.contains("kubernetes.state: ") && told.contains("peers[0].hold_tme: "), "{told}");
    assert!(told.ends_with(": 2 faults; routed would not start with it\n"), "{told}");
}

#[test]
fn a_daemon_does_not_start_with_a_faulty_or_missing_file() {
    let output = routed(&["run", "--config", &faulty()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).lines().count(), 34, "{}", stderr(&output));
    let output = routed(&["run", "--config", "/nonexistent/routed.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "routed: /nonexistent/routed.toml: cannot be read: No such file or directory (os error \
         2); check the path and its permissions\n"
    );
}

#[test]
fn show_without_a_daemon_says_how_to_reach_one() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("routed.sock");
    // The socket of a daemon that was killed.
    let dead = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    for path in [&absent, &dead] {
        let path = path.to_str().unwrap();
        let output = routed(&["show", "peers", "--socket", path]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        assert_eq!(
            stderr(&output),
            format!(
                "routed: nobody answers on {path}: routed is not running? Start it with `routed \
                 run`, or name its sockets.admin with --socket\n"
            )
        );
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in
        [&["show"][..], &["show", "routes", "10.0.0.1/8"], &["check", "-o", "yaml"], &["bgp"]]
    {
        let output = routed(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "");
    }
    let output = routed(&["show", "routes", "10.0.0.1/8"]);
    assert!(stderr(&output).contains("did you mean 10.0.0.0/8?"), "{}", stderr(&output));
}

#[test]
fn version_and_a_reader_that_leaves_are_no_failures() {
    let output = routed(&["version"]);
    assert_eq!(stdout(&output), format!("routed {}\n", env!("CARGO_PKG_VERSION")));
    let script = format!("{} check {} | true", env!("CARGO_BIN_EXE_routed"), example());
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_example_names_every_key_that_there_is() {
    // Every key is asked of each section, so an unknown one makes the daemon list them all.
    let text = fs::read_to_string(Path::new(&example())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routed.toml");
    let mut known = Vec::new();
    let sections = [
        "[node]",
        "[bgp]",
        "[[peers]]",
        "[[peers]]\n[peers.bfd]",
        "[[peer_groups]]",
        "[pods]",
        "[kernel]",
        "[sockets]",
        "[[bmp]]",
        "[mrt]",
        "[[policies]]",
        "[[policies]]\n[[policies.statements]]",
        "[[policies]]\n[[policies.statements]]\n[policies.statements.set]",
        "[[policies]]\n[[policies.statements]]\n[policies.statements.as_path_length]",
        "[[policies]]\n[[policies.statements]]\n[policies.statements.communities]",
        "[[policies]]\n[[policies.statements]]\n[policies.statements.not]",
        "[[prefix_lists]]",
        "[[community_lists]]",
    ];
    for section in sections {
        fs::write(&path, format!("{section}\nxyzzy = 1\n")).unwrap();
        let output = routed(&["check", path.to_str().unwrap()]);
        let line = stderr(&output).lines().find(|line| line.contains("xyzzy: unknown key"));
        let line = line.unwrap_or_else(|| panic!("{section}: {}", stderr(&output)));
        let keys = line.split_once("known here are ").unwrap().1.split(", ");
        known.extend(keys.map(str::to_owned));
    }
    assert!(known.len() > 60, "{known:?}");
    for key in known {
        let written = [format!("{key} ="), format!("[{key}]"), format!(".{key}]")];
        assert!(written.iter().any(|form| text.contains(form)), "{key} is not in the example");
    }
}

#[test]
fn check_tells_every_option_that_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routed.toml");
    let text = "[node]\nname = \"n\"\n[bgp]\nasn = 65001\nrouter_id = \"10.0.0.1\"\nimport = \"all\"\n\
        export = \"all\"\n[[peer_groups]]\nname = \"tors\"\nallow_own_as = 2\nmax_prefixes = { ipv4 = 100 }\n\
        [[peers]]\nname = \"a\"\ngroup = \"tors\"\naddress = \"10.1.1.0\"\nasn = 65002\n\
        local_address = \"10.1.1.1\"\nbind_device = \"eth1\"\nconnect_retry = 9\nkeepalive_time = 5\n\
        role = \"customer\"\nextended_messages = false\nlong_lived_stale_time = { ipv6 = 60 }\nas_override = true\n\
        private_as = \"remove\"\nadd_path_receive = true\nadd_path_send = 2\ndrain = true\n\
        enforce_first_as = false\nextended_next_hop = true\nnext_hop_ipv4 = \"10.1.1.9\"\n\
        [[peers]]\nname = \"b\"\naddress = \"10.1.2.0\"\nasn = 65002\ngraceful_restart = false\n";
    fs::write(&file, text).unwrap();
    let output = routed(&["check", "-o", "json", file.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let options = |peer: usize| json["summary"]["peers"][peer]["options"].clone();
    assert_eq!(
        options(0),
        serde_json::json!([
            "from 10.1.1.1",
            "device eth1",
            "group tors",
            "own AS allowed 2",
            "AS override",
            "private ASes removed",
            "add-path of the best 2",
            "ipv4: 100 received, warn from 75, then stop and restart after 300 s",
            "drained",
            "any first AS",
            "keepalive s 5",
            "connect retry s 9",
            "takes add-path",
            "IPv4 by IPv6 next hops",
            "no extended messages",
            "role customer",
            "long-lived stale s of ipv6 60",
            "IPv4 next hop 10.1.1.9"
        ])
    );
    assert_eq!(options(1), serde_json::json!(["no graceful restart"]));
}

#[test]
fn the_definitions_are_printed_as_they_stand_in_the_manifest() {
    let output = routed(&["crds"]);
    let file = format!("{}/{}", env!("CARGO_MANIFEST_DIR"), routed_api::FILE);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), fs::read_to_string(file).unwrap());
}

#[test]
fn a_conversion_that_leaves_something_out_says_so_and_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pool.yaml");
    let pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: pods}\n\
                spec: {cidr: 10.1.0.0/16";
    let convert = |text: String| {
        fs::write(&file, text).unwrap();
        routed(&["convert", "calico", &file.display().to_string()])
    };
    let output = convert(format!("{pool}}}\n"));
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert!(stdout(&output).contains("apiVersion: slash32.dev/v1alpha1"));
    let output = convert(format!("{pool}, vxlanMode: Always}}\n"));
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).starts_with("IPPool/pods: spec.vxlanMode: Always: there are no tunnels")
    );
    let output = convert("a: [".to_owned());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("pool.yaml: is not YAML"), "{}", stderr(&output));
    let output = convert("a: 1".to_owned());
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}
