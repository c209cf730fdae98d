//! What survives a restart, and what a broken journal costs.

use std::os::unix::fs::PermissionsExt;

use routed_core::{
    attachment::AttachmentId,
    ipam::{IpamSettings, Lease, PoolSettings, Wish},
};

use super::*;

fn ipam() -> Ipam {
    let pool = PoolSettings {
        name: "default".to_owned(),
        ranges: vec!["10.0.0.0/24".parse().unwrap()],
        block_ipv4: 26,
        block_ipv6: 122,
        announce: true,
    };
    let cooldown = Duration::from_secs(30);
    Ipam::new(IpamSettings {
        pools: vec![pool],
        reserved: vec![],
        floating: Vec::new(),
        lost: Vec::new(),
        cooldown,
    })
}

fn id(number: usize) -> AttachmentId {
    AttachmentId::new("net", &format!("c{number}"), "eth0").unwrap()
}

/// Leases as the pump does, with the journal.
fn lease(ipam: &mut Ipam, journal: &mut Journal, number: usize) -> Lease {
    let lease = ipam.lease(&id(number), &Wish::default(), Instant::now()).unwrap();
    journal.note(Record::Leased(id(number), lease));
    journal.flush(ipam);
    lease
}

fn release(ipam: &mut Ipam, journal: &mut Journal, number: usize) -> Instant {
    let now = Instant::now();
    let lease = ipam.release(&id(number), now).unwrap();
    journal.note(Record::Released(lease, now));
    journal.flush(ipam);
    now
}

#[test]
fn leases_and_idle_addresses_are_known_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let (mut journal, memory) = Journal::open(&path);
    assert_eq!(memory, Memory::default());
    let mut ipam = ipam();
    let [first, second] = [1, 2].map(|number| lease(&mut ipam, &mut journal, number));
    let since = release(&mut ipam, &mut journal, 1);

    let (_, memory) = Journal::open(&path);
    assert_eq!(memory.leases, [(id(2), second)]);
    let [(address, remembered)] = memory.idle[..] else { panic!("{memory:?}") };
    assert_eq!(Some(address), first.iter().next());
    let off = remembered.max(since) - remembered.min(since);
    assert!(off < Duration::from_millis(5), "{off:?}");
}

#[test]
fn what_was_not_written_whole_is_left_out_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let (mut journal, _) = Journal::open(&path);
    let mut ipam = ipam();
    let one = lease(&mut ipam, &mut journal, 1);
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("nonsense\nleased net c7 eth0 10.0.0.7\nidle 10.0.0.9 12");
    fs::write(&path, text).unwrap();
    let (_, memory) = Journal::open(&path);
    let seven = Lease { ipv4: "10.0.0.7".parse().ok(), ipv6: None };
    assert_eq!(memory.leases, [(id(1), one), (id(7), seven)]);
    assert_eq!(memory.idle, []);
}

#[test]
fn journals_of_another_boot_or_release_or_of_nothing_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let line = "idle 10.0.0.9 12\n";
    for first in ["slash32-leases 1 of-another-boot\n", "slash32-leases 2 x\n", "", "\0\0\n"] {
        fs::write(&path, format!("{first}{line}")).unwrap();
        let (mut journal, memory) = Journal::open(&path);
        assert_eq!(memory, Memory::default(), "{first:?}");
        // It is replaced by the first that is written.
        let mut ipam = ipam();
        lease(&mut ipam, &mut journal, 1);
        assert_eq!(Journal::open(&path).1.leases.len(), 1, "{first:?}");
    }
    fs::write(&path, [0xff, 0xfe, b'\n']).unwrap();
    assert_eq!(Journal::open(&path).1, Memory::default());
}

#[test]
fn file_stays_short_however_many_pods_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let (mut journal, _) = Journal::open(&path);
    let mut ipam = ipam();
    let mut longest = 0;
    for number in 0..2 * LINES_MAX {
        let wish = Wish { addresses: vec!["10.0.0.5".parse().unwrap()], ..Wish::default() };
        let got = ipam.lease(&id(number), &wish, Instant::now()).unwrap();
        journal.note(Record::Leased(id(number), got));
        journal.flush(&ipam);
        release(&mut ipam, &mut journal, number);
        longest = longest.max(fs::metadata(&path).unwrap().len());
    }
    assert!(longest < 512 << 10, "{longest}");
    assert_eq!(Journal::open(&path).1.idle.len(), 1);
}

#[test]
fn full_disk_is_survived_and_the_journal_whole_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    // Needs root, as the other tests of the kernel do.
    let mounted = std::process::Command::new("unshare")
        .args(["--mount", "true"])
        .status()
        .is_ok_and(|status| status.success());
    assert!(mounted, "the tests need root");
    std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS | nix::sched::CloneFlags::CLONE_NEWNS)
            .unwrap();
        let mount = |arguments: &[&str]| {
            let status = std::process::Command::new("mount").args(arguments).status().unwrap();
            assert!(status.success());
        };
        mount(&["--make-rprivate", "/"]);
        mount(&["-t", "tmpfs", "-o", "size=16k", "none", disk.to_str().unwrap()]);
        let path = disk.join("leases");
        let (mut journal, _) = Journal::open(&path);
        let mut ipam = ipam();
        lease(&mut ipam, &mut journal, 1);
        let hog = disk.join("hog");
        let _ = fs::write(&hog, vec![0; 64 << 10]);
        for number in 2..200 {
            lease(&mut ipam, &mut journal, number);
        }
        assert!(journal.failing);
        fs::remove_file(&hog).unwrap();
        lease(&mut ipam, &mut journal, 200);
        assert_eq!(Journal::open(&path).1.leases.len(), 200);
        fs::set_permissions(&disk, fs::Permissions::from_mode(0o700)).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn addresses_given_back_in_one_millisecond_keep_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    let (mut journal, _) = Journal::open(&path);
    lease(&mut ipam(), &mut journal, 1);
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("idle 10.0.0.9 1\nidle 10.0.0.3 1\nidle 10.0.0.5 1\nidle 10.0.0.1 0\n");
    fs::write(&path, text).unwrap();
    let (_, memory) = Journal::open(&path);
    let order: Vec<_> = memory.idle.iter().map(|(address, _)| address.to_string()).collect();
    assert_eq!(order, ["10.0.0.1", "10.0.0.9", "10.0.0.3", "10.0.0.5"]);
}
