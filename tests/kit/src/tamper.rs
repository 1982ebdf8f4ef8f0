//! A relay that helps the rogue: it reads its own log, puts items into it past its judge, and counts.
//!
//! Invariant: what is planted is signed for as everything else: the log's head covers it.

use std::collections::BTreeMap;

use tombolo::protocol::entry::Entry;
use tombolo::protocol::ids::{ChainId, ChainKey, LogId};
use tombolo::protocol::item::{ItemHash, LogItem};
use tombolo::protocol::keys::SignKey;
use tombolo::protocol::log::LogOrigin;
use tombolo::protocol::membership::Membership;
use tombolo::protocol::receipt::{Attestation, Receipt, Signed, acknowledged};
use tombolo::protocol::record::Record;
use tombolo_relay::log::{AppendWrite, ChainRow, NewItem, WorkspaceRow, Write, expand_run};

use crate::net::Net;
use crate::station::RelayNode;

/// What is put into a log.
pub enum Planted<'a> {
    /// An entry.
    Entry(&'a Entry),
    /// A record.
    Record(&'a Record),
    /// A relay's word on a record.
    Attestation(&'a Signed<Attestation>),
}

impl Planted<'_> {
    fn hash(&self) -> ItemHash {
        match self {
            Self::Entry(entry) => ItemHash::Entry(entry.hash()),
            Self::Record(record) => ItemHash::Record(record.id()),
            Self::Attestation(attestation) => attestation.item_hash(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Entry(entry) => LogItem::encode_entry(entry, None),
            Self::Record(record) => LogItem::encode_record(&record.encode()),
            Self::Attestation(attestation) => LogItem::encode_attestation(&attestation.encode()),
        }
    }
}

impl Net {
    fn row(&self, relay: RelayNode) -> WorkspaceRow {
        let log = self.station(relay).relay().log();
        log.find(&self.workspace().tag()).expect("the log reads").expect("the workspace is there")
    }

    /// Returns a relay's own key, for a relay that lies in its own name.
    #[must_use]
    pub fn relay_key(&self, relay: RelayNode) -> SignKey {
        self.station(relay).key()
    }

    /// Returns the membership as a relay's log holds it.
    #[must_use]
    pub fn membership(&self, relay: RelayNode) -> Membership {
        let log = self.station(relay).relay().log();
        let mut membership = Membership::new(self.workspace());
        for item in log.membership(self.row(relay).row).expect("the log reads") {
            match LogItem::decode(&item.bytes).expect("an item") {
                LogItem::Record(record) => {
                    membership.insert(Record::decode(record).expect("a record"));
                }
                LogItem::Attestation(attestation) => {
                    membership.attest(Signed::decode(attestation).expect("an attestation"));
                }
                _ => {}
            }
        }
        membership
    }

    /// Returns how many items a relay's log has.
    #[must_use]
    pub fn log_length(&self, relay: RelayNode) -> u64 {
        self.row(relay).frontier.length()
    }

    /// Returns the items of a relay's log from a position on, as they stand there; empty where they are gone.
    #[must_use]
    pub fn log_items(&self, relay: RelayNode, first: u64) -> Vec<Vec<u8>> {
        let row = self.row(relay);
        let log = self.station(relay).relay().log();
        log.items(row.row, (first, row.frontier.length()), usize::MAX >> 1).expect("the log reads")
    }

    /// Returns the items of a relay's log; none if it is down, or has no such workspace.
    #[must_use]
    pub fn items_if_any(&self, relay: RelayNode) -> Vec<Vec<u8>> {
        let held = self.station(relay).relay.as_ref().zip(self.workspace);
        let found = held.and_then(|(held, workspace)| held.log().find(&workspace.tag()).ok().flatten());
        if found.is_some() { self.log_items(relay, 1) } else { Vec::new() }
    }

    /// Returns the name of a relay's log, and its head with the relay's signature.
    #[must_use]
    pub fn signed_head(&self, relay: RelayNode) -> (LogId, Vec<u8>) {
        let row = self.row(relay);
        let (held, workspace) = (self.station(relay).relay(), self.workspace());
        let receipt = Receipt {
            relay: held.id(),
            workspace,
            log: row.log,
            position: row.frontier.length(),
            head: row.frontier.head(&LogOrigin::new(&held.id(), &row.log, &workspace)),
            time_ms: self.now().wall_ms,
            acknowledged: acknowledged(&[]),
        };
        (row.log, Signed::sign(receipt, &self.relay_key(relay)).encode())
    }

    /// Returns every entry that a relay's log holds still in full, chain by chain.
    #[must_use]
    pub fn entries(&self, relay: RelayNode) -> Vec<Entry> {
        let log = self.station(relay).relay().log();
        let (row, chains) = log.summary(&self.workspace().tag(), None).expect("the log reads").expect("it is there");
        let mut entries = Vec::new();
        for end in chains {
            let floor = log.floor(row.row, &end.chain).expect("the log reads").map_or(1, |floor| floor.seq);
            let run =
                |from, to| log.chain_run(row.row, &end.chain, (from, to), usize::MAX >> 1).expect("the log reads");
            let before = run(floor - 1, floor - 1).first().map(|item| item.hash);
            entries.extend(expand_run(log, row.row, before, &run(floor, end.seq)).expect("the log reads"));
        }
        entries
    }

    /// Tells whether a relay's log begins a chain, or goes on with it behind a gap, where a snapshot ends.
    #[must_use]
    pub fn took_floors(&self, relay: RelayNode) -> bool {
        let Some((held, workspace)) = self.station(relay).relay.as_ref().zip(self.workspace) else {
            return false;
        };
        let summary = held.log().summary(&workspace.tag(), None).expect("the log reads");
        summary.is_some_and(|(row, chains)| {
            chains.iter().any(|end| {
                let floor = held.log().floor(row.row, &end.chain).expect("the log reads");
                let below = floor.map(|floor| (floor.seq - 1, floor.seq - 1)).filter(|(seq, _)| *seq > 0);
                below.is_some_and(|below| {
                    held.log().chain_run(row.row, &end.chain, below, 1).expect("the log reads").is_empty()
                })
            })
        })
    }

    /// Returns the value of a line of a relay's metrics, as its operator reads it.
    #[must_use]
    pub fn metric(&self, relay: RelayNode, name: &str) -> u64 {
        let text = self.station(relay).relay().metrics().to_prometheus();
        let line = text.lines().find_map(|line| line.strip_prefix("tombolo_relay_")?.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no metric is called {name}"))
    }

    /// Returns how often a relay refused an item for this reason.
    #[must_use]
    pub fn refused(&self, relay: RelayNode, reason: &str) -> u64 {
        self.metric(relay, &format!("refused_total{{reason=\"{reason}\"}}"))
    }

    /// Lets a relay put an entry into its log past its own judge.
    pub fn plant_entry(&mut self, relay: RelayNode, entry: &Entry) {
        self.plant(relay, &[Planted::Entry(entry)]);
    }

    /// Lets a relay put a record into its log past its own judge.
    pub fn plant_record(&mut self, relay: RelayNode, record: &Record) {
        self.plant(relay, &[Planted::Record(record)]);
    }

    /// Lets a relay put items into its log past its own judge, in this order, and start again.
    pub fn plant(&mut self, relay: RelayNode, planted: &[Planted<'_>]) {
        let workspace = self.workspace();
        let row = self.row(relay);
        let mut stored = self.entries(relay);
        let held = self.station(relay).relay();
        let mut frontier = row.frontier;
        let mut items = Vec::new();
        let mut chains: BTreeMap<ChainId, ChainRow> = BTreeMap::new();
        for one in planted {
            let hash = one.hash();
            frontier.append(&hash);
            let position = frontier.length();
            let mut place = None;
            if let Planted::Entry(entry) = one {
                let header = entry.header();
                // As a relay does, the second entry for a place is put into the chain's second branch.
                let rivals = |other: &&Entry| {
                    let (theirs, ours) = (other.header(), header);
                    theirs.chain == ours.chain && theirs.seq == ours.seq && theirs.prev == ours.prev
                };
                let is_second = stored.iter().filter(rivals).any(|other| other.hash() != entry.hash());
                let key = if is_second { header.chain.branch() } else { header.chain };
                let id = key.id();
                let known = held.log().chain(row.row, &id).expect("the log reads").map_or(0, |known| known.seq);
                let known = chains.get(&id).map_or(known, |known| known.seq);
                if header.seq > known {
                    place = Some((id, header.seq));
                    chains.insert(id, end_of(entry, key, position));
                }
                stored.push((*entry).clone());
            }
            items.push(NewItem { position, hash, chain: place, bytes: one.bytes() });
        }
        let append = AppendWrite {
            floors: Vec::new(),
            row: row.row,
            items,
            chains: chains.into_values().collect(),
            members: Vec::new(),
            head: frontier.head(&LogOrigin::new(&held.id(), &row.log, &workspace)),
            frontier,
        };
        held.log().commit(&[Write::Append(append)]).expect("the log is written");
        self.restart_relay(relay);
    }
}

fn end_of(entry: &Entry, key: ChainKey, position: u64) -> ChainRow {
    let header = entry.header();
    ChainRow {
        key,
        seq: header.seq,
        hash: entry.hash(),
        members_head: header.members_head,
        declared_at: position,
        declared_seq: header.seq,
    }
}
