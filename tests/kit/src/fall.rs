//! What falls over is caught and told, not printed: a panic in a history is a finding with a seed.
//!
//! Invariant: the panics of other threads are printed as before.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::sync::Once;

/// Does something; what it said when it fell over is the error.
///
/// # Errors
/// The words of the panic.
pub fn caught<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    HUSH.call_once(hush);
    let outer = INSIDE.replace(true);
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(outer);
    done.map_err(|_| FALLEN.take().unwrap_or_default())
}

fn hush() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |fallen| {
        if INSIDE.get() {
            FALLEN.set(Some(fallen.to_string()));
        } else {
            before(fallen);
        }
    }));
}

static HUSH: Once = Once::new();

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static FALLEN: RefCell<Option<String>> = const { RefCell::new(None) };
}
