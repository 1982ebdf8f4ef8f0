//! All that a relay may not know: sealing, epochs, key wraps, invite links, vaults, the store's cipher.
//!
//! | module | one sentence |
//! |---|---|
//! | [`entropy`], [`secret`] | randomness as an argument; 32 bytes that are wiped and never printed |
//! | [`device`], [`blinding`], [`epoch`] | the secrets of a device, a user, a workspace and an epoch |
//! | [`entry`], [`section`], [`body`] | sealing entries and small values, and what an entry's plaintext says |
//! | [`source`], [`wrap`], [`invite`] | how an epoch's secret is drawn and reaches a device |
//! | [`unzip()`] | decompressing |
//! | [`vault`], [`store`] | where the store's key is kept, and how values rest under it |
//!
//! Nothing here reads a clock or draws randomness of its own. Errors never carry secrets or plaintext.

mod addresses;
pub mod blinding;
pub mod body;
mod derive;
pub mod device;
pub mod entropy;
pub mod entry;
pub mod epoch;
mod hedge;
pub mod invite;
mod kdf;
pub mod linking;
mod padding;
pub mod recovery;
pub mod secret;
pub mod section;
pub mod source;
pub mod store;
mod typed;
mod unzip;
pub mod vault;
pub mod wrap;

pub use blinding::BlindingKey;
pub use body::{Body, BodyError, CHANGES_MAX, Creation, Dep};
pub use derive::OpenError;
pub use device::{DeviceSecrets, SecretError, UserRoot};
pub use entropy::{Entropy, array};
pub use entry::{EntryDraft, SealError};
pub use epoch::{EpochKeys, EpochSecret};
pub use invite::{InviteLink, InviteLinkError, InviteSecret};
pub use linking::{
    Approval, Approver, ApproverStep, Confirmed, LinkCode, LinkDigits, LinkError, LinkRequest, LinkToken,
    LinkedWorkspace, NewDevice, NewDeviceStep, SpentLinks,
};
pub use recovery::{KitShare, RecoveryError, RecoveryKit, ShareError};
pub use secret::Secret32;
pub use source::{EpochSource, HpkeWraps};
pub use store::StoreCipher;
pub use unzip::unzip;
pub use vault::{FileVault, KeyVault, MemoryVault, PassphraseVault, VaultError};
pub use wrap::{WrapError, rotate, unwrap_epoch, wrap_epoch};
