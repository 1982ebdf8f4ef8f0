//! What `Debug` shows of each secret: its name.

use tombolo_crypto::*;

use crate::support::{Counter, epoch, kit, link, workspace};

#[test]
fn no_secret_prints_itself() {
    let (keys, device, mut entropy) = epoch();
    let (id, epoch_id) = (device.id().short(), keys.epoch().short());
    let invite = link(&mut entropy);
    let link_shown = format!("InviteLink({}, {}, secret)", workspace().short(), invite.invite.short());
    let cipher = StoreCipher::new(Secret32::generate(&mut entropy));
    let vault = PassphraseVault::new("key", "open sesame", Box::new(Counter::default()));
    let memory = MemoryVault::default();
    memory.save(&Secret32::from_bytes([7; 32])).unwrap();
    let shares = kit().to_shares(2, 3, &mut entropy).unwrap();
    let shown = [
        (format!("{:?}", Secret32::from_bytes([7; 32])), "Secret32(secret)".to_owned()),
        (format!("{device:?}"), format!("DeviceSecrets({id}, secret)")),
        (format!("{:?}", UserRoot::generate(&mut entropy)), "UserRoot(secret)".to_owned()),
        (format!("{:?}", BlindingKey::from_bytes([7; 32])), "BlindingKey(secret)".to_owned()),
        (format!("{:?}", EpochSecret::from_bytes([7; 32])), "EpochSecret(secret)".to_owned()),
        (format!("{keys:?}"), format!("EpochKeys({epoch_id}, secret)")),
        (format!("{:?}", invite.secret), "InviteSecret(secret)".to_owned()),
        (format!("{invite:?}"), link_shown),
        (format!("{cipher:?}"), "StoreCipher(secret)".to_owned()),
        (format!("{vault:?}"), "PassphraseVault(key, secret)".to_owned()),
        (format!("{memory:?}"), "MemoryVault(secret)".to_owned()),
        (format!("{:?}", kit()), format!("RecoveryKit({}, secret)", kit().user().short())),
        (format!("{:?}", shares[1]), "KitShare(2 of 3, secret)".to_owned()),
    ];
    for (found, expected) in shown {
        assert_eq!(found, expected);
    }
}
