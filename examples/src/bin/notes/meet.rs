//! Meeting others: inviting, joining, and getting in step with the relays.
//!
//! Invariant: `sync` says "in step" only if every workspace is settled; what is still owed otherwise
//! is printed with its reason.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo::crypto::InviteLink;
use tombolo::engine::{Event, RelayState};
use tombolo::protocol::ids::WorkspaceId;
use tombolo::protocol::record::Role;
use tombolo::{Error, Replica, ReplicaEvents, Workspace};

use crate::factor::Factors;
use crate::failure::Failure;
use crate::place::Place;
use crate::{Outcome, devices, notebook, page, status};

/// What an invite offers.
pub(crate) struct Offer {
    pub(crate) role: Role,
    pub(crate) expires: Option<Duration>,
    pub(crate) uses: u32,
    pub(crate) qr: bool,
}

/// Where to sync with, and how long to try.
pub(crate) struct Reach {
    pub(crate) relay: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) deadline: Duration,
}

/// Prints the link that lets others in.
pub(crate) async fn share(
    place: &Place,
    workspace: Option<&str>,
    offer: &Offer,
    deadline: Duration,
) -> Result<Outcome, Failure> {
    let replica = place.open().await?;
    let found = notebook::find_workspace(&replica, workspace).await?;
    notebook::require(&found, if offer.role >= Role::Admin { Role::Owner } else { Role::Admin }, "invite to it")?;
    if offer.role == Role::Owner {
        return Err(Failure::NoOwnerInvite);
    }
    let workspace = replica.workspace(found.id);
    let mut invite = workspace.invite(offer.role).uses(offer.uses);
    if let Some(expires) = offer.expires {
        invite = invite.expires_in(expires);
    }
    let link = invite.create().await?;
    page::tell(&format!(
        "whoever has this link becomes a {} of \"{}\" ({}):",
        page::role_name(offer.role),
        notebook::workspace_name(&found),
        page::count(u64::from(offer.uses), "use", "uses"),
    ))?;
    if offer.qr {
        page::tell(&devices::drawn(&link.to_string()))?;
    }
    page::print(&format!("{link}\n"))?;
    let settled = tokio::time::timeout(deadline, workspace.settled()).await;
    replica.close().await?;
    match settled {
        Ok(settled) => settled.map(|()| Outcome::Done).map_err(Failure::from),
        Err(_) => {
            page::tell("the relay was not reached: before others can use the link, run: notes sync")?;
            Ok(Outcome::Owing)
        }
    }
}

/// Accepts an invite, and waits a while to be let in.
pub(crate) async fn join(place: &Place, link: &str, deadline: Duration) -> Result<Outcome, Failure> {
    // A link that is none should not make a store.
    let invite: InviteLink = link.trim().parse().map_err(Error::Invite)?;
    let replica = place.open().await?;
    let mut events = replica.events();
    let workspace = replica.join(&invite.to_string()).await?;
    let joined = tokio::select! {
        refused = refusal(&mut events, workspace.id()) => return Err(refused),
        joined = tokio::time::timeout(deadline, arrived(&workspace)) => joined,
    };
    let outcome = match joined {
        Ok(joined) => {
            joined?;
            let name = workspace.name().await?.unwrap_or_default();
            page::print(&format!("joined \"{}\"; see: notes list\n", page::plain(&name)))?;
            Outcome::Done
        }
        Err(_) => {
            page::tell("the invite is kept, but no relay of it was reached yet; when you are online, run: notes sync")?;
            Outcome::Owing
        }
    };
    replica.close().await?;
    Ok(outcome)
}

async fn arrived(workspace: &Workspace) -> Result<(), Failure> {
    workspace.ready().await?;
    Ok(workspace.settled().await?)
}

async fn refusal(events: &mut ReplicaEvents, joining: WorkspaceId) -> Failure {
    loop {
        match events.next().await {
            Some(Event::JoinRefused { workspace, .. }) if workspace == joining => return Failure::JoinRefused,
            Some(_) => {}
            None => return Failure::Tombolo(Error::Closed),
        }
    }
}

/// Gets in step with the relays.
pub(crate) async fn sync(place: &Place, reach: &Reach) -> Result<Outcome, Failure> {
    let replica = place.open().await?;
    let before = notebook::versions(&replica).await?;
    let mut events = replica.events();
    if let Some(address) = &reach.relay {
        replica.dial_with(address, false, reach.token.as_deref()).await?;
    }
    if replica.relays().await?.is_empty() {
        return Err(Failure::NoRelay);
    }
    let ended = come_in_step(&replica, reach.deadline, &mut events).await;
    for (document, version) in notebook::versions(&replica).await? {
        if before.get(&document) != Some(&version) {
            page::print(&format!("came in: {}\n", status::title(&replica, Some(document)).await))?;
        }
    }
    let outcome = match ended {
        Ok(()) => {
            page::print("in step: everything here is at the relay, everything there is here\n")?;
            Outcome::Done
        }
        Err(Failure::Tombolo(Error::Deadline)) => {
            let seconds = page::count(reach.deadline.as_secs(), "second", "seconds");
            page::tell(&format!("not in step after {seconds}; it goes on at the next: notes sync"))?;
            page::print(&status::debts(&replica).await?)?;
            Outcome::Owing
        }
        Err(failure) => return Err(failure),
    };
    replica.close().await?;
    Ok(outcome)
}

/// Syncs while telling what happens; a relay that wants a second factor is shown one, and the time to sync begins
/// anew.
async fn come_in_step(replica: &Replica, deadline: Duration, events: &mut ReplicaEvents) -> Result<(), Failure> {
    let (mut factors, mut wishes) = (Factors::default(), replica.events());
    loop {
        let wanted = tokio::select! {
            biased;
            told = narrate(replica, events) => return told,
            wanted = factors.wanted(&mut wishes) => wanted?,
            synced = step(replica, deadline) => return synced,
        };
        factors.show(replica, wanted).await?;
    }
}

/// Returns when everything is settled, and a relay was reached even if there is nothing to settle.
async fn step(replica: &Replica, deadline: Duration) -> Result<(), Failure> {
    let began = tokio::time::Instant::now();
    let mut events = replica.events();
    replica.sync_once(deadline).await?;
    let online = |(_, state): &(String, RelayState)| matches!(state, RelayState::Online { .. });
    while !replica.relays().await?.iter().any(online) {
        let left = deadline.saturating_sub(began.elapsed());
        tokio::time::timeout(left, events.next()).await.map_err(|_| Error::Deadline)?;
    }
    Ok(())
}

/// Says what happens, until the replica is closed.
async fn narrate(replica: &Replica, events: &mut ReplicaEvents) -> Result<(), Failure> {
    let mut told = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            // Each state once: a relay that is away is dialled many times.
            Event::Relay { address, state } => {
                let line = format!("{address}: {}", status::relay_state(&state, false));
                if told.insert(line.clone()) {
                    page::tell(&line)?;
                }
            }
            Event::Joined { workspace } => {
                let name = replica.workspace(workspace).name().await?.unwrap_or_default();
                page::tell(&format!("joined \"{}\"", page::plain(&name)))?;
            }
            Event::JoinRefused { .. } => page::tell(&Failure::JoinRefused.to_string())?,
            Event::SetAside { entry, .. } => {
                page::tell(&format!("an entry by {} was set aside: {}", entry.author.short(), entry.reason))?;
            }
            Event::RelayReplaced { address, .. } => {
                page::tell(&format!("{address} has another key than before: what it lacks is given to it again"))?;
            }
            Event::RelayRollback { address, .. } => {
                page::tell(&format!("{address} lost part of its log: what it lacks is given to it again"))?;
            }
            Event::RelayFork { address, .. } => {
                page::tell(&format!("{address} contradicts what it signed before; tell whoever runs it"))?;
            }
            Event::CloneSuspected { .. } => {
                page::tell("this store was copied or restored; it goes on under a new number")?;
            }
            _ => {}
        }
    }
    Ok(())
}
