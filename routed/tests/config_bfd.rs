//! Promises of `[peers.bfd]` in `routed.toml`.

use std::{path::Path, time::Duration};

use routed::config::{Bfd, Config, Reach};
use routed_core::bfd::{Interval, Key, Settings};

fn text(peer: &str, bfd: &str) -> String {
    format!(
        "[node]\nname = \"n1\"\nmode = \"speaker\"\n[bgp]\nasn = 64512\nrouter_id = \"10.0.0.1\"\n\
         import = \"all\"\nexport = \"all\"\n[[peers]]\naddress = \"10.1.1.0\"\nasn = 64600\n{peer}\n{bfd}\n"
    )
}

fn of(peer: &str, bfd: &str) -> Option<Bfd> {
    let text = text(peer, bfd);
    let loaded = Config::parse(Path::new("routed.toml"), &text);
    loaded.unwrap_or_else(|error| panic!("{text}\n{error}")).config.peers.remove(0).bfd
}

fn fault_of(bfd: &str) -> String {
    let invalid = Config::parse(Path::new("routed.toml"), &text("", bfd)).expect_err(bfd);
    let faults = invalid.faults.iter();
    faults.map(|fault| format!("{}: {}", fault.place.key, fault.problem)).collect()
}

#[test]
fn table_without_keys_is_bfd_as_it_is_usual() {
    assert_eq!(of("", ""), None);
    let usual = of("", "[peers.bfd]").unwrap();
    assert_eq!(
        usual,
        Bfd {
            session: Settings::default(),
            reach: Reach::SingleHop,
            strict: false,
            graceful: false,
        }
    );
}

#[test]
fn every_key_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "secret\n").unwrap();
    let bfd = of(
        "",
        &format!(
            "[peers.bfd]\ntransmit_interval = 50\nreceive_interval = 100\ndetect_multiplier = 5\n\
             passive = true\nstrict = true\ngraceful = true\nkey_file = \"{}\"\nkey_id = 7\n\
             meticulous = false\n",
            path.display()
        ),
    );
    let interval = |millis| Interval::new(Duration::from_millis(millis)).unwrap();
    assert_eq!(
        bfd.unwrap(),
        Bfd {
            session: Settings {
                transmit: interval(50),
                receive: interval(100),
                detect_mult: 5.try_into().unwrap(),
                passive: true,
                key: Some(Key::new(7, b"secret", false).unwrap()),
            },
            reach: Reach::SingleHop,
            strict: true,
            graceful: true,
        }
    );
}

#[test]
fn peer_behind_routers_has_bfd_over_several_hops() {
    let reach = |peer| of(peer, "[peers.bfd]").unwrap().reach;
    assert_eq!(reach("multihop = 1"), Reach::SingleHop);
    assert_eq!(reach("multihop = 3"), Reach::Multihop { least_ttl: 1 });
    assert_eq!(reach("ttl_security = 1"), Reach::SingleHop);
    assert_eq!(reach("ttl_security = 3"), Reach::Multihop { least_ttl: 253 });
    assert_eq!(reach("ttl_security = 254"), Reach::Multihop { least_ttl: 2 });
}

#[test]
fn faults_name_the_key_and_the_remedy() {
    let table = |line: &str| fault_of(&format!("[peers.bfd]\n{line}\n"));
    assert_eq!(
        table("transmit_interval = 5"),
        "peers[0].bfd.transmit_interval: 5 is not allowed; use 10 to 60000"
    );
    assert_eq!(
        table("detect_multiplier = 0"),
        "peers[0].bfd.detect_multiplier: 0 is not allowed; use 1 to 255"
    );
    assert!(table("key_id = 3").contains("write key_file = "), "{}", table("key_id = 3"));
    assert!(table("interval = 3").contains("peers[0].bfd.interval: unknown key"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "123456789012345678901\n").unwrap();
    assert_eq!(
        table(&format!("key_file = \"{}\"", path.display())),
        "peers[0].bfd.key_file: a BFD key has 1 to 20 octets (RFC 5880 §4.4), this one 21"
    );
    assert_eq!(fault_of("bfd = true"), "peers[0].bfd: must be a table, not boolean");
}
