//! The last message of a link: the certificate and what the new device needs to sync, sealed to it.
//!
//! HPKE (RFC 9180) in auth mode: only who holds the key of the offer can have sealed it, only who holds
//! the key of the request opens it, and both must have seen the same transcript.
//!
//! Invariant: what opens is checked: the log makes the new device the offered user's, by the offering
//! device; each secret fits its epoch.

use std::collections::BTreeMap;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use tombolo_protocol::bytes::{DecodeError, Reader, put_run};
use tombolo_protocol::hash::label_bytes;
use tombolo_protocol::identity::{DeviceKeys, Identity, IdentityLog};
use tombolo_protocol::ids::{EpochId, WorkspaceId};
use tombolo_protocol::keys::KeyError;
use tombolo_protocol::limits::{IDENTITY_RECORDS_MAX, LINK_APPROVAL_BYTES_MAX};
use zeroize::Zeroizing;

use super::LinkError;
use super::message::{Kind, Offer, Transcript, begin, read_kind};
use crate::addresses;
use crate::blinding::BlindingKey;
use crate::entropy::Entropy;
use crate::epoch::{EpochKeys, EpochSecret};
use crate::hedge::Hedged;
use crate::secret::Secret32;

type Kem = X25519HkdfSha256;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;

/// Workspaces that one approval carries: as many as a session has open.
pub const LINK_WORKSPACES_MAX: usize = tombolo_protocol::limits::OPEN_WORKSPACES_MAX;

/// Bytes that a workspace takes at least: id, no keys, no addresses.
const WORKSPACE_BYTES_MIN: usize = 34;
/// Bytes around what is sealed: head, encapsulated key, length, tag.
const ENVELOPE_BYTES: usize = 5 + 32 + 4 + 16;

/// What a new device needs to sync one workspace.
#[derive(Debug, PartialEq, Eq)]
pub struct LinkedWorkspace {
    /// Where it is found.
    pub relays: Vec<String>,
    /// Its newest epoch's secret and its blinding key; none for who only carries it. The blinding key is
    /// to be compared with the genesis, as wherever it comes from.
    pub keys: Option<(EpochSecret, BlindingKey)>,
}

/// What a new device is given.
#[derive(Debug, PartialEq, Eq)]
pub struct Approval {
    /// The user's devices, the new one among them.
    pub log: IdentityLog,
    /// The user's workspaces.
    pub workspaces: BTreeMap<WorkspaceId, LinkedWorkspace>,
}

/// Seals an approval to the key of a request, with the key of an offer.
pub(super) fn seal(
    log: &IdentityLog,
    workspaces: &BTreeMap<WorkspaceId, LinkedWorkspace>,
    (recipient, sender): (&[u8; 32], &Secret32),
    transcript: &Transcript,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, LinkError> {
    let plaintext = encode(log, workspaces)?;
    let weak = |_| LinkError::Key(KeyError::WeakKey);
    let recipient = PublicKey::from_bytes(recipient).map_err(weak)?;
    let sender = PrivateKey::from_bytes(sender.as_bytes()).map_err(weak)?;
    let public = Kem::sk_to_pk(&sender);
    let mut out = begin(Kind::Approval);
    let (encapsulated, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Auth((sender, public)),
        &recipient,
        &binding(transcript),
        &plaintext,
        &out,
        &mut Hedged { entropy, key: &plaintext, label: "link-entropy" },
    )
    .map_err(weak)?;
    out.extend_from_slice(&encapsulated.to_bytes());
    put_run(&mut out, &sealed);
    Ok(out)
}

/// Opens an approval and checks what it says.
pub(super) fn open(
    bytes: &[u8],
    recipient: &Secret32,
    keys: &DeviceKeys,
    offer: &Offer,
    transcript: &Transcript,
) -> Result<Approval, LinkError> {
    let mut reader = read_kind(bytes, Kind::Approval)?;
    let encapsulated: [u8; 32] = reader.array()?;
    let sealed = reader.run("approval", LINK_APPROVAL_BYTES_MAX)?;
    reader.finish()?;
    let refused = |_| LinkError::Decrypt;
    let sender = PublicKey::from_bytes(&offer.ephemeral).map_err(refused)?;
    let plaintext = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Auth(sender),
        &PrivateKey::from_bytes(recipient.as_bytes()).map_err(refused)?,
        &<Kem as hpke::Kem>::EncappedKey::from_bytes(&encapsulated).map_err(refused)?,
        &binding(transcript),
        sealed,
        &begin(Kind::Approval),
    );
    let approval = decode(&Zeroizing::new(plaintext.map_err(refused)?))?;
    let identity = Identity::evaluate(&approval.log)?;
    let certified = identity.user == offer.user
        && identity.devices.get(&keys.id()) == Some(keys)
        && identity.devices.contains_key(&offer.approver);
    if certified { Ok(approval) } else { Err(LinkError::KeyMismatch) }
}

fn binding(transcript: &Transcript) -> Vec<u8> {
    let mut binding = label_bytes("link-approval");
    binding.extend_from_slice(&transcript.0);
    binding
}

fn encode(
    log: &IdentityLog,
    workspaces: &BTreeMap<WorkspaceId, LinkedWorkspace>,
) -> Result<Zeroizing<Vec<u8>>, LinkError> {
    check_count("devices", log.records.len(), IDENTITY_RECORDS_MAX)?;
    check_count("workspaces", workspaces.len(), LINK_WORKSPACES_MAX)?;
    // The buffer never moves, so it leaves no copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(LINK_APPROVAL_BYTES_MAX));
    log.write(&mut out);
    out.extend_from_slice(&(workspaces.len() as u16).to_be_bytes());
    for (workspace, linked) in workspaces {
        addresses::check(&linked.relays)?;
        out.extend_from_slice(workspace.as_bytes());
        out.push(u8::from(linked.keys.is_some()));
        if let Some((secret, blinding)) = &linked.keys {
            out.extend_from_slice(EpochKeys::derive(workspace, secret).epoch().as_bytes());
            out.extend_from_slice(secret.as_bytes());
            out.extend_from_slice(blinding.as_bytes());
        }
        addresses::write(&linked.relays, &mut out);
        check_count("bytes of approval", out.len(), LINK_APPROVAL_BYTES_MAX - ENVELOPE_BYTES)?;
    }
    Ok(out)
}

fn decode(plaintext: &[u8]) -> Result<Approval, LinkError> {
    let mut reader = Reader::new(plaintext);
    let log = IdentityLog::read(&mut reader)?;
    let count = reader.count("workspaces", LINK_WORKSPACES_MAX, WORKSPACE_BYTES_MIN)?;
    let mut workspaces = BTreeMap::new();
    for _ in 0..count {
        let workspace = WorkspaceId::read(&mut reader)?;
        if workspaces.last_key_value().is_some_and(|(last, _)| *last >= workspace) {
            return Err(DecodeError::Invalid { field: "workspaces" }.into());
        }
        let linked = read_workspace(&workspace, &mut reader)?;
        workspaces.insert(workspace, linked);
    }
    reader.finish()?;
    Ok(Approval { log, workspaces })
}

fn read_workspace(workspace: &WorkspaceId, reader: &mut Reader<'_>) -> Result<LinkedWorkspace, LinkError> {
    let keys = match reader.u8()? {
        0 => None,
        1 => {
            let epoch = EpochId::read(reader)?;
            let secret = EpochSecret::from_bytes(reader.array()?);
            if EpochKeys::derive(workspace, &secret).epoch() != epoch {
                return Err(LinkError::WrongEpoch);
            }
            Some((secret, BlindingKey::from_bytes(reader.array()?)))
        }
        _ => return Err(DecodeError::Invalid { field: "workspace keys" }.into()),
    };
    let relays = addresses::read(reader)?;
    addresses::check(&relays)?;
    Ok(LinkedWorkspace { relays, keys })
}

fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), LinkError> {
    if count > limit { Err(LinkError::TooMany { what, count, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use tombolo_protocol::identity::IdentityRecord;
    use tombolo_protocol::keys::{SignKey, VerifyKey};

    use super::*;
    use crate::device::{DeviceSecrets, UserRoot};

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn log() -> IdentityLog {
        let (root, device) = (UserRoot::from_seed(&[1; 32]), DeviceSecrets::generate(&mut Fixed));
        let record = IdentityRecord::first(root.sign_key(), device.public(), 1, device.sign_key());
        let root: &SignKey = root.sign_key();
        IdentityLog { root: VerifyKey::parse(&root.public()).unwrap(), records: vec![record] }
    }

    fn keyed(byte: u8) -> (WorkspaceId, LinkedWorkspace) {
        let keys = (EpochSecret::from_bytes([byte; 32]), BlindingKey::from_bytes([byte; 32]));
        (WorkspaceId::from_bytes([byte; 32]), LinkedWorkspace { relays: Vec::new(), keys: Some(keys) })
    }

    #[test]
    fn an_approval_names_each_workspace_once_in_order_with_secrets_that_fit() {
        let workspaces = BTreeMap::from([keyed(1), keyed(2)]);
        let bytes = encode(&log(), &workspaces).unwrap();
        assert_eq!(decode(&bytes).unwrap().workspaces, workspaces);
        let item = 32 + 1 + 3 * 32 + 1;
        let (first, second) = (bytes.len() - 2 * item, bytes.len() - item);
        let mut swapped = bytes[..first].to_vec();
        swapped.extend_from_slice(&bytes[second..]);
        swapped.extend_from_slice(&bytes[first..second]);
        assert_eq!(decode(&swapped), Err(DecodeError::Invalid { field: "workspaces" }.into()));
        let mut twice = bytes[..second].to_vec();
        twice.extend_from_slice(&bytes[first..second]);
        assert_eq!(decode(&twice), Err(DecodeError::Invalid { field: "workspaces" }.into()));
        for at in [first + 33, first + 65] {
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            assert_eq!(decode(&other), Err(LinkError::WrongEpoch), "at {at}");
        }
    }

    #[test]
    fn nothing_is_sealed_to_a_key_of_small_order() {
        let transcript = Transcript([0; 32]);
        let ends = (&[0; 32], &Secret32::from_bytes([9; 32]));
        let sealed = seal(&log(), &BTreeMap::new(), ends, &transcript, &mut Fixed);
        assert_eq!(sealed, Err(LinkError::Key(KeyError::WeakKey)));
    }

    #[test]
    fn a_new_device_takes_only_a_log_that_makes_it_the_offered_users_by_the_offering_device() {
        let (sender, recipient) = (Secret32::from_bytes([8; 32]), Secret32::from_bytes([9; 32]));
        let (log, transcript) = (log(), Transcript([0; 32]));
        let identity = Identity::evaluate(&log).unwrap();
        let (device, keys) = identity.devices.first_key_value().unwrap();
        let public = |secret: &Secret32| crate::device::box_public(secret);
        let ephemeral = public(&sender);
        let sealed = seal(&log, &BTreeMap::new(), (&public(&recipient), &sender), &transcript, &mut Fixed).unwrap();
        let honest = Offer { ephemeral, nonce: [0; 32], user: identity.user, approver: *device, heads: vec![[0; 32]] };
        let opened = |keys: &DeviceKeys, offer: &Offer| open(&sealed, &recipient, keys, offer, &transcript).map(|_| ());
        assert_eq!(opened(keys, &honest), Ok(()));
        let mismatch = Err(LinkError::KeyMismatch);
        let stranger = UserRoot::from_seed(&[2; 32]).user();
        assert_eq!(opened(keys, &Offer { user: stranger, ..honest.clone() }), mismatch);
        let unknown = tombolo_protocol::ids::DeviceId::from_bytes([3; 32]);
        assert_eq!(opened(keys, &Offer { approver: unknown, ..honest.clone() }), mismatch);
        let other = DeviceKeys::parse(&keys.sign.to_bytes(), &ephemeral).unwrap();
        assert_eq!(opened(&other, &honest), mismatch);
        let impostor = Offer { ephemeral: public(&recipient), ..honest.clone() };
        assert_eq!(opened(keys, &impostor), Err(LinkError::Decrypt));
    }
}
