//! Items that are not taken, each for its own reason, while the session goes on.

use tempfile::{TempDir, tempdir};
use tombolo_protocol::entry::Entry;
use tombolo_protocol::frame::RefusalReason;
use tombolo_protocol::ids::{EpochId, RecordId, Stream, WorkspaceTag};
use tombolo_protocol::item::LogItem;
use tombolo_protocol::record::{Record, Role};

use super::client::Client;
use super::people::{Pen, Person, found, invite};
use super::process::RelayProcess;
use super::sync::island;

struct Scene {
    relay: RelayProcess,
    _folder: TempDir,
    alice: Person,
    ground: Vec<Record>,
    client: Client,
    channel: u32,
    batch: u32,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempdir().unwrap();
        let relay = RelayProcess::start(folder.path());
        let alice = Person::new(1);
        let ground = found(&alice, 1);
        let mut client = Client::dial(relay.address, &alice).await;
        let channel = client.seeded(&ground).await.channel;
        Self { relay, _folder: folder, alice, ground, client, channel, batch: 0 }
    }

    fn pen(&self) -> Pen {
        Pen::new(&self.alice, &self.ground, 1, Stream::CONTENT)
    }

    /// Appends, and returns what was refused and where the rest stands.
    async fn append(
        &mut self,
        items: Vec<Vec<u8>>,
        refusals: usize,
    ) -> (Vec<(u32, RefusalReason, Option<u64>)>, Vec<(u64, u32)>) {
        self.batch += 1;
        self.client.append(self.channel, self.batch, items).await;
        let mut refused = Vec::new();
        for _ in 0..refusals {
            let refusal = self.client.refused().await;
            assert_eq!(refusal.batch, self.batch);
            refused.push((refusal.item, refusal.reason, refusal.chain_seq));
        }
        let (received, _) = self.client.received().await;
        assert_eq!((received.first_batch, received.last_batch), (self.batch, self.batch));
        (refused, received.positions)
    }
}

fn full(entry: &Entry) -> Vec<u8> {
    LogItem::encode_entry(entry, None)
}

#[tokio::test]
async fn what_is_sent_again_is_acknowledged_at_its_old_place() {
    let mut scene = Scene::new().await;
    let mut pen = scene.pen();
    let items: Vec<_> = (0..3).map(|_| full(&pen.write(b"once"))).collect();
    assert_eq!(scene.append(items.clone(), 0).await.1, [(3, 3)]);
    assert_eq!(scene.append(items.clone(), 0).await.1, [(3, 3)]);
    let more = full(&pen.write(b"more"));
    let again = vec![items[1].clone(), items[0].clone(), more];
    assert_eq!(scene.append(again, 0).await.1, [(4, 1), (3, 1), (6, 1)]);
    assert!((scene.relay.metric("tombolo_relay_items_appended_total") - 6.0).abs() < 0.5);
}

#[tokio::test]
async fn a_gap_is_refused_with_the_last_seq_and_other_chains_go_on() {
    let mut scene = Scene::new().await;
    let (mut pen, mut other) = (scene.pen(), Pen::new(&scene.alice, &scene.ground, 2, Stream::CONTENT));
    let first = full(&pen.write(b"1"));
    pen.write(b"2 is lost");
    let (third, fourth) = (full(&pen.write(b"3")), full(&pen.write(b"4")));
    let beside = full(&other.write(b"beside"));
    let (refused, taken) = scene.append(vec![first, third, fourth, beside], 2).await;
    assert_eq!(refused, [(1, RefusalReason::Gap, Some(1)), (2, RefusalReason::Gap, Some(1))]);
    assert_eq!(taken, [(3, 2)]);
    let mut late = Pen::new(&scene.alice, &scene.ground, 3, Stream::CONTENT);
    late.write(b"lost");
    let second = full(&late.write(b"a chain begins with its first entry"));
    let (refused, taken) = scene.append(vec![second], 1).await;
    assert_eq!((refused, taken), (vec![(0, RefusalReason::Gap, Some(0))], vec![]));
}

#[tokio::test]
async fn a_second_branch_of_a_chain_is_taken_for_devices_to_see_and_a_third_is_refused() {
    let mut scene = Scene::new().await;
    let (mut pen, mut twin, mut third) = (scene.pen(), scene.pen(), scene.pen());
    let items = (0..3).map(|_| full(&pen.write(b"true"))).collect();
    scene.append(items, 0).await;
    let first = full(&twin.write(b"false"));
    assert_eq!(scene.append(vec![first.clone()], 0).await, (vec![], vec![(6, 1)]));
    for expected in [1, 2, 3] {
        let (refused, _) = scene.append(vec![full(&third.write(b"neither"))], 1).await;
        assert_eq!(refused, [(0, RefusalReason::Fork, Some(3))], "at seq {expected}");
    }
    // The next seq on a false predecessor.
    let (refused, _) = scene.append(vec![full(&third.write(b"neither"))], 1).await;
    assert_eq!(refused, [(0, RefusalReason::Fork, Some(3))]);
    // Both branches go on, beyond each other, and what came before is known.
    let beyond = (0..4).map(|_| full(&twin.write(b"false"))).collect();
    assert_eq!(scene.append(beyond, 0).await, (vec![], vec![(7, 4)]));
    assert_eq!(scene.append(vec![full(&pen.write(b"true"))], 0).await, (vec![], vec![(11, 1)]));
    assert_eq!(scene.append(vec![first], 0).await, (vec![], vec![(6, 1)]));
    let (refused, _) = scene.append(vec![full(&third.write(b"neither"))], 1).await;
    assert_eq!(refused, [(0, RefusalReason::Fork, Some(4))]);
}

#[tokio::test]
async fn any_flipped_bit_is_refused_and_the_entry_itself_is_taken_afterwards() {
    let mut scene = Scene::new().await;
    let mut pen = scene.pen();
    let item = full(&pen.write(b"thirty bytes of sealed content"));
    let before = scene.append(vec![], 0).await.1;
    assert!(before.is_empty());
    let flipped: Vec<Vec<u8>> = (0..item.len() * 8)
        .map(|bit| {
            let mut bytes = item.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        })
        .collect();
    for bytes in flipped.chunks(400) {
        let (refused, taken) = scene.append(bytes.to_vec(), bytes.len()).await;
        assert!(taken.is_empty());
        for (_, reason, _) in refused {
            // A flipped kind, a flipped id, a flipped seq: each meets its own check first.
            assert_ne!(reason, RefusalReason::QuotaExceeded);
        }
    }
    let mut forged = item.clone();
    let sealed = forged.len() - 70;
    forged[sealed] ^= 1;
    let (refused, _) = scene.append(vec![forged], 1).await;
    assert_eq!(refused[0].1, RefusalReason::BadSignature);
    assert_eq!(scene.append(vec![item], 0).await.1, [(3, 1)]);
}

#[tokio::test]
async fn each_wrong_header_has_its_own_reason() {
    let mut scene = Scene::new().await;
    let mallory = Person::new(9);
    let mut wrong = scene.pen();
    wrong.header().epoch = EpochId::from_bytes([1; 32]);
    let mut unknown = scene.pen();
    unknown.header().members_head = RecordId::from_bytes([1; 32]);
    let mut elsewhere = scene.pen();
    elsewhere.header().workspace = WorkspaceTag::from_bytes([1; 16]);
    let mut early = scene.pen();
    early.header().members_head = scene.ground[0].id();
    let mut foreign = Pen::new(&mallory, &scene.ground, 1, Stream::CONTENT);
    let mut short = scene.pen();
    short.declared_at(1);
    short.write(b"never sent");
    let cases = [
        (wrong.item(b"x"), RefusalReason::EpochMismatch),
        (unknown.item(b"x"), RefusalReason::UnknownRecord),
        (elsewhere.item(b"x"), RefusalReason::Malformed),
        // The founder's device is not certified before the first Devices record.
        (early.item(b"x"), RefusalReason::UnknownAuthor),
        (foreign.item(b"x"), RefusalReason::UnknownAuthor),
        (short.item(b"x"), RefusalReason::UnknownDeclaration),
        (vec![9, 9, 9], RefusalReason::Malformed),
        (vec![], RefusalReason::Malformed),
    ];
    for (item, reason) in cases {
        let (refused, _) = scene.append(vec![item], 1).await;
        assert_eq!(refused[0].1, reason);
    }
    let refused = "tombolo_relay_refused_total{reason=\"epoch_mismatch\"}";
    assert!((scene.relay.metric(refused) - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn members_heads_of_a_chain_only_go_forward() {
    let mut scene = Scene::new().await;
    let (offer, _) = invite(&scene.ground, &scene.alice, scene.client.relay.unwrap(), Role::Reader, 0, 0);
    let record = LogItem::encode_record(&offer.encode());
    let mut pen = scene.pen();
    let older = scene.ground[1].id();
    pen.header().members_head = offer.id();
    // The record and an entry that stands on it, in one append.
    let first = full(&pen.write(b"on the new head"));
    assert_eq!(scene.append(vec![record.clone(), first], 0).await.1, [(3, 2)]);
    assert_eq!(scene.append(vec![record], 0).await.1, [(3, 1)]);
    pen.header().members_head = older;
    let (refused, _) = scene.append(vec![full(&pen.write(b"back"))], 1).await;
    assert_eq!(refused, [(0, RefusalReason::MembershipRegression, None)]);
}

#[tokio::test]
async fn a_record_that_does_not_count_is_refused_and_leaves_nothing_behind() {
    let mut scene = Scene::new().await;
    let mallory = Person::new(9);
    let (offer, _) = invite(&scene.ground, &mallory, scene.client.relay.unwrap(), Role::Owner, 0, 0);
    let mut orphan = scene.ground.clone();
    orphan.push(offer.clone());
    let (above, _) = invite(&orphan, &scene.alice, scene.client.relay.unwrap(), Role::Reader, 0, 0);
    let items = [&offer, &above].map(|record| LogItem::encode_record(&record.encode()));
    let (refused, taken) = scene.append(items.to_vec(), 2).await;
    let reasons: Vec<_> = refused.iter().map(|(_, reason, _)| *reason).collect();
    assert_eq!(reasons, [RefusalReason::UnknownAuthor, RefusalReason::UnknownRecord]);
    assert!(taken.is_empty());
}

#[tokio::test]
async fn a_commenter_comments_and_changes_nothing_else() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start(folder.path());
    let (alice, bob) = (Person::new(1), Person::new(2));
    let (_alice, mut at_bob, ground, channel) = island(&relay, &alice, &bob, Role::Commenter).await;
    let mut comments = Pen::new(&bob, &ground, 1, Stream::COMMENTS);
    let mut content = Pen::new(&bob, &ground, 1, Stream::CONTENT);
    at_bob.append(channel, 1, vec![comments.item(b"well said"), content.item(b"but")]).await;
    let refused = at_bob.refused().await;
    assert_eq!((refused.item, refused.reason), (1, RefusalReason::RoleDenied));
    assert_eq!(at_bob.received().await.0.positions, [(6, 1)]);
}

#[tokio::test]
async fn a_full_workspace_takes_nothing_more_and_keeps_what_it_has() {
    let folder = tempdir().unwrap();
    let relay = RelayProcess::start_with(folder.path(), &["--quota-bytes", "20000"]);
    let alice = Person::new(1);
    let ground = found(&alice, 1);
    let mut client = Client::dial(relay.address, &alice).await;
    let channel = client.seeded(&ground).await.channel;
    let mut pen = Pen::new(&alice, &ground, 1, Stream::CONTENT);
    client.append(channel, 1, vec![pen.item(&[1; 15_000])]).await;
    assert_eq!(client.received().await.0.positions, [(3, 1)]);
    client.append(channel, 2, vec![pen.item(&[1; 15_000])]).await;
    assert_eq!(client.refused().await.reason, RefusalReason::QuotaExceeded);
    client.received().await;
}
