//! Writing: a new note, and edits as splices. Nothing here needs a network or waits for one.
//!
//! Invariant: the store is closed while an editor is open, so that other commands can use it; the edit
//! is then made on the text as it is by that time, and a text that can not be saved stays in its draft.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use tombolo::Document;
use tombolo::document::Crdt;
use tombolo::protocol::record::Role;

use crate::failure::Failure;
use crate::notebook::{self, BODY, TITLE};
use crate::place::Place;
use crate::{page, splice};

/// Where the new text of a note comes from.
pub(crate) enum Source {
    /// A line to add.
    Append(String),
    /// Standard input, to be added.
    Input,
    /// Standard input, to become the whole text.
    Replace,
    /// A program that a person edits with.
    Editor(String),
}

impl Source {
    /// Chooses by the options, and by whether a person sits at standard input.
    pub(crate) fn choose(append: Option<String>, replace: bool, editor: Option<String>) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        match (append, editor) {
            (Some(line), _) => Self::Append(line),
            _ if replace => Self::Replace,
            (None, Some(editor)) => Self::Editor(editor),
            _ if std::io::stdin().is_terminal() => {
                Self::Editor(variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".to_owned()))
            }
            _ => Self::Input,
        }
    }
}

/// Makes a note.
pub(crate) async fn new(place: &Place, title: &str, workspace: Option<&str>, crdt: Crdt) -> Result<(), Failure> {
    let replica = place.open_offline().await?;
    let found = match (notebook::find_workspace(&replica, workspace).await, workspace) {
        (Err(Failure::NoWorkspace { wanted }), Some(_)) => {
            page::tell(&format!("made the workspace \"{wanted}\""))?;
            notebook::make_workspace(&replica, &wanted).await?
        }
        (found, _) => found?,
    };
    notebook::require(&found, Role::Writer, "write in it")?;
    let document = replica.workspace(found.id).create_document(crdt).await?;
    let named = title.to_owned();
    let begin = document.edit(move |e| {
        e.put(TITLE, named)?;
        e.text(BODY).map(|_| ())
    });
    begin.await?;
    replica.close().await?;
    let name = notebook::workspace_name(&found);
    page::print(&format!("{}  {}  in \"{name}\"\n", document.id().short(), page::plain(title)))
}

/// Changes the text of a note.
pub(crate) async fn edit(place: &Place, wanted: &str, source: Source) -> Result<(), Failure> {
    let replica = place.open_offline().await?;
    let (document, title) = notebook::find_note(&replica, wanted).await?;
    let outcome = match source {
        Source::Append(line) => append(&document, line).await?,
        Source::Input => append(&document, standard_input()?).await?,
        Source::Replace => {
            let base = body(&document).await?;
            apply(&document, base, standard_input()?).await?
        }
        Source::Editor(command) => {
            let base = body(&document).await?;
            replica.close().await?;
            return edit_by_hand(place, &document, &title, (base, &command)).await;
        }
    };
    replica.close().await?;
    report(&title, outcome)
}

async fn edit_by_hand(
    place: &Place,
    document: &Document,
    title: &str,
    (base, command): (String, &str),
) -> Result<(), Failure> {
    let draft = open_editor(command, title, &base)?;
    let save = async {
        let edited = std::fs::read_to_string(&draft).map_err(Failure::io(draft.display().to_string()))?;
        if edited == base {
            return Ok(0);
        }
        let replica = place.open_offline().await?;
        let outcome = apply(&replica.document(document.id()), base, edited).await?;
        replica.close().await?;
        Ok(outcome)
    };
    match save.await {
        Ok(outcome) => {
            std::fs::remove_file(&draft).map_err(Failure::io(draft.display().to_string()))?;
            report(title, outcome)
        }
        Err(cause) => Err(Failure::Unsaved { draft, cause: Box::new(cause) }),
    }
}

/// Lets a person edit a text; returns the file that holds it afterwards.
fn open_editor(command: &str, title: &str, text: &str) -> Result<PathBuf, Failure> {
    let letters = title.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(40).collect::<String>();
    let failed = || Failure::io("the draft for the editor");
    // Only its owner may read a temporary file, and it is kept until the note is saved.
    let file = tempfile::Builder::new().prefix(&format!("{letters}-")).suffix(".txt").tempfile().map_err(failed())?;
    std::fs::write(file.path(), text).map_err(failed())?;
    if !run_editor(command, file.path())? {
        return Err(Failure::Editor { command: command.to_owned() });
    }
    let (_, path) = file.keep().map_err(|error| failed()(error.error))?;
    Ok(path)
}

/// Runs the editor as a shell would: it may have arguments and quotes of its own ("code --wait").
fn run_editor(command: &str, draft: &Path) -> Result<bool, Failure> {
    let mut editor = if cfg!(unix) {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("{command} \"$1\""), "notes"]);
        shell
    } else {
        let mut words = command.split_whitespace();
        let mut editor = std::process::Command::new(words.next().unwrap_or("notepad"));
        editor.args(words);
        editor
    };
    let status = editor.arg(draft).status().map_err(Failure::io(format!("the editor \"{command}\"")))?;
    Ok(status.success())
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(Failure::io("standard input"))?;
    Ok(text)
}

async fn body(document: &Document) -> Result<String, Failure> {
    Ok(document.read(|view| view.text(BODY)).await?.unwrap_or_default())
}

/// Adds whole lines at the end; returns how many places of the text were changed.
async fn append(document: &Document, mut lines: String) -> Result<usize, Failure> {
    if lines.is_empty() {
        return Ok(0);
    }
    if !lines.ends_with('\n') {
        lines.push('\n');
    }
    let add = document.edit(move |e| {
        let mut text = e.text(BODY)?;
        let now = text.read()?;
        if !now.is_empty() && !now.ends_with('\n') {
            text.push_str("\n")?;
        }
        text.push_str(&lines)
    });
    add.await?;
    Ok(1)
}

/// Makes of the text as it is now what was made of `base`; returns how many places were changed.
async fn apply(document: &Document, base: String, edited: String) -> Result<usize, Failure> {
    let own = splice::between(&base, &edited);
    let places = own.len();
    if places == 0 {
        return Ok(0);
    }
    let change = document.edit(move |e| {
        let mut text = e.text(BODY)?;
        let now = text.read()?;
        let own = if now == base { own } else { splice::moved(&own, &base, &splice::between(&base, &now)) };
        for splice in own.iter().rev() {
            text.splice(splice.at, splice.removed, &splice.inserted)?;
        }
        Ok(())
    });
    change.await?;
    Ok(places)
}

fn report(title: &str, places: usize) -> Result<(), Failure> {
    match places {
        0 => page::print(&format!("\"{title}\" is as it was\n")),
        places => {
            let places = page::count(places as u64, "place", "places");
            page::print(&format!("changed \"{title}\" in {places}; it goes out with: notes sync\n"))
        }
    }
}
