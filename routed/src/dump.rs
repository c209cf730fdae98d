//! `routed dump`: everything that peers have announced, in a file that other tools read.
//!
//! In: the administrator's socket, where to write. Out: the file, whole or not at all, or an error that
//! says what to do. The daemon writes no file for it and waits for no disk.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use plugin::rpc;

use crate::{
    admin::{DumpPart, Part, Request},
    mrt,
    show::{self, ShowError},
};

/// What a dump came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    file: PathBuf,
    peers: usize,
    prefixes: usize,
    paths: usize,
    left_out: usize,
    octets: usize,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The daemon does not give it.
    #[error(transparent)]
    Daemon(#[from] ShowError),
    /// The file cannot be written.
    #[error("{} cannot be written: {source}; {}", .path.display(), mrt::remedy(source))]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes the file: aside, and in its place when it is whole.
///
/// # Errors
///
/// [`DumpError`]; then nothing is left, and what was in the file before is still there.
pub fn to_file(path: &Path, socket: &Path) -> Result<Dump, DumpError> {
    let failed = |source| DumpError::Write { path: path.to_owned(), source };
    let stream = ask(socket)?;
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        // A pipe or a device: there is no aside.
        let mut file = File::options().write(true).open(path).map_err(failed)?;
        return receive(&stream, &mut file, path);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let draft = path.with_file_name(name);
    let written = || {
        let mut file = File::create(&draft).map_err(failed)?;
        let dump = receive(&stream, &mut file, path)?;
        fs::rename(&draft, path).map_err(failed)?;
        Ok(dump)
    };
    written().inspect_err(|_| {
        // What was written of it only takes up room.
        let _ = fs::remove_file(&draft);
    })
}

/// Writes to stdout.
///
/// # Errors
///
/// [`DumpError`].
pub fn to_stdout(socket: &Path) -> Result<Dump, DumpError> {
    let stream = ask(socket)?;
    receive(&stream, &mut io::stdout().lock(), Path::new("stdout"))
}

fn ask(socket: &Path) -> Result<UnixStream, DumpError> {
    let stream = show::connect(socket)?;
    rpc::send(&stream, &Request::Dump).map_err(show::answer)?;
    Ok(stream)
}

fn receive(mut stream: &UnixStream, out: &mut impl Write, path: &Path) -> Result<Dump, DumpError> {
    let failed = |source| DumpError::Write { path: path.to_owned(), source };
    let (mut summary, mut octets) = (None, 0);
    loop {
        match rpc::receive(stream).map_err(show::answer)? {
            Part::Row(DumpPart::Records(length)) => {
                let mut records = vec![0; length.min(LONGEST)];
                stream.read_exact(&mut records).map_err(|error| show::answer(error.into()))?;
                out.write_all(&records).map_err(failed)?;
                octets += length;
            }
            Part::Row(DumpPart::Summary { peers, prefixes, paths, left_out }) => {
                let file = path.to_owned();
                summary = Some(Dump { file, peers, prefixes, paths, left_out, octets });
            }
            Part::End => {
                out.flush().map_err(failed)?;
                let cut = || show::answer(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                return summary.ok_or_else(|| cut().into());
            }
            Part::Refused(refusal) => return Err(ShowError::from(refusal).into()),
        }
    }
}

/// One line for people.
impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, peers, prefixes, paths, left_out, octets } = self;
        write!(
            f,
            "{}: {prefixes} prefixes, {paths} paths of {peers} peers (this router among them), \
             {octets} octets",
            file.display()
        )?;
        if *left_out > 0 {
            write!(f, "; {left_out} paths could not be written, see the daemon's log")?;
        }
        Ok(())
    }
}

/// Octets of records that are taken at once: no daemon of ours sends more.
const LONGEST: usize = 1 << 30;
