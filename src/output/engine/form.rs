//! What a kind of output says about its messages; the rest is the same for all.

use std::fmt::Debug;
use std::sync::Arc;

use super::streams::Before;
use crate::store::{Block, BootId};
use crate::tag::{BatchSample, ClockPair, Dictionary, LaneId};

/// Samples with one key are gathered into one message.
pub(crate) type Key = (LaneId, u16);

/// What a message is begun with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) gateway: &'a str,
    pub(crate) boot: BootId,
    pub(crate) lane: LaneId,
    /// Of the first sample.
    pub(crate) group: &'a str,
    /// What came before in the group, where [`Form::HAS_STREAMS`].
    pub(crate) before: Before,
    /// About so many bytes the message will have.
    pub(crate) bytes: usize,
}

/// How samples become messages.
pub(crate) trait Form {
    /// Messages of one group are a stream, and say what came before them in it.
    const HAS_STREAMS: bool = false;

    /// The names of one dictionary, and what else is kept of one lane while its samples are written.
    type Names: Debug;
    /// A message that is being written.
    type Draft: Debug;
    /// A finished message.
    type Message: Debug;

    fn names(&self, dictionary: &Arc<Dictionary>) -> Self::Names;

    /// The same names, for another lane.
    fn sibling(&self, names: &Self::Names) -> Self::Names;

    /// A block of the lane is begun: all of it can be seen before its samples are written one by one.
    fn begin_block(&self, _names: &mut Self::Names, _block: &Block) {}

    fn key(&self, lane: LaneId, group: u16) -> Key;

    fn begin(&self, head: &Head<'_>) -> Self::Draft;

    /// Bytes of the message if it were closed now.
    fn bytes(&self, draft: &Self::Draft) -> usize;

    /// The most bytes that [`Form::push`] adds to that.
    fn bytes_of(&self, names: &Self::Names, item: &BatchSample<'_>) -> usize;

    fn push(&self, draft: &mut Self::Draft, names: &mut Self::Names, item: &BatchSample<'_>, clock: &ClockPair);

    fn close(&self, draft: Self::Draft) -> Self::Message;
}
