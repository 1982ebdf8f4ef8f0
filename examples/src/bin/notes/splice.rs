//! What an editor did to a text, as the fewest splices, so that concurrent edits merge.
//!
//! Positions are UTF-16 code units, as the documents count. Invariant: applying the splices of
//! `between(old, new)` to `old` from the last to the first gives `new`; a splice never parts a
//! surrogate pair.

use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// Longest search for the smallest difference; what is not searched by then is replaced as a whole.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(2);

/// One replacement in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splice {
    /// Where it begins.
    pub(crate) at: usize,
    /// How many units it removes.
    pub(crate) removed: usize,
    /// What it puts there.
    pub(crate) inserted: String,
}

/// Returns the splices that lead from one text to another, in order of position.
pub(crate) fn between(old: &str, new: &str) -> Vec<Splice> {
    let (old, new) = (words(old), words(new));
    let deadline = Instant::now() + SEARCH_TIME_MAX;
    let operations = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let mut splices = Vec::new();
    let mut at = 0;
    for operation in operations {
        let removed: String = old.get(operation.old_range()).unwrap_or_default().concat();
        if !matches!(operation, DiffOp::Equal { .. }) {
            let inserted: String = new.get(operation.new_range()).unwrap_or_default().concat();
            splices.push(narrowed(at, &removed, &inserted));
        }
        at += units(&removed);
    }
    splices
}

/// Moves splices that were made on a text to what the text has become by `theirs`: what they inserted
/// stays, what both removed is removed once.
pub(crate) fn moved(own: &[Splice], base: &str, theirs: &[Splice]) -> Vec<Splice> {
    let places = places(units(base), theirs);
    let mut moved: Vec<Splice> = Vec::new();
    for splice in own {
        let before = places.get(..splice.at).unwrap_or(&places);
        let at = before.iter().rev().find_map(|place| *place).map_or(0, |place| place + 1);
        let mut pieces = vec![Splice { at, removed: 0, inserted: splice.inserted.clone() }];
        for place in places.iter().skip(splice.at).take(splice.removed).flatten() {
            match pieces.last_mut() {
                Some(last) if last.at + last.removed == *place => last.removed += 1,
                _ => pieces.push(Splice { at: *place, removed: 1, inserted: String::new() }),
            }
        }
        moved.extend(pieces);
    }
    moved
}

/// For each unit of the old text, where it is in the new one; `None` if it was removed.
fn places(base_units: usize, splices: &[Splice]) -> Vec<Option<usize>> {
    let mut places = Vec::with_capacity(base_units);
    let mut at = 0;
    for splice in splices {
        while places.len() < splice.at {
            places.push(Some(at));
            at += 1;
        }
        places.resize(splice.at + splice.removed, None);
        at += units(&splice.inserted);
    }
    while places.len() < base_units {
        places.push(Some(at));
        at += 1;
    }
    places
}

/// Cuts off what both sides of a replacement begin and end with: "cat" to "cats" inserts an "s".
fn narrowed(at: usize, removed: &str, inserted: &str) -> Splice {
    let shared = |(a, b): &(char, char)| a == b;
    let prefix: usize = removed.chars().zip(inserted.chars()).take_while(shared).map(|(c, _)| c.len_utf8()).sum();
    let (front, removed) = removed.split_at(prefix);
    let inserted = inserted.split_at(prefix).1;
    let backwards = removed.chars().rev().zip(inserted.chars().rev());
    let suffix: usize = backwards.take_while(shared).map(|(c, _)| c.len_utf8()).sum();
    let removed = removed.split_at(removed.len() - suffix).0;
    let inserted = inserted.split_at(inserted.len() - suffix).0;
    Splice { at: at + units(front), removed: units(removed), inserted: inserted.to_owned() }
}

/// Cuts a text into words and the characters between them: what people change, and what should not be
/// merged letter by letter.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let of_word = |c: char| c.is_alphanumeric();
        let end = if of_word(first) { rest.find(|c| !of_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after;
    }
    words
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str, splices: &[Splice]) -> String {
        let mut units: Vec<u16> = text.encode_utf16().collect();
        for splice in splices.iter().rev() {
            units.splice(splice.at..splice.at + splice.removed, splice.inserted.encode_utf16());
        }
        String::from_utf16(&units).unwrap()
    }

    #[test]
    fn splices_lead_from_any_text_to_any_other() {
        let texts =
            ["", "milk\n", "milk\neggs\n", "🌊 low tide 🦀\n", "low 🦀 tide", "e\u{301}té, Été", "🌊🌊", "🌊🌋"];
        for old in texts {
            for new in texts {
                assert_eq!(applied(old, &between(old, new)), new, "from {old:?}");
            }
        }
    }

    #[test]
    fn a_letter_added_to_a_word_is_one_insertion() {
        let splices = between("one cat sat", "one cats sat");
        assert_eq!(splices, [Splice { at: 7, removed: 0, inserted: "s".to_owned() }]);
    }

    #[test]
    fn edits_of_a_text_that_changed_meanwhile_keep_both_sides() {
        let base = "milk\neggs\nbread\n";
        let theirs = between(base, "oat milk\neggs\nbread\ntea 🍵\n");
        let now = applied(base, &theirs);
        for (mine, both) in [
            ("milk\nsix eggs\nbread\n", "oat milk\nsix eggs\nbread\ntea 🍵\n"),
            ("milk\nbread\n", "oat milk\nbread\ntea 🍵\n"),
            ("", "oat tea 🍵\n"),
        ] {
            assert_eq!(applied(&now, &moved(&between(base, mine), base, &theirs)), both);
        }
    }

    #[test]
    fn what_both_removed_is_removed_once() {
        let base = "one two three four";
        let theirs = between(base, "one four");
        let mine = between(base, "one two");
        assert_eq!(applied("one four", &moved(&mine, base, &theirs)), "one ");
    }
}
