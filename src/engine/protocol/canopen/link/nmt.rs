//! Network management: commands to nodes, and what they tell of their state (CiA 301, section 7.2.8).

use super::message::{ERROR_CONTROL, Message, NMT};
use crate::limits::{HEARTBEAT_LATE_PERIODS, HEARTBEAT_LOST_PERIODS};
use crate::tag::Nanos;

/// Command specifiers (7.2.8.2.1), those that the master uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    Start = 1,
    ResetCommunication = 130,
}

/// A command to one node.
pub fn command(command: Command, node: u8) -> Message {
    Message::new(NMT, &[command as u8, node])
}

/// The state of a node as it says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeState {
    BootUp = 0,
    Stopped = 4,
    Operational = 5,
    PreOperational = 127,
}

impl NodeState {
    pub fn from_code(code: u8) -> Option<NodeState> {
        match code & 0x7F {
            0 => Some(NodeState::BootUp),
            4 => Some(NodeState::Stopped),
            5 => Some(NodeState::Operational),
            127 => Some(NodeState::PreOperational),
            _ => None,
        }
    }
}

/// How a node is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// By nothing but its answers.
    Nothing,
    /// It sends its state each `period`.
    Heartbeat { period: Nanos },
    /// It is asked each `period`, and is lost after `life` of them without an answer.
    Guarding { period: Nanos, life: u8 },
}

/// What a message of a node's error control came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    State(NodeState),
    /// No message of this protocol, or an answer with the toggle bit of the one before.
    Wrong,
}

/// What time came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// One is overdue: what the node said last is in doubt.
    Late,
    /// It is gone.
    Lost,
}

/// Watches one node. Frames and time in, what they mean out.
#[derive(Debug, Clone)]
pub struct Watch {
    how: Watching,
    /// Told so already.
    told: Option<Silence>,
    /// When the next silence is to be told.
    due: Nanos,
    /// Guarding: the next question, those unanswered, and the toggle bit that the next answer must have; none: any.
    ask_at: Nanos,
    unanswered: u8,
    toggle: Option<bool>,
}

impl Watch {
    pub fn new(how: Watching) -> Watch {
        Watch { how, told: Some(Silence::Lost), due: Nanos::NEVER, ask_at: Nanos::NEVER, unanswered: 0, toggle: None }
    }

    /// From now on the node must be heard.
    pub fn start(&mut self, now: Nanos) {
        self.told = None;
        self.unanswered = 0;
        self.toggle = None;
        match self.how {
            Watching::Nothing => {}
            Watching::Heartbeat { period } => self.due = now + times(period, HEARTBEAT_LATE_PERIODS),
            Watching::Guarding { .. } => self.ask_at = now,
        }
    }

    /// It is not expected to be heard.
    pub fn stop(&mut self) {
        *self = Watch::new(self.how);
    }

    /// What the node sent on its error control identifier.
    pub fn take(&mut self, message: &Message, now: Nanos) -> Heard {
        let [byte] = message.bytes() else { return Heard::Wrong };
        let Some(state) = NodeState::from_code(*byte) else { return Heard::Wrong };
        match self.how {
            Watching::Guarding { .. } if state != NodeState::BootUp => {
                let toggle = byte & 0x80 != 0;
                if self.toggle.is_some_and(|expected| expected != toggle) {
                    return Heard::Wrong;
                }
                self.toggle = Some(!toggle);
                self.unanswered = 0;
                self.told = None;
            }
            // The boot-up message is the first of the heartbeats, and answers no question of guarding.
            Watching::Heartbeat { period } if self.due != Nanos::NEVER => {
                self.told = None;
                self.due = now + times(period, HEARTBEAT_LATE_PERIODS);
            }
            _ => {}
        }
        Heard::State(state)
    }

    /// The question of node guarding, when it is due. `None` also where a node is not guarded.
    pub fn question(&mut self, node: u8, now: Nanos) -> Option<Message> {
        let Watching::Guarding { period, .. } = self.how else { return None };
        if now < self.ask_at || self.due <= now {
            return None;
        }
        // On its own beat, unless it has fallen behind by a whole one.
        self.ask_at = if now.since(self.ask_at) < period { self.ask_at + period } else { now + period };
        self.due = self.ask_at;
        self.unanswered = self.unanswered.saturating_add(1);
        Some(Message::remote(ERROR_CONTROL + u16::from(node)))
    }

    /// When [`Watch::expire`] or [`Watch::question`] has something to do.
    pub fn deadline(&self) -> Nanos {
        self.due.min(self.ask_at)
    }

    /// `Some` once for each: the node is late, the node is lost.
    pub fn expire(&mut self, now: Nanos) -> Option<Silence> {
        if now < self.due {
            return None;
        }
        match self.how {
            Watching::Nothing => {
                self.due = Nanos::NEVER;
                None
            }
            Watching::Heartbeat { period } => {
                let silence = if self.told.is_none() { Silence::Late } else { Silence::Lost };
                let more = HEARTBEAT_LOST_PERIODS - HEARTBEAT_LATE_PERIODS;
                self.due = if silence == Silence::Late { now + times(period, more) } else { Nanos::NEVER };
                self.told = Some(silence);
                Some(silence)
            }
            Watching::Guarding { life, .. } => {
                self.due = Nanos::NEVER;
                if self.unanswered == 0 {
                    return None;
                }
                let silence = if self.unanswered >= life { Silence::Lost } else { Silence::Late };
                if self.told == Some(silence) {
                    return None;
                }
                self.told = Some(silence);
                if silence == Silence::Lost {
                    self.ask_at = Nanos::NEVER;
                }
                Some(silence)
            }
        }
    }
}

fn times(period: Nanos, n: u64) -> Nanos {
    Nanos(period.0.saturating_mul(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Nanos = Nanos::from_millis(100);

    fn says(byte: u8) -> Message {
        Message::new(0x705, &[byte])
    }

    fn at(periods: u64) -> Nanos {
        Nanos(P.0 * periods)
    }

    #[test]
    fn commands_are_two_bytes_on_identifier_zero() {
        assert_eq!(command(Command::Start, 5), Message::new(0, &[1, 5]));
        assert_eq!(command(Command::ResetCommunication, 127).bytes(), [130, 127]);
    }

    #[test]
    fn a_heartbeat_that_stays_away_is_late_then_lost_and_told_once_each() {
        let mut watch = Watch::new(Watching::Heartbeat { period: P });
        watch.start(Nanos::ZERO);
        for n in 1..10 {
            assert_eq!(watch.take(&says(5), at(n)), Heard::State(NodeState::Operational));
            assert_eq!(watch.expire(at(n)), None);
        }
        assert_eq!(watch.expire(watch.deadline()), Some(Silence::Late));
        assert_eq!(watch.deadline(), at(9 + HEARTBEAT_LOST_PERIODS));
        assert_eq!(watch.expire(watch.deadline()), Some(Silence::Lost));
        assert_eq!(watch.deadline(), Nanos::NEVER);
    }

    #[test]
    fn a_heartbeat_that_was_only_late_ends_the_doubt() {
        let mut watch = Watch::new(Watching::Heartbeat { period: P });
        watch.start(Nanos::ZERO);
        assert_eq!(watch.expire(at(2)), Some(Silence::Late));
        watch.take(&says(5), at(3));
        assert_eq!(watch.expire(at(4)), None);
        assert_eq!(watch.expire(at(5)), Some(Silence::Late));
    }

    #[test]
    fn a_guarded_node_alternates_its_toggle_bit_and_is_lost_after_its_life() {
        let mut watch = Watch::new(Watching::Guarding { period: P, life: 3 });
        assert_eq!(watch.question(5, at(9)), None, "not started");
        watch.start(Nanos::ZERO);
        assert_eq!(watch.question(5, Nanos::ZERO), Some(Message::remote(0x705)));
        assert_eq!(watch.question(5, Nanos::ZERO), None);
        assert_eq!(watch.take(&says(0x05), at(0)), Heard::State(NodeState::Operational));
        assert_eq!(watch.expire(at(1)), None);
        assert!(watch.question(5, at(1)).is_some());
        assert_eq!(watch.take(&says(0x05), at(1)), Heard::Wrong, "the bit of the answer before");
        assert_eq!(watch.expire(at(2)), Some(Silence::Late));
        assert!(watch.question(5, at(2)).is_some());
        assert_eq!(watch.take(&says(0x85), at(2)), Heard::State(NodeState::Operational));
        for n in 3..6 {
            let told = watch.expire(at(n));
            assert_eq!(told, if n == 4 { Some(Silence::Late) } else { None }, "{n}");
            assert!(watch.question(5, at(n)).is_some());
        }
        assert_eq!(watch.expire(at(6)), Some(Silence::Lost));
        assert_eq!((watch.question(5, at(9)), watch.deadline()), (None, Nanos::NEVER));
    }

    #[test]
    fn what_is_no_state_is_none() {
        let mut watch = Watch::new(Watching::Nothing);
        assert_eq!(watch.take(&says(3), at(1)), Heard::Wrong);
        assert_eq!(watch.take(&Message::new(0x705, &[]), at(1)), Heard::Wrong);
        assert_eq!(watch.take(&Message::new(0x705, &[5, 5]), at(1)), Heard::Wrong);
        assert_eq!(watch.take(&says(0), at(1)), Heard::State(NodeState::BootUp));
    }
}
