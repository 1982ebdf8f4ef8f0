//! The kit as a page to print.
//!
//! Invariant: the words on it, with their numbers, read back by `RecoveryKit::from_words`.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::RecoveryKit;
use super::words::mnemonic;

/// Words in a line of the grid: a line of 80 characters holds four numbered ones.
const COLUMNS: usize = 4;
/// Bytes of a page: 24 words, eight addresses of full length and the text, so that it never moves.
const SHEET_BYTES_MAX: usize = 4 << 10;
const FAREWELL: &str = "Keep this sheet on paper, where nobody else finds it. Whoever has the words is this user:\n\
                        they can add a device and read all that the user can read. Words lost are lost.\n";

impl RecoveryKit {
    /// Writes the page: the user's short id, the date as the caller writes it, the relays, the words.
    #[must_use]
    pub fn to_sheet(&self, date: &str) -> Zeroizing<String> {
        let mut page = Zeroizing::new(String::with_capacity(SHEET_BYTES_MAX));
        let date: String = date.chars().filter(|letter| !letter.is_control()).take(40).collect();
        page.push_str("Tombolo recovery kit\n\n");
        line(&mut page, "User", &self.user().short());
        line(&mut page, "Made", &date);
        for (nth, relay) in self.relays.iter().enumerate() {
            line(&mut page, if nth == 0 { "Relays" } else { "" }, relay);
        }
        page.push('\n');
        page.push_str(&self.grid());
        page.push('\n');
        page.push_str(FAREWELL);
        page
    }

    fn grid(&self) -> Zeroizing<String> {
        let mut grid = Zeroizing::new(String::with_capacity(SHEET_BYTES_MAX));
        for (nth, word) in mnemonic(&self.root).words().enumerate() {
            let last = nth % COLUMNS == COLUMNS - 1;
            let width = if last { 0 } else { 12 };
            // Writing to a String does not fail.
            if write!(grid, "{:>2} {word:<width$}", nth + 1).is_ok() && last {
                grid.push('\n');
            }
        }
        grid
    }
}

fn line(page: &mut String, name: &str, value: &str) {
    page.push_str(name);
    page.extend(std::iter::repeat_n(' ', 8_usize.saturating_sub(name.len())));
    page.push_str(value);
    page.push('\n');
}
