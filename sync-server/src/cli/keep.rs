//! What an operator does with what the relay keeps beside its log: second factors, and the access log.
//!
//! Invariant: both work while the relay runs; nothing here needs its lock.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr as _;

use clap::{Args, Subcommand};
use tombolo_protocol::ids::{RelayId, UserId};
use tombolo_protocol::keys::SignKey;
use zeroize::Zeroizing;

use super::{complain, fail, say};
use crate::access::{ACCESS_FOLDER, Head, verify};
use crate::factors::{FACTORS_FILE, Factors};

/// What can be done about second factors.
#[derive(Subcommand)]
pub(super) enum FactorsAction {
    /// Forgets a user's authenticator: whoever of their devices asks next enrols another.
    Forget {
        /// The relay's folder; the relay may be running.
        #[arg(long, value_name = "FOLDER")]
        data: PathBuf,
        /// The user's id, 64 hex digits.
        #[arg(long, value_name = "ID")]
        user: String,
    },
}

impl FactorsAction {
    pub(super) fn run(self) -> ExitCode {
        let Self::Forget { data, user } = self;
        forget_factor(&data, &user)
    }
}

/// What can be asked of the access log.
#[derive(Subcommand)]
pub(super) enum AccessAction {
    /// Checks every hash and signature, and says where the log ends.
    Verify(AccessFlags),
    /// The same, and prints each record, one JSON object a line.
    Print(AccessFlags),
}

/// Which log, and by whom.
#[derive(Args)]
pub(super) struct AccessFlags {
    /// The relay's folder; the relay may be running.
    #[arg(long, value_name = "FOLDER", required_unless_present = "logs")]
    data: Option<PathBuf>,
    /// A folder with files of the log, if they were put elsewhere; needs --relay.
    #[arg(long, value_name = "FOLDER", conflicts_with = "data", requires = "relay")]
    logs: Option<PathBuf>,
    /// The relay that must have signed them [the one of the folder].
    #[arg(long, value_name = "ID")]
    relay: Option<String>,
    /// A place that was said before, NUMBER:HASH: it must still be there.
    #[arg(long, value_name = "PLACE")]
    since: Option<String>,
}

impl AccessAction {
    pub(super) fn run(self) -> ExitCode {
        match self {
            Self::Verify(flags) => look_at_access(&flags, false),
            Self::Print(flags) => look_at_access(&flags, true),
        }
    }
}

fn look_at_access(flags: &AccessFlags, prints: bool) -> ExitCode {
    let relay = match (&flags.relay, &flags.data) {
        (Some(text), _) => text.parse::<RelayId>().ok(),
        (None, Some(data)) => key_of(data),
        (None, None) => None,
    };
    let since = flags.since.as_deref().map(Head::from_str).transpose();
    let (Some(relay), Ok(since)) = (relay, since) else {
        complain(&"expected the relay's folder or --relay with 64 hex digits, and --since as NUMBER:HASH");
        return ExitCode::from(2);
    };
    let inside = flags.data.as_ref().map(|data| data.join(ACCESS_FOLDER));
    let folder = flags.logs.clone().or(inside).unwrap_or_default();
    let show = |record: &str| {
        if prints {
            say(&format!("{record}\n"));
        }
    };
    match verify(&folder, &relay, since, show) {
        Ok(verified) => {
            let told = format!("records {} to {verified}\n", verified.first);
            if prints {
                complain(&told.trim_end())
            } else {
                say(&told)
            }
            ExitCode::SUCCESS
        }
        Err(fault) => fail(&fault),
    }
}

/// Reads who the relay of a folder is.
fn key_of(data: &Path) -> Option<RelayId> {
    let seed = Zeroizing::new(std::fs::read(data.join("relay.key")).ok()?);
    Some(RelayId::from_bytes(SignKey::from_seed(seed.as_slice().try_into().ok()?).public()))
}

fn forget_factor(data: &Path, user: &str) -> ExitCode {
    let Ok(user) = user.parse::<UserId>() else {
        complain(&"--user: expected 64 hex digits");
        return ExitCode::from(2);
    };
    match Factors::forget_in(&data.join(FACTORS_FILE), &user) {
        Ok(true) => {
            say("forgotten; the user's next device that asks enrols anew\n");
            ExitCode::SUCCESS
        }
        Ok(false) => fail(&"this user has no authenticator here"),
        Err(error) => fail(&error),
    }
}
