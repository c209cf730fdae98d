//! What the documents of `bgp/` name is there: every file of the table of RFCs, every test of the
//! checklist.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tests::readme::{Readme, root};

#[test]
fn files_of_the_rfc_table_are_there() {
    let readme = Readme::open("bgp/README.md");
    let (_, table) = readme.text().split_once("\n| RFC, section |").expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut found = 0;
    for row in rows {
        let columns: Vec<&str> = row.split('|').collect();
        let [_, _section, code, tests, _state, _] = columns[..] else {
            panic!("not four columns: {row}");
        };
        for column in [code, tests] {
            let mut folder = String::new();
            for name in column.split('`').skip(1).step_by(2) {
                // `…/model` stands in the folder of the file before it.
                let name = name.replace('…', &folder);
                folder = name.rsplit_once('/').map_or_else(String::new, |(up, _)| up.to_owned());
                for path in expanded(&name) {
                    assert!(is_there(&path), "{path} is not there: {row}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 100, "only {found} files found");
}

#[test]
fn tests_of_the_checklist_are_there() {
    let checklist = Readme::open("bgp/docs/checklist.md");
    let mut found = 0;
    for name in checklist.text().split('`').skip(1).step_by(2) {
        let Some((file, test)) = name.rsplit_once("::") else { continue };
        let text = fs::read_to_string(file_of(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
        found += 1;
    }
    assert!(found > 100, "only {found} tests found");
}

/// `rib/tests/{import,export}` as two names.
fn expanded(name: &str) -> Vec<String> {
    match name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (choices, after))) => {
            choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
        }
        None => vec![name.to_owned()],
    }
}

/// Whether there is such a file or folder, from the sources of `bgp` or from the root, without its
/// ending; `codec_*` stands for one at least.
fn is_there(name: &str) -> bool {
    if let Some(begin) = name.strip_suffix('*') {
        return bases().any(|base| {
            let path = base.join(begin);
            let begin = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let folder = path.parent().and_then(|folder| fs::read_dir(folder).ok());
            let mut entries = folder.into_iter().flatten().flatten();
            entries.any(|entry| entry.file_name().to_string_lossy().starts_with(&begin))
        });
    }
    bases().any(|base| base.join(name).exists() || base.join(format!("{name}.rs")).exists())
}

/// The file that a name without its ending means.
fn file_of(name: &str) -> PathBuf {
    let file = format!("{name}.rs");
    let path = bases().map(|base| base.join(&file)).find(|path| path.exists());
    path.unwrap_or_else(|| panic!("{name} is no file"))
}

/// Where names begin.
fn bases() -> impl Iterator<Item = PathBuf> {
    ["bgp/src", ""].into_iter().map(|base| root().join(Path::new(base)))
}
