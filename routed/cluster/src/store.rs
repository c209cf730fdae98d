//! What outlives the daemon and the machine: the node's claims, the objects, passwords.
//!
//! In: values to keep, in a folder of ours. Out: what an earlier run has kept. A file is written as a
//! whole or not at all; one that cannot be read is named, put aside and done without. Everything is for
//! root alone (0600 in a folder 0700), since there are passwords in it.

mod file;

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

pub use self::file::write as write_file;
use routed_core::claims::Saved;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Objects;

/// The folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    /// The node whose things these are.
    node: String,
}

/// What is in a file.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    version: u32,
    node: String,
    content: T,
}

/// Read before the rest, whose form depends on it.
#[derive(Deserialize)]
struct Form {
    version: u32,
    node: String,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
enum Useless {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("it has format {0}, and this daemon knows {VERSION}: it is of a newer one")]
    Newer(u32),
    #[error("it is of node {0:?}")]
    OfAnother(String),
}

impl Store {
    /// Opens the folder of a node, makes it if it must, and takes away what a daemon has left that died
    /// while it wrote.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn open(folder: &Path, node: &str) -> io::Result<Self> {
        let secrets = folder.join(SECRETS);
        DirBuilder::new().recursive(true).mode(0o700).create(&secrets)?;
        for folder in [folder, &secrets] {
            // Somebody else may have made it.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if file::is_draft(&path) {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), node: node.to_owned() })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The claims that were kept last.
    #[must_use]
    pub fn claims(&self) -> Vec<Saved> {
        self.load(CLAIMS).unwrap_or_default()
    }

    /// Keeps the claims. When this returns, they are on the disk.
    ///
    /// # Errors
    ///
    /// The file system's; then those of before are kept.
    pub fn keep_claims(&self, claims: &[Saved]) -> io::Result<()> {
        file::write(&self.folder.join(CLAIMS), &self.text(&claims)?)
    }

    /// The objects that were kept last.
    #[must_use]
    pub fn objects(&self) -> Option<Objects> {
        self.load(OBJECTS)
    }

    /// Objects as they are kept.
    ///
    /// # Errors
    ///
    /// If they have no form as JSON.
    pub fn objects_text(&self, objects: &Objects) -> io::Result<Vec<u8>> {
        self.text(&objects)
    }

    /// Keeps objects, as [`objects_text`](Self::objects_text) gives them.
    ///
    /// # Errors
    ///
    /// The file system's; then those of before are kept.
    pub fn keep_objects(&self, text: &[u8]) -> io::Result<()> {
        file::write(&self.folder.join(OBJECTS), text)
    }

    /// The folder with passwords.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.folder.join(SECRETS)
    }

    /// Keeps these passwords, each in a file of its name, and no others.
    ///
    /// # Errors
    ///
    /// The first of the file system's; the others are kept all the same.
    pub fn keep_secrets(&self, secrets: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        let folder = self.secrets();
        let mut outcome = Ok(());
        for (name, value) in secrets {
            let path = folder.join(name);
            if fs::read(&path).is_ok_and(|before| before == *value) {
                continue;
            }
            outcome = outcome.and(file::write(&path, value));
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let is_kept = entry.file_name().to_str().is_some_and(|name| secrets.contains_key(name));
            if !is_kept {
                outcome = outcome.and(file::remove(&entry.path()));
            }
        }
        outcome
    }

    /// What is in a file, unless it is not there or of no use.
    fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.folder.join(name);
        let useless = match self.read(&path) {
            Ok(content) => return Some(content),
            Err(Useless::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                return None;
            }
            Err(useless) => useless,
        };
        let shown = path.display();
        match file::set_aside(&path) {
            Ok(aside) => {
                let aside = aside.display();
                tracing::error!("{shown} is left out and put aside as {aside}: {useless}");
            }
            Err(error) => tracing::error!(%error, "{shown} is left out and stays: {useless}"),
        }
        None
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<T, Useless> {
        let octets = fs::read(path)?;
        let Form { version, node } = serde_json::from_slice(&octets)?;
        if version > VERSION {
            return Err(Useless::Newer(version));
        }
        if node != self.node {
            return Err(Useless::OfAnother(node));
        }
        let Kept { content, .. } = serde_json::from_slice(&octets)?;
        Ok(content)
    }

    fn text(&self, content: &impl Serialize) -> io::Result<Vec<u8>> {
        let kept = Kept { version: VERSION, node: self.node.clone(), content };
        Ok(serde_json::to_vec(&kept)?)
    }
}

/// The format that is written.
const VERSION: u32 = 1;
const CLAIMS: &str = "claims.json";
const OBJECTS: &str = "objects.json";
/// The folder with passwords.
const SECRETS: &str = "secrets";

#[cfg(test)]
mod tests;
