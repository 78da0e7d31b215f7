//! Messages between publish and acknowledgement.

use std::collections::VecDeque;
use std::time::Instant;

use crate::store::Position;

#[derive(Debug)]
struct Sent {
    /// Packet identifier; `None` until the client has put the message on the wire.
    packet: Option<u16>,
    acknowledged: bool,
    /// No status message.
    data: bool,
    /// Everything before it is in this message and those before it.
    covers: Position,
}

/// What the oldest acknowledged messages in a row add up to.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub struct Progress {
    /// Data messages.
    pub messages: u64,
    /// How far the cursor may move.
    pub covers: Position,
}

/// A FIFO in the order of publishing. Acknowledgements may come in any order; only the contiguous
/// acknowledged prefix counts.
#[derive(Debug)]
pub struct Flight {
    sent: VecDeque<Sent>,
    /// How many of `sent` have been put on the wire.
    announced: usize,
    /// When the last message was acknowledged, or the first went out after a quiet time.
    since: Instant,
}

impl Flight {
    pub fn new(now: Instant) -> Flight {
        Flight { sent: VecDeque::new(), announced: 0, since: now }
    }

    pub fn len(&self) -> usize {
        self.sent.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether more than status messages are in flight.
    pub fn holds_data(&self) -> bool {
        self.sent.iter().any(|s| s.data)
    }

    /// A message was given to the client: `data`, or a status message.
    pub fn push(&mut self, data: bool, covers: Position, now: Instant) {
        if self.sent.is_empty() {
            self.since = now;
        }
        self.sent.push_back(Sent { packet: None, acknowledged: false, data, covers });
    }

    /// The next message went on the wire as `packet`; 0 is QoS 0, which no one will acknowledge.
    pub fn announced(&mut self, packet: u16, now: Instant) -> Progress {
        let Some(sent) = self.sent.get_mut(self.announced) else { return Progress::default() };
        sent.packet = Some(packet);
        sent.acknowledged = packet == 0;
        self.announced += 1;
        if packet == 0 { self.take(now) } else { Progress::default() }
    }

    /// `packet` was acknowledged. `None`: no message on the wire has that number.
    pub fn acknowledged(&mut self, packet: u16, now: Instant) -> Option<Progress> {
        let sent = self.sent.iter_mut().take(self.announced).find(|s| s.packet == Some(packet) && !s.acknowledged)?;
        sent.acknowledged = true;
        Some(self.take(now))
    }

    /// Since when nothing was acknowledged although something is in flight.
    pub fn stalled_since(&self) -> Option<Instant> {
        (!self.sent.is_empty()).then_some(self.since)
    }

    fn take(&mut self, now: Instant) -> Progress {
        let mut progress = Progress::default();
        self.since = now;
        while let Some(sent) = self.sent.pop_front_if(|s| s.acknowledged) {
            self.announced -= 1;
            progress.messages += u64::from(sent.data);
            progress.covers = progress.covers.max(sent.covers);
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(block: u64) -> Position {
        Position { block, samples: 0 }
    }

    #[test]
    fn only_the_contiguous_prefix_counts() {
        let now = Instant::now();
        let mut flight = Flight::new(now);
        for block in 1..=3 {
            flight.push(true, at(block), now);
            flight.announced(block as u16, now);
        }
        assert_eq!(flight.acknowledged(2, now), Some(Progress::default()));
        assert_eq!(flight.acknowledged(1, now), Some(Progress { messages: 2, covers: at(2) }));
        assert_eq!(flight.acknowledged(1, now), None, "acknowledged twice");
        assert_eq!(flight.len(), 1);
    }

    #[test]
    fn a_message_of_qos_0_is_done_once_it_is_on_the_wire() {
        let now = Instant::now();
        let mut flight = Flight::new(now);
        flight.push(false, Position::default(), now);
        flight.push(true, at(4), now);
        flight.announced(1, now);
        assert_eq!(flight.announced(0, now), Progress::default(), "the birth before it is not acknowledged yet");
        assert_eq!(flight.acknowledged(1, now), Some(Progress { messages: 1, covers: at(4) }));
        assert!(flight.is_empty() && flight.stalled_since().is_none());
    }

    #[test]
    fn an_acknowledgement_for_what_is_not_on_the_wire_is_none() {
        let now = Instant::now();
        let mut flight = Flight::new(now);
        flight.push(true, at(1), now);
        assert_eq!(flight.acknowledged(1, now), None);
    }
}
