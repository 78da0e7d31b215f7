//! Writes to tags as they are asked for, whatever the way: requests, answers, what is allowed, and the desk at which
//! requests are handed in.
//!
//! | file | subject |
//! |---|---|
//! | `request`, `answer` | both as JSON |
//! | `check` | whether a value is one of the tag's type, within its limits |
//! | `rates` | how often a tag, and the whole gateway, may be written |
//! | `seen` | which ids were used, so that a request that comes twice is not done twice |
//! | `desk` | the bounded way to whoever judges requests; counts |

mod answer;
mod check;
mod desk;
#[doc(hidden)]
pub mod fuzz;
mod rates;
mod request;
mod seen;

pub use answer::{Answer, Outcome, Reason};
pub use check::{Refusal, allowed, json_of, typed, within_limits, within_step};
pub use desk::{AnswerEnd, Asked, Desk, Reply, WriteStats};
pub use rates::{Bucket, TagRates};
pub use request::{Malformed, Request, Requester, Way};
pub use seen::{Again, Seen};
