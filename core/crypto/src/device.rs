//! The secrets of a device and of a user.
//!
//! Invariant: they are made here from entropy or read back from their one encoding, which leaves the
//! process only sealed; the public halves always fit.

use std::fmt;

use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use tombolo_protocol::bytes::{DecodeError, Reader};
use tombolo_protocol::identity::DeviceKeys;
use tombolo_protocol::ids::{DeviceId, UserId};
use tombolo_protocol::keys::{KeyError, SignKey};
use zeroize::Zeroizing;

use crate::derive::{expand_secret, extract};
use crate::entropy::{Entropy, array};
use crate::secret::Secret32;

const VERSION: u8 = 1;
const ENCODED_BYTES: usize = 1 + 3 * 32;

/// Why stored bytes are not the secrets of a device: the store is damaged or of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// The bytes break the layout.
    Malformed(DecodeError),
    /// The public keys they lead to are none.
    Key(KeyError),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "the stored device secrets are damaged: {error}"),
            Self::Key(error) => write!(f, "the stored device secrets are damaged: {error}"),
        }
    }
}

impl std::error::Error for SecretError {}

impl From<DecodeError> for SecretError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<KeyError> for SecretError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// What only this device has: its signing key, the key that secrets are wrapped to, and the key of
/// its hedged salts.
pub struct DeviceSecrets {
    sign: SignKey,
    box_secret: Secret32,
    salt_key: Secret32,
    public: DeviceKeys,
}

impl DeviceSecrets {
    /// Draws the secrets of a new device.
    #[expect(
        clippy::expect_used,
        reason = "Ed25519 and X25519 clamp their scalars, so a public key is never of small order"
    )]
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let sign = Zeroizing::new(array(entropy));
        let (box_secret, salt_key) = (Secret32::generate(entropy), Secret32::generate(entropy));
        Self::assemble(&sign, box_secret, salt_key).expect("clamped scalars give sound keys")
    }

    /// Writes them, to be sealed at once.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(ENCODED_BYTES));
        out.push(VERSION);
        out.extend_from_slice(self.sign.to_seed().as_slice());
        out.extend_from_slice(self.box_secret.as_bytes());
        out.extend_from_slice(self.salt_key.as_bytes());
        out
    }

    /// Reads them back.
    ///
    /// # Errors
    /// [`SecretError`] if the bytes are damaged or of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Self, SecretError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(SecretError::Malformed(DecodeError::Unknown {
                field: "device secrets version",
                value: u64::from(version),
            }));
        }
        let sign = Zeroizing::new(reader.array()?);
        let box_secret = Secret32::from_bytes(reader.array()?);
        let salt_key = Secret32::from_bytes(reader.array()?);
        reader.finish()?;
        Ok(Self::assemble(&sign, box_secret, salt_key)?)
    }

    /// Returns the key that signs.
    #[must_use]
    pub fn sign_key(&self) -> &SignKey {
        &self.sign
    }

    /// Returns the public halves.
    #[must_use]
    pub fn public(&self) -> DeviceKeys {
        self.public
    }

    /// Returns the device's id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.public.id()
    }

    /// Returns the X25519 secret that epochs are wrapped to.
    #[must_use]
    pub fn box_secret(&self) -> &Secret32 {
        &self.box_secret
    }

    pub(crate) fn salt_key(&self) -> &Secret32 {
        &self.salt_key
    }

    fn assemble(seed: &[u8; 32], box_secret: Secret32, salt_key: Secret32) -> Result<Self, KeyError> {
        let sign = SignKey::from_seed(seed);
        let public = DeviceKeys::parse(&sign.public(), &box_public(&box_secret))?;
        Ok(Self { sign, box_secret, salt_key, public })
    }
}

impl fmt::Debug for DeviceSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSecrets({}, secret)", self.id().short())
    }
}

/// The root of a user: signs their first device; its seed is the recovery kit.
pub struct UserRoot(SignKey);

impl UserRoot {
    /// Draws a new root.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self::from_seed(&Zeroizing::new(array(entropy)))
    }

    /// Derives it from the seed of a recovery kit.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SignKey::from_seed(seed))
    }

    /// Returns the seed, for the recovery kit alone.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.0.to_seed()
    }

    /// Returns the key that signs.
    #[must_use]
    pub fn sign_key(&self) -> &SignKey {
        &self.0
    }

    /// Returns whose root it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        UserId::derive(&self.0.public())
    }

    /// Returns the X25519 secret of the recovery box: epochs are wrapped to it, so that a user who has
    /// lost all devices can read again.
    #[must_use]
    pub fn box_secret(&self) -> Secret32 {
        let prk = extract(b"tombolo/v1/recovery", self.seed().as_slice());
        expand_secret(&prk, "recovery-box", &[])
    }

    /// Returns the X25519 public key of the recovery box.
    #[must_use]
    pub fn box_public(&self) -> [u8; 32] {
        box_public(&self.box_secret())
    }
}

impl fmt::Debug for UserRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserRoot(secret)")
    }
}

/// Returns the X25519 public key of a secret.
#[expect(clippy::expect_used, reason = "any 32 bytes are an X25519 secret")]
pub(crate) fn box_public(secret: &Secret32) -> [u8; 32] {
    let secret =
        <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(secret.as_bytes()).expect("32 bytes are a secret");
    X25519HkdfSha256::sk_to_pk(&secret).to_bytes().into()
}
