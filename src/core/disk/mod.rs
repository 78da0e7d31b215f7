//! Files on disk that others may have laid hands on: each is looked at before it is written to.

mod held;
mod lock;
mod whole;

pub use held::{Held, HeldPath};
pub use lock::{LockError, LockFile};
pub use whole::write_whole;
