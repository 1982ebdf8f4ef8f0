//! Where the keys of epochs come from: one trait, so that another agreement on keys can take its place.
//!
//! What records carry stays as it is (an epoch's id, wraps, sealed earlier secrets); how a secret is drawn,
//! given and taken is behind [`EpochSource`]. [`HpkeWraps`] is the one that Tombolo uses: every epoch is drawn
//! by one device and wrapped to all who may read, which needs no order of commits and suits members who are
//! away for weeks.
//!
//! Invariant: a secret that is taken fits the id it was asked for.

use tombolo_protocol::ids::{EpochId, WorkspaceId};
use tombolo_protocol::membership::Recipient;
use tombolo_protocol::record::{EpochWrap, PreviousEpoch, Rotation};

use crate::blinding::BlindingKey;
use crate::derive::OpenError;
use crate::entropy::Entropy;
use crate::epoch::{EpochKeys, EpochSecret};
use crate::secret::Secret32;
use crate::wrap::{WrapError, rotate, unwrap_epoch, wrap_epoch};

/// Begins epochs, gives them to members, and takes what others gave.
pub trait EpochSource: Send + Sync {
    /// Begins an epoch for recipients, from which those it follows can be opened too.
    ///
    /// # Errors
    /// [`WrapError`] if a key is weak or named twice, a secret is not its epoch's, or there are too many.
    fn begin(
        &self,
        workspace: &WorkspaceId,
        recipients: &[Recipient],
        previous: &[(EpochId, &EpochSecret)],
        blinding: &BlindingKey,
        entropy: &mut dyn Entropy,
    ) -> Result<(EpochSecret, Rotation), WrapError>;

    /// Gives an epoch to one more recipient.
    ///
    /// # Errors
    /// [`WrapError::WeakKey`].
    fn give(
        &self,
        workspace: &WorkspaceId,
        recipient: &Recipient,
        secret: &EpochSecret,
        blinding: &BlindingKey,
        entropy: &mut dyn Entropy,
    ) -> Result<EpochWrap, WrapError>;

    /// Takes an epoch that was given to the holder of a key.
    ///
    /// # Errors
    /// [`OpenError`] if it was given to another, or is not the epoch it claims to be.
    fn take(
        &self,
        workspace: &WorkspaceId,
        epoch: &EpochId,
        wrap: &EpochWrap,
        box_secret: &Secret32,
    ) -> Result<(EpochSecret, BlindingKey), OpenError>;

    /// Takes the secret of an epoch that one follows which is held.
    ///
    /// # Errors
    /// [`OpenError`] if it is none of that epoch's, or is not the epoch it claims to be.
    fn take_previous(
        &self,
        workspace: &WorkspaceId,
        held: &EpochKeys,
        previous: &PreviousEpoch,
    ) -> Result<EpochSecret, OpenError>;
}

/// Epochs that are drawn by one device and wrapped to each recipient by HPKE.
#[derive(Clone, Copy, Debug, Default)]
pub struct HpkeWraps;

impl EpochSource for HpkeWraps {
    fn begin(
        &self,
        workspace: &WorkspaceId,
        recipients: &[Recipient],
        previous: &[(EpochId, &EpochSecret)],
        blinding: &BlindingKey,
        entropy: &mut dyn Entropy,
    ) -> Result<(EpochSecret, Rotation), WrapError> {
        rotate(workspace, recipients, previous, blinding, entropy)
    }

    fn give(
        &self,
        workspace: &WorkspaceId,
        (recipient, box_public): &Recipient,
        secret: &EpochSecret,
        blinding: &BlindingKey,
        entropy: &mut dyn Entropy,
    ) -> Result<EpochWrap, WrapError> {
        wrap_epoch(workspace, *recipient, box_public, secret, blinding, entropy)
    }

    fn take(
        &self,
        workspace: &WorkspaceId,
        epoch: &EpochId,
        wrap: &EpochWrap,
        box_secret: &Secret32,
    ) -> Result<(EpochSecret, BlindingKey), OpenError> {
        unwrap_epoch(workspace, epoch, wrap, box_secret)
    }

    fn take_previous(
        &self,
        workspace: &WorkspaceId,
        held: &EpochKeys,
        previous: &PreviousEpoch,
    ) -> Result<EpochSecret, OpenError> {
        held.open_previous(previous, workspace)
    }
}
