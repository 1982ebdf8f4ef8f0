//! Folding: nobody can tell from the content that changes were folded.

use super::*;
use crate::document::fold::{Unsent, fold};

on_both! {
    folded_changes_bring_the_same_content,
    an_open_document_goes_on_after_its_changes_were_folded,
    folding_again_what_was_folded_changes_nothing,
    changes_a_minute_apart_or_of_two_instances_stay_apart,
    what_lacks_nothing_shows_where_what_was_made_right_behind_it_lacks_something,
    random_edits_folded_at_random_times_converge,
}

/// A device that keeps what it has not sent yet.
struct Device {
    writer: Writer,
    unsent: Vec<Vec<u8>>,
    sent: Vec<(Actor, Vec<u8>)>,
}

impl Device {
    fn new(crdt: Crdt, n: u8) -> Self {
        Self { writer: Writer::new(crdt, n), unsent: Vec::new(), sent: Vec::new() }
    }

    fn edit(&mut self, closure: impl FnOnce(&mut MapEdit<'_>) -> Result<(), EditError>) {
        let edited = self.writer.document.edit(1_700_000_000_123, PatchMode::On, closure).unwrap();
        self.writer.observe(&edited.patches);
        self.unsent.extend(edited.change.map(|change| change.bytes));
    }

    /// Folds what is not sent, and has the open document adopt it.
    fn fold(&mut self) -> usize {
        let unsent: Vec<_> = self.unsent.iter().map(|bytes| Unsent { instance: 1, wall_ms: 0, bytes }).collect();
        let folded = fold(self.writer.document.crdt(), &unsent, false).unwrap();
        assert_eq!(folded.runs.iter().map(|run| run.count).sum::<usize>(), unsent.len());
        self.writer.document.adopt(&folded);
        self.unsent = folded.runs.into_iter().map(|run| run.bytes).collect();
        self.unsent.len()
    }

    fn send(&mut self) {
        let actor = self.writer.actor;
        for bytes in self.unsent.drain(..) {
            trial(self.writer.document.crdt(), &bytes, Some(actor)).unwrap();
            self.sent.push((actor, bytes));
        }
    }

    /// A device that has only what was sent holds the same.
    fn check(&self, others: &[(Actor, Vec<u8>)]) {
        let all: Vec<_> = self.sent.iter().chain(others).collect();
        let foreign: Vec<_> = all.iter().map(|(actor, bytes)| ForeignChange { bytes, actor: Some(*actor) }).collect();
        let loaded = OpenDocument::load(self.writer.document.crdt(), actor(99), &foreign).unwrap();
        assert_eq!(loaded.read().to_value(), self.writer.document.read().to_value());
        assert_eq!(loaded.version(), self.writer.document.version());
        loaded.verify().unwrap();
    }
}

fn type_and_erase(device: &mut Device) {
    for n in 0..40 {
        device.edit(|root| root.text("body")?.splice(n, 0, "é"));
    }
    device.edit(|root| root.text("body")?.splice(3, 20, "\u{1F9A5}"));
    for n in 0..10_i64 {
        device.edit(|root| root.put("same", n));
        device.edit(|root| root.counter("count")?.increment(n));
        device.edit(|root| root.list("items")?.push(n));
    }
    device.edit(|root| root.delete("same").map(drop));
}

fn folded_changes_bring_the_same_content(crdt: Crdt) {
    let mut alice = Device::new(crdt, 1);
    type_and_erase(&mut alice);
    let before = alice.unsent.iter().map(Vec::len).sum::<usize>();
    let version = alice.writer.document.version();
    assert_eq!(alice.fold(), 1);
    assert!(alice.unsent[0].len() < before, "{} of {before}", alice.unsent[0].len());
    assert_eq!(alice.writer.document.version() == version, crdt == Crdt::Yrs);
    alice.send();
    alice.check(&[]);
}

fn an_open_document_goes_on_after_its_changes_were_folded(crdt: Crdt) {
    let (mut alice, mut bob) = (Device::new(crdt, 1), Device::new(crdt, 2));
    type_and_erase(&mut alice);
    alice.fold();
    alice.send();
    bob.writer.receive(&alice.sent);
    alice.edit(|root| root.text("body")?.splice(0, 0, "after "));
    bob.edit(|root| root.text("body")?.splice(1, 0, "bob "));
    alice.send();
    bob.send();
    alice.writer.receive(&bob.sent);
    bob.writer.receive(&alice.sent);
    alice.edit(|root| root.text("body")?.splice(0, 0, "at last "));
    alice.send();
    alice.check(&bob.sent);
    bob.writer.receive(&alice.sent);
    bob.check(&alice.sent);
}

fn folding_again_what_was_folded_changes_nothing(crdt: Crdt) {
    let mut alice = Device::new(crdt, 1);
    for _ in 0..3 {
        type_and_erase(&mut alice);
        assert_eq!(alice.fold(), 1);
        assert_eq!(alice.fold(), 1);
    }
    alice.send();
    type_and_erase(&mut alice);
    assert_eq!(alice.fold(), 1);
    alice.send();
    alice.check(&[]);
}

fn changes_a_minute_apart_or_of_two_instances_stay_apart(crdt: Crdt) {
    let mut alice = Device::new(crdt, 1);
    for n in 0..4_i64 {
        alice.edit(|root| root.put("n", n));
    }
    let at = [(1, 0), (1, 59_999), (1, 60_000), (2, 60_000)];
    let unsent = alice.unsent.iter().zip(at).map(|(bytes, (instance, wall_ms))| Unsent { instance, wall_ms, bytes });
    let folded = fold(crdt, &unsent.collect::<Vec<_>>(), false).unwrap();
    assert_eq!(folded.runs.iter().map(|run| run.count).collect::<Vec<_>>(), [2, 1, 1]);
}

/// Alice writes beside what Bob wrote, and on top of it, and who lacks Bob's letters sees what lies beside.
fn what_lacks_nothing_shows_where_what_was_made_right_behind_it_lacks_something(crdt: Crdt) {
    let (mut alice, mut bob) = (Device::new(crdt, 1), Device::new(crdt, 2));
    bob.edit(|root| root.text("body")?.splice(0, 0, "bob"));
    bob.send();
    alice.writer.receive(&bob.sent);
    alice.edit(|root| root.put("beside", 1_i64));
    alice.edit(|root| root.put("beside too", 1_i64));
    for letter in ["o", "n"] {
        let at = if letter == "o" { 3 } else { 4 };
        alice.edit(|root| root.text("body")?.splice(at, 0, letter));
    }
    let unsent: Vec<_> = alice.unsent.iter().map(|bytes| Unsent { instance: 1, wall_ms: 0, bytes }).collect();
    let shown = |changes: &[&[u8]]| {
        let actor = Some(alice.writer.actor);
        let foreign: Vec<_> = changes.iter().map(|bytes| ForeignChange { bytes, actor }).collect();
        OpenDocument::load(crdt, crate::document::tests::actor(99), &foreign).unwrap().read().to_value().unwrap()
    };
    let single: Vec<&[u8]> = alice.unsent.iter().map(Vec::as_slice).collect();
    let folded = fold(crdt, &unsent, true).unwrap();
    let runs: Vec<&[u8]> = folded.runs.iter().map(|run| run.bytes.as_slice()).collect();
    assert_eq!(shown(&runs), shown(&single));
    // On automerge all of it stands on Bob's; on yrs what lies beside does not.
    assert_eq!(
        folded.runs.iter().map(|run| run.count).collect::<Vec<_>>(),
        if crdt == Crdt::Yrs { vec![2, 2] } else { vec![4] }
    );
    assert_eq!(fold(crdt, &unsent, false).unwrap().runs.len(), 1);
}

fn random_edits_folded_at_random_times_converge(crdt: Crdt) {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut devices = [Device::new(crdt, 1), Device::new(crdt, 2)];
        let [alice, bob] = &mut devices;
        // Containers that two devices make concurrently are two: that is another story.
        alice.edit(|root| {
            root.text("body")?;
            root.list("items")?;
            root.counter("count").map(drop)
        });
        alice.send();
        bob.writer.receive(&alice.sent);
        for _ in 0..200 {
            let [alice, bob] = &mut devices;
            let (device, other) = if random.below(2) == 0 { (alice, bob) } else { (bob, alice) };
            match random.below(12) {
                0 => drop(device.fold()),
                1 => device.send(),
                2 => device.writer.receive(&other.sent),
                _ => edit_at_random(device, &mut random),
            }
        }
        let [alice, bob] = &mut devices;
        for device in [&mut *alice, &mut *bob] {
            device.fold();
            device.send();
        }
        alice.writer.receive(&bob.sent);
        bob.writer.receive(&alice.sent);
        assert_eq!(alice.writer.value(), bob.writer.value(), "seed {seed}");
        assert_eq!(alice.writer.document.version(), bob.writer.document.version(), "seed {seed}");
        alice.check(&bob.sent);
    }
}

fn edit_at_random(device: &mut Device, random: &mut Random) {
    let (kind, pick, other) = (random.below(6), random.below(1 << 16), random.below(1 << 16));
    device.edit(|root| match kind {
        0 => root.put(&format!("k{}", pick % 3), other as i64),
        1 => root.delete(&format!("k{}", pick % 3)).map(drop),
        2 => root.counter("count")?.increment(pick as i64),
        3 => root.list("items")?.push(other as i64),
        _ => {
            let mut text = root.text("body")?;
            let len = text.len_utf16();
            let at = pick % (len + 1);
            let removed = if kind == 4 { (other % 4).min(len - at) } else { 0 };
            text.splice(at, removed, ["a", "bc", "é", ""][other % 4])
        }
    });
}
