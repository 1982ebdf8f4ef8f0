//! `members`: what a removal costs in a workspace of many devices, and a long membership log when a store opens.
//!
//! Invariant: the members joined through the relay, one device each; a removal carries a new epoch, wrapped to
//! every device that stays, and time runs until the relay has it for good.

use std::path::Path;
use std::time::Instant;

use tombolo::protocol::ids::UserId;
use tombolo::protocol::record::Role;
use tombolo::{ActOutcome, Replica, Workspace};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::note;
use crate::relay::Relay;
use crate::report::{BYTES, Report, SECONDS, System};

/// Devices of the workspace, the owner's included.
const DEVICES: usize = 200;
/// Records of the long log.
const RECORDS: usize = 10_000;

/// Measures once.
pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    let folder = tempfile::tempdir()?;
    let relay = Relay::start(&folder.path().join("relay"))?;
    let store = folder.path().join("owner");
    let owner = Replica::open(&store).await?;
    let workspace = owner.create_workspace("Many people").await?;
    owner.dial(&relay.address()).await?;
    let joined = join_all(folder.path(), &workspace).await?;
    remove_one(&relay, &workspace, joined.0, report).await?;
    lengthen(&workspace, joined.1, report).await?;
    let id = workspace.id();
    owner.close().await?;
    let start = Instant::now();
    let owner = Replica::open(&store).await?;
    let members = owner.workspace(id).members().await?;
    report.add(&format!("members/open-{RECORDS}-records"), System::Tombolo, SECONDS, start.elapsed().as_secs_f64());
    if members.len() != DEVICES - 1 {
        return Err(BenchError::Wrong("the number of members"));
    }
    Ok(owner.close().await?)
}

/// Lets everybody join by one link; returns two of those who did.
async fn join_all(folder: &Path, workspace: &Workspace) -> Result<(UserId, UserId), BenchError> {
    awaited("the owner in step", workspace.settled()).await?;
    let link = workspace.invite(Role::Writer).unlimited_uses().create().await?.to_string();
    let mut users = Vec::new();
    for number in 1..DEVICES {
        let replica = Replica::open(folder.join(format!("member-{number}"))).await?;
        let theirs = replica.join(&link).await?;
        awaited("a member", theirs.ready()).await?;
        awaited("a member in step", theirs.settled()).await?;
        users.push(replica.identity().await?.1);
        replica.close().await?;
        if number % 50 == 0 {
            note(&format_args!("members: {number} of {} have joined", DEVICES - 1));
        }
    }
    while workspace.members().await?.len() < DEVICES {
        awaited("the owner in step with all", workspace.settled()).await?;
    }
    match users.as_slice() {
        [first, second, ..] => Ok((*first, *second)),
        _ => Err(BenchError::Wrong("the number of members")),
    }
}

/// Removes a member while the relay is there.
async fn remove_one(relay: &Relay, workspace: &Workspace, user: UserId, report: &mut Report) -> Result<(), BenchError> {
    let before = relay.counted()?;
    let start = Instant::now();
    stated(workspace.remove_member(user).await?)?;
    let stated = start.elapsed().as_secs_f64();
    awaited("the removal at the relay", workspace.settled()).await?;
    let settled = start.elapsed().as_secs_f64();
    let counted = relay.counted()? - before;
    report.add(&format!("members/removal-{DEVICES}-stated"), System::Tombolo, SECONDS, stated);
    report.add(&format!("members/removal-{DEVICES}"), System::Tombolo, SECONDS, settled);
    report.add(&format!("members/removal-{DEVICES}"), System::Tombolo, BYTES, counted.stored_bytes);
    Ok(())
}

/// Changes somebody's role back and forth until the log is long, and once more.
async fn lengthen(workspace: &Workspace, user: UserId, report: &mut Report) -> Result<(), BenchError> {
    for number in 0..RECORDS {
        let role = if number % 2 == 0 { Role::Commenter } else { Role::Writer };
        stated(workspace.set_role(user, role).await?)?;
        if (number + 1) % 2_500 == 0 {
            note(&format_args!("members: {} of {RECORDS} records", number + 1));
        }
    }
    let start = Instant::now();
    stated(workspace.set_role(user, Role::Reader).await?)?;
    report.add(
        &format!("members/act-after-{RECORDS}-records"),
        System::Tombolo,
        SECONDS,
        start.elapsed().as_secs_f64(),
    );
    awaited("the long log at the relay", workspace.settled()).await?;
    Ok(())
}

fn stated(outcome: ActOutcome) -> Result<(), BenchError> {
    match outcome {
        ActOutcome::Stated(_) => Ok(()),
        _ => Err(BenchError::Wrong("an act that was not stated at once")),
    }
}
