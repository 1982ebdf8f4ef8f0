//! A relay's settings are taken, or every problem is told in words.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tombolo_relay::config::Settings;

fuzz_target!(|text: &str| {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file");
    std::fs::write(file.path(), text).expect("it is written");
    let mut settings = Settings::default();
    settings.read_file(file.path());
    if let Err(problems) = settings.judge() {
        assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.to_string().is_empty()));
    }
});
