//! Other people's daemons, run for the length of a test.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// A running daemon; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Holds its configuration and sockets.
    pub(crate) folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts `program` in a new folder that holds `config` under this name.
    pub(crate) fn start(program: &str, args: &[&str], name: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; ./testbed/run test installs it"));
        Self { child, folder }
    }

    /// Runs a command in its folder and gives what it prints.
    pub(crate) fn ask(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program).args(args).current_dir(self.path()).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Asks until the answer is as wanted; `what` is for the failure.
    pub(crate) async fn until(
        &self,
        what: &str,
        program: &str,
        args: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        let mut answer = String::new();
        for _ in 0..200 {
            answer = self.ask(program, args);
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("not {what}: {answer}");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}
