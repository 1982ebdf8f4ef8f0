//! A relay, or somebody on the way, who alters, repeats and cuts what passes; versions that do not fit.

use std::time::Duration;

use tombolo::SetAsideReason;
use tombolo::engine::Event;
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::entry::{Entry, HEADER_BYTES};
use tombolo::protocol::frame::{Frame, RefusalReason};
use tombolo::protocol::item::LogItem;
use tombolo::protocol::record::Role;
use tombolo_tests::lies;
use tombolo_tests::tamper::Planted;
use tombolo_tests::{Net, Replica};

use crate::support::{AUTOMERGE, POISON, RELAY, Scene, others_go_on, scene, turned_away};

/// Where the fourth byte of an entry's own length stands: the last of its header.
const BODY_LEN_AT: usize = HEADER_BYTES - 4;
const SUITE_AT: usize = 4;

fn item(entry: &[u8]) -> Vec<u8> {
    const ENTRY: u8 = 3;
    [&[ENTRY], entry].concat()
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

#[test]
fn case_01_an_entry_that_the_relay_replays_a_thousand_times_counts_once() {
    let mut story = scene(1, Role::Writer);
    let entry = story.of_alice();
    let before = story.honest.map(|replica| statistics(&mut story, replica));
    let thousand: Vec<Planted<'_>> = (0..1000).map(|_| Planted::Entry(&entry)).collect();
    story.net.plant(RELAY, &thousand);
    story.net.run_until_quiet();
    story.assert_counted(SetAsideReason::Duplicate, 1000);
    assert_eq!(story.honest.map(|replica| statistics(&mut story, replica)), before);
    assert_eq!(story.set_aside(), []);
    // In the session too, at positions that are known already.
    story.net.lie(RELAY, lies::repeat_items(1000));
    story.ends();
    story.assert_counted(SetAsideReason::Duplicate, 1000);
    story.assert_counted(SetAsideReason::RelayFork, 0);
}

/// What a document amounts to in memory, and what it says.
fn statistics(story: &mut Scene, replica: Replica) -> (tombolo::engine::DocumentStats, Vec<String>) {
    let target = story.target;
    let words = replica.words(&mut story.net, target);
    let statistics = story.net.act(replica, |engine, now, tx| engine.stats(now, &target, tx));
    let Ok(Some(statistics)) = statistics else { unreachable!("the device is up") };
    (statistics, words)
}

#[test]
fn case_07_no_bit_of_an_entry_can_be_flipped_on_the_way() {
    let mut story = scene(7, Role::Writer);
    let entry = story.rogue.seal(story.target, AUTOMERGE, &POISON);
    let bytes = entry.encode();
    let bits = bytes.len() * 8;
    let altered: Vec<Vec<u8>> = (0..bits).map(|bit| flipped(&bytes, bit)).collect();
    let read: Vec<Entry> = altered.iter().filter_map(|bytes| Entry::decode(bytes).ok()).collect();
    // An honest relay takes none of them, and none that is no entry any more.
    let mut said = Vec::new();
    for some in altered.chunks(1000) {
        said.extend(story.append(some.iter().map(|bytes| item(bytes)).collect()));
    }
    let malformed = said.iter().filter(|reason| **reason == RefusalReason::Malformed).count();
    assert_eq!((said.len(), malformed >= bits - read.len()), (bits, true));
    assert!(story.net.refused(RELAY, "bad_signature") > 0);
    // The original is the member's own word, whatever it is worth.
    assert_eq!(story.append_entries(&[entry]), []);
    assert_eq!(story.set_aside(), [SetAsideReason::Poison]);
    // A relay that takes them in, and signs for them.
    let planted: Vec<Planted<'_>> = read.iter().map(Planted::Entry).collect();
    story.net.plant(RELAY, &planted);
    story.net.run_until_quiet();
    for replica in story.honest {
        let counted = |reason| replica.counted(&story.net, reason);
        let refused = counted(SetAsideReason::BadSignature) + counted(SetAsideReason::UnknownAuthor);
        // A spoilt copy may be of something that is genuine, so some are asked for again, and the log is compared.
        let spoilt = read.len() as u64;
        assert!((spoilt..=4 * spoilt).contains(&refused), "{refused} of {spoilt}");
        let strange = counted(SetAsideReason::UnknownAuthor);
        assert!(strange % 256 == 0 && (1..=4).contains(&(strange / 256)), "the bits of the author's name: {strange}");
        assert_eq!((counted(SetAsideReason::Decrypt), counted(SetAsideReason::Poison)), (0, 1));
    }
    story.ends();
}

#[test]
fn case_08_an_entry_that_is_cut_or_lies_about_its_length_is_malformed_at_every_length() {
    let mut story = scene(8, Role::Writer);
    let bytes = story.rogue.seal(story.target, AUTOMERGE, &POISON).encode();
    let mut wrong: Vec<Vec<u8>> = (0..bytes.len()).map(|length| bytes[..length].to_vec()).collect();
    let stated = u32::try_from(bytes.len() - HEADER_BYTES - 64).unwrap();
    for lie in [stated - 1, stated + 1, 0, u32::MAX] {
        let mut lied = bytes.clone();
        lied[BODY_LEN_AT..HEADER_BYTES].copy_from_slice(&lie.to_be_bytes());
        wrong.push(lied);
    }
    wrong.push([bytes.as_slice(), &[0]].concat());
    let said = story.append(wrong.iter().map(|bytes| item(bytes)).collect());
    assert_eq!(said, vec![RefusalReason::Malformed; wrong.len()]);
    assert_eq!(story.net.refused(RELAY, "malformed"), wrong.len() as u64);
    // What the relay cuts on the way to a device ends the session, and nothing is taken of it.
    let mut cuts = wrong.into_iter().cycle();
    story.net.lie(
        RELAY,
        lies::rewrite(move |frame| match frame {
            Frame::Items(mut items) => {
                items.items = cuts.next().into_iter().map(|bytes| item(&bytes).into()).collect();
                vec![items.into()]
            }
            frame => vec![frame],
        }),
    );
    let [alice, bob] = story.honest;
    for round in 0..20 {
        alice.edit(&mut story.net, &format!("round {round}"));
        story.net.run_for(Duration::from_secs(30));
    }
    assert!(bob.counted(&story.net, SetAsideReason::Malformed) > 3);
    assert_eq!(bob.counted(&story.net, SetAsideReason::Decrypt), 0);
    story.net.honest(RELAY);
    story.ends();
    assert_eq!(story.set_aside(), []);
}

#[test]
fn case_08_frames_that_are_cut_short_end_the_session_and_nothing_else() {
    let mut net = Net::seeded(33);
    let replicas = net.replicas(["alice", "bob"]);
    net.lie(RELAY, lies::truncate());
    for round in 0..6 {
        replicas.iter().for_each(|replica| replica.edit(&mut net, &format!("{round} by {replica:?}")));
        net.run_for(Duration::from_secs(2));
    }
    net.run_for(Duration::from_secs(120));
    assert!(replicas.iter().all(|replica| replica.counted(&net, SetAsideReason::Malformed) > 0));
    net.honest(RELAY);
    others_go_on(&mut net, &replicas);
    net.run_until_quiet();
    net.assert_converged(replicas);
}

#[test]
fn case_30_another_suite_is_no_entry_and_an_older_version_no_session() {
    let mut story = scene(30, Role::Writer);
    let bytes = story.rogue.seal(story.target, AUTOMERGE, &POISON).encode();
    let with_suite = |suite| item(&[&bytes[..SUITE_AT], &[suite], &bytes[SUITE_AT + 1..]].concat());
    let others = (0..=u8::MAX).filter(|suite| *suite != bytes[SUITE_AT]).map(with_suite).collect();
    assert_eq!(story.append(others), [RefusalReason::Malformed; 255]);
    // A device that says it speaks an older version is told so, and no other is tried.
    story.net.patch(story.mallory, version_in_hello(0));
    let (tap, tapped) = lies::tap();
    story.net.lie(RELAY, tap);
    story.mallory.crash(&mut story.net);
    story.net.run_for(Duration::from_secs(60));
    let unsupported = |frame: &Frame| matches!(frame, Frame::Close(close) if close.version == Some(1));
    assert!(tapped.borrow().iter().any(unsupported));
    assert!(story.mallory.was_told(&story.net, |event| turned_away(event, CloseCode::UnsupportedVersion)));
    story.mallory.kill(&mut story.net);
    // So is a relay that offers one.
    story.net.lie(RELAY, version_in_challenge(0));
    for replica in story.honest {
        replica.crash(&mut story.net);
    }
    story.net.run_for(Duration::from_secs(60));
    for replica in story.honest {
        assert!(replica.counted(&story.net, SetAsideReason::UnsupportedVersion) > 0);
        replica.edit(&mut story.net, &format!("local work goes on at {replica:?}"));
    }
    story.net.honest(RELAY);
    for replica in story.honest {
        story.net.dial_relay(replica, RELAY);
        replica.crash(&mut story.net);
    }
    story.ends();
}

fn version_in_hello(version: u16) -> lies::Lie {
    lies::rewrite(move |frame| match frame {
        Frame::Hello(mut hello) => {
            hello.version = version;
            vec![hello.into()]
        }
        frame => vec![frame],
    })
}

fn version_in_challenge(version: u16) -> lies::Lie {
    lies::rewrite(move |frame| match frame {
        Frame::Challenge(mut challenge) => {
            challenge.version = version;
            vec![challenge.into()]
        }
        frame => vec![frame],
    })
}

#[test]
fn case_51_whatever_bit_the_relay_flips_devices_stay_whole() {
    for seed in 40..56 {
        let mut net = Net::seeded(seed);
        let replicas = net.replicas(["alice", "bob"]);
        net.lie(RELAY, lies::flip_bits(4));
        for round in 0..6 {
            replicas.iter().for_each(|replica| replica.edit(&mut net, &format!("{round} by {replica:?}")));
            net.run_for(Duration::from_secs(2));
        }
        net.run_for(Duration::from_secs(120));
        // A bit of a close code can say "never again"; then a person dials again.
        replicas.iter().for_each(|replica| net.dial_relay(*replica, RELAY));
        net.honest(RELAY);
        net.run_for(Duration::from_secs(120));
        // What a relay keeps to itself at the very end is noticed with the next thing that it says.
        replicas.iter().for_each(|replica| replica.edit(&mut net, &format!("at last by {replica:?}")));
        others_go_on(&mut net, &replicas);
        net.run_until_quiet();
        net.assert_converged(replicas);
    }
}

/// The targets of the long run are those of `fuzz/`: entry, item, record, membership, identity, frame, session,
/// relay_session, receipt, status, invite, link, kit, body, change, store_open. This is the short one, by seed.
#[test]
fn case_51_whatever_bytes_a_parser_is_given_it_answers() {
    let mut story = scene(51, Role::Writer);
    let entry = story.rogue.seal(story.target, AUTOMERGE, &POISON);
    let records = story.net.membership(RELAY);
    let kit = story.honest[0].make_kit(&mut story.net);
    let file = kit.to_file("low tide", story.net.chance()).unwrap();
    let link = story.honest[0].invite(&mut story.net, Role::Reader).to_string().into_bytes();
    let request = story.net.device("phone").ask_to_be_linked(&mut story.net, tombolo::LinkWay::Scan).into_bytes();
    let mut samples = vec![entry.encode(), LogItem::encode_entry(&entry, None), file, link, request];
    samples.extend(records.in_order().into_iter().map(tombolo::protocol::record::Record::encode));
    let mut refused = 0_u32;
    for sample in &samples {
        for _ in 0..300 {
            refused += u32::from(!parses(&mangled(sample, story.net.chance())));
        }
    }
    assert!(refused > 1000, "{refused}");
    story.ends();
}

fn mangled(sample: &[u8], chance: &mut tombolo_tests::Chance) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    match chance.below(3) {
        0 => bytes.truncate(chance.index(bytes.len())),
        1 => {
            let at = chance.index(bytes.len());
            bytes.insert(at, chance.below(256) as u8);
        }
        _ => {}
    }
    for _ in 0..=chance.below(4) {
        if !bytes.is_empty() {
            let at = chance.index(bytes.len());
            bytes[at] = chance.below(256) as u8;
        }
    }
    bytes
}

/// Gives bytes to every parser that is shown what strangers made; tells whether any takes them.
fn parses(bytes: &[u8]) -> bool {
    use tombolo::crypto::{Body, InviteLink, LinkRequest, RecoveryKit};
    let text = String::from_utf8_lossy(bytes);
    let entry = Entry::decode(bytes).is_ok();
    let item = LogItem::decode(bytes).is_ok_and(|item| matches!(item, LogItem::Entry(e) if Entry::decode(e).is_ok()));
    let record = tombolo::protocol::record::Record::decode(bytes).is_ok();
    let frame = Frame::decode(bytes).is_ok();
    let link = text.parse::<InviteLink>().is_ok() | text.parse::<LinkRequest>().is_ok();
    // A file with honest parameters is hashed for a good while, so only its frame is read here.
    let kit = bytes.len() < 64 && RecoveryKit::from_file(bytes, "").is_ok();
    entry | item | record | frame | link | kit | Body::decode(bytes).is_ok()
}

/// Breaks the signature of every entry on the way to devices; of what was asked for too, if `fetched`.
fn spoils(fetched: bool) -> lies::Lie {
    let flip = |bytes: &mut Vec<u8>| bytes.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
    let spoil = move |bytes: &mut Vec<u8>| {
        if matches!(LogItem::decode(bytes), Ok(LogItem::Entry(_) | LogItem::Elided(_))) {
            flip(bytes);
        }
    };
    lies::rewrite(move |frame| match frame {
        Frame::Items(mut run) => {
            run.items.iter_mut().for_each(|bytes| spoil(bytes));
            vec![run.into()]
        }
        Frame::Fetched(mut answer) if fetched => {
            answer.entries.iter_mut().for_each(|bytes| flip(bytes));
            vec![answer.into()]
        }
        frame => vec![frame],
    })
}

#[test]
fn case_07_a_spoilt_last_entry_is_asked_for_again_now_or_in_a_later_session() {
    for for_good in [false, true] {
        let mut net = Net::seeded(700 + u64::from(for_good));
        let [alice, bob] = net.replicas(["alice", "bob"]);
        let document = net.documents()[0];
        let (tap, asked) = lies::tap();
        net.patch(bob, tap);
        net.lie(RELAY, spoils(for_good));
        alice.try_edit(&mut net, document, "the last word").unwrap();
        net.run_for(Duration::from_secs(300));
        let fetches = |frames: &[Frame]| frames.iter().filter(|frame| matches!(frame, Frame::Fetch(_))).count();
        let (times, spoilt) = (fetches(&asked.borrow()), bob.counted(&net, SetAsideReason::BadSignature));
        if for_good {
            assert!(times <= 8 && spoilt <= 8, "at growing distances: {times} times in five minutes, {spoilt} spoilt");
        } else {
            assert_eq!((times, spoilt), (1, 1));
        }
        assert_eq!(bob.has(&mut net, document, "the last word"), !for_good);
        let no_fork = |event: &Event| !matches!(event, Event::RelayFork { .. });
        assert!(bob.events(&net).iter().all(no_fork), "{:?}", bob.events(&net));
        net.honest(RELAY);
        bob.crash(&mut net);
        net.run_for(Duration::from_secs(60));
        assert!(bob.has(&mut net, document, "the last word"));
        bob.assert_sound(&net);
        // All is as it was: nothing is asked for any more.
        let before = fetches(&asked.borrow());
        bob.crash(&mut net);
        others_go_on(&mut net, &[alice, bob]);
        assert_eq!(fetches(&asked.borrow()), before);
        net.run_until_quiet();
        net.assert_converged([alice, bob]);
    }
}
