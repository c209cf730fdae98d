//! A node of its own for a test: a network and mount namespace with the real daemon in it.
//!
//! In: what `routed.toml` shall say beyond names and sockets. Out: the running node, its pods'
//! namespaces, commands in either. Nothing is left behind however a test ends: a namespace lives as
//! long as its processes and descriptors, and the daemon is killed with the node.

use std::{
    fs::{self, File},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use routed::kernel::netns::Traveller;
use tempfile::TempDir;

/// A node.
pub struct Node {
    folder: TempDir,
    daemon: Option<Child>,
    traveller: Traveller,
    env: Vec<(String, PathBuf)>,
}

/// Runs a test on a thread of its own, which is a node of its own: `pods` are lines of the section
/// `[pods]`, as in `ipv4 = ["10.244.1.0/24"]`.
///
/// # Panics
///
/// If the node cannot be made (it takes root), or the test panics.
pub fn on_a_node(pods: &str, test: impl FnOnce(&mut Node) + Send) {
    thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
                .expect("the tests need root");
            let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("own mounts");
            own_sys();
            let mut node = Node::new(pods);
            test(&mut node);
        };
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

impl Node {
    fn new(pods: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().display();
        let config = format!(
            "[node]\nname = \"node\"\n[bgp]\nasn = 4200000011\nrouter_id = \"192.0.2.1\"\n\
             listen = []\n[sockets]\ncni = \"{dir}/cni.sock\"\nadmin = \"{dir}/routed.sock\"\n\
             http = \"\"\n[pods]\n{pods}\n"
        );
        fs::write(folder.path().join("routed.toml"), config).expect("write routed.toml");
        let traveller = Traveller::at_home().expect("/proc is mounted");
        let mut node = Self { folder, daemon: None, traveller, env: Vec::new() };
        for command in [
            "ip link set lo up",
            "ip address add 192.0.2.1/32 dev lo",
            "ip address add 2001:db8::1/128 dev lo nodad",
        ] {
            node.run(command);
        }
        node.start();
        node
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it does not, within a time that only a hanging one needs.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let daemon = Command::new(program("routed"))
            .args(["run", "--config"])
            .arg(self.path("routed.toml"))
            .env("RUST_LOG", "debug")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stderr(log)
            .spawn();
        self.daemon = Some(daemon.expect("start routed"));
        let deadline = Instant::now() + PATIENCE;
        // The administrator's socket comes after the plugin's.
        let is_deaf =
            |socket: &str| std::os::unix::net::UnixStream::connect(self.path(socket)).is_err();
        while is_deaf("cni.sock") || is_deaf("routed.sock") {
            assert!(Instant::now() < deadline, "routed does not answer:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sets a variable of the environment of every daemon that is started from now on.
    pub fn set_env(&mut self, name: &str, value: &Path) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Kills the daemon at once (SIGKILL).
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        daemon.kill().and_then(|()| daemon.wait()).expect("kill routed");
    }

    /// Process id of the daemon.
    #[must_use]
    pub fn daemon(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// A file or folder of the node's own.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A command on the node; what it prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn run(&self, command: &str) -> String {
        try_run(command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a program in a pod.
    ///
    /// # Panics
    ///
    /// If it cannot be started there.
    #[must_use]
    pub fn start_inside(&self, pod: &Pod, command: &str) -> Child {
        let mut words = command.split_whitespace();
        let mut program = Command::new(words.next().unwrap_or_default());
        program.args(words).stdin(Stdio::null());
        let start = || program.spawn();
        self.traveller.within(pod.netns.as_fd(), start).expect("enter the pod").expect("start it")
    }

    /// `routed` with these arguments and the node's sockets; what it prints, or why it failed.
    ///
    /// # Errors
    ///
    /// What it printed if it failed.
    pub fn routed(&self, arguments: &str) -> Result<String, String> {
        let socket = self.path("routed.sock");
        try_run(&format!(
            "{} {arguments} --socket {}",
            program("routed").display(),
            socket.display()
        ))
    }

    /// A command in a pod; what it prints.
    ///
    /// # Errors
    ///
    /// What it printed if it failed.
    ///
    /// # Panics
    ///
    /// If the pod's namespace cannot be entered.
    pub fn inside(&self, pod: &Pod, command: &str) -> Result<String, String> {
        self.traveller.within(pod.netns.as_fd(), || try_run(command)).expect("enter the pod")
    }

    /// A listener in a pod that greets who connects. Lives as long as the test.
    ///
    /// # Panics
    ///
    /// If it cannot listen.
    pub fn serve(&self, pod: &Pod, port: u16) {
        let bind =
            || TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
        let listener = self.traveller.within(pod.netns.as_fd(), bind).expect("enter the pod");
        let listener = listener.expect("listen in the pod");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = std::io::Write::write_all(&mut &stream, b"hello");
            }
        });
    }

    /// A listener in a pod that tells who connects the address that it sees. Lives as long as the
    /// test.
    ///
    /// # Panics
    ///
    /// If it cannot listen.
    pub fn tell_address(&self, pod: &Pod, port: u16) {
        let bind = || TcpListener::bind(("::", port));
        let listener = self.traveller.within(pod.netns.as_fd(), bind).expect("enter the pod");
        let listener = listener.expect("listen in the pod");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = stream.peer_addr().map(|peer| peer.ip().to_canonical().to_string());
                let _ =
                    std::io::Write::write_all(&mut &stream, seen.unwrap_or_default().as_bytes());
            }
        });
    }

    /// The address by which somebody who [tells](Self::tell_address) it there sees this pod.
    ///
    /// # Errors
    ///
    /// Why there was no answer.
    ///
    /// # Panics
    ///
    /// If the pod's namespace cannot be entered.
    pub fn seen_as(&self, pod: &Pod, at: SocketAddr) -> Result<IpAddr, String> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(3))?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            let mut seen = String::new();
            std::io::Read::read_to_string(&mut stream, &mut seen)?;
            Ok(seen)
        };
        let seen = self.traveller.within(pod.netns.as_fd(), ask).expect("enter the pod");
        let seen = seen.map_err(|error| format!("{at}: {error}"))?;
        seen.parse().map_err(|error| format!("{at} said {seen:?}: {error}"))
    }

    /// Is there somebody who greets at this address?
    #[must_use]
    pub fn is_greeted(&self, at: SocketAddr) -> bool {
        let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_secs(2)) else {
            return false;
        };
        let mut greeting = [0; 5];
        std::io::Read::read_exact(&mut &stream, &mut greeting).is_ok() && &greeting == b"hello"
    }

    /// One echo request to an address, from the node or from a pod.
    ///
    /// # Errors
    ///
    /// What ping says if there is no answer.
    pub fn ping(&self, from: Option<&Pod>, to: IpAddr) -> Result<(), String> {
        let command = format!("ping -c 1 -W 2 -n {to}");
        from.map_or_else(|| try_run(&command), |pod| self.inside(pod, &command)).map(drop)
    }

    /// Everything that a pod could have left in the node's namespace.
    #[must_use]
    pub fn state(&self) -> String {
        let links = self.run("ip -o link").replace(" state UNKNOWN ", " state UP ");
        let parts = ["address", "route show table all", "neigh show nud permanent", "rule"];
        let parts = parts.map(|part| self.run(&format!("ip -o {part}")));
        let all = format!("{links}\n{}", parts.join("\n"));
        // The node's own ranges are no pod's, and come a moment after the socket answers.
        let of_pods = all.lines().filter(|line| !line.starts_with("blackhole "));
        of_pods.collect::<Vec<_>>().join("\n")
    }

    /// Waits until the node's state is as it was.
    ///
    /// # Panics
    ///
    /// If it is not, within a time that only a leak needs.
    pub fn settles_to(&self, before: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.state() != before {
            assert!(Instant::now() < deadline, "before:\n{before}\nnow:\n{}", self.state());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill().and_then(|()| daemon.wait());
        }
        if thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// /sys shows the interfaces of the namespace in which it was mounted, and plugins look there. The
/// control groups mounted below it stay where they are.
fn own_sys() {
    let aside = tempfile::tempdir().expect("a temporary folder");
    let groups = Path::new("/sys/fs/cgroup");
    let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
    let bind = |from: &Path, to: &Path| {
        mount(Some(from), to, None::<&str>, recursive, None::<&str>).expect("bind /sys/fs/cgroup");
    };
    bind(groups, aside.path());
    mount(Some("none"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>).expect("own /sys");
    bind(aside.path(), groups);
    umount2(aside.path(), MntFlags::MNT_DETACH).expect("unmount what was set aside");
}

/// A pod's namespace.
pub struct Pod {
    /// The runtime's name for it.
    pub id: String,
    netns: OwnedFd,
}

impl Pod {
    /// A new namespace.
    ///
    /// # Panics
    ///
    /// If there can be none.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let open = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            OwnedFd::from(File::open("/proc/thread-self/ns/net").expect("/proc is mounted"))
        };
        let netns = thread::spawn(open).join().expect("a namespace");
        Self { id: id.to_owned(), netns }
    }

    /// The namespace.
    #[must_use]
    pub const fn netns(&self) -> &OwnedFd {
        &self.netns
    }

    /// A path by which other programs find the namespace, for as long as this value lives.
    #[must_use]
    pub fn netns_path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.netns.as_raw_fd())
    }
}

/// A program of this workspace, as it was built last.
///
/// # Panics
///
/// If it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("SLASH32_BIN_DIR").map(PathBuf::from);
    let folder = folder.or_else(|| {
        // target/debug/deps/TEST
        Some(std::env::current_exe().ok()?.parent()?.parent()?.to_owned())
    });
    let program = folder.unwrap_or_default().join(name);
    assert!(
        program.is_file(),
        "{} is not there; run `cargo build --workspace --bins` first",
        program.display()
    );
    program
}

/// A program of the system, where Debian's packages put it.
#[must_use]
pub fn is_installed(path: &str) -> bool {
    Path::new(path).is_file()
}

/// A command on the calling thread's node; what it prints.
///
/// # Errors
///
/// What it printed if it failed.
pub fn try_run(command: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{command}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Only what hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
