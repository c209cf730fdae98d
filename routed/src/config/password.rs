//! Password files: the TCP MD5 key of a peer.
//!
//! In: a path. Out: the key. It is shown by nobody: not in logs, messages or `Debug`.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    problem::{Caution, Problem},
    section::{At, Section},
};

/// The most that the kernel takes (`TCP_MD5SIG_MAXKEYLEN`), in octets.
const MAX_KEY: usize = 80;
/// Octets that are read of a file: a key, its line end, and enough more to see that it is long.
const READ: u64 = 128;

/// A TCP MD5 key (RFC 2385), 1..=80 octets.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<[u8]>);

impl Password {
    /// The first line of a file's content, without its line end.
    pub(crate) fn from_content(content: &[u8], path: &Path) -> Result<Self, Problem> {
        let line = content.split(|octet| *octet == b'\n').next().unwrap_or_default();
        let key = line.strip_suffix(b"\r").unwrap_or(line);
        match key.len() {
            0 => Err(Problem::PasswordEmpty(path.to_path_buf())),
            1..=MAX_KEY => Ok(Self(key.into())),
            _ => Err(Problem::PasswordTooLong(path.to_path_buf())),
        }
    }

    /// The key.
    #[must_use]
    pub const fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// Reads the key that `password_file` names; a relative path starts at `folder`.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    file: &At<PathBuf>,
    folder: &Path,
) -> Option<Password> {
    let path = folder.join(&file.value);
    let outcome = open(&path)
        .map_err(|error| Problem::PasswordUnreadable(path.clone(), error))
        .and_then(|(content, mode)| Ok((Password::from_content(&content, &path)?, mode)));
    match outcome {
        Ok((password, mode)) => {
            if mode & 0o004 != 0 {
                section.warn(file.place.clone(), Caution::PasswordExposed(path));
            }
            Some(password)
        }
        Err(problem) => {
            section.fault(file.place.clone(), problem);
            None
        }
    }
}

fn open(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut content = Vec::new();
    file.take(READ).read_to_end(&mut content)?;
    Ok((content, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(content: &[u8]) -> Result<Password, Problem> {
        Password::from_content(content, Path::new("/etc/slash32/x.key"))
    }

    #[test]
    fn the_key_is_the_first_line_without_its_end() {
        assert_eq!(key(b"secret\n").unwrap().octets(), b"secret");
        assert_eq!(key(b"secret").unwrap().octets(), b"secret");
        assert_eq!(key(b"two words\r\nrest").unwrap().octets(), b"two words");
        assert_eq!(key(&[b'x'; 80]).unwrap().octets().len(), 80);
    }

    #[test]
    fn empty_and_long_keys_are_refused() {
        assert!(matches!(key(b""), Err(Problem::PasswordEmpty(_))));
        assert!(matches!(key(b"\nsecret"), Err(Problem::PasswordEmpty(_))));
        assert!(matches!(key(&[b'x'; 81]), Err(Problem::PasswordTooLong(_))));
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", key(b"secret").unwrap()), "Password(hidden)");
    }
}
