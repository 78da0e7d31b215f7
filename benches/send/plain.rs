//! Plain calls: `send` for each request, and replies by `epoll_pwait2` and `recv`, or by asking again and again.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use fieldbeat::rt::{Conn, Io, LinuxWorld, Ready, World};
use fieldbeat::tag::Nanos;

use super::Way;
use super::peer::{REPLY_BYTES, REQUEST_BYTES};

/// The executor's own calls.
pub struct Plain {
    world: LinuxWorld,
    ready: Ready,
    links: Vec<TcpStream>,
    calls: u64,
    /// Asks every link that waits instead of sleeping until one is readable.
    busy: bool,
    waiting: Vec<usize>,
}

impl Plain {
    pub fn new(links: Vec<TcpStream>, busy: bool) -> io::Result<Plain> {
        let mut world = LinuxWorld::new()?;
        for (at, link) in links.iter().enumerate().filter(|_| !busy) {
            assert!(world.attach(Conn(link.as_raw_fd()), at as u32), "watched");
        }
        let waiting = Vec::with_capacity(links.len());
        Ok(Plain { world, ready: Ready::with_capacity(64), links, calls: 0, busy, waiting })
    }

    /// Takes one reply, if it is there.
    fn receive(&mut self, at: usize) -> bool {
        self.calls += 1;
        let mut reply = [0; 2 * REPLY_BYTES];
        match self.world.receive(Conn(self.links[at].as_raw_fd()), &mut reply) {
            Io::Done(bytes) => {
                assert_eq!(bytes, REPLY_BYTES, "a whole reply");
                true
            }
            Io::WouldBlock => false,
            Io::Closed => panic!("the peer closed"),
        }
    }

    /// What came until `until`, at the latest.
    pub fn wait(&mut self, until: Nanos) -> usize {
        self.calls += 1;
        self.world.wait(until, &mut self.ready);
        let mut received = 0;
        for i in 0..self.ready.len() {
            received += usize::from(self.receive(self.ready.get(i) as usize));
        }
        received
    }
}

impl Way for Plain {
    fn issue(&mut self, links: &[usize]) {
        for at in links {
            self.calls += 1;
            let sent = self.world.send(Conn(self.links[*at].as_raw_fd()), &[1; REQUEST_BYTES]);
            assert_eq!(sent, Io::Done(REQUEST_BYTES), "a request fits");
        }
        if self.busy {
            self.waiting.extend_from_slice(links);
        }
    }

    fn replies(&mut self, until: Nanos) -> usize {
        if !self.busy {
            return self.wait(until);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let before = waiting.len();
        waiting.retain(|at| !self.receive(*at));
        self.waiting = waiting;
        before - self.waiting.len()
    }

    fn sleep(&mut self, until: Nanos) {
        assert_eq!(self.wait(until), 0, "every reply is in");
    }

    fn calls(&self) -> u64 {
        self.calls
    }
}
