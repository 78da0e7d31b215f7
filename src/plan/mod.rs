//! Configuration compiled into what the executors walk: requests with ready-made frames, decode tables,
//! releases with phases. Immutable once built.

mod model;

pub use model::*;
