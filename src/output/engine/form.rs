//! What a kind of output says about its messages; the rest is the same for all.

use std::fmt::Debug;
use std::sync::Arc;

use super::streams::Before;
use crate::store::{Block, BootId};
use crate::tag::{BatchSample, ClockPair, Dictionary, LaneId, Sample};

/// Samples with one key are gathered into one message. The second part is the form's own: a group, a tag, or both of a group
/// and a link.
pub type Key = (LaneId, u32);

/// What stands for the link of a sample that an earlier gateway stored: its names hold none.
pub const UNKNOWN_LINK: &str = "unknown";

/// What a message is begun with.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub gateway: &'a str,
    pub boot: BootId,
    pub lane: LaneId,
    /// What came before in the stream, where [`Form::HAS_STREAMS`].
    pub before: Before,
    /// About so many bytes the message will have.
    pub bytes: usize,
}

/// How samples become messages.
pub trait Form {
    /// Messages of one key are a stream, and say what came before them in it.
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

    fn key(&self, names: &Self::Names, lane: LaneId, sample: &Sample) -> Key;

    /// What the stream of a key's messages is called, beside its lane: ids may mean something else in another plan, names
    /// don't. Asked for where [`Form::HAS_STREAMS`].
    fn stream(&self, _names: &Self::Names, _of: u32) -> Arc<str> {
        Arc::default()
    }

    /// `first`: the sample that comes first.
    fn begin(&self, head: &Head<'_>, names: &Self::Names, first: &Sample) -> Self::Draft;

    /// Bytes of the message if it were closed now.
    fn bytes(&self, draft: &Self::Draft) -> usize;

    /// The most bytes that [`Form::push`] adds to that.
    fn bytes_of(&self, names: &Self::Names, item: &BatchSample<'_>) -> usize;

    fn push(&self, draft: &mut Self::Draft, names: &mut Self::Names, item: &BatchSample<'_>, clock: &ClockPair);

    fn close(&self, draft: Self::Draft) -> Self::Message;
}
