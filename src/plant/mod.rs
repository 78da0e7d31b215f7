//! Simulated field devices and the demo's broker, on real sockets.

pub mod broker;
