//! Golden bytes: every layout of the protocol, made with fixed keys, stored in `tests/vectors` at the
//! repository's root, and replayed here. `TOMBOLO_BLESS=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "world/samples.rs"]
mod samples;
#[path = "world/world.rs"]
mod world;

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use samples::{Vector, parse, vectors};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/protocol.json")
}

#[test]
fn the_bytes_are_those_that_were_published() {
    let rows: Vec<_> = vectors()
        .iter()
        .map(|Vector { kind, name, bytes, id }| {
            serde_json::json!({
                "kind": kind, "name": name, "bytes": HEXLOWER.encode(bytes), "id": HEXLOWER.encode(id)
            })
        })
        .collect();
    let made = serde_json::to_string_pretty(&rows).unwrap() + "\n";
    if std::env::var_os("TOMBOLO_BLESS").is_some() {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), &made).unwrap();
    }
    let kept = std::fs::read_to_string(path()).unwrap();
    assert!(kept == made, "the bytes changed: a new version of the protocol, or a mistake");
}

#[test]
fn every_vector_reads_back() {
    for Vector { kind, name, bytes, .. } in vectors() {
        assert!(parse(kind, &bytes).is_ok(), "{kind}/{name}");
    }
}

#[test]
fn a_vector_cut_anywhere_is_refused_or_something_else() {
    for Vector { kind, name, bytes, .. } in vectors() {
        let whole = parse(kind, &bytes);
        for length in 0..bytes.len() {
            assert_ne!(parse(kind, &bytes[..length]), whole, "{kind}/{name} cut to {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_ne!(parse(kind, &longer), whole, "{kind}/{name} with a byte more");
    }
}

#[test]
fn a_vector_with_one_bit_flipped_is_refused_or_something_else() {
    for Vector { kind, name, bytes, .. } in vectors() {
        let whole = parse(kind, &bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(parse(kind, &flipped), whole, "{kind}/{name} bit {bit}");
        }
    }
}
