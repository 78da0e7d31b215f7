//! What an executor needs from its environment: Linux ([`super::linux`]) or the simulator.

use crate::tag::Nanos;

/// A non-blocking connection, as the world knows it (on Linux a file descriptor).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conn(pub i32);

/// What a non-blocking operation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// So many bytes, or frames; at least one.
    Done(usize),
    /// Nothing now; ask again when it is ready.
    WouldBlock,
    /// The connection is over: closed by the peer, or the error that broke it.
    Closed,
}

impl Io {
    /// What a system call has said, by its result.
    #[inline]
    pub(super) fn of_call(n: isize) -> Io {
        match n {
            0 => Io::Closed,
            1.. => Io::Done(n as usize),
            _ => match std::io::Error::last_os_error().raw_os_error() {
                // A CAN interface whose queue is full says ENOBUFS: it takes more once it has sent some.
                Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => Io::WouldBlock,
                _ => Io::Closed,
            },
        }
    }
}

/// A frame, and when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    pub io: Io,
    /// CLOCK_MONOTONIC.
    pub at: Nanos,
    /// The device's own time, from whatever instant it counts.
    pub hardware: Option<Nanos>,
    /// Frames that the kernel dropped since the connection was opened, because nobody took them in time.
    pub dropped: u32,
}

impl Stamped {
    /// The frame's length; 0 where there is none.
    #[inline]
    pub fn bytes(&self) -> usize {
        match self.io {
            Io::Done(bytes) => bytes,
            Io::WouldBlock | Io::Closed => 0,
        }
    }
}

/// Room for a frame, and how it came to fill it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<B> {
    pub frame: B,
    /// Its `io` says how long the frame is.
    pub stamped: Stamped,
}

impl<B> Arrival<B> {
    pub fn new(frame: B) -> Arrival<B> {
        Arrival { frame, stamped: Stamped { io: Io::WouldBlock, at: Nanos::ZERO, hardware: None, dropped: 0 } }
    }
}

/// The links whose connections have something to read; capacity fixed at start.
#[derive(Debug)]
pub struct Ready {
    tokens: Box<[u32]>,
    len: usize,
}

impl Ready {
    pub fn with_capacity(capacity: usize) -> Ready {
        Ready { tokens: vec![0; capacity.max(1)].into_boxed_slice(), len: 0 }
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a token unless it is full; the world reports what did not fit again.
    pub fn push(&mut self, token: u32) {
        if let Some(slot) = self.tokens.get_mut(self.len) {
            *slot = token;
            self.len += 1;
        }
    }

    pub fn capacity(&self) -> usize {
        self.tokens.len()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, i: usize) -> u32 {
        self.tokens[i]
    }
}

/// Time, waiting and bytes. No method may allocate or block longer than it was asked to.
pub trait World {
    fn now(&mut self) -> Nanos;

    /// Burns time until `until`; returns the time then.
    fn spin_until(&mut self, until: Nanos) -> Nanos;

    /// Sleeps until a connection is readable or closed, or until `until`. `ready` is cleared and filled with
    /// the tokens of the connections that are.
    fn wait(&mut self, until: Nanos, ready: &mut Ready);

    /// Waits that the system refused since this was last asked.
    fn failed_waits(&mut self) -> u64 {
        0
    }

    /// From now on `wait` reports `conn` as `token`. False: the world refused, the connection is of no use.
    fn attach(&mut self, conn: Conn, token: u32) -> bool;

    fn detach(&mut self, conn: Conn);

    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io;

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io;

    /// Receives one frame with the time at which the kernel, or the device where it can, received it. A world without
    /// such times takes that of the call.
    fn receive_stamped(&mut self, conn: Conn, buffer: &mut [u8]) -> Stamped {
        let io = self.receive(conn, buffer);
        Stamped { io, at: self.now(), hardware: None, dropped: 0 }
    }

    /// Receives frames as [`World::receive_stamped`] does, as many as have come and as there is room for (one at
    /// least), in their order; a world may take fewer at once. `Done` says how many. An end of the connection behind them is told by the next
    /// call.
    fn receive_frames<B: AsMut<[u8]>>(&mut self, conn: Conn, room: &mut [Arrival<B>]) -> Io {
        for (n, arrival) in room.iter_mut().enumerate() {
            let stamped = self.receive_stamped(conn, arrival.frame.as_mut());
            match stamped.io {
                Io::Done(_) => arrival.stamped = stamped,
                end if n == 0 => return end,
                _ => return Io::Done(n),
            }
        }
        Io::Done(room.len())
    }

    /// Bytes that were sent and have not left this machine or were not taken by the peer's. Where the world cannot tell,
    /// more than were sent: what is not known to be out may be under way.
    fn unsent(&mut self, _conn: Conn) -> usize {
        0
    }

    /// Ends the connection without delivering what was sent and has not arrived, so far as that can be taken back. It is
    /// still to be given up.
    fn abort(&mut self, _conn: Conn) {}

    /// Sets RTS of a serial port. A world without such ports does nothing.
    fn set_rts(&mut self, _conn: Conn, _high: bool) {}
}
