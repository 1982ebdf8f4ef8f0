//! Golden bytes: what is derived, sealed and written, made with fixed entropy, stored in
//! `tests/vectors` at the repository's root, and replayed here from the stored bytes alone.
//! `TOMBOLO_BLESS=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "crypto/support.rs"]
#[allow(dead_code, reason = "the vectors need a part of what the tests share")]
mod support;

#[path = "golden/linking.rs"]
mod linking;
#[path = "crypto/pair.rs"]
#[allow(dead_code, reason = "the vectors need a part of what the tests share")]
mod pair;
#[path = "golden/recovery.rs"]
mod recovery;

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use support::{Counter, draft, link, workspace};
use tombolo_crypto::*;
use tombolo_protocol::entry::Entry;
use tombolo_protocol::ids::{ChainId, DocumentId, EpochId, Incarnation, Instance};
use tombolo_protocol::record::{EpochWrap, PreviousEpoch};

const DOCUMENT: DocumentId = DocumentId::from_bytes([0x55; 16]);

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/crypto.json")
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn bodies() -> [Body; 2] {
    let creation = Creation { incarnation: Incarnation(3), random: [0x66; 16], app_type: "notes".to_owned() };
    let dep = Dep { chain: ChainId::from_bytes([0x77; 8]), seq: 300, hash_prefix: [0x88; 8] };
    let body = |creation, deps, changes| Body {
        creation,
        crdt: 1,
        instance: Instance(0x0102_0304_0506_0708),
        wall_ms: 1_700_000_000_000,
        deps,
        changes,
    };
    [
        body(Some(creation), Vec::new(), vec![b"first".to_vec()]),
        body(None, vec![dep], vec![b"second".to_vec(), b"third".to_vec()]),
    ]
}

/// Draws everything in one fixed order from one fixed source.
fn made() -> Value {
    let mut entropy = Counter::default();
    let device = DeviceSecrets::generate(&mut entropy);
    let blinding = BlindingKey::generate(&mut entropy);
    let (old, new) = (EpochSecret::generate(&mut entropy), EpochSecret::generate(&mut entropy));
    let keys = EpochKeys::derive(&workspace(), &new);
    let old_id = EpochKeys::derive(&workspace(), &old).epoch();
    let [first, second] = bodies().map(|body| body.encode().unwrap());
    let entry = keys.seal_entry(draft(&device), &first, &device, &mut entropy).unwrap();
    let recipient = *device.id().as_bytes();
    let box_public = device.public().box_public;
    let wrap = wrap_epoch(&workspace(), recipient, &box_public, &new, &blinding, &mut entropy).unwrap();
    let section = keys.seal_section("name", b"context", b"Field notes", &mut entropy);
    let invite = link(&mut entropy);
    let recovery = recovery::made(&mut entropy);
    json!({
        "workspace": hex(workspace().as_bytes()),
        "device": { "secrets": hex(device.encode()), "id": hex(device.id().as_bytes()),
            "sign_public": hex(device.public().sign.to_bytes()), "box_public": hex(box_public) },
        "blinding": { "key": hex(blinding.as_bytes()), "commitment": hex(blinding.commitment()),
            "document_id": hex(DOCUMENT.as_bytes()),
            "document_tag": hex(blinding.document_tag(&DOCUMENT).as_bytes()) },
        "epoch": { "secret": hex(new.as_bytes()), "id": hex(keys.epoch().as_bytes()) },
        "previous": { "secret": hex(old.as_bytes()), "id": hex(old_id.as_bytes()),
            "sealed": hex(keys.seal_previous(old_id, &old).sealed) },
        "wrap": { "recipient": hex(wrap.recipient), "encapsulated": hex(wrap.encapsulated),
            "sealed": hex(wrap.sealed) },
        "entry": { "body": hex(&first), "bytes": hex(entry.encode()),
            "hash": hex(entry.hash().as_bytes()) },
        "body": { "bytes": hex(&second) },
        "section": { "label": "name", "context": hex(b"context"), "plaintext": hex(b"Field notes"),
            "sealed": hex(&section) },
        "invite": { "text": invite.to_string(), "secret": hex(invite.secret.as_bytes()),
            "sign_public": hex(invite.secret.sign_key().public()),
            "box_public": hex(invite.secret.box_public()) },
        "recovery": recovery,
        "link": linking::made(),
    })
}

#[test]
fn the_bytes_are_those_that_were_published() {
    let made = serde_json::to_string_pretty(&made()).unwrap() + "\n";
    if std::env::var_os("TOMBOLO_BLESS").is_some() {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), &made).unwrap();
    }
    let kept = std::fs::read_to_string(path()).unwrap();
    assert!(kept == made, "the bytes changed: a new version of the protocol, or a mistake");
}

/// The stored file.
struct Kept(Value);

impl Kept {
    fn read() -> Self {
        Self(serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap())
    }

    fn text(&self, section: &str, field: &str) -> &str {
        self.0[section][field].as_str().unwrap()
    }

    fn bytes(&self, section: &str, field: &str) -> Vec<u8> {
        HEXLOWER.decode(self.text(section, field).as_bytes()).unwrap()
    }

    fn array<const N: usize>(&self, section: &str, field: &str) -> [u8; N] {
        self.bytes(section, field).try_into().unwrap()
    }

    fn keys(&self) -> EpochKeys {
        let secret = EpochSecret::from_bytes(self.array("epoch", "secret"));
        EpochKeys::derive(&workspace(), &secret)
    }
}

#[test]
fn the_stored_secrets_lead_to_the_stored_ids() {
    let kept = Kept::read();
    let device = DeviceSecrets::decode(&kept.bytes("device", "secrets")).unwrap();
    assert_eq!(hex(device.id().as_bytes()), kept.text("device", "id"));
    assert_eq!(kept.keys().epoch().as_bytes(), &kept.array("epoch", "id"));
    let blinding = BlindingKey::from_bytes(kept.array("blinding", "key"));
    assert_eq!(blinding.commitment(), kept.array("blinding", "commitment"));
    let tag = blinding.document_tag(&DOCUMENT);
    assert_eq!(tag.as_bytes(), &kept.array("blinding", "document_tag"));
}

#[test]
fn what_was_stored_sealed_opens_to_what_was_stored_clear() {
    let kept = Kept::read();
    let (keys, device) = (kept.keys(), DeviceSecrets::decode(&kept.bytes("device", "secrets")).unwrap());
    let entry = Entry::decode(&kept.bytes("entry", "bytes")).unwrap();
    assert_eq!(entry.verify(&device.public().sign), Ok(()));
    let body = keys.open_entry(&entry).unwrap();
    assert_eq!(body.to_vec(), kept.bytes("entry", "body"));
    let [first, second] = bodies();
    assert_eq!(Body::decode(&body), Ok(first));
    assert_eq!(Body::decode(&kept.bytes("body", "bytes")), Ok(second));
    let context = kept.bytes("section", "context");
    let section = keys.open_section(kept.text("section", "label"), &context, &kept.bytes("section", "sealed")).unwrap();
    assert_eq!(section.to_vec(), kept.bytes("section", "plaintext"));
}

#[test]
fn the_stored_wrap_and_earlier_epoch_give_their_secrets() {
    let kept = Kept::read();
    let device = DeviceSecrets::decode(&kept.bytes("device", "secrets")).unwrap();
    let wrap = EpochWrap {
        recipient: kept.array("wrap", "recipient"),
        encapsulated: kept.array("wrap", "encapsulated"),
        sealed: kept.array("wrap", "sealed"),
    };
    let id = EpochId::from_bytes(kept.array("epoch", "id"));
    let (secret, blinding) = unwrap_epoch(&workspace(), &id, &wrap, device.box_secret()).unwrap();
    assert_eq!(secret.as_bytes(), &kept.array("epoch", "secret"));
    assert_eq!(blinding.as_bytes(), &kept.array("blinding", "key"));
    let previous = PreviousEpoch {
        epoch: EpochId::from_bytes(kept.array("previous", "id")),
        sealed: kept.array("previous", "sealed"),
    };
    let secret = kept.keys().open_previous(&previous, &workspace()).unwrap();
    assert_eq!(secret.as_bytes(), &kept.array("previous", "secret"));
}

#[test]
fn the_stored_link_reads_back() {
    let kept = Kept::read();
    let link: InviteLink = kept.text("invite", "text").parse().unwrap();
    assert_eq!(link.to_string(), kept.text("invite", "text"));
    assert_eq!(link.secret.as_bytes(), &kept.array("invite", "secret"));
    let sign = link.secret.sign_key().public();
    assert_eq!(sign, kept.array("invite", "sign_public"));
    assert_eq!(link.secret.box_public(), kept.array("invite", "box_public"));
}
