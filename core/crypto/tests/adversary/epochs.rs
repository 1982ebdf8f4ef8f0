//! Wraps, earlier epochs, sections and stored values that were altered or moved.

use tombolo_crypto::*;
use tombolo_protocol::ids::{EpochId, WorkspaceId};
use tombolo_protocol::record::EpochWrap;

use crate::support::{Counter, epoch, workspace};

/// Points of small order on Curve25519: zero, one, and one of order eight.
const LOW_ORDER: [[u8; 32]; 3] = {
    let mut one = [0; 32];
    one[0] = 1;
    [
        [0; 32],
        one,
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ],
    ]
};

#[test]
fn a_wrap_opens_for_its_recipient_epoch_and_workspace_only() {
    let (_, device, mut entropy) = epoch();
    let (secret, blinding) = (EpochSecret::generate(&mut entropy), BlindingKey::generate(&mut entropy));
    let id = EpochKeys::derive(&workspace(), &secret).epoch();
    let public = device.public().box_public;
    let wrap = wrap_epoch(&workspace(), *device.id().as_bytes(), &public, &secret, &blinding, &mut entropy).unwrap();
    let open = |workspace: &WorkspaceId, epoch: &EpochId, wrap: &EpochWrap, key: &Secret32| {
        unwrap_epoch(workspace, epoch, wrap, key).map(|_| ())
    };
    let (here, own) = (workspace(), device.box_secret());
    assert_eq!(open(&here, &id, &wrap, own), Ok(()));
    let refused = Err(OpenError::Decrypt);
    let elsewhere = WorkspaceId::from_bytes([9; 32]);
    assert_eq!(open(&elsewhere, &id, &wrap, own), refused);
    assert_eq!(open(&here, &EpochId::from_bytes([9; 32]), &wrap, own), refused);
    assert_eq!(open(&here, &id, &wrap, &Secret32::from_bytes([9; 32])), refused);
    let mut handed_on = wrap.clone();
    handed_on.recipient[0] ^= 1;
    assert_eq!(open(&here, &id, &handed_on, own), refused);
    for byte in 0..80 {
        let mut altered = wrap.clone();
        altered.sealed[byte] ^= 1;
        assert_eq!(open(&here, &id, &altered, own), refused, "byte {byte}");
    }
    for point in LOW_ORDER {
        let mut weak = wrap.clone();
        weak.encapsulated = point;
        assert_eq!(open(&here, &id, &weak, own), refused);
    }
}

#[test]
fn nothing_is_wrapped_to_a_key_of_small_order() {
    let mut entropy = Counter::default();
    let blinding = BlindingKey::generate(&mut entropy);
    let secret = EpochSecret::generate(&mut entropy);
    for point in LOW_ORDER {
        let refused = WrapError::WeakKey { recipient: [7; 32] };
        let wrapped = wrap_epoch(&workspace(), [7; 32], &point, &secret, &blinding, &mut entropy);
        assert_eq!(wrapped, Err(refused));
        let rotated = rotate(&workspace(), &[([7; 32], point)], &[], &blinding, &mut entropy);
        assert_eq!(rotated, Err(refused));
    }
}

#[test]
fn an_earlier_secret_is_taken_only_if_it_fits_the_id_it_came_with() {
    let (keys, _, mut entropy) = epoch();
    let secret = EpochSecret::generate(&mut entropy);
    let id = EpochKeys::derive(&workspace(), &secret).epoch();
    let honest = keys.seal_previous(id, &secret);
    assert_eq!(keys.open_previous(&honest, &workspace()), Ok(secret.duplicate()));
    let lie = keys.seal_previous(EpochId::from_bytes([9; 32]), &secret);
    let refused = keys.open_previous(&lie, &workspace());
    assert_eq!(refused, Err(OpenError::WrongEpoch));
    let mut renamed = honest;
    renamed.epoch = EpochId::from_bytes([9; 32]);
    let refused = keys.open_previous(&renamed, &workspace());
    assert_eq!(refused, Err(OpenError::Decrypt));
}

#[test]
fn a_section_opens_under_its_label_context_and_epoch_only() {
    let (keys, _, mut entropy) = epoch();
    let sealed = keys.seal_section("name", b"record", b"Field notes", &mut entropy);
    let refused = Err(OpenError::Decrypt);
    assert_eq!(keys.open_section("status", b"record", &sealed), refused);
    assert_eq!(keys.open_section("name", b"other", &sealed), refused);
    assert_eq!(keys.open_section("namer", b"ecord", &sealed), refused);
    let other = EpochKeys::derive(&workspace(), &EpochSecret::generate(&mut entropy));
    assert_eq!(other.open_section("name", b"record", &sealed), refused);
    for length in 0..sealed.len() {
        assert_eq!(keys.open_section("name", b"record", &sealed[..length]), refused);
    }
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(keys.open_section("name", b"record", &altered), refused);
    }
}

#[test]
fn a_stored_value_opens_in_its_own_row_column_and_table_only() {
    let cipher = StoreCipher::new(Secret32::from_bytes([1; 32]));
    let sealed = cipher.seal("pending", "change", b"row", b"value", &mut Counter::default());
    let refused = Err(OpenError::Decrypt);
    for (table, column, key) in [
        ("entries", "change", b"row".as_slice()),
        ("pending", "body", b"row"),
        ("pending", "change", b"other"),
        ("pendingc", "hange", b"row"),
        ("pending", "changer", b"ow"),
    ] {
        assert_eq!(cipher.open(table, column, key, &sealed), refused);
    }
    let other = StoreCipher::new(Secret32::from_bytes([2; 32]));
    assert_eq!(other.open("pending", "change", b"row", &sealed), refused);
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(cipher.open("pending", "change", b"row", &altered), refused);
    }
}
