//! The command line: `tombolo-relay serve` and `tombolo-relay config check`.
//!
//! Invariant: exit code 0 after a clean end, 1 if the machine does not allow it, 2 if the command or a
//! setting is wrong; each error is one sentence on standard error.

mod keep;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use keep::{AccessAction, FactorsAction};

use crate::config::{Config, LogFormat, Problem, Settings, Source};
use crate::serve::{Serving, serve};

const EXAMPLE: &str = "\
Example: a relay for this machine, and one for the world
  tombolo-relay serve --data ./relay
  tombolo-relay serve --data /var/lib/tombolo --listen 0.0.0.0:443 \\
      --tls-cert cert.pem --tls-key key.pem --admission token --token-file tokens

Every setting can also stand in the environment (TOMBOLO_RELAY_LISTEN=…) or in a TOML file
(listen = \"…\"); flags win over the environment, and the environment over the file.";

/// Stores and forwards what devices sealed; can read none of it.
#[derive(Parser)]
#[command(name = "tombolo-relay", version, after_help = EXAMPLE)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serves devices until it is told to stop.
    #[command(after_help = EXAMPLE)]
    Serve(Box<Flags>),
    /// Looks after second factors.
    Factors {
        #[command(subcommand)]
        action: FactorsAction,
    },
    /// Looks at the access log.
    Access {
        #[command(subcommand)]
        action: AccessAction,
    },
    /// Looks at the settings.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
}

#[derive(Subcommand)]
enum ConfigAction {
    /// Reports everything that is wrong with the settings, and starts nothing.
    Check(Box<Flags>),
}

#[derive(Args)]
struct Flags {
    /// Folder for the log and the relay's key; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Where devices dial [127.0.0.1:7440]; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where /metrics is served [127.0.0.1:7441].
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Certificate chain (PEM), if the relay ends TLS itself.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key (PEM) of the certificate.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Who ends TLS: relay, or proxy.
    #[arg(long, value_name = "MODE")]
    tls_mode: Option<String>,
    /// Who may use the relay: open (everybody; the default on loopback) or token.
    #[arg(long, value_name = "WHO")]
    admission: Option<String>,
    /// File with one admission token a line.
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// Bytes of items a device may have under way without a receipt [1048576].
    #[arg(long, value_name = "BYTES")]
    credit_bytes: Option<String>,
    /// Silence after which a session is pinged [20000].
    #[arg(long, value_name = "MS")]
    ping_ms: Option<String>,
    /// Bytes one workspace may keep [no limit].
    #[arg(long, value_name = "BYTES")]
    quota_bytes: Option<String>,
    /// Items a second and device, averaged over a minute [10000].
    #[arg(long, value_name = "NUMBER")]
    items_per_second: Option<String>,
    /// Bytes of items a second and device, averaged over a minute [8388608].
    #[arg(long, value_name = "BYTES")]
    bytes_per_second: Option<String>,
    /// How long a device may take to prove its key [10000].
    #[arg(long, value_name = "MS")]
    handshake_ms: Option<String>,
    /// How long a device may take no byte before it is dropped [30000].
    #[arg(long, value_name = "MS")]
    slow_ms: Option<String>,
    /// Level that opening a workspace needs: 1 the device's key, 2 its word that it verified its user,
    /// 3 a second factor, 4 one shown within five minutes [1].
    #[arg(long, value_name = "LEVEL")]
    level_open: Option<String>,
    /// Level that appending needs [1].
    #[arg(long, value_name = "LEVEL")]
    level_append: Option<String>,
    /// Level that making an invite needs [1].
    #[arg(long, value_name = "LEVEL")]
    level_invite: Option<String>,
    /// Level that changing members, devices, owners or the policy needs [1].
    #[arg(long, value_name = "LEVEL")]
    level_membership: Option<String>,
    /// Whether users may enrol an authenticator here, and show its codes: on or off
    /// [on, but off where there is a login provider].
    #[arg(long, value_name = "WHETHER")]
    totp: Option<String>,
    /// Login provider whose id tokens are a second factor (OpenID Connect).
    #[arg(long, value_name = "ADDRESS")]
    oidc_issuer: Option<String>,
    /// Audience that its tokens must be for: the client id that apps log in with.
    #[arg(long, value_name = "ID")]
    oidc_audience: Option<String>,
    /// Whether a signed access log is kept in the folder: on or off [on].
    #[arg(long, value_name = "WHETHER")]
    access_log: Option<String>,
    /// Files of the access log that are kept, 16 MiB each [64].
    #[arg(long, value_name = "NUMBER")]
    access_log_files: Option<String>,
    /// Days after which history is deleted that a vouched-for snapshot stands for, or never [never].
    #[arg(long, value_name = "DAYS")]
    snapshot_retention_days: Option<String>,
    /// How logs are written: human or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Which log lines are written: error, warn, info, debug or trace [info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// File with settings, in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Flags {
    /// Returns what was said, by key.
    fn texts(self) -> [(&'static str, Option<String>); 27] {
        [
            ("data", self.data),
            ("listen", self.listen),
            ("admin_listen", self.admin_listen),
            ("tls_cert", self.tls_cert),
            ("tls_key", self.tls_key),
            ("tls_mode", self.tls_mode),
            ("admission", self.admission),
            ("token_file", self.token_file),
            ("credit_bytes", self.credit_bytes),
            ("ping_ms", self.ping_ms),
            ("quota_bytes", self.quota_bytes),
            ("items_per_second", self.items_per_second),
            ("bytes_per_second", self.bytes_per_second),
            ("handshake_ms", self.handshake_ms),
            ("slow_ms", self.slow_ms),
            ("level_open", self.level_open),
            ("level_append", self.level_append),
            ("level_invite", self.level_invite),
            ("level_membership", self.level_membership),
            ("totp", self.totp),
            ("oidc_issuer", self.oidc_issuer),
            ("oidc_audience", self.oidc_audience),
            ("access_log", self.access_log),
            ("access_log_files", self.access_log_files),
            ("snapshot_retention_days", self.snapshot_retention_days),
            ("log_format", self.log_format),
            ("log_level", self.log_level),
        ]
    }

    fn read(self) -> Result<Config, Vec<Problem>> {
        let mut settings = Settings::default();
        let file = self.config.clone();
        let flags = self.texts();
        for (key, text) in flags {
            if let Some(text) = text {
                settings.set(key, &text, Source::Flag);
            }
        }
        let texts =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        settings.read_env(texts);
        let file = file.or_else(|| std::env::var_os("TOMBOLO_RELAY_CONFIG").map(Into::into));
        if let Some(file) = file {
            settings.read_file(&file);
        }
        settings.judge()
    }
}

/// Runs the relay's command line; the first argument is the program's name.
///
/// Examples and tests call this after re-executing themselves, so no other binary must be built.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Command::try_parse_from(args) {
        Ok(command) => command,
        Err(error) => {
            // Help and version are asked for; anything else is a mistake.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(2) };
        }
    };
    match command.action {
        Action::Serve(flags) => match flags.read() {
            Ok(config) => run(config),
            Err(problems) => report(&problems),
        },
        Action::Access { action } => action.run(),
        Action::Factors { action } => action.run(),
        Action::Config { action: ConfigAction::Check(flags) } => match flags.read() {
            Ok(_) => {
                say("the settings are good\n");
                ExitCode::SUCCESS
            }
            Err(problems) => report(&problems),
        },
    }
}

fn run(config: Config) -> ExitCode {
    start_logging(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format_args!("no threads can be started: {error}")),
    };
    runtime.block_on(async {
        let mut terminate = match signal(SignalKind::terminate()) {
            Ok(signal) => signal,
            Err(error) => return fail(&format_args!("signals can not be heard: {error}")),
        };
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        let scheme = match config.tls {
            crate::config::TlsChoice::Files { .. } => "wss",
            _ => "ws",
        };
        match serve(config, shutdown).await {
            Ok(serving) => {
                announce(&serving, scheme);
                serving.finished().await;
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        }
    })
}

fn announce(serving: &Serving, scheme: &str) {
    say(&format!(
        "listening on {scheme}://{}\nrelay {}\nmetrics on http://{}/metrics\n",
        serving.address, serving.relay, serving.admin_address
    ));
}

fn start_logging(config: &Config) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(config.log_level))
        .with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Human => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

fn report(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        complain(problem);
    }
    ExitCode::from(2)
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}

fn complain(error: &dyn std::fmt::Display) {
    if writeln!(std::io::stderr(), "tombolo-relay: {error}").is_err() {
        tracing::error!(%error, "standard error is closed");
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::warn!("standard output is closed");
    }
}
