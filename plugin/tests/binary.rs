//! The plugin binary as a runtime calls it, against a scripted daemon: stdout carries exactly
//! one JSON document (or nothing, for verbs that return nothing), whatever happens.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::{
    io::Write,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

use plugin::{
    cni::{AddResult, Error, Interface, Ip, code},
    rpc::{self, Request, Response},
};
use serde_json::{Value, json};

struct Outcome {
    succeeded: bool,
    document: Option<Value>,
}

fn call(vars: &[(&str, &str)], stdin: &str) -> Outcome {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slash32"))
        .env_clear()
        .envs(vars.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The plugin may end without reading (VERSION does): a closed pipe is no failure.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let document = (!text.is_empty())
        .then(|| serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}")));
    Outcome { succeeded: output.status.success(), document }
}

fn vars<'a>(verb: &'a str, netns: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", netns),
        ("CNI_PATH", "/opt/cni/bin"),
    ]
}

fn conf(version: &str, socket: &Path, more: &Value) -> String {
    let mut conf = json!({
        "cniVersion": version, "name": "pods", "type": "slash32", "socket": socket,
    });
    conf.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    conf.to_string()
}

/// A daemon that answers one request and says what it was, and whether a descriptor came along.
fn daemon(socket: &Path, answer: Response) -> JoinHandle<(Request, bool)> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let (request, descriptor) = rpc::receive_request(&stream).unwrap();
        rpc::send(&stream, &answer).unwrap();
        (request, descriptor.is_some())
    })
}

const NETNS: &str = "/proc/self/ns/net";

#[test]
fn version_needs_neither_stdin_nor_daemon() {
    let outcome = call(&[("CNI_COMMAND", "VERSION")], "");
    assert!(outcome.succeeded);
    assert_eq!(
        outcome.document.unwrap()["supportedVersions"],
        json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    );
}

#[test]
fn add_passes_the_namespace_and_prints_the_result_in_the_version_asked_for() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cni.sock");
        let result = AddResult {
            interfaces: vec![Interface { name: "eth0".to_owned(), ..Interface::default() }],
            ips: vec![Ip {
                address: "10.244.1.7/32".parse().unwrap(),
                gateway: None,
                interface: Some(0),
            }],
            ..AddResult::default()
        };
        let daemon = daemon(&socket, Response::Added(result));
        let mtu = json!({"mtu": 1400});
        let outcome = call(&vars("ADD", NETNS), &conf(version, &socket, &mtu));
        assert!(outcome.succeeded);
        let document = outcome.document.unwrap();
        assert_eq!(document["cniVersion"], version);
        assert_eq!(document["ips"][0]["address"], "10.244.1.7/32");
        assert_eq!(document["ips"][0].get("version").is_some(), version < "1.0.0");
        let (Request::Add(attach), true) = daemon.join().unwrap() else {
            panic!("an ADD with a descriptor was expected")
        };
        assert_eq!((attach.mtu, attach.netns.as_str()), (Some(1400), NETNS));
    }
}

#[test]
fn add_behind_another_plugin_prints_both_results() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let interface = |name: &str| Interface { name: name.to_owned(), ..Interface::default() };
    let address = "10.244.1.7/32".parse().unwrap();
    let result = AddResult {
        interfaces: vec![interface("s32a"), interface("net1")],
        ips: vec![Ip { address, gateway: None, interface: Some(1) }],
        ..AddResult::default()
    };
    let daemon = daemon(&socket, Response::Added(result));
    let before = json!({"prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "lo"}]}});
    let outcome = call(&vars("ADD", NETNS), &conf("1.0.0", &socket, &before));
    daemon.join().unwrap();
    let document = outcome.document.unwrap();
    let names: Vec<_> =
        document["interfaces"].as_array().unwrap().iter().map(|i| i["name"].clone()).collect();
    assert_eq!(names, ["lo", "s32a", "net1"]);
    assert_eq!(document["ips"][0]["interface"], 2);
}

/// An IPAM plugin that writes down which verbs it was called with.
fn ipam_plugin(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("fake-ipam");
    let script = r#"#!/bin/sh
echo "$CNI_COMMAND" >> "${0%/*}/verbs"
[ "$CNI_COMMAND" = ADD ] && echo '{"ips":[{"address":"192.0.2.7/24"}],"dns":{"domain":"d"}}'
exit 0
"#;
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder.display().to_string()
}

#[test]
fn delegated_addresses_are_passed_on_and_given_back_if_the_daemon_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let path = ipam_plugin(folder.path());
    let mut vars = vars("ADD", NETNS);
    vars.retain(|(key, _)| *key != "CNI_PATH");
    vars.push(("CNI_PATH", &path));
    let ipam = json!({"ipam": {"type": "fake-ipam"}});
    let asked = daemon(&socket, Response::Added(AddResult::default()));
    let outcome = call(&vars, &conf("1.1.0", &socket, &ipam));
    assert_eq!(outcome.document.unwrap()["dns"]["domain"], "d");
    let (Request::Add(attach), true) = asked.join().unwrap() else { panic!("an ADD is expected") };
    assert!(attach.delegated);
    assert_eq!(attach.ips, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);

    std::fs::remove_file(&socket).unwrap();
    let outcome = call(&vars, &conf("1.1.0", &socket, &ipam));
    assert_eq!(outcome.document.unwrap()["code"], code::TRY_AGAIN);
    let verbs = std::fs::read_to_string(folder.path().join("verbs")).unwrap();
    assert_eq!(verbs, "ADD\nADD\nDEL\n");
}

#[test]
fn an_error_of_the_daemon_is_the_one_document() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let error = Error {
        code: code::POOL_EXHAUSTED,
        msg: "no address".to_owned(),
        details: "pool 10.244.1.0/24 is full".to_owned(),
    };
    let daemon = daemon(&socket, Response::Error(error));
    let outcome = call(&vars("ADD", NETNS), &conf("1.0.0", &socket, &Value::Null));
    daemon.join().unwrap();
    assert!(!outcome.succeeded);
    let document = outcome.document.unwrap();
    assert_eq!(document["cniVersion"], "1.0.0");
    assert_eq!(document["code"], code::POOL_EXHAUSTED);
    assert_eq!(document["details"], "pool 10.244.1.0/24 is full");
}

#[test]
fn del_succeeds_without_daemon_and_is_owed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let outcome = call(&vars("DEL", ""), &conf("1.1.0", &socket, &Value::Null));
    assert!(outcome.succeeded);
    assert!(outcome.document.is_none());
    let owed = plugin::client::owed_detaches(&socket).unwrap();
    assert_eq!(owed[0].1.as_ref().unwrap().container_id, "c1");
}

#[test]
fn del_of_a_namespace_that_is_gone_reaches_the_daemon_without_a_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let daemon = daemon(&socket, Response::Done);
    let outcome = call(&vars("DEL", "/run/netns/gone"), &conf("1.1.0", &socket, &Value::Null));
    assert!(outcome.succeeded && outcome.document.is_none());
    assert!(matches!(daemon.join().unwrap(), (Request::Del(_), false)));
}

#[test]
fn status_without_daemon_says_not_available_and_how_to_start_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let outcome = call(&[("CNI_COMMAND", "STATUS")], &conf("1.1.0", &socket, &Value::Null));
    assert!(!outcome.succeeded);
    let document = outcome.document.unwrap();
    assert_eq!(document["code"], code::NOT_AVAILABLE);
    assert!(document["details"].as_str().unwrap().contains("routed run"), "{document}");
}

#[test]
fn gc_without_a_list_is_refused_and_with_an_empty_one_is_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let gc = [("CNI_COMMAND", "GC")];
    let outcome = call(&gc, &conf("1.1.0", &socket, &Value::Null));
    assert_eq!(outcome.document.unwrap()["code"], code::INVALID_CONFIG);

    let daemon = daemon(&socket, Response::Done);
    let outcome = call(&gc, &conf("1.1.0", &socket, &json!({"cni.dev/valid-attachments": []})));
    assert!(outcome.succeeded);
    let (Request::Gc(gc), _) = daemon.join().unwrap() else { panic!("a GC was expected") };
    assert!(gc.valid.is_empty());
}

#[test]
fn what_a_runtime_gets_wrong_is_answered_with_the_code_of_the_spec() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cni.sock");
    let good = conf("1.1.0", &socket, &Value::Null);
    let old = conf("0.3.1", &socket, &Value::Null);
    for (vars, stdin, code) in [
        (vec![], good.as_str(), code::INVALID_ENVIRONMENT),
        (vars("add", NETNS), &good, code::INVALID_ENVIRONMENT),
        (vars("ADD", NETNS), "not json", code::DECODING_FAILURE),
        (vars("ADD", NETNS), "", code::DECODING_FAILURE),
        (vars("ADD", NETNS), r#"{"cniVersion":"9.0.0"}"#, code::INCOMPATIBLE_VERSION),
        (vars("ADD", "/run/netns/absent"), &good, code::UNKNOWN_CONTAINER),
        (vars("CHECK", NETNS), &good, code::INVALID_CONFIG),
        (vars("CHECK", NETNS), &old, code::INCOMPATIBLE_VERSION),
        (vars("STATUS", NETNS), &old, code::INCOMPATIBLE_VERSION),
        (vars("ADD", NETNS), &good, code::TRY_AGAIN),
    ] {
        let outcome = call(&vars, stdin);
        assert!(!outcome.succeeded);
        let document = outcome.document.unwrap();
        assert_eq!(document["code"], code, "{stdin}: {document}");
        assert!(!document["details"].as_str().unwrap().is_empty());
    }
}
