//! Bytes that a malicious or broken member may send, and what may be made of them.

use super::*;

/// Decodes and applies, then every later encode of the document panics in yrs 0.28.1.
const YRS_ENCODE: [u8; 20] = [
    0x01, 0x02, 0x01, 0x00, 0xf2, 0x47, 0x01, 0x02, 0x01, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x18, 0x01,
    0x01,
];

/// Reads out of bounds in yrs 0.28.1.
const YRS_OUT_OF_BOUNDS: [u8; 147] = *b"\x01\x01\x00\xff\xff\xff\xff\xff\xff\x00\x00\x2c\x05\x00\x04\x01\x01\x74\
\x07\xff\xff\xff\xff\xff\xff\xff\xff\x01\xa1\x47\x00\x00\x07\x00\x00\x00\x00\x2d\x0a\x3d\x00\x00\x01\x6d\x02\x6b\
\x30\x01\x7d\x01\x6d\x02\x6b\x03\x44\x05\x18\x07\x68\x65\x6c\x6c\x6f\x34\x20\x28\xa1\x47\x00\x00\x07\x00\x00\x00\
\x00\x00\x01\x6d\x02\x6b\x10\x00\x0a\x05\x07\x68\x65\x6c\x6c\x6f\x33\x20\x28\x01\x01\x6d\x02\x6b\x33\x01\x7d\x03\
\x44\x05\x18\x07\x68\x65\x6c\x6c\x6f\x34\x20\x28\xa1\x47\x00\x00\x07\x00\x00\x00\x00\x00\x01\x6d\x02\x6b\x30\x01\
\x7d\x00\x44\x05\x00\x07\x68\x65\x6c\x6c\x30\x28\x01\x6f\x20\x01\x6d";

/// Panics `Automerge::load` of automerge 0.12.0.
const AUTOMERGE_LOAD: [u8; 113] = *b"\x85\x6f\x4a\x83\x2f\x0d\x0e\x02\x03\x57\x01\x03\x03\x03\x03\x03\x03\x03\x03\
\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x5b\x03\x03\x03\x03\x03\x37\x03\x03\x03\x03\
\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\
\x03\x03\x23\x03\x21\x03\x03\x03\x03\xfd\x64\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x00\x02\x01\x04\x07\x6b\x34\x11\
\x00\x00\x04\x11\x01\x00\x21\x21\x21\x1a";

fn sample(crdt: Crdt) -> Writer {
    let mut writer = Writer::new(crdt, 1);
    writer.edit(|root| {
        root.text("t")?.push_str("low tide \u{1F9A5} at six")?;
        root.list("l")?.push(Value::List(vec![1.into(), "two".into()]))?;
        root.map("m")?.put("k", Value::Timestamp(5))?;
        root.put("n", Value::Counter(3))
    });
    writer.edit(|root| {
        root.text("t")?.splice(2, 4, "w")?;
        root.list("l")?.delete(0)
    });
    writer
}

fn refuses(crdt: Crdt, bytes: &[u8], reason: ApplyReason) {
    assert_eq!(trial(crdt, bytes, None), Err(Poison(reason)));
    let mut writer = sample(crdt);
    let (value, version) = (writer.value(), writer.document.version());
    let error = writer.document.apply(&[ForeignChange { bytes, actor: None }], PatchMode::On).unwrap_err();
    assert_eq!(error, ApplyError { index: Some(0), reason });
    assert!(!writer.document.is_reload_required(), "the scan refuses before the library sees it");
    assert_eq!((writer.value(), writer.document.version()), (value, version));
    writer.edit(|root| root.text("t")?.push_str("!"));
    writer.document.verify().unwrap();
}

#[test]
fn the_known_poison_is_refused_before_it_is_decoded() {
    refuses(Crdt::Yrs, &YRS_ENCODE, ApplyReason::Malformed);
    refuses(Crdt::Yrs, &YRS_OUT_OF_BOUNDS, ApplyReason::Malformed);
    refuses(Crdt::Automerge, &AUTOMERGE_LOAD, ApplyReason::Malformed);
}

#[test]
fn announced_sizes_are_checked_against_what_is_there() {
    // One client, 2^27 blocks: the library would reserve gigabytes.
    refuses(Crdt::Yrs, &[0x01, 0xff, 0xff, 0xff, 0x3f], ApplyReason::TooLarge);
    refuses(Crdt::Yrs, &[0xff, 0xff, 0xff, 0xff, 0x0f], ApplyReason::TooLarge);
    refuses(Crdt::Yrs, &[0x00, 0xff, 0xff, 0xff, 0xff, 0x0f], ApplyReason::TooLarge);
    // A value of `Any` that announces 2^27 elements.
    let array = [1, 1, 5, 0, 0x28, 1, 4, b'r', b'o', b'o', b't', 1, b'k', 1, 117, 0xff, 0xff, 0xff, 0x3f];
    refuses(Crdt::Yrs, &array, ApplyReason::TooLarge);
    for bytes in [&[][..], &[0], &[0, 0, 0], &[1], &[0x80; 9]] {
        assert!(trial(Crdt::Yrs, bytes, None).is_err());
        assert!(trial(Crdt::Automerge, bytes, None).is_err());
    }
}

fn number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// An update of nested lists under the root key `d`, continuing below `parent` if there is one.
fn nested_lists(client: u64, first: u32, levels: u32) -> Vec<u8> {
    let mut bytes = vec![1];
    number(&mut bytes, u64::from(levels));
    number(&mut bytes, client);
    number(&mut bytes, u64::from(first));
    for clock in first..first + levels {
        if clock == 0 {
            bytes.extend([0x27, 1, 4, b'r', b'o', b'o', b't', 1, b'd', 0]);
        } else {
            bytes.extend([0x07, 0]);
            number(&mut bytes, client);
            number(&mut bytes, u64::from(clock - 1));
            bytes.push(0);
        }
    }
    bytes.push(0);
    bytes
}

#[test]
fn a_hundred_thousand_nested_containers_are_refused_at_once_or_bit_by_bit() {
    refuses(Crdt::Yrs, &nested_lists(7, 0, 100_000), ApplyReason::TooDeep);
    assert_eq!(trial(Crdt::Yrs, &nested_lists(7, 0, 50), None), Ok(()));
    let mut document = OpenDocument::new(Crdt::Yrs, actor(1));
    let updates: Vec<_> = (0..2_000).map(|n| nested_lists(7, n * 50, 50)).collect();
    let changes: Vec<_> = updates.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
    let error = document.apply(&changes, PatchMode::On).unwrap_err();
    assert_eq!(error.reason, ApplyReason::TooDeep);
    assert!(document.is_reload_required());
    assert_eq!(document.read().to_value(), Err(ReadError::ReloadRequired));
    assert_eq!(document.edit(0, PatchMode::Off, |_| Ok(())).unwrap_err(), EditError::ReloadRequired);
    // Backwards, so that everything waits for the first.
    let mut document = OpenDocument::new(Crdt::Yrs, actor(1));
    let mut refused = None;
    for change in changes.iter().rev() {
        refused = refused.or(document.apply(&[*change], PatchMode::Off).err());
    }
    assert_eq!(refused.unwrap().reason, ApplyReason::TooDeep);
    let loaded: Vec<_> = updates.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
    assert!(OpenDocument::load(Crdt::Yrs, actor(1), &loaded).is_err());
}

#[test]
fn a_string_with_a_surrogate_pair_in_a_list_is_refused_for_the_library_never_leaves_it() {
    let client = actor(7).client_id();
    let mut list = vec![1, 1];
    number(&mut list, client);
    list.extend([0, 0x27, 1, 4, b'r', b'o', b'o', b't', 1, b'd', 0, 0]);
    let mut string = vec![1, 1];
    number(&mut string, client);
    string.extend([1, 0x04, 0]);
    number(&mut string, client);
    string.extend([0, 4, 0xF0, 0x9F, 0xA6, 0xA5, 0]);
    for order in [[&list, &string], [&string, &list]] {
        let mut document = OpenDocument::new(Crdt::Yrs, actor(1));
        let refused =
            order.map(|bytes| document.apply(&[ForeignChange { bytes, actor: Some(actor(7)) }], PatchMode::On).err());
        let reasons = refused.map(|error| error.map(|error| error.reason));
        assert_eq!(reasons, [None, Some(ApplyReason::Malformed)]);
        assert!(document.is_reload_required());
    }
}

#[test]
fn a_run_length_that_announces_millions_of_operations_is_refused() {
    let writer = sample(Crdt::Automerge);
    let change = &writer.changes[1].1;
    // The action column of the second change: replace each small literal run by a huge one.
    let mut refused = 0;
    for at in 9..change.len() {
        let mut bytes = change[..at].to_vec();
        bytes.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
        bytes.extend(&change[at + 1..]);
        refused += usize::from(trial(Crdt::Automerge, &resealed(bytes), None).is_err());
    }
    assert!(refused > change.len() / 2);
}

/// Gives a mutated automerge change its length and checksum again.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() < 11 {
        return bytes;
    }
    let header = if bytes[9] & 0x80 == 0 { 10 } else { 11 };
    let body = bytes.split_off(header);
    let mut hashed = vec![bytes[8]];
    number(&mut hashed, body.len() as u64);
    hashed.extend(&body);
    let hash = ring::digest::digest(&ring::digest::SHA256, &hashed);
    let mut sealed = bytes[..4].to_vec();
    sealed.extend(&hash.as_ref()[..4]);
    sealed.extend(hashed);
    sealed
}

#[test]
fn a_wrong_checksum_is_refused() {
    let writer = sample(Crdt::Automerge);
    let mut bytes = writer.changes[0].1.clone();
    assert_eq!(resealed(bytes.clone()), bytes);
    bytes[5] ^= 1;
    refuses(Crdt::Automerge, &bytes, ApplyReason::Malformed);
}

fn mutated(random: &mut Random, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let interesting = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x28, 0x84, 0xC4, 0x07, 0x04, 0x08, 0x44, 0x01];
        match random.below(6) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes[at] = interesting[random.below(interesting.len())],
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => drop(bytes.remove(at)),
            4 => bytes.insert(at, interesting[random.below(interesting.len())]),
            _ => {
                let from = random.below(other.len());
                let to = (from + random.below(12)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

/// What became of mutated changes.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    panicked_in_trial: usize,
    refused_by_the_document: usize,
    unsaveable: usize,
    unfaithful: usize,
    sound: usize,
}

/// Applies what passed its trial to a document, which must stay readable, and must come back from
/// its changes: that is how a document is loaded.
fn apply_mutated(crdt: Crdt, base: &[&[u8]], bytes: &[u8], tally: &mut Tally) {
    let base: Vec<_> = base.iter().map(|bytes| ForeignChange { bytes, actor: None }).collect();
    let mut document = OpenDocument::load(crdt, actor(9), &base).unwrap();
    let change = ForeignChange { bytes, actor: None };
    match document.apply(&[change], PatchMode::On) {
        Ok(_) => {
            let value = document.read().to_value().unwrap();
            let changes: Vec<_> = base.iter().copied().chain([change]).collect();
            let Ok(reloaded) = OpenDocument::load(crdt, actor(8), &changes) else {
                assert_eq!(crdt, Crdt::Automerge, "{bytes:02x?}");
                tally.unfaithful += 1;
                return;
            };
            let faithful = format!("{:?}", reloaded.read().to_value().unwrap()) == format!("{value:?}");
            // Automerge applies operations that contradict the type of their object, and what they
            // do depends on the batch; every such call is guarded, and nothing here saves.
            assert!(faithful || crdt == Crdt::Automerge, "{bytes:02x?}");
            tally.unfaithful += usize::from(!faithful);
            match document.verify() {
                Ok(()) => tally.sound += 1,
                Err(_) => {
                    assert_eq!(crdt, Crdt::Automerge, "{bytes:02x?}");
                    tally.unsaveable += 1;
                }
            }
        }
        Err(error) => {
            assert!(document.is_reload_required());
            assert!(error.reason != ApplyReason::Panicked || crdt == Crdt::Automerge, "{bytes:02x?}");
            tally.refused_by_the_document += 1;
        }
    }
}

#[test]
fn what_passes_its_trial_applies_and_reloads() {
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let mut writer = sample(crdt);
        for n in 0..6 {
            writer.edit(|root| {
                root.text("t")?.splice(0, n / 3, "x\u{1F420}y")?;
                root.list("l")?.insert_map(0)?.text("in")?.push_str("y")?;
                root.counter("n")?.increment(1)
            });
        }
        let base: Vec<&[u8]> = writer.changes[..4].iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let (mut random, mut tally) = (Random(42), Tally::default());
        for round in 0..25_000 {
            let (change, other) = (&writer.changes[round % 8].1, &writer.changes[round % 7].1);
            let bytes = mutated(&mut random, change, other);
            let bytes = if crdt == Crdt::Automerge { resealed(bytes) } else { bytes };
            match trial(crdt, &bytes, None) {
                Err(Poison(ApplyReason::Panicked)) => tally.panicked_in_trial += 1,
                Err(_) => tally.refused += 1,
                Ok(()) => apply_mutated(crdt, &base, &bytes, &mut tally),
            }
        }
        println!("{crdt:?}: {tally:?}");
        assert!(tally.sound > 500);
    }
}
