//! Start and stop of a whole gateway: the one place that knows every part.

pub mod floor;
