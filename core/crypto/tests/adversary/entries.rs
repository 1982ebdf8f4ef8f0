//! Entries that were altered or moved.

use std::collections::BTreeSet;

use tombolo_crypto::{DeviceSecrets, Entropy, EpochKeys, EpochSecret, OpenError, SealError};
use tombolo_protocol::entry::{Entry, HEADER_BYTES, Header};
use tombolo_protocol::ids::{DocumentTag, Stream, WorkspaceId};
use tombolo_protocol::keys::SIGNATURE_BYTES;
use tombolo_protocol::limits::ENTRY_BYTES_MAX;

use crate::support::{Counter, draft, epoch, workspace};

/// Randomness that is none.
struct Stuck;

impl Entropy for Stuck {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Signs an entry's sealed bytes under another header, as somebody who holds all keys can.
fn re_signed(entry: &Entry, signer: &DeviceSecrets, alter: impl FnOnce(&mut Header)) -> Entry {
    let mut header = entry.header().clone();
    alter(&mut header);
    let (clear, sealed) = (entry.clear().to_vec(), entry.sealed().to_vec());
    Entry::sign(header, clear, sealed, signer.sign_key()).unwrap()
}

#[test]
fn no_bit_of_an_entry_can_be_flipped() {
    let (keys, device, mut entropy) = epoch();
    let honest = keys.seal_entry(draft(&device), b"five!", &device, &mut entropy).unwrap();
    let bytes = honest.encode();
    let unsigned = bytes.len() - SIGNATURE_BYTES;
    let mut reached_the_cipher = 0;
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let Ok(entry) = Entry::decode(&altered) else {
            continue;
        };
        assert!(entry.verify(&device.public().sign).is_err(), "bit {bit}");
        if bit < unsigned * 8 {
            assert!(keys.open_entry(&entry).is_err(), "bit {bit}");
            reached_the_cipher += 1;
        }
    }
    assert!(reached_the_cipher > HEADER_BYTES * 4);
}

#[test]
fn another_member_can_not_sign_foreign_ciphertext_as_their_own() {
    let (keys, device, mut entropy) = epoch();
    let honest = keys.seal_entry(draft(&device), b"hers", &device, &mut entropy).unwrap();
    let thief = DeviceSecrets::generate(&mut entropy);
    let stolen = re_signed(&honest, &thief, |header| header.chain.device = thief.id());
    assert_eq!(stolen.verify(&thief.public().sign), Ok(()));
    assert_eq!(keys.open_entry(&stolen), Err(OpenError::Decrypt));
}

#[test]
fn an_entry_opens_in_its_own_document_stream_and_workspace_only() {
    let (keys, device, mut entropy) = epoch();
    let honest = keys.seal_entry(draft(&device), b"here", &device, &mut entropy).unwrap();
    let elsewhere = WorkspaceId::from_bytes([0x99; 32]);
    let moves: [fn(&mut Header); 4] = [
        |header| header.chain.document = DocumentTag::from_bytes([0x77; 16]),
        |header| header.chain.stream = Stream::COMMENTS,
        |header| header.workspace = WorkspaceId::from_bytes([0x99; 32]).tag(),
        |header| header.members_head = tombolo_protocol::ids::RecordId::from_bytes([0x44; 32]),
    ];
    for alter in moves {
        let moved = re_signed(&honest, &device, alter);
        assert_eq!(keys.open_entry(&moved), Err(OpenError::Decrypt));
    }
    let foreign = EpochKeys::derive(&elsewhere, &EpochSecret::generate(&mut entropy));
    assert_eq!(foreign.open_entry(&honest), Err(OpenError::WrongEpoch));
    let moved = re_signed(&honest, &device, |header| header.epoch = foreign.epoch());
    assert_eq!(foreign.open_entry(&moved), Err(OpenError::Decrypt));
}

#[test]
fn stuck_randomness_gives_no_two_entries_one_salt() {
    let (keys, device, _) = epoch();
    let mut salts = BTreeSet::new();
    for body in 0..100_000_u32 {
        let body = body.to_be_bytes();
        let entry = keys.seal_entry(draft(&device), &body, &device, &mut Stuck).unwrap();
        assert!(salts.insert(entry.header().salt));
    }
    let mut next = draft(&device);
    next.chain.stream = Stream::META;
    let other = keys.seal_entry(next, &[0; 4], &device, &mut Stuck).unwrap();
    assert!(salts.insert(other.header().salt), "the header counts too");
}

#[test]
fn a_copied_machine_shares_no_salt_with_its_original_device() {
    let (keys, device, _) = epoch();
    let other = DeviceSecrets::generate(&mut Counter::default());
    assert_eq!(other.id(), device.id(), "the support's device is drawn first");
    let third = DeviceSecrets::generate(&mut Stuck);
    let salts = [&device, &third].map(|author| {
        let entry = keys.seal_entry(draft(author), b"same", author, &mut Stuck);
        entry.unwrap().header().salt
    });
    assert_ne!(salts[0], salts[1]);
}

#[test]
fn an_entry_over_the_limit_is_refused_before_it_is_sealed() {
    let (keys, device, mut entropy) = epoch();
    let mut sealable = |length: usize| {
        let mut draft = draft(&device);
        draft.clear = Vec::new();
        keys.seal_entry(draft, &vec![0; length], &device, &mut entropy)
    };
    // The largest padded plaintext that fits: PADME keeps five bits below 2^20.
    let largest = (1 << 20) - (1 << 14) - 4;
    assert!(sealable(largest).unwrap().encode().len() <= ENTRY_BYTES_MAX);
    assert!(matches!(sealable(largest + 1), Err(SealError::TooLarge { limit: ENTRY_BYTES_MAX, .. })));
}

#[test]
fn a_device_seals_for_its_own_chain_only() {
    let (keys, device, mut entropy) = epoch();
    let other = DeviceSecrets::generate(&mut entropy);
    let refused = keys.seal_entry(draft(&other), b"", &device, &mut entropy);
    assert_eq!(refused, Err(SealError::StrangeDevice));
    assert_eq!(keys.epoch(), {
        let mut entropy = Counter::default();
        let _device = DeviceSecrets::generate(&mut entropy);
        EpochKeys::derive(&workspace(), &EpochSecret::generate(&mut entropy)).epoch()
    });
}
