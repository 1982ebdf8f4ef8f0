//! The limits of records and frames: at the limit a value passes, one over it does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "world/world.rs"]
mod world;

use proptest::prelude::*;
use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::frame::{Append, Close, Frame, Received};
use tombolo_protocol::ids::{DeviceId, RecordId, WorkspaceId};
use tombolo_protocol::limits::{
    ADDRESS_BYTES_MAX, FRAME_BYTES_UNAUTHENTICATED_MAX, PARENTS_MAX, POSITION_MAX, RECORD_SECRET_BYTES_MAX,
};
use tombolo_protocol::membership::{Membership, RecordOutcome};
use tombolo_protocol::record::{Draft, Record, RecordBody, RecordError, RelaySuccession};
use world::{RELAY_SEED, key, relay};

fn draft(parents: usize, address: usize, secret: usize) -> Draft {
    Draft {
        workspace: WorkspaceId::from_bytes([1; 32]),
        generation: 1,
        time_ms: 0,
        author: DeviceId::from_bytes([2; 32]),
        parents: (0..parents)
            .map(|n| RecordId::from_bytes(tombolo_protocol::hash::sha256(&[&n.to_be_bytes()])))
            .collect(),
        body: RecordBody::RelaySuccession(RelaySuccession {
            address: "a".repeat(address),
            old: relay(RELAY_SEED),
            new: relay(RELAY_SEED),
        }),
        secret: vec![0; secret],
    }
}

#[test]
fn a_record_may_be_as_large_as_its_limits_and_no_larger() {
    let (p, a, s) = (PARENTS_MAX, ADDRESS_BYTES_MAX, RECORD_SECRET_BYTES_MAX);
    let at_limit = Record::sign(draft(p, a, s), &key(1)).unwrap();
    assert_eq!(Record::decode(&at_limit.encode()), Ok(at_limit));
    for over in [draft(p + 1, 1, 0), draft(1, a + 1, 0), draft(1, 1, s + 1)] {
        let refused = Record::sign(over, &key(1));
        assert!(matches!(refused, Err(RecordError::Malformed(DecodeError::TooLarge { .. }))));
    }
    // A count that does not fit its 16 bits must not come out as another record.
    assert!(Record::sign(draft((1 << 16) + 1, 1, 0), &key(1)).is_err());
    let generation = POSITION_MAX + 1;
    let endless = Draft { generation, ..draft(1, 1, 0) };
    assert!(Record::sign(endless, &key(1)).is_err());
}

#[test]
fn what_waits_for_parents_is_bounded() {
    let mut members = Membership::new(WorkspaceId::from_bytes([1; 32]));
    let mut kept = 0;
    for time_ms in 0..600 {
        let orphan = Draft { time_ms, ..draft(1, 1, RECORD_SECRET_BYTES_MAX) };
        let orphan = Record::sign(orphan, &key(1)).unwrap();
        let id = orphan.id();
        match members.insert(orphan) {
            RecordOutcome::AwaitsParents => kept += 1,
            outcome => {
                assert_eq!(outcome, RecordOutcome::NotKept);
                assert_eq!(members.outcome(&id), None, "it may come again");
            }
        }
    }
    assert!((400..512).contains(&kept), "{kept} of 64 KiB each");
}

#[test]
fn before_the_proof_a_frame_is_small_and_of_the_handshake() {
    let close = Frame::Close(Close { code: 4000, retry_after_ms: None, version: None });
    assert_eq!(Frame::decode_unauthenticated(&close.encode()), Ok(close.clone()));
    let shut = [13, 0xa1, 0, 1];
    assert!(Frame::decode(&shut).is_ok() && Frame::decode_unauthenticated(&shut).is_err());
    let large = vec![1; FRAME_BYTES_UNAUTHENTICATED_MAX + 1];
    let refused = Frame::decode_unauthenticated(&large);
    assert!(matches!(refused, Err(DecodeError::TooLarge { .. })));
}

fn received(first: u64, count: u32) -> Frame {
    Frame::Received(Received {
        channel: 1,
        first_batch: 1,
        last_batch: 1,
        positions: vec![(first, count)],
        receipt: Vec::new().into(),
    })
}

#[test]
fn positions_stay_in_the_range_of_an_sql_integer() {
    assert!(Frame::decode(&received(POSITION_MAX - 1, 1).encode()).is_ok());
    assert!(Frame::decode(&received(POSITION_MAX, 1).encode()).is_err());
    assert!(Frame::decode(&received(u64::MAX, u32::MAX).encode()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_append_comes_back(channel: u32, batch: u32, items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let items = items.into_iter().map(Into::into).collect();
        let frame = Frame::Append(Append { channel, batch, items });
        prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(number in 0_u8..80, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[number], body.as_slice()].concat();
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }
}
