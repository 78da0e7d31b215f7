//! The same by io_uring: requests submitted together, replies by epoll or by the ring itself.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use fieldbeat::rt::monotonic_now;
use fieldbeat::tag::Nanos;
use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::Way;
use super::peer::{REPLY_BYTES, REQUEST_BYTES};
use super::plain::Plain;

/// How replies come in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// `epoll_pwait2` and `recv`: the ring only sends.
    Epoll,
    /// A RECV with each SEND: what Linux 5.15 has.
    Once,
    /// One RECV for all replies of a link, into buffers from a ring: Linux 6.1 and its deferred task work.
    Multishot,
    /// The same, with a thread of the kernel that takes what is submitted: no call to send.
    Polled,
}

const ENTRIES: u32 = 64;
const BUFFERS: u16 = 32;
const BUFFER_BYTES: usize = 256;
const GROUP: u16 = 0;
/// Bit of a completion's number that tells a reply from a sent request.
const REPLY: u64 = 1 << 32;
/// How long the kernel's thread polls on when nothing is submitted.
const POLL_IDLE_MS: u32 = 5;

static REQUEST: [u8; REQUEST_BYTES] = [1; REQUEST_BYTES];

#[repr(C, align(4096))]
struct Page([u8; 4096]);

pub struct Ring {
    // First: it ends before what its operations write to.
    ring: IoUring,
    links: Vec<TcpStream>,
    receive: Receive,
    plain: Option<Plain>,
    buffers: Box<[[u8; BUFFER_BYTES]]>,
    /// The entries of the buffer ring.
    provided: Box<Page>,
    provided_tail: u16,
    calls: u64,
    /// Requests that are submitted with the next call, and tell of their end.
    telling: usize,
}

impl Ring {
    /// # Errors
    /// The kernel has no io_uring, not this much of it, or does not allow it.
    pub fn new(links: Vec<TcpStream>, receive: Receive) -> io::Result<Ring> {
        let mut builder = IoUring::builder();
        match receive {
            Receive::Multishot => builder.setup_single_issuer().setup_defer_taskrun(),
            Receive::Polled => builder.setup_sqpoll(POLL_IDLE_MS).setup_sqpoll_cpu(0),
            _ => &mut builder,
        };
        let clones = links.iter().map(TcpStream::try_clone).collect::<io::Result<Vec<_>>>()?;
        let mut ring = Ring {
            ring: builder.build(ENTRIES)?,
            plain: (receive == Receive::Epoll).then(|| Plain::new(clones, false)).transpose()?,
            links,
            receive,
            buffers: vec![[0; BUFFER_BYTES]; usize::from(BUFFERS)].into_boxed_slice(),
            provided: Box::new(Page([0; 4096])),
            provided_tail: 0,
            calls: 0,
            telling: 0,
        };
        if matches!(receive, Receive::Multishot | Receive::Polled) {
            let address = ring.provided.0.as_ptr() as u64;
            // SAFETY: the page holds BUFFERS entries, is aligned as the kernel asks, and outlives the ring.
            unsafe { ring.ring.submitter().register_buf_ring_with_flags(address, BUFFERS, GROUP, 0)? };
            (0..BUFFERS).for_each(|buffer| ring.provide(buffer));
            (0..ring.links.len()).for_each(|at| ring.arm(at));
            ring.ring.submit()?;
        }
        Ok(ring)
    }

    /// Gives a buffer to the kernel.
    fn provide(&mut self, buffer: u16) {
        let entries: *mut types::BufRingEntry = (&raw mut self.provided.0).cast();
        // SAFETY: the page holds BUFFERS entries, the index is below that, and only this thread writes them.
        let entry = unsafe { &mut *entries.add(usize::from(self.provided_tail % BUFFERS)) };
        entry.set_addr(self.buffers[usize::from(buffer)].as_mut_ptr() as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.provided_tail = self.provided_tail.wrapping_add(1);
        // SAFETY: the tail lies within the page, aligned; the kernel reads it, with the entry written before.
        unsafe {
            let tail = types::BufRingEntry::tail(entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.provided_tail, Ordering::Release);
        }
    }

    fn arm(&mut self, at: usize) {
        let entry = opcode::RecvMulti::new(types::Fd(self.links[at].as_raw_fd()), GROUP).build();
        self.push(entry.user_data(REPLY | at as u64));
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: what entries point to (the request, the buffers) lives longer than the ring.
        unsafe { self.ring.submission().push(&entry).expect("room in the ring") };
    }

    /// Submits what is there, and waits for a reply until `until`.
    fn enter(&mut self, until: Nanos) {
        self.calls += 1;
        let left = until.since(monotonic_now()).0;
        let timeout = types::Timespec::new().sec(left / 1_000_000_000).nsec((left % 1_000_000_000) as u32);
        // A request is sent within the call, and its end is not what is waited for.
        let want = std::mem::take(&mut self.telling) + 1;
        let result = self.ring.submitter().submit_with_args(want, &types::SubmitArgs::new().timespec(&timeout));
        if let Err(error) = result {
            assert!(matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)), "io_uring_enter: {error}");
        }
    }

    /// Takes what is complete; says how many replies that were.
    fn take(&mut self) -> usize {
        let mut replies = 0;
        while let Some(done) = { self.ring.completion().next() } {
            if done.user_data() & REPLY == 0 {
                assert_eq!(done.result(), REQUEST_BYTES as i32, "a request fits");
                continue;
            }
            assert_eq!(done.result(), REPLY_BYTES as i32, "a whole reply");
            replies += 1;
            if let Some(buffer) = cqueue::buffer_select(done.flags()) {
                self.provide(buffer);
                if !cqueue::more(done.flags()) {
                    self.arm((done.user_data() & !REPLY) as usize);
                }
            }
        }
        replies
    }
}

impl Way for Ring {
    fn issue(&mut self, links: &[usize]) {
        for at in links {
            let fd = types::Fd(self.links[*at].as_raw_fd());
            let send = opcode::Send::new(fd, REQUEST.as_ptr(), REQUEST_BYTES as u32).flags(libc::MSG_NOSIGNAL).build();
            // Linux 5.15 tells of each; later ones only of what failed, when asked.
            let flags = match self.receive {
                Receive::Multishot | Receive::Polled => squeue::Flags::SKIP_SUCCESS,
                Receive::Epoll | Receive::Once => squeue::Flags::empty(),
            };
            self.push(send.flags(flags).user_data(*at as u64));
        }
        match self.receive {
            Receive::Epoll => {
                self.calls += 1;
                self.ring.submit().expect("submitted");
                self.take();
            }
            Receive::Once => {
                self.telling = links.len();
                for at in links {
                    let buffer = self.buffers[*at].as_mut_ptr();
                    let fd = types::Fd(self.links[*at].as_raw_fd());
                    let receive = opcode::Recv::new(fd, buffer, BUFFER_BYTES as u32).build();
                    self.push(receive.user_data(REPLY | *at as u64));
                }
            }
            // Submitted by the call that waits for the first reply.
            Receive::Multishot => {}
            Receive::Polled => {
                let asleep = self.ring.submission().need_wakeup();
                self.calls += u64::from(asleep);
                self.ring.submit().expect("submitted");
            }
        }
    }

    fn replies(&mut self, until: Nanos) -> usize {
        if let Some(plain) = &mut self.plain {
            return plain.wait(until);
        }
        self.enter(until);
        self.take()
    }

    fn sleep(&mut self, until: Nanos) {
        if let Some(plain) = &mut self.plain {
            return plain.sleep(until);
        }
        self.enter(until);
        assert_eq!(self.take(), 0, "every reply is in");
    }

    fn calls(&self) -> u64 {
        self.calls + self.plain.as_ref().map_or(0, Way::calls)
    }
}
