//! A second factor inside a session: asked for, challenged, shown, and worth less with time.
//!
//! Invariant: what a session has shown ends with it, counts for one user, and is fresh for five minutes.

use tombolo_protocol::auth::oidc_nonce;
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::frame::{Frame, StepUp, StepUpChallenge, StepUpMethod, StepUpProof, StepUpRefusal, SteppedUp};
use tombolo_protocol::ids::UserId;
use zeroize::Zeroizing;

use super::Session;
use crate::factors::{Factors, TotpSecret};
use crate::fanout::Closing;
use crate::workspace::LEVEL_DEVICE_KEY;

/// How long a second factor is fresh: level 4.
pub(super) const FRESH_MS: u64 = 5 * 60 * 1000;
/// How long it counts at all: level 3; a working day, and then once more.
pub(super) const FACTOR_MS: u64 = 12 * 60 * 60 * 1000;

/// How long a challenge may wait for its proof: a person fetches a telephone, or logs in.
const STEP_UP_MS_MAX: u64 = 3 * 60 * 1000;
/// Level of a device that says it has verified its user.
const LEVEL_USER_VERIFIED: u8 = 2;
/// Level of a second factor that the relay has checked.
const LEVEL_FACTOR: u8 = 3;
/// The same, shown within [`FRESH_MS`].
const LEVEL_FRESH: u8 = 4;

/// What a session has shown beyond its device's key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SecondFactor {
    user: Option<UserId>,
    /// When the relay checked one, by its steady clock.
    shown_ms: Option<u64>,
}

impl SecondFactor {
    /// Returns whose it is, and the level that it is worth now.
    pub(super) fn level(&self, steady_ms: u64) -> Option<(UserId, u8)> {
        let level = match self.shown_ms.map(|shown| steady_ms.saturating_sub(shown)) {
            Some(..FRESH_MS) => LEVEL_FRESH,
            Some(FRESH_MS..FACTOR_MS) => LEVEL_FACTOR,
            _ => LEVEL_USER_VERIFIED,
        };
        self.user.map(|user| (user, level))
    }

    /// Returns this factor, with the time of an earlier one of the same user if it was worth more.
    fn beside(self, held: Self) -> Self {
        let same = held.user == self.user;
        Self { shown_ms: self.shown_ms.or(held.shown_ms.filter(|_| same)), ..self }
    }
}

/// A factor that was taken, and whether it was enrolled by that; or why not.
type Judged = Result<(SecondFactor, bool), StepUpRefusal>;

/// A challenge that was not answered yet.
#[derive(Debug)]
pub(super) struct StepUpPending {
    method: StepUpMethod,
    user: UserId,
    deadline_ms: u64,
    /// What a user without a secret was shown; the right code enrols it.
    shown: Option<TotpSecret>,
    /// What an id token must carry.
    nonce: String,
}

impl Session {
    /// Takes the frames of a second factor; all others that come here are the relay's own.
    pub(super) fn take_step_up(&mut self, frame: &Frame) -> Result<(), Closing> {
        match frame {
            Frame::StepUp(asked) => self.step_up(asked),
            Frame::StepUpProof(proof) => self.step_up_proof(proof),
            _ => Err(CloseCode::Malformed.into()),
        }
    }

    fn step_up(&mut self, asked: &StepUp) -> Result<(), Closing> {
        let device = self.device()?;
        let known = self.relay.log().may_be_member(&asked.workspace, &device)?;
        let workspace = if known { self.relay.open(&asked.workspace)? } else { None };
        let judge = workspace.as_ref().map(|workspace| workspace.judge(self.relay.log())).transpose()?;
        let user = judge.and_then(|judge| {
            judge.right(&device, self.relay.now_ms()).ok()?;
            judge.view().device(&device).map(|standing| standing.user)
        });
        let Some(user) = user else {
            self.not_found(asked.workspace);
            return Ok(());
        };
        let nonce = self.relay.draw()?;
        let mut challenge =
            StepUpChallenge { method: asked.method, nonce, enrolment: None, issuer: None, audience: None };
        let shown = match asked.method {
            StepUpMethod::Totp => self.draw_secret(&user)?,
            _ => None,
        };
        let login = self.relay.factors().and_then(Factors::login).filter(|_| asked.method == StepUpMethod::Oidc);
        if let Some(login) = login {
            // The keys may have changed, and a person takes longer to log in than they take to come.
            login.want_keys();
            challenge.issuer = Some(login.terms().issuer.clone());
            challenge.audience = Some(login.terms().audience.clone());
        }
        let nonce = oidc_nonce(&device, &nonce);
        challenge.enrolment = shown.as_ref().and_then(|secret| secret.to_uri(&self.peer.host, &user));
        let deadline_ms = self.relay.steady_ms().saturating_add(STEP_UP_MS_MAX);
        self.proven_mut()?.pending = Some(StepUpPending { method: asked.method, user, deadline_ms, shown, nonce });
        self.send(challenge);
        Ok(())
    }

    /// Draws the secret that a user is shown who has none yet.
    fn draw_secret(&self, user: &UserId) -> Result<Option<TotpSecret>, Closing> {
        let Some(factors) = self.relay.factors() else {
            return Ok(None);
        };
        if !factors.may_enrol(user)? {
            return Ok(None);
        }
        let drawn = Zeroizing::new(self.relay.draw::<20>()?);
        Ok(Some(TotpSecret::from_bytes(&drawn)))
    }

    fn step_up_proof(&mut self, proof: &StepUpProof) -> Result<(), Closing> {
        let now_ms = self.relay.steady_ms();
        let pending = self.proven_mut()?.pending.take();
        let pending = pending.filter(|pending| pending.method == proof.method && now_ms <= pending.deadline_ms);
        let user = pending.as_ref().map(|pending| pending.user);
        let outcome = match pending {
            None => Err(StepUpRefusal::NoChallenge),
            Some(pending) if pending.method == StepUpMethod::Oidc => self.judge_login(pending, &proof.proof)?,
            Some(pending) => self.judge_proof(pending, &proof.proof)?,
        };
        self.relay.metrics().stepped_up(outcome.is_ok());
        if let Ok((factor, _)) = outcome {
            let held = &mut self.proven_mut()?.factor;
            *held = factor.beside(*held);
        }
        let (level, until_ms) = self.level_and_end()?;
        let answer = SteppedUp { level, until_ms, refused: outcome.err() };
        self.note_step_up(proof.method, user, outcome.is_ok_and(|(_, enrolled)| enrolled), &answer);
        self.send(answer);
        Ok(())
    }

    /// Judges a proof; says whether it enrolled a factor.
    fn judge_proof(&self, pending: StepUpPending, proof: &str) -> Result<Judged, Closing> {
        let user = Some(pending.user);
        Ok(match (pending.method, self.relay.factors()) {
            (StepUpMethod::UserVerified, _) => Ok((SecondFactor { user, shown_ms: None }, false)),
            (StepUpMethod::Totp, Some(factors)) => {
                let enrols = pending.shown.is_some();
                let judged = factors.judge(&pending.user, proof, pending.shown, &self.relay)?;
                judged.map(|()| (self.shown_now(pending.user), enrols))
            }
            (StepUpMethod::Totp, None) | (StepUpMethod::Oidc, _) => Err(StepUpRefusal::NotOffered),
        })
    }

    /// Judges an id token; the challenge stays where the issuer's keys have still to come.
    fn judge_login(&mut self, pending: StepUpPending, token: &str) -> Result<Judged, Closing> {
        let Some(factors) = self.relay.factors() else {
            return Ok(Err(StepUpRefusal::NotOffered));
        };
        let judged = factors.judge_login(&pending.user, token, &pending.nonce, self.relay.now_ms())?;
        let outcome = judged.map(|enrolled| (self.shown_now(pending.user), enrolled));
        if outcome.is_err_and(|refusal| refusal == StepUpRefusal::Unavailable) {
            self.proven_mut()?.pending = Some(pending);
        }
        Ok(outcome)
    }

    fn shown_now(&self, user: UserId) -> SecondFactor {
        SecondFactor { user: Some(user), shown_ms: Some(self.relay.steady_ms()) }
    }

    /// Returns the level of the session, and when it falls, by the relay's clock; zero for with the session.
    fn level_and_end(&self) -> Result<(u8, i64), Closing> {
        let (factor, now_ms) = (self.proven()?.factor, self.relay.steady_ms());
        let level = factor.level(now_ms).map_or(LEVEL_DEVICE_KEY, |(_, level)| level);
        let lasts = match level {
            LEVEL_FRESH => FRESH_MS,
            LEVEL_FACTOR => FACTOR_MS,
            _ => return Ok((level, 0)),
        };
        let left = factor.shown_ms.map_or(0, |shown| (shown + lasts).saturating_sub(now_ms));
        Ok((level, self.relay.now_ms().saturating_add_unsigned(left)))
    }
}
