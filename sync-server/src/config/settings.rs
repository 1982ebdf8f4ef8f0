//! From words to settings: each layer gives texts by key, and one judgement reads them all.
//!
//! Invariant: a key's meaning does not depend on the layer that it comes from.

mod factors;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::{ADMIN_LISTEN_DEFAULT, Config, Fault, LISTEN_DEFAULT, LogFormat, Problem, TlsChoice};
use crate::admission::{Admission, Token};
use crate::connection::Patience;
use crate::relay::Terms;
use crate::serve::tls_mode;

/// Files of the access log that are kept: a gigabyte, some millions of sessions.
const ACCESS_LOG_FILES_DEFAULT: usize = 64;

/// All settings, as files and environment name them.
pub const KEYS: [&str; 28] = [
    "data",
    "listen",
    "admin_listen",
    "tls_cert",
    "tls_key",
    "tls_mode",
    "admission",
    "tokens",
    "token_file",
    "log_format",
    "log_level",
    "credit_bytes",
    "ping_ms",
    "quota_bytes",
    "items_per_second",
    "bytes_per_second",
    "handshake_ms",
    "slow_ms",
    "level_open",
    "level_append",
    "level_invite",
    "level_membership",
    "totp",
    "oidc_issuer",
    "oidc_audience",
    "access_log",
    "access_log_files",
    "snapshot_retention_days",
];

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// An environment variable.
    Env,
    /// A settings file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1; none if it is about the whole file.
        line: Option<usize>,
    },
    /// Nobody said it.
    Default,
}

#[derive(Clone)]
struct Said {
    texts: Vec<String>,
    source: Source,
}

/// What the layers say, before it is judged.
#[derive(Default)]
pub struct Settings {
    said: BTreeMap<&'static str, Said>,
    problems: Vec<Problem>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_set().entries(self.said.keys()).finish()
    }
}

impl Settings {
    /// Says a setting, unless an earlier layer has.
    pub fn set(&mut self, key: &str, text: &str, source: Source) {
        let texts = match key {
            "tokens" => text.split(',').map(|token| token.trim().to_owned()).collect(),
            _ => vec![text.to_owned()],
        };
        self.say(key, texts, source);
    }

    /// Takes the environment's variables.
    pub fn read_env(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix("TOMBOLO_RELAY_")
                && key != "CONFIG"
            {
                self.set(&key.to_lowercase(), &value, Source::Env);
            }
        }
    }

    /// Takes a TOML file.
    pub fn read_file(&mut self, path: &Path) {
        let whole = || Source::File { path: path.to_owned(), line: None };
        let at = |line| Source::File { path: path.to_owned(), line: Some(line) };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.blame("config", whole(), Fault::Unreadable { path: path.to_owned(), error }),
        };
        let table = match toml::de::DeTable::parse(&text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(&text, span.start));
                return self.blame("config", at(line), Fault::NotToml);
            }
        };
        for (key, value) in table.get_ref() {
            let source = at(line_of(&text, key.span().start));
            match texts_of(value.get_ref()) {
                Some(texts) => self.say(key.get_ref(), texts, source),
                None => self.blame(key.get_ref(), source, Fault::Expected("a text or number")),
            }
        }
    }

    fn say(&mut self, key: &str, texts: Vec<String>, source: Source) {
        match KEYS.iter().find(|known| **known == key) {
            Some(known) => {
                self.said.entry(known).or_insert(Said { texts, source });
            }
            None => self.blame(key, source, Fault::UnknownKey { near: nearest(key) }),
        }
    }

    fn blame(&mut self, key: &str, source: Source, fault: Fault) {
        self.problems.push(Problem { source, key: key.to_owned(), fault });
    }

    /// Judges everything together.
    ///
    /// # Errors
    /// All problems at once.
    pub fn judge(mut self) -> Result<Config, Vec<Problem>> {
        let data = self.text("data").map(PathBuf::from);
        if data.is_none() {
            self.blame("data", Source::Default, Fault::Missing);
        }
        let listen = self.address("listen", LISTEN_DEFAULT);
        let admin_default = if listen.port() == 0 { "127.0.0.1:0" } else { ADMIN_LISTEN_DEFAULT };
        let admin_listen = self.address("admin_listen", admin_default);
        let tls = self.tls(listen);
        let admission = self.admission(listen);
        let terms = self.terms(&tls);
        let patience = Patience {
            handshake: Duration::from_millis(self.number("handshake_ms", 10_000)),
            slow: Duration::from_millis(self.number("slow_ms", 30_000)),
        };
        let (log_format, log_level) = self.logging();
        let (minimum, login, totp) = (self.levels(), self.login(), self.totp());
        let access_log = self.one_of("access_log", &["on", "off"], "on or off") != Some("off");
        let (access_log_files, snapshot_retention) = (self.log_files(), self.retention());
        match data {
            Some(data) if self.problems.is_empty() => Ok(Config {
                data,
                listen,
                admin_listen,
                tls,
                admission,
                terms,
                minimum,
                totp,
                login,
                access_log,
                access_log_files,
                snapshot_retention,
                patience,
                log_format,
                log_level,
            }),
            _ => Err(self.problems),
        }
    }

    fn terms(&mut self, tls: &TlsChoice) -> Terms {
        let limited = self.said.contains_key("quota_bytes");
        Terms {
            credit_bytes: self.number("credit_bytes", 1 << 20),
            ping_ms: self.number("ping_ms", 20_000),
            tls: tls_mode(tls),
            quota_bytes: limited.then(|| self.number("quota_bytes", 0)),
            items_per_second: self.number("items_per_second", 10_000),
            bytes_per_second: self.number("bytes_per_second", 8 << 20),
        }
    }

    fn log_files(&mut self) -> usize {
        self.number("access_log_files", ACCESS_LOG_FILES_DEFAULT)
    }

    fn retention(&mut self) -> Option<Duration> {
        const KEY: &str = "snapshot_retention_days";
        let text = self.text(KEY).filter(|text| *text != "never")?;
        let days = text.parse().ok().filter(|days: &u32| *days > 0);
        if days.is_none() {
            self.blame_said(KEY, Fault::Expected("days as a whole number above zero, or never"));
        }
        days.map(|days| Duration::from_secs(u64::from(days) * 86_400))
    }

    fn logging(&mut self) -> (LogFormat, tracing::Level) {
        let format = match self.one_of("log_format", &["human", "json"], "human or json") {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Human,
        };
        let levels = ["error", "warn", "info", "debug", "trace"];
        let level = self.one_of("log_level", &levels, "error, warn, info, debug or trace");
        let level = level.and_then(|level| level.parse().ok());
        (format, level.unwrap_or(tracing::Level::INFO))
    }

    fn tls(&mut self, listen: SocketAddr) -> TlsChoice {
        let cert = self.text("tls_cert").map(PathBuf::from);
        let key = self.text("tls_key").map(PathBuf::from);
        let mode = self.one_of("tls_mode", &["relay", "proxy"], "relay or proxy");
        match (cert, key) {
            (Some(_), _) | (_, Some(_)) if mode == Some("proxy") => self.blame_said("tls_mode", Fault::ProxyAndFiles),
            (Some(cert), Some(key)) => return TlsChoice::Files { cert, key },
            (Some(_), None) => self.blame_said("tls_cert", Fault::Needs("--tls-key FILE")),
            (None, Some(_)) => self.blame_said("tls_key", Fault::Needs("--tls-cert FILE")),
            (None, None) if mode == Some("proxy") => return TlsChoice::Proxy,
            (None, None) if mode == Some("relay") => {
                self.blame_said("tls_mode", Fault::Needs("--tls-cert FILE and --tls-key FILE"));
            }
            (None, None) if !listen.ip().is_loopback() => {
                self.blame_said("listen", Fault::ClearText);
            }
            (None, None) => {}
        }
        TlsChoice::None
    }

    fn admission(&mut self, listen: SocketAddr) -> Admission {
        let mut tokens: Vec<Token> = Vec::new();
        let listed = self.said.get("tokens").map(|said| said.texts.clone()).unwrap_or_default();
        let file = self.text("token_file").map(PathBuf::from);
        let from_file = match file.as_deref().map(std::fs::read_to_string) {
            Some(Ok(text)) => text.lines().map(|line| line.trim().to_owned()).collect(),
            Some(Err(error)) => {
                let path = file.unwrap_or_default();
                self.blame_said("token_file", Fault::Unreadable { path, error });
                Vec::new()
            }
            None => Vec::new(),
        };
        let texts = listed.iter().chain(&from_file).filter(|text| !text.is_empty());
        tokens.extend(texts.map(|text| Token::new(text)));
        match self.one_of("admission", &["open", "token"], "open or token") {
            Some("token") if tokens.is_empty() => {
                self.blame_said("admission", Fault::Needs("--token-file FILE"));
                Admission::Token(tokens)
            }
            Some("token") => Admission::Token(tokens),
            Some(_) => Admission::Open,
            None => {
                if !listen.ip().is_loopback() && !self.said.contains_key("admission") {
                    self.blame_said("listen", Fault::AdmissionNotSaid);
                }
                Admission::Open
            }
        }
    }

    fn blame_said(&mut self, key: &'static str, fault: Fault) {
        let source = self.said.get(key).map_or(Source::Default, |said| said.source.clone());
        self.blame(key, source, fault);
    }

    fn text(&self, key: &'static str) -> Option<&str> {
        self.said.get(key)?.texts.first().map(String::as_str)
    }

    fn one_of(&mut self, key: &'static str, known: &[&'static str], expected: &'static str) -> Option<&'static str> {
        let text = self.text(key)?;
        let found = known.iter().find(|known| **known == text).copied();
        if found.is_none() {
            self.blame_said(key, Fault::Expected(expected));
        }
        found
    }

    fn address(&mut self, key: &'static str, default: &str) -> SocketAddr {
        let text = self.text(key).unwrap_or(default);
        text.parse().unwrap_or_else(|_| {
            self.blame_said(key, Fault::Expected("an address with a port, like 127.0.0.1:7440"));
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        })
    }

    fn number<T: FromStr + Default + PartialEq>(&mut self, key: &'static str, default: T) -> T {
        match self.text(key).map(str::parse) {
            None => default,
            Some(Ok(number)) if number != T::default() => number,
            Some(_) => {
                self.blame_said(key, Fault::Expected("a whole number without a unit, above zero"));
                default
            }
        }
    }
}

fn texts_of(value: &toml::de::DeValue<'_>) -> Option<Vec<String>> {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Integer(number) => Some(vec![number.as_str().replace('_', "")]),
        DeValue::Array(values) => {
            let texts = values.iter().map(|value| match value.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            });
            texts.collect()
        }
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Finds the setting that a mistyped one was most likely meant to be.
fn nearest(key: &str) -> Option<&'static str> {
    let key = key.replace('-', "_");
    let distances = KEYS.iter().map(|known| (distance(&key, known), *known));
    distances.min().filter(|(distance, _)| *distance <= 3).map(|(_, known)| known)
}

/// The least number of letters to add, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut last = i + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(b.bytes()) {
            let changed = diagonal + usize::from(left != right);
            diagonal = *cell;
            last = changed.min(last + 1).min(*cell + 1);
            *cell = last;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
