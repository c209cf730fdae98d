//! Password files: the key with which a peer's connections are signed, by TCP MD5 or TCP-AO.
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
    value,
};

/// The most that the kernel takes (`TCP_MD5SIG_MAXKEYLEN`), in octets.
const MAX_KEY: usize = 80;
/// Octets that are read of a file: a key, its line end, and enough more to see that it is long.
const READ: u64 = 128;

/// A key, 1..=80 octets, with what is done with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    octets: Box<[u8]>,
    scheme: Scheme,
}

/// How connections are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TCP MD5 (RFC 2385).
    Md5,
    /// TCP-AO (RFC 5925), with one master key.
    Ao {
        /// How signatures are made.
        algorithm: Algorithm,
        /// KeyID of what we send.
        send_id: u8,
        /// KeyID of what the peer sends.
        receive_id: u8,
    },
}

/// Algorithms of RFC 5926 §3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-1-96.
    HmacSha1,
    /// AES-128-CMAC-96.
    AesCmac,
}

impl Password {
    /// The first line of a file's content, without its line end.
    pub(crate) fn from_content(content: &[u8], path: &Path) -> Result<Self, Problem> {
        let line = content.split(|octet| *octet == b'\n').next().unwrap_or_default();
        let key = line.strip_suffix(b"\r").unwrap_or(line);
        match key.len() {
            0 => Err(Problem::PasswordEmpty(path.to_path_buf())),
            1..=MAX_KEY => Ok(Self { octets: key.into(), scheme: Scheme::Md5 }),
            _ => Err(Problem::PasswordTooLong(path.to_path_buf())),
        }
    }

    /// The key.
    #[must_use]
    pub const fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What is done with it.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The same key for another use.
    pub(crate) fn with_scheme(self, scheme: Scheme) -> Self {
        Self { scheme, ..self }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// Reads `tcp_ao`; TCP MD5 if there is none.
pub(super) fn scheme(section: &mut Section<'_, '_>) -> Scheme {
    section.section("tcp_ao", |table| {
        let id = |table: &mut Section<'_, '_>, key| table.or(key, 0, value::number(0..=u8::MAX));
        let (send_id, receive_id) = (id(table, "send_id"), id(table, "receive_id"));
        let words = value::word(
            &["hmac-sha-1-96", "aes-128-cmac-96"],
            [Algorithm::HmacSha1, Algorithm::AesCmac],
        );
        let algorithm = table.or("algorithm", Algorithm::HmacSha1, words);
        if table.exists() { Scheme::Ao { algorithm, send_id, receive_id } } else { Scheme::Md5 }
    })
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
