//! The brokers of one output, in the order in which they are preferred, and which of them is used.
//!
//! After a failure the next one is tried, round and round. While another than the first is used, the first is looked for
//! (a TCP connection, closed again: an MQTT connection of the same client id might throw out the one in use where brokers
//! are a cluster). Once it could be reached for the set time without a break, the output goes back to it. If it then fails
//! all the same, that time is doubled, so that an output does not swing to and fro.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::limits::{BROKER_PROBE_PAUSE, BROKER_PROBE_TIMEOUT, BROKER_RETURN_MAX};
use crate::peer::Peer;

pub(super) struct Brokers {
    peers: Vec<Peer>,
    at: usize,
    return_after: Duration,
    /// As it is now, after returns that failed.
    patience: Duration,
    /// The first one is used because it could be reached again, and has not taken anything yet.
    on_trial: bool,
    reachable_since: Option<Instant>,
    probe: Option<oneshot::Receiver<bool>>,
    next_probe: Instant,
}

impl Brokers {
    /// `peers`: at least one.
    pub(super) fn new(peers: Vec<Peer>, return_after: Duration) -> Brokers {
        Brokers {
            peers,
            at: 0,
            return_after,
            patience: return_after,
            on_trial: false,
            reachable_since: None,
            probe: None,
            next_probe: Instant::now(),
        }
    }

    /// The one in use, counted from 0.
    pub(super) fn index(&self) -> usize {
        self.at
    }

    pub(super) fn count(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peers[self.at]
    }

    pub(super) fn first(&self) -> &Peer {
        &self.peers[0]
    }

    /// The one in use has failed: the next is its turn.
    pub(super) fn failed(&mut self) {
        if std::mem::take(&mut self.on_trial) {
            self.patience = (self.patience * 2).min(BROKER_RETURN_MAX.max(self.return_after));
        }
        self.at = (self.at + 1) % self.peers.len();
        self.forget_first();
    }

    /// The one in use has taken something.
    pub(super) fn is_well(&mut self) {
        if self.at == 0 {
            self.on_trial = false;
            self.patience = self.return_after;
        }
    }

    pub(super) fn go_first(&mut self) {
        (self.at, self.on_trial) = (0, true);
        self.forget_first();
    }

    fn forget_first(&mut self) {
        (self.reachable_since, self.probe) = (None, None);
    }

    /// Whether another one is used than the first, and the first could be reached for long enough. To be asked again and
    /// again: that is when it is looked for.
    pub(super) fn wants_first(&mut self) -> bool {
        if self.at == 0 {
            return false;
        }
        let now = Instant::now();
        match self.probe.as_mut().map(oneshot::Receiver::try_recv) {
            None if now >= self.next_probe => {
                self.next_probe = now + BROKER_PROBE_PAUSE.min(self.patience / 4);
                self.probe = Some(probe(&self.peers[0]));
            }
            None | Some(Err(oneshot::error::TryRecvError::Empty)) => {}
            Some(Ok(true)) => {
                self.probe = None;
                self.reachable_since.get_or_insert(now);
            }
            Some(_) => self.forget_first(),
        }
        self.reachable_since.is_some_and(|since| now >= since + self.patience)
    }
}

fn probe(peer: &Peer) -> oneshot::Receiver<bool> {
    let (tell, told) = oneshot::channel();
    let (host, port) = (peer.host.clone(), peer.port);
    tokio::spawn(async move {
        let connected = tokio::time::timeout(BROKER_PROBE_TIMEOUT, TcpStream::connect((host.as_str(), port))).await;
        // Nobody may want to know any more.
        let _ = tell.send(matches!(connected, Ok(Ok(_))));
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::failure::WORDS;

    fn peer(port: u16) -> Peer {
        Peer {
            words: WORDS,
            host: "127.0.0.1".into(),
            port,
            roots: None,
            has_certificate: false,
            user: None,
            client_id: String::new(),
        }
    }

    #[test]
    fn brokers_take_turns_and_a_return_that_fails_is_tried_later_than_the_one_before() {
        let mut brokers = Brokers::new(vec![peer(1), peer(2), peer(3)], Duration::from_secs(60));
        let turns: Vec<u16> = (0..4)
            .map(|_| {
                brokers.failed();
                brokers.peer().port
            })
            .collect();
        assert_eq!(turns, [2, 3, 1, 2]);
        for expected in [120, 240] {
            brokers.go_first();
            assert_eq!(brokers.index(), 0);
            brokers.failed();
            assert_eq!(brokers.patience, Duration::from_secs(expected));
        }
        brokers.go_first();
        brokers.is_well();
        brokers.failed();
        assert_eq!(brokers.patience, Duration::from_secs(60));
        let mut only = Brokers::new(vec![peer(1)], Duration::from_secs(60));
        only.failed();
        assert_eq!((only.index(), only.wants_first()), (0, false));
    }
}
