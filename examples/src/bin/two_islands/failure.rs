//! What can go wrong in the story, and how long anything may take.
//!
//! Invariant: each failure names what the program was doing, in words that complete "could not …".

use std::time::Duration;

/// The longest wait for anything; each takes a fraction of a second on an idle machine.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// Why the story did not come true.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The program takes no arguments.
    Usage,
    /// Somebody pressed ctrl-c.
    Interrupted,
    /// Something was not done in time.
    Late(&'static str),
    /// Tombolo did not do it.
    Tombolo(&'static str, tombolo::Error),
    /// The machine did not do it.
    Io(&'static str, std::io::Error),
    /// What was promised is not so.
    Untrue(&'static str),
}

impl Failure {
    /// Says of an error of the machine what was being done.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io(doing, error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage => f.write_str("takes no arguments"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Late(doing) => write!(f, "could not {doing} within {} s", WAIT_MAX.as_secs()),
            Self::Tombolo(doing, error) => write!(f, "could not {doing}: {error}"),
            Self::Io(doing, error) => write!(f, "could not {doing}: {error}"),
            Self::Untrue(claim) => write!(f, "this is not true: {claim}"),
        }
    }
}

/// Waits for something, but not forever.
pub(crate) async fn within<T, E>(doing: &'static str, future: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
where
    E: IntoFailure,
{
    let done = tokio::time::timeout(WAIT_MAX, future).await.map_err(|_| Failure::Late(doing))?;
    done.map_err(|error| error.into_failure(doing))
}

/// Checks a claim before it is printed.
pub(crate) fn check(claim: &'static str, holds: bool) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Untrue(claim)) }
}

/// An error that becomes a failure once it is known what was being done.
pub(crate) trait IntoFailure {
    /// Says what was being done.
    fn into_failure(self, doing: &'static str) -> Failure;
}

impl IntoFailure for tombolo::Error {
    fn into_failure(self, doing: &'static str) -> Failure {
        Failure::Tombolo(doing, self)
    }
}

impl IntoFailure for std::io::Error {
    fn into_failure(self, doing: &'static str) -> Failure {
        Failure::Io(doing, self)
    }
}

impl IntoFailure for Failure {
    fn into_failure(self, _: &'static str) -> Failure {
        self
    }
}
