//! Whether this router is drained: everything that peers are told carries GRACEFUL_SHUTDOWN, so that
//! traffic goes elsewhere before the router does (RFC 8326).
//!
//! In: what `routed.toml` says, and what operators ask of the running daemon. Out: the setting in
//! force, and a mark in /run, which lives as long as a boot: a daemon that is restarted stays drained,
//! a node that is booted anew does what its file says.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{config::Config, restart::boot};

/// Who wants the router drained.
#[derive(Debug)]
pub(crate) struct Drain {
    by_file: bool,
    by_operator: bool,
    mark: PathBuf,
}

impl Drain {
    /// As this run begins: by what the file says, or by a mark of this boot. Puts it in force.
    pub(crate) fn at_start(config: &mut Config) -> Self {
        let mark = place(config);
        let by_operator = fs::read_to_string(&mark).is_ok_and(|text| text.trim() == boot());
        let drain = Self { by_file: config.speaker.drain, by_operator, mark };
        drain.put_in_force(config);
        drain
    }

    /// Lets a configuration from the file say what holds.
    pub(crate) const fn put_in_force(&self, config: &mut Config) {
        config.speaker.drain |= self.by_operator;
    }

    /// Remembers what the file in force says.
    pub(crate) const fn file_says(&mut self, drain: bool) {
        self.by_file = drain;
    }

    /// Does the file want it, whatever operators say?
    pub(crate) const fn is_by_file(&self) -> bool {
        self.by_file
    }

    /// Is there a mark of an operator?
    pub(crate) const fn is_by_operator(&self) -> bool {
        self.by_operator
    }

    /// An operator wants it, or no longer.
    ///
    /// # Errors
    ///
    /// The file system's, if the next run of the daemon cannot be told; it holds for this run all
    /// the same.
    pub(crate) fn order(&mut self, wanted: bool) -> io::Result<()> {
        self.by_operator = wanted;
        if !wanted {
            return match fs::remove_file(&self.mark) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        // Written whole or not at all.
        let draft = self.mark.with_extension("drain.new");
        fs::write(&draft, boot() + "\n")?;
        fs::rename(draft, &self.mark)
    }
}

/// Beside the administrator's socket, so that several daemons on a host keep apart.
fn place(config: &Config) -> PathBuf {
    mark_beside(&config.sockets.admin)
}

/// The mark of the daemon with this socket.
pub(crate) fn mark_beside(socket: &Path) -> PathBuf {
    socket.with_extension("drain")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path, more: &str) -> Config {
        let text = format!(
            "[node]\nname = \"n\"\nmode = \"speaker\"\n\
             [bgp]\nasn = 65001\nrouter_id = \"10.0.0.1\"\n{more}\n\
             [[peers]]\naddress = \"10.1.1.0\"\nasn = 65002\n\
             [sockets]\nadmin = \"{}/routed.sock\"\n",
            folder.display()
        );
        Config::parse(Path::new("routed.toml"), &text).unwrap().config
    }

    /// Whether a run that begins now is drained.
    fn begins_drained(folder: &Path, more: &str) -> bool {
        let mut config = config(folder, more);
        Drain::at_start(&mut config);
        config.speaker.drain
    }

    #[test]
    fn an_operators_wish_outlasts_the_daemon_and_not_the_boot() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!begins_drained(folder.path(), ""));
        let mut drain = Drain::at_start(&mut config(folder.path(), ""));
        drain.order(true).unwrap();
        assert!(begins_drained(folder.path(), ""));
        drain.order(false).unwrap();
        drain.order(false).unwrap();
        assert!(!begins_drained(folder.path(), ""));
        fs::write(folder.path().join("routed.drain"), "another boot\n").unwrap();
        assert!(!begins_drained(folder.path(), ""));
    }

    #[test]
    fn the_file_drains_whatever_operators_say() {
        let folder = tempfile::tempdir().unwrap();
        assert!(begins_drained(folder.path(), "drain = true"));
        let mut drain = Drain::at_start(&mut config(folder.path(), "drain = true"));
        drain.order(false).unwrap();
        assert!(drain.is_by_file());
    }
}
