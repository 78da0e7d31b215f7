//! Pure data that every other module shares: identities, samples, values, status codes, time.

mod by_id;
mod id;
mod sample;
mod status;
mod time;
mod value;

pub use by_id::{ById, Id};
pub use id::{ExecutorId, GroupId, LinkId, TagId, UnitId};
pub use sample::{GAP_TAG, Sample, flags};
pub use status::Status;
pub use time::{ClockPair, NANOS_PER_SEC, Nanos};
pub use value::{ScalarType, Value, ValueType};
