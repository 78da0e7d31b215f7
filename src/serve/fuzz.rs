//! Any bytes as the head of an HTTP request.

pub use super::http::fuzz as requests;
