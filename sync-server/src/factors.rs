//! Second factors that this relay checks by itself: whose they are, and how often they were guessed at.
//!
//! A user's secret for codes by time (RFC 6238) is drawn at the enrolment, kept once the first code was
//! right, and sealed under a key that follows from the relay's own: the file alone tells nobody a code.
//!
//! Invariant: a step of a secret counts once, for all sessions and also after a restart; wrong codes are
//! counted before they are answered.

mod seal;
mod totp;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tombolo_protocol::frame::StepUpRefusal;
use tombolo_protocol::ids::UserId;

use crate::log::LogError;
use crate::login::Login;
use crate::relay::{NoEntropy, Relay};
pub use seal::FactorKey;
pub use totp::TotpSecret;

/// The file's name in the data folder.
pub const FACTORS_FILE: &str = "factors.sqlite";
/// Wrong codes of one user before the next is not looked at for a while: a person mistypes twice.
pub const WRONG_FREE_MAX: u32 = 5;
/// The first such while; each further wrong code doubles it.
const BLOCKED_MS_MIN: i64 = 60_000;
/// The longest: with it, guesses are fewer than 30 a day, of a million codes.
const BLOCKED_MS_MAX: i64 = 60 * 60_000;

/// The second factors of this relay's users.
pub struct Factors {
    connection: Mutex<Connection>,
    key: FactorKey,
    codes: bool,
    login: Option<Arc<Login>>,
}

/// What is known of a user's codes.
struct Row {
    secret: TotpSecret,
    used_step: u64,
    wrong: u32,
    blocked_until_ms: i64,
}

impl Factors {
    /// Opens or makes the file; only its owner may read it.
    ///
    /// # Errors
    /// [`LogError`] if it can not be opened.
    pub fn open(path: &Path, key: FactorKey) -> Result<Self, LogError> {
        let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        made.map_err(|_| LogError::Corrupt { what: "file of second factors" })?;
        // SQLite gives the files beside it the rights of the file itself.
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(include_str!("factors/schema.sql"))?;
        Ok(Self { connection: Mutex::new(connection), key, codes: true, login: None })
    }

    /// Offers no codes by time.
    #[must_use]
    pub fn without_codes(mut self) -> Self {
        self.codes = false;
        self
    }

    /// Offers the logins of a provider.
    #[must_use]
    pub fn with_login(mut self, login: Arc<Login>) -> Self {
        self.login = Some(login);
        self
    }

    /// Returns the login provider whose tokens count, if there is one.
    #[must_use]
    pub fn login(&self) -> Option<&Login> {
        self.login.as_deref()
    }

    /// Judges an id token; the first one that counts ties the user to its subject. Returns whether it did.
    ///
    /// # Errors
    /// [`LogError`] if the file can not be read or written; nothing was taken then.
    pub fn judge_login(
        &self,
        user: &UserId,
        token: &str,
        nonce: &str,
        now_ms: i64,
    ) -> Result<Result<bool, StepUpRefusal>, LogError> {
        let Some(login) = self.login() else {
            return Ok(Err(StepUpRefusal::NotOffered));
        };
        let subject = match login.judge(token, nonce, now_ms) {
            Ok(subject) => subject,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let issuer = &login.terms().issuer;
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known: Option<String> = transaction
            .prepare_cached(include_str!("factors/login_find.sql"))?
            .query_row(params![user.as_bytes(), issuer], |row| row.get(0))
            .optional()?;
        let outcome = match known {
            Some(known) if known != subject => Err(StepUpRefusal::Wrong),
            Some(_) => Ok(false),
            None => {
                let values = params![user.as_bytes(), issuer, subject, now_ms];
                transaction.execute(include_str!("factors/login_insert.sql"), values)?;
                Ok(true)
            }
        };
        transaction.commit()?;
        Ok(outcome)
    }

    /// Forgets a user's factors in the file of a relay, which may be running: the next step-up enrols others.
    /// Returns whether there was one.
    ///
    /// # Errors
    /// [`LogError`] if there is no such file, or it can not be written.
    pub fn forget_in(path: &Path, user: &UserId) -> Result<bool, LogError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let codes = connection.execute(include_str!("factors/delete.sql"), [user.as_bytes()])?;
        Ok(codes + connection.execute(include_str!("factors/login_delete.sql"), [user.as_bytes()])? > 0)
    }

    /// Tells whether a user is to be shown a secret: codes are offered, and there is none yet.
    ///
    /// # Errors
    /// [`LogError`] if the file can not be read.
    pub fn may_enrol(&self, user: &UserId) -> Result<bool, LogError> {
        if !self.codes {
            return Ok(false);
        }
        let connection = self.lock();
        let known = connection.prepare_cached(include_str!("factors/exists.sql"))?.exists([user.as_bytes()])?;
        Ok(!known)
    }

    /// Judges a code; with a secret that was just shown, the right code enrols it.
    ///
    /// # Errors
    /// [`LogError`] if the file can not be read or written; nothing was taken then.
    pub fn judge(
        &self,
        user: &UserId,
        code: &str,
        shown: Option<TotpSecret>,
        relay: &Relay,
    ) -> Result<Result<(), StepUpRefusal>, LogError> {
        if !self.codes {
            return Ok(Err(StepUpRefusal::NotOffered));
        }
        let mut connection = self.lock();
        // Immediate: what is read here is still so when it is written.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let row = self.read(&transaction, user)?;
        let outcome = match (row, shown) {
            (Some(_), Some(_)) => Err(StepUpRefusal::NoChallenge),
            (None, None) => Err(StepUpRefusal::NotOffered),
            (None, Some(secret)) => self.enrol(&transaction, user, code, &secret, relay)?,
            (Some(row), None) => check(&transaction, user, code, &row, relay.now_ms())?,
        };
        transaction.commit()?;
        Ok(outcome)
    }

    fn enrol(
        &self,
        transaction: &Transaction<'_>,
        user: &UserId,
        code: &str,
        secret: &TotpSecret,
        relay: &Relay,
    ) -> Result<Result<(), StepUpRefusal>, LogError> {
        let Some(step) = secret.step_of(code, relay.now_ms()) else {
            return Ok(Err(StepUpRefusal::Wrong));
        };
        let Ok(nonce) = relay.draw() else {
            return Ok(Err(StepUpRefusal::Unavailable));
        };
        let Some(sealed) = self.key.seal(user, nonce, secret) else {
            return Ok(Err(StepUpRefusal::Unavailable));
        };
        let values = params![user.as_bytes(), sealed, integer(step), relay.now_ms()];
        transaction.execute(include_str!("factors/insert.sql"), values)?;
        Ok(Ok(()))
    }

    fn read(&self, transaction: &Transaction<'_>, user: &UserId) -> Result<Option<Row>, LogError> {
        let found: Option<(Vec<u8>, i64, u32, i64)> = transaction
            .prepare_cached(include_str!("factors/find.sql"))?
            .query_row([user.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((sealed, used_step, wrong, blocked_until_ms)) = found else {
            return Ok(None);
        };
        let secret = self.key.open(user, &sealed).ok_or(LogError::Corrupt { what: "second factor" })?;
        Ok(Some(Row { secret, used_step: used_step.cast_unsigned(), wrong, blocked_until_ms }))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges a code of a secret that is enrolled, and notes the outcome.
fn check(
    transaction: &Transaction<'_>,
    user: &UserId,
    code: &str,
    row: &Row,
    now_ms: i64,
) -> Result<Result<(), StepUpRefusal>, LogError> {
    if now_ms < row.blocked_until_ms {
        return Ok(Err(StepUpRefusal::TooMany));
    }
    let (used_step, wrong, outcome) = match row.secret.step_of(code, now_ms) {
        Some(step) if step > row.used_step => (step, 0, Ok(())),
        // Somebody may have looked over a shoulder: it counts as a guess.
        Some(_) => (row.used_step, row.wrong.saturating_add(1), Err(StepUpRefusal::Replayed)),
        None => (row.used_step, row.wrong.saturating_add(1), Err(StepUpRefusal::Wrong)),
    };
    let blocked_until_ms = if outcome.is_err() { now_ms.saturating_add(blocked_ms(wrong)) } else { 0 };
    let values = params![user.as_bytes(), integer(used_step), wrong, blocked_until_ms];
    transaction.execute(include_str!("factors/note.sql"), values)?;
    Ok(outcome)
}

/// Returns how long nothing is looked at after so many wrong codes in a row.
fn blocked_ms(wrong: u32) -> i64 {
    match wrong.checked_sub(WRONG_FREE_MAX) {
        None => 0,
        Some(beyond) => BLOCKED_MS_MIN.saturating_mul(1_i64 << beyond.min(16)).min(BLOCKED_MS_MAX),
    }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<NoEntropy> for StepUpRefusal {
    fn from(_: NoEntropy) -> Self {
        Self::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_may_mistype_and_a_guesser_waits_longer_each_time() {
        let waits: Vec<i64> = (1..=13).map(|wrong| blocked_ms(wrong) / 60_000).collect();
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(blocked_ms(u32::MAX), BLOCKED_MS_MAX);
    }
}
