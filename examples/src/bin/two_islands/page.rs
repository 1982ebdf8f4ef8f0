//! How the story is printed: numbered sections of aligned lines, with colour on a terminal only.
//!
//! Invariant: nothing here decides what is true; a line is printed after it was checked.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::failure::Failure;

/// Where the text of a line begins.
const INDENT: usize = 15;

/// What is printed.
pub(crate) struct Page {
    coloured: bool,
    sections: u32,
}

impl Page {
    /// Begins a page with its title.
    pub(crate) fn begin(title: &str, subtitle: &str) -> Result<Self, Failure> {
        let plain =
            std::env::var_os("NO_COLOR").is_some() || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let page = Self { coloured: std::io::stdout().is_terminal() && !plain, sections: 0 };
        page.print(&format_args!("{}\n{subtitle}\n", page.bold(title)))?;
        Ok(page)
    }

    /// Begins a section.
    pub(crate) fn section(&mut self, title: &str) -> Result<(), Failure> {
        self.sections += 1;
        let title = format!("{}  {title}", self.sections);
        self.print(&format_args!("\n{}\n", self.bold(&title)))
    }

    /// Prints one line: what it is about, and what there is to say.
    pub(crate) fn line(&self, about: &str, text: impl Display) -> Result<(), Failure> {
        let padded = format!("{about:<width$}", width = INDENT - 3);
        self.print(&format_args!("   {}{text}\n", self.dim(&padded)))
    }

    /// Prints the last line.
    pub(crate) fn end(&self, text: &str) -> Result<(), Failure> {
        let text = if self.coloured { format!("\x1b[1;32m{text}\x1b[0m") } else { text.to_owned() };
        self.print(&format_args!("\n{text}\n"))
    }

    fn bold(&self, text: &str) -> String {
        if self.coloured { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn dim(&self, text: &str) -> String {
        if self.coloured { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn print(&self, text: &dyn Display) -> Result<(), Failure> {
        let mut out = std::io::stdout();
        write!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::io("print"))
    }
}

/// A time as people read it.
pub(crate) fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// A number of bytes as people read it.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
