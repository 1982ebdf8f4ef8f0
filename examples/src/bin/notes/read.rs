//! Reading: the list, one note, and one note as it changes.

use std::io::IsTerminal as _;

use tombolo::document::Crdt;
use tombolo::{Document, DocumentEvent, Replica};

use crate::failure::Failure;
use crate::notebook::{self, BODY};
use crate::page;
use crate::place::Place;

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

/// Lists the notes of each workspace.
pub(crate) async fn list(place: &Place) -> Result<(), Failure> {
    let replica = place.open_offline().await?;
    let mut text = String::new();
    for summary in replica.workspaces().await? {
        let gap = if text.is_empty() { "" } else { "\n" };
        let role = summary.role.map_or("joining; run: notes sync", page::role_name);
        text.push_str(&format!("{gap}{} ({role})\n", notebook::workspace_name(&summary)));
        let notes = notebook::notes(&replica, &replica.workspace(summary.id)).await?;
        if notes.is_empty() && summary.role.is_some() {
            text.push_str("  no notes yet\n");
        }
        for note in notes {
            let crdt = match note.crdt {
                Crdt::Automerge => "automerge",
                Crdt::Yrs => "yrs",
                _ => "of a later version",
            };
            text.push_str(&format!("  {}  {}  ({crdt})\n", note.id.short(), note.title));
        }
    }
    replica.close().await?;
    if text.is_empty() {
        text.push_str("no notes yet; make one: notes new \"Title\", or accept an invite: notes join LINK\n");
    }
    page::print(&text)
}

/// Prints a note; with `watch`, again at every change until Ctrl-C.
pub(crate) async fn show(place: &Place, wanted: &str, watch: bool) -> Result<(), Failure> {
    let replica = if watch { place.open().await? } else { place.open_offline().await? };
    let (document, title) = notebook::find_note(&replica, wanted).await?;
    if watch {
        tokio::select! {
            watched = follow(&replica, &document, &title) => watched?,
            ended = tokio::signal::ctrl_c() => ended.map_err(Failure::io("waiting for Ctrl-C"))?,
        }
    } else {
        page::print(&body(&document).await?)?;
    }
    Ok(replica.close().await?)
}

async fn follow(replica: &Replica, document: &Document, title: &str) -> Result<(), Failure> {
    let mut events = document.subscribe().await?;
    let terminal = std::io::stdout().is_terminal();
    let (own, _) = replica.identity().await?;
    while let Some(event) = events.next().await {
        let by = match event {
            DocumentEvent::Changed { author: Some(author), .. } if author == own => "changed here".to_owned(),
            DocumentEvent::Changed { author: Some(author), .. } => format!("changed by {}", author.short()),
            DocumentEvent::Changed { .. } => "changed by several".to_owned(),
            _ => "watching; Ctrl-C ends".to_owned(),
        };
        let clear = if terminal { CLEAR } else { "" };
        page::print(&format!("{clear}── {title} ── {by} ──\n{}", body(document).await?))?;
    }
    Ok(())
}

async fn body(document: &Document) -> Result<String, Failure> {
    let mut text = document.read(|view| view.text(BODY)).await?.unwrap_or_default();
    if std::io::stdout().is_terminal() {
        text = page::plain_body(&text);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}
