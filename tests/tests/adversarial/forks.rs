//! A machine that was brought back to an earlier moment, and whose device wrote twice into the same places.
//!
//! Two documents, so two chains fork in each story; which of two branches has the lower hash is chance.

use std::time::Duration;

use tombolo::SetAsideReason;
use tombolo::document::Crdt;
use tombolo::engine::Event;
use tombolo_tests::{Net, RelayNode, Replica};

use crate::support::RELAY;

const REASON: SetAsideReason = SetAsideReason::Fork;

struct Forked {
    net: Net,
    /// Who is at the first relay, who at the second, and who at both.
    others: [Replica; 3],
    xenia: Replica,
    second: RelayNode,
}

fn a_while(net: &mut Net) {
    net.run_for(Duration::from_secs(120));
}

/// Xenia's machine is brought back; at the first relay stands what she wrote before, at the second what she wrote
/// after. Nobody has both yet.
fn forked(seed: u64) -> Forked {
    let mut net = Net::seeded(seed);
    let four @ [alice, bob, carol, xenia] = net.replicas(["alice", "bob", "carol", "xenia"]);
    let second = net.add_relay();
    four.iter().for_each(|replica| net.dial_relay(*replica, second));
    xenia.edit(&mut net, "early");
    net.run_until_quiet();
    net.cut_from(alice, second);
    net.cut_from(bob, RELAY);
    net.cut(carol);
    net.run_for(Duration::from_secs(60));
    xenia.kill(&mut net);
    xenia.back_up(&net);
    net.start(xenia);
    net.cut_from(xenia, second);
    for word in ["one", "one more"] {
        xenia.edit(&mut net, word);
        a_while(&mut net);
    }
    xenia.rewind(&mut net);
    net.cut_from(xenia, RELAY);
    net.heal_to(xenia, second);
    for word in ["two", "two more", "two again"] {
        xenia.edit(&mut net, word);
        a_while(&mut net);
    }
    assert_eq!(branches(&mut net, alice), [Some("one"); 2]);
    assert_eq!(branches(&mut net, bob), [Some("two"); 2]);
    Forked { net, others: [alice, bob, carol], xenia, second }
}

/// Which branch each document shows: all of it, and nothing of the other.
fn branches(net: &mut Net, replica: Replica) -> Vec<Option<&'static str>> {
    let of =
        |words: &[String], such: &[&str]| such.iter().filter(|word| words.iter().any(|held| held == *word)).count();
    let branch =
        |words: &[String]| match (of(words, &["one", "one more"]), of(words, &["two", "two more", "two again"])) {
            (2, 0) => Some("one"),
            (0, 3) => Some("two"),
            _ => None,
        };
    net.documents().into_iter().map(|document| branch(&replica.words(net, document))).collect()
}

impl Forked {
    /// Lets the two sides meet in Carol, or everybody at both relays.
    fn meet(&mut self, everybody: bool) {
        let (net, [alice, bob, carol]) = (&mut self.net, self.others);
        for relay in [RELAY, self.second] {
            net.heal_to(carol, relay);
            a_while(net);
        }
        net.heal_to(self.xenia, RELAY);
        if everybody {
            net.heal_to(alice, self.second);
            net.heal_to(bob, RELAY);
        }
        net.run_for(Duration::from_secs(300));
    }

    /// Fails unless all show the same branch of each chain, whole, and keep the other aside; now and after a restart.
    fn agree(&mut self) -> Vec<Option<&'static str>> {
        let net = &mut self.net;
        let all = [self.others.as_slice(), &[self.xenia]].concat();
        let stays = branches(net, all[0]);
        assert!(stays.iter().all(Option::is_some), "{stays:?}");
        let aside: usize = stays.iter().map(|branch| if *branch == Some("one") { 3 } else { 2 }).sum();
        for restarted in [false, true] {
            for replica in &all {
                if restarted {
                    replica.crash(net);
                }
                assert_eq!(branches(net, *replica), stays, "{replica:?}");
                let debt = replica.debt(net);
                let reasons: Vec<_> = debt.set_aside.iter().map(|entry| entry.reason).collect();
                assert_eq!(reasons, vec![REASON; aside], "{replica:?}");
                assert!(debt.documents.is_empty(), "{replica:?} {debt:?}");
                assert!(replica.counted(net, REASON) > 0);
                replica.assert_sound(net);
            }
            net.assert_equal(&all);
            a_while(net);
        }
        for replica in &all {
            let fork = |event: &Event| matches!(event, Event::RelayFork { .. });
            assert!(!replica.was_told(net, fork), "it is no relay's doing");
        }
        // Everybody writes on, she too, in another life.
        for (replica, word) in all.iter().zip(["on 0", "on 1", "on 2", "on 3"]) {
            replica.edit(net, word);
        }
        a_while(net);
        let document = net.documents()[0];
        for replica in &all {
            assert!(["on 0", "on 1", "on 2", "on 3"].iter().all(|word| replica.has(net, document, word)));
            assert_eq!(branches(net, *replica), stays);
        }
        net.assert_equal(&all);
        stays
    }
}

#[test]
fn case_62_of_a_chain_in_two_branches_the_same_one_stays_on_every_device_whatever_came_first() {
    let mut stayed = Vec::new();
    for seed in 620..624 {
        let mut story = forked(seed);
        story.meet(seed % 2 == 0);
        let (net, xenia) = (&story.net, story.xenia);
        assert!(xenia.was_told(net, |event| matches!(event, Event::CloneSuspected { .. })));
        stayed.extend(story.agree());
    }
    assert!(stayed.contains(&Some("one")) && stayed.contains(&Some("two")), "chance chose {stayed:?}");
}

#[test]
fn case_62_the_branch_stays_that_somebody_has_built_on() {
    for (seed, who, branch) in [(630, 0, "one"), (631, 1, "two"), (632, 0, "one"), (633, 1, "two")] {
        let mut story = forked(seed);
        story.others[who].edit(&mut story.net, "built on it");
        a_while(&mut story.net);
        story.meet(false);
        assert_eq!(story.agree(), [Some(branch); 2]);
        let document = story.net.documents()[0];
        let carol = story.others[2];
        assert!(carol.has(&mut story.net, document, "built on it"));
    }
}

#[test]
fn case_62_where_both_branches_were_built_on_one_of_them_stays() {
    for seed in 640..642 {
        let mut story = forked(seed);
        let [alice, bob, _] = story.others;
        alice.edit(&mut story.net, "built on one");
        bob.edit(&mut story.net, "built on two");
        a_while(&mut story.net);
        story.meet(true);
        story.agree();
    }
}

#[test]
fn case_62_work_that_waits_to_be_sent_keeps_the_branch_that_it_was_made_on() {
    for (seed, who, branch) in [(650, 0, "one"), (651, 1, "two")] {
        let mut story = forked(seed);
        let writer = story.others[who];
        story.net.cut(writer);
        a_while(&mut story.net);
        writer.edit(&mut story.net, "made offline");
        story.meet(true);
        story.net.heal();
        story.net.run_for(Duration::from_secs(300));
        assert_eq!(story.agree(), [Some(branch); 2]);
        let document = story.net.documents()[1];
        let carol = story.others[2];
        assert!(carol.has(&mut story.net, document, "made offline"));
    }
}

#[test]
fn a_document_that_is_open_when_another_life_begins_goes_on_in_it() {
    for crdt in [Crdt::Automerge, Crdt::Yrs] {
        let mut story = forked(620);
        let xenia = story.xenia;
        // Its chain has one branch: nothing but the new life asks for it to be loaded again.
        let whole = xenia.create(&mut story.net, crdt);
        xenia.try_edit(&mut story.net, whole, "before").unwrap();
        story.net.act(xenia, |engine, now, tx| engine.watch(now, &whole, tx)).unwrap();
        a_while(&mut story.net);
        story.meet(true);
        assert!(xenia.was_told(&story.net, |event| matches!(event, Event::CloneSuspected { .. })));
        xenia.try_edit(&mut story.net, whole, "after").unwrap();
        a_while(&mut story.net);
        let rebuilt = |event: &Event| matches!(event, Event::Rebuilt { document } if *document == whole);
        assert!(xenia.was_told(&story.net, rebuilt), "whoever watches reads it anew");
        for replica in story.others {
            assert!(replica.has(&mut story.net, whole, "before") && replica.has(&mut story.net, whole, "after"));
        }
    }
}
