//! A member who seals what no honest program would: what was taken from others, moved, padded wrongly,
//! or made to choke whoever opens it.

use std::time::{Duration, Instant};

use tombolo::SetAsideReason;
use tombolo::crypto::Dep;
use tombolo::document::Crdt;
use tombolo::protocol::entry::EntryFlags;
use tombolo::protocol::frame::RefusalReason;
use tombolo::protocol::ids::{ChainId, Stream, WorkspaceId};
use tombolo::protocol::record::Role;
use tombolo_tests::Rogue;

use crate::support::{AUTOMERGE, POISON, RELAY, go_on, scene};

#[test]
fn case_09_an_entry_with_another_authors_name_in_it_is_not_taken() {
    let mut story = scene(9, Role::Writer);
    let alice = story.honest[0].ids(&story.net).0;
    let genuine = story.rogue.seal(story.target, AUTOMERGE, &POISON);
    let mut header = genuine.header().clone();
    header.chain.device = alice;
    let swapped = story.rogue.sign(header, genuine.sealed().to_vec());
    assert_eq!(story.append_entries(std::slice::from_ref(&swapped)), [RefusalReason::BadSignature]);
    assert_eq!(story.net.refused(RELAY, "bad_signature"), 1);
    story.net.plant_entry(RELAY, &swapped);
    story.net.run_until_quiet();
    // Once as it came, and each time that the relay was asked for the original, which there is none of.
    for replica in story.honest {
        let counted = replica.counted(&story.net, SetAsideReason::BadSignature);
        assert!((2..=8).contains(&counted), "{counted}");
    }
    assert_eq!(story.set_aside(), []);
    story.ends();
}

#[test]
fn case_10_a_member_who_signs_what_another_sealed_has_nothing_that_opens() {
    let mut story = scene(10, Role::Writer);
    let hers = story.of_alice();
    let target = story.target;
    let claimed = story.rogue.claim(&hers, target, |_| {});
    // The relay can not tell: it reads nothing of it.
    assert_eq!(story.append_entries(&[claimed]), []);
    assert_eq!(story.set_aside(), [SetAsideReason::Decrypt]);
    story.assert_counted(SetAsideReason::Decrypt, 1);
    story.ends();
}

#[test]
fn case_11_what_was_sealed_for_one_place_opens_in_no_other() {
    let mut story = scene(11, Role::Writer);
    let (target, other) = (story.target, story.net.documents()[1]);
    let moved = story.rogue.seal(other, AUTOMERGE, &POISON);
    let to_document = story.rogue.claim(&moved, target, |_| {});
    let moved = story.rogue.seal(target, AUTOMERGE, &POISON);
    let to_chain = story.rogue.claim(&moved, target, |_| {});
    let mut draft = story.rogue.draft(target);
    draft.chain.stream = Stream::COMMENTS;
    let moved = story.rogue.seal_draft(draft, &Rogue::body(AUTOMERGE, &[POISON.to_vec()]));
    let to_stream = story.rogue.claim(&moved, target, |_| {});
    assert_eq!(story.append_entries(&[to_document, to_chain, to_stream]), []);
    assert_eq!(story.set_aside(), [SetAsideReason::Decrypt; 3]);
    story.assert_counted(SetAsideReason::Decrypt, 3);
    // Of another workspace it is not even looked at.
    let foreign = WorkspaceId::from_bytes([9; 32]);
    let to_workspace = story.rogue.claim(&moved, target, |header| header.workspace = foreign.tag());
    assert_eq!(story.append_entries(std::slice::from_ref(&to_workspace)), [RefusalReason::Malformed]);
    story.net.plant_entry(RELAY, &to_workspace);
    story.net.run_until_quiet();
    story.assert_counted(SetAsideReason::OtherWorkspace, 1);
    assert_eq!(story.set_aside().len(), 3);
    story.ends();
}

#[test]
fn case_12_an_entry_whose_header_was_not_sealed_with_it_does_not_open() {
    let mut story = scene(12, Role::Writer);
    let body = Rogue::body(AUTOMERGE, &[POISON.to_vec()]).encode().unwrap();
    let plaintext = padded(&body);
    // Byte by byte the header is what it should be, but for the one that was sealed otherwise.
    let mut entries = Vec::new();
    for at in [0, 7, 40, 100, 235] {
        let draft = story.rogue.draft(story.target);
        entries.push(story.rogue.seal_plaintext(draft, &plaintext, |aad| aad[at] ^= 1));
    }
    let draft = story.rogue.draft(story.target);
    entries.push(story.rogue.seal_plaintext(draft, &plaintext, Vec::clear));
    assert_eq!(story.append_entries(&entries), []);
    assert_eq!(story.set_aside(), vec![SetAsideReason::Decrypt; entries.len()]);
    story.assert_counted(SetAsideReason::Decrypt, entries.len() as u64);
    // The same hand can do it rightly: then it opens, and is judged for what it says.
    let draft = story.rogue.draft(story.target);
    let right = story.rogue.seal_plaintext(draft, &plaintext, |_| {});
    assert_eq!(story.append_entries(&[right]), []);
    assert_eq!(story.set_aside().last(), Some(&SetAsideReason::Poison));
    story.ends();
}

/// `u32 length | body | zeros`, up to a length that PADME allows (docs/protocol.md).
fn padded(body: &[u8]) -> Vec<u8> {
    let length = body.len() + 4;
    let mut out = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(body);
    let exponent = length.ilog2();
    let step = 1 << exponent.saturating_sub(exponent.ilog2() + 1);
    out.resize(length.next_multiple_of(step), 0);
    out
}

#[test]
fn case_13_padding_has_one_form() {
    let mut story = scene(13, Role::Writer);
    let body = Rogue::body(AUTOMERGE, &[vec![7; 60]]).encode().unwrap();
    let whole = padded(&body);
    assert!(whole.len() > body.len() + 4, "there is padding to be wrong");
    let mut dirty = whole.clone();
    *dirty.last_mut().unwrap() = 1;
    let unpadded = whole[..body.len() + 4].to_vec();
    let longer = [whole.as_slice(), &[0]].concat();
    let mut beyond = whole.clone();
    beyond[..4].copy_from_slice(&u32::try_from(whole.len()).unwrap().to_be_bytes());
    let mut endless = whole.clone();
    endless[..4].copy_from_slice(&[0xff; 4]);
    let mut entries = Vec::new();
    for plaintext in [dirty, unpadded, longer, beyond, endless, vec![0; 3], Vec::new()] {
        let draft = story.rogue.draft(story.target);
        entries.push(story.rogue.seal_plaintext(draft, &plaintext, |_| {}));
    }
    assert_eq!(story.append_entries(&entries), []);
    assert_eq!(story.set_aside(), vec![SetAsideReason::Padding; entries.len()]);
    story.assert_counted(SetAsideReason::Padding, entries.len() as u64);
    story.ends();
}

#[test]
fn case_44_work_of_another_actor_is_not_passed_off_as_ones_own() {
    for (attacked, crdt) in [(0, Crdt::Automerge), (1, Crdt::Yrs)] {
        let mut story = scene(44, Role::Writer);
        story.target = story.net.documents()[attacked];
        let hers = story.of_alice();
        let body = story.rogue.open(&hers).unwrap();
        assert!(!body.changes.is_empty());
        let foreign = story.rogue.seal(story.target, crdt.as_u8(), &body.changes[0]);
        let words = story.honest.map(|replica| replica.words(&mut story.net, story.target));
        assert_eq!(story.append_entries(&[foreign]), []);
        assert_eq!(story.set_aside(), [SetAsideReason::ActorMismatch], "{crdt:?}");
        story.assert_counted(SetAsideReason::ActorMismatch, 1);
        for (replica, before) in story.honest.into_iter().zip(words) {
            let after = replica.words(&mut story.net, story.target);
            assert!(before.iter().all(|word| after.contains(word)));
        }
        let other = story.net.documents()[1 - attacked];
        let honest = story.honest;
        go_on(&mut story.net, &honest, other);
        story.net.run_until_quiet();
        story.net.assert_converged(honest);
    }
}

#[test]
fn case_50_what_unfolds_to_more_than_it_may_is_refused_in_bounded_time() {
    let mut story = scene(50, Role::Writer);
    let bomb = Rogue::body(AUTOMERGE, &[vec![0; (8 << 20) - 16]]);
    let mut deep = Rogue::body(AUTOMERGE, &[POISON.to_vec()]);
    deep.deps = (0..4096_u16).map(dependency).collect();
    let many = Rogue::body(AUTOMERGE, &vec![vec![1]; 1 << 16]);
    let bodies = [bomb, deep, many, Rogue::body(AUTOMERGE, &[many_parents()]), Rogue::body(AUTOMERGE, &[many_ops()])];
    let mut entries = Vec::new();
    for body in &bodies {
        let draft = story.rogue.draft(story.target);
        entries.push(story.rogue.seal_draft(draft, body));
    }
    // It claims to unfold to more than it does, to more than is allowed, and to what no memory holds.
    let packed = bodies[0].encode().unwrap();
    for claimed in [[0xff, 0xff, 0xff, 0x0f].as_slice(), &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0xff; 9]] {
        let mut lied = packed[..20].to_vec();
        lied.extend_from_slice(claimed);
        lied.extend_from_slice(&packed[24..]);
        let draft = story.rogue.draft(story.target);
        entries.push(story.rogue.seal_bytes(draft, &lied));
    }
    let began = Instant::now();
    assert_eq!(story.append_entries(&entries), []);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let mut reasons = story.set_aside();
    reasons.sort_unstable();
    let poison = reasons.iter().filter(|reason| **reason == SetAsideReason::Poison).count();
    let malformed = reasons.iter().filter(|reason| **reason == SetAsideReason::MalformedBody).count();
    assert_eq!((poison, malformed), (bodies.len(), 3), "{reasons:?}");
    story.assert_counted(SetAsideReason::MalformedBody, 3);
    story.ends();
}

fn dependency(nth: u16) -> Dep {
    let mut chain = [0; ChainId::BYTES];
    chain[..2].copy_from_slice(&nth.to_be_bytes());
    Dep { chain: ChainId::from_bytes(chain), seq: 1, hash_prefix: [0; 8] }
}

/// A change of automerge's own layout: its checksum fits what it says.
fn chunk(body: &[u8]) -> Vec<u8> {
    let mut hashed = vec![1];
    leb(body.len() as u64, &mut hashed);
    hashed.extend_from_slice(body);
    let digest = ring::digest::digest(&ring::digest::SHA256, &hashed);
    [&[0x85, 0x6f, 0x4a, 0x83], &digest.as_ref()[..4], &hashed].concat()
}

fn leb(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A change that stands on 2^16 others.
fn many_parents() -> Vec<u8> {
    let mut body = Vec::new();
    leb(1 << 16, &mut body);
    body.resize(body.len() + (32 << 16), 0);
    body.extend_from_slice(&[1, 9, 1, 1, 0, 0, 0, 0]);
    chunk(&body)
}

/// A change of a million operations, in a few bytes: each column is one run.
fn many_ops() -> Vec<u8> {
    let mut run = Vec::new();
    // A run of a million times the same value, as automerge's columns write it.
    let mut signed = Vec::new();
    leb(1_000_000, &mut signed);
    run.extend_from_slice(&signed);
    run.push(1);
    // No parents, an actor of one byte, seq, first operation, time, no message, no other actors, one column.
    let mut body = vec![0, 1, 9, 1, 1, 0, 0, 0, 1];
    leb(0x42, &mut body);
    leb(run.len() as u64, &mut body);
    body.extend_from_slice(&run);
    chunk(&body)
}

#[test]
fn case_68_a_second_first_entry_that_claims_another_crdt_is_set_aside() {
    let mut story = scene(68, Role::Writer);
    let target = story.target;
    let created = story.net.entries(RELAY);
    let tag = story.rogue.tag(&target);
    let first = created
        .iter()
        .find(|entry| entry.header().chain.document == tag && entry.header().flags.has(EntryFlags::CREATION));
    let mut body = story.rogue.open(first.unwrap()).unwrap();
    assert!(body.creation.is_some());
    body.crdt = Crdt::Yrs.as_u8();
    let mut draft = story.rogue.draft(target);
    draft.flags = EntryFlags::CREATION;
    let second = story.rogue.seal_draft(draft, &body);
    assert_eq!(story.append_entries(&[second]), []);
    assert_eq!(story.set_aside(), [SetAsideReason::CrdtMismatch]);
    story.assert_counted(SetAsideReason::CrdtMismatch, 1);
    // Who comes anew sees both at once, and takes the document for what it was made as.
    let carol = story.net.device("carol");
    story.net.join(story.honest[0], carol, Role::Writer);
    assert_eq!(crate::support::set_aside(&mut story.net, carol), [SetAsideReason::CrdtMismatch]);
    assert!(!carol.words(&mut story.net, target).is_empty());
    story.ends();
}
