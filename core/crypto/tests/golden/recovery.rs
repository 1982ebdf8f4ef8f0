//! Golden recovery kits: the words, the file and a set of shares of one seed.

use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};
use tombolo_crypto::*;

use crate::support::{Counter, kit};
use crate::{Kept, hex};

const PASSPHRASE: &str = "low tide at six";

pub(crate) fn made(entropy: &mut Counter) -> Value {
    let kit = kit();
    let file = kit.to_file(PASSPHRASE, entropy).unwrap();
    let shares = kit.to_shares(2, 3, entropy).unwrap();
    let texts: Vec<String> = shares.iter().map(|share| share.to_text().to_string()).collect();
    json!({
        "seed": hex(*kit.root().seed()), "user": hex(kit.user().as_bytes()), "relays": kit.relays(),
        "root_public": hex(kit.root().sign_key().public()),
        "box_secret": hex(kit.root().box_secret().as_bytes()), "box_public": hex(kit.root().box_public()),
        "words": *kit.words(), "passphrase": PASSPHRASE, "file": hex(file), "shares": texts,
    })
}

fn shares(kept: &Kept) -> Vec<String> {
    kept.0["recovery"]["shares"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_stored_words_file_and_shares_lead_to_the_stored_seed() {
    let kept = Kept::read();
    let seed: [u8; 32] = kept.array("recovery", "seed");
    let shares = shares(&kept);
    let file = RecoveryKit::from_file(&kept.bytes("recovery", "file"), kept.text("recovery", "passphrase")).unwrap();
    let words = RecoveryKit::from_words(kept.text("recovery", "words")).unwrap();
    let pair = RecoveryKit::from_shares(&[&shares[2], &shares[0]]).unwrap();
    for kit in [&file, &words, &pair] {
        assert_eq!(*kit.root().seed(), seed);
        assert_eq!(kit.user().as_bytes(), &kept.array("recovery", "user"));
        assert_eq!(kit.root().box_secret().as_bytes(), &kept.array("recovery", "box_secret"));
        assert_eq!(kit.root().box_public(), kept.array("recovery", "box_public"));
    }
    assert_eq!(*file.words(), kept.text("recovery", "words"));
    for kit in [&file, &pair] {
        assert_eq!(serde_json::json!(kit.relays()), kept.0["recovery"]["relays"]);
    }
}

/// Multiplication in GF(256) with x⁸ + x⁴ + x³ + x + 1, written anew: the field is a part of the format.
fn times(mut one: u8, mut other: u8) -> u8 {
    let mut product = 0;
    while other > 0 {
        if other & 1 == 1 {
            product ^= one;
        }
        one = (one << 1) ^ if one & 0x80 == 0 { 0 } else { 0x1b };
        other >>= 1;
    }
    product
}

fn inverse(byte: u8) -> u8 {
    (1..=255).find(|other| times(byte, *other) == 1).unwrap()
}

#[test]
fn two_stored_shares_interpolate_to_the_seed_without_the_library() {
    let kept = Kept::read();
    let point = |text: &String| {
        let bytes = BASE32_NOPAD.decode(text["tombolo-share:1:".len()..].replace('-', "").as_bytes()).unwrap();
        (bytes[8], bytes[bytes.len() - 36..bytes.len() - 4].to_vec())
    };
    let [(a, one), (b, other)] = [&shares(&kept)[0], &shares(&kept)[1]].map(point);
    let over = inverse(a ^ b);
    let seed: Vec<u8> =
        one.iter().zip(&other).map(|(y, z)| times(*y, times(b, over)) ^ times(*z, times(a, over))).collect();
    assert_eq!(seed, kept.bytes("recovery", "seed"));
}
