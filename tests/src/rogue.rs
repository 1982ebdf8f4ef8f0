//! A member who means harm, and a relay that helps: entries sealed by hand, items put into a log past
//! the relay's judge.
//!
//! Invariant: a rogue knows what its device knows, and nothing more.

use tombolo::crypto::{BlindingKey, Body, DeviceSecrets, EntryDraft, EpochKeys, InviteLink, unwrap_epoch};
use tombolo::protocol::entry::{Entry, EntryFlags, EntryKind, Header};
use tombolo::protocol::ids::{ChainKey, DocumentId, Incarnation, Instance, RecordId, Stream, WorkspaceId};
use tombolo::protocol::item::{ItemHash, LogItem};
use tombolo::protocol::log::LogOrigin;
use tombolo::protocol::membership::Membership;
use tombolo::protocol::receipt::Signed;
use tombolo::protocol::record::{Record, RecordBody};
use tombolo_relay::log::{AppendWrite, ChainRow, NewItem, Write};

use crate::chance::Chance;
use crate::net::Net;
use crate::replica::Replica;
use crate::station::RelayNode;

/// A member's device in the hands of somebody who means harm.
pub struct Rogue {
    secrets: DeviceSecrets,
    keys: EpochKeys,
    blinding: BlindingKey,
    workspace: WorkspaceId,
    head: RecordId,
    chance: Chance,
    lives: u64,
}

impl Rogue {
    /// Takes from a device that joined by `link` all that it takes to seal entries by hand.
    #[must_use]
    pub fn of(net: &Net, replica: Replica, link: &InviteLink) -> Self {
        let workspace = net.workspace();
        let membership = net.membership(RelayNode::FIRST);
        let Some(RecordBody::InviteCreate(invite)) = membership.record(&link.invite).map(Record::body) else {
            panic!("the relay has no such invite");
        };
        let opened = unwrap_epoch(&workspace, &invite.epoch, &invite.wrap, &link.secret.box_secret());
        let (secret, blinding) = opened.expect("the link opens the invite's wrap");
        let head = membership.head().expect("the membership has one head");
        let keys = EpochKeys::derive(&workspace, &secret);
        let chance = Chance::new(0, "rogue");
        Self { secrets: replica.secrets(net), keys, blinding, workspace, head, chance, lives: 0 }
    }

    /// Goes on in the name of another device.
    pub fn act_as(&mut self, secrets: DeviceSecrets) {
        self.secrets = secrets;
    }

    /// Seals changes into the first entry of a chain of its own.
    pub fn seal(&mut self, document: DocumentId, crdt: u8, change: &[u8]) -> Entry {
        self.seal_for(self.workspace, document, crdt, change)
    }

    /// As [`Rogue::seal`], but says that it is of another workspace.
    pub fn seal_for(&mut self, workspace: WorkspaceId, document: DocumentId, crdt: u8, change: &[u8]) -> Entry {
        self.lives += 1;
        let chain = ChainKey {
            document: self.blinding.document_tag(&document),
            stream: Stream::CONTENT,
            device: self.secrets.id(),
            incarnation: Incarnation(self.lives),
        };
        let draft = EntryDraft {
            kind: EntryKind::Changes,
            flags: EntryFlags::NONE,
            workspace: workspace.tag(),
            chain,
            seq: 1,
            prev: Header::NO_PREV,
            members_head: self.head,
            clear: Vec::new(),
        };
        let changes = vec![change.to_vec()];
        let body = Body { creation: None, crdt, instance: Instance(7), wall_ms: 0, deps: Vec::new(), changes };
        let body = body.encode().expect("the body is written");
        self.keys.seal_entry(draft, &body, &self.secrets, &mut self.chance).expect("the entry is sealed")
    }
}

impl Net {
    /// Returns the membership as a relay's log holds it.
    #[must_use]
    pub fn membership(&self, relay: RelayNode) -> Membership {
        let log = self.station(relay).relay().log();
        let row = log.find(&self.workspace().tag()).expect("the log reads").expect("the workspace is there");
        let mut membership = Membership::new(self.workspace());
        for item in log.membership(row.row).expect("the log reads") {
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

    /// Lets a relay put an entry into its log past its own judge.
    pub fn plant_entry(&mut self, relay: RelayNode, entry: &Entry) {
        self.plant(relay, ItemHash::Entry(entry.hash()), Some(entry), LogItem::encode_entry(entry, None));
    }

    /// Lets a relay put a record into its log past its own judge.
    pub fn plant_record(&mut self, relay: RelayNode, record: &Record) {
        self.plant(relay, ItemHash::Record(record.id()), None, LogItem::encode_record(&record.encode()));
    }

    fn plant(&mut self, relay: RelayNode, hash: ItemHash, entry: Option<&Entry>, bytes: Vec<u8>) {
        let workspace = self.workspace();
        let held = self.station(relay).relay();
        let row = held.log().find(&workspace.tag()).expect("the log reads").expect("the workspace is there");
        let mut frontier = row.frontier;
        frontier.append(&hash);
        let position = frontier.length();
        let header = entry.map(Entry::header);
        let chain = |header: &Header| ChainRow {
            key: header.chain,
            seq: header.seq,
            hash: entry.map_or(header.prev, Entry::hash),
            members_head: header.members_head,
            declared_at: position,
            declared_seq: header.seq,
        };
        let place = header.map(|header| (header.chain.id(), header.seq));
        let append = AppendWrite {
            row: row.row,
            items: vec![NewItem { position, hash, chain: place, bytes }],
            chains: header.map(chain).into_iter().collect(),
            members: Vec::new(),
            head: frontier.head(&LogOrigin::new(&held.id(), &row.log, &workspace)),
            frontier,
        };
        held.log().commit(&[Write::Append(append)]).expect("the log is written");
        self.restart_relay(relay);
    }
}
