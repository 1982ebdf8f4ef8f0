//! Lists and numbers of a frame's body, bounded while they are read.
//!
//! Invariant: no list grows past its limit, so a frame of empty elements can not be blown up into many
//! times its size; no position or seq leaves the range of an SQL integer.

use minicbor::bytes::ByteVec;
use minicbor::decode::{Decode, Decoder, Error};

use super::ChainSummary;
use crate::ids::{ChainId, DocumentTag, WorkspaceId};
use crate::limits::{
    FEATURES_MAX, HELD_CHAINS_MAX, ITEMS_PER_FRAME_MAX, OPEN_WORKSPACES_MAX, POSITION_MAX,
    RECONCILE_CHAINS_PER_FRAME_MAX, STEP_UP_PROOF_BYTES_MAX, WANTED_DOCUMENTS_MAX,
};

pub(super) fn items<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Vec<ByteVec>, Error> {
    list(decoder, context, ITEMS_PER_FRAME_MAX)
}

pub(super) fn chains<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Vec<ChainSummary>, Error> {
    list(decoder, context, RECONCILE_CHAINS_PER_FRAME_MAX)
}

/// Documents that a device asks for; most ask for all.
pub(super) fn documents<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Option<Vec<DocumentTag>>, Error> {
    list(decoder, context, WANTED_DOCUMENTS_MAX).map(Some)
}

pub(super) fn held_chains<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Option<Vec<ChainId>>, Error> {
    list(decoder, context, HELD_CHAINS_MAX).map(Some)
}

pub(super) fn features<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Vec<u16>, Error> {
    list(decoder, context, FEATURES_MAX)
}

pub(super) fn workspaces<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Vec<WorkspaceId>, Error> {
    list(decoder, context, OPEN_WORKSPACES_MAX)
}

/// Runs of positions; their counts are bounded by what was sent, their ends by [`POSITION_MAX`].
pub(super) fn runs<'b, C>(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Vec<(u64, u32)>, Error> {
    let runs: Vec<(u64, u32)> = list(decoder, context, RUNS_PER_FRAME_MAX)?;
    let within = |(first, count): &(u64, u32)| {
        let end = first.checked_add(u64::from(*count));
        end.is_some_and(|end| end <= POSITION_MAX)
    };
    if runs.iter().all(within) { Ok(runs) } else { Err(Error::message("position over its limit")) }
}

pub(super) fn position<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<u64, Error> {
    match decoder.u64()? {
        position @ ..=POSITION_MAX => Ok(position),
        _ => Err(Error::message("position over its limit")),
    }
}

/// An id token is a few hundred bytes; no second factor needs more than this.
pub(super) fn proof<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<String, Error> {
    let text = decoder.str()?;
    if text.len() > STEP_UP_PROOF_BYTES_MAX {
        return Err(Error::message("proof over its limit"));
    }
    Ok(text.to_owned())
}

fn list<'b, T: Decode<'b, C>, C>(decoder: &mut Decoder<'b>, context: &mut C, limit: usize) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    for element in decoder.array_iter_with(context)? {
        if list.len() == limit {
            return Err(Error::message("list over its limit"));
        }
        list.push(element?);
    }
    Ok(list)
}

/// Runs of positions in one receipt: it may acknowledge several frames of items, each in its own run
/// at worst.
const RUNS_PER_FRAME_MAX: usize = 16 * ITEMS_PER_FRAME_MAX;
