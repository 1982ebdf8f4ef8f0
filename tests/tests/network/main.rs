//! Stories of bad networks, with the kernel's own TCP: a relay's process in one network namespace, devices in another,
//! and a link between them that loses, delays, repeats and withholds packets.
//!
//! They need root, TUN devices and iproute2, and are skipped without them; `TOMBOLO_ROUNDS` makes them longer.

#![cfg(test)]
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story ends when the machine does not do as told"
)]

mod ground;
mod link;

use std::time::{Duration, Instant};

use ground::{Ground, Team, alone, rounds, soon};
use link::{Way, Weather};
use tombolo::document::Value;
use tombolo::engine::{Event, RelayState};

/// What the status may take to say that a relay is gone which never says so itself.
const OFFLINE_SHOWN_MAX: Duration = Duration::from_secs(30);
const CUT: Weather = calm(true);

const fn calm(cut: bool) -> Weather {
    Weather {
        delay: Duration::from_millis(20),
        jitter: Duration::ZERO,
        lost_per_mille: 0,
        doubled_per_mille: 0,
        late_per_mille: 0,
        bytes_per_second: None,
        cut,
    }
}

#[test]
fn what_is_written_through_a_link_that_loses_one_packet_in_twenty_arrives() {
    alone("what_is_written_through_a_link_that_loses_one_packet_in_twenty_arrives", async |ground: Ground| {
        ground.link.set(Weather {
            delay: Duration::from_millis(150),
            jitter: Duration::from_millis(30),
            lost_per_mille: 50,
            doubled_per_mille: 10,
            late_per_mille: 20,
            ..Weather::default()
        });
        let team = ground.team().await;
        let each = i64::from(rounds(6));
        let write = async |device: &ground::Device, from: i64| {
            for number in 0..each {
                device.put_with_receipt(from + number).await;
            }
        };
        tokio::join!(write(&team.alice, 0), write(&team.bob, 1000));
        let numbers: Vec<i64> = (0..each).chain(1000..1000 + each).collect();
        ground.all_have(&team, &numbers).await;
        println!("loss 5 %, 300 ms: {} receipts, 0 lost; {}", numbers.len(), ground.link.tally());
    });
}

#[test]
fn a_link_that_comes_and_goes_every_few_seconds_delays_and_never_lies() {
    alone("a_link_that_comes_and_goes_every_few_seconds_delays_and_never_lies", async |ground: Ground| {
        let team = ground.team().await;
        let (mut numbers, mut next, mut looks) = (Vec::new(), 0, 0);
        for round in 0..rounds(3) {
            ground.link.set(CUT);
            looks +=
                write_behind_a_cut(&team, &mut next, Duration::from_millis(1500 + u64::from(round % 3) * 700)).await;
            ground.link.set(calm(false));
            // waits: the link stands for a while, which is too short now and then.
            tokio::time::sleep(Duration::from_millis(500 + u64::from(round % 4) * 700)).await;
        }
        numbers.extend(0..next);
        ground.all_have(&team, &numbers).await;
        println!(
            "flapping: {} edits, 0 lost; settled was said in none of {looks} looks behind a cut; {}",
            numbers.len(),
            ground.link.tally()
        );
    });
}

/// Writes while nothing gets through, and looks at the status: it must say that something is owed.
async fn write_behind_a_cut(team: &Team, next: &mut i64, time: Duration) -> u64 {
    let (until, mut looks) = (Instant::now() + time, 0);
    while Instant::now() < until {
        for device in [&team.alice, &team.bob] {
            device.put(*next).await.unwrap();
            *next += 1;
            assert!(!device.says_settled().await, "nothing can have left the device since the link was cut");
            looks += 1;
        }
        // waits: a person types.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    looks
}

#[test]
fn a_relay_that_is_heard_no_more_is_shown_as_gone_within_half_a_minute() {
    alone("a_relay_that_is_heard_no_more_is_shown_as_gone_within_half_a_minute", async |ground: Ground| {
        let team = ground.team().await;
        for (device, from) in [(&team.alice, 0), (&team.bob, 1000)] {
            device.put_with_receipt(from).await;
        }
        // Alice hears nothing and says little; Bob says more than any buffer on the way takes.
        ground.link.set_way(Way::Down, CUT);
        let since = Instant::now();
        team.alice.put(1).await.unwrap();
        for number in 0..12 {
            let filler = Value::Bytes(noise(number, 256 << 10));
            team.bob.document.edit(move |edit| edit.put(&format!("filler {number}"), filler)).await.unwrap();
        }
        team.bob.put(1001).await.unwrap();
        let (idle, busy) = tokio::join!(shown_offline(&team.alice, since), shown_offline(&team.bob, since));
        assert!(!team.alice.says_settled().await && !team.bob.says_settled().await);
        println!("half-open: shown offline after {idle:?} (idle) and {busy:?} (sending); {}", ground.link.tally());
        assert!(idle <= OFFLINE_SHOWN_MAX && busy <= OFFLINE_SHOWN_MAX, "{idle:?}, {busy:?}");
        ground.link.set(CUT);
        // waits: minutes in the long form.
        tokio::time::sleep(Duration::from_secs(u64::from(rounds(2)))).await;
        assert!(!team.alice.says_settled().await && !team.bob.says_settled().await);
        ground.link.set(calm(false));
        for device in [&team.alice, &team.bob] {
            device.replica.notify_network().await.unwrap();
        }
        ground.all_have(&team, &[0, 1, 1000, 1001]).await;
    });
}

async fn shown_offline(device: &ground::Device, since: Instant) -> Duration {
    let gone = async {
        while device.is_online().await {
            // waits: for the device to notice by itself.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("the status says that the relay is gone", gone).await;
    since.elapsed()
}

#[test]
fn a_slow_line_carries_what_is_written_and_no_session_is_given_up_for_it() {
    alone("a_slow_line_carries_what_is_written_and_no_session_is_given_up_for_it", async |ground: Ground| {
        let team = ground.team().await;
        ground.link.set(Weather {
            delay: Duration::from_millis(100),
            bytes_per_second: Some(64_000 / 8),
            ..Weather::default()
        });
        let since = Instant::now();
        let mut events = team.alice.replica.events();
        let pages = i64::from(rounds(2));
        for page in 0..pages {
            // In the long form one frame takes longer than any silence may.
            let length = if page == 2 { 400 << 10 } else { 12 << 10 };
            let filler = Value::Bytes(noise(page, length));
            team.alice.document.edit(move |edit| edit.put(&format!("filler {page}"), filler)).await.unwrap();
            team.alice.put_with_receipt(page).await;
        }
        let numbers: Vec<i64> = (0..pages).collect();
        ground.all_have(&team, &numbers).await;
        let taken = since.elapsed();
        while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
            let given_up = matches!(event, Event::Relay { state: RelayState::Offline { .. }, .. });
            assert!(!given_up, "a session was given up: {event:?}");
        }
        println!("64 kbit/s: {pages} pages in {taken:?}; {}", ground.link.tally());
    });
}

/// Bytes that no compression makes smaller.
fn noise(seed: i64, length: usize) -> Vec<u8> {
    let mut state = seed.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15);
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(byte).collect()
}
