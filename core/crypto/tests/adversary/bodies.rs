//! Bodies made to exhaust whoever reads them: their author is a member with all keys.

use proptest::prelude::*;
use tombolo_crypto::{Body, BodyError};
use tombolo_protocol::bytes::{DecodeError, put_varint};
use tombolo_protocol::ids::Instance;
use tombolo_protocol::limits::{APP_TYPE_BYTES_MAX, BODY_BYTES_MAX, DEPS_MAX};

/// A body's bytes up to the encoding, without creation and dependencies.
fn opening() -> Vec<u8> {
    let mut bytes = vec![0; 18];
    put_varint(&mut bytes, 0);
    bytes
}

fn compressed(declared: u64, unfolded: &[u8]) -> Vec<u8> {
    let mut bytes = opening();
    bytes.push(1);
    put_varint(&mut bytes, declared);
    bytes.extend_from_slice(&zstd::bulk::compress(unfolded, 3).unwrap());
    bytes
}

#[test]
fn a_body_that_unfolds_to_more_or_less_than_it_claims_is_refused() {
    let bomb = vec![0; 64 << 20];
    assert_eq!(Body::decode(&compressed(100_000, &bomb)), Err(BodyError::Compression));
    assert_eq!(Body::decode(&compressed(8 << 20, &[0; 1000])), Err(BodyError::Compression));
}

#[test]
fn a_body_that_claims_more_than_the_limit_is_refused_before_anything_is_unfolded() {
    for claimed in [BODY_BYTES_MAX as u64 + 1, 1 << 60, u64::MAX] {
        let refused = Body::decode(&compressed(claimed, &[0; 1000]));
        let expected = DecodeError::TooLarge { field: "body", claimed, limit: BODY_BYTES_MAX as u64 };
        assert_eq!(refused, Err(BodyError::Malformed(expected)));
    }
}

#[test]
fn a_body_that_claims_too_many_dependencies_is_refused_before_they_are_read() {
    let refused = |count: u64| {
        let mut bytes = vec![0; 18];
        put_varint(&mut bytes, count);
        Body::decode(&bytes)
    };
    assert!(matches!(refused(DEPS_MAX as u64 + 1), Err(BodyError::Malformed(DecodeError::TooLarge { .. }))));
    assert_eq!(refused(DEPS_MAX as u64), Err(BodyError::Malformed(DecodeError::Truncated)));
}

#[test]
fn bytes_behind_the_changes_and_unknown_encodings_are_refused() {
    let mut raw = opening();
    raw.extend_from_slice(&[0, 2, 1, 7]);
    assert_eq!(Body::decode(&raw).unwrap().changes, [[7]]);
    let mut trailing = raw.clone();
    trailing.push(0);
    let mut unknown = raw.clone();
    unknown[19] = 2;
    for wrong in [trailing, unknown, opening()] {
        assert!(matches!(Body::decode(&wrong), Err(BodyError::Malformed(_))));
    }
}

#[test]
fn an_app_type_over_its_limit_is_not_written() {
    let body = |length| Body {
        creation: Some(tombolo_crypto::Creation {
            incarnation: tombolo_protocol::ids::Incarnation(1),
            random: [0; 16],
            app_type: "x".repeat(length),
        }),
        crdt: 1,
        instance: Instance(1),
        wall_ms: 0,
        deps: Vec::new(),
        changes: Vec::new(),
    };
    assert!(body(APP_TYPE_BYTES_MAX).encode().is_ok());
    assert!(body(APP_TYPE_BYTES_MAX + 1).encode().is_err());
}

proptest! {
    #[test]
    fn any_bytes_decode_to_a_body_or_to_a_reason(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(body) = Body::decode(&bytes) {
            prop_assert_eq!(Body::decode(&body.encode().unwrap()), Ok(body));
        }
    }
}
