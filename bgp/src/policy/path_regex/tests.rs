//! AS path expressions: the idioms, the places of mistakes, and random ones against `regex`.

use proptest::prelude::*;

use super::*;
use crate::aspath::Segment;

fn sequence(asns: &[u32]) -> AsPath {
    AsPath::sequence(asns.iter().copied())
}

fn with_segment(before: &[u32], kind: SegmentKind, asns: &[u32]) -> AsPath {
    let mut path = sequence(before);
    path.segments.push(Segment { kind, asns: asns.iter().copied().map(Asn).collect() });
    path
}

fn matches(expression: &str, path: &AsPath) -> bool {
    let regex: PathRegex = expression.parse().unwrap_or_else(|error| panic!("{error}"));
    regex.matches(path)
}

#[test]
fn the_idioms_of_network_engineers_match_what_they_mean() {
    let cases: &[(&str, &[u32], bool)] = &[
        // Through, from, originated by, exactly.
        ("_65001_", &[65001], true),
        ("_65001_", &[1, 65001, 2], true),
        ("_65001_", &[165001], false),
        ("_65001_", &[1, 650011], false),
        ("^65001_", &[65001, 2], true),
        ("^65001_", &[65001], true),
        ("^65001_", &[650010, 2], false),
        ("^65001_", &[2, 65001], false),
        ("_65001$", &[2, 65001], true),
        ("_65001$", &[65001, 2], false),
        ("65001$", &[165001], true),
        ("^65001$", &[65001], true),
        ("^65001$", &[65001, 65001], false),
        ("^65001( |_)", &[65001, 7], true),
        ("^65001( |_)", &[65001], true),
        ("^65001( |$)", &[65001], true),
        // Empty and any.
        ("^$", &[], true),
        ("^$", &[1], false),
        (".*", &[], true),
        (".*", &[1, 2], true),
        (".+", &[], false),
        (".", &[1], true),
        ("_", &[], true),
        ("^_$", &[], true),
        ("$^", &[], true),
        ("$^", &[1], false),
        ("_$", &[1], true),
        ("^_1", &[1], true),
        // Directly connected, one hop behind, prepended.
        ("^[0-9]+$", &[65001], true),
        ("^[0-9]+$", &[65001, 2], false),
        ("^65001_[0-9]+$", &[65001, 2], true),
        ("^65001_[0-9]+$", &[65001, 2, 3], false),
        ("^65001(_65001)*$", &[65001, 65001, 65001], true),
        ("^65001(_65001)*$", &[65001, 65001, 2], false),
        ("^65001(_[0-9]+)?$", &[65001, 9], true),
        ("^([0-9]+)( [0-9]+){2}$", &[1, 22, 333], true),
        ("^([0-9]+)( [0-9]+){2}$", &[1, 22], false),
        ("^1( 2){1,2}$", &[1, 2, 2], true),
        ("^1( 2){1,2}$", &[1, 2, 2, 2], false),
        ("^1( 2){2,}$", &[1, 2, 2, 2, 2], true),
        ("^1( 2){0}$", &[1], true),
        // Sets of digits, ranges, private ASes.
        ("_6500[0-9]_", &[1, 65007, 2], true),
        ("_6500[135-7]_", &[65006], true),
        ("_6500[135-7]_", &[65004], false),
        ("_6500[^0-4]_", &[65005], true),
        ("_6500[^0-4]_", &[65004], false),
        ("_(6451[2-9]|645[2-9][0-9]|64[6-9][0-9][0-9]|65[0-9]+)_", &[3, 64512], true),
        ("_(6451[2-9]|645[2-9][0-9]|64[6-9][0-9][0-9]|65[0-9]+)_", &[3, 64511], false),
        ("^(65001|65002)_", &[65002, 1], true),
        ("(_65001|_65002)$", &[1, 65003], false),
        ("_4200000011_", &[4_200_000_011], true),
        ("_64086\\.59915_", &[4_200_000_011], true),
        ("_64086\\.59915_", &[64086, 59915], false),
        ("^[[:digit:]]+[[:space:]]2$", &[77, 2], true),
        ("1[_]2", &[1, 2], true),
        ("1[^_]2", &[132], true),
        ("1 2", &[11, 22], true),
    ];
    for (expression, asns, expected) in cases {
        assert_eq!(matches(expression, &sequence(asns)), *expected, "{expression} on {asns:?}");
    }
}

#[test]
fn sets_and_confederations_have_boundaries_around_their_numbers() {
    let set = with_segment(&[65001], SegmentKind::Set, &[65002, 65003]);
    for expression in ["_65002_", "_65003_", "_65001_", "\\{65002,65003\\}$", "^65001 \\{", "3}$"] {
        assert!(matches(expression, &set), "{expression}");
    }
    assert!(!matches("_65003$", &sequence(&[1, 65003, 7])));
    assert!(!matches("65003$", &set), "the brace is the end");
    assert!(matches("_65003_$", &set));
    let confederation = with_segment(&[], SegmentKind::ConfedSequence, &[65010, 65011]);
    assert!(matches("^\\(65010_65011\\)$", &confederation));
    let confederation = with_segment(&[7], SegmentKind::ConfedSet, &[65010, 65011]);
    assert!(matches("^7 \\[65010,65011\\]$", &confederation));
}

#[test]
fn mistakes_are_told_with_their_place_and_a_remedy() {
    let cases = [
        ("", "at its end, nothing to match; write ^$ for the empty path, .* for any"),
        ("^65001[a-z]", "at character 8, 'a' never stands in an AS path"),
        ("_65001_ x", "at character 9, 'x' never stands"),
        ("*65001", "at character 1, * repeats nothing; put what it repeats before it"),
        ("65001+?", "at character 7, ? after another repetition"),
        ("(65001", "at character 1, ( is not closed; add )"),
        ("65001)", "at character 6, ) closes nothing; remove it"),
        ("(?:65001)", "at character 1, groups are plain ( ) here"),
        ("[0-9", "at character 1, [ is not closed; add ]"),
        ("1[]", "at character 3, nothing between [ and ]"),
        ("[9-0]", "at character 2, 9-0 is an empty range; exchange the digits"),
        ("[65000-65010]", "use as_path_contains with \"65000-65010\" for that"),
        ("[[:alpha:]]", "at character 2, [:alpha:] is not known"),
        ("[= * 65001 * =]", "at character 1, that is a path mask of BIRD"),
        ("\\d+", "at character 1, \\d is not known; write [0-9] for a digit"),
        ("(1)\\1", "at character 4, \\1 is not known"),
        ("1\\", "at character 2, nothing after \\"),
        ("1\\.x", "at character 2, \\. stands only between the halves"),
        ("1{3,2}", "{3,2} is an empty range; exchange the numbers"),
        ("1{,2}", "at character 2, after { a number is wanted"),
        ("1{2", "at character 2, after { a number is wanted"),
        ("65001 {65002}", "at character 8, at most 64 repetitions can be asked for"),
        (
            "(((((((((((((((((((((((((((((((((1)))))))))))))))))))))))))))))))))",
            "nested too deeply",
        ),
    ];
    for (expression, expected) in cases {
        let error = expression.parse::<PathRegex>().unwrap_err().to_string();
        assert!(error.contains(expected), "{expression}: {error}");
    }
    let error = "1".repeat(1001).parse::<PathRegex>().unwrap_err();
    assert!(error.to_string().ends_with("more than 1000 characters; split it"), "{error}");
}

#[test]
fn an_expression_that_would_need_too_many_states_is_refused() {
    for expression in ["(0|1)*1(0|1){20}", "((((1{64}){64}){64}){64}){64}"] {
        let error = expression.parse::<PathRegex>().unwrap_err();
        assert_eq!(error.flaw, Flaw::TooComplex, "{expression}");
    }
}

/// Expressions from pieces of the dialect.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("^".to_owned()),
        Just("$".to_owned()),
        Just("_".to_owned()),
        Just(".".to_owned()),
        Just(" ".to_owned()),
        Just("\\{".to_owned()),
        Just(",".to_owned()),
        Just("[0-1]".to_owned()),
        Just("[^1]".to_owned()),
        (0..3_u8).prop_map(|digit| digit.to_string()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}|{other})")),
            (inner, prop::sample::select(vec!["*", "+", "?", "{2}", "{1,2}", "{1,}"]))
                .prop_map(|(part, repetition)| format!("({part}){repetition}")),
        ]
    })
}

fn paths() -> impl Strategy<Value = AsPath> {
    let kind = prop_oneof![Just(SegmentKind::Sequence), Just(SegmentKind::Set)];
    let number = prop_oneof![0..3_u32, 10..13_u32, Just(101)];
    let segment = (kind, prop::collection::vec(number.prop_map(Asn), 1..4))
        .prop_map(|(kind, asns)| Segment { kind, asns });
    prop::collection::vec(segment, 0..3).prop_map(|segments| AsPath { segments })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// The oracle sees the same text, with `_` spelled out as FRR does it.
    #[test]
    fn random_expressions_agree_with_an_independent_engine(
        expression in expressions(),
        path in paths(),
    ) {
        let oracle = regex::Regex::new(&expression.replace('_', r"(?:^|[ ,{}()\[\]]|$)")).unwrap();
        match expression.parse::<PathRegex>() {
            Ok(ours) => prop_assert_eq!(ours.matches(&path), oracle.is_match(&path.to_string())),
            Err(error) => prop_assert_eq!(error.flaw, Flaw::TooComplex),
        }
    }

    /// Whatever is written, there is an answer, soon, and it names a place in the text.
    #[test]
    fn no_text_does_harm(text in "[0-9^$_.*+?(){}|\\[\\],\\\\ :=a-]{0,40}") {
        if let Err(error) = text.parse::<PathRegex>() {
            prop_assert!(error.at <= text.chars().count());
        }
    }

    #[test]
    fn the_text_that_is_matched_is_the_one_that_is_shown(path in paths()) {
        let exactly: String = path
            .to_string()
            .chars()
            .map(|c| if c.is_ascii_digit() || c == ' ' { c.to_string() } else { format!("\\{c}") })
            .collect();
        let matched = matches(&format!("^{exactly}$"), &path);
        prop_assert!(matched, "{}", exactly);
    }
}
