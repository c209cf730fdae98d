//! Calls of the plugin as a container runtime makes them, right or wrong.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::Fabric;

/// One call of the plugin on a node.
#[derive(Clone, Debug)]
pub struct Call {
    node: String,
    variables: Vec<(&'static str, String)>,
    stdin: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code 0.
    pub succeeded: bool,
    /// What stdout holds: exactly one JSON document, or nothing (`Null`).
    pub document: Value,
}

impl Call {
    /// A sound call for the interface `eth0` of this container, in a namespace of its name.
    #[must_use]
    pub fn new(node: &str, verb: &str, container_id: &str) -> Self {
        let variables = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", container_id.to_owned()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_NETNS", format!("/run/netns/{container_id}")),
            ("CNI_PATH", "/opt/cni/bin".to_owned()),
        ];
        Self { node: node.to_owned(), variables, stdin: configuration("1.1.0").to_string() }
    }

    /// With another value of an environment variable.
    #[must_use]
    pub fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.variables.retain(|(name, _)| *name != variable);
        self.variables.push((variable, value.to_owned()));
        self
    }

    /// With this text on stdin.
    #[must_use]
    pub fn configured(mut self, stdin: &str) -> Self {
        stdin.clone_into(&mut self.stdin);
        self
    }

    /// Runs the plugin.
    #[must_use]
    pub fn run(&self, fabric: &Fabric) -> Outcome {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let argv: Vec<String> =
            ["env".to_owned()].into_iter().chain(variables).chain(["slash32".to_owned()]).collect();
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let mut command = fabric.command(&self.node, &argv);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("testbed starts");
        // A plugin that fails early does not read: a closed pipe is no failure.
        let _ = child.stdin.take().expect("a pipe").write_all(self.stdin.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "", "{self:?}");
        let document = match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|e| panic!("{self:?}: {e}: {text}")),
        };
        Outcome { succeeded: output.status.success(), document }
    }
}

impl Outcome {
    /// The result of a call that must have succeeded.
    #[must_use]
    #[track_caller]
    pub fn result(self) -> Value {
        assert!(self.succeeded, "{:#}", self.document);
        self.document
    }

    /// The error document's details, whose code must be this; it has a word for the operator.
    #[must_use]
    #[track_caller]
    pub fn refusal(self, code: u32) -> String {
        assert!(!self.succeeded, "{:#}", self.document);
        assert_eq!(self.document["code"], code, "{:#}", self.document);
        for field in ["cniVersion", "msg", "details"] {
            let text = self.document[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {field}: {:#}", self.document);
        }
        self.document["details"].as_str().unwrap_or_default().to_owned()
    }
}

/// What a runtime makes of the node's conflist, for this version of the spec.
#[must_use]
pub fn configuration(version: &str) -> Value {
    json!({ "cniVersion": version, "name": "slash32", "type": "slash32" })
}

/// Makes a pod's namespace with `lo` switched on, as a runtime does before ADD.
pub fn make_netns(fabric: &Fabric, node: &str, name: &str) {
    let _ = fabric.ask(node, &["ip", "netns", "add", name]);
    let _ = fabric.ask(node, &["ip", "-n", name, "link", "set", "lo", "up"]);
}

/// Removes it, as a runtime does after DEL.
pub fn remove_netns(fabric: &Fabric, node: &str, name: &str) {
    let _ = fabric.ask(node, &["ip", "netns", "delete", name]);
}
