//! Who is in a workspace: listing, roles, removing, and the trail of all that was stated.
//!
//! Invariant: an act is printed as done only once a relay has it; what only rests here is said to.

use std::time::Duration;

use clap::Subcommand;
use tombolo::protocol::ids::UserId;
use tombolo::protocol::record::Role;
use tombolo::{ActOutcome, Member, Replica, Workspace};

use crate::failure::Failure;
use crate::place::Place;
use crate::{Outcome, RoleChoice, notebook, page, parse_time};

/// What concerns the members of a workspace.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists who is in a workspace, with roles and devices
    Members {
        /// The workspace [default: the newest]
        #[arg(long = "in", value_name = "NAME")]
        workspace: Option<String>,
    },
    /// Gives a member another role, for good or for a time
    #[command(after_help = ROLES)]
    Role {
        /// Whom: how the user's id begins, as `notes members` shows it
        member: String,
        /// The role
        #[arg(value_enum)]
        role: RoleChoice,
        /// Ends the role after this time (12h, 7d), by the relay's clock [default: never]
        #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
        time: Option<Duration>,
        /// The workspace [default: the newest]
        #[arg(long = "in", value_name = "NAME")]
        workspace: Option<String>,
        /// How long to wait until the relay knows
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
        deadline: Duration,
    },
    /// Removes a member: the relay lets them in no more, and the keys change
    #[command(after_help = REMOVAL)]
    Remove {
        /// Whom: how the user's id begins, as `notes members` shows it
        member: String,
        /// The workspace [default: the newest]
        #[arg(long = "in", value_name = "NAME")]
        workspace: Option<String>,
        /// How long to wait until the relay knows
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
        deadline: Duration,
    },
    /// Prints who stated what about members, keys and devices, and what became of it
    #[command(after_help = TRAIL)]
    Audit {
        /// Prints one JSON object a line, for other programs
        #[arg(long)]
        json: bool,
        /// The workspace [default: the newest]
        #[arg(long = "in", value_name = "NAME")]
        workspace: Option<String>,
    },
}

const ROLES: &str = "\
carrier    keeps the sealed data for others, reads nothing
reader     reads
commenter  reads, and writes comments (this program has none)
writer     reads and writes
admin      invites, removes and sets roles up to writer
owner      everything; there is always one

Admins set roles up to writer, owners all of them.";

const REMOVAL: &str = "\
From then on the relay refuses their devices, and nothing that is written opens with the keys they have.
What they have read stays with them. What they wrote and sent before stays in the notes.
To leave by yourself, name yourself.";

const TRAIL: &str = "\
Each line: id, time as the author's clock had it, who, what; in brackets what relays attested, by their
own clocks; behind -- why it does not count, if it does not. Every member's device prints the same.
Example: notes audit --json | jq 'select(.act == \"remove\")'";

/// Runs one of them.
pub(crate) async fn run(place: &Place, command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Members { workspace } => members(place, workspace.as_deref()).await,
        Command::Role { member, role, time, workspace, deadline } => {
            let change = Change { member, role: Some((role.into(), time)), workspace, deadline };
            change.make(place).await
        }
        Command::Remove { member, workspace, deadline } => {
            Change { member, role: None, workspace, deadline }.make(place).await
        }
        Command::Audit { json, workspace } => audit(place, json, workspace.as_deref()).await,
    }
}

async fn members(place: &Place, workspace: Option<&str>) -> Result<Outcome, Failure> {
    let replica = place.open_offline().await?;
    let found = notebook::find_workspace(&replica, workspace).await?;
    let (_, own) = replica.identity().await?;
    let mut text = String::new();
    for member in replica.workspace(found.id).members().await? {
        text.push_str(&line(&member, own));
    }
    replica.close().await?;
    page::print(&text)?;
    Ok(Outcome::Done)
}

fn line(member: &Member, own: UserId) -> String {
    let until = member.expires_ms.map(|at| format!(", for {} more", page::left(at))).unwrap_or_default();
    let devices = page::count(member.devices.len() as u64, "device", "devices");
    let you = if member.user == own { ", you" } else { "" };
    format!("{}  {:9} {devices}{until}{you}\n", member.user.short(), page::role_name(member.role))
}

/// A change of one member's standing.
struct Change {
    member: String,
    /// The role and how long it lasts; `None` removes.
    role: Option<(Role, Option<Duration>)>,
    workspace: Option<String>,
    deadline: Duration,
}

impl Change {
    async fn make(&self, place: &Place) -> Result<Outcome, Failure> {
        let replica = place.open().await?;
        let found = notebook::find_workspace(&replica, self.workspace.as_deref()).await?;
        let workspace = replica.workspace(found.id);
        let member = find_member(&workspace, &self.member).await?;
        let (_, own) = replica.identity().await?;
        if member.user != own {
            notebook::require(&found, Role::Admin, "change who is in it")?;
        }
        // Best on top of what the others have stated; without a relay it is kept and stated later.
        drop(tokio::time::timeout(self.deadline, workspace.settled()).await);
        let (who, name) = (member.user.short(), notebook::workspace_name(&found));
        let (acted, done) = match self.role {
            None => {
                (workspace.remove_member(member.user).await, format!("{who} is out of \"{name}\"; the keys changed"))
            }
            Some((role, None)) => {
                let done = format!("{who} is {} of \"{name}\"", page::role_name(role));
                (workspace.set_role(member.user, role).await, done)
            }
            Some((role, Some(time))) => {
                let until = page::now_ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
                let done = format!("{who} is {} of \"{name}\" for {}", page::role_name(role), page::left(until));
                (workspace.set_role_until(member.user, role, until).await, done)
            }
        };
        let outcome = finish(&workspace, acted?, &done, self.deadline).await;
        replica.close().await?;
        outcome
    }
}

/// Waits until a relay has an act.
async fn finish(workspace: &Workspace, acted: ActOutcome, done: &str, deadline: Duration) -> Result<Outcome, Failure> {
    let stated = matches!(acted, ActOutcome::Stated(_));
    match tokio::time::timeout(deadline, workspace.settled()).await {
        Ok(settled) if stated => {
            settled?;
            page::print(&format!("{done}\n"))?;
            Ok(Outcome::Done)
        }
        _ => {
            page::tell("no relay was reached: it is kept, and takes effect at the next: notes sync")?;
            Ok(Outcome::Owing)
        }
    }
}

/// Finds the one member whose id begins so.
async fn find_member(workspace: &Workspace, wanted: &str) -> Result<Member, Failure> {
    let mut found = workspace.members().await?;
    let lower = wanted.trim().to_lowercase();
    found.retain(|member| !lower.is_empty() && member.user.to_string().starts_with(&lower));
    match (found.pop(), found.is_empty()) {
        (Some(member), true) => Ok(member),
        (None, _) => Err(Failure::NoMember { wanted: wanted.to_owned() }),
        (Some(_), false) => Err(Failure::ManyMembers { wanted: wanted.to_owned() }),
    }
}

async fn audit(place: &Place, json: bool, workspace: Option<&str>) -> Result<Outcome, Failure> {
    let replica: Replica = place.open_offline().await?;
    let found = notebook::find_workspace(&replica, workspace).await?;
    let entries = replica.workspace(found.id).audit().await?;
    replica.close().await?;
    let text = entries.iter().map(|entry| if json { format!("{}\n", entry.to_json()) } else { format!("{entry}\n") });
    page::print(&text.collect::<String>())?;
    Ok(Outcome::Done)
}
