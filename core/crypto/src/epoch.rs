//! The secret of an epoch and the keys that follow from it.
//!
//! Invariant: an epoch's id commits to its secret within its workspace; on every path a secret
//! arrives by, the id is computed again and compared.

use std::fmt;

use tombolo_protocol::ids::{DocumentTag, EpochId, WorkspaceId};
use tombolo_protocol::record::PreviousEpoch;
use zeroize::Zeroizing;

use crate::derive::{KeyNonce, OpenError, expand, expand_secret, extract};
use crate::entropy::Entropy;
use crate::secret::Secret32;

/// The random secret that an epoch begins with.
#[derive(PartialEq, Eq)]
pub struct EpochSecret(Secret32);

impl EpochSecret {
    /// Draws the secret of a new epoch.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self(Secret32::generate(entropy))
    }

    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret32::from_bytes(bytes))
    }

    /// Returns the bytes, to be sealed at once.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Makes another copy.
    #[must_use]
    pub const fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl fmt::Debug for EpochSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochSecret(secret)")
    }
}

/// What is derived from an epoch's secret: opens and seals all of the epoch.
pub struct EpochKeys {
    epoch: EpochId,
    prk: Secret32,
}

impl EpochKeys {
    /// Derives the keys of an epoch of a workspace.
    #[must_use]
    pub fn derive(workspace: &WorkspaceId, secret: &EpochSecret) -> Self {
        let prk = extract(workspace.as_bytes(), secret.as_bytes());
        let epoch = EpochId::from_bytes(*expand::<32>(&prk, "epoch-id", &[]));
        Self { epoch, prk }
    }

    /// Returns the id, which commits to the secret.
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// Seals an earlier epoch's secret under this one.
    ///
    /// Needs no salt: the derived key is used for this one secret, which `previous` commits to.
    #[must_use]
    pub fn seal_previous(&self, previous: EpochId, secret: &EpochSecret) -> PreviousEpoch {
        let plaintext = Zeroizing::new(secret.as_bytes().to_vec());
        let mut bytes = Vec::with_capacity(48);
        self.previous_key(&previous).seal(previous.as_bytes(), plaintext, &mut bytes);
        let mut sealed = [0; 48];
        for (to, from) in sealed.iter_mut().zip(&bytes) {
            *to = *from;
        }
        PreviousEpoch { epoch: previous, sealed }
    }

    /// Opens an earlier epoch's secret.
    ///
    /// # Errors
    /// [`OpenError::Decrypt`] if it was not sealed under this epoch, [`OpenError::WrongEpoch`] if
    /// the secret does not fit the id it came with.
    pub fn open_previous(&self, previous: &PreviousEpoch, workspace: &WorkspaceId) -> Result<EpochSecret, OpenError> {
        let plaintext = self.previous_key(&previous.epoch).open(previous.epoch.as_bytes(), &previous.sealed)?;
        let bytes = <[u8; 32]>::try_from(plaintext.as_slice()).map_err(|_| OpenError::Decrypt)?;
        let secret = EpochSecret::from_bytes(bytes);
        if Self::derive(workspace, &secret).epoch != previous.epoch {
            return Err(OpenError::WrongEpoch);
        }
        Ok(secret)
    }

    pub(crate) fn prk(&self) -> &Secret32 {
        &self.prk
    }

    pub(crate) fn document_prk(&self, document: &DocumentTag) -> Secret32 {
        expand_secret(&self.prk, "document", &[document.as_bytes()])
    }

    fn previous_key(&self, previous: &EpochId) -> KeyNonce {
        KeyNonce::derive(&self.prk, "previous-epoch", &[previous.as_bytes()])
    }
}

impl fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochKeys({}, secret)", self.epoch.short())
    }
}
