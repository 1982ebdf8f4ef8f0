//! Workspaces at rest: what is let go while nothing happens is there again when somebody asks for it.

use std::sync::Arc;

use tempfile::{TempDir, tempdir};
use tombolo_protocol::frame::Frame;
use tombolo_protocol::ids::Stream;
use tombolo_protocol::record::{Levels, Record};
use tombolo_relay::relay::Relay;

use super::people::{Pen, Person, found};
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
