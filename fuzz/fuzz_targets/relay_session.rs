//! A relay takes any messages of a device, at any point of a session, and serves the next one.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_fuzz::relay::Desk;

fuzz_target!(|bytes: &[u8]| {
    let (words, rest) = bytes.split_first().unwrap_or((&0, &[]));
    // Modest, so that a proven session with a workspace is met as often as none.
    let mut desk = Desk::after(usize::from(words % 8));
    for piece in tombolo_fuzz::pieces(rest) {
        desk.take(piece);
    }
    desk.serve_the_next();
});
