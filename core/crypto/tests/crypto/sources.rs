//! What every source of epochs must keep to, told of each that there is.

use tombolo_crypto::{BlindingKey, DeviceSecrets, EpochKeys, EpochSource, HpkeWraps, OpenError, WrapError};
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::membership::Recipient;

use crate::support::Counter;

const HERE: WorkspaceId = WorkspaceId::from_bytes([1; 32]);
const ELSEWHERE: WorkspaceId = WorkspaceId::from_bytes([2; 32]);

fn recipient(device: &DeviceSecrets) -> Recipient {
    (*device.id().as_bytes(), device.public().box_public)
}

fn conforms(source: &dyn EpochSource) {
    let mut entropy = Counter::default();
    let [ana, ben, eve] = std::array::from_fn(|_| DeviceSecrets::generate(&mut entropy));
    let blinding = BlindingKey::from_bytes([3; 32]);
    let (first, begun) = source.begin(&HERE, &[recipient(&ana)], &[], &blinding, &mut entropy).unwrap();
    let previous = [(begun.epoch, &first)];
    let both = [recipient(&ana), recipient(&ben)];
    let (second, rotation) = source.begin(&HERE, &both, &previous, &blinding, &mut entropy).unwrap();
    assert_ne!(begun.epoch, rotation.epoch);
    assert_eq!(EpochKeys::derive(&HERE, &second).epoch(), rotation.epoch);

    // Each recipient takes it, and from it what it follows; nobody else does, nor for another workspace.
    for device in [&ana, &ben] {
        let wrap = rotation.wraps.iter().find(|wrap| wrap.recipient == *device.id().as_bytes()).unwrap();
        let (taken, by) = source.take(&HERE, &rotation.epoch, wrap, device.box_secret()).unwrap();
        assert_eq!((&taken, by.commitment()), (&second, blinding.commitment()));
        let held = EpochKeys::derive(&HERE, &taken);
        assert_eq!(source.take_previous(&HERE, &held, &rotation.previous[0]), Ok(first.duplicate()));
        let foreign = EpochKeys::derive(&HERE, &first);
        assert_eq!(source.take_previous(&HERE, &foreign, &rotation.previous[0]), Err(OpenError::Decrypt));
        assert_eq!(source.take(&HERE, &rotation.epoch, wrap, eve.box_secret()), Err(OpenError::Decrypt));
        assert_eq!(source.take(&ELSEWHERE, &rotation.epoch, wrap, device.box_secret()), Err(OpenError::Decrypt));
        assert_eq!(source.take(&HERE, &begun.epoch, wrap, device.box_secret()), Err(OpenError::Decrypt));
    }

    // One who comes later is given it alone.
    let given = source.give(&HERE, &recipient(&eve), &second, &blinding, &mut entropy).unwrap();
    assert_eq!(source.take(&HERE, &rotation.epoch, &given, eve.box_secret()).unwrap().0, second);
    assert_eq!(source.take(&HERE, &rotation.epoch, &given, ana.box_secret()), Err(OpenError::Decrypt));

    // A key that anybody could open for is refused.
    let weak = ([9; 32], [0; 32]);
    let refused = Err(WrapError::WeakKey { recipient: [9; 32] });
    assert_eq!(source.give(&HERE, &weak, &second, &blinding, &mut entropy), refused);
    assert_eq!(source.begin(&HERE, &[weak], &[], &blinding, &mut entropy).map(drop), refused.map(|_| ()));
}

#[test]
fn wraps_by_hpke_reach_exactly_those_they_are_meant_for() {
    conforms(&HpkeWraps);
}
