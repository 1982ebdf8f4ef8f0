//! People on replicas that part and meet, a share of them cheats: the evaluator and the slow model agree.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(difference) = tombolo_fuzz::members::judge(bytes) {
        panic!("{difference}");
    }
});
