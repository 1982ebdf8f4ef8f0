//! Every value comes back as it went in.

use crate::support::{self, Counter, kit, workspace};
use tombolo_crypto::*;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::*;
use tombolo_protocol::keys::VerifyKey;

#[test]
fn an_entry_opens_to_the_body_it_was_sealed_from() {
    let (keys, device, mut entropy) = support::epoch();
    for length in [0, 1, 200, 5000] {
        let body = vec![9; length];
        let draft = support::draft(&device);
        let entry = keys.seal_entry(draft, &body, &device, &mut entropy).unwrap();
        let entry = Entry::decode(&entry.encode()).unwrap();
        entry.verify(&VerifyKey::parse(&device.sign_key().public()).unwrap()).unwrap();
        assert_eq!(keys.open_entry(&entry).unwrap().to_vec(), body);
    }
}

#[test]
fn a_body_comes_back_raw_and_compressed() {
    for size in [1, 100, 127, 128, 4000] {
        let body = Body {
            creation: Some(Creation { incarnation: Incarnation(7), random: [3; 16], app_type: "notes".to_owned() }),
            crdt: 1,
            instance: Instance(u64::MAX),
            wall_ms: -5,
            deps: vec![Dep { chain: ChainId::from_bytes([1; 8]), seq: 300, hash_prefix: [2; 8] }],
            changes: vec![vec![1; size], vec![2; 3]],
        };
        let bytes = body.encode().unwrap();
        assert_eq!(Body::decode(&bytes).unwrap(), body);
        assert!(size < 4000 || bytes.len() < 200);
    }
}

#[test]
fn the_secrets_of_a_device_come_back() {
    let mut entropy = Counter::default();
    let device = DeviceSecrets::generate(&mut entropy);
    let again = DeviceSecrets::decode(&device.encode()).unwrap();
    assert_eq!(again.public(), device.public());
    assert_eq!(again.encode(), device.encode());
    let root = UserRoot::generate(&mut entropy);
    assert_eq!(UserRoot::from_seed(&root.seed()).sign_key().public(), root.sign_key().public());
}

#[test]
fn a_rotation_gives_each_recipient_the_secret_and_the_history() {
    let mut entropy = Counter::default();
    let (first, second) = (DeviceSecrets::generate(&mut entropy), DeviceSecrets::generate(&mut entropy));
    let blinding = BlindingKey::generate(&mut entropy);
    let old = EpochSecret::generate(&mut entropy);
    let old_id = EpochKeys::derive(&workspace(), &old).epoch();
    let recipients = [&second, &first, &first].map(|d| (*d.id().as_bytes(), d.public().box_public));
    let (secret, rotation) = rotate(&workspace(), &recipients, &[(old_id, &old)], &blinding, &mut entropy).unwrap();
    assert_eq!(rotation.wraps.len(), 2);
    assert!(rotation.wraps.is_sorted_by(|a, b| a.recipient < b.recipient));
    for device in [&first, &second] {
        let wrap = rotation.wraps.iter().find(|w| w.recipient == *device.id().as_bytes()).unwrap();
        let (got, blind) = unwrap_epoch(&workspace(), &rotation.epoch, wrap, device.box_secret()).unwrap();
        assert!(got == secret && blind == blinding);
    }
    let keys = EpochKeys::derive(&workspace(), &secret);
    assert!(keys.open_previous(&rotation.previous[0], &workspace()).unwrap() == old);
}

#[test]
fn a_section_comes_back() {
    let (keys, _, mut entropy) = support::epoch();
    let sealed = keys.seal_section("status", b"row", b"hello", &mut entropy);
    assert_eq!(keys.open_section("status", b"row", &sealed).unwrap().to_vec(), b"hello");
}

#[test]
fn an_invite_link_comes_back_from_its_text() {
    let mut entropy = Counter::default();
    let link = support::link(&mut entropy);
    let text = link.to_string();
    assert!(text.starts_with("tombolo:1:"));
    assert!(format!("  {text}\n").parse::<InviteLink>().unwrap() == link);
    let invite = &link.secret;
    let secret = EpochSecret::generate(&mut entropy);
    let blinding = BlindingKey::generate(&mut entropy);
    let epoch = EpochKeys::derive(&workspace(), &secret).epoch();
    let wrap = wrap_epoch(&workspace(), [0; 32], &invite.box_public(), &secret, &blinding, &mut entropy).unwrap();
    let (got, _) = unwrap_epoch(&workspace(), &epoch, &wrap, &invite.box_secret()).unwrap();
    assert!(got == secret);
}

#[test]
fn a_stored_value_comes_back() {
    let mut entropy = Counter::default();
    let cipher = StoreCipher::new(Secret32::generate(&mut entropy));
    let sealed = cipher.seal("docs", "name", b"k", b"value", &mut entropy);
    assert_eq!(sealed.len(), 16 + 5 + 16);
    assert_eq!(cipher.open("docs", "name", b"k", &sealed).unwrap(), b"value");
}

#[test]
fn the_vaults_give_back_what_they_were_given() {
    let folder = tempfile::tempdir().unwrap();
    let key = Secret32::from_bytes([5; 32]);
    let vaults: [Box<dyn KeyVault>; 3] = [
        Box::new(MemoryVault::default()),
        Box::new(FileVault::new(folder.path().join("key"))),
        Box::new(PassphraseVault::new(folder.path().join("sealed"), "horse", Box::new(Counter::default()))),
    ];
    for vault in vaults {
        assert!(vault.load().unwrap().is_none());
        vault.save(&key).unwrap();
        vault.save(&key).unwrap();
        assert!(vault.load().unwrap().unwrap() == key);
        assert!(matches!(vault.save(&Secret32::from_bytes([6; 32])), Err(VaultError::Occupied { .. })));
        assert!(vault.load().unwrap().unwrap() == key);
    }
}

#[test]
fn a_tag_follows_the_key_and_the_document() {
    let key = BlindingKey::from_bytes([1; 32]);
    let document = DocumentId::from_bytes([2; 16]);
    assert_eq!(key.document_tag(&document), BlindingKey::from_bytes([1; 32]).document_tag(&document));
    assert_ne!(key.document_tag(&document), BlindingKey::from_bytes([3; 32]).document_tag(&document));
    assert_ne!(key.commitment(), BlindingKey::from_bytes([3; 32]).commitment());
}

#[test]
fn a_kit_is_a_page_to_print_a_file_and_shares() {
    let (kit, mut entropy) = (kit(), Counter::default());
    let page = kit.to_sheet("21 November 2026\n");
    let shown: Vec<&str> = page.lines().collect();
    assert_eq!(shown[0], "Tombolo recovery kit");
    assert_eq!(shown[2], format!("User    {}", kit.user().short()));
    assert_eq!(shown[3..6], ["Made    21 November 2026", "Relays  wss://relay.example.org", "        10.0.0.1:7000"]);
    let words: Vec<&str> = shown[7..13].iter().flat_map(|line| line.split_whitespace().skip(1).step_by(2)).collect();
    assert_eq!(words.join(" "), *kit.words());
    assert!(shown.iter().all(|line| line.len() <= 100));

    let file = kit.to_file("low tide", &mut entropy).unwrap();
    assert_eq!(RecoveryKit::from_file(&file, "low tide").unwrap().relays(), kit.relays());
    let shares = kit.to_shares(3, 5, &mut entropy).unwrap();
    let numbers: Vec<_> = shares.iter().map(|share| (share.number(), share.need(), share.of())).collect();
    assert_eq!(numbers, [(1, 3, 5), (2, 3, 5), (3, 3, 5), (4, 3, 5), (5, 3, 5)]);
    let read: KitShare = shares[4].to_text().parse().unwrap();
    assert_eq!(*read.to_text(), *shares[4].to_text());
    assert_eq!(*kit.into_root().seed(), [0x5e; 32]);
}

/// The vectors of BIP39 itself.
#[test]
fn words_are_those_of_bip39() {
    let legal = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful \
                 legal winner thank year wave sausage worth title";
    let letter = "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor \
                  acoustic avoid letter advice cage absurd amount doctor acoustic bless";
    let all = |word: &str, last: &str| format!("{}{last}", format!("{word} ").repeat(23));
    let known = [
        (0x00, all("abandon", "art")),
        (0x7f, legal.to_owned()),
        (0x80, letter.to_owned()),
        (0xff, all("zoo", "vote")),
    ];
    for (byte, words) in known {
        let kit = RecoveryKit::new(UserRoot::from_seed(&[byte; 32]), Vec::new()).unwrap();
        assert_eq!(*kit.words(), words);
        assert_eq!(*RecoveryKit::from_words(&words).unwrap().root().seed(), [byte; 32]);
    }
}
