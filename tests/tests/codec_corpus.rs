//! The seeds of the fuzz targets, replayed without a fuzzer: what once broke a decoder stays
//! tried on every run.

use std::{fs, path::Path};

use tests::corpus::replay;

#[path = "../../bgp/fuzz/checks.rs"]
mod checks;

#[test]
fn every_message_of_the_corpus_keeps_the_promises() {
    replay("message", 10, checks::message);
}

#[test]
fn every_stream_of_the_corpus_keeps_the_promises() {
    replay("stream", 10, checks::stream);
}

/// Seeds whose names begin with `flaw-` have one, the others have none: else they would not lead
/// the fuzzer anywhere. What a fuzzer has found is kept as `found-...` and may be either.
#[test]
fn seeds_are_what_their_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bgp/fuzz/corpus/message");
    for entry in fs::read_dir(folder).expect("the corpus is part of the source") {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let seed = fs::read(&path).expect("readable");
        let read = bgp::wire::decode(&checks::framed(seed[1], &seed[2..]), &checks::codec(seed[0]));
        let sound = match &read {
            Ok(bgp::wire::Message::Update(update)) => update.faults.is_empty(),
            Ok(_) => true,
            Err(_) => false,
        };
        if name.starts_with("found-") {
            continue;
        }
        assert_eq!(sound, !name.starts_with("flaw-"), "{name}: {read:?}");
    }
}
