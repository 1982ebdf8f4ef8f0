//! What the fuzz targets share: how a run of bytes becomes a sequence of messages, and the two ends of a session.

pub mod compacted;
pub mod crafted;
pub mod device;
pub mod members;
pub mod relay;
pub mod twins;

use std::sync::LazyLock;

use tombolo::crypto::Entropy;
use tombolo::engine::Now;
use tombolo_protocol::frame::Frame;

use device::Device;
use relay::Desk;

/// Splits `u16 length ‖ bytes` pieces; the last may be cut.
#[must_use]
pub fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, behind) = rest.split_at(length);
        pieces.push(piece);
        bytes = behind;
    }
    pieces
}

/// Writes messages so that [`pieces`] finds them again; what is too long for it is left out.
#[must_use]
pub fn join(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        if let Ok(length) = u16::try_from(message.len()) {
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(message);
        }
    }
    bytes
}

/// What an honest device and an honest relay say to each other, from Hello to the receipt of an edit.
pub struct Conversation {
    /// What the device says.
    pub device: Vec<Vec<u8>>,
    /// What the relay says.
    pub relay: Vec<Vec<u8>>,
}

/// The conversation, held once; it is the same in every run.
pub static CONVERSATION: LazyLock<Conversation> = LazyLock::new(converse);

fn converse() -> Conversation {
    let (mut device, mut desk) = (Device::dialled(), Desk::new());
    let mut said = Conversation { device: Vec::new(), relay: Vec::new() };
    let mut frames = device.reach();
    for pass_s in [0, 0, 30] {
        frames.extend(device.pass(pass_s));
        talk(&mut device, &mut desk, frames, &mut said);
        frames = device.edit();
    }
    let names: Vec<_> =
        said.relay.iter().map(|bytes| Frame::decode(bytes).map_or("none", |frame| frame.name())).collect();
    assert!(names.contains(&"Received"), "the conversation is cut short: {names:?}");
    said
}

/// Lets them talk until nobody has anything to say.
fn talk(device: &mut Device, desk: &mut Desk, mut frames: Vec<Frame>, said: &mut Conversation) {
    while !frames.is_empty() {
        let mut answers = Vec::new();
        for frame in std::mem::take(&mut frames) {
            answers.extend(desk.take(&frame.encode()));
            said.device.push(frame.encode());
        }
        for answer in answers {
            frames.extend(device.take(&answer.encode()));
            said.relay.push(answer.encode());
        }
    }
}

/// Where everybody stands in time when a run begins.
const NOW: Now = Now { mono: std::time::Duration::from_secs(1), wall_ms: 1_700_000_000_000 };

/// Bytes that are never the same twice, and the same in every run.
#[derive(Clone)]
struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            chunk.copy_from_slice(&self.0.to_be_bytes()[..chunk.len()]);
        }
    }
}

/// Randomness that is all zeros.
pub struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}
