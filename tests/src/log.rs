//! What is logged at the finest level, to be searched.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::dispatcher::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::Subscriber;

/// What is logged from its start on.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

/// Ends a thread's log when it is dropped.
#[derive(Debug)]
pub struct OfThread {
    _guard: DefaultGuard,
    _beside: Dispatch,
}

impl Log {
    /// Keeps what the whole process logs.
    pub fn of_process() -> Self {
        let log = Self::default();
        tracing::dispatcher::set_global_default(log.dispatch()).expect("no other log of the process");
        log
    }

    /// Keeps what this thread logs.
    pub fn of_thread() -> (Self, OfThread) {
        let log = Self::default();
        let dispatch = log.dispatch();
        // Beside a single subscriber, a place in the code that another thread comes upon first stays silent for all.
        let beside = Self::default().dispatch();
        (log, OfThread { _guard: tracing::dispatcher::set_default(&dispatch), _beside: beside })
    }

    fn dispatch(&self) -> Dispatch {
        let writer = self.clone();
        let builder = Subscriber::builder().with_max_level(LevelFilter::TRACE).with_ansi(false);
        Dispatch::new(builder.with_writer(move || writer.clone()).finish())
    }

    /// Tells whether bytes stand in it.
    pub fn holds(&self, form: impl AsRef<[u8]>) -> bool {
        let form = form.as_ref();
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.windows(form.len()).any(|window| window == form)
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_logs_what_another_without_a_log_came_upon_first() {
        let says = || tracing::debug!("a word");
        let (log, guard) = Log::of_thread();
        std::thread::spawn(says).join().unwrap();
        assert!(!log.holds("a word"));
        says();
        assert!(log.holds("a word"));
        drop(guard);
        says();
        assert_eq!(log.0.lock().unwrap().windows(6).filter(|window| window == b"a word").count(), 1);
    }
}
