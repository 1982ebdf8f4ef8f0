//! A person's devices: listing and naming them, linking one more, giving one up.
//!
//! Invariant: a device is linked only if the person typed, on the device they have, the six digits that
//! the new one shows.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Subcommand;
use qrcode::{Color, EcLevel, QrCode};
use tombolo::engine::{Event, RelayState};
use tombolo::{DeviceDescription, LinkWay, Replica};

use crate::failure::Failure;
use crate::place::Place;
use crate::{Outcome, page, parse_time};

/// What concerns the devices of the person.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists your devices, or names one
    Devices {
        /// Names this very device
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// How long to wait until the relay knows of the name
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
        deadline: Duration,
    },
    /// Makes a new device yours
    #[command(after_help = LINKING)]
    Link {
        /// On the device you have: what the new one shows, its link or its eight letters
        request: Option<String>,
        /// On the new device: the relay where the two meet [default: the one it knows]
        #[arg(long, value_name = "ADDRESS", conflicts_with = "request")]
        relay: Option<String>,
        /// On the new device: shows eight letters to type, instead of a link to scan or paste
        #[arg(long, conflicts_with = "request")]
        code: bool,
    },
    /// Gives up a device of yours that was lost: it is let in nowhere any more, and the keys change
    Revoke {
        /// Which: its name, or how its id begins, as `notes devices` shows it
        device: String,
        /// How long to wait until the relays know
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
        deadline: Duration,
    },
}

const LINKING: &str = "\
On the new device:        notes link --relay wss://relay.example   shows a QR code and a link
On the device you have:   notes link tombolo-link:1:…              the link, as it was scanned or copied
The new device then shows six digits; type them on the device you have. That proves that nobody stands
between the two. There are three minutes and one try; notes made on the new device come along.";

/// How long the two have: the request is good for no longer.
const LINK_TIME: Duration = Duration::from_secs(180);
/// How long the first exchange after a link may take.
const SYNC_TIME: Duration = Duration::from_secs(60);

/// Runs one of them.
pub(crate) async fn run(place: &Place, command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Devices { name: None, .. } => list(place).await,
        Command::Devices { name: Some(name), deadline } => name_this(place, &name, deadline).await,
        Command::Link { request: Some(request), .. } => approve(place, &request).await,
        Command::Link { request: None, relay, code } => {
            let way = if code { LinkWay::Code } else { LinkWay::Scan };
            tokio::time::timeout(LINK_TIME + SYNC_TIME, ask(place, relay, way))
                .await
                .map_err(|_| Failure::LinkTooLate)?
        }
        Command::Revoke { device, deadline } => revoke(place, &device, deadline).await,
    }
}

async fn list(place: &Place) -> Result<Outcome, Failure> {
    let replica = place.open_offline().await?;
    let mut devices = replica.devices().await?;
    replica.close().await?;
    devices.sort_by_key(|device| (device.revoked, !device.is_this, device.id));
    page::print(&devices.iter().map(line).collect::<String>())?;
    Ok(Outcome::Done)
}

fn line(device: &DeviceDescription) -> String {
    let name = device.name.as_deref().map_or_else(|| "(no name)".to_owned(), page::plain);
    let this = if device.is_this { ", this one" } else { "" };
    let revoked = if device.revoked { ", given up" } else { "" };
    format!("{}  {name} ({}){this}{revoked}\n", device.id.short(), device.platform.name())
}

async fn name_this(place: &Place, name: &str, deadline: Duration) -> Result<Outcome, Failure> {
    let replica = place.open().await?;
    let (device, _) = replica.identity().await?;
    replica.rename_device(device, name.trim()).await?;
    page::print(&format!("this device is called \"{}\"\n", page::plain(name.trim())))?;
    let outcome = settle(&replica, deadline, "your other devices hear of it").await;
    replica.close().await?;
    outcome
}

/// Waits until the relays have everything, where there are any.
async fn settle(replica: &Replica, deadline: Duration, what: &str) -> Result<Outcome, Failure> {
    if replica.relays().await?.is_empty() || replica.sync_once(deadline).await.is_ok() {
        return Ok(Outcome::Done);
    }
    page::tell(&format!("no relay was reached: {what} after the next: notes sync"))?;
    Ok(Outcome::Owing)
}

async fn revoke(place: &Place, wanted: &str, deadline: Duration) -> Result<Outcome, Failure> {
    let replica = place.open().await?;
    let mut found = replica.devices().await?;
    let lower = wanted.trim().to_lowercase();
    let by_name = |device: &DeviceDescription| device.name.as_deref().is_some_and(|name| name == wanted.trim());
    let by_id = |device: &DeviceDescription| !lower.is_empty() && device.id.to_string().starts_with(&lower);
    found.retain(|device| !device.revoked && (by_name(device) || by_id(device)));
    let (device, others) = (found.pop(), found.len());
    let device = device.ok_or_else(|| Failure::NoDevice { wanted: wanted.to_owned() })?;
    if others > 0 {
        return Err(Failure::ManyDevices { wanted: wanted.to_owned() });
    }
    if device.is_this {
        return Err(Failure::ThisDevice);
    }
    replica.revoke_device(device.id).await?;
    page::print(&format!("{} is no device of yours any more\n", device.id.short()))?;
    let outcome = settle(&replica, deadline, "others shut it out").await;
    replica.close().await?;
    outcome
}

/// Asks, on a new device, to be linked.
async fn ask(place: &Place, relay: Option<String>, way: LinkWay) -> Result<Outcome, Failure> {
    let replica = place.open().await?;
    let known = replica.relays().await?.into_iter().map(|(address, _)| address).next();
    let address = relay.or(known).ok_or(Failure::NoRelay)?;
    replica.dial(&address).await?;
    let mut request = replica.request_link(&address, way).await?;
    show(request.text(), way)?;
    let what = if way == LinkWay::Scan { "the link above" } else { "the letters above" };
    page::tell(&format!("on the device you have, within three minutes: notes link, and {what}"))?;
    let digits = request.digits().await?;
    page::print(&format!("digits: {digits}\n"))?;
    page::tell("type these six digits on the device you have")?;
    let user = request.linked().await?;
    page::tell("linked; fetching what is yours …")?;
    if replica.sync_once(SYNC_TIME).await.is_err() {
        page::tell("not everything is here yet; run: notes sync")?;
    }
    page::print(&format!("this is now a device of {}; see: notes list\n", user.short()))?;
    replica.close().await?;
    Ok(Outcome::Done)
}

/// Shows a request: the text for whoever pastes it, and a QR code where there is a terminal to draw on.
fn show(text: &str, way: LinkWay) -> Result<(), Failure> {
    if way == LinkWay::Scan && std::io::stderr().is_terminal() {
        page::tell(&drawn(text))?;
    }
    page::print(&format!("{text}\n"))
}

/// Draws a QR code, black on white whatever the terminal's colours: two modules a character.
pub(crate) fn drawn(text: &str) -> String {
    const QUIET: usize = 2;
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else {
        // Too long for any code: the text itself is printed as well.
        return String::new();
    };
    let (width, colours) = (code.width(), code.to_colors());
    let is_dark = |x: usize, y: usize| {
        let inside = x.checked_sub(QUIET).zip(y.checked_sub(QUIET)).filter(|(x, y)| *x < width && *y < width);
        inside.is_some_and(|(x, y)| colours.get(y * width + x) == Some(&Color::Dark))
    };
    let mut drawing = String::new();
    for y in (0..width + 2 * QUIET).step_by(2) {
        drawing.push_str("\u{1b}[30;107m");
        drawing.extend((0..width + 2 * QUIET).map(|x| match (is_dark(x, y), is_dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        drawing.push_str("\u{1b}[0m\n");
    }
    drawing
}

/// Approves, on a device that the person has, what a new one shows.
async fn approve(place: &Place, text: &str) -> Result<Outcome, Failure> {
    let replica = place.open().await?;
    if replica.relays().await?.is_empty() && !text.starts_with("tombolo-link:") {
        return Err(Failure::NoRelay);
    }
    if !text.starts_with("tombolo-link:") {
        reached(&replica).await?;
    }
    let mut approval = replica.approve_link(text.trim()).await?;
    page::tell("the new device is being asked …")?;
    let asked = tokio::time::timeout(LINK_TIME, approval.asked()).await.map_err(|_| Failure::LinkTooLate)?;
    let device = asked?;
    let digits = page::ask(&format!("device {} wants to be yours. The six digits it shows: ", device.short()))?;
    approval.confirm(&digits).await?;
    let outcome = settle(&replica, SYNC_TIME, "the new device finds your notes").await;
    page::print(&format!("{} is a device of yours\n", device.short()))?;
    replica.close().await?;
    outcome
}

/// Waits until some relay is reached: a code is looked up there.
async fn reached(replica: &Replica) -> Result<(), Failure> {
    let mut events = replica.events();
    let online = |(_, state): &(String, RelayState)| matches!(state, RelayState::Online { .. });
    while !replica.relays().await?.iter().any(online) {
        match tokio::time::timeout(SYNC_TIME, events.next()).await {
            Ok(Some(Event::Relay { .. } | _)) => {}
            Ok(None) | Err(_) => return Err(Failure::NoRelay),
        }
    }
    Ok(())
}
