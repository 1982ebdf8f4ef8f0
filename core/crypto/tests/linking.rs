//! A new device becomes a user's while somebody stands between, replays, cuts, alters, waits, or swaps
//! the code that is scanned (case 45 of the threat model).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on fails")]

#[path = "crypto/pair.rs"]
mod pair;
#[path = "crypto/support.rs"]
#[allow(dead_code, reason = "links need a part of what the tests share")]
mod support;

use std::collections::BTreeMap;

use pair::{NOW, Pair, RELAY, linked, offered, sent, shown, user, workspaces};
use support::Counter;
use tombolo_crypto::linking::{LINK_ADDRESS_BYTES_MAX, LINK_TEXT_CHARS_MAX, LINK_WORKSPACES_MAX, LINKS_SPENT_MAX};
use tombolo_crypto::*;
use tombolo_protocol::bytes::DecodeError;
use tombolo_protocol::identity::{Identity, IdentityError, IdentityRecord};
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::keys::KeyError;
use tombolo_protocol::limits::{IDENTITY_RECORDS_MAX, LINK_APPROVAL_BYTES_MAX, LINK_MESSAGE_BYTES_MAX, LINK_MS_MAX};

fn pair() -> Pair<Counter> {
    Pair::new(Counter::default())
}

#[test]
fn a_device_is_linked_by_a_scan_six_digits_and_one_approval() {
    let mut pair = pair();
    let (mut new, mut approver, messages, digits) = pair.until_digits();
    assert_eq!(approver.device(), pair.new.id());
    assert!(messages.iter().all(|message| message.len() <= LINK_MESSAGE_BYTES_MAX));
    let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
    let (approval, log) = pair.approve(confirmed).unwrap();
    let given = linked(pair.tell_new(&mut new, &approval));
    assert_eq!((&given.log, &given.workspaces), (&log, &workspaces()));
    let identity = Identity::evaluate(&log).unwrap();
    assert_eq!(identity.devices.get(&pair.new.id()), Some(&pair.new.public()));
    assert_eq!((identity.user, identity.devices.len()), (pair.identity.user, 2));
}

#[test]
fn devices_without_a_camera_meet_by_a_code_that_a_person_types() {
    let mut pair = pair();
    let code = LinkCode::generate(&mut pair.entropy);
    let typed: LinkCode = format!(" {} ", code.to_text().to_lowercase().replace('-', " ")).parse().unwrap();
    let mut new = pair.request(code.token());
    assert_eq!(typed.token().rendezvous(), new.request().rendezvous());
    let request = LinkRequest::from_message(typed.token(), &new.request().to_message()).unwrap();
    assert_eq!((request.relay(), request.device()), (RELAY, pair.new.id()));
    let (mut approver, commitment) = pair.take_up(request).unwrap();
    let answer = sent(pair.tell_new(&mut new, &commitment));
    let offer = offered(approver.receive(&answer, NOW));
    let (digits, signature) = shown(pair.tell_new(&mut new, &offer));
    approver.receive(&signature, NOW).unwrap();
    let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
    let (approval, _) = pair.approve(confirmed).unwrap();
    assert_eq!(linked(pair.tell_new(&mut new, &approval)).workspaces, workspaces());
    for wrong in ["", "ABCD-EFG", "ABCD-EFGH-I", "ABCD-EFG9", "tombolo:1:"] {
        assert_eq!(wrong.parse::<LinkCode>().map(|_| ()), Err(LinkError::NotACode), "{wrong}");
    }
}

#[test]
fn case_45_a_swapped_code_ends_at_the_digits_and_for_good() {
    let mut pair = pair();
    let mallory = DeviceSecrets::generate(&mut pair.entropy);
    let token = LinkToken::generate(&mut pair.entropy);
    let mut swapped = NewDevice::begin(&mallory, 3, RELAY, token, NOW, &mut pair.entropy).unwrap();
    // Over the screen of the new device, which waits, hangs the code of somebody else's.
    let (mut approver, commitment) = pair.scan(&swapped);
    let answer = sent(swapped.receive(&commitment, &mallory, NOW, &mut pair.entropy));
    let offer = offered(approver.receive(&answer, NOW));
    let (hers, signature) = shown(swapped.receive(&offer, &mallory, NOW, &mut pair.entropy));
    approver.receive(&signature, NOW).unwrap();
    let (.., shown_on_the_real_one) = pair.until_digits();
    assert_ne!(hers, shown_on_the_real_one);
    let typed = shown_on_the_real_one.to_string();
    assert_eq!(approver.confirm(&typed, NOW).map(|_| ()), Err(LinkError::WrongDigits));
    assert_eq!(approver.confirm(&hers.to_string(), NOW).map(|_| ()), Err(LinkError::Replayed));
    assert!(matches!(approver.receive(&signature, NOW), Err(LinkError::Replayed)));
}

/// The relay knows the code, plays the new device to the one side and the approving one to the other.
#[test]
fn case_45_a_relay_that_stands_between_has_other_digits_on_each_side() {
    let mut pair = pair();
    let (fake_new, fake_old) = (DeviceSecrets::generate(&mut pair.entropy), DeviceSecrets::generate(&mut pair.entropy));
    let (_, fake_user) = user(9, &fake_old);
    let code = LinkCode::generate(&mut pair.entropy);
    let mut new = pair.request(code.token());
    let heard = LinkRequest::from_message(code.token(), &new.request().to_message()).unwrap();
    let mut spent = SpentLinks::default();
    let (mut to_new, commitment) =
        Approver::begin(heard, &fake_user, &fake_old, &mut spent, NOW, &mut pair.entropy).unwrap();
    let offer = offered(to_new.receive(&sent(pair.tell_new(&mut new, &commitment)), NOW));
    let (on_the_screen, _) = shown(pair.tell_new(&mut new, &offer));

    let mut to_old = NewDevice::begin(&fake_new, 3, RELAY, code.token(), NOW, &mut pair.entropy).unwrap();
    let (mut approver, commitment) = pair.scan(&to_old);
    let answer = sent(to_old.receive(&commitment, &fake_new, NOW, &mut pair.entropy));
    let offer = offered(approver.receive(&answer, NOW));
    let (_, signature) = shown(to_old.receive(&offer, &fake_new, NOW, &mut pair.entropy));
    approver.receive(&signature, NOW).unwrap();
    assert_eq!(approver.confirm(&on_the_screen.to_string(), NOW).map(|_| ()), Err(LinkError::WrongDigits));
}

#[test]
fn case_45_wrong_digits_have_one_attempt() {
    let mut pair = pair();
    for wrong in ["", "12345", "1234567", "abcdef", "-00001"] {
        let (_, mut approver, _, digits) = pair.until_digits();
        assert_eq!(approver.confirm(wrong, NOW).map(|_| ()), Err(LinkError::WrongDigits), "{wrong}");
        assert_eq!(approver.confirm(&digits.to_string(), NOW).map(|_| ()), Err(LinkError::Replayed));
    }
    let (_, mut approver, _, digits) = pair.until_digits();
    let spaced = digits.to_string().chars().map(|digit| format!(" {digit}")).collect::<String>();
    assert!(approver.confirm(&spaced, NOW).is_ok());
    assert_eq!(approver.confirm(&spaced, NOW).map(|_| ()), Err(LinkError::Replayed));
}

#[test]
fn case_45_a_rendezvous_serves_once() {
    let mut pair = pair();
    let token = LinkToken::generate(&mut pair.entropy);
    let mut new = pair.request(token);
    let (_, commitment) = pair.scan(&new);
    let again: LinkRequest = new.request().to_text().parse().unwrap();
    assert_eq!(pair.take_up(again).map(|_| ()), Err(LinkError::Replayed));
    // Another device of the user scans the same code: the new one hears two commitments.
    sent(pair.tell_new(&mut new, &commitment));
    assert!(matches!(pair.tell_new(&mut new, &commitment), Err(LinkError::Replayed)));
    assert!(matches!(pair.tell_new(&mut new, &commitment), Err(LinkError::Replayed)));
}

#[test]
fn case_45_a_relay_that_has_not_seen_the_code_can_not_make_an_offer() {
    let mut pair = pair();
    let relay = DeviceSecrets::generate(&mut pair.entropy);
    let (_, its_user) = user(9, &relay);
    let token = LinkToken::generate(&mut pair.entropy);
    let mut new = pair.request(token);
    // It has the message, if the new device had left one, and the rendezvous; not the token.
    let guessed = LinkToken::generate(&mut pair.entropy);
    let heard = LinkRequest::from_message(guessed, &new.request().to_message()).unwrap();
    let mut spent = SpentLinks::default();
    let (mut between, commitment) =
        Approver::begin(heard, &its_user, &relay, &mut spent, NOW, &mut pair.entropy).unwrap();
    let answer = sent(pair.tell_new(&mut new, &commitment));
    let offer = offered(between.receive(&answer, NOW));
    assert!(matches!(pair.tell_new(&mut new, &offer), Err(LinkError::KeyMismatch)));
}

#[test]
fn a_link_lives_for_three_minutes_on_either_clock() {
    let (last, late) = (NOW + LINK_MS_MAX - 1, NOW + LINK_MS_MAX);
    let mut pair = pair();
    let begin = |pair: &mut Pair<Counter>, now| {
        let token = LinkToken::generate(&mut pair.entropy);
        let new = pair.request(token);
        let request: LinkRequest = new.request().to_text().parse().unwrap();
        Approver::begin(request, &pair.identity, &pair.old, &mut pair.spent, now, &mut pair.entropy).map(|_| ())
    };
    assert_eq!(begin(&mut pair, last), Ok(()));
    assert_eq!(begin(&mut pair, late), Err(LinkError::Expired));
    assert_eq!(begin(&mut pair, NOW - LINK_MS_MAX), Ok(()));
    assert_eq!(begin(&mut pair, NOW - LINK_MS_MAX - 1), Err(LinkError::Expired));

    let (mut new, mut approver, _, digits) = pair.until_digits();
    assert_eq!(approver.confirm(&digits.to_string(), late).map(|_| ()), Err(LinkError::Expired));
    let refused = new.receive(b"", &pair.new, late, &mut pair.entropy);
    assert!(matches!(refused, Err(LinkError::Expired)));

    let (mut new, mut approver, _, digits) = pair.until_digits();
    let confirmed = approver.confirm(&digits.to_string(), last).unwrap();
    let approved = confirmed.approve(&pair.log, &pair.old, &workspaces(), late, &mut pair.entropy);
    assert_eq!(approved.map(|_| ()), Err(LinkError::Expired));
    let (mut slow, mut approver, _, digits) = pair.until_digits();
    let confirmed = approver.confirm(&digits.to_string(), last).unwrap();
    let (approval, _) = confirmed.approve(&pair.log, &pair.old, &workspaces(), last, &mut pair.entropy).unwrap();
    assert!(matches!(slow.receive(&approval, &pair.new, last, &mut pair.entropy), Ok(NewDeviceStep::Linked(_))));
    assert!(matches!(new.receive(&approval, &pair.new, last, &mut pair.entropy), Err(LinkError::Decrypt)));
}

#[test]
fn a_message_out_of_turn_ends_the_link() {
    for turn in 0..4 {
        for other in 0..5 {
            let mut pair = pair();
            let (mut messages, mut fresh) = (Vec::new(), Vec::new());
            for list in [&mut messages, &mut fresh] {
                let (new, mut approver, sent, digits) = pair.until_digits();
                let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
                list.extend(sent);
                list.push(pair.approve(confirmed).unwrap().0);
                list.push(new.request().to_message());
            }
            let token = LinkToken::generate(&mut pair.entropy);
            let mut new = pair.request(token);
            let (mut approver, commitment) = pair.scan(&new);
            // Whose turn is it: new, old, new, old.
            let mut said = vec![commitment];
            for step in 0..turn {
                let last = said[step].clone();
                said.push(match step {
                    0 => sent(pair.tell_new(&mut new, &last)),
                    1 => offered(approver.receive(&last, NOW)),
                    _ => shown(pair.tell_new(&mut new, &last)).1,
                });
            }
            let wrong = &fresh[if other >= turn { other + 1 } else { other }];
            let (refused, honest) = if turn % 2 == 0 {
                (pair.tell_new(&mut new, wrong).map(|_| ()), pair.tell_new(&mut new, &said[turn]).map(|_| ()))
            } else {
                (approver.receive(wrong, NOW).map(|_| ()), approver.receive(&said[turn], NOW).map(|_| ()))
            };
            assert_eq!(refused, Err(LinkError::Replayed), "turn {turn}, message {other}");
            assert_eq!(honest, Err(LinkError::Replayed), "turn {turn}, message {other}");
        }
    }
}

/// What each side makes of an altered message; the approval comes last.
fn told(at: usize, alter: impl Fn(&mut Vec<u8>)) -> LinkError {
    let mut pair = pair();
    let token = LinkToken::generate(&mut pair.entropy);
    let mut new = pair.request(token);
    let (mut approver, mut commitment) = pair.scan(&new);
    let pass = |nth: usize, message: &mut Vec<u8>| {
        if nth == at {
            alter(message);
        }
    };
    pass(0, &mut commitment);
    let mut answer = match pair.tell_new(&mut new, &commitment) {
        Err(error) => return error,
        step => sent(step),
    };
    pass(1, &mut answer);
    let mut offer = match approver.receive(&answer, NOW) {
        Err(error) => return error,
        step => offered(step),
    };
    pass(2, &mut offer);
    let (digits, mut signature) = match pair.tell_new(&mut new, &offer) {
        Err(error) => return error,
        step => shown(step),
    };
    pass(3, &mut signature);
    if let Err(error) = approver.receive(&signature, NOW) {
        return error;
    }
    let confirmed = match approver.confirm(&digits.to_string(), NOW) {
        Err(error) => return error,
        Ok(confirmed) => confirmed,
    };
    let (mut approval, _) = pair.approve(confirmed).unwrap();
    pass(4, &mut approval);
    pair.tell_new(&mut new, &approval).unwrap_err()
}

#[test]
fn a_cut_message_is_malformed_at_every_length() {
    let mut pair = pair();
    let (_, mut approver, messages, digits) = pair.until_digits();
    let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
    let approval = pair.approve(confirmed).unwrap().0.len();
    assert_eq!(messages.map(|message| message.len()), [37, 102, 166, 69]);
    for (at, length) in [(0, 37), (1, 102), (2, 166), (3, 69), (4, approval)] {
        for cut in 0..length {
            let error = told(at, |message| message.truncate(cut));
            assert_eq!(error, LinkError::Malformed(DecodeError::Truncated), "message {at}, length {cut}");
        }
        let longer = told(at, |message| message.push(0));
        assert_eq!(longer, LinkError::Malformed(DecodeError::Trailing { bytes: 1 }), "message {at}");
        let limit = if at == 4 { LINK_APPROVAL_BYTES_MAX } else { LINK_MESSAGE_BYTES_MAX };
        let endless = told(at, |message| message.resize(limit + 1, 0));
        assert!(matches!(endless, LinkError::Malformed(DecodeError::TooLarge { .. })), "message {at}");
        let other = told(at, |message| message[0] ^= 1);
        assert_eq!(other, LinkError::Malformed(DecodeError::Magic));
        let later = told(at, |message| message[4] = 7);
        assert_eq!(later, LinkError::Malformed(DecodeError::Unknown { field: "link message", value: 7 }));
    }
}

#[test]
fn an_altered_message_never_links() {
    let flip = |byte: usize| move |message: &mut Vec<u8>| message[byte] ^= 1;
    for byte in [5, 20, 36] {
        assert_eq!(told(0, flip(byte)), LinkError::KeyMismatch, "commitment {byte}");
    }
    // The nonce leads to other digits, and the counter-signature of another platform is another's.
    assert_eq!(told(1, flip(5)), LinkError::WrongDigits);
    assert_eq!(told(1, flip(101)), LinkError::Key(KeyError::BadSignature));
    for byte in [69, 100] {
        assert_eq!(told(1, flip(byte)), LinkError::KeyMismatch, "box key {byte}");
    }
    assert!(matches!(told(1, flip(37)), LinkError::KeyMismatch | LinkError::Identity(IdentityError::Key(_))));
    // Byte 133 counts the heads; the others are signed or committed to.
    assert!(matches!(told(2, flip(133)), LinkError::Malformed(_)));
    for byte in (5..133).chain(134..166) {
        assert_eq!(told(2, flip(byte)), LinkError::KeyMismatch, "offer {byte}");
    }
    for byte in 5..69 {
        assert_eq!(told(3, flip(byte)), LinkError::Key(KeyError::BadSignature), "signature {byte}");
    }
    for byte in (5..37).chain(41..400) {
        assert_eq!(told(4, flip(byte)), LinkError::Decrypt, "approval {byte}");
    }
}

#[test]
fn nothing_is_confirmed_before_the_new_device_has_signed() {
    let mut pair = pair();
    let token = LinkToken::generate(&mut pair.entropy);
    let mut new = pair.request(token);
    let (mut approver, commitment) = pair.scan(&new);
    assert_eq!(approver.confirm("000000", NOW).map(|_| ()), Err(LinkError::NotYet));
    let offer = offered(approver.receive(&sent(pair.tell_new(&mut new, &commitment)), NOW));
    assert_eq!(approver.confirm("000000", NOW).map(|_| ()), Err(LinkError::NotYet));
    let (digits, signature) = shown(pair.tell_new(&mut new, &offer));
    approver.receive(&signature, NOW).unwrap();
    assert!(approver.confirm(&digits.to_string(), NOW).is_ok());
}

#[test]
fn only_a_device_of_the_user_approves_and_only_behind_the_head_it_offered() {
    let mut pair = pair();
    let token = LinkToken::generate(&mut pair.entropy);
    let request: LinkRequest = pair.request(token).request().to_text().parse().unwrap();
    let stranger = DeviceSecrets::generate(&mut pair.entropy);
    let refused =
        Approver::begin(request, &pair.identity, &stranger, &mut pair.spent, NOW, &mut pair.entropy).map(|_| ());
    assert_eq!(refused, Err(LinkError::Identity(IdentityError::StrangeSigner)));

    let (_, mut approver, _, digits) = pair.until_digits();
    let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
    let third = DeviceSecrets::generate(&mut pair.entropy);
    let signer = (pair.old.id(), pair.old.sign_key());
    let meanwhile = IdentityRecord::next(&pair.identity, signer, third.public(), 1, third.sign_key());
    pair.log.records.push(meanwhile);
    assert_eq!(pair.approve(confirmed), Err(LinkError::Identity(IdentityError::Broken)));
}

#[test]
fn a_request_fits_a_qr_code_and_says_what_is_wrong_with_it() {
    let mut pair = pair();
    let mut text = |relay: &str| {
        let token = LinkToken::generate(&mut pair.entropy);
        let new = NewDevice::begin(&pair.new, 3, relay, token, NOW, &mut pair.entropy)?;
        Ok::<_, LinkError>(new.request().to_text())
    };
    let longest = text(&"r".repeat(LINK_ADDRESS_BYTES_MAX)).unwrap();
    assert!(longest.len() <= LINK_TEXT_CHARS_MAX, "{}", longest.len());
    assert!(longest.parse::<LinkRequest>().is_ok());
    let over = LinkError::TooMany { what: "bytes of address", count: 101, limit: LINK_ADDRESS_BYTES_MAX };
    assert_eq!(text(&"r".repeat(LINK_ADDRESS_BYTES_MAX + 1)), Err(over));
    let invalid = LinkError::Malformed(DecodeError::Invalid { field: "address" });
    assert_eq!((text(""), text("a\nb")), (Err(invalid), Err(invalid)));

    let parse = |text: &str| text.parse::<LinkRequest>().map(|_| ());
    let text = text(RELAY).unwrap();
    for at in "tombolo-link:1:".len()..text.len() {
        let mut typed = text.clone().into_bytes();
        typed[at] = if typed[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(parse(&String::from_utf8(typed).unwrap()), Err(LinkError::Checksum), "at {at}");
        assert_eq!(parse(&text[..at]), Err(LinkError::Checksum), "cut {at}");
    }
    assert_eq!(parse(&text.replace(":1:", ":2:")), Err(LinkError::Version));
    assert_eq!(parse("tombolo:1:AAAA"), Err(LinkError::NotALink));
    assert_eq!(parse(&format!("{text}{}", "A".repeat(1 << 20))), Err(LinkError::Checksum));
}

#[test]
fn an_approval_carries_a_thousand_workspaces_and_no_more_than_its_limit() {
    let mut pair = pair();
    let many = |count: usize, relay: &str, relays: usize| -> BTreeMap<_, _> {
        let named = |nth: usize| {
            let keys = (EpochSecret::from_bytes([1; 32]), BlindingKey::from_bytes([2; 32]));
            let linked = LinkedWorkspace { relays: vec![relay.to_owned(); relays], keys: Some(keys) };
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(nth as u64).to_be_bytes());
            (WorkspaceId::from_bytes(id), linked)
        };
        (0..count).map(named).collect()
    };
    let mut approve = |workspaces: &BTreeMap<WorkspaceId, LinkedWorkspace>| {
        let (mut new, mut approver, _, digits) = pair.until_digits();
        let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
        let (bytes, _) = confirmed.approve(&pair.log, &pair.old, workspaces, NOW, &mut pair.entropy)?;
        Ok::<_, LinkError>(linked(pair.tell_new(&mut new, &bytes)).workspaces.len())
    };
    assert_eq!(approve(&BTreeMap::new()), Ok(0));
    assert_eq!(approve(&many(LINK_WORKSPACES_MAX, RELAY, 3)), Ok(LINK_WORKSPACES_MAX));
    let over = LinkError::TooMany { what: "workspaces", count: 1025, limit: LINK_WORKSPACES_MAX };
    assert_eq!(approve(&many(LINK_WORKSPACES_MAX + 1, RELAY, 1)), Err(over));
    let large = approve(&many(LINK_WORKSPACES_MAX, &"r".repeat(255), 8));
    assert!(matches!(large, Err(LinkError::TooMany { what: "bytes of approval", .. })));
    pair.log.records = vec![pair.log.records[0].clone(); IDENTITY_RECORDS_MAX];
    let (_, mut approver, _, digits) = pair.until_digits();
    let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
    assert!(matches!(pair.approve(confirmed), Err(LinkError::Identity(IdentityError::Broken))));
}

#[test]
fn as_many_requests_are_remembered_as_a_person_can_scan_in_three_minutes() {
    let mut pair = pair();
    for _ in 0..LINKS_SPENT_MAX {
        let token = LinkToken::generate(&mut pair.entropy);
        let new = pair.request(token);
        pair.scan(&new);
    }
    let token = LinkToken::generate(&mut pair.entropy);
    let request = pair.request(token).request().to_text();
    let refused = pair.take_up(request.parse().unwrap()).map(|_| ());
    assert!(matches!(refused, Err(LinkError::TooMany { count: 65, limit: LINKS_SPENT_MAX, .. })));
    // Once those have expired there is room again.
    let token = LinkToken::generate(&mut pair.entropy);
    let later = NOW + LINK_MS_MAX;
    let new = NewDevice::begin(&pair.new, 3, RELAY, token, later, &mut pair.entropy).unwrap();
    let request = new.request().to_text().parse().unwrap();
    let taken = Approver::begin(request, &pair.identity, &pair.old, &mut pair.spent, later, &mut pair.entropy);
    assert!(taken.is_ok());
}

#[test]
fn nothing_of_a_link_prints_its_secrets() {
    let mut pair = pair();
    let (new, mut approver, _, digits) = pair.until_digits();
    let id = pair.new.id().short();
    let code = LinkCode::generate(&mut pair.entropy);
    assert_eq!(format!("{new:?}"), format!("NewDevice({id}, secret)"));
    assert_eq!(format!("{:?}", new.request()), format!("LinkRequest({id}, secret)"));
    assert_eq!(format!("{approver:?}"), format!("Approver({id}, secret)"));
    assert_eq!(
        format!("{:?}", (&code, code.token(), digits)),
        "(LinkCode(secret), LinkToken(secret), LinkDigits(secret))"
    );
    let confirmed = approver.confirm(&digits.to_string(), NOW).unwrap();
    assert_eq!(format!("{confirmed:?}"), "Confirmed(secret)");
    let shown = format!("{:?}", workspaces());
    assert!(shown.contains("EpochSecret(secret), BlindingKey(secret)") && !shown.contains("224"), "{shown}");
}
