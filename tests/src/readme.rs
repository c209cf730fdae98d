//! The project's README as a test reads it: marked blocks, links, mentioned paths.
//!
//! In: the file. Out: text of a block that stands after `<!-- e2e: NAME -->`, so that what a reader
//! copies is what a test has run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A Markdown file.
#[derive(Debug)]
pub struct Readme {
    folder: PathBuf,
    text: String,
}

impl Readme {
    /// Reads a file, by its path from the root of the project.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    #[must_use]
    pub fn open(path: &str) -> Self {
        let path = root().join(path);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = path.parent().expect("a file is in a folder").to_path_buf();
        Self { folder, text }
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fenced block after the mark of that name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn block(&self, name: &str) -> &str {
        let mark = format!("<!-- e2e: {name} -->\n```");
        let (_, rest) = self.text.split_once(&mark).unwrap_or_else(|| panic!("no block {name}"));
        let (_, body) = rest.split_once('\n').expect("a fence ends with its line");
        body.split_once("\n```").map(|(body, _)| body).expect("a block has an end")
    }

    /// Links and mentions of the project's own files, folders and headings that are not there.
    #[must_use]
    pub fn missing_files(&self) -> BTreeSet<String> {
        let links = self.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links = links.filter(|link| !link.contains("://") && !self.leads_somewhere(link));
        let words = self.text.split('`').filter(|word| is_path(word));
        // The RFC table leaves out endings.
        let there = |path: PathBuf| path.exists() || path.with_extension("rs").exists();
        let words =
            words.filter(|word| !there(root().join(word)) && !there(self.folder.join(word)));
        links.chain(words).map(str::to_owned).collect()
    }

    /// Whether a link's file is there, with the heading that it names.
    fn leads_somewhere(&self, link: &str) -> bool {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let path = self.folder.join(file);
        let text = match file {
            "" => Some(self.text.clone()),
            _ if heading.is_empty() => return path.exists(),
            _ => std::fs::read_to_string(path).ok(),
        };
        text.is_some_and(|text| {
            let headings = text.lines().filter(|line| line.starts_with('#'));
            headings.map(anchor).any(|anchor| anchor == heading)
        })
    }
}

/// How a link names a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A mention such as `bgp/src/rib/decide.rs`, from the root or from the README's own folder.
fn is_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let ours = ["bgp/", "routed/", "plugin/", "testbed/", "tests/", "core/", "src/", ".ci/"];
    word.chars().all(plain) && ours.iter().any(|folder| word.starts_with(folder))
}

/// The folder of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package is in the workspace").to_path_buf()
}
