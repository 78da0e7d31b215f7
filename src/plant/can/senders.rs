//! The nodes that send plain messages: each message in its time, spoiled as its node's fault says.

use super::fault::BusFault;
use super::frame::{Frame, FrameKind};
use super::messages::{Commands, MESSAGES, Moment, NODES};
use crate::signal::hash;
use crate::tag::{NANOS_PER_SEC, Nanos};

const MILLI: u64 = 1_000_000;
/// Before all others in arbitration.
const FLOOD_ID: u32 = 0x001;
/// A flood comes in portions of a millisecond.
const PORTION: Nanos = Nanos(MILLI);
/// Classes of linux/can/error.h: `CAN_ERR_CRTL`, `CAN_ERR_BUSOFF`, `CAN_ERR_RESTARTED`.
const CONTROLLER: u32 = 0x004;
const OFF: u32 = 0x040;
const RESTARTED: u32 = 0x100;
/// `CAN_ERR_CRTL_RX_PASSIVE`, in the second byte.
const PASSIVE: u8 = 0x10;

/// One message's place in time.
#[derive(Debug)]
struct Cycle {
    /// Index into [`MESSAGES`].
    message: usize,
    due: Nanos,
    sent: u64,
    /// The last frame, for a node whose values stand still.
    last: Option<Frame>,
}

#[derive(Debug, Default)]
struct NodeState {
    is_off: bool,
    flood_due: Nanos,
}

/// All senders of one bus.
#[derive(Debug)]
pub(super) struct Senders {
    start: Nanos,
    cycles: Vec<Cycle>,
    nodes: [NodeState; NODES.len()],
    commands: Commands,
    noise: u64,
}

impl Senders {
    pub(super) fn new(start: Nanos) -> Senders {
        let cyclic = MESSAGES.iter().enumerate().filter(|(_, message)| message.cycle_ms > 0);
        // Not all at once: each begins a little after the one before.
        let cycle = |(at, (message, _)): (usize, (usize, _))| Cycle {
            message,
            due: start + Nanos::from_micros(700 * at as u64),
            sent: 0,
            last: None,
        };
        Senders {
            start,
            cycles: cyclic.enumerate().map(cycle).collect(),
            nodes: Default::default(),
            commands: Commands::default(),
            noise: 1,
        }
    }

    /// When something is to be sent next.
    pub(super) fn due(&self) -> Nanos {
        let floods = self.nodes.iter().map(|node| node.flood_due).filter(|due| *due > Nanos::ZERO);
        self.cycles.iter().map(|cycle| cycle.due).chain(floods).min().unwrap_or(Nanos::NEVER)
    }

    pub(super) fn hear(&mut self, frame: &Frame) {
        self.commands.hear(frame);
    }

    /// Sends what is due; says how many frames a fault spoiled.
    pub(super) fn turn(
        &mut self,
        now: Nanos,
        fault_of: impl Fn(usize) -> Option<BusFault>,
        out: &mut Vec<Frame>,
    ) -> u64 {
        let mut spoiled = 0;
        for (node, state) in self.nodes.iter_mut().enumerate() {
            let fault = fault_of(node);
            let is_off = fault == Some(BusFault::BusOff);
            if std::mem::replace(&mut state.is_off, is_off) != is_off {
                out.push(report(if is_off { OFF } else { RESTARTED }, 0));
            }
            match fault {
                Some(BusFault::Flood(rate)) if now >= state.flood_due => {
                    // Rates below a frame a portion come one by one.
                    let gap = PORTION.max(Nanos(NANOS_PER_SEC / u64::from(rate)));
                    let count = (u64::from(rate) * gap.0 / NANOS_PER_SEC).max(1);
                    out.extend((0..count).map(|_| Frame::data(FLOOD_ID, &[0; 8])));
                    spoiled += count;
                    state.flood_due = now + gap;
                }
                Some(BusFault::Flood(_)) => {}
                _ => state.flood_due = Nanos::ZERO,
            }
        }
        for cycle in &mut self.cycles {
            if now < cycle.due {
                continue;
            }
            let message = &MESSAGES[cycle.message];
            let period = message.cycle_ms * MILLI;
            // On its beat, however late it is; beats that are over are not made up for.
            cycle.due += Nanos(period * (now.since(cycle.due).0 / period + 1));
            let fault = message.node.and_then(&fault_of);
            spoiled += u64::from(fault.is_some());
            if matches!(fault, Some(BusFault::Silence | BusFault::BusOff)) {
                continue;
            }
            let tick = now.since(self.start).0 / MILLI;
            let mut frame = message.frame(Moment { tick, sent: cycle.sent, commands: self.commands });
            match fault {
                Some(BusFault::Stuck) => frame = cycle.last.get_or_insert(frame).clone(),
                Some(BusFault::Short) => frame.data.truncate(frame.data.len() / 2),
                Some(BusFault::Garbage) => frame.data.iter_mut().for_each(|byte| {
                    self.noise = hash(self.noise);
                    *byte = self.noise as u8;
                }),
                Some(BusFault::ErrorFrames) => out.push(report(CONTROLLER, PASSIVE)),
                _ => {}
            }
            if fault.is_none() {
                cycle.last = Some(frame.clone());
            }
            cycle.sent += 1;
            out.push(frame);
        }
        spoiled
    }
}

/// What a controller would say.
fn report(class: u32, detail: u8) -> Frame {
    Frame { kind: FrameKind::Error, ..Frame::data(class, &[0, detail, 0, 0, 0, 0, 0, 0]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(senders: &mut Senders, from_ms: u64, to_ms: u64, fault: Option<(usize, BusFault)>) -> Vec<Frame> {
        let mut out = Vec::new();
        for ms in from_ms..to_ms {
            let of = |node| fault.filter(|(own, _)| *own == node).map(|(_, fault)| fault);
            senders.turn(Nanos::from_millis(ms), of, &mut out);
        }
        out
    }

    fn count(frames: &[Frame], id: u32) -> usize {
        frames.iter().filter(|frame| frame.id == id).count()
    }

    #[test]
    fn each_message_comes_in_its_time_and_late_beats_are_not_made_up_for() {
        let mut senders = Senders::new(Nanos::ZERO);
        let frames = run(&mut senders, 0, 1000, None);
        let counts: Vec<usize> = MESSAGES.iter().map(|message| count(&frames, message.id)).collect();
        assert_eq!(counts, [100, 10, 0, 10, 20, 50, 10]);
        let mut out = Vec::new();
        senders.turn(Nanos::from_millis(9000), |_| None, &mut out);
        assert_eq!(out.len(), 6);
        assert_eq!(senders.due(), Nanos::from_micros(9_000_700));
    }

    #[test]
    fn faults_spoil_their_node_alone() {
        let mut senders = Senders::new(Nanos::ZERO);
        run(&mut senders, 0, 200, None);
        let silent = run(&mut senders, 200, 400, Some((0, BusFault::Silence)));
        assert_eq!((count(&silent, 0x110), count(&silent, 0x118), count(&silent, 0x120)), (0, 0, 2));
        let short = run(&mut senders, 400, 600, Some((1, BusFault::Short)));
        assert!(short.iter().filter(|f| f.id == 0x120).all(|f| f.data.len() == 3));
        let stuck = run(&mut senders, 600, 800, Some((0, BusFault::Stuck)));
        let mut mixer = stuck.iter().filter(|f| f.id == 0x110).map(|f| &f.data);
        let first = mixer.next().unwrap();
        assert!(mixer.all(|data| data == first));
        let flood = run(&mut senders, 800, 1000, Some((4, BusFault::Flood(5000))));
        assert_eq!((count(&flood, FLOOD_ID), count(&flood, 0x140)), (1000, 2));
        let off = run(&mut senders, 1000, 1200, Some((3, BusFault::BusOff)));
        assert_eq!((off.iter().filter(|f| f.kind == FrameKind::Error).count(), count(&off, MESSAGES[5].id)), (1, 0));
        let back = run(&mut senders, 1200, 1400, None);
        assert_eq!(back.iter().find(|f| f.kind == FrameKind::Error).unwrap().id, RESTARTED);
        let passive = run(&mut senders, 1400, 1500, Some((3, BusFault::ErrorFrames)));
        assert_eq!(passive.iter().filter(|f| f.kind == FrameKind::Error && f.id == CONTROLLER).count(), 5);
    }
}
