//! `trace`: the recorded writing of a paper, edit by edit, through the engine and through the CRDT alone.
//!
//! Invariant: each side runs in a process of its own, so that its peak memory is its own; both end with
//! the text that the trace says they must.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use automerge::transaction::Transactable as _;
use automerge::{Automerge, ObjType, ROOT, ReadDoc as _};
use flate2::read::GzDecoder;
use tombolo::Replica;
use tombolo::document::Crdt;
use yrs::updates::decoder::Decode as _;
use yrs::{GetString as _, Map as _, ReadTxn as _, Text as _, Transact as _};

use crate::error::BenchError;
use crate::measure::timed;
use crate::report::{BYTES, RATIO, RSS, Report, SECONDS, System};
use crate::scene::splice;
use crate::system;
use crate::window::Window;

/// The first argument of the process that runs one side.
pub(crate) const AS_TRACE: &str = "trace-alone";

/// One edit: position, how many are deleted, what is inserted.
pub(crate) struct Step {
    pub(crate) at: usize,
    pub(crate) removed: usize,
    pub(crate) inserted: String,
}

/// A recorded trace.
pub(crate) struct Trace {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: String,
}

impl Trace {
    /// Reads the paper's trace.
    pub(crate) fn paper() -> Result<Self, BenchError> {
        const SHAPE: BenchError = BenchError::Wrong("the trace has another shape");
        let Ok(file) = File::open(paper_file()) else {
            return Err(BenchError::NoTraces);
        };
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text)?;
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|_| SHAPE)?;
        let end = json["endContent"].as_str().ok_or(SHAPE)?.to_owned();
        let mut steps = Vec::new();
        for turn in json["txns"].as_array().ok_or(SHAPE)? {
            for patch in turn["patches"].as_array().ok_or(SHAPE)? {
                let number = |at: usize| patch[at].as_u64().and_then(|number| usize::try_from(number).ok());
                let inserted = patch[2].as_str().ok_or(SHAPE)?.to_owned();
                steps.push(Step { at: number(0).ok_or(SHAPE)?, removed: number(1).ok_or(SHAPE)?, inserted });
            }
        }
        Ok(Self { steps, end })
    }
}

/// Where the recorded paper is.
pub(crate) fn paper_file() -> PathBuf {
    traces_folder().join("automerge-paper.json.gz")
}

fn traces_folder() -> PathBuf {
    match std::env::var_os("TOMBOLO_TRACES") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    }
}

/// Measures both CRDTs once, each through the engine and alone.
pub(crate) fn run(report: &mut Report) -> Result<(), BenchError> {
    Trace::paper()?;
    for crdt in ["automerge", "yrs"] {
        let workload = format!("trace/{crdt}");
        let folder = tempfile::tempdir()?;
        let alone = run_in_process(&format!("{crdt}-alone"), folder.path())?;
        let ours = run_in_process(crdt, folder.path())?;
        for (metric, name) in [(SECONDS, "seconds"), (BYTES, "bytes"), (RSS, "rss_kib")] {
            report.add(&workload, System::Tombolo, metric, figure(&ours, name)?);
            report.add(&workload, System::Limit, metric, figure(&alone, name)?);
        }
        report.add(&workload, System::Tombolo, RATIO, figure(&ours, "seconds")? / figure(&alone, "seconds")?);
        let (opened, loaded) = (figure(&ours, "open_seconds")?, figure(&alone, "open_seconds")?);
        report.compare(&format!("open/paper-{crdt}"), SECONDS, opened, loaded);
    }
    Ok(())
}

fn run_in_process(side: &str, folder: &Path) -> Result<serde_json::Value, BenchError> {
    const BAD: BenchError = BenchError::Answer("the process that runs the trace");
    let output = Command::new(std::env::current_exe()?).arg(AS_TRACE).arg(side).arg(folder).output()?;
    if !output.status.success() {
        std::io::stderr().write_all(&output.stderr)?;
        return Err(BAD);
    }
    serde_json::from_slice(&output.stdout).map_err(|_| BAD)
}

fn figure(figures: &serde_json::Value, name: &'static str) -> Result<f64, BenchError> {
    figures[name].as_f64().ok_or(BenchError::Answer(name))
}

/// Runs one side in this process and prints its figures.
pub(crate) async fn run_alone(side: &str, folder: &str) -> Result<(), BenchError> {
    let trace = Trace::paper()?;
    let (seconds, bytes, open_seconds) = match side {
        "automerge-alone" => automerge_alone(&trace)?,
        "yrs-alone" => yrs_alone(&trace)?,
        "automerge" => through_engine(Crdt::Automerge, &trace, folder).await?,
        "yrs" => through_engine(Crdt::Yrs, &trace, folder).await?,
        _ => return Err(BenchError::Answer("an unknown side of the trace")),
    };
    let rss_kib = system::memory_kib(std::process::id(), "VmHWM")?;
    let figures = serde_json::json!({
        "seconds": seconds, "bytes": bytes, "open_seconds": open_seconds, "rss_kib": rss_kib,
    });
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(())
}

async fn through_engine(crdt: Crdt, trace: &Trace, folder: &str) -> Result<(f64, f64, f64), BenchError> {
    let folder = Path::new(folder);
    let replica = Replica::open(folder.join("store")).await?;
    let document = replica.create_workspace("Paper").await?.create_document(crdt).await?;
    let start = Instant::now();
    let mut window = Window::default();
    for step in &trace.steps {
        window.push(splice(&document, step.at, step.removed, &step.inserted)).await?;
    }
    window.finish().await?;
    let seconds = start.elapsed().as_secs_f64();
    replica.close().await?;
    let bytes = system::file_bytes(folder, "store")?;
    let replica = Replica::open(folder.join("store")).await?;
    let start = Instant::now();
    let text = replica.document(document.id()).read(|view| view.text("text")).await?;
    let open_seconds = start.elapsed().as_secs_f64();
    replica.close().await?;
    for leftover in std::fs::read_dir(folder)? {
        std::fs::remove_file(leftover?.path())?;
    }
    if text.as_deref() != Some(trace.end.as_str()) {
        return Err(BenchError::Wrong("the text at the end of the trace"));
    }
    Ok((seconds, bytes, open_seconds))
}

/// One transaction an edit, and the bytes of its change, which whoever keeps edits must have.
fn automerge_alone(trace: &Trace) -> Result<(f64, f64, f64), BenchError> {
    let failed = |_| BenchError::Crdt("automerge");
    let mut document = Automerge::new();
    let (text, seconds) = timed(|| {
        let mut transaction = document.transaction();
        let text = transaction.put_object(ROOT, "text", ObjType::Text).map_err(failed)?;
        transaction.commit();
        for step in &trace.steps {
            let mut transaction = document.transaction();
            let removed = isize::try_from(step.removed).map_err(|_| BenchError::Crdt("a huge deletion"))?;
            transaction.splice_text(&text, step.at, removed, &step.inserted).map_err(failed)?;
            transaction.commit();
            let change = document.get_last_local_change().ok_or(BenchError::Crdt("automerge"))?;
            std::hint::black_box(change.raw_bytes().to_vec());
        }
        Ok(text)
    })?;
    if document.text(&text).map_err(failed)? != trace.end {
        return Err(BenchError::Wrong("the text of automerge alone"));
    }
    let saved = document.save();
    let (_, open_seconds) = timed(|| Automerge::load(&saved).map_err(failed))?;
    Ok((seconds, saved.len() as f64, open_seconds))
}

/// As [`automerge_alone`].
fn yrs_alone(trace: &Trace) -> Result<(f64, f64, f64), BenchError> {
    let document = yrs::Doc::with_options(options());
    let root = document.get_or_insert_map("root");
    let (text, seconds) = timed(|| {
        let text = root.insert(&mut document.transact_mut(), "text", yrs::TextPrelim::new(""));
        for step in &trace.steps {
            let (at, removed) = (narrow(step.at)?, narrow(step.removed)?);
            let mut transaction = document.transact_mut();
            if removed > 0 {
                text.remove_range(&mut transaction, at, removed);
            }
            if !step.inserted.is_empty() {
                text.insert(&mut transaction, at, &step.inserted);
            }
            std::hint::black_box(transaction.encode_update_v1());
        }
        Ok(text)
    })?;
    if text.get_string(&document.transact()) != trace.end {
        return Err(BenchError::Wrong("the text of yrs alone"));
    }
    let saved = document.transact().encode_state_as_update_v1(&yrs::StateVector::default());
    let (_, open_seconds) = timed(|| {
        let update = yrs::Update::decode_v1(&saved).map_err(|_| BenchError::Crdt("yrs"))?;
        let loaded = yrs::Doc::with_options(options());
        loaded.transact_mut().apply_update(update).map_err(|_| BenchError::Crdt("yrs"))?;
        Ok(loaded)
    })?;
    Ok((seconds, saved.len() as f64, open_seconds))
}

fn options() -> yrs::Options {
    let mut options = yrs::Options::with_client_id(yrs::ClientID::new(7));
    options.offset_kind = yrs::OffsetKind::Utf16;
    options.skip_gc = true;
    options
}

fn narrow(number: usize) -> Result<u32, BenchError> {
    u32::try_from(number).map_err(|_| BenchError::Crdt("a huge position"))
}
