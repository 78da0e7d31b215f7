//! Pure data that every other module shares: identities and their names, samples, values, status codes and
//! what causes them, time.

mod abort;
mod batch;
mod by_id;
mod cause;
mod dictionary;
mod encoding;
mod glob;
mod id;
mod kept;
mod object;
mod sample;
mod scaling;
mod status;
mod texts;
mod time;
mod utc;
mod value;

pub use crate::kept;
pub use abort::AbortCode;
pub use batch::{Batch, BatchSample};
pub use by_id::{ById, Id};
pub use cause::{
    Block, CanFault, Cause, CauseKind, DeviceFault, Fault, NodeFault, ObjectAt, ValueFault, exception_name,
};
pub use dictionary::{Dictionary, DictionaryTag};
pub use encoding::{CP1252, Encoding};
pub use glob::{Globs, glob_has, is_pattern};
pub use id::{GroupId, LaneId, LinkId, TagId, UnitId};
pub use object::Object;
pub use sample::{GAP_TAG, Sample, flags};
pub use scaling::Scaling;
pub use status::Status;
pub use texts::Texts;
pub use time::{ClockPair, NANOS_PER_SEC, Nanos, Stamp};
pub use utc::{utc_of_text, utc_text};
pub use value::{ScalarType, Value, ValueType};
