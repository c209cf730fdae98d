//! Files that are there as a whole, or as they were before.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Writes a file of mode 0600. When this returns, it is on the disk, whatever happens to the machine.
///
/// # Errors
///
/// The file system's; then the file is as it was.
pub fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let draft = draft_of(path);
    let written = || {
        // One that a daemon has left is not to lend this one its mode.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        sync_folder(path)
    };
    written().inspect_err(|_| {
        // What was written of it only takes up room.
        let _ = fs::remove_file(&draft);
    })
}

/// Takes a file away for good. One that is not there is no failure.
///
/// # Errors
///
/// The file system's.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(path),
    }
}

/// Puts a damaged file aside; gives where it is.
///
/// # Errors
///
/// The file system's.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = with_suffix(path, "damaged");
    fs::rename(path, &aside)?;
    sync_folder(path)?;
    Ok(aside)
}

/// Whether this is what a daemon has left that died while it wrote.
pub(super) fn is_draft(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == DRAFT)
}

fn draft_of(path: &Path) -> PathBuf {
    with_suffix(path, DRAFT)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// A new name is on the disk only once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

const DRAFT: &str = "new";
