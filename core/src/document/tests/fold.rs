//! Folding: nobody can tell from the content that changes were folded.

use super::*;
use crate::document::fold::{Unsent, fold};

on_both! {
    folded_changes_bring_the_same_content,
    an_open_document_goes_on_after_its_changes_were_folded,
    folding_again_what_was_folded_changes_nothing,
    changes_a_minute_apart_or_of_two_instances_stay_apart,
    what_lacks_nothing_shows_where_what_was_made_right_behind_it_lacks_something,
    random_edits_show_the_same_folded_where_what_others_wrote_is_lacking,
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

/// What shows of changes where nobody has what others wrote; folded in so many runs, or as they were made.
fn shown_alone(author: &Device, changes: &[Vec<u8>]) -> Value {
    let author_is = Some(author.writer.actor);
    let foreign: Vec<_> = changes.iter().map(|bytes| ForeignChange { bytes, actor: author_is }).collect();
    let loaded = OpenDocument::load(author.writer.document.crdt(), actor(99), &foreign).unwrap();
    loaded.read().to_value().unwrap()
}

/// Folds what a device has not sent, where some of what it builds on may be lacking.
fn folded_apart(device: &Device) -> Vec<Vec<u8>> {
    let unsent: Vec<_> = device.unsent.iter().map(|bytes| Unsent { instance: 1, wall_ms: 0, bytes }).collect();
    let folded = fold(device.writer.document.crdt(), &unsent, true).unwrap();
    folded.runs.into_iter().map(|run| run.bytes).collect()
}

fn what_lacks_nothing_shows_where_what_was_made_right_behind_it_lacks_something(crdt: Crdt) {
    let (mut alice, mut bob) = (Device::new(crdt, 1), Device::new(crdt, 2));
    bob.edit(|root| root.text("body")?.splice(0, 0, "bob"));
    bob.send();
    alice.writer.receive(&bob.sent);
    alice.edit(|root| root.put("beside", 1_i64));
    alice.edit(|root| root.put("beside too", 1_i64));
    for (at, letter) in [(3, "o"), (4, "n")] {
        alice.edit(|root| root.text("body")?.splice(at, 0, letter));
    }
    let folded = folded_apart(&alice);
    assert_eq!(shown_alone(&alice, &folded), shown_alone(&alice, &alice.unsent));
    // On automerge all of it stands on Bob's; on yrs what lies beside does not.
    assert_eq!(folded.len(), if crdt == Crdt::Yrs { 2 } else { 1 });
    assert_eq!(alice.fold(), 1);
}

fn random_edits_show_the_same_folded_where_what_others_wrote_is_lacking(crdt: Crdt) {
    let mut fewer = 0;
    for seed in 0..200 {
        let mut random = Random(seed);
        let (mut alice, mut bob) = (Device::new(crdt, 1), Device::new(crdt, 2));
        alice.edit(|root| {
            root.text("body")?;
            root.list("items")?;
            root.counter("count").map(drop)
        });
        bob.writer.receive(&[(alice.writer.actor, alice.unsent[0].clone())]);
        (0..random.below(8)).for_each(|_| edit_at_random(&mut alice, &mut random));
        (0..8).for_each(|_| edit_at_random(&mut bob, &mut random));
        bob.send();
        alice.writer.receive(&bob.sent);
        (0..16).for_each(|_| edit_at_random(&mut alice, &mut random));
        let folded = folded_apart(&alice);
        assert_eq!(shown_alone(&alice, &folded), shown_alone(&alice, &alice.unsent), "seed {seed}");
        fewer += usize::from(folded.len() < alice.unsent.len());
    }
    assert!(fewer > 100, "only {fewer} of 200 were folded at all");
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
