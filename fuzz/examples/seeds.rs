//! Writes the kept inputs that come from a program: `cargo run --example seeds`, after a change of a format.
//!
//! Invariant: all bytes come from the encoders that are fuzzed, and are the same in every run.

use std::path::Path;

use tombolo::crypto::{Body, Creation, Dep, InviteLink, InviteSecret};
use tombolo::document::{Actor, Crdt, EditError, MapEdit, OpenDocument, PatchMode};
use tombolo_fuzz::compacted::honest;
use tombolo_fuzz::{CONVERSATION, join};
use tombolo_protocol::ids::{ChainId, Incarnation, Instance, LogId, RecordId, RelayId, WorkspaceId};

fn main() {
    sessions();
    what_is_gone();
    bodies();
    changes();
    dice();
    keep("invite", "with-a-checkpoint", link().to_string().as_bytes());
}

fn sessions() {
    let welcome = 2;
    keep("session", "conversation", &join(&CONVERSATION.relay[welcome..]));
    for words in 0..CONVERSATION.device.len().min(8) {
        let mut bytes = vec![u8::try_from(words).expect("below eight")];
        bytes.extend(join(&CONVERSATION.device[words..]));
        keep("relay_session", &format!("conversation-from-word-{words}"), &bytes);
    }
}

/// What a relay says that has compacted, and the same with something left out, said twice, or in another order.
fn what_is_gone() {
    let said = honest();
    keep("pruned", "conversation", &join(&said));
    let twice: Vec<Vec<u8>> = said.iter().flat_map(|piece| [piece.clone(), piece.clone()]).collect();
    keep("pruned", "twice", &join(&twice));
    let (first, rest) = said.split_first().expect("it says something");
    keep("pruned", "backwards", &join(&[first].into_iter().chain(rest.iter().rev()).cloned().collect::<Vec<_>>()));
    for left_out in 1..said.len().min(5) {
        let mut some = said.clone();
        some.remove(left_out);
        keep("pruned", &format!("without-{left_out}"), &join(&some));
    }
    let late: Vec<Vec<u8>> = said.iter().flat_map(|piece| [piece.clone(), vec![4, 61]]).collect();
    keep("pruned", "a-minute-between", &join(&late));
}

fn bodies() {
    let creation = Creation { incarnation: Incarnation(3), random: [5; 16], app_type: "note".to_owned() };
    let dep = Dep { chain: ChainId::from_bytes([6; 8]), seq: 300, hash_prefix: [7; 8] };
    let body =
        |creation, changes| Body { creation, crdt: 2, instance: Instance(4), wall_ms: 9, deps: vec![dep], changes };
    let short = body(Some(creation), vec![b"a change".to_vec(), vec![0; 40]]);
    keep("body", "creation", &short.encode().expect("a body"));
    keep("body", "compressed", &body(None, vec![vec![b'x'; 400]]).encode().expect("a body"));
}

fn changes() {
    for (crdt, name) in [(Crdt::Automerge, "automerge"), (Crdt::Yrs, "yrs")] {
        let mut document = OpenDocument::new(crdt, Actor::from_bytes([1; 16]));
        let steps: [(&str, fn(&mut MapEdit<'_>) -> Result<(), EditError>); 2] = [
            ("text-and-list", |edit| {
                edit.put("title", "Reef")?;
                edit.text("body")?.splice(0, 0, "Low tide 🌊")?;
                edit.list("tags")?.insert(0, 7)
            }),
            ("nothing-to-build-on", |edit| edit.put("n", 1)),
        ];
        for (step, closure) in steps {
            let edited = document.edit(1_700_000_000_000, PatchMode::Off, closure).expect("an edit");
            keep("change", &format!("{name}-{step}"), &edited.change.expect("a change").bytes);
        }
    }
}

/// Inputs that are read as dice or as a list of choices: from nothing it takes long until one is as long as a history.
fn dice() {
    for (target, lengths) in [("history", [61, 121, 181]), ("twins", [64, 160, 400]), ("crafted", [64, 160, 400])] {
        for length in lengths {
            // Xorshift: the same everywhere.
            let mut state = 0x9e37_79b9_u32 ^ u32::try_from(length).expect("hundreds");
            let noise = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state.to_le_bytes()[1]
            });
            keep(target, &format!("{length}-dice"), &noise.take(length).collect::<Vec<u8>>());
        }
    }
}

fn link() -> InviteLink {
    InviteLink {
        workspace: WorkspaceId::from_bytes([1; 32]),
        invite: RecordId::from_bytes([2; 32]),
        relay: RelayId::from_bytes([3; 32]),
        addresses: vec!["wss://relay.example.org".to_owned(), "wss://10.0.0.1:7440/v1".to_owned()],
        checkpoint: Some((LogId::from_bytes([4; 16]), 99, [5; 32])),
        secret: InviteSecret::from_bytes([6; 32]),
    }
}

fn keep(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(name), bytes).expect("a file");
}
