//! Sessions that ask for some documents: what they are sent, that the log's head can be made of it, and what is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use tempfile::{TempDir, tempdir};
use tombolo_protocol::close::CloseCode;
use tombolo_protocol::entry::EntryFlags;
use tombolo_protocol::frame::{Frame, Open, Reconcile, RefusalReason, Seed};
use tombolo_protocol::ids::{ChainId, DocumentTag, EntryHash, Stream};
use tombolo_protocol::item::{ItemHash, LeftOut, LogItem};
use tombolo_protocol::limits::WANTED_DOCUMENTS_MAX;
use tombolo_protocol::log::{Frontier, LogOrigin};
use tombolo_protocol::receipt::{Attestation, Signed};
use tombolo_protocol::record::{Levels, Record, Role};
use tombolo_relay::relay::Relay;
use tombolo_relay::writer;

use super::client::verified;
use super::people::{Pen, Person, found, invite, item, join, workspace};
use super::wire::{Clock, Wire};

/// A relay with one workspace: Alice writes, Bob reads.
struct Scene {
    _folder: TempDir,
    relay: Arc<Relay>,
    alice: Person,
    bob: Person,
    ground: Vec<Record>,
    writer: Wire,
    /// The documents of the entries that were appended, and their names, by position.
    log: BTreeMap<u64, (u8, EntryHash)>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let relay = super::wire::relay_in(folder.path(), &Clock::default(), Levels::default());
        let (alice, bob) = (Person::new(1), Person::new(2));
        let mut ground = found(&alice, 1);
        let mut writer = Wire::new(&relay, &alice);
        writer.seed(&ground);
        let (offer, key) = invite(&ground, &alice, relay.id(), Role::Writer, 0, 0);
        assert_eq!(writer.append(vec![item(&offer)]), []);
        let offered = offer.id();
        ground.push(offer);
        let joined = join(&ground, &bob, offered, &key);
        ground.push(joined);
        Wire::new(&relay, &bob).seed(&ground);
        Self { _folder: folder, relay, alice, bob, ground, writer, log: BTreeMap::new() }
    }

    /// Bob's session, with what he asks for.
    fn reader(&self, documents: Option<Vec<DocumentTag>>) -> Wire {
        let mut reader = Wire::new(&self.relay, &self.bob);
        reader.say(self.open(documents));
        reader
    }

    /// Alice writes into documents, all in one commit.
    fn write(&mut self, pens: &mut [&mut Pen]) {
        let mut items = Vec::new();
        for pen in pens {
            items.push(pen.item(b"word"));
            let header = pen.header();
            let at = FIRST_ENTRY + self.log.len() as u64;
            self.log.insert(at, (header.chain.document.as_bytes()[0], header.prev));
        }
        assert_eq!(self.writer.append(items), []);
    }

    fn pen(&self, document: u8) -> Pen {
        Pen::new(&self.alice, &self.ground, document, Stream::CONTENT)
    }

    fn open(&self, documents: Option<Vec<DocumentTag>>) -> Open {
        Open { workspace: workspace(&self.ground).tag(), log: None, cursor: 0, receipt: None, documents }
    }
}

fn tag(document: u8) -> DocumentTag {
    DocumentTag::from_bytes([document; 16])
}

/// Behind genesis, devices, invite, Join and its attestation.
const FIRST_ENTRY: u64 = 6;

/// What a session was sent of a log.
#[derive(Default)]
struct Follower {
    frontier: Frontier,
    /// The documents of the entries that came, in their order.
    documents: Vec<u8>,
    left_out: u64,
    heads: usize,
}

impl Follower {
    /// Takes in what was said; each signed head must be that of what has come.
    fn take(&mut self, heard: Vec<Frame>, scene: &Scene) {
        for frame in heard {
            match frame {
                Frame::Items(items) => {
                    assert_eq!(items.first_position, self.frontier.length() + 1, "no gap and nothing twice");
                    items.items.iter().for_each(|item| self.take_item(item, scene));
                }
                Frame::Head(head) => {
                    let receipt = verified(&head.receipt).1;
                    let origin = LogOrigin::new(&receipt.relay, &receipt.log, &workspace(&scene.ground));
                    assert_eq!((receipt.position, receipt.head), (self.frontier.length(), self.frontier.head(&origin)));
                    self.heads += 1;
                }
                _ => {}
            }
        }
    }

    fn take_item(&mut self, item: &[u8], scene: &Scene) {
        let name = match LogItem::decode(item).unwrap() {
            LogItem::Record(record) => ItemHash::Record(Record::decode(record).unwrap().id()),
            LogItem::Attestation(bytes) => Signed::<Attestation>::decode(bytes).unwrap().item_hash(),
            LogItem::Entry(_) | LogItem::Elided(_) => {
                let (document, hash) = scene.log[&(self.frontier.length() + 1)];
                self.documents.push(document);
                ItemHash::Entry(hash)
            }
            LogItem::LeftOut(run) => {
                self.left_out += run.count;
                return self.frontier.append_run(run.count, &run.roots).unwrap();
            }
            LogItem::Attest(_) => panic!("nobody publishes here"),
        };
        self.frontier.append(&name);
    }
}

#[test]
fn what_is_not_asked_for_comes_as_roots_from_a_cursor_and_live() {
    let mut scene = Scene::new();
    let mut pens = [1, 2, 3].map(|document| scene.pen(document));
    for nth in 0..21 {
        scene.write(&mut [&mut pens[nth % 3]]);
    }
    let mut reader = scene.reader(Some(vec![tag(2)]));
    let mut follower = Follower::default();
    follower.take(reader.take_heard(), &scene);
    assert_eq!((follower.documents.clone(), follower.left_out, follower.heads), (vec![2; 7], 14, 1));
    // Live: commit by commit, and many in one.
    for nth in 0..6 {
        scene.write(&mut [&mut pens[nth % 3]]);
        reader.settle().unwrap();
        follower.take(reader.take_heard(), &scene);
    }
    let [one, two, three] = &mut pens;
    for _ in 0..30 {
        scene.write(&mut [one, two, three]);
    }
    reader.settle().unwrap();
    follower.take(reader.take_heard(), &scene);
    assert_eq!((follower.documents.len(), follower.left_out, follower.heads), (7 + 2 + 30, 14 + 4 + 60, 1));
    assert!(follower.documents.iter().all(|document| *document == 2));
    // And what was sent leads to the head that another session is told.
    let mut again = Follower::default();
    again.take(scene.reader(None).take_heard(), &scene);
    assert_eq!((again.frontier, again.left_out), (follower.frontier, 0));
}

#[test]
fn what_is_asked_for_changes_with_a_word_and_with_a_list() {
    let mut scene = Scene::new();
    let [mut one, mut two, mut three] = [1, 2, 3].map(|document| scene.pen(document));
    scene.write(&mut [&mut one, &mut two, &mut three]);
    let mut reader = scene.reader(None);
    let mut follower = Follower::default();
    follower.take(reader.take_heard(), &scene);
    assert_eq!(follower.documents, [1, 2, 3]);
    // Less, without a list.
    reader.say(Reconcile { channel: 1, method: Reconcile::NARROW, documents: Some(vec![tag(3)]), held: None });
    assert_eq!(reader.names(), [""; 0]);
    scene.write(&mut [&mut one, &mut two, &mut three]);
    reader.settle().unwrap();
    follower.take(reader.take_heard(), &scene);
    assert_eq!((follower.documents.as_slice(), follower.left_out), ([1, 2, 3, 3].as_slice(), 2));
    // More, with a list: of what is asked for, and of chains that are named, each once.
    let mut expected = [&mut one, &mut two, &mut three].map(|pen| pen.header().chain.id());
    let held = Some(vec![expected[0], expected[0], expected[2], ChainId::from_bytes([9; 8])]);
    reader.say(Reconcile { channel: 1, method: Reconcile::LIST, documents: Some(vec![tag(2), tag(3), tag(2)]), held });
    expected.sort();
    assert_eq!(listed(&reader.take_heard()), expected);
    scene.write(&mut [&mut one, &mut two, &mut three]);
    reader.settle().unwrap();
    follower.take(reader.take_heard(), &scene);
    assert_eq!((follower.documents.as_slice(), follower.left_out), ([1, 2, 3, 3, 2, 3].as_slice(), 3));
    // And all.
    reader.say(Reconcile { channel: 1, method: Reconcile::LIST, documents: None, held: None });
    assert_eq!(listed(&reader.take_heard()), expected);
    scene.write(&mut [&mut one, &mut two, &mut three]);
    reader.settle().unwrap();
    follower.take(reader.take_heard(), &scene);
    assert_eq!(follower.documents[6..], [1, 2, 3]);
    let unknown = Reconcile { channel: 1, method: 3, documents: None, held: None };
    assert_eq!(reader.try_say(unknown), Err(CloseCode::Malformed));
}

#[test]
fn a_head_waits_for_the_commit_of_which_a_list_was_made() {
    for documents in [None, Some(vec![tag(1)])] {
        let mut scene = Scene::new();
        let mut pen = scene.pen(1);
        scene.write(&mut [&mut pen]);
        let (mut first, mut reader) = (scene.reader(None), scene.reader(documents.clone()));
        assert_eq!((first.names().pop(), reader.names().pop()), (Some("Head"), Some("Head")));
        // As it is between a commit and the moment at which it is published.
        let held = scene.relay.open(&workspace(&scene.ground).tag()).unwrap().unwrap();
        let before = held.published().frontier.clone();
        let readers = std::mem::take(&mut held.published().readers);
        scene.write(&mut [&mut pen]);
        let after = std::mem::replace(&mut held.published().frontier, before);
        held.published().readers = readers;
        reader.say(Reconcile { channel: 1, method: Reconcile::LIST, documents, held: None });
        let names = reader.names();
        assert_eq!(names.last(), Some(&"Summary"), "{names:?}");
        // What a commit says, it says once the log is published.
        held.published().frontier = after.clone();
        scene.write(&mut [&mut pen]);
        reader.settle().unwrap();
        let heard = reader.take_heard();
        let [Frame::Items(items), Frame::Head(head)] = heard.as_slice() else {
            panic!("{heard:?}");
        };
        let next = after.length() + 1;
        assert_eq!((items.first_position, verified(&head.receipt).1.position), (next, next));
    }
}

/// The chains that a relay listed, in order.
fn listed(heard: &[Frame]) -> Vec<ChainId> {
    let summaries = heard.iter().filter_map(|frame| match frame {
        Frame::Summary(summary) => Some(&summary.chains),
        _ => None,
    });
    let mut chains: Vec<ChainId> = summaries.flatten().map(|listed| listed.chain).collect();
    chains.sort();
    chains
}

#[test]
fn what_a_session_creates_it_asks_for_and_what_others_create_it_does_not() {
    let mut scene = Scene::new();
    let mut reader = scene.reader(Some(Vec::new()));
    let mut follower = Follower::default();
    follower.take(reader.take_heard(), &scene);
    let mut made = Pen::new(&scene.bob, &scene.ground, 7, Stream::CONTENT);
    made.header().flags = EntryFlags::CREATION;
    assert_eq!(reader.append(vec![made.item(b"made")]), []);
    // What a session wrote alone comes back as a receipt.
    follower.frontier.append(&ItemHash::Entry(made.header().prev));
    scene.log.insert(FIRST_ENTRY, (7, made.header().prev));
    let (mut theirs, mut others) = (scene.pen(7), scene.pen(8));
    others.header().flags = EntryFlags::CREATION;
    scene.write(&mut [&mut theirs, &mut others]);
    reader.settle().unwrap();
    follower.take(reader.take_heard(), &scene);
    assert_eq!((follower.documents, follower.left_out), (vec![7], 1));
}

#[test]
fn a_receipt_comes_before_what_others_wrote_since_though_both_were_committed_before_it_was_read() {
    let mut scene = Scene::new();
    let (mut one, mut theirs) = (scene.pen(1), Pen::new(&scene.bob, &scene.ground, 2, Stream::CONTENT));
    let mut reader = scene.reader(Some(vec![tag(1), tag(2)]));
    let mut follower = Follower::default();
    follower.take(reader.take_heard(), &scene);
    let append = reader.next_append(vec![theirs.item(b"his")]);
    reader.whisper(append).unwrap();
    writer::commit(&scene.relay, scene.relay.queue().take());
    scene.log.insert(FIRST_ENTRY, (2, theirs.header().prev));
    scene.write(&mut [&mut one]);
    reader.settle().unwrap();
    let heard = reader.take_heard();
    let is_receipt = |frame: &Frame| matches!(frame, Frame::Received(_));
    let at = heard.iter().position(is_receipt).expect("his receipt");
    let Frame::Received(received) = &heard[at] else { panic!("it is one") };
    follower.take(heard[..at].to_vec(), &scene);
    assert_eq!(verified(&received.receipt).1.position, follower.frontier.length());
    follower.take(heard[at + 1..].to_vec(), &scene);
    assert_eq!(follower.documents, [2, 1]);
}

#[test]
fn a_run_that_is_left_out_is_no_item_of_a_log() {
    let mut scene = Scene::new();
    let run = LeftOut::of(1, &[ItemHash::Entry(EntryHash::from_bytes([1; 32]))]);
    assert_eq!(scene.writer.append(vec![run.encode()]), [(0, RefusalReason::Malformed)]);
}

#[test]
fn a_session_may_name_so_many_documents_and_beyond_that_it_is_sent_all() {
    let scene = Scene::new();
    let some = |count: usize, from: usize| -> Vec<DocumentTag> {
        let tag = |nth: usize| DocumentTag::from_bytes((nth as u128).to_be_bytes());
        (from..from + count).map(tag).collect()
    };
    let mut reader = scene.reader(Some(some(WANTED_DOCUMENTS_MAX, 0)));
    assert!(reader.names().contains(&"Head"));
    let over = scene.open(Some(some(WANTED_DOCUMENTS_MAX + 1, 0)));
    assert_eq!(reader.try_say(over), Err(CloseCode::Malformed));
    // Of all its workspaces together.
    let mut founder = Wire::new(&scene.relay, &scene.alice);
    let mut begin = |nonce| {
        let ground = found(&scene.alice, nonce);
        let records = ground.iter().map(|record| record.encode().into()).collect();
        let (workspace, documents) = (workspace(&ground), Some(some(WANTED_DOCUMENTS_MAX, 0)));
        founder.try_say(Seed { workspace, records, attestations: Vec::new(), more: false, documents })
    };
    assert!((2..18).all(|nonce| begin(nonce).is_ok()));
    // Of one more workspace everything comes, and a list of it is one of all.
    begin(18).unwrap();
    let (workspace, documents) = (workspace(&found(&scene.alice, 18)).tag(), Some(some(WANTED_DOCUMENTS_MAX, 0)));
    let mut session = founder;
    session.take_heard();
    session.say(Open { workspace, log: None, cursor: 0, receipt: None, documents: documents.clone() });
    let Some(Frame::Opened(opened)) = session.take_heard().into_iter().next() else {
        panic!("expected Opened");
    };
    assert!(!opened.resumed);
    session.say(Reconcile { channel: opened.channel, method: Reconcile::LIST, documents, held: Some(Vec::new()) });
    let chosen = |frame: &Frame| matches!(frame, Frame::Summary(summary) if summary.chosen.is_some());
    assert!(!session.take_heard().iter().any(chosen));
}
