//! What is looked at while it passes: words that must not be readable, and receipts that must be true.
//!
//! Invariant: looking changes nothing and draws nothing.

use std::path::PathBuf;

use tombolo::protocol::frame::Frame;
use tombolo::protocol::receipt::{Receipt, Signed};

use super::Net;
use super::needles::Needles;
use crate::invariant::{Invariant, Violation};
use crate::replica::Replica;
use crate::station::RelayNode;

/// What is watched.
#[derive(Default)]
pub(super) struct Watch {
    on: bool,
    pub(super) silent: bool,
    hidden: Vec<Vec<u8>>,
    /// The same, made ready to be looked for in every frame.
    needles: Needles,
    receipts: u64,
}

/// Which receipts are compared with the log.
const RECEIPTS_EVERY: u64 = 3;

impl Net {
    /// Watches what passes from now on, and leaves it to the caller to tell of failures.
    pub fn watch(&mut self) {
        self.watch.on = true;
        self.watch.silent = true;
    }

    /// Adds bytes that must be nowhere in clear: not on the wire, not in a file.
    pub fn hide(&mut self, needle: &[u8]) {
        if !self.watch.hidden.iter().any(|hidden| hidden == needle) {
            self.watch.hidden.push(needle.to_vec());
            self.watch.needles.add(needle);
        }
    }

    /// Returns what must be nowhere in clear.
    #[must_use]
    pub fn hidden(&self) -> &[Vec<u8>] {
        &self.watch.hidden
    }

    /// Takes out what was found while it passed.
    pub fn take_found(&mut self) -> Option<Violation> {
        self.found.pop()
    }

    /// Returns how much has happened.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.trace.steps()
    }

    /// Returns the last things that happened.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        self.trace.lines().map(ToOwned::to_owned).collect()
    }

    /// Notes something that a story decided, so that it is part of the history.
    pub fn note(&mut self, what: String) {
        self.trace.note(self.now, what, &[]);
    }

    /// Returns the files of a relay.
    #[must_use]
    pub fn relay_files(&self, relay: RelayNode) -> Vec<PathBuf> {
        files(&self.station(relay).folder)
    }

    /// Returns the files of a device's store.
    #[must_use]
    pub fn store_files(&self, replica: Replica) -> Vec<PathBuf> {
        files(self.state(replica).folder())
    }

    /// Copies a device's store as it is on disk now, and returns where the copy is.
    #[must_use]
    pub fn copy_file(&self, replica: Replica) -> PathBuf {
        let to = self.root().join("look");
        std::fs::create_dir_all(&to).expect("a folder for the copy");
        crate::station::remove_all(&to);
        for file in self.store_files(replica) {
            let name = file.file_name().expect("a file has a name");
            std::fs::copy(&file, to.join(name)).expect("the file is copied");
        }
        let path = replica.store_path(self);
        to.join(path.file_name().expect("a store has a name"))
    }

    /// Returns the ids and last places of the chains that a relay's log holds durably; `None` without a log.
    #[must_use]
    pub fn durable_chains(&self, relay: RelayNode) -> Option<Vec<(Vec<u8>, u64)>> {
        let log = self.station(relay).relay.as_ref()?.log();
        let (_, chains) = log.summary(&self.workspace().tag(), None).expect("the log reads")?;
        Some(chains.into_iter().map(|end| (end.chain.as_bytes().to_vec(), end.seq)).collect())
    }

    pub(super) fn watch_frame(&mut self, bytes: &[u8]) {
        if self.watch.on && self.watch.needles.stand_in(bytes) {
            let what = "a frame carries a word or a key in clear".to_owned();
            self.found.push(Violation { invariant: Invariant::NoPlaintext, what });
        }
    }

    /// A receipt speaks of what is committed, and of nothing else.
    pub(super) fn watch_receipt(&mut self, relay: usize, bytes: &[u8]) {
        if !self.watch.on {
            return;
        }
        let Ok(Frame::Received(received)) = Frame::decode(bytes) else { return };
        // A look at some is enough, for each costs a signature.
        self.watch.receipts += 1;
        if !self.watch.receipts.is_multiple_of(RECEIPTS_EVERY) {
            return;
        }
        let Ok(receipt) = Signed::<Receipt>::decode(&received.receipt) else { return };
        let Ok(receipt) = receipt.verify().cloned() else { return };
        let Some(running) = &self.stations[relay].relay else { return };
        let found = running.log().find(&receipt.workspace.tag()).expect("the log reads");
        let durable = found.map_or(0, |row| row.frontier.length());
        if receipt.position > durable {
            let what = format!("relay {relay} signed for position {}, its log ends at {durable}", receipt.position);
            self.found.push(Violation { invariant: Invariant::NothingLost, what });
        }
    }
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder is there").flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}
