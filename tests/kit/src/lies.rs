//! What a dishonest relay, or a patched client, makes of the frames that pass.
//!
//! Invariant: a lie sees one frame at a time and answers with those to send instead; it knows no secret
//! that its place in the network would not know.

use std::cell::RefCell;
use std::rc::Rc;

use tombolo::protocol::frame::{Append, Frame};

use crate::chance::Chance;
use crate::replica::Replica;

/// Turns one frame into those that are sent instead; told which replica is at the other end.
pub type Lie = Box<dyn FnMut(Replica, Vec<u8>, &mut Chance) -> Vec<Vec<u8>>>;

/// Frames that a tap has let pass.
pub type Tapped = Rc<RefCell<Vec<Frame>>>;

/// Rewrites frames: answers with those to send instead.
pub fn rewrite(mut change: impl FnMut(Frame) -> Vec<Frame> + 'static) -> Lie {
    Box::new(move |_, bytes, _| match Frame::decode(&bytes) {
        Ok(frame) => change(frame).into_iter().map(|frame| frame.encode()).collect(),
        Err(_) => vec![bytes],
    })
}

/// Lets everything pass, and keeps a copy.
#[must_use]
pub fn tap() -> (Lie, Tapped) {
    let tapped = Tapped::default();
    let kept = Rc::clone(&tapped);
    let lie = rewrite(move |frame| {
        kept.borrow_mut().push(frame.clone());
        vec![frame]
    });
    (lie, tapped)
}

/// Leaves out every frame of a type.
#[must_use]
pub fn withhold(name: &'static str) -> Lie {
    rewrite(move |frame| if frame.name() == name { Vec::new() } else { vec![frame] })
}

/// Leaves out the first item of every run.
#[must_use]
pub fn drop_items() -> Lie {
    rewrite(|frame| match frame {
        Frame::Items(mut items) => {
            items.items.remove(0);
            vec![items.into()]
        }
        frame => vec![frame],
    })
}

/// Sends every run of items many times.
#[must_use]
pub fn repeat_items(times: usize) -> Lie {
    rewrite(move |frame| match frame {
        Frame::Items(_) => vec![frame; times],
        frame => vec![frame],
    })
}

/// Sends every second run of items before the first.
#[must_use]
pub fn reorder_items() -> Lie {
    let mut kept = None;
    rewrite(move |frame| match frame {
        Frame::Items(_) => match kept.take() {
            None => {
                kept = Some(frame);
                Vec::new()
            }
            Some(first) => vec![frame, first],
        },
        frame => vec![frame],
    })
}

/// Cuts the end off every frame that comes after the proof.
#[must_use]
pub fn truncate() -> Lie {
    Box::new(|_, mut bytes, chance| {
        if matches!(Frame::decode(&bytes), Ok(Frame::Items(_) | Frame::Head(_) | Frame::Received(_))) {
            bytes.truncate(chance.index(bytes.len()));
        }
        vec![bytes]
    })
}

/// Flips one bit in every n-th frame.
#[must_use]
pub fn flip_bits(every: u64) -> Lie {
    Box::new(move |_, mut bytes, chance| {
        if chance.one_in(every) {
            let at = chance.index(bytes.len());
            let bit = 1 << chance.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bit;
            }
        }
        vec![bytes]
    })
}

/// Breaks the signature of every receipt.
#[must_use]
pub fn break_receipts() -> Lie {
    let flip = |bytes: &mut [u8]| bytes.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
    rewrite(move |frame| match frame {
        Frame::Received(mut received) => {
            flip(&mut received.receipt);
            vec![received.into()]
        }
        frame => vec![frame],
    })
}

/// Says the first head that it ever signed again and again.
#[must_use]
pub fn old_heads() -> Lie {
    let mut first = None;
    rewrite(move |frame| match frame {
        Frame::Head(mut head) => {
            head.receipt = first.get_or_insert(head.receipt).clone();
            vec![head.into()]
        }
        Frame::Received(mut received) => {
            received.receipt = first.get_or_insert(received.receipt).clone();
            vec![received.into()]
        }
        frame => vec![frame],
    })
}

/// Hides the receipt by which a device would notice that a relay went back.
#[must_use]
pub fn hide_receipts() -> Lie {
    rewrite(|frame| match frame {
        Frame::Open(mut open) => {
            open.receipt = None;
            vec![open.into()]
        }
        frame => vec![frame],
    })
}

/// Appends these items too, once the device is in step.
#[must_use]
pub fn append_too(items: Vec<Vec<u8>>) -> Lie {
    let (mut batch, mut items) = (0, Some(items));
    rewrite(move |frame| {
        let mut frames = vec![frame.clone()];
        match frame {
            Frame::Open(_) => batch = 0,
            Frame::Append(append) => batch = append.batch,
            Frame::Status(status) => {
                if let Some(items) = items.take() {
                    let items = items.into_iter().map(Into::into).collect();
                    frames.push(Append { channel: status.channel, batch: batch + 1, items }.into());
                }
            }
            _ => {}
        }
        frames
    })
}
