//! The settings of a relay, from flags, environment and a TOML file, in that order of weight.
//!
//! Invariant: a [`Config`] was judged as a whole; every [`Problem`] of a bad one is reported at once,
//! with the place it comes from, and no secret is repeated in a message.

mod settings;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use settings::{KEYS, Settings, Source};

use tombolo_protocol::record::Levels;

use crate::admission::Admission;
use crate::connection::Patience;
use crate::login::LoginTerms;
use crate::relay::Terms;

/// Where devices dial if nothing else is said.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7440";
/// Where metrics are if nothing else is said; with a free port for the public address, also one.
pub const ADMIN_LISTEN_DEFAULT: &str = "127.0.0.1:7441";

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Who ends TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsChoice {
    /// Nobody: loopback only.
    None,
    /// The relay.
    Files {
        /// PEM file of the certificate chain.
        cert: PathBuf,
        /// PEM file of the private key.
        key: PathBuf,
    },
    /// A proxy before it.
    Proxy,
}

/// What a relay is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// Where devices dial.
    pub listen: SocketAddr,
    /// Where metrics are.
    pub admin_listen: SocketAddr,
    /// Who ends TLS.
    pub tls: TlsChoice,
    /// Who is taken.
    pub admission: Admission,
    /// What a session is allowed.
    pub terms: Terms,
    /// The levels that acts need in every workspace, whatever its policy.
    pub minimum: Levels,
    /// Whether users may enrol and show codes by time.
    pub totp: bool,
    /// The login provider whose id tokens are a second factor.
    pub login: Option<LoginTerms>,
    /// Whether an access log is kept.
    pub access_log: bool,
    /// Files of the access log that are kept.
    pub access_log_files: usize,
    /// How long a snapshot must have had enough words before what it covers goes; without it nothing goes.
    pub snapshot_retention: Option<Duration>,
    /// How long the parts of a session may take.
    pub patience: Patience,
    /// How logs are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: tracing::Level,
}

impl Config {
    /// Returns the settings of a relay on a free loopback port, as tests and examples want it.
    ///
    /// # Errors
    /// The problems, if the built-in settings contradict each other.
    pub fn on_loopback(data: &Path) -> Result<Self, Vec<Problem>> {
        let mut settings = Settings::default();
        settings.set("data", &data.display().to_string(), Source::Default);
        settings.set("listen", "127.0.0.1:0", Source::Default);
        settings.judge()
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug)]
pub struct Problem {
    /// Where it stands.
    pub source: Source,
    /// Which setting.
    pub key: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a setting.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// There is no such setting.
    UnknownKey {
        /// The one that looks most like it.
        near: Option<&'static str>,
    },
    /// The value is not of the right kind.
    Expected(&'static str),
    /// It is needed and not there.
    Missing,
    /// It needs other settings.
    Needs(&'static str),
    /// TLS would end at a proxy, and at the relay as well.
    ProxyAndFiles,
    /// The relay would stand open to everybody.
    AdmissionNotSaid,
    /// Devices would talk to the relay in the clear over a network.
    ClearText,
    /// A file can not be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is no TOML.
    NotToml,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.source {
            Source::Flag => write!(f, "--{}: ", key.replace('_', "-"))?,
            Source::Env => write!(f, "TOMBOLO_RELAY_{}: ", key.to_uppercase())?,
            Source::File { path, line: Some(line) } => write!(f, "{}:{line}: {key}: ", path.display())?,
            Source::File { line: None, .. } => {}
            Source::Default => write!(f, "{key}: ")?,
        }
        match &self.fault {
            Fault::UnknownKey { near: Some(near) } => {
                write!(f, "there is no such setting; did you mean `{near}`?")
            }
            Fault::UnknownKey { near: None } => f.write_str("there is no such setting"),
            Fault::Expected(what) => write!(f, "expected {what}"),
            Fault::Missing => write!(f, "is needed; pass --{}", key.replace('_', "-")),
            Fault::Needs(other) => write!(f, "needs {other} as well"),
            Fault::ProxyAndFiles => f.write_str(
                "a proxy ends TLS, so the relay has no use for --tls-cert and --tls-key: leave them out, or the mode",
            ),
            Fault::AdmissionNotSaid => f.write_str(
                "the relay would listen beyond this machine: say who may use it, with \
                 --admission token (and --token-file FILE) or --admission open (everybody)",
            ),
            Fault::ClearText => f.write_str(
                "the relay would listen beyond this machine without TLS: pass --tls-cert FILE and \
                 --tls-key FILE, or --tls-mode proxy if a proxy ends TLS before it",
            ),
            Fault::Unreadable { path, error } => write!(f, "{} can not be read: {error}", path.display()),
            Fault::NotToml => f.write_str("the file is not TOML here"),
        }
    }
}
