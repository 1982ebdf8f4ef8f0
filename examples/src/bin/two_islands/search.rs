//! Looking for secrets in a folder: each in every form that a careless program might have left it in.
//!
//! Invariant: what is planted in a plain file, in any of the forms, is found: [`plant`] makes such a file.

use std::path::{Path, PathBuf};

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

use crate::failure::Failure;

/// One secret in one form.
pub(crate) struct Needle {
    bytes: Vec<u8>,
}

/// What a search came to.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files that were read, and their bytes.
    pub(crate) files: usize,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    /// Needles that are in at least one of the files.
    pub(crate) needles: usize,
}

/// Returns every secret in every form, each form once.
pub(crate) fn needles(secrets: &[&str]) -> Vec<Needle> {
    let mut forms: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    forms.sort();
    forms.dedup();
    forms.into_iter().map(|bytes| Needle { bytes }).collect()
}

/// Raw, UTF-16 in both orders, hex in both cases, base64 at the three offsets in both alphabets.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let raw = secret.as_bytes();
    let mut forms = vec![
        raw.to_vec(),
        secret.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        secret.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        HEXLOWER.encode(raw).into_bytes(),
        HEXUPPER.encode(raw).into_bytes(),
    ];
    for offset in 0..3 {
        // What stands before is unknown, and so is what follows: only whole characters of the secret count.
        let skipped = [0, 2, 3][offset];
        let shifted = [&[0; 3][..offset], raw].concat();
        let whole = shifted.len() * 8 / 6;
        for alphabet in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
            let encoded = alphabet.encode(&shifted);
            forms.extend(encoded.get(skipped..whole).map(|part| part.as_bytes().to_vec()));
        }
    }
    forms
}

/// Looks for all needles in all files below a folder.
pub(crate) fn search(folder: &Path, needles: &[Needle]) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut seen = vec![false; needles.len()];
    for path in files_below(folder).map_err(Failure::io("list the files to search"))? {
        let content = std::fs::read(&path).map_err(Failure::io("read a file to search"))?;
        found.files += 1;
        found.bytes += content.len() as u64;
        for (seen, needle) in seen.iter_mut().zip(needles) {
            *seen = *seen || contains(&content, &needle.bytes);
        }
    }
    found.needles = seen.into_iter().filter(|seen| *seen).count();
    Ok(found)
}

/// Writes all needles into a file, each between other bytes.
pub(crate) fn plant(file: &Path, needles: &[Needle]) -> Result<(), Failure> {
    let mut content = Vec::new();
    for needle in needles {
        content.extend_from_slice(&[0xA5; 7]);
        content.extend_from_slice(&needle.bytes);
    }
    std::fs::write(file, content).map_err(Failure::io("write the plain file"))
}

fn contains(content: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else {
        return false;
    };
    content.windows(needle.len()).any(|window| window.first() == Some(first) && window == needle)
}

fn files_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    Ok(files)
}
