//! How an executor waits for its descriptors: the best call that this system has.
//!
//! | call | since Linux | what it costs |
//! |---|---|---|
//! | `epoll_pwait2` | 5.11 | nothing: one call, to the nanosecond |
//! | `ppoll` on the epoll descriptor, then `epoll_wait` | 2.6.16 | a second call for each wake-up that brings something; to the nanosecond |
//! | `epoll_wait` | 2.6 | its time-out has whole milliseconds: what is left of one is spun |
//!
//! Not a timerfd: on PREEMPT_RT its timer is served by a low-priority thread. A call may be missing though the kernel has
//! it: filters of containers (seccomp) and emulators refuse what they do not know, by any error. So each is tried.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use crate::tag::{NANOS_PER_SEC, Nanos};

/// Events taken from the kernel at once.
pub(super) const EVENTS_MAX: usize = 64;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCall {
    EpollPwait2,
    Ppoll,
    EpollWait,
}

impl WaitCall {
    /// The best one that works here.
    ///
    /// # Errors
    /// None does; the error is that of the last.
    pub(super) fn probe(epoll: RawFd) -> io::Result<WaitCall> {
        let mut call = WaitCall::EpollPwait2;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1];
        loop {
            let error = match call.wait(epoll, &mut events, Nanos::ZERO) {
                Ok(_) => return Ok(call),
                Err(error) => error,
            };
            call = call.next().ok_or_else(|| {
                let what = "epoll_pwait2, ppoll and epoll_wait are all refused, so executors cannot wait for \
                    devices; allow one of them in the system call filter";
                io::Error::new(error.kind(), what)
            })?;
        }
    }

    /// The next best.
    pub(super) fn next(self) -> Option<WaitCall> {
        match self {
            WaitCall::EpollPwait2 => Some(WaitCall::Ppoll),
            WaitCall::Ppoll => Some(WaitCall::EpollWait),
            WaitCall::EpollWait => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            WaitCall::EpollPwait2 => "epoll_pwait2",
            WaitCall::Ppoll => "ppoll with epoll_wait",
            WaitCall::EpollWait => "epoll_wait",
        }
    }

    /// What it costs beside `epoll_pwait2`; `None`: nothing.
    pub fn cost(self) -> Option<&'static str> {
        match self {
            WaitCall::EpollPwait2 => None,
            WaitCall::Ppoll => Some("one more system call for each wake-up with data; precision is the same"),
            WaitCall::EpollWait => Some(
                "its timeout is in whole milliseconds, so the executor spins up to 1 ms before each release or \
                    deadline",
            ),
        }
    }

    /// Waits for so long; how many events there are. A signal ends it without any.
    ///
    /// # Errors
    /// The system refuses the call: nothing is known of the descriptors.
    #[inline]
    pub(super) fn wait(self, epoll: RawFd, events: &mut [libc::epoll_event], left: Nanos) -> io::Result<usize> {
        let timeout = libc::timespec {
            tv_sec: (left.0 / NANOS_PER_SEC) as libc::time_t,
            tv_nsec: (left.0 % NANOS_PER_SEC) as libc::c_long,
        };
        let n = match self {
            // SAFETY: the event array holds so many entries, the timespec lives through the call, and a null signal mask
            // is allowed (epoll_pwait2(2)).
            WaitCall::EpollPwait2 => unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    epoll,
                    events.as_mut_ptr(),
                    events.len() as libc::c_int,
                    &raw const timeout,
                    std::ptr::null::<libc::sigset_t>(),
                    0usize,
                )
            },
            WaitCall::Ppoll => {
                let mut fd = libc::pollfd { fd: epoll, events: libc::POLLIN, revents: 0 };
                // SAFETY: one entry and the timespec, which live through the call; a null signal mask is allowed.
                match unsafe { libc::ppoll(&raw mut fd, 1, &raw const timeout, std::ptr::null()) } {
                    1.. => epoll_wait(epoll, events, 0),
                    n => n.into(),
                }
            }
            WaitCall::EpollWait => {
                epoll_wait(epoll, events, libc::c_int::try_from(left.0 / 1_000_000).unwrap_or(libc::c_int::MAX))
            }
        };
        match usize::try_from(n) {
            Ok(n) => Ok(n),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            },
        }
    }
}

fn epoll_wait(epoll: RawFd, events: &mut [libc::epoll_event], timeout_ms: libc::c_int) -> libc::c_long {
    // SAFETY: the event array holds so many entries.
    unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as libc::c_int, timeout_ms) }.into()
}

/// Sleeps in place of a wait that no call does, for a moment.
pub(super) fn nap(left: Nanos) {
    std::thread::sleep(Duration::from_nanos(left.0).min(Duration::from_millis(1)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::monotonic_now;
    use crate::rt::{Conn, LinuxWorld, Ready, World};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    const CALLS: [WaitCall; 3] = [WaitCall::EpollPwait2, WaitCall::Ppoll, WaitCall::EpollWait];

    const NONE: RawFd = 1_000_000;

    #[test]
    fn by_each_call_what_is_there_is_told_at_once_and_nothing_after_its_time() {
        for call in CALLS {
            let mut world = LinuxWorld::new().unwrap();
            world.use_call_for_test(call);
            let (near, far) = UnixStream::pair().unwrap();
            let mut ready = Ready::with_capacity(4);
            assert!(world.attach(Conn(near.as_raw_fd()), 7));
            let until = monotonic_now() + Nanos::from_millis(30);
            while monotonic_now() < until {
                world.wait(until, &mut ready);
                assert!(ready.is_empty(), "{call:?}");
            }
            assert_eq!(world.send(Conn(far.as_raw_fd()), b"x"), crate::rt::Io::Done(1));
            let begun = monotonic_now();
            world.wait(begun + Nanos::from_millis(60_000), &mut ready);
            assert!(monotonic_now() - begun < Nanos::from_millis(30_000), "{call:?}");
            assert_eq!((ready.len(), ready.get(0), world.failed_waits()), (1, 7, 0), "{call:?}");
        }
    }

    #[test]
    fn a_wait_that_fails_is_counted_and_tried_by_the_next_call_and_without_any_it_takes_its_time() {
        for call in CALLS {
            // Of a descriptor that is none: every call refuses it, as a filter would.
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
            assert!(call.wait(NONE, &mut events, Nanos::from_millis(5)).is_err(), "{call:?}");
        }
        assert!(WaitCall::probe(NONE).is_err_and(|error| error.to_string().contains("system call filter")));
        let begun = monotonic_now();
        nap(Nanos::from_millis(50));
        assert!(monotonic_now() - begun >= Nanos::from_millis(1));
    }
}
