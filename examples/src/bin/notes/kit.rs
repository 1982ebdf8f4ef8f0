//! The recovery kit: 24 words on paper, and coming back by them with no device left.
//!
//! Invariant: a kit counts only once its words were typed back; words are never printed but when a kit is
//! made, and never taken from the command line, where others could see them.

use std::time::Duration;

use clap::Subcommand;
use tombolo::Replica;
use tombolo::crypto::RecoveryKit;
use tombolo::engine::Event;

use crate::failure::Failure;
use crate::place::Place;
use crate::{Outcome, page, parse_time};

/// What concerns the loss of every device.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes your recovery kit: a sheet with 24 words, to be kept on paper
    #[command(after_help = MAKING)]
    Kit {
        /// How long to wait until the relays have what the kit needs
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
        deadline: Duration,
    },
    /// Brings you back on a new device by the 24 words, when all others are lost
    #[command(after_help = RECOVERING)]
    Recover {
        /// A relay that has your notes
        #[arg(long, value_name = "ADDRESS")]
        relay: String,
        /// The relay's admission token, if it wants one
        #[arg(long, env = "NOTES_RELAY_TOKEN", hide_env_values = true)]
        token: Option<String>,
        /// How long to try
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time)]
        deadline: Duration,
    },
}

const MAKING: &str = "\
The sheet is printed once; write it down or print it, then type the words back. After that the root key
is erased on this device: the words are the only way back if you lose every device.";

const RECOVERING: &str = "\
Type the words, or pipe them in; four letters of each are enough. Your lost devices are given up and the
keys change. Where this device has notes of its own, name another store: notes --store FILE recover …";

/// Words of a kit.
const WORDS: usize = 24;

/// Runs one of them.
pub(crate) async fn run(place: &Place, command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Kit { deadline } => make(place, deadline).await,
        Command::Recover { relay, token, deadline } => recover(place, &relay, token.as_deref(), deadline).await,
    }
}

async fn make(place: &Place, deadline: Duration) -> Result<Outcome, Failure> {
    let replica = place.open().await?;
    let builder = replica.recovery_kit().await?;
    page::print(&builder.kit().to_sheet("(write the date here)"))?;
    let typed = page::ask_words("\nType the 24 words back, to be sure that they are written down:\n", WORDS)?;
    let kit = RecoveryKit::from_words(&typed).map_err(Failure::Kit)?;
    replica.confirm_kit(kit).await?;
    page::print("the kit is yours; keep the sheet where nobody else finds it\n")?;
    let known = !replica.relays().await?.is_empty();
    let outcome = if known && replica.sync_once(deadline).await.is_err() {
        page::tell("no relay was reached: the kit brings your notes back after the next: notes sync")?;
        Outcome::Owing
    } else {
        Outcome::Done
    };
    replica.close().await?;
    Ok(outcome)
}

async fn recover(place: &Place, relay: &str, token: Option<&str>, deadline: Duration) -> Result<Outcome, Failure> {
    if place.store.exists() {
        return Err(Failure::StoreThere { store: place.store.clone() });
    }
    let typed = page::ask_words("The 24 words of the kit:\n", WORDS)?;
    let kit = RecoveryKit::from_words(&typed).map_err(Failure::Kit)?;
    let user = kit.user();
    let replica = place.recover(kit).await?;
    let mut events = replica.events();
    replica.dial_with(relay, false, token).await?;
    page::tell(&format!("you are {} again; asking {relay} for what is yours …", user.short()))?;
    let outcome = match tokio::time::timeout(deadline, recovered(&replica, &mut events)).await {
        Ok(workspaces) => {
            let count = page::count(workspaces? as u64, "workspace", "workspaces");
            page::print(&format!("{count} came back, and lost devices are given up; see: notes list\n"))?;
            Outcome::Done
        }
        Err(_) => {
            page::tell("not everything is back yet; it goes on at the next: notes sync")?;
            Outcome::Owing
        }
    };
    replica.close().await?;
    Ok(outcome)
}

/// Waits until all is back; says what comes.
async fn recovered(replica: &Replica, events: &mut tombolo::ReplicaEvents) -> Result<usize, Failure> {
    loop {
        match events.next().await {
            Some(Event::Recovered { workspaces }) => {
                // What the recovery stated last is still on its way.
                drop(replica.sync_once(Duration::from_secs(10)).await);
                return Ok(workspaces);
            }
            Some(Event::Joined { workspace }) => {
                let name = replica.workspace(workspace).name().await?.unwrap_or_default();
                page::tell(&format!("found \"{}\"", page::plain(&name)))?;
            }
            Some(Event::DeviceRevoked { device }) => page::tell(&format!("giving up device {}", device.short()))?,
            Some(_) => {}
            None => return Err(Failure::Tombolo(tombolo::Error::Closed)),
        }
    }
}
