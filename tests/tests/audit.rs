//! Stories of the trail: what was stated by whom, what became of it and why, the same on every device.

use std::time::Duration;

use tombolo::crypto::RecoveryKit;
use tombolo::engine::{Engine, Event, Now};
use tombolo::protocol::ids::{RelayId, UserId};
use tombolo::protocol::membership::RecordRefusal;
use tombolo::protocol::record::{Levels, OrganisationRecovery, Policy, RecordBody, Role};
use tombolo::{
    AuditAct, AuditEntry, AuditId, AuditOutcome, Error, LinkWay, MembershipAct, PolicyRefusal, PolicyTerms, Tx,
};
use tombolo_tests::{Net, RelayNode, Replica, Rogue};

fn act(net: &mut Net, who: Replica, act: MembershipAct) -> Result<(), Error> {
    let workspace = net.workspace();
    net.act(who, move |engine, now, tx| engine.act(now, &workspace, act, tx)).map(drop)
}

fn set_role(user: UserId, role: Role) -> MembershipAct {
    MembershipAct::SetRole { user, role, expires_ms: None }
}

fn trail(net: &mut Net, who: Replica) -> Vec<AuditEntry> {
    let workspace = net.workspace();
    let Ok(Some(asked)) = net.act(who, |engine: &mut Engine, _: Now, _: &Tx<'_>| engine.audit(&workspace)) else {
        unreachable!("the device is up");
    };
    asked
}

fn policy(net: &mut Net, who: Replica) -> Policy {
    let workspace = net.workspace();
    let Ok(Some(asked)) = net.act(who, |engine: &mut Engine, _: Now, _: &Tx<'_>| engine.policy(&workspace)) else {
        unreachable!("the device is up");
    };
    asked
}

fn forge(chance_seed: u64) -> RecoveryKit {
    let mut net = Net::seeded(chance_seed);
    let office = net.device("office");
    let Ok(Some(asked)) = net.act(office, |engine, _, _| engine.recovery_kit()) else {
        unreachable!("the device is up");
    };
    asked
}

#[test]
fn the_trail_tells_everybody_the_same_and_who_undid_what() {
    let mut net = Net::seeded(406);
    let [alice, bob, carol] = net.replicas(["alice", "bob", "carol"]);
    let ([_, bobs, carols], phone) = ([alice, bob, carol].map(|who| who.ids(&net).1), net.device("phone"));
    net.link(carol, phone, LinkWay::Scan);
    let (phones, _) = phone.ids(&net);
    net.act(carol, |engine, now, tx| engine.rename_device(now, &phones, "Carol's \"phone\"\n", tx)).unwrap();
    act(&mut net, alice, set_role(bobs, Role::Admin)).unwrap();
    net.run_until_quiet();
    // Bob lowers Carol, and Alice removes Bob before she has heard of it: the greater rank wins.
    act(&mut net, bob, set_role(carols, Role::Reader)).unwrap();
    let lowers = |entry: &AuditEntry| matches!(entry.act, AuditAct::SetRole { user, .. } if user == carols);
    while ![carol, phone].into_iter().any(|who| trail(&mut net, who).iter().any(lowers)) {
        net.run_for(Duration::from_millis(1));
    }
    assert!(!trail(&mut net, alice).iter().any(lowers));
    act(&mut net, alice, MembershipAct::Remove { user: bobs }).unwrap();
    net.run_until_quiet();
    let told = trail(&mut net, alice);
    assert_eq!(told, trail(&mut net, carol));
    assert_eq!(told, trail(&mut net, phone));
    let of = |such: &dyn Fn(&AuditAct) -> bool| told.iter().find(|entry| such(&entry.act)).unwrap();
    let removal = of(&|act| matches!(act, AuditAct::Remove { user, .. } if *user == bobs));
    let AuditId::Record(by) = removal.id else { unreachable!("a removal is a record") };
    assert!(removal.act.epoch().is_some() && removal.outcome == AuditOutcome::Counts);
    let lowered = of(&|act| matches!(act, AuditAct::SetRole { user, .. } if *user == carols));
    assert_eq!((lowered.author.user, lowered.author.role), (Some(bobs), Some(Role::Admin)));
    assert_eq!(lowered.outcome, AuditOutcome::Struck { by });
    let join = of(&|act| matches!(act, AuditAct::Join { .. }));
    assert_eq!((join.attestations.len(), join.attestations[0].nth), (1, Some(1)));
    let linked = of(&|act| matches!(act, AuditAct::AddDevice { device, .. } if *device == phones));
    assert!(linked.carried_by.is_some());
    let line = linked.to_string();
    assert!(line.contains(r#"\"phone\"\n"#) && !line.contains('\n'), "{line}");
    let json = lowered.to_json();
    assert_eq!(json["outcome"], "void");
    assert_eq!(json["because_of"], by.to_string());
    assert!(told.iter().all(|entry| !entry.to_string().contains('\n') && !entry.to_json().to_string().contains('\n')));
}

#[test]
fn a_policy_that_nobody_could_meet_is_not_stated() {
    let mut net = Net::seeded(402);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let set = |levels, relays| MembershipAct::SetPolicy(PolicyTerms { levels, relays, needs_binding: false });
    let strict = Levels { membership: 3, ..Levels::default() };
    let refused = act(&mut net, alice, set(Levels { open: 5, ..strict }, Vec::new()));
    assert!(matches!(refused, Err(Error::Policy(PolicyRefusal::LevelTooHigh { level: 5 }))));
    let stranger = RelayId::from_bytes([9; 32]);
    let refused = act(&mut net, alice, set(strict, vec![stranger]));
    assert!(matches!(refused, Err(Error::Policy(PolicyRefusal::NoKnownRelay))));
    let refused = act(&mut net, alice, set(Levels::default(), vec![stranger; 17]));
    assert!(matches!(refused, Err(Error::Policy(PolicyRefusal::TooManyRelays { named: 17 }))));
    let bound = PolicyTerms { needs_binding: true, ..PolicyTerms::default() };
    let refused = act(&mut net, alice, MembershipAct::SetPolicy(bound));
    assert!(matches!(refused, Err(Error::Policy(PolicyRefusal::NotBound))), "the net's sessions are not bound");
    let weak = OrganisationRecovery { user: alice.ids(&net).1, box_public: [0; 32] };
    let refused = act(&mut net, alice, MembershipAct::SetOrganisationRecovery(Some(weak)));
    assert!(matches!(refused, Err(Error::Policy(PolicyRefusal::WeakKey))));
    let refused = act(&mut net, bob, set(Levels::default(), Vec::new()));
    assert!(matches!(refused, Err(Error::Refused(RecordRefusal::RoleDenied))));
    assert_eq!(policy(&mut net, bob), Policy::default());
    let relay = alice.invite(&mut net, Role::Reader).relay;
    // Levels to invite alone, so that what is tried here next needs none.
    let asked = Levels { invite: 3, ..Levels::default() };
    net.cut(alice);
    net.run_for(Duration::from_secs(120));
    act(&mut net, alice, set(asked, vec![relay])).unwrap();
    alice.crash(&mut net);
    net.heal();
    net.run_until_quiet();
    for who in [alice, bob] {
        let held = policy(&mut net, who);
        assert_eq!((held.levels, held.relays), (asked, vec![relay]), "what was meant offline is stated");
        assert!(who.was_told(&net, |event| matches!(event, Event::PolicyChanged { .. })));
    }
    let told = trail(&mut net, bob);
    assert!(told.iter().any(|entry| matches!(&entry.act, AuditAct::SetPolicy(policy) if policy.levels == asked)));
}

#[test]
fn an_organisation_opens_what_its_key_was_given_and_everybody_sees_that_it_can() {
    let mut net = Net::seeded(403);
    let [alice, bob] = net.replicas(["alice", "bob"]);
    let workspace = net.workspace();
    let (document, office) = (net.documents()[0], net.device("office"));
    net.join(alice, office, Role::Carrier);
    alice.edit(&mut net, "before");
    net.run_until_quiet();
    let kit = forge(1403);
    let open = |net: &mut Net, kit: RecoveryKit| {
        net.act(office, move |engine, now, tx| engine.open_with_kit(now, &workspace, &kit, tx))
    };
    let words = kit.words();
    let again = || RecoveryKit::from_words(&words).unwrap();
    assert!(matches!(open(&mut net, again()), Err(Error::NotReady)), "nothing is sealed to it yet");
    act(&mut net, alice, MembershipAct::SetOrganisationRecovery(Some(kit.organisation()))).unwrap();
    net.run_until_quiet();
    for who in [alice, bob, office] {
        let user = Some(kit.user());
        let said = |event: &Event| matches!(event, Event::OrganisationRecoveryChanged { recovery, .. } if recovery.map(|held| held.user) == user);
        assert!(who.was_told(&net, said), "every member is told");
    }
    let delivered = |entry: &AuditEntry| matches!(entry.act, AuditAct::DeliverKeys { to_organisation: true, .. });
    assert!(trail(&mut net, bob).iter().any(delivered), "who gave the keys stands in the trail");
    alice.edit(&mut net, "with");
    net.run_until_quiet();
    let closed = office.try_edit(&mut net, document, "no");
    assert!(matches!(closed, Err(Error::NoDocument(_))), "a carrier alone can not even tell which documents there are");
    open(&mut net, again()).unwrap();
    assert!(office.has(&mut net, document, "with") && office.has(&mut net, document, "before"));
    // Taken away: new keys begin, and the organisation has no part in them.
    act(&mut net, alice, MembershipAct::SetOrganisationRecovery(None)).unwrap();
    net.run_until_quiet();
    bob.edit(&mut net, "after");
    net.run_until_quiet();
    assert!(matches!(open(&mut net, again()), Err(Error::NotReady)));
    assert!(!office.has(&mut net, document, "after") && alice.has(&mut net, document, "after"));
}

#[test]
fn an_organisation_whose_key_was_taken_away_without_new_ones_is_shut_out_by_those_who_stay() {
    let mut net = Net::seeded(404);
    let [alice, _bob] = net.replicas(["alice", "bob"]);
    let (owner, link) = (net.device("owner"), alice.invite(&mut net, Role::Writer));
    let again = link.to_string().parse().unwrap();
    owner.take_invite(&mut net, link);
    net.run_until_quiet();
    let by_hand = Rogue::of(&net, owner, &again);
    let user = owner.ids(&net).1;
    act(&mut net, alice, MembershipAct::SetRole { user, role: Role::Owner, expires_ms: None }).unwrap();
    let office = forge(1404).organisation();
    act(&mut net, alice, MembershipAct::SetOrganisationRecovery(Some(office))).unwrap();
    net.run_until_quiet();
    let knows = |net: &Net| {
        let membership = net.membership(RelayNode::FIRST);
        let epoch = membership.view().epoch().unwrap();
        let records = membership.in_order().into_iter();
        let wraps = records.filter_map(|record| record.body().wraps()).filter(|(of, _)| *of == epoch);
        wraps.flat_map(|(_, wraps)| wraps).any(|wrap| wrap.recipient == office.recipient())
    };
    assert!(knows(&net));
    // As where the end of it counts only once a relay has attested it: whoever stated it drew no keys with it.
    let taken = by_hand.state(&net, RecordBody::Policy(Policy::default()));
    net.plant_record(RelayNode::FIRST, &taken);
    net.run_for(Duration::from_secs(60));
    assert_eq!(policy(&mut net, alice).recovery, None);
    assert!(!knows(&net));
}
