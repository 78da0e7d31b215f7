//! The machine below the gateway: what `doctor` finds, what rt-config/ sets and restores, what kernel/ asks for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod doctor;
mod files;
mod fragments;
mod script;
mod tree;
