//! Stories of documents so long that a snapshot of them takes several entries.

use tombolo::protocol::entry::EntryFlags;
use tombolo::protocol::membership::Vouched;
use tombolo::protocol::record::Role;

use crate::support::{
    alone, covers, horizons, much_written, newcomer, parts, pruned, publishes, shown, spoil_what_is_covered, vouched,
};

#[test]
fn a_long_document_is_vouched_for_opened_from_its_snapshot_and_published_again() {
    let (mut net, four @ [alice, bob, carol, dan]) = much_written(650, &[700_000; 2]);
    for replica in [alice, carol, dan] {
        publishes(&mut net, replica);
    }
    let begun = parts(&net).iter().filter(|part| part.header().flags.has(EntryFlags::CONTINUES)).count();
    assert!(begun >= 2, "each takes more than one entry");
    assert_eq!(covers(&net).len(), 2);
    for (last, _) in covers(&net) {
        assert_eq!(vouched(&net, &last), Vouched::Enough);
    }
    let dora = newcomer(&mut net, alice, "dora", Role::Writer);
    assert!(spoil_what_is_covered(&net, dora) >= 16);
    let expected = shown(&mut net, alice);
    assert_eq!(alone(&mut net, dora), expected);
    net.heal();
    net.run_until_quiet();
    for word in ["a", "b", "c", "d"] {
        alice.edit(&mut net, word);
        net.run_until_quiet();
    }
    for replica in [alice, carol, dan] {
        publishes(&mut net, replica);
    }
    // Of each document the second covers the parts of the first.
    assert_eq!(covers(&net).len(), 4);
    for (last, _) in covers(&net) {
        assert_eq!(vouched(&net, &last), Vouched::Enough);
    }
    assert!(pruned(&mut net) > 1000);
    let erin = net.device("erin");
    net.join(alice, erin, Role::Writer);
    net.run_until_quiet();
    assert_eq!(horizons(&mut net, erin), 2);
    assert_eq!(shown(&mut net, erin), shown(&mut net, bob));
    net.assert_converged(four);
}
