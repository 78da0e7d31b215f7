//! Tables from addresses.
