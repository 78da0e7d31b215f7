//! What people write: `fieldbeat.toml` and `tags/*.json`, read and validated.

mod model;

pub use model::*;
