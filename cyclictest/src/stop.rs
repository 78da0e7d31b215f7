//! Ctrl-C and SIGTERM, handled by the main thread, so that it ends its children first.

use std::time::Duration;

/// The signals that mean "stop". Blocked in every thread that is started afterwards; programs start unblocked.
pub struct Stop {
    set: libc::sigset_t,
}

impl Stop {
    /// To be called before any thread is started.
    pub fn block() -> Stop {
        // SAFETY: the set is initialised by sigemptyset before it is used, and lives through the calls.
        let set = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            set
        };
        Stop { set }
    }

    /// Lets `time` pass; true when a signal came.
    pub fn pause(&self, time: Duration) -> bool {
        let ts =
            libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos() as libc::c_long };
        // SAFETY: set and timespec live through the call; no siginfo is wanted.
        unsafe { libc::sigtimedwait(&self.set, std::ptr::null_mut(), &ts) > 0 }
    }
}
