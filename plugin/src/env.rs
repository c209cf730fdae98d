//! The runtime's parameters: environment variables of the CNI spec, checked.
//!
//! In: a look-up of variables, so that tests need no process environment. Out: [`Params`], or
//! the error document that names the variable and says what it must be.

use std::collections::BTreeMap;

use crate::cni::{Error, code};

/// What the runtime wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Compare with the previous result.
    Check,
    /// Remove what is no longer valid.
    Gc,
    /// Can ADD be served?
    Status,
    /// Which spec versions are supported?
    Version,
}

impl Verb {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => return None,
        })
    }

    const fn concerns_a_container(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }
}

/// The environment, as far as the verb needs it: other fields are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_NETNS`; may be empty for DEL.
    pub netns: String,
    /// `CNI_ARGS`.
    pub args: BTreeMap<String, String>,
    /// `CNI_PATH`: folders of plugins, with colons between; read for every verb but VERSION.
    pub path: String,
}

impl Params {
    /// Reads and checks what the verb needs.
    ///
    /// # Errors
    ///
    /// [`code::INVALID_ENVIRONMENT`], naming the variable.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let command = required(&var, "CNI_COMMAND")?;
        let verb = Verb::from_name(&command).ok_or_else(|| {
            invalid(format!("CNI_COMMAND={command:?}; use ADD, DEL, CHECK, GC, STATUS or VERSION"))
        })?;
        let mut params = Self {
            verb,
            container_id: String::new(),
            ifname: String::new(),
            netns: String::new(),
            args: BTreeMap::new(),
            path: var("CNI_PATH").unwrap_or_default(),
        };
        if !verb.concerns_a_container() {
            return Ok(params);
        }
        params.container_id = required(&var, "CNI_CONTAINERID")?;
        if !is_identifier(&params.container_id) {
            return Err(invalid(format!(
                "CNI_CONTAINERID={:?}; it must start with a letter or digit and hold only \
                 letters, digits, '.', '_' and '-'",
                params.container_id
            )));
        }
        params.ifname = required(&var, "CNI_IFNAME")?;
        if !is_ifname(&params.ifname) {
            return Err(invalid(format!(
                "CNI_IFNAME={:?}; an interface name has 1 to 15 characters, none of them '/', \
                 ':' or a space",
                params.ifname
            )));
        }
        params.netns = match verb {
            Verb::Del => var("CNI_NETNS").unwrap_or_default(),
            _ => required(&var, "CNI_NETNS")?,
        };
        params.args = parse_args(&var("CNI_ARGS").unwrap_or_default())?;
        Ok(params)
    }
}

/// True for what the spec allows as container id and network name.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed)
}

fn is_ifname(text: &str) -> bool {
    let allowed = |c: char| c != '/' && c != ':' && !c.is_whitespace() && !c.is_control();
    !text.is_empty() && text.len() <= 15 && text != "." && text != ".." && text.chars().all(allowed)
}

fn parse_args(text: &str) -> Result<BTreeMap<String, String>, Error> {
    let pair = |part: &str| {
        part.split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .ok_or_else(|| invalid(format!("CNI_ARGS part {part:?}; write KEY=VALUE;KEY=VALUE")))
    };
    text.split(';').filter(|part| !part.is_empty()).map(pair).collect()
}

fn required(var: &impl Fn(&str) -> Option<String>, name: &str) -> Result<String, Error> {
    var(name).filter(|value| !value.is_empty()).ok_or_else(|| {
        invalid(format!("{name} is not set; this program is called by a container runtime"))
    })
}

fn invalid(details: String) -> Error {
    Error { code: code::INVALID_ENVIRONMENT, msg: "invalid environment".to_owned(), details }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(vars: &[(&str, &str)]) -> Result<Params, Error> {
        Params::from_vars(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const ADD: [(&str, &str); 5] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/c1"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web=0"),
    ];

    #[test]
    fn everything_that_add_needs_is_read() {
        let read = params(&ADD).unwrap();
        assert_eq!((read.verb, read.container_id.as_str()), (Verb::Add, "c1"));
        assert_eq!(read.args["K8S_POD_NAME"], "web=0");
    }

    #[test]
    fn each_missing_variable_is_named() {
        for missing in ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"] {
            let vars: Vec<_> = ADD.into_iter().filter(|(name, _)| *name != missing).collect();
            let error = params(&vars).unwrap_err();
            assert_eq!(error.code, code::INVALID_ENVIRONMENT);
            assert!(error.details.contains(missing), "{error}");
        }
    }

    #[test]
    fn del_needs_no_namespace_and_status_needs_nothing_more() {
        let del = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")];
        assert_eq!(params(&del).unwrap().netns, "");
        assert_eq!(params(&[("CNI_COMMAND", "STATUS")]).unwrap().verb, Verb::Status);
    }

    #[test]
    fn names_that_the_kernel_or_the_spec_forbid_are_refused() {
        for (name, value) in [
            ("CNI_IFNAME", "an-interface-name-too-long"),
            ("CNI_IFNAME", "a/b"),
            ("CNI_IFNAME", ".."),
            ("CNI_IFNAME", "a b"),
            ("CNI_CONTAINERID", "../../etc"),
            ("CNI_CONTAINERID", "-x"),
            ("CNI_COMMAND", "add"),
            ("CNI_ARGS", "lonely"),
        ] {
            let vars = ADD.map(|(key, old)| if key == name { (key, value) } else { (key, old) });
            let error = params(&vars).unwrap_err();
            assert!(error.details.contains(name), "{error}");
        }
    }
}
