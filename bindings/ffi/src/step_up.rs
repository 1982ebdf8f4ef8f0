//! A second factor that is being shown to a relay.

use std::sync::Arc;

use tokio::sync::Mutex;
use tombolo::StepUpHandle;
pub use tombolo::{StepUpMethod, StepUpRefusal};

use crate::error::TomboloError;
use crate::live::Live;

/// How a device shows more than its key.
#[uniffi::remote(Enum)]
pub enum StepUpMethod {
    /// The device's own word that it has verified its user: an audit hint.
    UserVerified,
    /// A code by time, of a secret that the relay and the user's authenticator share.
    Totp,
    /// An id token of a login provider, bound to the device.
    Oidc,
}

/// Why a second factor is not taken.
#[uniffi::remote(Enum)]
pub enum StepUpRefusal {
    /// The relay does not offer this one, or the user has none.
    NotOffered,
    /// There is no question that it answers.
    NoChallenge,
    /// It is wrong.
    Wrong,
    /// The code was used before.
    Replayed,
    /// Too many were wrong; the next is looked at in a minute.
    TooMany,
    /// The token is for another device, or answers another question.
    OtherDevice,
    /// The token, or the login it speaks of, is too old.
    Stale,
    /// The relay can not look at it at the moment; show the same again.
    Unavailable,
}

/// What a relay asks of a person who wants to show a second factor.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct StepUpQuestion {
    /// Which second factor.
    pub method: StepUpMethod,
    /// For a user who has no codes yet: the `otpauth` address to enrol with. It is a secret, shown this once.
    pub enrolment: Option<String>,
    /// For an id token: the `nonce` that it must carry.
    pub nonce: String,
    /// For an id token: the login provider whose tokens count.
    pub issuer: Option<String>,
    /// For an id token: the client id to log in with.
    pub audience: Option<String>,
}

/// What a session has by a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct StepUpLevel {
    /// The level.
    pub level: u8,
    /// Until when by the relay's clock, milliseconds since 1970; zero for as long as the session lives.
    pub until_ms: i64,
}

/// A second factor that a relay waits for.
#[derive(Debug, uniffi::Object)]
pub struct StepUp {
    // Whoever proves waits for the relay; a second proof waits for the first one's answer.
    core: Mutex<StepUpHandle>,
    _live: Live,
}

impl StepUp {
    pub(crate) fn new(core: StepUpHandle) -> Arc<Self> {
        Arc::new(Self { core: Mutex::new(core), _live: Live::new() })
    }
}

#[uniffi::export]
impl StepUp {
    /// Returns what the relay asks.
    pub async fn question(&self) -> StepUpQuestion {
        let core = self.core.lock().await;
        let asked = core.question();
        StepUpQuestion {
            method: asked.method,
            enrolment: asked.enrolment.clone(),
            nonce: asked.nonce.clone(),
            issuer: asked.issuer.clone(),
            audience: asked.audience.clone(),
        }
    }

    /// Shows a code, an id token, or nothing for the device's own word.
    ///
    /// # Errors
    /// `StepUp` if it was not taken, `NotReady` if the session ended.
    pub async fn prove(&self, proof: String) -> Result<StepUpLevel, TomboloError> {
        let (level, until_ms) = self.core.lock().await.prove(&proof).await?;
        Ok(StepUpLevel { level, until_ms })
    }
}
