//! What the cases share: two honest members and one in the hands of somebody who means harm, and the
//! proof with which each case ends: the other documents go on.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo::crypto::{DeviceSecrets, InviteLink};
use tombolo::engine::{Event, OfflineReason, RelayState};
use tombolo::protocol::close::CloseCode;
use tombolo::protocol::entry::Entry;
use tombolo::protocol::frame::{Frame, RefusalReason};
use tombolo::protocol::ids::{DocumentId, EpochId, RecordId, UserId};
use tombolo::protocol::item::LogItem;
use tombolo::protocol::membership::Membership;
use tombolo::protocol::record::Role;
use tombolo::{ActOutcome, Error, InviteTerms, MembershipAct, SetAsideReason};
use tombolo_tests::lies::{self, Tapped};
use tombolo_tests::{Net, RelayNode, Replica, Rogue, keys_of};

pub(crate) const RELAY: RelayNode = RelayNode::FIRST;
/// The number of automerge in entries.
pub(crate) const AUTOMERGE: u8 = 1;

/// No automerge change, though it begins like one.
pub(crate) const POISON: [u8; 20] = [0x85, 0x6f, 0x4a, 0x83, 3, 3, 3, 3, 1, 9, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3];

/// Two honest members, and one in the hands of somebody who means harm.
pub(crate) struct Scene {
    pub(crate) net: Net,
    pub(crate) honest: [Replica; 2],
    pub(crate) mallory: Replica,
    pub(crate) rogue: Rogue,
    /// The document that is attacked, an automerge one.
    pub(crate) target: DocumentId,
}

pub(crate) fn scene(seed: u64, role: Role) -> Scene {
    let mut net = Net::seeded(seed);
    let honest = net.replicas(["alice", "bob"]);
    let mallory = net.device("mallory");
    let link = honest[0].invite(&mut net, role);
    let again = twin(&link);
    mallory.take_invite(&mut net, link);
    net.run_until_quiet();
    let rogue = Rogue::of(&net, mallory, &again);
    let target = net.documents()[0];
    Scene { net, honest, mallory, rogue, target }
}

impl Scene {
    /// Lets mallory's program append these items as if they were its own work; returns what the relay says.
    pub(crate) fn append(&mut self, items: Vec<Vec<u8>>) -> Vec<RefusalReason> {
        let (tap, tapped) = lies::tap();
        self.net.lie(RELAY, tap);
        self.net.patch(self.mallory, lies::append_too(items));
        // The program must have something to say for the patch to work.
        self.mallory.crash(&mut self.net);
        let bait = format!("bait {}", self.net.now().wall_ms);
        self.honest[0].edit(&mut self.net, &bait);
        self.net.run_until_quiet();
        self.net.honest(RELAY);
        refusals(&tapped)
    }

    pub(crate) fn append_entries(&mut self, entries: &[Entry]) -> Vec<RefusalReason> {
        self.append(entries.iter().map(|entry| LogItem::encode_entry(entry, None)).collect())
    }

    /// Returns the reasons for which both honest devices keep entries aside; they must agree.
    pub(crate) fn set_aside(&mut self) -> Vec<SetAsideReason> {
        let [alice, bob] = self.honest.map(|replica| set_aside(&mut self.net, replica));
        assert_eq!(alice, bob);
        alice
    }

    /// Fails unless both honest devices counted a reason so often.
    pub(crate) fn assert_counted(&self, reason: SetAsideReason, times: u64) {
        for replica in self.honest {
            assert_eq!(replica.counted(&self.net, reason), times, "{replica:?} {reason:?}");
        }
    }

    /// Every case ends here: the honest devices converge, and the other documents go on.
    pub(crate) fn ends(&mut self) {
        let honest = self.honest;
        others_go_on(&mut self.net, &honest);
        self.net.run_until_quiet();
        self.net.assert_converged(honest);
    }

    /// An entry that alice wrote into the attacked document.
    pub(crate) fn of_alice(&mut self) -> Entry {
        let alice = self.honest[0].ids(&self.net).0;
        self.honest[0].edit(&mut self.net, "hers");
        self.net.run_until_quiet();
        let tag = self.rogue.tag(&self.target);
        let entries = self.net.entries(RELAY);
        let hers = |entry: &Entry| entry.header().chain.device == alice && entry.header().chain.document == tag;
        entries.into_iter().rfind(hers).unwrap()
    }
}

pub(crate) fn twin(link: &InviteLink) -> InviteLink {
    let Ok(link) = link.to_string().parse() else { unreachable!("a link reads what it wrote") };
    link
}

/// Fails unless everybody can go on writing the second document, and everybody else reads it.
pub(crate) fn others_go_on(net: &mut Net, replicas: &[Replica]) {
    let other = net.documents()[1];
    go_on(net, replicas, other);
}

pub(crate) fn go_on(net: &mut Net, replicas: &[Replica], document: DocumentId) {
    let at = net.now().mono.as_millis();
    let words: Vec<String> = replicas.iter().map(|replica| format!("{at} by {replica:?}")).collect();
    for (replica, word) in replicas.iter().zip(&words) {
        replica.try_edit(net, document, word).unwrap();
    }
    net.run_for(Duration::from_secs(300));
    for replica in replicas {
        for word in &words {
            assert!(replica.has(net, document, word), "{replica:?} lacks {word}");
        }
        let debt = replica.debt(net);
        assert!(debt.documents.iter().all(|owed| owed.document != Some(document)), "{debt:?}");
        assert!(debt.set_aside.iter().all(|aside| aside.document != Some(document)), "{debt:?}");
    }
}

pub(crate) fn set_aside(net: &mut Net, replica: Replica) -> Vec<SetAsideReason> {
    for document in net.documents() {
        // An entry is opened and judged when its document is.
        replica.words(net, document);
    }
    let mut reasons: Vec<_> = replica.debt(net).set_aside.iter().map(|entry| entry.reason).collect();
    reasons.sort_unstable();
    reasons
}

/// What a relay refused of what was appended, in order.
pub(crate) fn refusals(tapped: &Tapped) -> Vec<RefusalReason> {
    let reason = |frame: &Frame| match frame {
        Frame::Refused(refused) => Some(refused.reason),
        _ => None,
    };
    tapped.borrow().iter().filter_map(reason).collect()
}

pub(crate) fn user(net: &Net, replica: Replica) -> UserId {
    replica.ids(net).1
}

pub(crate) fn act(net: &mut Net, who: Replica, act: MembershipAct) -> Result<ActOutcome, Error> {
    let workspace = net.workspace();
    let done = net.act(who, move |engine, now, tx| engine.act(now, &workspace, act, tx))?;
    done.ok_or(Error::Closed)
}

/// States an act, and returns its record.
pub(crate) fn stated(net: &mut Net, who: Replica, what: MembershipAct) -> RecordId {
    let Ok(ActOutcome::Stated(id)) = act(net, who, what) else { unreachable!("it is stated at once") };
    net.run_until_quiet();
    id
}

pub(crate) fn set_role(net: &mut Net, who: Replica, whose: Replica, role: Role) {
    let user = user(net, whose);
    stated(net, who, MembershipAct::SetRole { user, role, expires_ms: None });
}

pub(crate) fn role(net: &mut Net, who: Replica, whose: UserId) -> Option<Role> {
    let workspace = net.workspace();
    let Ok(Some(members)) = net.act(who, |engine, _, _| engine.members(&workspace)) else {
        unreachable!("the device is up");
    };
    members.into_iter().find(|member| member.user == whose).map(|member| member.role)
}

/// Makes an invite for as many as come, or for so many.
pub(crate) fn invite(net: &mut Net, host: Replica, role: Role, uses: Option<u32>) -> InviteLink {
    let workspace = net.workspace();
    let terms = InviteTerms { role, expires_ms: None, uses };
    let made = net.act(host, |engine, now, tx| engine.invite(now, &workspace, terms, tx));
    let Ok(Some(link)) = made else { unreachable!("an invite is made") };
    net.run_until_quiet();
    link
}

/// The epochs that a thief of these devices can open, by every wrap and every earlier epoch there is.
pub(crate) fn openable(membership: &Membership, devices: &[&DeviceSecrets]) -> BTreeSet<EpochId> {
    keys_of(membership, devices).epochs.into_keys().collect()
}

/// Lets time pass until a relay's log takes a role from somebody, and no longer: sessions may not know yet.
pub(crate) fn until_removed(net: &mut Net, whose: UserId) {
    for _ in 0..60_000 {
        if net.membership(RELAY).view().role(&whose).is_none() {
            return;
        }
        net.run_for(Duration::from_millis(1));
    }
    panic!("the removal does not arrive");
}

/// Tells whether a relay turned a device away for this reason.
pub(crate) fn turned_away(event: &Event, code: CloseCode) -> bool {
    let ended = OfflineReason::Ended(code);
    matches!(event, Event::Relay { state: RelayState::Offline { reason: Some(reason), .. }, .. } if *reason == ended)
}
