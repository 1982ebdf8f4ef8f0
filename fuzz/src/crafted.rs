//! Entries that a member's patched device signs: each part of an honest one, changed and signed again.
//!
//! Invariant: the signature is always good, so that what is behind it is reached.

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use tombolo_protocol::entry::{Entry, EntryFlags, EntryKind, Header};
use tombolo_protocol::frame::{Append, Frame};
use tombolo_protocol::ids::{DocumentTag, EntryHash, EpochId, Incarnation, RecordId, Stream, WorkspaceTag};
use tombolo_protocol::item::{Declaration, LogItem};

use crate::CONVERSATION;
use crate::device::secrets;
use crate::relay::Desk;

/// One part, changed.
#[derive(Arbitrary, Debug)]
pub enum Change {
    /// Snapshot or changes.
    Kind(bool),
    /// Any of the three flags.
    Flags(bool, bool, bool),
    /// Another workspace.
    Workspace([u8; 16]),
    /// Another document.
    Document([u8; 16]),
    /// Another stream.
    Stream(u8),
    /// Another life of the device.
    Incarnation(u64),
    /// Another place.
    Seq(u64),
    /// Behind the honest entry, at the next place.
    Follows,
    /// Behind something else.
    Prev([u8; 32]),
    /// Under another key.
    Epoch([u8; 32]),
    /// Standing on another record.
    Members([u8; 32]),
    /// Naming another clear section.
    ClearRoot([u8; 32]),
    /// With another salt.
    Salt([u8; 16]),
    /// With another content.
    Sealed(Vec<u8>),
    /// With a clear section.
    Clear(Vec<u8>),
    /// In the short form, as if it was declared there.
    Short(u64),
}

/// Signs what comes of the changes and sends it to a relay, which answers and serves the next one.
///
/// # Panics
/// If it does not, or an entry has two encodings.
pub fn send(entries: &[Vec<Change>]) {
    let (words, append, honest) = first_append();
    let mut desk = Desk::after(words);
    for (batch, changes) in (append.batch..).zip(entries) {
        let Some(item) = craft(&honest, changes) else { continue };
        let crafted = Append { channel: append.channel, batch, items: vec![item.into()] };
        desk.take(&Frame::from(crafted).encode());
    }
    desk.serve_the_next();
}

/// Finds the device's first edit in the conversation.
fn first_append() -> (usize, Append, Entry) {
    let mut words = CONVERSATION.device.iter().enumerate();
    let found = words.find_map(|(at, bytes)| match Frame::decode(bytes) {
        Ok(Frame::Append(append)) => {
            let entry = append.items.iter().find_map(|item| match LogItem::decode(item) {
                Ok(LogItem::Entry(entry)) => Entry::decode(entry).ok(),
                _ => None,
            });
            entry.map(|entry| (at, append, entry))
        }
        _ => None,
    });
    found.expect("the device sends an entry")
}

fn craft(honest: &Entry, changes: &[Change]) -> Option<Vec<u8>> {
    let (mut header, mut short) = (honest.header().clone(), None);
    let (mut clear, mut sealed) = (honest.clear().to_vec(), honest.sealed().to_vec());
    for change in changes {
        match change {
            Change::Sealed(bytes) => {
                sealed.clone_from(bytes);
                header.body_len = u32::try_from(bytes.len()).ok()?;
            }
            Change::Clear(bytes) => clear.clone_from(bytes),
            Change::Short(at) => short = Some(*at),
            Change::Follows => (header.seq, header.prev) = (honest.header().seq + 1, honest.hash()),
            change => alter(&mut header, change),
        }
    }
    let declaration = Declaration::of(honest.header());
    let entry = Entry::sign(header, clear, sealed, secrets().sign_key()).ok()?;
    if let Ok(again) = Entry::decode(&entry.encode()) {
        assert_eq!(again, entry);
    }
    Some(LogItem::encode_entry(&entry, short.map(|at| (at, &declaration))))
}

fn alter(header: &mut Header, change: &Change) {
    match change {
        Change::Kind(snapshot) => header.kind = if *snapshot { EntryKind::Snapshot } else { EntryKind::Changes },
        Change::Flags(creation, base, continues) => {
            let all = [(creation, EntryFlags::CREATION), (base, EntryFlags::BASE), (continues, EntryFlags::CONTINUES)];
            let set = all.into_iter().filter(|(set, _)| **set);
            header.flags = set.fold(EntryFlags::NONE, |flags, (_, flag)| flags.with(flag));
        }
        Change::Workspace(bytes) => header.workspace = WorkspaceTag::from_bytes(*bytes),
        Change::Document(bytes) => header.chain.document = DocumentTag::from_bytes(*bytes),
        Change::Stream(stream) => header.chain.stream = Stream(*stream),
        Change::Incarnation(nth) => header.chain.incarnation = Incarnation(*nth),
        Change::Seq(seq) => header.seq = *seq,
        Change::Prev(bytes) => header.prev = EntryHash::from_bytes(*bytes),
        Change::Epoch(bytes) => header.epoch = EpochId::from_bytes(*bytes),
        Change::Members(bytes) => header.members_head = RecordId::from_bytes(*bytes),
        Change::ClearRoot(bytes) => header.clear_root = *bytes,
        Change::Salt(bytes) => header.salt = *bytes,
        Change::Sealed(_) | Change::Clear(_) | Change::Short(_) | Change::Follows => {}
    }
}
