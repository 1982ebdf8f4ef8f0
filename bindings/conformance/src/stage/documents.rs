//! Steps that edit, read and watch documents.

use tombolo::document::{Crdt, EditError, MapEdit, PatchAction, PathStep, Value, View};
use tombolo::protocol::ids::DocumentId;
use tombolo::{Document, DocumentEvent};

use super::{Stage, number, until};
use crate::fault::Fault;
use crate::scenario::{bare, plain};

impl Stage {
    /// Plays a step about a document; says whether it was one.
    pub(super) async fn of_documents(&mut self, words: &[&str]) -> Result<bool, Fault> {
        match words {
            ["found", who, name] => {
                let workspace = self.replica(who)?.create_workspace(name).await?;
                self.name("workspace", name, workspace.id().to_string())?;
            }
            ["create", who, workspace, name, crdt] => {
                let crdt = if *crdt == "yrs" { Crdt::Yrs } else { Crdt::Automerge };
                let document = self.workspace(who, workspace)?.create_document(crdt).await?;
                self.name("document", name, document.id().to_string())?;
            }
            ["put" | "type" | "append" | "push" | "take" | "count" | "drop", who, name, ..] => {
                edit(&self.document(who, name)?, words).await?;
            }
            ["expect", who, name, key, value] => {
                let found = at(&self.document(who, name)?, key).await?;
                if found != plain(value)? {
                    return Err(Fault::otherwise(format!("{found:?} is not {value}")));
                }
            }
            ["arrives", who, name, key, value] => {
                let document = self.document(who, name)?;
                let mut events = document.subscribe().await?;
                let happened = async || events.next().await.map(drop);
                until(plain(value)?, async || at(&document, key).await, happened).await?;
            }
            ["version", who, name] => {
                let version = self.document(who, name)?.version().await?;
                let value = version.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                self.named.push(super::Named { kind: "version".to_owned(), name: (*name).to_owned(), value });
            }
            ["read-unknown", who] => {
                self.replica(who)?.document(DocumentId::from_bytes([0; 16])).to_value().await?;
            }
            // The core takes an id, and no text: there is nothing to ask it.
            ["read-misnamed", _] => return Err(Fault::Misnamed),
            words => return self.of_watches(words).await,
        }
        Ok(true)
    }

    async fn of_watches(&mut self, words: &[&str]) -> Result<bool, Fault> {
        match words {
            ["watch", who, name] => {
                let events = self.document(who, name)?.subscribe().await?;
                self.watches.insert(format!("{who} {name}"), events);
            }
            ["unwatch", who, name] => drop(self.watches.remove(&format!("{who} {name}"))),
            ["hears", who, name, key, value] => self.hears(&format!("{who} {name}"), key, &plain(value)?).await?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn hears(&mut self, watch: &str, key: &str, wanted: &Value) -> Result<(), Fault> {
        let events = self.watches.get_mut(watch).ok_or_else(|| Fault::otherwise("nobody watches"))?;
        while let Some(event) = events.next().await {
            if shows(&event, key, wanted) {
                return Ok(());
            }
        }
        Err(Fault::otherwise("the events have ended"))
    }
}

fn shows(event: &DocumentEvent, key: &str, wanted: &Value) -> bool {
    match event {
        DocumentEvent::Current { value: Value::Map(map) } => map.get(key) == Some(wanted),
        DocumentEvent::Changed { patches, .. } => patches.iter().any(|patch| {
            let put = matches!(&patch.action, PatchAction::Put { value } if value == wanted);
            put && matches!(patch.path.as_slice(), [PathStep::Key(found)] if found == key)
        }),
        _ => false,
    }
}

async fn at(document: &Document, key: &str) -> Result<Value, Fault> {
    let path = [PathStep::Key(key.to_owned())];
    let planted = key == PLANTED;
    let look = move |view: &View<'_>| {
        assert!(!planted, "the scenario has planted this panic");
        view.at(&path)
    };
    let found = document.read(look).await?;
    Ok(found.map_or(Value::Null, bare))
}

async fn edit(document: &Document, words: &[&str]) -> Result<(), Fault> {
    let [verb, _, _, key, rest @ ..] = words else {
        return Err(Fault::otherwise("an edit wants a key"));
    };
    let key = if key.starts_with('"') { text(key)? } else { (*key).to_owned() };
    let change = change(verb, rest)?;
    let make = move |root: &mut MapEdit<'_>| {
        assert!(key != PLANTED, "the scenario has planted this panic");
        change(root, &key)
    };
    Ok(document.edit(make).await?)
}

type Change = Box<dyn FnOnce(&mut MapEdit<'_>, &str) -> Result<(), EditError> + Send>;

fn change(verb: &str, words: &[&str]) -> Result<Change, Fault> {
    Ok(match (verb, words) {
        ("put", [value]) => {
            let value = plain(value)?;
            Box::new(|root, key| root.put(key, value))
        }
        ("type", [index, removed, inserted]) => {
            let (index, removed, inserted) = (number(index)?, number(removed)?, text(inserted)?);
            Box::new(move |root, key| root.text(key)?.splice(index, removed, &inserted))
        }
        ("append", [inserted]) => {
            let inserted = text(inserted)?;
            Box::new(move |root, key| root.text(key)?.push_str(&inserted))
        }
        ("push", [value]) => {
            let value = plain(value)?;
            Box::new(|root, key| root.list(key)?.push(value))
        }
        ("take", [index, count]) => {
            let (index, count) = (number(index)?, number::<usize>(count)?);
            Box::new(move |root, key| {
                let mut list = root.list(key)?;
                (0..count).try_for_each(|_| list.delete(index))
            })
        }
        ("count", [by]) => {
            let by = number(by)?;
            Box::new(move |root, key| root.counter(key)?.increment(by))
        }
        _ => Box::new(|root, key| root.delete(key).map(drop)),
    })
}

/// The key below the root at which editing and reading panic: here by the app's own closure.
const PLANTED: &str = "!panics";

fn text(word: &str) -> Result<String, Fault> {
    match plain(word)? {
        Value::String(text) => Ok(text),
        _ => Err(Fault::otherwise(format!("{word} is no string"))),
    }
}
