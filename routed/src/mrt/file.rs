//! A file of MRT records: opened after another run, added to, put aside.
//!
//! A file that exists always ends with a whole record when something is added to it: what a crash or
//! a full disk has cut off is taken away first. A file that is none of ours is left alone.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bgp::mrt::{HEADER_LEN, record_len};

/// Why nothing is recorded.
#[derive(Debug, thiserror::Error)]
pub enum MrtError {
    /// The file cannot be opened.
    #[error("{} cannot be opened: {source}; {}", .path.display(), remedy(source))]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a folder, a device or the like.
    #[error("{} is not a file; give mrt.file another path", .0.display())]
    NotAFile(PathBuf),
    /// It is not ours to add to.
    #[error(
        "{} is there and holds something else than update records; move it away, or give mrt.file \
         another path", .0.display()
    )]
    Foreign(PathBuf),
    /// It cannot be written.
    #[error("{} cannot be written: {source}; {}", .path.display(), remedy(source))]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be put aside.
    #[error("{} cannot be put aside: {source}; {}", .path.display(), remedy(source))]
    Rotate {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct MrtFile {
    path: PathBuf,
    file: File,
    /// Octets of whole records.
    len: u64,
    /// Time of the first record.
    begun: Option<SystemTime>,
}

impl MrtFile {
    /// Opens the file to add to it, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, MrtError> {
        let failed = |source| MrtError::Open { path: path.to_owned(), source };
        // Opening a pipe would wait for its other end.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(MrtError::NotAFile(path.to_owned()));
        }
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(failed)?;
        let whole = survey(&file).map_err(failed)?;
        let Some(Whole { len, begun }) = whole else {
            return Err(MrtError::Foreign(path.to_owned()));
        };
        file.set_len(len).and_then(|()| file.seek(SeekFrom::Start(len))).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, len, begun })
    }

    /// Adds whole records.
    pub(super) fn append(&mut self, records: &[u8]) -> Result<(), MrtError> {
        match self.file.write_all(records) {
            Ok(()) => {
                self.len += records.len() as u64;
                self.begun.get_or_insert_with(SystemTime::now);
                Ok(())
            }
            Err(source) => {
                // Who reads the file meanwhile finds whole records. If this fails too, the next
                // opening does it.
                let whole = self.len;
                let _ =
                    self.file.set_len(whole).and_then(|()| self.file.seek(SeekFrom::Start(whole)));
                Err(MrtError::Write { path: self.path.clone(), source })
            }
        }
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// When the file will be that old; `None` as long as it is empty.
    pub(super) fn due(&self, age: Duration) -> Option<SystemTime> {
        self.begun.map(|begun| begun + age)
    }

    /// Puts the file aside under the time of its beginning, and removes those put aside earlier that
    /// are too many.
    pub(super) fn put_aside(self, keep: Option<usize>) -> Result<(), MrtError> {
        let failed = |source| MrtError::Rotate { path: self.path.clone(), source };
        let (stem, extension) = name_parts(&self.path);
        let time = compact_time(self.begun.unwrap_or_else(SystemTime::now));
        // Several may begin in one second; a number is not used again while a later one is there.
        let mut old = put_aside_before(&self.path).map_err(failed)?;
        let number = |old: &str| match old.strip_prefix(&*time)? {
            "" => Some(0),
            number => number.strip_prefix('-')?.parse::<u32>().ok(),
        };
        let last = old.iter().filter_map(|(old, _)| number(old)).max();
        let time = last.map_or_else(|| time.clone(), |last| format!("{time}-{:03}", last + 1));
        let aside = self.path.with_file_name(format!("{stem}.{time}{extension}"));
        fs::rename(&self.path, &aside).map_err(failed)?;
        old.push((time, aside));
        old.sort();
        if let Some(keep) = keep {
            for (_, path) in old.iter().rev().skip(keep) {
                fs::remove_file(path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// What of a file is whole.
struct Whole {
    len: u64,
    begun: Option<SystemTime>,
}

/// Walks through the records of a file; `None` if it holds something else.
fn survey(file: &File) -> io::Result<Option<Whole>> {
    let size = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let (mut len, mut begun) = (0, None);
    while len < size {
        let mut header = [0; HEADER_LEN];
        if size - len < HEADER_LEN as u64 {
            // Perhaps the beginning of a record; of another kind of file, if nothing came before.
            return Ok((len > 0).then_some(Whole { len, begun }));
        }
        reader.read_exact(&mut header)?;
        if !is_ours(header) {
            return Ok(None);
        }
        let [a, b, c, d, ..] = header;
        let seconds = u32::from_be_bytes([a, b, c, d]);
        begun.get_or_insert(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into()));
        let next = len + record_len(header);
        if next > size {
            let begun = begun.filter(|_| len > 0);
            return Ok(Some(Whole { len, begun }));
        }
        let body = next - len - HEADER_LEN as u64;
        reader.seek_relative(i64::try_from(body).unwrap_or(i64::MAX))?;
        len = next;
    }
    Ok(Some(Whole { len, begun }))
}

/// Could this be the header of a record that [`bgp::mrt`] makes of a message or a state: BGP4MP_ET,
/// and no longer than a message with its ends?
fn is_ours(header: [u8; HEADER_LEN]) -> bool {
    let [_, _, _, _, kind @ .., _, _, _, _, _, _] = header;
    kind == [0, 17] && header[6] == 0 && header[7] <= 11 && record_len(header) < 70_000
}

/// `/var/updates` and `.mrt` of `/var/updates.mrt`, without the folder.
fn name_parts(path: &Path) -> (String, String) {
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    (text(path.file_stem()), extension.unwrap_or_default())
}

/// Files that were put aside of this one, with their times, in no order.
fn put_aside_before(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let (stem, extension) = name_parts(path);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let time = name.to_str().and_then(|name| {
            name.strip_prefix(&*stem)?.strip_prefix('.')?.strip_suffix(&*extension)
        });
        if let Some(time) = time.filter(|time| is_compact_time(time)) {
            found.push((time.to_owned(), entry.path()));
        }
    }
    Ok(found)
}

/// `20261127T081500Z`, in UTC.
fn compact_time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(since / 86_400);
    let (hour, minute, second) = (since / 3600 % 24, since / 60 % 60, since % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The same, perhaps with a number behind it.
fn is_compact_time(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let (time, number) = text.split_once('-').unwrap_or((text, "0"));
    let parts = time.strip_suffix('Z').and_then(|time| time.split_once('T'));
    digits(number)
        && parts.is_some_and(|(day, time)| {
            day.len() == 8 && time.len() == 6 && digits(day) && digits(time)
        })
}

/// Year, month and day of a number of days since 1970-01-01. Counts in eras of 400 years from March
/// on, in which every year begins after its leap day.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// What an operator can do about the kernel's answer.
pub(crate) fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            "make room, or have fewer or smaller files kept (rotate_size, keep)"
        }
        Some(libc::ENOENT | libc::ENOTDIR) => "make its folder",
        Some(libc::EACCES | libc::EPERM) => "give the user that runs routed the folder",
        Some(libc::EROFS) => "the file system is read-only; take another",
        _ => "it is tried again",
    }
}
