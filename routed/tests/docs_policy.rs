//! `docs/policy.md` is true: every example stands, every table names what there is, and every
//! command prints what the page shows.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use bgp::policy::PathRegex;
use routed::config::{Caution, Config};

const BEFORE: &str = "[node]\nname = \"n1\"\n[bgp]\nasn = 4200000011\nrouter_id = \"10.0.0.11\"\n";

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md");
    fs::read_to_string(path).expect("the page is there")
}

/// The blocks of one language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_example_is_a_valid_configuration() {
    let page = page();
    let examples = blocks(&page, "toml");
    assert!(examples.len() >= 6, "{}", examples.len());
    for example in examples {
        let text = format!("{BEFORE}{example}");
        let loaded = Config::parse(Path::new("policy.md"), &text)
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        for warning in loaded.warnings {
            // A page about import need not say what is announced.
            let expected = matches!(warning.caution, Caution::NoImport | Caution::NoExport);
            assert!(expected, "{}{}\n{text}", warning.place, warning.caution);
        }
    }
}

#[test]
fn every_expression_of_the_table_is_one() {
    let page = page();
    let table = page.split("| expression | matches |").nth(1).expect("there is the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut count = 0;
    for row in rows {
        let expression = row.split('`').nth(1).expect(row).replace("\\|", "|");
        expression.parse::<PathRegex>().unwrap_or_else(|error| panic!("{error}"));
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn the_tables_name_every_key_of_a_statement_and_nothing_else() {
    let page = page();
    let named: BTreeSet<&str> = page
        .split("## Conditions")
        .nth(1)
        .and_then(|rest| rest.split("## Policies in policies").next())
        .expect("there are the sections")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|cell| cell.split('`'))
        .filter(|word| word.starts_with(|first: char| first.is_ascii_lowercase()))
        .map(|word| word.split(' ').next().unwrap_or(word))
        .collect();
    for section in ["[[policies.statements]]", "[[policies.statements]]\n[policies.statements.set]"]
    {
        let text = format!(
            "{BEFORE}[[policies]]\nname = \"p\"\ndefault = \"reject\"\n{section}\nxyzzy = 1\n"
        );
        let error = Config::parse(Path::new("p"), &text).expect_err("unknown key").to_string();
        let known = error.split("known here are ").nth(1).expect("it tells the keys");
        for key in known.lines().next().expect("a line").split(", ") {
            let of_frame = ["name", "set", "apply", "action"].contains(&key);
            let of_other_kind = ["_large_", "_extended_"].iter().any(|kind| key.contains(kind));
            assert!(of_frame || of_other_kind || named.contains(key), "{key}: {named:?}");
        }
    }
}

#[test]
fn every_command_prints_what_the_page_shows() {
    let page = page();
    let sessions = blocks(&page, "console");
    assert!(!sessions.is_empty());
    for session in sessions {
        let (command, expected) = session.split_once('\n').expect("a command and its output");
        let arguments = command.strip_prefix("$ routed ").expect("a command of ours");
        let quoted = arguments.split('"').enumerate();
        let arguments: Vec<&str> = quoted
            .flat_map(
                |(i, part)| if i % 2 == 1 { vec![part] } else { part.split_whitespace().collect() },
            )
            .collect();
        let output = Command::new(env!("CARGO_BIN_EXE_routed"))
            .args(&arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests"))
            .output()
            .expect("it starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{command}: {errors}");
    }
}
