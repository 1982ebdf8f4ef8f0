//! Entries under attack: every bit is covered by the hash or the signature, and a run of a chain is
//! verified by its last entry, but for those that nothing valid links to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "world/world.rs"]
mod world;

use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::entry::{Entry, HEADER_BYTES, Header, verify_run};
use tombolo_protocol::frame::{Frame, Items};
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::item::{Declaration, LogItem};
use tombolo_protocol::keys::KeyError;
use tombolo_protocol::limits::{CLEAR_SECTION_BYTES_MAX, ENTRY_BYTES_MAX, ITEMS_PER_FRAME_MAX};
use world::{Person, chain, entry, header};

const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([0xa0; 32]);

fn forged(honest: &Entry) -> Entry {
    let parts = (honest.header().clone(), honest.clear().to_vec(), honest.sealed().to_vec());
    let mut signature = *honest.signature();
    signature[3] ^= 1;
    Entry::assemble(parts.0, parts.1, parts.2, signature).unwrap()
}

#[test]
fn no_bit_of_an_entry_can_be_flipped() {
    let anna = Person::new(1);
    let first = chain(&WORKSPACE, &anna, 1).remove(0);
    let honest = entry(header(&WORKSPACE, &anna, 2, first.hash()), b"clear", 40, &anna);
    let bytes = honest.encode();
    assert_eq!(honest.verify(&anna.keys.sign), Ok(()));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = Entry::decode(&flipped) {
            let verdict = read.verify(&anna.keys.sign);
            assert_eq!(verdict, Err(KeyError::BadSignature), "bit {bit}");
        }
    }
}

#[test]
fn a_body_length_that_lies_is_refused() {
    let anna = Person::new(1);
    let honest = chain(&WORKSPACE, &anna, 1).remove(0);
    for lie in [0, 15, 47, 49, u32::MAX] {
        let mut bytes = honest.encode();
        bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&lie.to_be_bytes());
        assert!(Entry::decode(&bytes).is_err(), "{lie}");
    }
}

#[test]
fn an_honest_run_costs_one_verification() {
    let anna = Person::new(1);
    let mut run = chain(&WORKSPACE, &anna, 5);
    // Were any but the last signature looked at, these forgeries would show.
    for one in run.iter_mut().take(4) {
        *one = forged(one);
    }
    assert_eq!(verify_run(&run, &anna.keys.sign), vec![Ok(()); 5]);
}

#[test]
fn a_lone_bad_signature_at_the_end_condemns_nothing_else() {
    let anna = Person::new(1);
    let mut run = chain(&WORKSPACE, &anna, 5);
    run[4] = forged(&run[4]);
    let mut expected = vec![Ok(()); 5];
    expected[4] = Err(KeyError::BadSignature);
    assert_eq!(verify_run(&run, &anna.keys.sign), expected);
}

#[test]
fn a_bad_signature_before_a_gap_condemns_only_itself() {
    let anna = Person::new(1);
    let mut run = chain(&WORKSPACE, &anna, 6);
    run[2] = forged(&run[2]);
    run.remove(3);
    let mut expected = vec![Ok(()); 5];
    expected[2] = Err(KeyError::BadSignature);
    assert_eq!(verify_run(&run, &anna.keys.sign), expected);
}

#[test]
fn an_entry_does_not_vouch_for_another_chain() {
    let (anna, ben) = (Person::new(1), Person::new(2));
    let stolen = forged(&chain(&WORKSPACE, &ben, 1).remove(0));
    let liar = entry(header(&WORKSPACE, &anna, 2, stolen.hash()), &[], 16, &anna);
    let verdicts = verify_run(&[stolen, liar], &anna.keys.sign);
    assert_eq!(verdicts, [Err(KeyError::BadSignature), Ok(())]);
}

#[test]
fn a_short_entry_expands_to_the_same_bytes() {
    let anna = Person::new(1);
    let run = chain(&WORKSPACE, &anna, 4);
    let declared = Declaration::of(run[1].header());
    for (before, one) in run.iter().zip(&run[1..]).skip(1) {
        let bytes = LogItem::encode_entry(one, Some((70_000, &declared)));
        assert!(bytes.len() <= 48 + 1 + 3 + 1 + 16 + 64, "{} bytes", bytes.len());
        let Ok(LogItem::Elided(short)) = LogItem::decode(&bytes) else {
            panic!("it is short");
        };
        assert_eq!(short.expand(&declared, before.hash()), Ok(one.clone()));
        let astray = short.expand(&declared, one.hash()).unwrap();
        assert_eq!(astray.verify(&anna.keys.sign), Err(KeyError::BadSignature));
    }
    assert!(!declared.fits(run[0].header()), "a first entry is never short");
}

#[test]
fn an_entry_may_be_as_large_as_the_limit_and_no_larger() {
    let anna = Person::new(1);
    let room = ENTRY_BYTES_MAX - HEADER_BYTES - 64;
    let at_limit = entry(header(&WORKSPACE, &anna, 1, Header::NO_PREV), &[], room, &anna);
    assert_eq!(at_limit.encode().len(), ENTRY_BYTES_MAX);
    assert_eq!(Entry::decode(&at_limit.encode()), Ok(at_limit.clone()));
    let mut over = header(&WORKSPACE, &anna, 1, Header::NO_PREV);
    over.body_len = room as u32 + 1;
    let over = Entry::sign(over, Vec::new(), vec![0; room + 1], &anna.device);
    assert!(matches!(over, Err(DecodeError::TooLarge { .. })));
    let clear = vec![1; CLEAR_SECTION_BYTES_MAX];
    let covered = entry(header(&WORKSPACE, &anna, 1, Header::NO_PREV), &clear, 16, &anna);
    assert_eq!(Entry::decode(&covered.encode()), Ok(covered.clone()));
    let clear = vec![1; CLEAR_SECTION_BYTES_MAX + 1];
    let mut over = covered.header().clone();
    over.clear_root = tombolo_protocol::entry::clear_root(&clear);
    let over = Entry::sign(over, clear, covered.sealed().to_vec(), &anna.device);
    assert!(matches!(over, Err(DecodeError::TooLarge { .. })));
}

#[test]
fn a_frame_of_empty_items_is_not_blown_up() {
    let items = |count| Frame::Items(Items { channel: 1, first_position: 1, items: vec![Vec::new().into(); count] });
    let at_limit = items(ITEMS_PER_FRAME_MAX);
    assert_eq!(Frame::decode(&at_limit.encode()), Ok(at_limit));
    assert!(Frame::decode(&items(ITEMS_PER_FRAME_MAX + 1).encode()).is_err());
}
