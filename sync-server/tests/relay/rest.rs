//! Workspaces at rest: what is let go while nothing happens is there again when somebody asks for it.

use std::path::Path;
use std::sync::Arc;

use tempfile::{TempDir, tempdir};
use tombolo_protocol::frame::{Frame, RefusalReason};
use tombolo_protocol::ids::{RelayId, Stream};
use tombolo_protocol::item::ItemHash;
use tombolo_protocol::log::LogOrigin;
use tombolo_protocol::record::{Levels, Record, Role};
use tombolo_relay::log::sqlite::SqliteLog;
use tombolo_relay::log::{AppendWrite, Log as _, NewItem, Write};
use tombolo_relay::relay::Relay;

use super::people::{Pen, Person, found, invite, item, join, standing};
use super::wire::{Clock, Wire, relay_in};

/// A workspace of two records, and its founder's session.
struct Scene {
    relay: Arc<Relay>,
    alice: Person,
    ground: Vec<Record>,
    wire: Wire,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let relay = relay_in(folder.path(), &Clock::default(), Levels::default());
        let alice = Person::new(1);
        let (ground, mut wire) = (found(&alice, 1), Wire::new(&relay, &alice));
        wire.seed(&ground);
        wire.heard.clear();
        Self { relay, alice, ground, wire, _folder: folder }
    }

    fn pen(&self) -> Pen {
        Pen::new(&self.alice, &self.ground, 1, Stream::CONTENT)
    }

    /// The first time it is seen that nobody asks, the second time it rests.
    fn rest(&self) {
        self.relay.rest();
        self.relay.rest();
    }

    /// Appends; returns where the items stand, all of which must be taken.
    fn place(&mut self, items: Vec<Vec<u8>>) -> Vec<(u64, u32)> {
        let append = self.wire.next_append(items);
        self.wire.say(append);
        placed(&self.wire.take_heard())
    }
}

/// Puts records into the log of a relay that is down, past its judge and in this order.
fn plant(folder: &Path, relay: &RelayId, records: &[&Record]) {
    let log = SqliteLog::open(&folder.join("log.sqlite")).unwrap();
    let row = log.find(&records[0].workspace().tag()).unwrap().unwrap();
    let (mut frontier, mut items) = (row.frontier, Vec::new());
    for record in records {
        let hash = ItemHash::Record(record.id());
        frontier.append(&hash);
        items.push(NewItem { position: frontier.length(), hash, chain: None, bytes: item(record) });
    }
    let append = AppendWrite {
        row: row.row,
        items,
        chains: Vec::new(),
        floors: Vec::new(),
        members: Vec::new(),
        head: frontier.head(&LogOrigin::new(relay, &row.log, &row.workspace)),
        frontier,
    };
    log.commit(&[Write::Append(append)]).unwrap();
}

/// The record, under a signature that its author never made.
fn forged(record: &Record) -> Record {
    let mut bytes = record.encode();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = Record::decode(&bytes).unwrap();
    assert_eq!(forged.id(), record.id(), "no name covers a signature");
    forged
}

fn placed(heard: &[Frame]) -> Vec<(u64, u32)> {
    let of = |frame: &Frame| match frame {
        Frame::Received(received) => received.positions.clone(),
        other => panic!("expected Received, got {other:?}"),
    };
    heard.iter().flat_map(of).collect()
}

#[test]
fn a_workspace_that_rested_goes_on_where_it_was_and_knows_what_it_has() {
    let mut scene = Scene::new();
    let mut pen = scene.pen();
    let first = pen.item(b"1");
    assert_eq!(scene.place(vec![first.clone()]), [(3, 1)]);
    pen.declared_at(3);
    scene.rest();
    let second = pen.item(b"2");
    assert_eq!(scene.place(vec![second.clone()]), [(4, 1)], "in short form");
    scene.rest();
    let third = pen.item(b"3");
    assert_eq!(scene.place(vec![first, second, third]), [(3, 3)], "what was sent again stands where it stood");
}

#[test]
fn what_is_not_committed_yet_is_not_let_go() {
    let mut scene = Scene::new();
    let mut pen = scene.pen();
    let (first, second) = (pen.item(b"1"), pen.item(b"2"));
    let append = scene.wire.next_append(vec![first]);
    scene.wire.whisper(append).unwrap();
    scene.rest();
    assert_eq!(scene.place(vec![second]), [(3, 2)]);
}

#[test]
fn a_forged_record_before_its_parent_counts_neither_at_the_start_nor_after_its_workspace_rested() {
    let Scene { relay, alice, mut ground, mut wire, _folder: folder } = Scene::new();
    let bob = Person::new(2);
    let (offer, key) = invite(&ground, &alice, relay.id(), Role::Reader, 1, 0);
    assert_eq!(wire.append(vec![item(&offer)]), []);
    ground.push(offer);
    ground.push(join(&ground, &bob, ground[2].id(), &key));
    Wire::new(&relay, &bob).seed(&ground);
    let id = relay.id();
    drop((wire, relay));
    ground.push(alice.record(&ground, standing(&bob, Some(Role::Commenter), None)));
    let writer = forged(&alice.record(&ground, standing(&bob, Some(Role::Writer), None)));
    // It waits for its parent, so nobody can verify it when it is read.
    plant(folder.path(), &id, &[&writer, &ground[4]]);
    let relay = relay_in(folder.path(), &Clock::default(), Levels::default());
    let mut at_bob = Wire::new(&relay, &bob);
    at_bob.open(&ground);
    assert_eq!(at_bob.names(), ["Opened", "Items", "Head"]);
    let with_it = [&ground[..], &[writer]].concat();
    for round in 0..3 {
        let text = Pen::new(&bob, &with_it, round, Stream::CONTENT).item(b"1");
        let comment = Pen::new(&bob, &ground, round, Stream::COMMENTS).item(b"1");
        let refused = at_bob.append(vec![text, comment]);
        assert_eq!(refused, [(0, RefusalReason::RoleDenied)], "after {round} rests: the text, and not the comment");
        relay.rest();
        relay.rest();
    }
}
