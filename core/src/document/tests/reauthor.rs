//! Re-authoring: what an older life made and nobody has becomes another actor's, and means the same.

use super::*;
use crate::document::fold::{Unsent, fold};

on_both! {
    what_nobody_has_becomes_another_actors_and_means_the_same,
    what_the_entries_bring_is_not_said_again,
    what_was_sent_folded_is_known,
    what_another_life_re_authored_is_not_said_again,
    what_this_life_made_alone_stays_as_it_is,
    a_change_that_is_known_in_part_comes_as_a_whole,
    random_histories_mean_the_same_in_another_life,
}

/// The actors that stand for a life: work of an instance in this life, and of older work in this life and in another.
const THIS_LIFE: u8 = 50;
const HEIR: u8 = 61;
const OTHER_HEIR: u8 = 62;

/// Re-authors `pending`, of which the changes from `own` on are of this life, for a document that holds `sent`; returns what
/// is to be sealed, or nothing for what is known.
fn reauthored(crdt: Crdt, sent: &[(Actor, Vec<u8>)], pending: &[Vec<u8>], own: usize) -> Vec<Option<(Actor, Vec<u8>)>> {
    reauthored_by((HEIR, OTHER_HEIR), crdt, sent, pending, own)
}

/// The same, in a life with such an heir, where another life had another.
fn reauthored_by(
    (heir, other): (u8, u8),
    crdt: Crdt,
    sent: &[(Actor, Vec<u8>)],
    pending: &[Vec<u8>],
    own: usize,
) -> Vec<Option<(Actor, Vec<u8>)>> {
    let received = load(crdt, sent);
    let changes: Vec<_> = pending.iter().map(|bytes| Former { bytes, actor: actor(THIS_LIFE) }).collect();
    for (nth, former) in changes.iter().enumerate() {
        // An update that only deletes is nobody's.
        assert!(former.is_own(crdt).unwrap() == (nth >= own) || crdt == Crdt::Yrs && nth < own);
    }
    let heirs = |_: &[u8]| Heirs { own: actor(heir), others: vec![actor(other)] };
    let reauthored = received.reauthor(&changes, &heirs).unwrap();
    let said = reauthored.into_iter().map(|one| match one {
        Reauthored::Known => None,
        Reauthored::Own(bytes) => Some((actor(THIS_LIFE), bytes)),
        Reauthored::Moved(actor, bytes) => Some((actor, bytes)),
    });
    said.inspect(|one| {
        if let Some((actor, bytes)) = one {
            trial(crdt, bytes, Some(*actor)).unwrap();
        }
    })
    .collect()
}

fn load(crdt: Crdt, changes: &[(Actor, Vec<u8>)]) -> OpenDocument {
    let foreign: Vec<_> = changes.iter().map(|(actor, bytes)| ForeignChange { bytes, actor: Some(*actor) }).collect();
    let loaded = OpenDocument::load(crdt, actor(99), &foreign).unwrap();
    loaded.verify().unwrap();
    loaded
}

/// What a device with only the entries and what was re-authored reads.
fn read(crdt: Crdt, sent: &[(Actor, Vec<u8>)], said: &[Option<(Actor, Vec<u8>)>]) -> Value {
    let all: Vec<_> = sent.iter().cloned().chain(said.iter().flatten().cloned()).collect();
    load(crdt, &all).read().to_value().unwrap()
}

/// The unsent changes of a writer from the `nth` on.
fn from(writer: &Writer, nth: usize) -> Vec<Vec<u8>> {
    writer.changes[nth..].iter().map(|(_, bytes)| bytes.clone()).collect()
}

fn scribble(writer: &mut Writer, random: &mut Random) {
    match random.below(6) {
        0 => writer.edit(|root| root.counter("count")?.increment(3)),
        1 => writer.edit(|root| root.list("items")?.push("item")),
        2 => writer.edit(|root| root.put(["a", "b", "c"][random.below(3)], random.below(100) as i64)),
        3 => writer.edit(|root| root.delete("a").map(drop)),
        _ => writer.edit(|root| {
            let mut body = root.text("body")?;
            let len = body.len_utf16();
            let at = random.below(len + 1);
            let erased = random.below(3).min(len - at);
            body.splice(at, erased, ["x", "é", "word "][random.below(3)])
        }),
    }
}

fn what_nobody_has_becomes_another_actors_and_means_the_same(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.text("body")?.splice(0, 0, "sent "));
    writer.edit(|root| root.list("items")?.push(1_i64));
    let sent = writer.changes.clone();
    writer.edit(|root| root.text("body")?.splice(5, 0, "pending"));
    writer.edit(|root| root.text("body")?.splice(3, 4, ""));
    writer.edit(|root| root.list("items")?.push(2_i64));
    writer.edit(|root| root.put("name", "of the older life"));
    let mut said = reauthored(crdt, &sent, &from(&writer, sent.len()), usize::MAX);
    let drawn = said.iter().flatten().filter(|(by, _)| *by == actor(HEIR)).count();
    assert_eq!(drawn, if crdt == Crdt::Yrs { 3 } else { 4 }, "an update that only deletes is nobody's");
    assert_eq!(read(crdt, &sent, &said), writer.value());
    // The original is alive after all, and sends what it had: twice said is not lost, and nothing falls over.
    said.extend(writer.changes[sent.len()..].iter().cloned().map(Some));
    let twice = read(crdt, &sent, &said);
    assert!(twice.to_json().to_string().contains("of the older life"));
}

fn what_the_entries_bring_is_not_said_again(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.text("body")?.splice(0, 0, "sent "));
    writer.edit(|root| root.text("body")?.splice(0, 0, "also sent "));
    let copied = writer.changes.clone();
    let mut later = reborn(crdt, &copied);
    later.edit(|root| root.text("body")?.splice(0, 4, "later"));
    let pending: Vec<_> = copied.iter().map(|(_, bytes)| bytes.clone()).chain(from(&later, copied.len())).collect();
    let said = reauthored(crdt, &copied, &pending, copied.len());
    assert_eq!(said.iter().filter(|one| one.is_some()).count(), 1);
    assert_eq!(read(crdt, &copied, &said), later.value());
}

/// A document that is loaded in this life, with what was pending.
fn reborn(crdt: Crdt, changes: &[(Actor, Vec<u8>)]) -> Writer {
    let mut writer = Writer::new(crdt, THIS_LIFE);
    writer.receive(changes);
    writer
}

fn what_was_sent_folded_is_known(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    for nth in 0..40 {
        writer.edit(|root| root.text("body")?.splice(nth, 0, "x"));
    }
    let copied = writer.changes.clone();
    let mut later = reborn(crdt, &copied);
    later.edit(|root| root.text("body")?.splice(20, 1, " later "));
    let unsent: Vec<_> = copied.iter().map(|(_, bytes)| Unsent { instance: 1, wall_ms: 0, bytes }).collect();
    let folded = fold(crdt, &unsent, false).unwrap();
    let sent: Vec<_> = folded.runs.into_iter().map(|run| (actor(1), run.bytes)).collect();
    assert!(sent.len() < 40);
    let pending: Vec<_> = copied.iter().map(|(_, bytes)| bytes.clone()).chain(from(&later, copied.len())).collect();
    let said = reauthored(crdt, &sent, &pending, copied.len());
    assert_eq!(said.iter().filter(|one| one.is_some()).count(), 1);
    assert_eq!(read(crdt, &sent, &said), later.value());
}

fn what_another_life_re_authored_is_not_said_again(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| root.text("body")?.splice(0, 0, "sent "));
    let mut sent = writer.changes.clone();
    for nth in 0..6 {
        writer.edit(|root| root.text("body")?.splice(5 + nth, 0, "x"));
        writer.edit(|root| root.text("body")?.splice(nth, 1, "y"));
    }
    let pending = from(&writer, sent.len());
    // The other life was interrupted after some of it.
    let other = reauthored_by((OTHER_HEIR, HEIR), crdt, &sent, &pending, usize::MAX);
    sent.extend(other.into_iter().flatten().take(8));
    let mut later = reborn(crdt, &writer.changes);
    later.edit(|root| root.text("body")?.splice(7, 2, " later "));
    let pending: Vec<_> = from(&later, 1);
    let said = reauthored(crdt, &sent, &pending, pending.len() - 1);
    assert_eq!(said.iter().filter(|one| one.is_some()).count(), pending.len() - 8);
    assert_eq!(read(crdt, &sent, &said), later.value());
}

fn what_this_life_made_alone_stays_as_it_is(crdt: Crdt) {
    let mut writer = Writer::new(crdt, THIS_LIFE);
    let mut random = Random(7);
    (0..20).for_each(|_| scribble(&mut writer, &mut random));
    let said = reauthored(crdt, &[], &from(&writer, 0), 0);
    assert_eq!(said.into_iter().flatten().collect::<Vec<_>>(), writer.changes);
}

fn a_change_that_is_known_in_part_comes_as_a_whole(crdt: Crdt) {
    let mut writer = Writer::new(crdt, 1);
    for nth in 0..4 {
        writer.edit(|root| root.text("body")?.splice(nth, 0, "x"));
    }
    let sent = writer.changes[..2].to_vec();
    let unsent: Vec<_> = writer.changes.iter().map(|(_, bytes)| Unsent { instance: 1, wall_ms: 0, bytes }).collect();
    let whole: Vec<_> = fold(crdt, &unsent, false).unwrap().runs.into_iter().map(|run| run.bytes).collect();
    let said = reauthored(crdt, &sent, &whole, usize::MAX);
    let Value::Map(read) = read(crdt, &sent, &said) else { panic!("the root is a map") };
    let Some(Value::Text(body)) = read.get("body") else { panic!("{read:?}") };
    assert!(body.len() >= 4, "nothing is lost: {body}");
}

fn random_histories_mean_the_same_in_another_life(crdt: Crdt) {
    for seed in 0..200 {
        let mut random = Random(seed);
        let (mut writer, mut other) = (Writer::new(crdt, 1), Writer::new(crdt, 2));
        // Containers that two devices make concurrently are two: that is another story.
        writer.edit(|root| {
            root.text("body")?;
            root.list("items")?;
            root.counter("count").map(drop)
        });
        exchange(&mut writer, &mut other);
        (0..random.below(8)).for_each(|_| scribble(&mut writer, &mut random));
        (0..random.below(8)).for_each(|_| scribble(&mut other, &mut random));
        exchange(&mut writer, &mut other);
        let copied = writer.changes.len();
        (0..random.below(10)).for_each(|_| scribble(&mut writer, &mut random));
        let pending = writer.changes.len();
        // Of what was pending in the copy, the original sent some.
        let known = copied + random.below(pending - copied + 1);
        let sent = writer.changes[..known].to_vec();
        let mut later = reborn(crdt, &writer.changes);
        (0..random.below(10)).for_each(|_| scribble(&mut later, &mut random));
        let said = reauthored(crdt, &sent, &from(&later, copied), pending - copied);
        assert_eq!(read(crdt, &sent, &said), later.value(), "seed {seed}");
    }
}
