//! What every other crate stands on: tags and samples, limits, configuration, requests to write, files, logs.
//!
//! | module | subject |
//! |---|---|
//! | [`tag`] | samples, values, status codes: pure data that everyone shares |
//! | [`limits`] | every hard limit, with its reason |
//! | [`disk`] | files that are ours: locks, paths that are held open, what is written whole |
//! | [`logs`] | lines on standard error, written without waiting for anyone |
//! | [`config`] | what people write, read and validated |
//! | [`command`] | writes to tags as they are asked for: requests, answers, what is allowed |

pub mod command;
pub mod config;
pub mod disk;
pub mod limits;
pub mod logs;
pub mod tag;
