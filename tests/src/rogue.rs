//! A member who means harm: entries and records made by hand, with any part of them false.
//!
//! Invariant: a rogue knows what its device knows, and nothing more.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use tombolo::crypto::{BlindingKey, Body, DeviceSecrets, EntryDraft, EpochKeys, EpochSecret, InviteLink, unwrap_epoch};
use tombolo::protocol::entry::{Entry, EntryFlags, EntryKind, Header, TAG_BYTES};
use tombolo::protocol::hash::label_bytes;
use tombolo::protocol::ids::{
    ChainKey, DeviceId, DocumentId, DocumentTag, Incarnation, Instance, RecordId, Stream, WorkspaceId,
};
use tombolo::protocol::membership::Membership;
use tombolo::protocol::record::{Draft, Record, RecordBody};

use crate::chance::Chance;
use crate::net::Net;
use crate::replica::Replica;
use crate::station::RelayNode;

/// A member's device in the hands of somebody who means harm.
pub struct Rogue {
    secrets: DeviceSecrets,
    secret: EpochSecret,
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
        Self { secrets: replica.secrets(net), secret, keys, blinding, workspace, head, chance, lives: 0 }
    }

    /// Goes on in the name of another device.
    pub fn act_as(&mut self, secrets: DeviceSecrets) {
        self.secrets = secrets;
    }

    /// Returns its device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.secrets.id()
    }

    /// Returns the secrets of its device.
    #[must_use]
    pub fn secrets(&self) -> &DeviceSecrets {
        &self.secrets
    }

    /// Says from now on that it has caught up with this record.
    pub fn stand_on(&mut self, head: RecordId) {
        self.head = head;
    }

    /// Takes over the newest epoch that is wrapped to its device; tells whether there is another one.
    pub fn learn_epochs(&mut self, membership: &Membership) -> bool {
        let mut learnt = false;
        for record in membership.in_order() {
            let Some((epoch, wraps)) = record.body().wraps() else { continue };
            for wrap in wraps {
                let opened = unwrap_epoch(&self.workspace, &epoch, wrap, self.secrets.box_secret());
                let Ok((secret, _)) = opened else { continue };
                self.keys = EpochKeys::derive(&self.workspace, &secret);
                learnt |= secret != self.secret;
                self.secret = secret;
            }
        }
        learnt
    }

    /// Returns the keys of its epoch.
    #[must_use]
    pub fn keys(&self) -> &EpochKeys {
        &self.keys
    }

    /// Returns what relays see of a document.
    #[must_use]
    pub fn tag(&self, document: &DocumentId) -> DocumentTag {
        self.blinding.document_tag(document)
    }

    /// Begins a chain of its own: the draft of its first entry, with nothing false in it.
    pub fn draft(&mut self, document: DocumentId) -> EntryDraft {
        self.lives += 1;
        let chain = ChainKey {
            document: self.tag(&document),
            stream: Stream::CONTENT,
            device: self.secrets.id(),
            incarnation: Incarnation(self.lives),
        };
        EntryDraft {
            kind: EntryKind::Changes,
            flags: EntryFlags::NONE,
            workspace: self.workspace.tag(),
            chain,
            seq: 1,
            prev: Header::NO_PREV,
            members_head: self.head,
            clear: Vec::new(),
        }
    }

    /// Returns a body of these changes.
    #[must_use]
    pub fn body(crdt: u8, changes: &[Vec<u8>]) -> Body {
        let changes = changes.to_vec();
        Body { creation: None, crdt, instance: Instance(7), wall_ms: 0, deps: Vec::new(), changes }
    }

    /// Seals a draft as an honest program does.
    pub fn seal_draft(&mut self, draft: EntryDraft, body: &Body) -> Entry {
        let body = body.encode().expect("the body is written");
        self.seal_bytes(draft, &body)
    }

    /// As [`Rogue::seal_draft`], with a body that need not be one.
    pub fn seal_bytes(&mut self, draft: EntryDraft, body: &[u8]) -> Entry {
        self.keys.seal_entry(draft, body, &self.secrets, &mut self.chance).expect("the entry is sealed")
    }

    /// Seals changes into the first entry of a chain of its own.
    pub fn seal(&mut self, document: DocumentId, crdt: u8, change: &[u8]) -> Entry {
        self.seal_for(self.workspace, document, crdt, change)
    }

    /// As [`Rogue::seal`], but says that it is of another workspace.
    pub fn seal_for(&mut self, workspace: WorkspaceId, document: DocumentId, crdt: u8, change: &[u8]) -> Entry {
        let mut draft = self.draft(document);
        draft.workspace = workspace.tag();
        self.seal_draft(draft, &Self::body(crdt, &[change.to_vec()]))
    }

    /// Seals a plaintext as it is, padding and all, with other associated data if `alter` changes them.
    pub fn seal_plaintext(&mut self, draft: EntryDraft, plaintext: &[u8], alter: impl FnOnce(&mut Vec<u8>)) -> Entry {
        let header = Header {
            kind: draft.kind,
            flags: draft.flags,
            workspace: draft.workspace,
            chain: draft.chain,
            seq: draft.seq,
            prev: draft.prev,
            epoch: self.keys.epoch(),
            members_head: draft.members_head,
            clear_root: Header::NO_CLEAR,
            salt: tombolo::crypto::array(&mut self.chance),
            body_len: (plaintext.len() + TAG_BYTES) as u32,
        };
        let mut aad = header.encode();
        let (key, nonce) = self.entry_key(&header);
        alter(&mut aad);
        let mut sealed = plaintext.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).expect("the plaintext is short");
        self.sign(header, sealed)
    }

    /// Signs a header over bytes that somebody sealed.
    #[must_use]
    pub fn sign(&self, header: Header, sealed: Vec<u8>) -> Entry {
        Entry::sign(header, Vec::new(), sealed, self.secrets.sign_key()).expect("the header fits")
    }

    /// Claims the ciphertext of another entry for a chain of its own, or with whatever else `alter` says.
    pub fn claim(&mut self, entry: &Entry, document: DocumentId, alter: impl FnOnce(&mut Header)) -> Entry {
        let draft = self.draft(document);
        let mut header = Header { chain: draft.chain, seq: 1, prev: Header::NO_PREV, ..entry.header().clone() };
        header.flags = EntryFlags::NONE;
        alter(&mut header);
        self.sign(header, entry.sealed().to_vec())
    }

    /// Opens an entry of its epoch.
    #[must_use]
    pub fn open(&self, entry: &Entry) -> Option<Body> {
        Body::decode(&self.keys.open_entry(entry).ok()?).ok()
    }

    /// Signs a statement on the heads that a relay has.
    #[must_use]
    pub fn state(&self, net: &Net, body: RecordBody) -> Record {
        let membership = net.membership(RelayNode::FIRST);
        let heads: Vec<RecordId> = membership.heads().iter().copied().collect();
        self.state_on(&membership, &heads, body)
    }

    /// Signs a statement on these records.
    #[must_use]
    pub fn state_on(&self, membership: &Membership, parents: &[RecordId], body: RecordBody) -> Record {
        let above = |id: &RecordId| membership.record(id).map_or(0, |record| record.generation() + 1);
        let draft = Draft {
            workspace: self.workspace,
            generation: parents.iter().map(above).max().unwrap_or(0),
            time_ms: 0,
            author: self.secrets.id(),
            parents: parents.to_vec(),
            body,
            secret: Vec::new(),
        };
        Record::sign(draft, self.secrets.sign_key()).expect("the record is signed")
    }

    /// Derives the key of one entry (docs/protocol.md), apart from the product's own code.
    fn entry_key(&self, header: &Header) -> (LessSafeKey, Nonce) {
        let epoch = Salt::new(HKDF_SHA256, self.workspace.as_bytes()).extract(self.secret.as_bytes());
        let document = expand::<32>(&epoch, "document", header.chain.document.as_bytes());
        let document = Prk::new_less_safe(HKDF_SHA256, &document);
        let bytes = expand::<44>(&document, "entry", &header.encode());
        let (key, nonce) = bytes.split_at(32);
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key");
        (LessSafeKey::new(key), Nonce::try_assume_unique_for_key(nonce).expect("12 bytes are a nonce"))
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, label: &str, part: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let label = label_bytes(label);
    let info = [label.as_slice(), part];
    let expanded = prk.expand(&info, Length(N)).and_then(|okm| okm.fill(&mut out));
    expanded.expect("the length is short");
    out
}
