//! Recovery kits in the hands of somebody who lost everything else, and of somebody who mistypes, cuts,
//! alters or mixes them (cases 47 and 48 of the threat model).

use data_encoding::BASE32_NOPAD;
use tombolo_crypto::*;
use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::hash::hash;

use crate::support::{Counter, kit, workspace};

type Recovered = Result<[u8; 32], RecoveryError>;

fn seed(kit: Result<RecoveryKit, RecoveryError>) -> Recovered {
    kit.map(|kit| *kit.root().seed())
}

fn shares(need: u8, of: u8, entropy: &mut Counter) -> Vec<String> {
    let shares = kit().to_shares(need, of, entropy).unwrap();
    shares.iter().map(|share| share.to_text().to_string()).collect()
}

fn combined(texts: &[&String]) -> Recovered {
    seed(RecoveryKit::from_shares(&texts.iter().map(|text| text.as_str()).collect::<Vec<_>>()))
}

#[test]
fn case_47_each_form_of_the_kit_recovers_the_user_and_one_share_of_three_does_not() {
    let mut entropy = Counter::default();
    let whole = Ok(*kit().root().seed());
    assert_eq!(seed(RecoveryKit::from_words(&kit().words())), whole);
    let file = kit().to_file("low tide at six", &mut entropy).unwrap();
    let opened = RecoveryKit::from_file(&file, "low tide at six").unwrap();
    assert_eq!((opened.user(), opened.relays()), (kit().user(), kit().relays()));
    let texts = shares(2, 3, &mut entropy);
    let [a, b, c] = [&texts[0], &texts[1], &texts[2]];
    for pair in [[a, b], [b, a], [a, c], [b, c]] {
        assert_eq!(combined(&pair), whole);
    }
    assert_eq!(combined(&[a, b, c]), whole);
    for one in [a, b, c] {
        assert_eq!(combined(&[one]), Err(RecoveryError::TooFewShares { have: 1, need: 2 }));
        assert_eq!(combined(&[one, one]), Err(RecoveryError::TooFewShares { have: 1, need: 2 }));
    }
    assert_eq!(combined(&[]), Err(RecoveryError::TooFewShares { have: 0, need: 2 }));
    let relays = RecoveryKit::from_shares(&[a, c]).unwrap().relays().to_vec();
    assert_eq!(relays, kit().relays());
}

#[test]
fn case_47_who_is_recovered_opens_what_was_wrapped_to_the_recovery_box() {
    let mut entropy = Counter::default();
    let (secret, blinding) = (EpochSecret::generate(&mut entropy), BlindingKey::generate(&mut entropy));
    let (user, public) = (*kit().user().as_bytes(), kit().root().box_public());
    let wrap = wrap_epoch(&workspace(), user, &public, &secret, &blinding, &mut entropy).unwrap();
    let epoch = EpochKeys::derive(&workspace(), &secret).epoch();
    let recovered = RecoveryKit::from_words(&kit().words()).unwrap();
    let opened = unwrap_epoch(&workspace(), &epoch, &wrap, &recovered.root().box_secret());
    assert_eq!(opened, Ok((secret, blinding)));
    let stranger = UserRoot::from_seed(&[9; 32]).box_secret();
    assert_eq!(unwrap_epoch(&workspace(), &epoch, &wrap, &stranger), Err(OpenError::Decrypt));
    // The box is a key of its own, not the signing seed under another name.
    assert_ne!(kit().root().box_secret().as_bytes(), &*kit().root().seed());
}

#[test]
fn case_48_words_that_were_mistyped_say_what_is_wrong() {
    let whole = kit().words();
    let words: Vec<&str> = whole.split(' ').collect();
    let with = |at: usize, word: &'static str| {
        let mut typed = words.clone();
        typed[at] = word;
        seed(RecoveryKit::from_words(&typed.join(" ")))
    };
    assert_eq!(with(6, "tombolo"), Err(RecoveryError::UnknownWord { position: 7 }));
    assert_eq!(with(23, "zoö"), Err(RecoveryError::UnknownWord { position: 24 }));
    assert_eq!(with(0, "zoo"), Err(RecoveryError::WordsChecksum));
    for count in 0..24 {
        let cut = seed(RecoveryKit::from_words(&words[..count].join(" ")));
        assert_eq!(cut, Err(RecoveryError::WordCount { found: count }));
    }
    let longer = format!("{} zoo", *whole);
    assert_eq!(seed(RecoveryKit::from_words(&longer)), Err(RecoveryError::WordCount { found: 25 }));
    let mut swapped = words.clone();
    swapped.swap(3, 12);
    assert_eq!(seed(RecoveryKit::from_words(&swapped.join(" "))), Err(RecoveryError::WordsChecksum));
}

/// The lines of a sheet that begin with a number.
fn grid(sheet: &str) -> String {
    let numbered = |line: &&str| line.trim_start().starts_with(|letter: char| letter.is_ascii_digit());
    sheet.lines().filter(numbered).collect::<Vec<_>>().join("\n")
}

#[test]
fn words_are_forgiven_their_case_spaces_numbers_and_what_is_behind_the_fourth_letter() {
    let (kit, whole) = (kit(), kit().words());
    let same = Ok(*kit.root().seed());
    let short = |word: &str| word.chars().take(4).collect::<String>();
    let numbered: Vec<String> =
        whole.split(' ').enumerate().map(|(nth, word)| format!("{}.{word},", nth + 1)).collect();
    let typed = [
        whole.to_uppercase(),
        whole.replace(' ', "\n\t  "),
        whole.split(' ').map(short).collect::<Vec<_>>().join(" "),
        numbered.join(" "),
        grid(&kit.to_sheet("2026-11-21")),
    ];
    for text in typed {
        assert_eq!(seed(RecoveryKit::from_words(&text)), same, "{text}");
    }
    let three = whole.split(' ').map(|word| word.chars().take(3).collect::<String>()).collect::<Vec<_>>().join(" ");
    assert!(matches!(seed(RecoveryKit::from_words(&three)), Err(RecoveryError::UnknownWord { .. })));
}

#[test]
fn case_48_a_file_that_was_cut_weakened_or_altered_is_refused_for_what_it_is() {
    let file = kit().to_file("low tide at six", &mut Counter::default()).unwrap();
    let open = |bytes: &[u8]| seed(RecoveryKit::from_file(bytes, "low tide at six"));
    for length in 0..file.len() {
        let refused = open(&file[..length]);
        assert_eq!(refused, Err(RecoveryError::Malformed(DecodeError::Truncated)), "length {length}");
    }
    let longer = [file.as_slice(), &[0]].concat();
    assert_eq!(open(&longer), Err(RecoveryError::Malformed(DecodeError::Trailing { bytes: 1 })));
    let with = |at: usize, number: u32| {
        let mut bytes = file.clone();
        bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        open(&bytes)
    };
    let downgrade = |memory_kib, passes| Err(RecoveryError::KdfDowngrade { memory_kib, passes });
    assert_eq!(with(0, 0), Err(RecoveryError::Malformed(DecodeError::Magic)));
    assert_eq!(with(4, 8), downgrade(8, 3));
    assert_eq!(with(4, (64 << 10) - 1), downgrade((64 << 10) - 1, 3));
    assert_eq!(with(8, 1), downgrade(64 << 10, 1));
    let costly = |memory_kib, passes, lanes| Err(RecoveryError::TooCostly { memory_kib, passes, lanes });
    assert_eq!(with(4, u32::MAX), costly(u32::MAX, 3, 1));
    assert_eq!(with(8, 33), costly(64 << 10, 33, 1));
    assert_eq!(with(12, 17), costly(64 << 10, 3, 17));
    assert_eq!(with(12, 0), costly(64 << 10, 3, 0));
    assert!(matches!(with(32, u32::MAX), Err(RecoveryError::Malformed(DecodeError::TooLarge { .. }))));
    // A cost that could have been written, but was not; the salt; first and last sealed byte.
    for (at, bit) in [(7, 1), (11, 4), (15, 2), (16, 1), (31, 128), (36, 1), (file.len() - 1, 1)] {
        let mut altered = file.clone();
        altered[at] ^= bit;
        assert_eq!(open(&altered), Err(RecoveryError::Decrypt), "byte {at}");
    }
    let wrong = seed(RecoveryKit::from_file(&file, "Low tide at six"));
    assert_eq!(wrong, Err(RecoveryError::Decrypt));
}

#[test]
fn a_mistyped_share_is_named_and_shares_of_two_sets_do_not_mix() {
    let mut entropy = Counter::default();
    let (one, other) = (shares(2, 3, &mut entropy), shares(2, 3, &mut entropy));
    let text = &one[1];
    for at in "tombolo-share:1:".len()..text.len() {
        let mut typed = text.clone().into_bytes();
        if typed[at] == b'-' {
            continue;
        }
        typed[at] = if typed[at] == b'A' { b'C' } else { b'A' };
        let typed = String::from_utf8(typed).unwrap();
        let refused = Err(RecoveryError::Share { nth: 2, error: ShareError::Checksum });
        assert_eq!(combined(&[&one[0], &typed]), refused, "at {at}");
        let cut = text[..at].to_owned();
        assert_eq!(combined(&[&one[0], &cut]), refused, "cut {at}");
    }
    assert_eq!(combined(&[&one[0], &other[1]]), Err(RecoveryError::DifferentSets { nth: 2 }));
    assert_eq!(combined(&[&one[0], &one[1], &other[2]]), Err(RecoveryError::DifferentSets { nth: 3 }));
    let newer = text.replace("share:1:", "share:2:");
    assert_eq!(combined(&[&newer]), Err(RecoveryError::Share { nth: 1, error: ShareError::Version }));
    let link = "tombolo:1:AAAA".to_owned();
    assert_eq!(combined(&[&link]), Err(RecoveryError::Share { nth: 1, error: ShareError::NotAShare }));
    let sloppy = text.to_lowercase().replace('-', " \n").replace("share ", "share-").replace("tombolo \n", "tombolo-");
    assert!(combined(&[&one[0], &sloppy]).is_ok(), "{sloppy}");
}

/// Writes a share again with another value: what somebody who holds it, and lies, can bring.
fn forged(text: &str) -> String {
    let typed: String = text["tombolo-share:1:".len()..].replace('-', "");
    let bytes = BASE32_NOPAD.decode(typed.as_bytes()).unwrap();
    let mut payload = bytes[..bytes.len() - 4].to_vec();
    *payload.last_mut().unwrap() ^= 1;
    let checksum = hash("kit-share", &[&payload]);
    payload.extend_from_slice(&checksum[..4]);
    format!("tombolo-share:1:{}", BASE32_NOPAD.encode(&payload))
}

#[test]
fn a_share_that_was_altered_on_purpose_recovers_nobody() {
    let texts = shares(2, 3, &mut Counter::default());
    let lie = forged(&texts[1]);
    assert_eq!(combined(&[&texts[0], &lie]), Err(RecoveryError::WrongUser));
    assert_eq!(combined(&[&texts[1], &lie]), Err(RecoveryError::DifferentSets { nth: 2 }));
}

#[test]
fn a_kit_is_shared_from_two_of_two_to_sixteen_of_sixteen() {
    let mut entropy = Counter::default();
    for (need, of) in [(0, 0), (0, 3), (1, 3), (4, 3), (2, 17), (17, 17), (255, 255)] {
        let refused = kit().to_shares(need, of, &mut entropy).map(|_| ());
        assert_eq!(refused, Err(RecoveryError::Threshold { need, of }));
    }
    for (need, of) in [(2, 2), (3, 5), (16, 16), (2, 16)] {
        let texts = shares(need, of, &mut entropy);
        let last: Vec<&String> = texts.iter().rev().take(usize::from(need)).collect();
        assert_eq!(combined(&last), Ok(*kit().root().seed()));
        let have = usize::from(need) - 1;
        assert_eq!(combined(&last[1..]), Err(RecoveryError::TooFewShares { have, need: have + 1 }));
    }
}

/// The flaw that shares over GF(256) had elsewhere: coefficients that never are zero, or even.
#[test]
fn one_share_of_three_is_as_likely_to_be_any_value() {
    let mut entropy = Counter::default();
    let mut seen = [0_u32; 256];
    let rounds = 2000;
    for _ in 0..rounds {
        let shares = kit().to_shares(2, 3, &mut entropy).unwrap();
        let typed = shares[2].to_text()["tombolo-share:1:".len()..].replace('-', "");
        let bytes = BASE32_NOPAD.decode(typed.as_bytes()).unwrap();
        for byte in &bytes[bytes.len() - 36..bytes.len() - 4] {
            seen[usize::from(*byte)] += 1;
        }
    }
    let expected = f64::from(rounds * 32) / 256.0;
    let square = |count: &u32| (f64::from(*count) - expected).powi(2) / expected;
    let chi: f64 = seen.iter().map(square).sum();
    // 255 degrees of freedom: above 350 in one run of a million; without zeros it would be 490.
    assert!(chi < 350.0, "{chi}");
}

#[test]
fn a_kit_knows_its_user_and_at_most_eight_relays() {
    assert_eq!(kit().check_user(&kit().user().short().to_uppercase()), Ok(()));
    assert_eq!(kit().check_user("00000000"), Err(RecoveryError::WrongUser));
    let with = |relays: Vec<String>| RecoveryKit::from_words(&kit().words()).unwrap().with_relays(relays).map(|_| ());
    assert_eq!(with(vec!["r".repeat(255); 8]), Ok(()));
    let invalid = Err(RecoveryError::Malformed(DecodeError::Invalid { field: "address" }));
    for relay in ["", "a\nUser    11111111", &"r".repeat(256)] {
        assert_eq!(with(vec![relay.to_owned()]), invalid);
    }
    let claimed = DecodeError::TooLarge { field: "addresses", claimed: 9, limit: 8 };
    assert_eq!(with(vec!["r".to_owned(); 9]), Err(RecoveryError::Malformed(claimed)));
    let largest = RecoveryKit::from_words(&kit().words()).unwrap().with_relays(vec!["r".repeat(255); 8]).unwrap();
    let texts: Vec<_> = largest.to_shares(2, 2, &mut Counter::default()).unwrap();
    let texts: Vec<_> = texts.iter().map(KitShare::to_text).collect();
    let read = RecoveryKit::from_shares(&[&texts[0], &texts[1]]).unwrap();
    assert_eq!(read.relays(), largest.relays());
}
