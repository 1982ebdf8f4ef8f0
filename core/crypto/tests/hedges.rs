//! What holds when the machine fails: a source of randomness that is stuck, a power cut while a key
//! file is made; and when a caller passes what no reader could mend.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

use std::collections::BTreeSet;
use std::fs;

use tombolo_crypto::*;
use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::ids::{ChainId, EpochId, Instance, LogId, RecordId, RelayId, WorkspaceId};
use tombolo_protocol::limits::{POSITION_MAX, PREVIOUS_EPOCHS_MAX};

const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([1; 32]);

/// Randomness that is none.
struct Stuck;

impl Entropy for Stuck {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn blinding() -> BlindingKey {
    BlindingKey::from_bytes([2; 32])
}

fn secret(byte: u8) -> (EpochId, EpochSecret) {
    let secret = EpochSecret::from_bytes([byte; 32]);
    (EpochKeys::derive(&WORKSPACE, &secret).epoch(), secret)
}

#[test]
fn stuck_randomness_gives_no_two_stored_values_one_salt() {
    let cipher = StoreCipher::new(Secret32::from_bytes([1; 32]));
    let mut salts = BTreeSet::new();
    for value in 0..100_000_u32 {
        let sealed = cipher.seal("entries", "body", b"row", &value.to_be_bytes(), &mut Stuck);
        assert!(salts.insert(sealed[..16].to_vec()), "value {value}");
    }
    let here = cipher.seal("entries", "body", b"row", b"value", &mut Stuck);
    let there = cipher.seal("entries", "body", b"other row", b"value", &mut Stuck);
    assert_ne!(here[..16], there[..16]);
}

#[test]
fn stuck_randomness_gives_no_two_keys_under_one_passphrase_one_salt() {
    let folder = tempfile::tempdir().unwrap();
    let salts = [3, 9].map(|byte| {
        let path = folder.path().join(byte.to_string());
        let vault = PassphraseVault::new(&path, "same words", Box::new(Stuck));
        let key = Secret32::from_bytes([byte; 32]);
        vault.save(&key).unwrap();
        assert_eq!(vault.load(), Ok(Some(key)));
        fs::read(path).unwrap()[16..32].to_vec()
    });
    assert_ne!(salts[0], salts[1]);
}

#[test]
fn stuck_randomness_can_not_rotate_to_the_epoch_it_leaves() {
    let (old, rotation) = rotate(&WORKSPACE, &[], &[], &blinding(), &mut Stuck).unwrap();
    let previous = [(rotation.epoch, &old)];
    assert_eq!(rotate(&WORKSPACE, &[], &previous, &blinding(), &mut Stuck), Err(WrapError::RepeatedSecret));
}

#[test]
fn guessed_randomness_does_not_give_away_a_wrapped_secret() {
    let device = DeviceSecrets::generate(&mut Stuck);
    let wraps = [5, 6].map(|byte| {
        let (epoch, secret) = secret(byte);
        let recipient = *device.id().as_bytes();
        let public = device.public().box_public;
        let wrap = wrap_epoch(&WORKSPACE, recipient, &public, &secret, &blinding(), &mut Stuck).unwrap();
        let opened = unwrap_epoch(&WORKSPACE, &epoch, &wrap, device.box_secret());
        assert_eq!(opened, Ok((secret, blinding())));
        wrap
    });
    // The ephemeral key would be one and the same, were it made from the randomness alone.
    assert_ne!(wraps[0].encapsulated, wraps[1].encapsulated);
}

#[test]
fn a_rotation_names_each_previous_epoch_once_and_only_with_its_own_secret() {
    let ((first, one), (second, two)) = (secret(5), secret(6));
    let twice = [(first, &one), (second, &two), (first, &one)];
    let mut entropy = Steady(0);
    let (_, rotation) = rotate(&WORKSPACE, &[], &twice, &blinding(), &mut entropy).unwrap();
    assert_eq!(rotation.previous.len(), 2);
    assert!(rotation.previous.is_sorted_by_key(|previous| previous.epoch));
    assert_eq!(
        rotate(&WORKSPACE, &[], &[(first, &two)], &blinding(), &mut entropy),
        Err(WrapError::WrongEpoch { epoch: first })
    );
}

#[test]
fn a_rotation_follows_no_more_epochs_than_a_record_may_name() {
    let mut entropy = Steady(0);
    let many: Vec<_> = (0..=PREVIOUS_EPOCHS_MAX).map(|_| EpochSecret::generate(&mut entropy)).collect();
    let previous: Vec<_> = many.iter().map(|secret| (EpochKeys::derive(&WORKSPACE, secret).epoch(), secret)).collect();
    let (_, at_limit) = previous.split_last().unwrap();
    assert!(rotate(&WORKSPACE, &[], at_limit, &blinding(), &mut entropy).is_ok());
    assert_eq!(
        rotate(&WORKSPACE, &[], &previous, &blinding(), &mut entropy),
        Err(WrapError::TooMany { count: PREVIOUS_EPOCHS_MAX + 1, limit: PREVIOUS_EPOCHS_MAX })
    );
}

#[test]
fn a_dependency_names_a_place_that_a_chain_can_have() {
    let body = |seq| Body {
        creation: None,
        crdt: 1,
        instance: Instance(1),
        wall_ms: 0,
        deps: vec![Dep { chain: ChainId::from_bytes([7; 8]), seq, hash_prefix: [0; 8] }],
        changes: vec![vec![1]],
    };
    let refused = BodyError::Malformed(DecodeError::Invalid { field: "dependency" });
    for seq in [0, POSITION_MAX + 1, u64::MAX] {
        assert_eq!(body(seq).encode(), Err(refused), "{seq}");
    }
    let mut bytes = body(1).encode().unwrap();
    let at = bytes.windows(8).position(|run| run == [7; 8]).unwrap() + 8;
    assert_eq!(bytes[at], 1);
    bytes[at] = 0;
    assert_eq!(Body::decode(&bytes), Err(refused));
    assert!(Body::decode(&body(POSITION_MAX).encode().unwrap()).is_ok());
}

#[test]
fn a_checkpoint_beyond_any_log_is_no_checkpoint() {
    let link = |position| InviteLink {
        workspace: WORKSPACE,
        invite: RecordId::from_bytes([2; 32]),
        relay: RelayId::from_bytes([3; 32]),
        addresses: Vec::new(),
        checkpoint: Some((LogId::from_bytes([4; 16]), position, [5; 32])),
        secret: InviteSecret::from_bytes([6; 32]),
    };
    let at_limit = link(POSITION_MAX).to_string().parse();
    assert_eq!(at_limit, Ok(link(POSITION_MAX)));
    let beyond: Result<InviteLink, _> = link(POSITION_MAX + 1).to_string().parse();
    assert!(matches!(beyond, Err(InviteLinkError::Malformed(DecodeError::TooLarge { .. }))));
}

#[test]
fn a_power_cut_while_the_key_file_is_made_does_not_stop_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let vault = FileVault::new(folder.path().join("key"));
    // What is left if the power fails before the file has its name: cut bytes beside it.
    let beside = format!("key.{}.new", std::process::id());
    fs::write(folder.path().join(beside), b"TB").unwrap();
    assert_eq!(vault.load(), Ok(None));
    vault.save(&Secret32::from_bytes([1; 32])).unwrap();
    assert_eq!(vault.load(), Ok(Some(Secret32::from_bytes([1; 32]))));
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["key"]);
}

#[test]
fn a_key_file_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let vault = FileVault::new(&path);
    vault.save(&Secret32::from_bytes([1; 32])).unwrap();
    let refused = vault.save(&Secret32::from_bytes([2; 32]));
    assert_eq!(refused, Err(VaultError::Occupied { path: Some(path) }));
    assert_eq!(vault.load(), Ok(Some(Secret32::from_bytes([1; 32]))));
}

/// Randomness that counts.
struct Steady(u64);

impl Entropy for Steady {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 += 1;
            chunk.copy_from_slice(&self.0.to_be_bytes()[..chunk.len()]);
        }
    }
}
