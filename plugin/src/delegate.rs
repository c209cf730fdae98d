//! Delegated IPAM: another plugin of the node that chooses the pod's addresses.
//!
//! In: its name, the folders of `CNI_PATH`, the configuration as the runtime wrote it. Out: what
//! the plugin printed, or its error with its name. Runs the program; decides nothing, and never
//! touches an address itself.

use std::{
    ffi::OsStr,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::cni::{Dns, Error, Ip, Route, code};

/// An IPAM plugin that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    program: PathBuf,
}

/// What an IPAM plugin prints for ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Chosen {
    /// The addresses.
    #[serde(default)]
    pub ips: Vec<Ip>,
    /// Routes for the pod.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Name servers.
    #[serde(default)]
    pub dns: Dns,
}

impl Delegate {
    /// The first program of that name in the folders of `cni_path`.
    ///
    /// # Errors
    ///
    /// [`code::INVALID_CONFIG`] if there is none.
    pub fn find(name: &str, cni_path: &str) -> Result<Self, Error> {
        let folders = std::env::split_paths(OsStr::new(cni_path));
        let mut programs =
            folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
        programs.find(|program| is_program(program)).map(|program| Self { program }).ok_or_else(|| Error {
            code: code::INVALID_CONFIG,
            msg: format!("the IPAM plugin {name} is not there"),
            details: format!(
                "no program of that name in CNI_PATH={cni_path}; install it or correct ipam.type"
            ),
        })
    }

    /// Runs it for a verb, with the runtime's own environment otherwise.
    ///
    /// # Errors
    ///
    /// The plugin's own error, with its name in front; [`code::IO_FAILURE`] if it cannot be run.
    pub fn call(&self, verb: &str, stdin: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |details: String| Error {
            code: code::IO_FAILURE,
            msg: format!("{} {verb} failed", self.program.display()),
            details,
        };
        let mut child = Command::new(&self.program)
            .env("CNI_COMMAND", verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut pipe) = child.stdin.take() {
            // A plugin may end without reading all of it; what it prints is what counts.
            let _ = pipe.write_all(stdin);
        }
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(serde_json::from_slice::<Error>(&output.stdout).map_or_else(
            |_| failed(format!("{}; it printed no error document", output.status)),
            |error| Error { msg: format!("{}: {}", self.program.display(), error.msg), ..error },
        ))
    }

    /// What it printed for ADD.
    ///
    /// # Errors
    ///
    /// As [`Delegate::call`]; [`code::DECODING_FAILURE`] if it is no result with an address.
    pub fn add(&self, stdin: &[u8]) -> Result<Chosen, Error> {
        let printed = self.call("ADD", stdin)?;
        let refused = |details: String| Error {
            code: code::DECODING_FAILURE,
            msg: format!("{} ADD gave no usable result", self.program.display()),
            details,
        };
        let chosen: Chosen =
            serde_json::from_slice(&printed).map_err(|error| refused(error.to_string()))?;
        if chosen.ips.is_empty() {
            return Err(refused("`ips` is empty; does its configuration name a range?".to_owned()));
        }
        Ok(chosen)
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn plugin(folder: &Path, script: &str) -> Delegate {
        let program = folder.join("fake-ipam");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Delegate::find("fake-ipam", &format!("/nonexistent:{}", folder.display())).unwrap()
    }

    #[test]
    fn what_the_plugin_prints_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"read conf; echo "{\"ips\":[{\"address\":\"10.9.0.2/24\"}],\"dns\":{\"domain\":\"$CNI_COMMAND\"}}""#;
        let chosen = plugin(folder.path(), script).add(b"{}\n").unwrap();
        assert_eq!(chosen.ips[0].address.to_string(), "10.9.0.2/24");
        assert_eq!(chosen.dns.domain.as_deref(), Some("ADD"));
    }

    #[test]
    fn an_error_of_the_plugin_is_passed_on_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"echo '{"code": 11, "msg": "range is full"}'; exit 1"#;
        let error = plugin(folder.path(), script).add(b"{}").unwrap_err();
        assert_eq!(error.code, 11);
        assert!(error.msg.contains("fake-ipam: range is full"), "{error}");
    }

    #[test]
    fn a_plugin_that_crashes_or_says_nonsense_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = plugin(folder.path(), "kill -9 $$").call("DEL", b"{}").unwrap_err();
        assert!(error.to_string().contains("fake-ipam"), "{error}");
        let error = plugin(folder.path(), "echo hello").add(b"{}").unwrap_err();
        assert_eq!(error.code, code::DECODING_FAILURE);
        let error = plugin(folder.path(), "echo '{}'").add(b"{}").unwrap_err();
        assert!(error.details.contains("ips"), "{error}");
    }

    #[test]
    fn a_plugin_that_is_not_there_is_named_with_the_folders() {
        let error = Delegate::find("host-local", "/nonexistent:relative").unwrap_err();
        assert_eq!(error.code, code::INVALID_CONFIG);
        assert!(error.to_string().contains("/nonexistent"), "{error}");
    }
}
