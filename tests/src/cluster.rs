//! A Kubernetes cluster as far as its API goes: the real API server with etcd, on loopback.
//!
//! In: the programs in `KUBEBUILDER_ASSETS`. Out: a running API server that knows our objects, and
//! `kubectl` to talk to it. Nothing is left behind however a test ends: the servers end with their
//! owner, and at the latest with the process of the test.

mod server;

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use self::server::Server;
use crate::node::program;

/// An API server with etcd.
pub struct Cluster {
    /// Stand before `folder`, and so are dropped first: what runs there ends before it is gone.
    api_server: Option<Server>,
    etcd: Option<Server>,
    folder: TempDir,
    assets: PathBuf,
    /// Of the API server.
    port: u16,
    /// Of etcd, for the API server.
    etcd_port: u16,
}

/// What `kubectl` made of a call.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether it exited with 0.
    pub good: bool,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Cluster {
    /// The cluster that the tests of this process share: it is started by the first that asks, and
    /// ends with the last. Objects of a test need names of their own.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::with_our_kinds());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// A cluster of one's own that knows our objects.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn with_our_kinds() -> Self {
        let cluster = Self::start();
        cluster.define(&routed_api::manifest());
        cluster
    }

    /// Applies definitions of kinds, as an administrator does, and waits until they are in force.
    ///
    /// # Panics
    ///
    /// If they are refused.
    pub fn define(&self, definitions: &str) {
        let manifest = self.path("crds.yaml");
        fs::write(&manifest, definitions).expect("write the manifest");
        self.must(&["apply", "--server-side", "-f", &manifest.display().to_string()]);
        self.must(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    }

    /// A cluster of one's own, which does not know our objects yet.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let assets = assets();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [client, peer, port] = free_ports();
        let (api_server, etcd, etcd_port) = (None, None, client);
        let mut cluster = Self { api_server, etcd, folder, assets, port, etcd_port };
        cluster.etcd = Some(cluster.start_etcd(peer));
        cluster.start_api_server();
        cluster
    }

    /// Kills the API server; etcd keeps what there is.
    pub fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts it, at the same place, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_api_server(&mut self) {
        self.api_server = Some(self.spawn_api_server());
        self.write_kubeconfig();
        self.wait_until_ready();
    }

    /// Where the API server listens, on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A file of the cluster's own.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The kubeconfig of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// `kubectl` with these arguments.
    #[must_use]
    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        self.kubectl_with(arguments, "")
    }

    /// The same with something on stdin.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    #[must_use]
    pub fn kubectl_with(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut child = Command::new(self.assets.join("kubectl"))
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.folder.path())
            .env("PATH", path_with_plugins())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start kubectl");
        let mut pipe = child.stdin.take().expect("it was asked for");
        // One that does not read it may have ended already.
        let _ = pipe.write_all(stdin.as_bytes());
        drop(pipe);
        let Output { status, stdout, stderr } = child.wait_with_output().expect("run kubectl");
        let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into_owned();
        Said { good: status.success(), out: text(stdout), err: text(stderr) }
    }

    /// What `kubectl` prints for a call that succeeds.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use = "or use `must`"]
    pub fn get(&self, arguments: &[&str]) -> String {
        let said = self.kubectl(arguments);
        assert!(said.good, "kubectl {arguments:?}: {}", said.err);
        said.out
    }

    /// A call that must succeed.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn must(&self, arguments: &[&str]) {
        let _ = self.get(arguments);
    }

    /// Creates the objects of a text.
    #[must_use]
    pub fn create(&self, yaml: &str) -> Said {
        self.kubectl_with(&["create", "-f", "-"], yaml)
    }

    /// A way to the API server without encryption, as an administrator; its port on loopback.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn proxy(&self) -> (Child, u16) {
        let [port] = free_ports();
        let child = Command::new(self.assets.join("kubectl"))
            .env("KUBECONFIG", self.kubeconfig())
            .args(["proxy", "--reject-paths=^$", &format!("--port={port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start kubectl");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "kubectl proxy does not listen");
            thread::sleep(Duration::from_millis(100));
        }
        (child, port)
    }

    fn start_etcd(&self, peer: u16) -> Server {
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{peer}");
        let data = self.path("etcd");
        let arguments = [
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        self.spawn("etcd", &arguments)
    }

    fn spawn_api_server(&self) -> Server {
        let key = self.path("service-account.key");
        make_key(&key);
        let tokens = self.path("tokens.csv");
        fs::write(&tokens, format!("{TOKEN},admin,admin,system:masters\n")).expect("write tokens");
        let key = key.display();
        let arguments = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", self.path("certificates").display()),
            format!("--token-auth-file={}", tokens.display()),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={key}"),
            format!("--service-account-signing-key-file={key}"),
            // The address of the Service "kubernetes" cannot be a loopback one.
            "--endpoint-reconciler-type=none".to_owned(),
            // It would wait for service accounts that nobody makes here.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ];
        self.spawn("kube-apiserver", &arguments)
    }

    fn spawn(&self, program: &str, arguments: &[String]) -> Server {
        let log = self.path(program).with_extension("log");
        Server::start(&self.assets.join(program), arguments, &log)
    }

    fn write_kubeconfig(&self) {
        let certificate = self.path("certificates/apiserver.crt");
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: test\n  cluster:\n    server: https://127.0.0.1:{}\n    \
             certificate-authority: {}\n\
             users:\n- name: admin\n  user:\n    token: {TOKEN}\n\
             contexts:\n- name: test\n  context: {{cluster: test, user: admin}}\n",
            self.port,
            certificate.display()
        );
        fs::write(self.kubeconfig(), config).expect("write kubeconfig");
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut last = "nothing listens".to_owned();
        let run = || self.api_server.iter().chain(&self.etcd).all(Server::runs);
        while Instant::now() < deadline && run() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                let said = self.kubectl(&["get", "--raw", "/readyz"]);
                if said.good && said.out.trim() == "ok" {
                    return;
                }
                last = said.err;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let tail = |name| tail(&self.path(name));
        let (etcd, server) = (tail("etcd.log"), tail("kube-apiserver.log"));
        panic!("no API server: {last}\netcd:\n{etcd}\nkube-apiserver:\n{server}");
    }
}

/// The folder with `etcd`, `kube-apiserver` and `kubectl`: `KUBEBUILDER_ASSETS`, as for envtest, or
/// where `testbed/run kubernetes` has put them, which makes them first if it must.
fn assets() -> PathBuf {
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS") {
        return folder.into();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/run");
    let output = Command::new(&script).arg("kubernetes").output().expect("run testbed/run");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_owned();
    assert!(
        output.status.success(),
        "no API server to test with, and `testbed/run kubernetes` made none; name a folder with \
         etcd, kube-apiserver and kubectl in KUBEBUILDER_ASSETS, or mend this:\n{}",
        text(&output.stderr)
    );
    text(&output.stdout).into()
}

/// Where kubectl finds `kubectl-slash32`.
fn path_with_plugins() -> String {
    let plugin = program("kubectl-slash32");
    let folder = plugin.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

/// A private key with which the API server could sign tokens.
fn make_key(file: &Path) {
    let output = Command::new("openssl")
        .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
        .arg(file)
        .output()
        .expect("run openssl, which is in Debian's package openssl");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl makes no key: {complaint}");
}

/// Ports that nobody has; held all at once, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

fn tail(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(30).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The administrator's. The API server listens on loopback only, for as long as the test.
const TOKEN: &str = "test";
/// Far more than a start takes, even where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(180);
