//! A login provider (OpenID Connect) as a second factor: which tokens count, and by whose keys.
//!
//! An id token counts if the configured issuer signed it for the configured audience, if its nonce is that
//! of this device and challenge, and if the login that it speaks of is not older than five minutes. The
//! first one that counts ties the user to the subject at the provider; from then on only that one does.
//!
//! Invariant: what a token says is believed only behind its signature, which must be RS256 or ES256 by a key
//! that the issuer publishes; no session waits for the network.

mod fetch;
mod ring;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use tokio::sync::Notify;
use tombolo_protocol::frame::StepUpRefusal;

pub use fetch::{FetchError, keep};

/// How old a login may be that a token speaks of: that of level 4.
const LOGIN_MS_MAX: i64 = 5 * 60_000;
/// How much the provider's clock may be off.
const LEEWAY_MS: i64 = 60_000;
/// Keys of an issuer that are looked at: providers publish a handful.
const KEYS_MAX: usize = 64;

/// Which login provider, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginTerms {
    /// The issuer: an https address, or http on loopback.
    pub issuer: String,
    /// The audience: the client id that apps log in with.
    pub audience: String,
}

/// The login provider of a relay.
pub struct Login {
    terms: LoginTerms,
    keys: Mutex<Option<JwkSet>>,
    wanted: Notify,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// What a token says, as far as it is looked at; issuer and audience are the library's to check.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    nonce: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    auth_time: Option<i64>,
    aud: Audience,
    azp: Option<String>,
}

/// One audience, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn list(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Login {
    /// Begins without keys; [`keep`] fetches them.
    #[must_use]
    pub fn new(terms: LoginTerms) -> Self {
        ring::install();
        Self { terms, keys: Mutex::default(), wanted: Notify::new() }
    }

    /// Returns which provider it is.
    #[must_use]
    pub fn terms(&self) -> &LoginTerms {
        &self.terms
    }

    /// Takes the keys that the issuer publishes now.
    pub fn set_keys(&self, mut keys: JwkSet) {
        keys.keys.truncate(KEYS_MAX);
        *self.lock() = Some(keys);
    }

    /// Has the keys fetched anew soon: a person is about to log in.
    pub fn want_keys(&self) {
        self.wanted.notify_one();
    }

    /// Judges a token; returns the subject that logged in.
    ///
    /// # Errors
    /// [`StepUpRefusal::Unavailable`] if the issuer's keys are not here, or none of them is the one that the
    /// token names: they are fetched, and the token may be shown again.
    pub fn judge(&self, token: &str, nonce: &str, now_ms: i64) -> Result<String, StepUpRefusal> {
        let header = decode_header(token).map_err(|_| StepUpRefusal::Wrong)?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(StepUpRefusal::Wrong);
        }
        let key = self.key_of(header.kid.as_deref()).ok_or_else(|| {
            self.want_keys();
            StepUpRefusal::Unavailable
        })?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.terms.issuer]);
        validation.set_audience(&[&self.terms.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Times are compared by the relay's clock, below.
        validation.validate_exp = false;
        let decoded = decode::<Claims>(token, &key, &validation).map_err(|error| {
            tracing::debug!(%error, "an id token does not count");
            StepUpRefusal::Wrong
        })?;
        self.judge_claims(decoded.claims, nonce, now_ms)
    }

    fn judge_claims(&self, claims: Claims, nonce: &str, now_ms: i64) -> Result<String, StepUpRefusal> {
        let shared = claims.aud.list().len() > 1;
        let party = claims.azp.as_deref();
        let ours = |party: &str| party == self.terms.audience;
        if party.map_or(shared, |party| !ours(party)) || claims.sub.is_empty() {
            return Err(StepUpRefusal::Wrong);
        }
        if claims.nonce.as_deref() != Some(nonce) {
            return Err(StepUpRefusal::OtherDevice);
        }
        let ms = |seconds: i64| seconds.saturating_mul(1000);
        let soon_ms = now_ms.saturating_add(LEEWAY_MS);
        let to_come = [Some(claims.iat), claims.nbf, claims.auth_time];
        if to_come.into_iter().flatten().any(|seconds| ms(seconds) > soon_ms) {
            return Err(StepUpRefusal::Wrong);
        }
        let logged_in = claims.auth_time.ok_or(StepUpRefusal::Stale)?;
        let over = ms(claims.exp).saturating_add(LEEWAY_MS) < now_ms;
        if over || ms(logged_in).saturating_add(LOGIN_MS_MAX + LEEWAY_MS) < now_ms {
            return Err(StepUpRefusal::Stale);
        }
        Ok(claims.sub)
    }

    /// Finds the key that a token names; one that names none is taken for the only one there is.
    fn key_of(&self, kid: Option<&str>) -> Option<DecodingKey> {
        let keys = self.lock();
        let published = keys.as_ref()?.keys.iter().filter(|key| may_sign(key));
        let mut named = published.filter(|key| kid.is_none() || key.common.key_id.as_deref() == kid);
        let key = named.next()?;
        if kid.is_none() && named.next().is_some() {
            return None;
        }
        DecodingKey::from_jwk(key).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Option<JwkSet>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_sign(key: &Jwk) -> bool {
    key.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
}
