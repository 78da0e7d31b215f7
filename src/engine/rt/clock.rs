//! The clocks of this machine.

use crate::tag::{NANOS_PER_SEC, Nanos};

/// CLOCK_MONOTONIC.
#[inline]
pub fn monotonic_now() -> Nanos {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid timespec to write to; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    Nanos(ts.tv_sec as u64 * NANOS_PER_SEC + ts.tv_nsec as u64)
}

/// CPU time of the calling thread, CLOCK_THREAD_CPUTIME_ID.
pub fn thread_cpu_time() -> Nanos {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid timespec to write to; the clock always exists for the calling thread.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    Nanos(ts.tv_sec as u64 * NANOS_PER_SEC + ts.tv_nsec as u64)
}
