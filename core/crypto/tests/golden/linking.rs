//! A golden link: every message between two devices, the digits, and what the new one is given.

use data_encoding::HEXLOWER;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, Serializable as _};
use ring::hmac;
use serde_json::{Value, json};
use tombolo_crypto::*;
use tombolo_protocol::bytes::Reader;
use tombolo_protocol::hash::{hash, label_bytes};
use tombolo_protocol::identity::IdentityLog;

use crate::pair::{NOW, Pair, RELAY, linked, sent, shown, workspaces};
use crate::{Kept, hex};

type Kem = X25519HkdfSha256;

/// Draws that are filled with 1, 2, 3 and so on.
struct Pattern(u8);

impl Entropy for Pattern {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
        self.0 += 1;
    }
}

/// Two devices take 1 to 6, the token 7, and the new device's key 8.
const TOKEN: [u8; 16] = [7; 16];

fn mac(key: &[u8], label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let bytes = [&label_bytes(label), parts.concat().as_slice()].concat();
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &bytes).as_ref().to_vec()
}

/// The new device's key is drawn from its salt key, the last of its secrets.
fn ephemeral(device: &DeviceSecrets) -> <Kem as hpke::Kem>::PrivateKey {
    let secret = mac(&device.encode()[65..], "link-key", &[&[8; 32], &TOKEN]);
    <Kem as hpke::Kem>::PrivateKey::from_bytes(&secret).unwrap()
}

fn written(log: &IdentityLog) -> String {
    let mut bytes = Vec::new();
    log.write(&mut bytes);
    hex(bytes)
}

pub(crate) fn made() -> Value {
    let mut pair = Pair::new(Pattern(1));
    let before = written(&pair.log);
    let (mut new, mut approver, [commitment, answer, offer, signature], digits) = pair.until_digits();
    let request = new.request();
    let (text, message, rendezvous) = (request.to_text(), request.to_message(), request.rendezvous());
    let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
    let (approval, log) = pair.approve(confirmed).unwrap();
    linked(pair.tell_new(&mut new, &approval));
    let code = LinkCode::generate(&mut Pattern(0xc0));
    json!({
        "approver": hex(pair.old.encode()), "new_device": hex(pair.new.encode()), "log_before": before,
        "token": hex(TOKEN), "rendezvous": hex(rendezvous.as_bytes()),
        "ephemeral_secret": hex(ephemeral(&pair.new).to_bytes()),
        "text": text, "request": hex(message), "commitment": hex(commitment), "answer": hex(answer),
        "offer": hex(offer), "digits": digits.to_string(), "counter_signature": hex(signature),
        "approval": hex(approval), "log": written(&log),
        "code": code.to_text(), "code_rendezvous": hex(code.token().rendezvous().as_bytes()),
    })
}

fn transcript(kept: &Kept) -> [u8; 32] {
    let parts = ["token", "request", "commitment", "answer", "offer"].map(|field| kept.bytes("link", field));
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    hash("link-transcript", &parts)
}

#[test]
fn the_stored_messages_lead_to_the_stored_digits() {
    let kept = Kept::read();
    let token = kept.bytes("link", "token");
    assert_eq!(hex(&hash("link-rendezvous", &[&token])[..16]), kept.text("link", "rendezvous"));
    let commitment = mac(&token, "link-commitment", &[&kept.bytes("link", "offer")]);
    assert_eq!(kept.bytes("link", "commitment")[5..], commitment);
    let number = hash("link-digits", &[&transcript(&kept)]);
    let number = u64::from_be_bytes(*number.first_chunk().unwrap()) % 1_000_000;
    assert_eq!(format!("{number:06}"), kept.text("link", "digits").replace(' ', ""));
    let code: LinkCode = kept.text("link", "code").parse().unwrap();
    assert_eq!(code.token().rendezvous().as_bytes(), &kept.array("link", "code_rendezvous"));
    let request: LinkRequest = kept.text("link", "text").parse().unwrap();
    assert_eq!((hex(request.to_message()), request.relay()), (kept.text("link", "request").to_owned(), RELAY));
}

#[test]
fn the_stored_approval_opens_with_the_stored_key_and_nothing_of_ours() {
    let kept = Kept::read();
    let recipient = <Kem as hpke::Kem>::PrivateKey::from_bytes(&kept.bytes("link", "ephemeral_secret")).unwrap();
    let request = kept.bytes("link", "request");
    assert_eq!(Kem::sk_to_pk(&recipient).to_bytes().as_slice(), &request[5..37]);
    let sender = <Kem as hpke::Kem>::PublicKey::from_bytes(&kept.bytes("link", "offer")[5..37]).unwrap();
    let approval = kept.bytes("link", "approval");
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(&approval[5..37]).unwrap();
    let info = [label_bytes("link-approval"), transcript(&kept).to_vec()].concat();
    let (mode, aad) = (OpModeR::Auth(sender), &approval[..5]);
    let sealed = &approval[41..];
    let plaintext = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &mode,
        &recipient,
        &encapsulated,
        &info,
        sealed,
        aad,
    )
    .unwrap();
    let mut reader = Reader::new(&plaintext);
    let log = IdentityLog::read(&mut reader).unwrap();
    assert_eq!(written(&log), kept.text("link", "log"));
    let workspaces = [&[0, 2][..], &[0x11; 32], &[1]].concat();
    assert!(reader.take_rest().starts_with(&workspaces));
}

#[test]
fn a_new_device_that_hears_the_stored_messages_is_linked() {
    let kept = Kept::read();
    let device = DeviceSecrets::decode(&kept.bytes("link", "new_device")).unwrap();
    let mut entropy = Pattern(7);
    let token = LinkToken::generate(&mut entropy);
    let mut new = NewDevice::begin(&device, 3, RELAY, token, NOW, &mut entropy).unwrap();
    assert_eq!(new.request().to_text(), kept.text("link", "text"));
    let mut entropy = Pattern(11);
    let mut tell = |field| new.receive(&kept.bytes("link", field), &device, NOW, &mut entropy);
    assert_eq!(HEXLOWER.encode(&sent(tell("commitment"))), kept.text("link", "answer"));
    let (digits, signature) = shown(tell("offer"));
    assert_eq!(
        (digits.to_string(), hex(signature)),
        (kept.text("link", "digits").to_owned(), kept.text("link", "counter_signature").to_owned())
    );
    let approval = linked(tell("approval"));
    assert_eq!((written(&approval.log), approval.workspaces), (kept.text("link", "log").to_owned(), workspaces()));
}
