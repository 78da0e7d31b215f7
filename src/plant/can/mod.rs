//! Simulated nodes on a CAN bus of the kernel: five that send messages which a DBC file describes, and a CANopen node.
//!
//! They send on their own beat, so the gateway has to take what comes. Values follow the plant's line. One of them takes
//! a command and says what it heard.

mod board;
mod dbc;
pub(super) mod fault;
mod files;
pub(super) mod frame;
mod messages;
mod player;
mod senders;
mod signals;
mod socket;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

pub use fault::{BusFault, BusFaultError, ScheduledBusFault};
pub use frame::{Frame, FrameKind};
pub use socket::NoCan;

use super::canopen::CanOpenNode;
use super::now;
use crate::tag::Nanos;
use board::Board;
use messages::{MESSAGES, Moment};
use player::{Nodes, Player};
use senders::Senders;
use socket::{CanSocket, is_virtual};

/// Where the nodes live.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CanSettings {
    /// Interface of the senders, such as `vcan0`.
    pub senders: Option<String>,
    /// Interface of the CANopen node; the same or another.
    pub canopen: Option<String>,
    /// The CANopen node's id, 1 to 127.
    pub node_id: u8,
    pub faults: Vec<ScheduledBusFault>,
}

/// What all nodes have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusCounts {
    /// Frames that the kernel took.
    pub sent: u64,
    /// Frames of others.
    pub heard: u64,
    /// Frames that a fault spoiled, held back or added.
    pub spoiled: u64,
    /// Frames that the interface did not take in time.
    pub unsent: u64,
}

/// Running nodes. They end when dropped.
#[derive(Debug)]
pub struct CanNodes {
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
}

impl CanNodes {
    /// Starts the nodes.
    ///
    /// # Errors
    /// What is missing, for a person: the kernel's CAN, the interface; or a fault that would make up errors on hardware.
    pub fn start(settings: &CanSettings) -> Result<CanNodes, NoCan> {
        let start = now();
        let board = Arc::new(Board::new(start, settings.faults.clone()));
        let mut nodes = CanNodes { board, threads: Vec::new() };
        if let Some(interface) = &settings.senders {
            nodes.live(settings, interface, Nodes::Senders(Senders::new(start)))?;
        }
        if let Some(interface) = &settings.canopen {
            nodes.live(settings, interface, Nodes::Pump(Box::new(CanOpenNode::new(settings.node_id, start))))?;
        }
        Ok(nodes)
    }

    fn live(&mut self, settings: &CanSettings, interface: &str, nodes: Nodes) -> Result<(), NoCan> {
        let socket = CanSocket::open(interface)?;
        let is_virtual = is_virtual(interface);
        if !is_virtual && settings.faults.iter().any(ScheduledBusFault::is_of_the_controller) {
            return Err(NoCan::Hardware(interface.into()));
        }
        let player = Player { socket, nodes, board: self.board.clone(), is_virtual, waiting: Default::default() };
        let thread = std::thread::Builder::new().name("plant-can".into()).spawn(move || player.run())?;
        self.threads.push(thread);
        Ok(())
    }

    /// Makes a node misbehave from now on: `mixer`, `tank`, `drive`, `engine`, `batch` or `pump`; `None` returns it to
    /// its schedule. A node that does not exist is ignored.
    pub fn set_fault(&self, node: &str, fault: Option<BusFault>) {
        if let Some(node) = fault::node_named(node) {
            self.board.set(node, fault);
        }
    }

    pub fn counts(&self) -> BusCounts {
        let Board { sent, heard, spoiled, unsent, .. } = &*self.board;
        let [sent, heard, spoiled, unsent] = [sent, heard, spoiled, unsent].map(|count| count.load(Relaxed));
        BusCounts { sent, heard, spoiled, unsent }
    }
}

impl Drop for CanNodes {
    fn drop(&mut self) {
        self.board.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Whether nodes could live on an interface.
///
/// # Errors
/// What is missing, for a person.
pub fn check(interface: &str) -> Result<(), NoCan> {
    CanSocket::open(interface).map(drop)
}

/// The DBC file of the senders' messages, in the code page 1252 that such files have.
pub fn dbc_file() -> Vec<u8> {
    // Of its characters beyond ASCII, Latin-1 has the same.
    dbc::text().chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// A frame, and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The message's name.
    pub message: &'static str,
    pub frame: Frame,
    /// Signals and their physical values, as the frame's bits can hold them.
    pub values: Vec<(&'static str, f64)>,
}

/// What the senders would send at a moment after their start, had each message been sent so often before. For tests
/// without a bus.
pub fn frames_at(elapsed: Nanos, sent: u64) -> Vec<Sent> {
    let at = Moment { tick: elapsed.0 / 1_000_000, sent, ..Moment::default() };
    let one = |message: &messages::Message| Sent {
        message: message.name,
        frame: message.frame(at),
        values: message.values(at).map(|(signal, value)| (signal.name, value)).collect(),
    };
    MESSAGES.iter().map(one).collect()
}
