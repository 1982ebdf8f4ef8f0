//! The limits of records and frames: at the limit a value passes, one over it does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "world/world.rs"]
mod world;

use proptest::prelude::*;
use tombolo_protocol::bytes::{DecodeError, Reader};
use tombolo_protocol::frame::{Append, ChainSummary, Close, Frame, Hello, Received, Reconcile, Summary};
use tombolo_protocol::identity::{IdentityError, IdentityLog};
use tombolo_protocol::ids::{ChainId, DeviceId, DocumentTag, EpochId, RecordId, WorkspaceId};
use tombolo_protocol::item::LogItem;
use tombolo_protocol::limits::{
    ADDRESS_BYTES_MAX, FEATURES_MAX, FRAME_BYTES_MAX, FRAME_BYTES_UNAUTHENTICATED_MAX, HELD_CHAINS_MAX,
    IDENTITY_RECORDS_MAX, ITEMS_PER_FRAME_MAX, PARENTS_MAX, POSITION_MAX, RECONCILE_CHAINS_PER_FRAME_MAX,
    RECORD_BYTES_MAX, RECORD_SECRET_BYTES_MAX, STATUS_BYTES_MAX, WANTED_DOCUMENTS_MAX, WRAPS_MAX,
};
use tombolo_protocol::membership::{ATTESTATIONS_EARLY_MAX, ATTESTERS_PER_RECORD_MAX, Membership, RecordOutcome};
use tombolo_protocol::record::{Draft, Record, RecordBody, RecordError, RelaySuccession, Rotation};
use tombolo_protocol::status::StatusRow;
use world::{RELAY_SEED, World, key, relay};

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

#[test]
fn a_list_of_a_frame_may_be_as_long_as_its_limit_and_no_longer() {
    let hello = |count| {
        let person = world::Person::new(1);
        let (sign_public, box_public) = (person.keys.sign.to_bytes(), person.keys.box_public);
        let (version, nonce, features, token) = (1, [0; 32], vec![7; count], None);
        Frame::Hello(Hello { version, sign_public, box_public, nonce, features, token })
    };
    let end =
        ChainSummary { chain: ChainId::from_bytes([1; 8]), seq: 1, hash: [2; 8], declared_at: 1, declared_seq: 1 };
    let summary = |count| {
        let chains = vec![end.clone(); count];
        Frame::Summary(Summary { channel: 1, frontier: Vec::new().into(), chains, more: false, chosen: None })
    };
    let runs = |count| match received(1, 1) {
        Frame::Received(frame) => Frame::Received(Received { positions: vec![(1, 1); count], ..frame }),
        other => panic!("made {other:?}"),
    };
    let items = |count| Frame::Append(Append { channel: 1, batch: 1, items: vec![vec![1].into(); count] });
    let compare = |documents: usize, held: usize| {
        let (documents, held) = (vec![DocumentTag::from_bytes([4; 16]); documents], vec![end.chain; held]);
        Frame::Reconcile(Reconcile {
            channel: 1,
            method: Reconcile::LIST,
            documents: Some(documents),
            held: Some(held),
        })
    };
    let (documents, held) = (|count| compare(count, 1), |count| compare(1, count));
    let limits: [(&dyn Fn(usize) -> Frame, usize); 6] = [
        (&documents, WANTED_DOCUMENTS_MAX),
        (&held, HELD_CHAINS_MAX),
        (&hello, FEATURES_MAX),
        (&summary, RECONCILE_CHAINS_PER_FRAME_MAX),
        (&runs, 16 * ITEMS_PER_FRAME_MAX),
        (&items, ITEMS_PER_FRAME_MAX),
    ];
    for (frame, limit) in limits {
        assert!(Frame::decode(&frame(limit).encode()).is_ok(), "{} at {limit}", frame(1).name());
        assert!(Frame::decode(&frame(limit + 1).encode()).is_err(), "{} over {limit}", frame(1).name());
    }
}

#[test]
fn a_rotation_has_no_more_recipients_than_its_limit() {
    let rotate = |count: u32| {
        let recipient = |n: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            world::wrap(&id)
        };
        let (epoch, wraps) = (EpochId::from_bytes([3; 32]), (0..count).map(recipient).collect());
        let body = RecordBody::Rotate(Rotation { epoch, previous: Vec::new(), wraps });
        Record::sign(Draft { body, ..draft(1, 1, 0) }, &key(1))
    };
    let limit = WRAPS_MAX as u32;
    let at_limit = rotate(limit).unwrap();
    assert_eq!(Record::decode(&at_limit.encode()), Ok(at_limit));
    assert!(matches!(rotate(limit + 1), Err(RecordError::Malformed(DecodeError::TooLarge { .. }))));
}

#[test]
fn an_identity_log_has_no_more_records_than_its_limit() {
    let log = |count| {
        let person = world::Person::new(1);
        let mut bytes = Vec::new();
        IdentityLog { records: vec![person.log.records[0].clone(); count], ..person.log }.write(&mut bytes);
        IdentityLog::read(&mut Reader::new(&bytes)).map(|log| log.records.len())
    };
    assert_eq!(log(IDENTITY_RECORDS_MAX), Ok(IDENTITY_RECORDS_MAX));
    let over = log(IDENTITY_RECORDS_MAX + 1);
    assert!(matches!(over, Err(IdentityError::Malformed(DecodeError::TooLarge { .. }))), "{over:?}");
}

#[test]
fn a_status_row_and_a_log_item_have_no_more_bytes_than_their_limits() {
    let row = |sealed| {
        let (workspace, device) = (WorkspaceId::from_bytes([1; 32]).tag(), DeviceId::from_bytes([2; 32]));
        StatusRow::sign(workspace, device, 1, EpochId::from_bytes([3; 32]), vec![0; sealed], &key(1)).encode()
    };
    let room = STATUS_BYTES_MAX - row(0).len();
    assert!(StatusRow::decode(&row(room)).is_ok());
    assert!(matches!(StatusRow::decode(&row(room + 1)), Err(DecodeError::TooLarge { .. })));
    let record = |bytes| LogItem::encode_record(&vec![0; bytes]);
    assert!(LogItem::decode(&record(RECORD_BYTES_MAX)).is_ok());
    assert!(matches!(LogItem::decode(&record(RECORD_BYTES_MAX + 1)), Err(DecodeError::TooLarge { .. })));
    assert!(matches!(Frame::decode(&vec![1; FRAME_BYTES_MAX + 1]), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn words_of_relays_on_what_is_not_here_are_bounded() {
    let subject = |n: usize| RecordId::from_bytes(tombolo_protocol::hash::sha256(&[&n.to_be_bytes()]));
    let mut world = World::founded_by(&world::Person::new(1));
    for relay in 0..ATTESTERS_PER_RECORD_MAX {
        assert!(world.members.attest(world.attestation(relay as u8, subject(0), 1, 1)), "relay {relay}");
    }
    let one_more = world.attestation(ATTESTERS_PER_RECORD_MAX as u8, subject(0), 1, 1);
    assert!(!world.members.attest(one_more), "one relay too many");
    let room = ATTESTATIONS_EARLY_MAX + world.records.len();
    for n in 1..room {
        assert!(world.members.attest(world.attestation(RELAY_SEED, subject(n), 1, 1)), "subject {n}");
    }
    assert!(!world.members.attest(world.attestation(RELAY_SEED, subject(room), 1, 1)), "one subject too many");
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
