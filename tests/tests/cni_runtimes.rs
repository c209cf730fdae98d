//! Real container runtimes: podman with its CNI backend, and containerd with `ctr run --cni`, from
//! Debian's packages, with containers from a root filesystem made on the spot.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    node::{Node, on_a_node, try_run},
    podman::Podman,
    runtime::plugin_path,
};

const DUAL: &str = "ipv4 = [\"10.244.1.0/24\"]\nipv6 = [\"fd00:10:244:1::/64\"]\ncooldown = 0\n";

/// A root filesystem with busybox, which serves one page on port 80.
fn root_filesystem(node: &Node) -> PathBuf {
    let root = node.path("rootfs");
    for folder in ["bin", "proc", "sys", "dev", "etc", "tmp", "run", "www"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))
        .expect("busybox is installed (Debian: apt-get install busybox-static)");
    for program in ["sh", "httpd", "ip", "ping", "sleep"] {
        symlink("busybox", root.join("bin").join(program)).unwrap();
    }
    fs::write(root.join("www/index.html"), "hello").unwrap();
    root
}

fn conflist(node: &Node, folder: &Path) {
    let plugins = json!([
        {"type": "slash32", "socket": node.path("cni.sock"), "capabilities": {"ips": true, "mac": true}},
        {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
    ]);
    let conflist = json!({"cniVersion": "1.0.0", "name": "slash32", "plugins": plugins});
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("10-slash32.conflist"), conflist.to_string()).unwrap();
}

/// One page of the container's server.
fn fetch(at: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream =
        std::net::TcpStream::connect_timeout(&at.parse().unwrap(), Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn wait_for_page(at: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fetch(at).is_some_and(|page| page.ends_with("hello")) {
        assert!(Instant::now() < deadline, "no page from {at}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Addresses of the only pod that the daemon knows, IPv4 first.
fn pod(node: &Node) -> [String; 2] {
    let pods: Value = serde_json::from_str(&node.routed("show pods -o json").unwrap()).unwrap();
    assert_eq!(pods.as_array().unwrap().len(), 1, "{pods}");
    ["ipv4", "ipv6"].map(|family| pods[0][family].as_str().unwrap().to_owned())
}

#[test]
fn podman_starts_and_removes_containers_with_a_published_port() {
    on_a_node(DUAL, |node| {
        let root = root_filesystem(node);
        conflist(node, &node.path("net.d"));
        let podman = Podman::new(node);
        let before = node.state();
        let run = format!(
            "run -d --name web --network slash32 -p 8080:80 --rootfs {} /bin/httpd -f -h /www",
            root.display()
        );
        podman.must(&run);
        let [four, six] = pod(node);
        wait_for_page(&format!("{four}:80"));
        wait_for_page(&format!("[{six}]:80"));
        wait_for_page("192.0.2.1:8080");
        let shown = podman.run("exec web /bin/ip address show eth0");
        assert!(
            shown.contains(&format!("{four}/32")) && shown.contains(&format!("{six}/128")),
            "{shown}"
        );
        podman.must("exec web /bin/ping -c 1 -W 2 192.0.2.1");
        podman.must("rm -f -t 0 web");
        node.settles_to(&before);
        assert!(fetch("192.0.2.1:8080").is_none());
        // A second one, with the daemon killed before it is removed.
        podman.must(&run);
        pod(node);
        node.kill();
        podman.must("rm -f -t 0 web");
        node.start();
        node.settles_to(&before);
    });
}

/// containerd, ended with the test.
struct Containerd(Child);

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn containerd_starts_and_removes_containers() {
    on_a_node(DUAL, |node| {
        let root = root_filesystem(node);
        // `ctr run --cni` looks in these two places only; here they are the test's own.
        for (place, own) in [("/etc/cni/net.d", "net.d"), ("/opt/cni/bin", "bin")] {
            let own = node.path(own);
            fs::create_dir_all(&own).unwrap();
            fs::create_dir_all(place).unwrap();
            node.run(&format!("mount --bind {} {place}", own.display()));
        }
        conflist(node, &node.path("net.d"));
        for plugin in ["slash32", "portmap"] {
            let mut folders = std::env::split_paths(&plugin_path()).collect::<Vec<_>>().into_iter();
            let found = folders.find(|folder| folder.join(plugin).is_file()).unwrap();
            symlink(found.join(plugin), node.path("bin").join(plugin)).unwrap();
        }
        let dir = node.path("containerd");
        fs::create_dir_all(&dir).unwrap();
        let dir = dir.display();
        let disabled = [
            "grpc.v1.cri",
            "snapshotter.v1.btrfs",
            "snapshotter.v1.zfs",
            "snapshotter.v1.devmapper",
        ];
        let disabled = disabled.map(|plugin| format!("\"io.containerd.{plugin}\"")).join(", ");
        let settings = format!(
            "version = 2\nroot = \"{dir}/root\"\nstate = \"{dir}/state\"\ndisabled_plugins = [{disabled}]\n\
             [grpc]\naddress = \"{dir}/c.sock\"\n[ttrpc]\naddress = \"{dir}/t.sock\"\n"
        );
        fs::write(node.path("containerd.toml"), settings).unwrap();
        let log = fs::File::create(node.path("containerd.log")).unwrap();
        let mut daemon = Command::new("containerd");
        daemon.arg("-c").arg(node.path("containerd.toml")).stderr(log);
        let daemon =
            daemon.spawn().expect("containerd is installed (Debian: apt-get install containerd)");
        let _daemon = Containerd(daemon);
        let ctr = |arguments: &str| try_run(&format!("ctr -a {dir}/c.sock {arguments}"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while ctr("version").is_err() {
            assert!(Instant::now() < deadline, "containerd does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        let before = node.state();
        ctr(&format!("run -d --cni --rootfs {} web /bin/httpd -f -h /www", root.display()))
            .unwrap();
        let [four, six] = pod(node);
        wait_for_page(&format!("{four}:80"));
        wait_for_page(&format!("[{six}]:80"));
        let shown = ctr("task exec --exec-id show web /bin/ip route").unwrap();
        assert!(shown.contains("default via 169.254.1.1 dev eth0"), "{shown}");
        // `ctr run -d` leaves DEL to whoever removes the task, and ctr never does: the namespace goes
        // with the container, and the daemon notices.
        ctr("task kill -s KILL web").unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while ctr("task rm web").is_err() && ctr("task ls").unwrap().contains("web") {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(100));
        }
        ctr("container rm web").unwrap();
        node.settles_to(&before);
    });
}
