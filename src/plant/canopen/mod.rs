//! A simulated CANopen node, a dosing pump: its dictionary, its SDO server, its behaviour on the bus.

pub(super) mod eds;
mod node;
mod objects;
mod sdo;

pub(super) use node::CanOpenNode;
