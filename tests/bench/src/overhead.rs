//! `overhead`: what an entry weighs on the wire beyond the change that it carries.
//!
//! Invariant: one writer in a steady session, one edit an entry; bytes of WebSocket messages as the
//! relay counts them, receipts and what the reader says included, minus the change's own bytes, which
//! are those of the same edits in the CRDT library alone.

use automerge::transaction::Transactable as _;
use automerge::{ActorId, Automerge, ObjType, ROOT};
use tombolo::Milestone;
use tombolo::document::Crdt;
use yrs::{Map as _, Text as _, Transact as _};

use crate::error::BenchError;
use crate::measure::awaited;
use crate::report::{BYTES, MESSAGES, Report, System};
use crate::scene::{CRDTS, Scene, WORDS, splice};

/// Entries before the session counts as steady.
const WARM: usize = 20;
/// Entries that are weighed.
const ENTRIES: usize = 200;

/// Measures both CRDTs once.
pub(crate) async fn run(report: &mut Report) -> Result<(), BenchError> {
    for (crdt, name) in CRDTS {
        Box::pin(run_crdt(crdt, name, report)).await?;
    }
    Ok(())
}

async fn run_crdt(crdt: Crdt, name: &str, report: &mut Report) -> Result<(), BenchError> {
    let scene = Scene::build().await?;
    let document = scene.workspace.create_document(crdt).await?;
    let (bobs_device, _) = scene.bob.identity().await?;
    let mut before = scene.relay.counted()?;
    for nth in 0..WARM + ENTRIES {
        if nth == WARM {
            awaited("seen", document.seen_by(bobs_device)).await?;
            before = scene.relay.counted()?;
        }
        splice(&document, nth * WORDS.len(), 0, WORDS).await?;
        awaited("durable", document.wait_for(Milestone::RelayDurable)).await?;
    }
    awaited("seen", document.seen_by(bobs_device)).await?;
    let counted = scene.relay.counted()? - before;
    let entries = ENTRIES as f64;
    let change = match crdt {
        Crdt::Automerge => automerge_change_bytes()?,
        _ => yrs_change_bytes()?,
    };
    let mut add = |what: &str, value: f64| {
        report.add(&format!("overhead/{name}-{what}"), System::Tombolo, BYTES, value);
    };
    add("change", change);
    add("stored", counted.stored_bytes / entries - change);
    add("in", counted.received_bytes / entries - change);
    add("to-reader", counted.fan_out_bytes / entries - change);
    add("out", counted.sent_bytes / entries - change);
    let messages = (counted.frames_in + counted.frames_out) / entries;
    report.add(&format!("overhead/{name}"), System::Tombolo, MESSAGES, messages);
    scene.alice.close().await?;
    Ok(scene.bob.close().await?)
}

/// Mean bytes of the weighed changes in automerge alone, by an actor of the same size.
fn automerge_change_bytes() -> Result<f64, BenchError> {
    let failed = |_| BenchError::Crdt("automerge");
    let mut document = Automerge::new().with_actor(ActorId::from([7_u8; 16]));
    let mut transaction = document.transaction();
    let text = transaction.put_object(ROOT, "text", ObjType::Text).map_err(failed)?;
    transaction.commit();
    let mut bytes = 0;
    for nth in 0..WARM + ENTRIES {
        let mut transaction = document.transaction();
        transaction.splice_text(&text, nth * WORDS.len(), 0, WORDS).map_err(failed)?;
        // Five bytes of seconds, as any time of our days takes.
        transaction.commit_with(automerge::transaction::CommitOptions::default().with_time(1_790_000_000));
        if nth >= WARM {
            let change = document.get_last_local_change().ok_or(BenchError::Crdt("automerge"))?;
            bytes += change.raw_bytes().len();
        }
    }
    Ok(bytes as f64 / ENTRIES as f64)
}

/// Mean bytes of the weighed changes in yrs alone, by a client whose number is as long as ours.
fn yrs_change_bytes() -> Result<f64, BenchError> {
    let mut options = yrs::Options::with_client_id(yrs::ClientID::new((1 << 53) - 1));
    options.offset_kind = yrs::OffsetKind::Utf16;
    let document = yrs::Doc::with_options(options);
    let root = document.get_or_insert_map("root");
    let text = root.insert(&mut document.transact_mut(), "text", yrs::TextPrelim::new(""));
    let mut bytes = 0;
    for nth in 0..WARM + ENTRIES {
        let at = u32::try_from(nth * WORDS.len()).map_err(|_| BenchError::Crdt("a huge position"))?;
        let mut transaction = document.transact_mut();
        text.insert(&mut transaction, at, WORDS);
        if nth >= WARM {
            bytes += transaction.encode_update_v1().len();
        }
    }
    Ok(bytes as f64 / ENTRIES as f64)
}
