//! The files of the access log: one after the other, each named by the number of its first record.
//!
//! A record is a line: JSON, a tab, the record's hash in hex; and for the last of a batch a tab and the
//! relay's signature over that hash. `hash = H("access-record", hash of the record before, JSON)`. The first
//! record of each file names the hash that it goes on from, so files verify by themselves as well.
//!
//! Invariant: a batch is on the disk before the next is taken. Behind a crash only what no signature covers
//! is cut off; a file in which somebody changed what is signed is never touched, another begins behind it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tombolo_protocol::hash::{Digest, hash};
use tombolo_protocol::ids::RelayId;
use tombolo_protocol::keys::SignKey;

use super::event::AccessEvent;
use super::verify::{Tail, files_of, read_tail};

/// Bytes after which another file begins: small enough to read at once, for some ten thousand sessions.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// What a signature of the access log is made in.
pub(super) const CONTEXT: &str = "access-sig";
/// What a record's hash begins with.
pub(super) const LABEL: &str = "access-record";

/// The end of the chain, and the file that it is written to.
pub struct Journal {
    folder: PathBuf,
    key: SignKey,
    files_max: usize,
    file: File,
    bytes: u64,
    nth: u64,
    last: Digest,
}

impl Journal {
    /// Opens a folder, and goes on where its chain ends.
    ///
    /// # Errors
    /// The system's.
    pub fn open(folder: &Path, key: SignKey, files_max: usize, now_ms: i64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let relay = RelayId::from_bytes(key.public());
        let (mut files, mut cut_bytes) = (files_of(folder)?, 0);
        let mut journal = loop {
            let Some(path) = files.pop() else {
                break Self::begin(folder, key, 1, [0; 32])?;
            };
            let tail = read_tail(&path, &relay)?;
            cut_bytes += tail.torn_bytes;
            if tail.is_whole && tail.nth > 0 {
                break Self::resume(folder, key, &path, &tail)?;
            }
            if !tail.is_whole {
                // Somebody changed it: it stays as it is, to be looked at.
                let next = tail.nth.max(first_of(&path)).saturating_add(1);
                break Self::begin(folder, key, next, [0; 32])?;
            }
            // A file whose first batch a crash tore: what it goes on from is the file before it.
            std::fs::remove_file(&path)?;
        };
        journal.files_max = files_max;
        journal.write(vec![(now_ms, AccessEvent::Started { relay, cut_bytes })])?;
        Ok(journal)
    }

    fn begin(folder: &Path, key: SignKey, nth: u64, last: Digest) -> io::Result<Self> {
        let file = create(folder, nth)?;
        Ok(Self { folder: folder.to_owned(), key, files_max: 0, file, bytes: 0, nth: nth.saturating_sub(1), last })
    }

    fn resume(folder: &Path, key: SignKey, path: &Path, tail: &Tail) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        if tail.torn_bytes > 0 {
            file.set_len(tail.bytes)?;
            file.sync_all()?;
        }
        let folder = folder.to_owned();
        Ok(Self { folder, key, files_max: 0, file, bytes: tail.bytes, nth: tail.nth, last: tail.last })
    }

    /// Writes events as one batch, and signs the last of them.
    ///
    /// # Errors
    /// The system's; the records of the batch are lost then, and the chain goes on without them.
    pub fn write(&mut self, events: Vec<(i64, AccessEvent)>) -> io::Result<()> {
        let Some((time_ms, _)) = events.first() else {
            return Ok(());
        };
        if self.bytes >= FILE_BYTES_MAX {
            self.file = create(&self.folder, self.nth.saturating_add(1))?;
            self.bytes = 0;
            self.forget_oldest()?;
        }
        let (mut nth, mut last, mut out) = (self.nth, self.last, String::new());
        if self.bytes == 0 {
            let head = format!(
                ",\"event\":\"file\",\"relay\":\"{}\",\"previous\":\"{}\"",
                RelayId::from_bytes(self.key.public()),
                hex(&last)
            );
            link(&mut out, &mut nth, &mut last, *time_ms, &head);
        }
        for (time_ms, event) in &events {
            let mut rest = String::new();
            event.write(&mut rest);
            link(&mut out, &mut nth, &mut last, *time_ms, &rest);
        }
        out.pop();
        out.push('\t');
        out.push_str(&hex(&self.key.sign(CONTEXT, &last)));
        out.push('\n');
        if let Err(error) = self.file.write_all(out.as_bytes()).and_then(|()| self.file.sync_data()) {
            // Nothing of the batch counts: what was half written must not stand before the next.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        (self.nth, self.last) = (nth, last);
        self.bytes = self.bytes.saturating_add(out.len() as u64);
        Ok(())
    }

    /// Deletes the oldest files beyond those that are kept.
    fn forget_oldest(&self) -> io::Result<()> {
        let files = files_of(&self.folder)?;
        let beyond = files.len().saturating_sub(self.files_max.max(1));
        for file in files.into_iter().take(beyond) {
            std::fs::remove_file(file)?;
        }
        Ok(())
    }
}

/// Adds a record behind the last one.
fn link(out: &mut String, nth: &mut u64, last: &mut Digest, time_ms: i64, rest: &str) {
    *nth = nth.saturating_add(1);
    let start = out.len();
    // Writing to memory does not fail.
    write!(out, "{{\"nth\":{nth},\"time_ms\":{time_ms}{rest}}}").unwrap_or_default();
    let body = out.get(start..).unwrap_or_default();
    *last = hash(LABEL, &[last, body.as_bytes()]);
    out.push('\t');
    out.push_str(&hex(last));
    out.push('\n');
}

fn create(folder: &Path, nth: u64) -> io::Result<File> {
    let path = folder.join(format!("{nth:020}.log"));
    let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Returns the number that a file is named by.
fn first_of(path: &Path) -> u64 {
    path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).unwrap_or(0)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
