//! Linking a device, approving one, and the kit that survives the loss of all of them.
//!
//! Invariant: a kit is wiped when its last handle goes; what an app takes out of it as text is the app's to guard.

use std::sync::Arc;

use tokio::sync::Mutex;
use tombolo::protocol::ids::{DeviceId, UserId};
use tombolo::{ApprovalHandle, Error, LinkFailure, LinkRequestHandle, SystemEntropy};

use crate::error::TomboloError;
use crate::live::Live;
use crate::records::OrganisationRecovery;
use crate::runtime;

/// A request to become a user's device, while it is under way.
#[derive(Debug, uniffi::Object)]
pub struct LinkRequest {
    replica: tombolo::Replica,
    text: String,
    // Digits come before the link: who asks for both at once hears of them one after the other.
    core: Mutex<LinkRequestHandle>,
    _live: Live,
}

impl LinkRequest {
    pub(crate) fn new(replica: tombolo::Replica, core: LinkRequestHandle) -> Arc<Self> {
        Arc::new(Self { replica, text: core.text().to_owned(), core: Mutex::new(core), _live: Live::new() })
    }
}

#[uniffi::export]
impl LinkRequest {
    /// Returns what to show: the text of a QR code, or the code to type on the other device.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.clone()
    }

    /// Waits until the other device has answered, and returns the digits to show.
    ///
    /// # Errors
    /// `Input` if the link was given up, `Closed`.
    pub async fn digits(&self) -> Result<String, TomboloError> {
        Ok(self.core.lock().await.digits().await?.to_string())
    }

    /// Waits until this device is the user's, and returns whose it has become.
    ///
    /// # Errors
    /// As `digits`.
    pub async fn linked(&self) -> Result<UserId, TomboloError> {
        Ok(self.core.lock().await.linked().await?)
    }

    /// Gives the request up.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn cancel(&self) -> Result<(), TomboloError> {
        Ok(self.replica.cancel_link().await?)
    }
}

/// The approval of a new device, while it is under way.
#[derive(Debug, uniffi::Object)]
pub struct LinkApproval {
    replica: tombolo::Replica,
    core: Mutex<Option<ApprovalHandle>>,
    _live: Live,
}

impl LinkApproval {
    pub(crate) fn new(replica: tombolo::Replica, core: ApprovalHandle) -> Arc<Self> {
        Arc::new(Self { replica, core: Mutex::new(Some(core)), _live: Live::new() })
    }
}

#[uniffi::export]
impl LinkApproval {
    /// Waits until the new device shows its digits; then ask the person for them.
    ///
    /// # Errors
    /// `Input` if the link was given up, `Closed`.
    pub async fn asked(&self) -> Result<DeviceId, TomboloError> {
        match self.core.lock().await.as_mut() {
            Some(approval) => Ok(approval.asked().await?),
            None => Err(LinkFailure::NoLink.into()),
        }
    }

    /// Takes the digits that a person read on the new device; there is one attempt.
    ///
    /// # Errors
    /// `Input` if they are wrong or too late, `Store`.
    pub async fn confirm(&self, digits: String) -> Result<(), TomboloError> {
        let approval = self.core.lock().await.take().ok_or(Error::Link(LinkFailure::NoLink))?;
        Ok(approval.confirm(&digits).await?)
    }

    /// Gives the approval up.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn cancel(&self) -> Result<(), TomboloError> {
        Ok(self.replica.cancel_link().await?)
    }
}

/// A recovery kit: keep it as words, a page, a file or shares; what was read back is confirmed.
#[derive(Debug, uniffi::Object)]
pub struct RecoveryKit {
    core: tombolo::crypto::RecoveryKit,
    _live: Live,
}

impl RecoveryKit {
    pub(crate) fn new(core: tombolo::crypto::RecoveryKit) -> Arc<Self> {
        Arc::new(Self { core, _live: Live::new() })
    }

    /// Makes another copy, for a call that takes it away.
    pub(crate) fn duplicate(&self) -> Result<tombolo::crypto::RecoveryKit, TomboloError> {
        duplicate(&self.core)
    }
}

pub(crate) fn duplicate(kit: &tombolo::crypto::RecoveryKit) -> Result<tombolo::crypto::RecoveryKit, TomboloError> {
    let read = tombolo::crypto::RecoveryKit::from_words(&kit.words())?;
    Ok(read.with_relays(kit.relays().to_vec())?)
}

#[uniffi::export]
impl RecoveryKit {
    /// Reads 24 words.
    ///
    /// # Errors
    /// `Input`.
    #[uniffi::constructor]
    pub fn from_words(words: &str) -> Result<Arc<Self>, TomboloError> {
        Ok(Self::new(tombolo::crypto::RecoveryKit::from_words(words)?))
    }

    /// Reads shares, of which there are enough.
    ///
    /// # Errors
    /// `Input`.
    #[uniffi::constructor]
    pub fn from_shares(shares: Vec<String>) -> Result<Arc<Self>, TomboloError> {
        let shares: Vec<&str> = shares.iter().map(String::as_str).collect();
        Ok(Self::new(tombolo::crypto::RecoveryKit::from_shares(&shares)?))
    }

    /// Opens a file with its passphrase.
    ///
    /// # Errors
    /// `Input`.
    #[uniffi::constructor]
    pub async fn from_file(bytes: Vec<u8>, passphrase: String) -> Result<Arc<Self>, TomboloError> {
        let open = move || Ok(tombolo::crypto::RecoveryKit::from_file(&bytes, &passphrase)?);
        Ok(Self::new(runtime::run_blocking(open).await?))
    }

    /// Returns whose kit it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.core.user()
    }

    /// Returns the relays that it names.
    #[must_use]
    pub fn relays(&self) -> Vec<String> {
        self.core.relays().to_vec()
    }

    /// Returns the key by which an organisation with this kit can be given workspaces.
    #[must_use]
    pub fn organisation(&self) -> OrganisationRecovery {
        self.core.organisation()
    }

    /// Returns its 24 words.
    #[must_use]
    pub fn words(&self) -> String {
        self.core.words().to_string()
    }

    /// Returns a page to print.
    #[must_use]
    pub fn sheet(&self, date: &str) -> String {
        self.core.to_sheet(date).to_string()
    }

    /// Seals it under a passphrase, as a file.
    ///
    /// # Errors
    /// `Input` if there is too little memory.
    pub async fn file(&self, passphrase: String) -> Result<Vec<u8>, TomboloError> {
        let kit = self.duplicate()?;
        runtime::run_blocking(move || Ok(kit.to_file(&passphrase, &mut SystemEntropy::new())?)).await
    }

    /// Cuts it into shares, of which `need` are enough.
    ///
    /// # Errors
    /// `Input` for numbers with which nobody can share.
    pub fn shares(&self, need: u8, of: u8) -> Result<Vec<String>, TomboloError> {
        let shares = self.core.to_shares(need, of, &mut SystemEntropy::new())?;
        Ok(shares.iter().map(|share| share.to_text().to_string()).collect())
    }
}
