//! SIGINT and SIGTERM, taken synchronously by the main thread.

use std::time::Duration;

/// Lets a command that only prints end quietly when nobody reads on (`fieldbeat check | head`).
pub fn end_with_the_reader() {
    // SAFETY: SIG_DFL is a valid disposition, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// The two signals that mean "stop cleanly". Blocked in every thread that is started afterwards.
pub struct StopSignals {
    set: libc::sigset_t,
}

impl StopSignals {
    /// To be called before any thread is started.
    pub fn block() -> StopSignals {
        // SAFETY: the set is initialised by sigemptyset before it is used, and lives through the calls.
        let set = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGINT);
            libc::sigaddset(&mut set, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            set
        };
        StopSignals { set }
    }

    /// Waits up to `timeout`; true when one of them came.
    pub fn wait(&self, timeout: Duration) -> bool {
        let ts = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
        };
        // SAFETY: set and timespec live through the call; no siginfo is wanted.
        let signal = unsafe { libc::sigtimedwait(&self.set, std::ptr::null_mut(), &ts) };
        let error = std::io::Error::last_os_error();
        if signal < 0 && !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
            // Refused, so that it took no time: whoever calls this in a loop must not spin.
            std::thread::sleep(timeout);
        }
        signal > 0
    }
}
