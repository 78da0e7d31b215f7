//! Files on disk that other programs may have changed: each is checked before it is written.

mod held;
mod lock;
mod whole;

pub use held::{Held, HeldPath};
pub use lock::{LockError, LockFile};
pub use whole::write_whole;
