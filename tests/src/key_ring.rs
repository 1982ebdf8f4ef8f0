//! The keys that somebody with certain devices can open, found apart from the product's own code.
//!
//! Invariant: nothing is opened but by a wrap to one of the devices, or by a later epoch that carries an earlier one.

use std::collections::BTreeMap;

use tombolo::crypto::{BlindingKey, DeviceSecrets, EpochKeys, unwrap_epoch};
use tombolo::protocol::ids::EpochId;
use tombolo::protocol::membership::Membership;

/// Keys that were opened.
#[derive(Default)]
pub struct KeyRing {
    /// Those of epochs.
    pub epochs: BTreeMap<EpochId, EpochKeys>,
    /// What names documents at relays.
    pub blinding: Option<BlindingKey>,
}

/// Opens all that these devices can, by every wrap and every earlier epoch there is.
#[must_use]
pub fn keys_of(membership: &Membership, devices: &[&DeviceSecrets]) -> KeyRing {
    let workspace = membership.workspace();
    let mut ring = KeyRing::default();
    for record in membership.in_order() {
        let wraps = record.body().wraps().into_iter().flat_map(|(epoch, wraps)| wraps.iter().map(move |w| (epoch, w)));
        for (epoch, wrap) in wraps {
            // A thief tries each wrap, whoever it says it is for.
            for device in devices {
                if let Ok((secret, blinding)) = unwrap_epoch(&workspace, &epoch, wrap, device.box_secret()) {
                    ring.epochs.insert(epoch, EpochKeys::derive(&workspace, &secret));
                    ring.blinding = Some(blinding);
                }
            }
        }
    }
    // Whoever holds an epoch holds those before it, as far back as they go.
    for record in membership.in_order().into_iter().rev() {
        for previous in record.body().rotation().map(|rotation| rotation.previous.as_slice()).unwrap_or_default() {
            let opened = ring.epochs.values().find_map(|keys| keys.open_previous(previous, &workspace).ok());
            if let Some(secret) = opened {
                ring.epochs.insert(previous.epoch, EpochKeys::derive(&workspace, &secret));
            }
        }
    }
    ring
}
