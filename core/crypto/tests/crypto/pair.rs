//! Two devices of one user, one of them new, and what passes between them.

use std::collections::BTreeMap;

use tombolo_crypto::*;
use tombolo_protocol::identity::{Identity, IdentityLog, IdentityRecord};
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::keys::VerifyKey;

pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const RELAY: &str = "wss://relay.example.org";

/// A user with one device.
pub(crate) fn user(seed: u8, device: &DeviceSecrets) -> (IdentityLog, Identity) {
    let root = UserRoot::from_seed(&[seed; 32]);
    let record = IdentityRecord::first(root.sign_key(), device.public(), 1, device.sign_key());
    let root = VerifyKey::parse(&root.sign_key().public()).unwrap();
    let log = IdentityLog { root, records: vec![record] };
    let identity = Identity::evaluate(&log).unwrap();
    (log, identity)
}

pub(crate) fn workspaces() -> BTreeMap<WorkspaceId, LinkedWorkspace> {
    let keys = (EpochSecret::from_bytes([0xe0; 32]), BlindingKey::from_bytes([0xb1; 32]));
    let read = LinkedWorkspace { relays: vec![RELAY.to_owned()], keys: Some(keys) };
    let carried = LinkedWorkspace { relays: vec!["10.0.0.1:7000".to_owned()], keys: None };
    BTreeMap::from([(WorkspaceId::from_bytes([0x11; 32]), read), (WorkspaceId::from_bytes([0x22; 32]), carried)])
}

/// The parties of a link, and all that was sent.
pub(crate) struct Pair<E> {
    pub(crate) entropy: E,
    pub(crate) old: DeviceSecrets,
    pub(crate) new: DeviceSecrets,
    pub(crate) log: IdentityLog,
    pub(crate) identity: Identity,
    pub(crate) spent: SpentLinks,
}

impl<E: Entropy> Pair<E> {
    pub(crate) fn new(mut entropy: E) -> Self {
        let (old, new) = (DeviceSecrets::generate(&mut entropy), DeviceSecrets::generate(&mut entropy));
        let (log, identity) = user(1, &old);
        Self { entropy, old, new, log, identity, spent: SpentLinks::default() }
    }

    pub(crate) fn request(&mut self, token: LinkToken) -> NewDevice {
        NewDevice::begin(&self.new, 3, RELAY, token, NOW, &mut self.entropy).unwrap()
    }

    /// The old device scans what the new one shows.
    pub(crate) fn scan(&mut self, new: &NewDevice) -> (Approver, Vec<u8>) {
        let request: LinkRequest = new.request().to_text().parse().unwrap();
        self.take_up(request).unwrap()
    }

    pub(crate) fn take_up(&mut self, request: LinkRequest) -> Result<(Approver, Vec<u8>), LinkError> {
        Approver::begin(request, &self.identity, &self.old, &mut self.spent, NOW, &mut self.entropy)
    }

    pub(crate) fn tell_new(&mut self, new: &mut NewDevice, bytes: &[u8]) -> Result<NewDeviceStep, LinkError> {
        new.receive(bytes, &self.new, NOW, &mut self.entropy)
    }

    /// Goes on to where the person is asked; returns the four messages so far and the digits.
    pub(crate) fn until_digits(&mut self) -> (NewDevice, Approver, [Vec<u8>; 4], LinkDigits) {
        let token = LinkToken::generate(&mut self.entropy);
        let mut new = self.request(token);
        let (mut approver, commitment) = self.scan(&new);
        let answer = sent(self.tell_new(&mut new, &commitment));
        let offer = offered(approver.receive(&answer, NOW));
        let (digits, signature) = shown(self.tell_new(&mut new, &offer));
        assert!(matches!(approver.receive(&signature, NOW), Ok(ApproverStep::AskDigits)));
        (new, approver, [commitment, answer, offer, signature], digits)
    }

    pub(crate) fn approve(&mut self, confirmed: Confirmed) -> Result<(Vec<u8>, IdentityLog), LinkError> {
        confirmed.approve(&self.log, &self.old, &workspaces(), NOW, &mut self.entropy)
    }
}

pub(crate) fn sent(step: Result<NewDeviceStep, LinkError>) -> Vec<u8> {
    let Ok(NewDeviceStep::Send(bytes)) = step else { panic!("{step:?}") };
    bytes
}

pub(crate) fn offered(step: Result<ApproverStep, LinkError>) -> Vec<u8> {
    let Ok(ApproverStep::Send(bytes)) = step else { panic!("{step:?}") };
    bytes
}

pub(crate) fn shown(step: Result<NewDeviceStep, LinkError>) -> (LinkDigits, Vec<u8>) {
    let Ok(NewDeviceStep::ShowDigits { digits, send }) = step else { panic!("{step:?}") };
    (digits, send)
}

pub(crate) fn linked(step: Result<NewDeviceStep, LinkError>) -> Approval {
    let Ok(NewDeviceStep::Linked(approval)) = step else { panic!("{step:?}") };
    *approval
}
