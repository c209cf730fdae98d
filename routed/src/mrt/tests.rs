use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bgp::{
    aspath::Asn,
    mrt::{Conversation, HEADER_LEN, Said, record_len},
    timestamp::Timestamp,
};
use tempfile::TempDir;

use super::*;

fn recording(file: &Path) -> Recording {
    Recording {
        file: file.to_owned(),
        peers: None,
        received: true,
        sent: true,
        states: true,
        rotate_interval: None,
        rotate_size: None,
        keep: None,
    }
}

/// A record with this text for a message.
fn record(text: &str) -> Bytes {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let conversation = Conversation {
        peer_asn: Asn(64_512),
        local_asn: Asn(64_513),
        peer: address("10.1.1.0"),
        local: address("10.1.1.1"),
    };
    let said = Said { four_octet_as: true, add_path: false };
    conversation.heard(text.as_bytes(), said, Timestamp::from_seconds(1_600_000_000))
}

/// The texts of a file's records.
fn texts(path: &Path) -> Vec<String> {
    let octets = fs::read(path).unwrap_or_default();
    let mut rest = &octets[..];
    let mut texts = Vec::new();
    while let Some(header) = rest.first_chunk::<HEADER_LEN>() {
        let (record, others) = rest.split_at(record_len(*header).try_into().unwrap());
        // Behind the header: microseconds, two ASes, interface, family, two addresses.
        let text = &record[HEADER_LEN + 4 + 8 + 4 + 8..];
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        rest = others;
    }
    assert!(rest.is_empty(), "a record is cut off: {rest:?}");
    texts
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Files that were put aside, oldest first.
fn aside(folder: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| !path.ends_with("u.mrt")).collect();
    paths.sort_by_key(|path| path.file_stem().unwrap().to_owned());
    paths
}

#[test]
fn records_are_written_in_order_and_a_later_run_goes_on_after_the_last_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("u.mrt");
    let first = Recorder::off();
    first.push(record("before it is configured"));
    first.configure(Some(&recording(&file))).unwrap();
    ["one", "two"].into_iter().for_each(|text| first.push(record(text)));
    first.stop();
    assert_eq!(texts(&file), ["one", "two"]);
    first.push(record("after the end"));

    // A crash has cut off a record.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], &record("never written whole")[..30]].concat()).unwrap();
    let second = Recorder::off();
    second.configure(Some(&recording(&file))).unwrap();
    second.push(record("three"));
    second.stop();
    assert_eq!(texts(&file), ["one", "two", "three"]);
    let status = second.status();
    assert_eq!((status.records, status.dropped, status.queued), (1, 0, 0));
    assert_eq!(status.file_octets, fs::metadata(&file).unwrap().len());
}

#[test]
fn files_are_put_aside_by_size_and_only_so_many_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("u.mrt");
    for other in ["u.mrt.old", "u.20261127.mrt", "w.20261127T081500Z.mrt"] {
        fs::write(folder.path().join(other), "another's").unwrap();
    }
    let others = aside(&folder);
    let recorder = Recorder::off();
    let settings = Recording { rotate_size: Some(100), keep: Some(2), ..recording(&file) };
    recorder.configure(Some(&settings)).unwrap();
    for number in 0..5_u64 {
        recorder.push(record(&format!("{number}, long enough for a file of its own: {:60}", "")));
        eventually("it is put aside", || recorder.status().rotations == number + 1);
    }
    recorder.stop();
    let kept: Vec<_> = aside(&folder).into_iter().filter(|path| !others.contains(path)).collect();
    let numbers: Vec<_> = kept.iter().map(|path| texts(path)[0][..1].to_owned()).collect();
    assert_eq!(numbers, ["3", "4"], "{kept:?}");
    assert!(others.iter().all(|path| path.exists()), "others' files are left alone");
}

#[test]
fn a_file_is_put_aside_under_the_time_of_its_first_record_when_it_is_old_enough() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("u.mrt");
    // Of an earlier run: 2020-09-13 12:26:40 UTC.
    fs::write(&file, record("old")).unwrap();
    let recorder = Recorder::off();
    let hour = Duration::from_secs(3600);
    recorder
        .configure(Some(&Recording { rotate_interval: Some(hour), ..recording(&file) }))
        .unwrap();
    eventually("it is put aside", || recorder.status().rotations == 1);
    recorder.push(record("new"));
    recorder.stop();
    assert_eq!(aside(&folder), [folder.path().join("u.20200913T122640Z.mrt")]);
    assert_eq!(texts(&aside(&folder)[0]), ["old"]);
    assert_eq!(texts(&file), ["new"]);
}

#[test]
fn what_cannot_be_written_waits_and_is_written_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("missing").join("u.mrt");
    let recorder = Recorder::off();
    recorder.configure(Some(&recording(&file))).unwrap();
    recorder.push(record("one"));
    eventually("it fails", || recorder.status().state == RecordingState::Failing);
    let error = recorder.status().last_error.unwrap().to_string();
    let expected = "cannot be opened: No such file or directory (os error 2); make its folder";
    assert!(error.ends_with(expected), "{error}");

    fs::create_dir(folder.path().join("missing")).unwrap();
    eventually("it is written", || recorder.status().records == 1);
    assert_eq!(recorder.status().state, RecordingState::Recording);
    recorder.stop();
    assert_eq!(texts(&file), ["one"]);
}

#[test]
fn what_does_not_fit_the_queue_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("missing").join("u.mrt");
    let recorder = Recorder::off();
    recorder.configure(Some(&recording(&file))).unwrap();
    // The thread has met the fault with some of the records in its hands.
    eventually("it fails", || recorder.status().state == RecordingState::Failing);
    let large = record(&"x".repeat(64_000));
    recorder.push(large.clone());
    let failed_at = recorder.status().failed_at;
    eventually("it fails again", || recorder.status().failed_at != failed_at);
    let many = u64::try_from(QUEUE_OCTETS / large.len()).unwrap();
    for _ in 1..many + 7 {
        recorder.push(large.clone());
    }
    let status = recorder.status();
    assert_eq!(status.dropped, 7);
    assert!(status.queued <= QUEUE_OCTETS);
    // What nobody could write in the end is dropped too.
    recorder.stop();
    assert_eq!((recorder.status().dropped, recorder.status().queued), (many + 7, 0));
}

#[test]
fn files_of_others_are_neither_added_to_nor_cut() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("u.mrt");
    for (content, ours) in [("root:x:0:0:root:/root:/bin/bash\n", false), ("", true)] {
        fs::write(&file, content).unwrap();
        let recorder = Recorder::off();
        recorder.configure(Some(&recording(&file))).unwrap();
        let expected = if ours { RecordingState::Recording } else { RecordingState::Failing };
        eventually("it is looked at", || recorder.status().state == expected);
        recorder.stop();
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    let recorder = Recorder::off();
    recorder.configure(Some(&recording(folder.path()))).unwrap();
    eventually("it fails", || recorder.status().state == RecordingState::Failing);
    assert!(recorder.status().last_error.unwrap().to_string().contains("is not a file"));
    recorder.stop();
}

#[test]
fn another_file_is_taken_at_once_and_what_waited_stands_in_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    let recorder = Recorder::off();
    recorder.configure(Some(&recording(&old))).unwrap();
    recorder.push(record("one"));
    eventually("it is written", || recorder.status().records == 1);
    let before = recorder.generation();
    recorder.configure(Some(&recording(&new))).unwrap();
    assert_ne!(recorder.generation(), before);
    eventually("it is there", || new.exists());
    recorder.push(record("two"));
    eventually("it is written", || recorder.status().records == 2);
    recorder.configure(None).unwrap();
    recorder.push(record("nobody wants it"));
    recorder.stop();
    assert_eq!((texts(&old), texts(&new)), (vec!["one".to_owned()], vec!["two".to_owned()]));
}

#[test]
fn peers_are_recorded_by_their_own_name_or_their_groups() {
    let recorder = Recorder::off();
    assert_eq!(recorder.wanted(&["a"]), Wanted::default());
    let folder = tempfile::tempdir().unwrap();
    let peers = Some([Arc::from("rack"), Arc::from("tor-a")].into());
    let settings = Recording { peers, sent: false, ..recording(&folder.path().join("u.mrt")) };
    recorder.configure(Some(&settings)).unwrap();
    let some = Wanted { received: true, sent: false, states: true };
    assert_eq!(recorder.wanted(&["tor-a"]), some);
    assert_eq!(recorder.wanted(&["rack", "rack@10.9.0.1"]), some);
    assert_eq!(recorder.wanted(&["tor-b"]), Wanted::default());
    recorder.stop();
}
