//! The documents that a session asks for, where it does not ask for all.
//!
//! Invariant: a log's head can be made of what is sent: each position comes as its item, or within a run of which the roots
//! come. Records, attestations and members' words always come.

use tombolo_protocol::entry::{Entry, EntryFlags};
use tombolo_protocol::frame::Append;
use tombolo_protocol::ids::{DeviceId, DocumentTag};
use tombolo_protocol::item::{ItemHash, LeftOut, LogItem};
use tombolo_protocol::limits::WANTED_DOCUMENTS_MAX;

use super::Session;
use crate::log::{Row, Told};

/// Documents that all open workspaces of a session name together: a megabyte. Of a workspace beyond that all are sent.
const SESSION_DOCUMENTS_MAX: usize = 16 * WANTED_DOCUMENTS_MAX;

/// Documents whose entries are wanted, in order.
pub(super) struct Filter(Vec<DocumentTag>);

impl Filter {
    fn new(mut documents: Vec<DocumentTag>) -> Self {
        documents.sort_unstable();
        documents.dedup();
        Self(documents)
    }

    /// Tells whether an item is sent; what belongs to no document always is.
    pub(super) fn wants(&self, document: Option<&DocumentTag>) -> bool {
        document.is_none_or(|document| self.0.binary_search(document).is_ok())
    }

    fn add(&mut self, document: DocumentTag) {
        if let Err(at) = self.0.binary_search(&document)
            && self.0.len() < WANTED_DOCUMENTS_MAX
        {
            self.0.insert(at, document);
        }
    }
}

impl Session {
    /// Tells whether a session may name so many documents of a workspace, beside those of its others.
    pub(super) fn may_ask_for(&self, row: Row, documents: Option<&Vec<DocumentTag>>) -> bool {
        let others = self.channels.iter().filter(|(other, _)| **other != row);
        let named = others.filter_map(|(_, channel)| Some(channel.filter.as_ref()?.0.len()));
        documents.is_none_or(|documents| named.sum::<usize>() + documents.len() <= SESSION_DOCUMENTS_MAX)
    }

    /// Sends of a workspace only the entries of some documents from here on, or of all.
    pub(super) fn ask_for(&mut self, row: Row, documents: Option<Vec<DocumentTag>>) {
        let documents = documents.filter(|documents| self.may_ask_for(row, Some(documents)));
        if let Some(channel) = self.channels.get_mut(&row) {
            channel.filter = documents.map(|documents| Box::new(Filter::new(documents)));
            self.mark_filter(row);
        }
    }

    /// Lets commits know whether the session takes their items as they are.
    pub(super) fn mark_filter(&self, row: Row) {
        if let Some(channel) = self.channels.get(&row)
            && let Some(reader) = channel.workspace.published().readers.get_mut(&self.outbox.id())
        {
            reader.filters = channel.filter.is_some();
        }
    }

    /// Adds the documents that a device creates to those that it asks for: nobody else can have written into them yet.
    pub(super) fn want_created(&mut self, append: &Append, device: DeviceId) {
        let Some(filter) = self.channels.get_mut(&append.channel).and_then(|channel| channel.filter.as_mut()) else {
            return;
        };
        for bytes in &append.items {
            let Ok(LogItem::Entry(bytes)) = LogItem::decode(bytes) else {
                continue;
            };
            let entry = Entry::decode(bytes).ok();
            let header = entry.as_ref().map(Entry::header).filter(|header| header.flags.has(EntryFlags::CREATION));
            if let Some(header) = header.filter(|header| header.chain.device == device) {
                filter.add(header.chain.document);
            }
        }
    }
}

/// Puts together what is sent of a run of the log: the items that are wanted, and what is left out between them; returns
/// the last position that it covers too.
pub(super) fn with_gaps(first: u64, run: Vec<Told>) -> (u64, Vec<Vec<u8>>) {
    let (mut items, mut left_out, mut position) = (Vec::new(), Vec::new(), first - 1);
    for (hash, item) in run {
        let Some(item) = item else {
            left_out.push(hash);
            continue;
        };
        position = close_gap(position, &mut left_out, &mut items) + 1;
        items.push(item);
    }
    (close_gap(position, &mut left_out, &mut items), items)
}

/// Says what was left out behind a position; returns the position that follows.
fn close_gap(position: u64, left_out: &mut Vec<ItemHash>, items: &mut Vec<Vec<u8>>) -> u64 {
    let run = std::mem::take(left_out);
    if !run.is_empty() {
        items.push(LeftOut::of(position, &run).encode());
    }
    position + run.len() as u64
}
