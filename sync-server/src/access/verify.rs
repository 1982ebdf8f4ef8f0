//! Reading an access log back: every hash, every signature, and that nothing is missing in between.
//!
//! Invariant: what is reported as verified was signed by the relay that is asked for, record by record in
//! one chain; the first thing that does not fit is reported with its file and line, and ends the reading.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use tombolo_protocol::hash::{Digest, hash};
use tombolo_protocol::ids::RelayId;
use tombolo_protocol::keys::{Signature, VerifyKey};

use super::file::{CONTEXT, LABEL};

/// A place in the chain: keep it elsewhere, and records that were cut off at the end are missed as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of a record.
    pub nth: u64,
    /// Its hash.
    pub hash: Digest,
}

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The number of the first record that is here.
    pub first: u64,
    /// The last record.
    pub head: Head,
    /// Lines at the end that no signature covers: of a relay that runs or was killed.
    pub unsigned: u64,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} are signed and whole; the log ends at {}", self.head.nth, self.head)?;
        if self.unsigned > 0 {
            write!(f, " ({} more are not signed yet)", self.unsigned)?;
        }
        Ok(())
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.nth, HEXLOWER.encode(&self.hash))
    }
}

/// The text is no place in an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHead;

impl std::str::FromStr for Head {
    type Err = NoHead;

    fn from_str(text: &str) -> Result<Self, NoHead> {
        let (nth, hash) = text.split_once(':').ok_or(NoHead)?;
        Ok(Self { nth: nth.parse().map_err(|_| NoHead)?, hash: digest(hash).ok_or(NoHead)? })
    }
}

/// What does not fit.
#[derive(Debug)]
#[non_exhaustive]
pub enum AccessFault {
    /// The files can not be read.
    Unreadable(io::Error),
    /// There is no record.
    Empty,
    /// The relay's key is none.
    Key,
    /// A line is no record.
    Malformed(Place),
    /// A record was changed, or does not follow the one before it.
    Broken(Place),
    /// A signature does not fit, or a file ends without one.
    Signature(Place),
    /// Records are missing before this one.
    Missing(Place),
    /// A place that was kept elsewhere is not in the chain.
    HeadNotHere,
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which file.
    pub file: PathBuf,
    /// Which line, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl fmt::Display for AccessFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "the access log can not be read: {error}"),
            Self::Empty => f.write_str("there is no access log here"),
            Self::Key => {
                f.write_str("this is no relay's key; it has 64 hex digits, and the relay says it at its start")
            }
            Self::Malformed(place) => write!(f, "{place}: this line is no record; it was changed"),
            Self::Broken(place) => write!(f, "{place}: this record was changed, or one before it was taken out"),
            Self::Signature(place) => write!(f, "{place}: this is not signed by the relay that was asked for"),
            Self::Missing(place) => write!(f, "{place}: records before this one are missing"),
            Self::HeadNotHere => {
                f.write_str("the record that was kept elsewhere is not here: the end was cut off, or all was made anew")
            }
        }
    }
}

impl std::error::Error for AccessFault {}

impl From<io::Error> for AccessFault {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// One record, as its line says it.
struct Line<'a> {
    body: &'a str,
    nth: u64,
    hash: Digest,
    signature: Option<Signature>,
    /// In the first of a file: what it goes on from.
    previous: Option<Digest>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.split('\t');
        let (body, hash, signature) = (parts.next()?, parts.next()?, parts.next());
        if parts.next().is_some() {
            return None;
        }
        let nth = body.strip_prefix("{\"nth\":")?.split(',').next()?.parse().ok()?;
        let previous = body.split_once(",\"event\":\"file\",").and_then(|(_, rest)| {
            let text = rest.split_once("\"previous\":\"")?.1.split('"').next()?;
            digest(text)
        });
        let signature = match signature {
            Some(text) => Some(Signature::try_from(HEXLOWER.decode(text.as_bytes()).ok()?).ok()?),
            None => None,
        };
        Some(Self { body, nth, hash: digest(hash)?, signature, previous })
    }
}

/// Verifies the files of a folder, and hands each record that is signed for to `show`, with its JSON.
///
/// # Errors
/// [`AccessFault`]: the first thing that does not fit.
pub fn verify(
    folder: &Path,
    relay: &RelayId,
    kept: Option<Head>,
    mut show: impl FnMut(&str),
) -> Result<Verified, AccessFault> {
    let key = VerifyKey::parse(relay.as_bytes()).map_err(|_| AccessFault::Key)?;
    let files = files_of(folder)?;
    let mut reading = Reading { key, kept, found: kept.is_none(), first: None, at: None, waiting: Vec::new() };
    let mut left = files.len();
    for file in files {
        left -= 1;
        reading.read_file(&file, left == 0, &mut show)?;
    }
    match (reading.first, reading.at) {
        (Some(first), Some(head)) if reading.found => {
            Ok(Verified { first, head, unsigned: reading.waiting.len() as u64 })
        }
        (Some(_), Some(_)) => Err(AccessFault::HeadNotHere),
        _ => Err(AccessFault::Empty),
    }
}

/// How far the reading has come.
struct Reading {
    key: VerifyKey,
    kept: Option<Head>,
    found: bool,
    first: Option<u64>,
    /// The last record that is signed for, between files.
    at: Option<Head>,
    /// Records that no signature covers yet.
    waiting: Vec<String>,
}

impl Reading {
    fn read_file(&mut self, file: &Path, is_last: bool, show: &mut impl FnMut(&str)) -> Result<(), AccessFault> {
        let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
        let mut at = self.at;
        let mut number = 0;
        for line in text.split_inclusive('\n') {
            number += 1;
            let place = Place { file: file.to_owned(), line: number };
            if is_last && !line.ends_with('\n') {
                // It is being written, or a crash tore it.
                self.waiting.push(String::new());
                break;
            }
            let record = Line::parse(line.trim_end_matches('\n'));
            let Some(record) = record else {
                return Err(AccessFault::Malformed(place));
            };
            at = Some(self.read_record(&record, at, number == 1, &place)?);
            if record.signature.is_some() {
                self.waiting.drain(..).for_each(|body| show(&body));
                self.at = at;
            }
        }
        if !is_last && !self.waiting.is_empty() {
            return Err(AccessFault::Signature(Place { file: file.to_owned(), line: number }));
        }
        Ok(())
    }

    fn read_record(
        &mut self,
        record: &Line<'_>,
        at: Option<Head>,
        begins_file: bool,
        place: &Place,
    ) -> Result<Head, AccessFault> {
        let before = follow(record, at, begins_file).ok_or_else(|| AccessFault::Missing(place.clone()))?;
        if hash(LABEL, &[&before, record.body.as_bytes()]) != record.hash {
            return Err(AccessFault::Broken(place.clone()));
        }
        if let Some(signature) = &record.signature {
            let signed = self.key.verify(CONTEXT, &record.hash, signature);
            signed.map_err(|_| AccessFault::Signature(place.clone()))?;
        }
        let head = Head { nth: record.nth, hash: record.hash };
        self.first.get_or_insert(record.nth);
        self.waiting.push(record.body.to_owned());
        self.found |= self.kept == Some(head);
        Ok(head)
    }
}

/// Returns the hash that a record must go on from, if it may stand where it stands.
fn follow(record: &Line<'_>, at: Option<Head>, begins_file: bool) -> Option<Digest> {
    match (at, record.previous) {
        // The oldest file that is here: what came before was put elsewhere, or was never.
        (None, Some(previous)) if begins_file => Some(previous),
        (Some(at), previous) if record.nth == at.nth.saturating_add(1) && previous.is_some() == begins_file => {
            previous.is_none_or(|previous| previous == at.hash).then_some(at.hash)
        }
        _ => None,
    }
}

/// The end of one file.
pub(super) struct Tail {
    /// The last record that a signature covers; zero for none.
    pub(super) nth: u64,
    pub(super) last: Digest,
    /// Bytes up to its end.
    pub(super) bytes: u64,
    /// Bytes behind it: a batch that a crash tore.
    pub(super) torn_bytes: u64,
    /// Whether all before it is as it was written, and nothing signed stands behind.
    pub(super) is_whole: bool,
}

/// Reads where a file ends, before more is written to it.
pub(super) fn read_tail(path: &Path, relay: &RelayId) -> io::Result<Tail> {
    let text = std::fs::read(path)?;
    let mut tail = Tail { nth: 0, last: [0; 32], bytes: 0, torn_bytes: text.len() as u64, is_whole: true };
    let Ok(key) = VerifyKey::parse(relay.as_bytes()) else {
        return Ok(Tail { is_whole: false, ..tail });
    };
    let (mut at, mut read, mut fits) = (None, 0_u64, true);
    for (number, line) in (1_u64..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        read = read.saturating_add(line.len() as u64);
        let whole = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        let Some(record) = whole.and_then(Line::parse) else {
            fits = false;
            continue;
        };
        let before = follow(&record, at, number == 1);
        fits &= before.is_some_and(|before| hash(LABEL, &[&before, record.body.as_bytes()]) == record.hash);
        at = Some(Head { nth: record.nth, hash: record.hash });
        let Some(signature) = &record.signature else {
            continue;
        };
        if !fits || key.verify(CONTEXT, &record.hash, signature).is_err() {
            // Something is signed behind what does not fit: no crash does that.
            return Ok(Tail { is_whole: false, ..tail });
        }
        (tail.nth, tail.last, tail.bytes) = (record.nth, record.hash, read);
    }
    tail.torn_bytes = (text.len() as u64).saturating_sub(tail.bytes);
    Ok(tail)
}

/// Returns the files of a folder, oldest first.
pub(super) fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let named = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.parse::<u64>().is_ok());
        if named && path.extension().is_some_and(|extension| extension == "log") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn digest(text: &str) -> Option<Digest> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}
