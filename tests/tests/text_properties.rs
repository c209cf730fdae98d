//! What holds for every text that an operator may write: values of BGP, whole configurations.
//! Nothing panics, what is read is shown as it was meant, and what is refused has its place.

use std::fmt::Write;

use proptest::{collection::vec, prelude::*, sample::Index};
use tests::corpus;

#[path = "../../bgp/fuzz/configuration.rs"]
mod configuration;
#[path = "../../bgp/fuzz/text.rs"]
mod text;

proptest! {
    #[test]
    fn any_text_is_a_value_or_refused_in_words(text in "\\PC{0,40}") {
        text::reads(&text);
    }

    /// Where chance alone seldom gets.
    #[test]
    fn nearly_right_texts_are_values_or_refused_in_words(parts in vec(piece(), 0..8)) {
        text::reads(&parts.concat());
    }

    #[test]
    fn damaged_configurations_are_refused_with_places_or_read(damage in vec(damage(), 1..6)) {
        let _ = configuration::reads(&damaged(EXAMPLE, &damage));
    }

    #[test]
    fn any_value_anywhere_in_a_configuration_is_read_or_refused_with_its_place(
        at in any::<Index>(), value in value()
    ) {
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        let keys: Vec<usize> = (0..lines.len()).filter(|n| is_setting(lines[*n])).collect();
        let changed = keys[at.index(keys.len())];
        let mut text = String::new();
        for (n, line) in lines.iter().enumerate() {
            match line.split_once('=') {
                Some((key, _)) if n == changed => writeln!(text, "{key}= {value}"),
                Some(_) | None => writeln!(text, "{line}"),
            }
            .expect("String takes all");
        }
        let _ = configuration::reads(&text);
    }
}

#[test]
fn every_text_of_the_corpus_keeps_the_promises() {
    corpus::replay("text", 10, |seed| {
        text::reads(str::from_utf8(seed).expect("readable"));
    });
}

#[test]
fn every_configuration_of_the_corpus_and_the_shipped_one_keep_the_promises() {
    corpus::replay("config", 10, |seed| {
        let _ = configuration::reads(str::from_utf8(seed).expect("readable"));
    });
    assert!(configuration::reads(EXAMPLE));
}

/// A line that sets a key to a value, comments left out.
fn is_setting(line: &str) -> bool {
    line.contains('=') && !line.trim_start().starts_with('#')
}

/// Something done to a text: by characters, so that it stays one.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, char),
    Cut(Index),
    Drop(Index, usize),
    Insert(Index, String),
    Repeat(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<char>()).prop_map(|(at, with)| Damage::Set(at, with)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), 1..30_usize).prop_map(|(at, len)| Damage::Drop(at, len)),
        (any::<Index>(), piece()).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        (any::<Index>(), 1..200_usize).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

fn damaged(text: &str, damage: &[Damage]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for damage in damage {
        let len = text.len();
        if len == 0 {
            break;
        }
        match damage {
            Damage::Set(at, with) => text[at.index(len)] = *with,
            Damage::Cut(at) => text.truncate(at.index(len)),
            Damage::Drop(at, count) => {
                let at = at.index(len);
                text.drain(at..len.min(at + count));
            }
            Damage::Insert(at, piece) => {
                let at = at.index(len);
                text.splice(at..at, piece.chars());
            }
            Damage::Repeat(at, count) => {
                let at = at.index(len);
                let part = text[at..len.min(at + count)].to_vec();
                text.splice(at..at, part);
            }
        }
    }
    text.into_iter().collect()
}

/// What texts of operators are made of.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(
        &[
            "65000",
            "4294967295",
            "4294967296",
            "-1",
            "0",
            ":",
            "*",
            ".",
            "/",
            "32",
            "33",
            "::",
            "fe80",
            "10.0.0.0",
            "_",
            "^",
            "$",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "|",
            "+",
            "?",
            ",",
            "-",
            " ",
            "rt:",
            "lb:",
            "Gbit",
            "Mbit",
            "0x",
            "no-export",
            "ge ",
            "le ",
            "\"",
            "\n",
            "#",
            "=",
            "true",
            "[[peers]]",
            "name",
            "é",
            "\u{0}",
            "e308",
            "nan",
        ][..],
    );
    prop_oneof![8 => words.prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

/// A value of TOML.
fn value() -> impl Strategy<Value = String> {
    let numbers = any::<i64>().prop_map(|number| number.to_string());
    let texts = vec(piece(), 0..4).prop_map(|parts| format!("{:?}", parts.concat()));
    let others = prop::sample::select(
        &[
            "true",
            "false",
            "1.5",
            "nan",
            "1979-05-27",
            "[]",
            "{}",
            "[[]]",
            "[1, \"2\", {}]",
            "\"\"",
        ][..],
    );
    prop_oneof![numbers, texts, others.prop_map(str::to_owned)]
}

const EXAMPLE: &str = include_str!("../../routed/manifests/routed.example.toml");
