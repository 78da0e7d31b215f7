//! The journal as its users meet it: what is committed stays, whatever happens to the process or the disk.

#![allow(clippy::unwrap_used, reason = "a result that is not as expected is a failed test")]

mod audit;
mod bad;
mod bound;
mod common;
mod crash;
mod damage;
#[path = "../support/disk.rs"]
mod disk;
mod full;
mod log;
mod marks;
mod names;
mod processes;
