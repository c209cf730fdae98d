//! A container runtime's side of CNI: a chain of real plugins called as libcni calls them.
//!
//! In: a conflist, a container, a verb. Out: the result or the error document of the chain. Passes
//! `prevResult` along, gives capabilities to those who declare them, remembers results for CHECK and
//! DEL, and calls DEL in reverse order.

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::node::{Pod, program};

/// A runtime with its cache of results.
#[derive(Debug, Default)]
pub struct Runtime {
    /// By network, container and interface.
    cache: BTreeMap<(String, String, String), Value>,
}

/// One attachment and what is asked of it.
#[derive(Clone, Debug)]
pub struct Attachment<'a> {
    /// The conflist.
    pub network: &'a Value,
    /// Id of the container.
    pub container: &'a str,
    /// Path of its namespace; may be empty for DEL.
    pub netns: String,
    /// Interface in the container.
    pub ifname: &'a str,
    /// Capability arguments by capability.
    pub capabilities: Value,
    /// `CNI_ARGS`.
    pub args: &'a str,
}

impl<'a> Attachment<'a> {
    /// Without capabilities and arguments.
    #[must_use]
    pub fn new(network: &'a Value, pod: &'a Pod, ifname: &'a str) -> Self {
        let netns = pod.netns_path();
        Self { network, container: &pod.id, netns, ifname, capabilities: json!({}), args: "" }
    }

    fn key(&self) -> (String, String, String) {
        let network = self.network["name"].as_str().unwrap_or_default();
        (network.to_owned(), self.container.to_owned(), self.ifname.to_owned())
    }
}

impl Runtime {
    /// ADD: every plugin in order; if one fails the chain's DEL is the caller's business, as with
    /// real runtimes.
    ///
    /// # Errors
    ///
    /// The failing plugin's error document.
    pub fn add(&mut self, attachment: &Attachment<'_>) -> Result<Value, Value> {
        let mut result = None;
        for plugin in plugins(attachment.network) {
            let conf = conf(attachment, plugin, result.as_ref());
            result = Some(call("ADD", attachment, plugin, &conf)?);
        }
        let result = result.unwrap_or_default();
        self.cache.insert(attachment.key(), result.clone());
        Ok(result)
    }

    /// CHECK with the result that ADD had.
    ///
    /// # Errors
    ///
    /// The failing plugin's error document.
    pub fn check(&self, attachment: &Attachment<'_>) -> Result<(), Value> {
        let result = self.cache.get(&attachment.key());
        plugins(attachment.network).try_for_each(|plugin| {
            call("CHECK", attachment, plugin, &conf(attachment, plugin, result)).map(drop)
        })
    }

    /// DEL in reverse order.
    ///
    /// # Errors
    ///
    /// The failing plugin's error document.
    pub fn del(&mut self, attachment: &Attachment<'_>) -> Result<(), Value> {
        let result = self.cache.get(&attachment.key());
        let plugins: Vec<_> = plugins(attachment.network).collect();
        for plugin in plugins.into_iter().rev() {
            call("DEL", attachment, plugin, &conf(attachment, plugin, result))?;
        }
        self.cache.remove(&attachment.key());
        Ok(())
    }

    /// GC: what is in the cache for this network stays. Errors of all plugins, as libcni collects
    /// them.
    ///
    /// # Errors
    ///
    /// The error documents, if there are any.
    pub fn gc(&self, network: &Value) -> Result<(), Vec<Value>> {
        let name = network["name"].as_str().unwrap_or_default();
        let valid = self.cache.keys().filter(|(of, ..)| of == name);
        let valid: Vec<_> = valid
            .map(|(_, container, ifname)| json!({"containerID": container, "ifname": ifname}))
            .collect();
        let nobody = nobody(network);
        let call = |plugin: &Value| {
            let mut conf = conf(&nobody, plugin, None);
            // libcni writes both spellings.
            conf["cni.dev/valid-attachments"] = json!(valid);
            conf["cni.dev/attachments"] = json!(valid);
            call("GC", &nobody, plugin, &conf).err()
        };
        let errors: Vec<_> = plugins(network).filter_map(call).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// STATUS of every plugin.
    ///
    /// # Errors
    ///
    /// The failing plugin's error document.
    pub fn status(&self, network: &Value) -> Result<(), Value> {
        let nobody = nobody(network);
        plugins(network).try_for_each(|plugin| {
            call("STATUS", &nobody, plugin, &conf(&nobody, plugin, None)).map(drop)
        })
    }

    /// Forgets a container without DEL, as a runtime does that was reset.
    pub fn forget(&mut self, attachment: &Attachment<'_>) {
        self.cache.remove(&attachment.key());
    }
}

fn nobody(network: &Value) -> Attachment<'_> {
    let netns = String::new();
    Attachment { network, container: "", netns, ifname: "", capabilities: json!({}), args: "" }
}

fn plugins(network: &Value) -> impl Iterator<Item = &Value> {
    network["plugins"].as_array().into_iter().flatten()
}

/// What one plugin reads: its own entry, with what libcni adds.
#[must_use]
pub fn conf(attachment: &Attachment<'_>, plugin: &Value, previous: Option<&Value>) -> Value {
    let mut conf = plugin.clone();
    for key in ["name", "cniVersion"] {
        conf[key] = attachment.network[key].clone();
    }
    let declared = plugin["capabilities"].as_object();
    let asked = attachment.capabilities.as_object();
    let given: serde_json::Map<_, _> = asked
        .into_iter()
        .flatten()
        .filter(|(name, _)| declared.is_some_and(|all| all.get(*name) == Some(&json!(true))))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !given.is_empty() {
        conf["runtimeConfig"] = Value::Object(given);
    }
    if let Some(object) = conf.as_object_mut() {
        object.remove("capabilities");
    }
    if let Some(previous) = previous {
        conf["prevResult"] = previous.clone();
    }
    conf
}

/// Folders with plugins: ours, Debian's, the usual one.
#[must_use]
pub fn plugin_path() -> String {
    let own = program("slash32");
    let own = own.parent().map(PathBuf::from).unwrap_or_default();
    format!("{}:/usr/lib/cni:/opt/cni/bin", own.display())
}

fn call(
    verb: &str,
    attachment: &Attachment<'_>,
    plugin: &Value,
    conf: &Value,
) -> Result<Value, Value> {
    let name = plugin["type"].as_str().unwrap_or_default();
    let path = plugin_path();
    let folders = std::env::split_paths(&path);
    let mut programs = folders.map(|folder| folder.join(name));
    let found = programs.find(|program| program.is_file());
    let program = found.unwrap_or_else(|| {
        panic!("no plugin {name} in {path} (Debian: apt-get install containernetworking-plugins)")
    });
    let mut child = Command::new(&program)
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", attachment.container)
        .env("CNI_NETNS", &attachment.netns)
        .env("CNI_IFNAME", attachment.ifname)
        .env("CNI_ARGS", attachment.args)
        .env("CNI_PATH", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(conf.to_string().as_bytes());
    }
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let document = if text.trim().is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name} {verb}: {error}: {text}"))
    };
    if output.status.success() { Ok(document) } else { Err(document) }
}
