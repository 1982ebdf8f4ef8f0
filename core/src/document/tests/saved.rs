//! A document that was saved and opened again is the one it was, and goes on.

use super::*;

fn saved(document: &OpenDocument) -> Vec<u8> {
    document.save().unwrap().unwrap()
}

fn told(document: &OpenDocument) -> (Version, Value) {
    (document.version(), document.read().to_value().unwrap())
}

fn restored_goes_on_as_the_original(crdt: Crdt) {
    let [mut one, mut two] = [Writer::new(crdt, 1), Writer::new(crdt, 2)];
    one.edit(|edit| {
        edit.text("body")?.push_str("calm sea 🌊")?;
        edit.counter("count")?.increment(7)?;
        edit.list("list")?.insert(0, Value::I64(1 << 40))
    });
    two.receive(&one.changes.clone());
    two.edit(|edit| edit.text("body")?.splice(0, 4, "rough"));
    let first = two.changes.len();
    one.receive(&two.changes.clone());
    let mut restored = OpenDocument::restore(crdt, actor(3), &saved(&one.document)).unwrap();
    assert_eq!(told(&restored), told(&one.document));
    assert_eq!(restored.memory_bytes_estimate(), one.document.memory_bytes_estimate());
    assert_eq!(saved(&restored), saved(&one.document));
    // Positions behind a pair are still counted in code units.
    let edited = restored.edit(0, PatchMode::Off, |edit| edit.text("body")?.splice(12, 0, "!"));
    let change = edited.unwrap().change.unwrap();
    assert!(restored.edit(0, PatchMode::Off, |edit| edit.text("body")?.splice(11, 0, "!")).is_err());
    one.receive(&[(actor(3), change.bytes)]);
    assert_eq!(told(&restored), told(&one.document));
    // What came before it and what comes after it, once more and anew.
    two.edit(|edit| edit.put("after", Value::Bool(true)));
    let all: Vec<_> = two.changes.iter().map(|(actor, bytes)| ForeignChange { bytes, actor: Some(*actor) }).collect();
    restored.apply(&all, PatchMode::Off).unwrap();
    one.receive(&two.changes[first..]);
    assert_eq!(told(&restored), told(&one.document));
}

fn what_waits_is_not_saved(crdt: Crdt) {
    let mut one = Writer::new(crdt, 1);
    one.edit(|edit| edit.put("first", Value::I64(1)));
    one.edit(|edit| edit.put("second", Value::I64(2)));
    let mut two = Writer::new(crdt, 2);
    two.receive(&one.changes[1..]);
    assert_eq!(two.document.save(), Ok(None));
    two.receive(&one.changes[..1]);
    assert_eq!(told(&OpenDocument::restore(crdt, actor(2), &saved(&two.document)).unwrap()), told(&two.document));
}

fn bytes_that_were_changed_are_refused_or_read_and_never_panic(crdt: Crdt) {
    let mut one = Writer::new(crdt, 1);
    for _ in 0..20 {
        one.edit(|edit| edit.text("body")?.push_str("tide "));
    }
    let bytes = saved(&one.document);
    for at in 0..bytes.len() {
        assert!(OpenDocument::restore(crdt, actor(2), &bytes[..at]).is_err() || at >= 14, "{at}");
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x41;
        drop(OpenDocument::restore(crdt, actor(2), &flipped));
    }
}

on_both!(
    restored_goes_on_as_the_original,
    what_waits_is_not_saved,
    bytes_that_were_changed_are_refused_or_read_and_never_panic,
);
