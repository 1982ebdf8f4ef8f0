//! A small notebook for the command line: notes that several people edit, offline, end-to-end encrypted.
//!
//! | module | one sentence |
//! |---|---|
//! | [`place`], [`notebook`] | where the store is and how it opens; which notes there are and how one is named |
//! | [`mod@write`], [`splice`], [`read`] | new and edit; edits as splices; list and show |
//! | [`meet`], [`status`] | share, join and sync; what is owed and why |
//! | [`people`], [`devices`], [`kit`] | members, roles, removing, the trail; one's own devices; losing them all |
//! | [`page`], [`failure`] | what is printed, and what is said when something fails |
//!
//! Invariant: exit code 0 if it was done, 1 if it failed, 2 if the command was wrong, 3 if something is
//! still owed to others. `new`, `edit`, `list` and `show` touch no network.

mod devices;
mod factor;
mod failure;
mod kit;
mod meet;
mod notebook;
mod page;
mod people;
mod place;
mod read;
mod splice;
mod status;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use tombolo::document::Crdt;
use tombolo::protocol::record::Role;

use failure::Failure;
use meet::{Offer, Reach};
use place::Place;

const EXAMPLE: &str = "\
A session of two people, with a relay on this machine (tombolo-relay serve --data ./relay):

  Ana$  notes new Groceries
  Ana$  notes edit Groceries --append milk
  Ana$  notes sync --relay ws://127.0.0.1:7440
  Ana$  notes share                              prints a link; send it to Ben
  Ben$  notes join tombolo:1:…
  Ben$  notes edit Groceries                     opens $EDITOR; both may edit at once, offline
  Ben$  notes sync
  Ana$  notes show Groceries --watch             shows what comes in, as it comes

Who may do what, and what if a device is lost:

  Ana$  notes members                            then: notes role …, notes remove …, notes audit
  Ana$  notes kit                                24 words on paper, before it is too late
  Phone$  notes link --relay wss://…             a second device; then on the first: notes link …
  Ana$  notes revoke phone                       a lost one is given up
  New$  notes recover --relay wss://…            all were lost: back by the 24 words

On one machine, give each of them a store: NOTES_STORE=ana.tombolo, NOTES_STORE=ben.tombolo.
With a passphrase in NOTES_PASSPHRASE at the first command, the store opens with it alone.
Exit codes: 0 done, 1 failed, 2 wrong command, 3 something is still owed (notes status says what).";

const SYNCING: &str = "\
A relay or a workspace may want a second factor. Then a code of your authenticator app is asked for here; the
first time, a QR code to scan is shown. Without a terminal, pipe the code in: echo 123456 | notes sync";

/// Keeps notes that several people edit, offline and end-to-end encrypted.
#[derive(Parser)]
#[command(name = "notes", version, after_help = EXAMPLE)]
struct Command {
    /// The store [default: the platform's folder for data]
    #[arg(long, global = true, env = "NOTES_STORE", value_name = "FILE", help_heading = "Where the notes are")]
    store: Option<PathBuf>,
    /// The variable that holds the passphrase [default: NOTES_PASSPHRASE, if it is set]
    #[arg(long, global = true, value_name = "VAR", help_heading = "Where the notes are")]
    passphrase_env: Option<String>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a note
    New {
        /// What it is called
        #[arg(value_parser = parse_title)]
        title: String,
        /// The workspace; made if there is none of this name [default: the newest]
        #[arg(long = "in", value_name = "NAME")]
        workspace: Option<String>,
        /// The library that merges the note's text
        #[arg(long, value_enum, default_value = "automerge")]
        crdt: CrdtChoice,
    },
    /// Lists the notes, by workspace
    List,
    /// Prints a note
    Show {
        /// Its title, or how its title or id begins
        note: String,
        /// Prints it again at each change, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Edits a note: in $VISUAL or $EDITOR, or with lines from --append or a pipe
    Edit {
        /// Its title, or how its title or id begins
        note: String,
        /// Adds this as a line
        #[arg(long, value_name = "TEXT", conflicts_with_all = ["replace", "editor"])]
        append: Option<String>,
        /// Takes the whole new text from standard input; only what differs is changed
        #[arg(long, conflicts_with = "editor")]
        replace: bool,
        /// Opens this editor instead
        #[arg(long, value_name = "COMMAND")]
        editor: Option<String>,
    },
    /// Prints an invite link
    Share {
        /// What a joiner may do
        #[arg(long, value_enum, default_value = "writer")]
        role: RoleChoice,
        /// Ends the invite after this time (90m, 12h, 7d) [default: never]
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        expires: Option<Duration>,
        /// How many may join by it
        #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        uses: u32,
        /// Draws the link as a QR code as well
        #[arg(long)]
        qr: bool,
        /// The workspace [default: the newest]
        #[arg(long = "in", value_name = "NAME")]
        workspace: Option<String>,
        /// How long to wait until the relay knows of the invite
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
        deadline: Duration,
    },
    /// Accepts an invite
    Join {
        /// What `notes share` printed
        link: String,
        /// How long to wait to be let in; the invite is kept beyond it
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
        deadline: Duration,
    },
    /// Gives the relay what it lacks, and takes what is new there
    #[command(after_help = SYNCING)]
    Sync {
        /// The relay, needed the first time: wss://…, or ws:// on this machine
        #[arg(long, value_name = "ADDRESS")]
        relay: Option<String>,
        /// The relay's admission token, if it wants one
        #[arg(long, env = "NOTES_RELAY_TOKEN", hide_env_values = true, requires = "relay")]
        token: Option<String>,
        /// How long to try
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
        deadline: Duration,
    },
    /// Says what is owed and why, how the relays stand, and who is a member
    Status,
    #[command(flatten)]
    People(people::Command),
    #[command(flatten)]
    Devices(devices::Command),
    #[command(flatten)]
    Kit(kit::Command),
}

#[derive(Clone, Copy, ValueEnum)]
enum CrdtChoice {
    Automerge,
    Yrs,
}

/// A role, as it is typed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum RoleChoice {
    Carrier,
    Reader,
    Commenter,
    Writer,
    Admin,
    Owner,
}

impl From<RoleChoice> for Role {
    fn from(choice: RoleChoice) -> Self {
        match choice {
            RoleChoice::Carrier => Self::Carrier,
            RoleChoice::Reader => Self::Reader,
            RoleChoice::Commenter => Self::Commenter,
            RoleChoice::Writer => Self::Writer,
            RoleChoice::Admin => Self::Admin,
            RoleChoice::Owner => Self::Owner,
        }
    }
}

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was done.
    Done,
    /// Something is still to reach others.
    Owing,
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    match run(command).await {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Owing) => ExitCode::from(3),
        // Where even this can not be printed, the exit code says it.
        Err(failure) => page::tell(&format!("notes: {failure}")).map_or(ExitCode::FAILURE, |()| ExitCode::FAILURE),
    }
}

async fn run(command: Command) -> Result<Outcome, Failure> {
    let place = Place::choose(command.store, command.passphrase_env)?;
    match command.action {
        Action::New { title, workspace, crdt } => {
            let crdt = match crdt {
                CrdtChoice::Automerge => Crdt::Automerge,
                CrdtChoice::Yrs => Crdt::Yrs,
            };
            write::new(&place, &title, workspace.as_deref(), crdt).await?;
        }
        Action::List => read::list(&place).await?,
        Action::Show { note, watch } => read::show(&place, &note, watch).await?,
        Action::Edit { note, append, replace, editor } => {
            write::edit(&place, &note, write::Source::choose(append, replace, editor)).await?;
        }
        Action::Share { role, expires, uses, qr, workspace, deadline } => {
            let offer = Offer { role: role.into(), expires, uses, qr };
            return meet::share(&place, workspace.as_deref(), &offer, deadline).await;
        }
        Action::Join { link, deadline } => return meet::join(&place, &link, deadline).await,
        Action::Sync { relay, token, deadline } => {
            return meet::sync(&place, &Reach { relay, token, deadline }).await;
        }
        Action::Status => status::status(&place).await?,
        Action::People(command) => return people::run(&place, command).await,
        Action::Devices(command) => return devices::run(&place, command).await,
        Action::Kit(command) => return kit::run(&place, command).await,
    }
    Ok(Outcome::Done)
}

/// Reads a title; a note without one could not be found again.
fn parse_title(text: &str) -> Result<String, &'static str> {
    let title = text.trim();
    if title.is_empty() { Err("a note needs a title") } else { Ok(title.to_owned()) }
}

/// Reads "30s", "90m", "12h" or "7d".
pub(crate) fn parse_time(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a number and s, m, h or d, such as 30s or 7d";
    let unit = text.chars().next_back().ok_or(EXPECTED)?;
    let number: u32 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or(EXPECTED)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(EXPECTED),
    };
    Ok(Duration::from_secs(u64::from(number) * seconds))
}
