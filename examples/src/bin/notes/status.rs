//! How things stand: relays, members, what is owed and why, what was set aside.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo::protocol::ids::DocumentId;
use tombolo::{DocumentDebt, Error, Replica, SyncDebt, Workspace, WorkspaceSummary};

use crate::failure::Failure;
use crate::notebook::{self, TITLE};
use crate::page;
use crate::place::Place;

/// How long a status waits for relays that are being dialled.
const LOOK_TIME: Duration = Duration::from_secs(3);
/// Waits above this are told in minutes.
const LONG: Duration = Duration::from_secs(120);

/// Prints everything.
pub(crate) async fn status(place: &Place) -> Result<(), Failure> {
    let replica = place.open().await?;
    // A moment for the relays to answer; how far it came is what is printed.
    tokio::select! {
        synced = replica.sync_once(LOOK_TIME) => match synced {
            Ok(()) | Err(Error::Deadline) => {}
            Err(error) => return Err(error.into()),
        },
        nobody = nobody_there(&replica) => nobody?,
    }
    let (device, user) = replica.identity().await?;
    let mut text =
        format!("store   {}\nyou     {} on device {}\n", place.store.display(), user.short(), device.short());
    text.push_str(&relays(&replica).await?);
    for summary in replica.workspaces().await? {
        let workspace = replica.workspace(summary.id);
        text.push_str(&debt(&replica, &summary, &workspace.sync_debt().await?).await);
        text.push_str(&members(&replica, &workspace).await?);
    }
    replica.close().await?;
    page::print(&text)
}

/// Returns as soon as every relay was dialled in vain.
async fn nobody_there(replica: &Replica) -> Result<(), Failure> {
    let mut events = replica.events();
    let mut silent = BTreeSet::new();
    while !replica.relays().await?.iter().all(|(address, _)| silent.contains(address)) {
        match events.next().await {
            Some(Event::Relay { address, state: RelayState::Offline { .. } }) => silent.insert(address),
            Some(_) => true,
            None => return Ok(()),
        };
    }
    Ok(())
}

/// Returns what each workspace owes, and how the relays stand.
pub(crate) async fn debts(replica: &Replica) -> Result<String, Failure> {
    let mut text = relays(replica).await?;
    for summary in replica.workspaces().await? {
        let owed = replica.workspace(summary.id).sync_debt().await?;
        text.push_str(&debt(replica, &summary, &owed).await);
    }
    Ok(text)
}

/// Returns a session's state in words; `when` says when it is tried again.
pub(crate) fn relay_state(state: &RelayState, when: bool) -> String {
    match state {
        RelayState::Online { relay } => format!("reached (key {})", relay.short()),
        RelayState::Dialling => "being dialled".to_owned(),
        RelayState::Offline { retry_in, reason, proven } => {
            // What was said before the relay proved its key may be anybody's word.
            let told = |reason: &OfflineReason| *proven || matches!(reason, OfflineReason::Unreached(_));
            let why = reason.filter(told).map_or_else(|| "can not be reached".to_owned(), |reason| reason.to_string());
            match retry_in {
                Some(wait) if when && *wait > LONG => format!("{why}; next try in {} min", wait.as_secs() / 60),
                Some(wait) if when => format!("{why}; next try in {:.1} s", wait.as_secs_f64()),
                Some(_) => format!("{why}; trying on"),
                None => why,
            }
        }
        _ => "in a state of a later version".to_owned(),
    }
}

async fn relays(replica: &Replica) -> Result<String, Failure> {
    let relays = replica.relays().await?;
    if relays.is_empty() {
        return Ok("relay   none yet; name one: notes sync --relay wss://relay.example\n".to_owned());
    }
    let line = |(address, state): &(String, RelayState)| format!("relay   {address}: {}\n", relay_state(state, true));
    Ok(relays.iter().map(line).collect())
}

async fn debt(replica: &Replica, summary: &WorkspaceSummary, owed: &SyncDebt) -> String {
    let role = summary.role.map_or("joining", page::role_name);
    let standing = match (owed.is_settled(), owed.confirmed) {
        (true, _) => "in step",
        (false, true) => "not in step yet",
        (false, false) => "not confirmed by a relay",
    };
    let mut text = format!("\n{} ({role}): {standing}\n", notebook::workspace_name(summary));
    for document in &owed.documents {
        let title = title(replica, document.document).await;
        text.push_str(&format!("  owed      {title}: {}\n", document_debt(document)));
    }
    if owed.records > 0 {
        let records = page::count(owed.records, "record", "records");
        text.push_str(&format!("  owed      {records} of the membership\n"));
    }
    for (reason, number) in &owed.held {
        let entries = page::count(*number, "entry", "entries");
        text.push_str(&format!("  waits     {entries} of others: {reason}\n"));
    }
    for entry in &owed.set_aside {
        let title = title(replica, entry.document).await;
        let (author, since) = (entry.author.short(), page::ago(entry.since_ms));
        text.push_str(&format!("  set aside entry {} by {author} in {title}, {since}: {}\n", entry.seq, entry.reason));
    }
    text
}

fn document_debt(owed: &DocumentDebt) -> String {
    let mut parts = Vec::new();
    if owed.pending_changes > 0 {
        parts.push(page::count(owed.pending_changes, "change", "changes"));
    }
    if owed.unplaced_entries > 0 {
        parts.push(page::count(owed.unplaced_entries, "sealed entry", "sealed entries"));
    }
    let since = owed.since_ms.map(|since| format!(", the oldest {}", page::ago(since))).unwrap_or_default();
    format!("{}{since}: {}", parts.join(" and "), owed.reason)
}

async fn members(replica: &Replica, workspace: &Workspace) -> Result<String, Failure> {
    let (_, own) = replica.identity().await?;
    let mut text = String::new();
    for member in workspace.members().await? {
        let you = if member.user == own { ", you" } else { "" };
        let devices = page::count(member.devices.len() as u64, "device", "devices");
        let role = page::role_name(member.role);
        text.push_str(&format!("  member    {} {role}, {devices}{you}\n", member.user.short()));
    }
    Ok(text)
}

/// Returns the title of a note in quotes, or what can be said instead.
pub(crate) async fn title(replica: &Replica, document: Option<DocumentId>) -> String {
    let Some(id) = document else {
        return "a note that was not read yet".to_owned();
    };
    match replica.document(id).read(|view| view.text(TITLE)).await {
        Ok(Some(title)) => format!("\"{}\"", page::plain(&title)),
        _ => id.short(),
    }
}
