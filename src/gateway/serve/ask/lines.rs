//! The lines of an answer on their way to a client, which takes them or does not.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::limits::{ANSWER_BUFFER_BYTES, CONTROL_PATIENCE};

/// How often a write that waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

pub(super) struct Lines<'a> {
    socket: &'a UnixStream,
    buffer: Vec<u8>,
    pub(super) stop: &'a AtomicBool,
    /// Without any progress for so long, the client is given up.
    patience: Option<Duration>,
}

impl<'a> Lines<'a> {
    /// For an answer that has an end.
    pub(super) fn new(socket: &'a UnixStream, stop: &'a AtomicBool) -> io::Result<Lines<'a>> {
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(LOOK))?;
        Ok(Lines { socket, buffer: Vec::new(), stop, patience: Some(CONTROL_PATIENCE) })
    }

    /// For one that goes on: a client that stands still for a while may go on, too.
    pub(super) fn patient(socket: &'a UnixStream, stop: &'a AtomicBool) -> io::Result<Lines<'a>> {
        Ok(Lines { patience: None, ..Lines::new(socket, stop)? })
    }

    /// Adds a line; waits for the client when a buffer is full.
    pub(super) fn line(&mut self, row: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, row)?;
        self.buffer.push(b'\n');
        if self.buffer.len() >= ANSWER_BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= ANSWER_BUFFER_BYTES / 2
    }

    /// Hands all of it to the socket.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let mut moved = Instant::now();
        while sent < self.buffer.len() {
            match (&mut &*self.socket).write(&self.buffer[sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => (sent, moved) = (sent + bytes, Instant::now()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let is_too_slow = self.patience.is_some_and(|patience| moved.elapsed() >= patience);
                    if is_too_slow || self.stop.load(Relaxed) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.buffer.clear();
        Ok(())
    }

    /// Whether the client has gone.
    pub(super) fn is_left(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut fds, PollTimeout::ZERO).is_ok() && fds[0].revents().is_some_and(|now| now.intersects(gone))
    }
}
