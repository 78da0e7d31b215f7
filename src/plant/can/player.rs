//! A thread that lets nodes live on an interface: it sends what they send, and lets them hear what others send.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::board::Board;
use super::fault::PUMP;
use super::frame::{Frame, FrameKind};
use super::senders::Senders;
use super::socket::CanSocket;
use crate::canopen::CanOpenNode;
use crate::now;
use crate::tag::Nanos;

/// How often it looks at least whether it shall end, and whether a fault has begun.
const PATIENCE: Nanos = Nanos(20_000_000);
/// How long a full queue of the interface is given.
const BREATH: Nanos = Nanos(1_000_000);
/// Frames that wait for the interface; a block of SDO has 127.
const WAITING_MAX: usize = 512;

/// Who lives there.
#[derive(Debug)]
pub(super) enum Nodes {
    Senders(Senders),
    Pump(Box<CanOpenNode>),
}

pub(super) struct Player {
    pub socket: CanSocket,
    pub nodes: Nodes,
    pub board: Arc<Board>,
    /// Frames that only a controller may make are kept from hardware.
    pub is_virtual: bool,
    pub waiting: VecDeque<Frame>,
}

impl Player {
    pub(super) fn run(mut self) {
        let mut out = Vec::new();
        while !self.board.stop.load(Relaxed) {
            let moment = now();
            let due = match &self.nodes {
                Nodes::Senders(senders) => senders.due(),
                Nodes::Pump(node) => node.due(moment),
            };
            let due =
                due.min(moment + PATIENCE).min(if self.waiting.is_empty() { Nanos::NEVER } else { moment + BREATH });
            let left = TimeSpec::from_duration(Duration::from_nanos(due.since(moment).0));
            let mut ends = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let is_ready = ppoll(&mut ends, Some(left), None).is_ok_and(|ready| ready > 0);
            // An interface that went away is ready with an error again and again.
            if is_ready && !self.hear(&mut out) {
                std::thread::sleep(Duration::from_nanos(PATIENCE.0));
            }
            let moment = now();
            let board = &self.board;
            let spoiled = match &mut self.nodes {
                Nodes::Senders(senders) => senders.turn(moment, |node| board.fault(node, moment), &mut out),
                Nodes::Pump(node) => {
                    let fault = board.fault(PUMP, moment);
                    node.turn(moment, fault, &mut out);
                    0
                }
            };
            self.board.spoiled.fetch_add(spoiled, Relaxed);
            self.send(&mut out);
        }
    }

    /// Whether there was something.
    fn hear(&mut self, out: &mut Vec<Frame>) -> bool {
        let mut some = false;
        // Not more than fits into a turn: the nodes have their beat.
        for _ in 0..WAITING_MAX {
            let Some(frame) = self.socket.receive() else { break };
            some = true;
            self.board.heard.fetch_add(1, Relaxed);
            match &mut self.nodes {
                Nodes::Senders(senders) => senders.hear(&frame),
                Nodes::Pump(node) => {
                    let moment = now();
                    node.hear(&frame, moment, self.board.fault(PUMP, moment), out);
                }
            }
        }
        some
    }

    fn send(&mut self, out: &mut Vec<Frame>) {
        let may = |frame: &Frame| self.is_virtual || frame.kind != FrameKind::Error;
        self.waiting.extend(out.drain(..).filter(may));
        while let Some(frame) = self.waiting.front() {
            match self.socket.send(frame) {
                Ok(()) => self.board.sent.fetch_add(1, Relaxed),
                // The interface's queue is full: the rest goes later.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) && self.waiting.len() <= WAITING_MAX => {
                    return;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && self.waiting.len() <= WAITING_MAX => {
                    return;
                }
                Err(_) => self.board.unsent.fetch_add(1, Relaxed),
            };
            self.waiting.pop_front();
        }
    }
}
