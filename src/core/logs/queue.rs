//! Lines that wait to be written, and the thread that writes them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::limits::{LOG_LINE_OVERHEAD, LOG_QUEUE_BYTES_MAX, LOG_RETRY};

/// See the module.
pub struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    changed: Condvar,
    lost: AtomicU64,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue::new(LOG_QUEUE_BYTES_MAX)
    }
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// An entry is being written.
    writing: bool,
}

pub enum Entry {
    Line(Box<[u8]>),
    /// So many lines had no room here.
    Lost(u64),
}

impl State {
    fn take(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        if let Entry::Line(line) = &entry {
            self.bytes -= line.len() + LOG_LINE_OVERHEAD;
        }
        Some(entry)
    }
}

impl Queue {
    /// Holds so many bytes of lines.
    pub fn new(bytes_max: usize) -> Queue {
        Queue { bytes_max, state: Mutex::default(), changed: Condvar::new(), lost: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line, or counts it as lost where there is no room.
    pub fn push(&self, line: &[u8]) {
        let size = line.len() + LOG_LINE_OVERHEAD;
        let mut state = self.state();
        if state.bytes + size > self.bytes_max {
            match state.entries.back_mut() {
                Some(Entry::Lost(lines)) => *lines += 1,
                _ => state.entries.push_back(Entry::Lost(1)),
            }
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            state.bytes += size;
            state.entries.push_back(Entry::Line(line.into()));
        }
        drop(state);
        self.changed.notify_all();
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all is written, for so long at most. True when it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.state();
        while !state.entries.is_empty() || state.writing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The next entry, once there is one.
    fn next(&self) -> Entry {
        let mut state = self.state();
        loop {
            if let Some(entry) = state.take() {
                state.writing = true;
                return entry;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next entry, if there is one, for a reader without a thread.
    pub fn try_next(&self) -> Option<Entry> {
        self.state().take()
    }

    /// What [`next`](Self::next) gave is written, or lost.
    fn done(&self, is_lost: bool) {
        self.lost.fetch_add(u64::from(is_lost), Ordering::Relaxed);
        self.state().writing = false;
        self.changed.notify_all();
    }
}

/// Writes what comes to `fd`, for as long as the process lives.
pub(super) fn write_out(queue: Arc<Queue>, fd: RawFd) -> io::Result<()> {
    thread::Builder::new().name("fb-log".to_owned()).stack_size(128 << 10).spawn(move || {
        let mut out = Out { fd, in_line: false, untold: 0, trouble: None };
        loop {
            let is_lost = match queue.next() {
                Entry::Line(line) => out.line(&line).is_err(),
                Entry::Lost(lines) => {
                    out.untold += lines;
                    false
                }
            };
            queue.done(is_lost);
        }
    })?;
    Ok(())
}

/// Standard error, whatever it is.
struct Out {
    fd: RawFd,
    /// The last write ended within a line.
    in_line: bool,
    /// Lines that were lost and not yet told of; and why the last of them could not be written.
    untold: u64,
    trouble: Option<io::Error>,
}

impl Out {
    /// Writes a line, behind word of those that were lost before it.
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let start: &[u8] = if self.in_line { b"\n" } else { b"" };
        let result = self.write_all(start).and_then(|()| self.tell_lost()).and_then(|()| self.write_all(line));
        if let Err(error) = &result {
            self.untold += 1;
            self.trouble = Some(io::Error::new(error.kind(), error.to_string()));
            // What can't be written now can't be a moment later; what comes meanwhile waits in the queue.
            thread::sleep(LOG_RETRY);
        }
        result
    }

    fn tell_lost(&mut self) -> io::Result<()> {
        if self.untold == 0 {
            return Ok(());
        }
        let why = match &self.trouble {
            None => "the reader was too slow".to_owned(),
            Some(error) => format!("they could not be written: {error}"),
        };
        let lines = if self.untold == 1 { "line was" } else { "lines were" };
        self.write_all(format!(" WARN {} log {lines} lost before this one: {why}\n", self.untold).as_bytes())?;
        (self.untold, self.trouble) = (0, None);
        Ok(())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // SAFETY: the pointer and the length are those of a slice that lives through the call.
            let written = unsafe { libc::write(self.fd, bytes.as_ptr().cast(), bytes.len()) };
            match usize::try_from(written) {
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.in_line = !bytes.is_empty();
                }
                Err(_) => {
                    let error = io::Error::last_os_error();
                    match error.kind() {
                        io::ErrorKind::Interrupted => {}
                        // Somebody has made it non-blocking.
                        io::ErrorKind::WouldBlock => self.wait(),
                        _ => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    fn wait(&self) {
        let mut writable = libc::pollfd { fd: self.fd, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, which lives through the call.
        unsafe { libc::poll(&mut writable, 1, LOG_RETRY.as_millis() as libc::c_int) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    fn text(reader: &mut impl Read, bytes: usize) -> String {
        let mut text = vec![0; bytes];
        reader.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_come_out_in_their_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = Arc::new(Queue::default());
        write_out(queue.clone(), writer.as_raw_fd()).unwrap();
        ["one\n", "two\n", "three\n"].iter().for_each(|line| queue.push(line.as_bytes()));
        assert_eq!(text(&mut reader, 14), "one\ntwo\nthree\n");
        assert!(queue.flush(Duration::from_secs(20)));
        // The thread goes on with the descriptor as long as the process lives.
        std::mem::forget(writer);
    }

    #[test]
    fn a_reader_that_does_not_read_keeps_nobody_and_learns_later_what_it_has_missed() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = Arc::new(Queue::default());
        write_out(queue.clone(), writer.as_raw_fd()).unwrap();
        std::mem::forget(writer);
        let line = [b'x'; 1023].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        let pushed = 2 * LOG_QUEUE_BYTES_MAX / line.len();
        (0..pushed).for_each(|_| queue.push(&line));
        assert!(queue.lost() > 0 && !queue.flush(Duration::from_millis(1)));
        let kept = pushed - queue.lost() as usize;
        let told = thread::spawn(move || {
            let all = text(&mut reader, kept * 1024);
            (all, reader)
        });
        assert!(queue.flush(Duration::from_secs(60)));
        queue.push(b"again\n");
        let (all, mut reader) = told.join().unwrap();
        let mut rest = String::new();
        while !rest.ends_with("again\n") {
            rest += &text(&mut reader, 1);
        }
        // In one piece, or in several where the other thread could write in between.
        let all = all + &rest;
        let told = all.lines().filter_map(|line| line.strip_prefix(" WARN ")?.split(' ').next()?.parse::<u64>().ok());
        assert_eq!(told.sum::<u64>(), queue.lost(), "{}", all.replace('x', ""));
        assert!(all.contains("lost before this one: the reader was too slow\n"));
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_when_it_can_be_again() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        // The descriptor that is written to becomes another file meanwhile.
        let target = full.as_raw_fd();
        let queue = Arc::new(Queue::default());
        write_out(queue.clone(), target).unwrap();
        queue.push(b"one\n");
        queue.push(b"two\n");
        assert!(queue.flush(Duration::from_secs(20)));
        assert_eq!(queue.lost(), 2);
        // SAFETY: both descriptors are open, and the second is replaced in one step.
        assert!(unsafe { libc::dup2(writer.as_raw_fd(), target) } >= 0);
        queue.push(b"three\n");
        let expected = " WARN 2 log lines were lost before this one: they could not be written: No space left on device \
                        (os error 28)\nthree\n";
        assert_eq!(text(&mut reader, expected.len()), expected);
        std::mem::forget(full);
    }
}
