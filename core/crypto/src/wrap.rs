//! Wrapping an epoch's secret to a device or an invite: HPKE (RFC 9180), base mode, single shot.
//!
//! Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
//!
//! Invariant: a wrap is bound to its workspace, epoch and recipient; the secret that comes out is
//! checked against the epoch's id.

use std::collections::BTreeMap;
use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use tombolo_protocol::hash::label_bytes;
use tombolo_protocol::ids::{EpochId, WorkspaceId};
use tombolo_protocol::limits::{PREVIOUS_EPOCHS_MAX, WRAPS_MAX};
use tombolo_protocol::record::{EpochWrap, Rotation};
use zeroize::Zeroizing;

use crate::blinding::BlindingKey;
use crate::derive::OpenError;
use crate::entropy::Entropy;
use crate::epoch::{EpochKeys, EpochSecret};
use crate::hedge::Hedged;
use crate::secret::Secret32;

type Kem = X25519HkdfSha256;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;
type EncappedKey = <Kem as hpke::Kem>::EncappedKey;

/// Why an epoch can not be wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrapError {
    /// The recipient's public key is of small order: anybody could open the wrap.
    WeakKey {
        /// Whose key it is.
        recipient: [u8; 32],
    },
    /// One recipient is named with two keys.
    TwoKeys {
        /// Which recipient.
        recipient: [u8; 32],
    },
    /// An earlier secret does not fit the id it was given with.
    WrongEpoch {
        /// The id.
        epoch: EpochId,
    },
    /// The source of randomness gave the secret of an earlier epoch again: it is broken.
    RepeatedSecret,
    /// More recipients or previous epochs than one record may carry.
    TooMany {
        /// How many.
        count: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl fmt::Display for WrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WeakKey { .. } => f.write_str("a recipient's public key is weak"),
            Self::TwoKeys { .. } => f.write_str("a recipient is named with two keys"),
            Self::WrongEpoch { epoch } => {
                write!(f, "the secret given for epoch {} is another's", epoch.short())
            }
            Self::RepeatedSecret => f.write_str("the source of randomness repeats itself; keys can not be renewed"),
            Self::TooMany { count, limit } => {
                write!(f, "{count} recipients or epochs are over the limit of {limit}")
            }
        }
    }
}

impl std::error::Error for WrapError {}

/// Wraps an epoch's secret and the blinding key to one X25519 key.
///
/// # Errors
/// [`WrapError::WeakKey`] if the key is of small order.
pub fn wrap_epoch(
    workspace: &WorkspaceId,
    recipient: [u8; 32],
    box_public: &[u8; 32],
    secret: &EpochSecret,
    blinding: &BlindingKey,
    entropy: &mut dyn Entropy,
) -> Result<EpochWrap, WrapError> {
    let epoch = EpochKeys::derive(workspace, secret).epoch();
    let payload = (secret, blinding);
    seal_wrap(&binding(workspace, &epoch), recipient, box_public, payload, entropy)
}

/// Opens a wrap and checks that the secret fits the epoch.
///
/// # Errors
/// [`OpenError::Decrypt`] if it was made for another key, workspace, epoch or recipient,
/// [`OpenError::WrongEpoch`] if the secret inside does not fit the epoch's id.
pub fn unwrap_epoch(
    workspace: &WorkspaceId,
    expected: &EpochId,
    wrap: &EpochWrap,
    box_secret: &Secret32,
) -> Result<(EpochSecret, BlindingKey), OpenError> {
    let refused = |_| OpenError::Decrypt;
    let key = PrivateKey::from_bytes(box_secret.as_bytes()).map_err(refused)?;
    let encapsulated = EncappedKey::from_bytes(&wrap.encapsulated).map_err(refused)?;
    let plaintext = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Base,
        &key,
        &encapsulated,
        &binding(workspace, expected),
        &wrap.sealed,
        &wrap.recipient,
    );
    let plaintext = Zeroizing::new(plaintext.map_err(refused)?);
    let (secret, blinding) = plaintext.split_first_chunk::<32>().ok_or(OpenError::Decrypt)?;
    let secret = EpochSecret::from_bytes(*secret);
    let blinding = <[u8; 32]>::try_from(blinding).map_err(|_| OpenError::Decrypt)?;
    if EpochKeys::derive(workspace, &secret).epoch() != *expected {
        return Err(OpenError::WrongEpoch);
    }
    Ok((secret, BlindingKey::from_bytes(blinding)))
}

/// Begins a new epoch: draws its secret, wraps it to the recipients (id and X25519 key), and seals
/// the secrets of the epochs it follows.
///
/// A recipient that is named twice with the same key gets one wrap; an epoch that is named twice is
/// followed once.
///
/// # Errors
/// [`WrapError`] if a key is weak, a recipient has two keys, a secret is not its epoch's or comes
/// again, or a count is over its limit.
pub fn rotate(
    workspace: &WorkspaceId,
    recipients: &[([u8; 32], [u8; 32])],
    previous: &[(EpochId, &EpochSecret)],
    blinding: &BlindingKey,
    entropy: &mut dyn Entropy,
) -> Result<(EpochSecret, Rotation), WrapError> {
    let recipients = sorted(recipients)?;
    check_count(recipients.len(), WRAPS_MAX)?;
    let previous = checked_previous(workspace, previous)?;
    let secret = EpochSecret::generate(entropy);
    let keys = EpochKeys::derive(workspace, &secret);
    if previous.contains_key(&keys.epoch()) {
        return Err(WrapError::RepeatedSecret);
    }
    let binding = binding(workspace, &keys.epoch());
    let mut wraps = Vec::with_capacity(recipients.len());
    for (recipient, box_public) in recipients {
        let payload = (&secret, blinding);
        wraps.push(seal_wrap(&binding, recipient, &box_public, payload, entropy)?);
    }
    let rotation = Rotation {
        epoch: keys.epoch(),
        previous: previous.iter().map(|(epoch, secret)| keys.seal_previous(*epoch, secret)).collect(),
        wraps,
    };
    Ok((secret, rotation))
}

fn sorted(recipients: &[([u8; 32], [u8; 32])]) -> Result<BTreeMap<[u8; 32], [u8; 32]>, WrapError> {
    let mut sorted = BTreeMap::new();
    for (recipient, box_public) in recipients {
        let earlier = sorted.insert(*recipient, *box_public);
        if earlier.is_some_and(|earlier| earlier != *box_public) {
            return Err(WrapError::TwoKeys { recipient: *recipient });
        }
    }
    Ok(sorted)
}

/// A wrong secret would be found by its readers only, when nobody can mend the record.
fn checked_previous<'a>(
    workspace: &WorkspaceId,
    previous: &[(EpochId, &'a EpochSecret)],
) -> Result<BTreeMap<EpochId, &'a EpochSecret>, WrapError> {
    let sorted: BTreeMap<_, _> = previous.iter().copied().collect();
    check_count(sorted.len(), PREVIOUS_EPOCHS_MAX)?;
    for (epoch, secret) in &sorted {
        if EpochKeys::derive(workspace, secret).epoch() != *epoch {
            return Err(WrapError::WrongEpoch { epoch: *epoch });
        }
    }
    Ok(sorted)
}

fn check_count(count: usize, limit: usize) -> Result<(), WrapError> {
    if count > limit {
        return Err(WrapError::TooMany { count, limit });
    }
    Ok(())
}

fn binding(workspace: &WorkspaceId, epoch: &EpochId) -> Vec<u8> {
    let mut binding = label_bytes("epoch-wrap");
    binding.extend_from_slice(workspace.as_bytes());
    binding.extend_from_slice(epoch.as_bytes());
    binding
}

fn seal_wrap(
    binding: &[u8],
    recipient: [u8; 32],
    box_public: &[u8; 32],
    (secret, blinding): (&EpochSecret, &BlindingKey),
    entropy: &mut dyn Entropy,
) -> Result<EpochWrap, WrapError> {
    let weak = WrapError::WeakKey { recipient };
    let public = PublicKey::from_bytes(box_public).map_err(|_| weak)?;
    let mut plaintext = Zeroizing::new([0; 64]);
    let bytes = secret.as_bytes().iter().chain(blinding.as_bytes());
    for (to, from) in plaintext.iter_mut().zip(bytes) {
        *to = *from;
    }
    let (encapsulated, bytes) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &public,
        binding,
        plaintext.as_slice(),
        &recipient,
        &mut Hedged { entropy, key: secret.as_bytes(), label: "wrap-entropy" },
    )
    .map_err(|_| weak)?;
    Ok(EpochWrap {
        recipient,
        encapsulated: encapsulated.to_bytes().into(),
        sealed: bytes.try_into().map_err(|_| weak)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSecrets;

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_wrap_whose_secret_does_not_fit_the_epoch_it_was_made_for_is_refused() {
        let workspace = WorkspaceId::from_bytes([1; 32]);
        let device = DeviceSecrets::generate(&mut Fixed);
        let (promised, given) = (EpochSecret::from_bytes([2; 32]), EpochSecret::from_bytes([3; 32]));
        let epoch = EpochKeys::derive(&workspace, &promised).epoch();
        let lie = seal_wrap(
            &binding(&workspace, &epoch),
            *device.id().as_bytes(),
            &device.public().box_public,
            (&given, &BlindingKey::from_bytes([4; 32])),
            &mut Fixed,
        )
        .unwrap();
        let opened = unwrap_epoch(&workspace, &epoch, &lie, device.box_secret());
        assert_eq!(opened, Err(OpenError::WrongEpoch));
    }
}
