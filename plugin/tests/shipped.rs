//! The plugin as it is shipped: built by `testbed/run plugin`, small, static, and at home anywhere.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::{path::Path, process::Command};

#[test]
fn it_is_small_and_static_and_runs_without_anything_around_it() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/run");
    let output = Command::new("bash").arg(run).arg("plugin").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let path = String::from_utf8(output.stdout).unwrap().trim().to_owned();

    let elf = std::fs::read(&path).unwrap();
    assert!(elf.len() <= 3 << 19, "{path} has {} octets, more than 1.5 MiB", elf.len());
    assert!(!names_a_loader(&elf), "{path} needs a loader and libraries");

    let output = Command::new(&path).env_clear().env("CNI_COMMAND", "VERSION").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"1.1.0\"") && text.ends_with("}\n"), "{text}");
}

/// Is there a program header of type PT_INTERP (3) in this 64-bit ELF file?
fn names_a_loader(elf: &[u8]) -> bool {
    assert!(elf.starts_with(b"\x7fELF\x02"), "no 64-bit ELF file");
    let half = |at: usize| usize::from(u16::from_ne_bytes(elf[at..at + 2].try_into().unwrap()));
    let headers = u64::from_ne_bytes(elf[32..40].try_into().unwrap());
    let headers = &elf[usize::try_from(headers).unwrap()..];
    let kinds = headers.chunks(half(54)).take(half(56));
    kinds.map(|header| u32::from_ne_bytes(header[..4].try_into().unwrap())).any(|kind| kind == 3)
}
