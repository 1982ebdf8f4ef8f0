//! The library's log, as lines that an app takes.
//!
//! Invariant: lines reach the app from the listeners' thread, never under a lock; what comes too fast is left out and
//! counted. Only what this workspace's crates say is taken, and they put no content into it.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::error::{MisuseFault, TomboloError};
use crate::runtime;

/// Lines that wait for the app.
const LINES_MAX: usize = 1024;
/// Lines in one call.
const BATCH_MAX: usize = 64;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may fail.
    Warn,
    /// Something happened.
    Info,
    /// For who looks for a fault.
    Debug,
    /// Everything.
    Trace,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// Which part of the library says it.
    pub target: String,
    /// What it says.
    pub text: String,
}

/// Takes lines of the log; written by the app.
#[uniffi::export(with_foreign)]
pub trait LogSink: Send + Sync {
    /// Takes lines, oldest first.
    fn on_lines(&self, lines: Vec<LogLine>);
}

/// Hands the library's log to the app from now on, up to a level; nothing in place of a sink turns it off.
///
/// # Errors
/// `Misuse` if the program around this library has taken the log for itself.
#[uniffi::export]
pub fn set_log_sink(level: LogLevel, sink: Option<Arc<dyn LogSink>>) -> Result<(), TomboloError> {
    let taken = SUBSCRIBER.get_or_init(|| tracing::subscriber::set_global_default(Lines).is_ok());
    if !taken {
        let reason = "another part of this program has taken the log; read it there";
        return Err(TomboloError::misuse(MisuseFault::LogTaken, reason));
    }
    let sender = sink.map(|sink| {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        runtime::listen(hand_over(lines, sink)).map(|_| sender)
    });
    let sender = sender.transpose()?;
    LEVEL.store(if sender.is_some() { rank(level) } else { 0 }, Ordering::Release);
    *SINK.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    Ok(())
}

static SUBSCRIBER: OnceLock<bool> = OnceLock::new();
static SINK: Mutex<Option<mpsc::Sender<LogLine>>> = Mutex::new(None);
/// The rank of the last level that is taken; zero while nobody listens.
static LEVEL: AtomicU8 = AtomicU8::new(0);
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

async fn hand_over(mut lines: mpsc::Receiver<LogLine>, sink: Arc<dyn LogSink>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            let text = format!("{left_out} lines came too fast and were left out");
            batch.push(LogLine { level: LogLevel::Warn, target: "tombolo_ffi::log".to_owned(), text });
        }
        let told = std::mem::take(&mut batch);
        // What the app's code throws here has no other place to go.
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sink.on_lines(told))));
        tokio::task::yield_now().await;
    }
}

/// Turns what the crates of this workspace trace into lines.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let rank = rank(level_of(metadata));
        metadata.is_event() && metadata.target().starts_with("tombolo") && rank <= LEVEL.load(Ordering::Acquire)
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // The level may change: each event asks.
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let metadata = event.metadata();
        let line = LogLine { level: level_of(metadata), target: metadata.target().to_owned(), text: text.0 };
        let sender = SINK.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if sender.is_some_and(|sender| sender.try_send(line).is_err()) {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message first, then what it names.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}{}", self.0);
        } else {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
    }
}

fn level_of(metadata: &Metadata<'_>) -> LogLevel {
    match *metadata.level() {
        tracing::Level::ERROR => LogLevel::Error,
        tracing::Level::WARN => LogLevel::Warn,
        tracing::Level::INFO => LogLevel::Info,
        tracing::Level::DEBUG => LogLevel::Debug,
        tracing::Level::TRACE => LogLevel::Trace,
    }
}

fn rank(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 1,
        LogLevel::Warn => 2,
        LogLevel::Info => 3,
        LogLevel::Debug => 4,
        LogLevel::Trace => 5,
    }
}
