//! The user-space stack of another thread: a signal makes the thread itself write down its return addresses.
//!
//! The handler allocates nothing, takes no lock and writes into memory that is there before; names are found
//! afterwards, by who asked. A thread that is not scheduled never gets to its handler: the wait is bounded.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Deeper frames are left out: ours are a dozen deep.
const FRAMES_MAX: usize = 64;
/// Beside the ones that the C library and debuggers use.
const SIGNAL_OFFSET: c_int = 6;
/// The standard library's function around a thread's own.
const THREAD_BEGIN: &str = "__rust_begin_short_backtrace";
/// Between looks whether the thread has written.
const POLL: Duration = Duration::from_millis(2);

/// The thread that is to write; 0: none.
static WANTED: AtomicI32 = AtomicI32::new(0);
/// Frames written and one more; 0: not yet.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);
static FRAMES: [AtomicUsize; FRAMES_MAX] = [const { AtomicUsize::new(0) }; FRAMES_MAX];

fn signal() -> c_int {
    libc::SIGRTMIN() + SIGNAL_OFFSET
}

/// Installs the handler and makes the unwinder load what it needs, since it may not do so in the handler.
///
/// # Errors
/// The system refuses the handler.
pub fn prepare() -> io::Result<()> {
    // SAFETY: the closure only counts; nobody else unwinds through this process's tables at the same time but
    // the standard library, which takes care of itself.
    unsafe { backtrace::trace_unsynchronized(|_| true) };
    // SAFETY: a zeroed sigaction is valid; the handler has the signature that SA_SIGINFO asks for and does only
    // what is allowed in a handler.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = write_down as *const () as usize;
        // Not on the alternate stack: it may be too small for the unwinder.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signal(), &action, std::ptr::null_mut())
    };
    if installed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn write_down(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: errno is the thread's own; gettid has no arguments.
    let (errno, thread) = unsafe { (*libc::__errno_location(), libc::gettid()) };
    if WANTED.load(Ordering::Acquire) == thread && WRITTEN.load(Ordering::Relaxed) == 0 {
        let interrupted = interrupted_at(context);
        let mut count = 0;
        let mut reached = interrupted.is_none();
        // SAFETY: only this thread unwinds here; the tables were loaded by `prepare`.
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                let address = frame.ip() as usize;
                // What lies above is the handler's own.
                reached |= Some(address) == interrupted;
                if reached {
                    FRAMES[count].store(address, Ordering::Relaxed);
                    count += 1;
                }
                count < FRAMES_MAX
            });
        }
        if count == 0
            && let Some(address) = interrupted
        {
            FRAMES[0].store(address, Ordering::Relaxed);
            count = 1;
        }
        WRITTEN.store(count + 1, Ordering::Release);
    }
    // SAFETY: errno is the thread's own.
    unsafe { *libc::__errno_location() = errno };
}

/// Where the thread was when the signal came.
fn interrupted_at(context: *mut c_void) -> Option<usize> {
    let context = context.cast::<libc::ucontext_t>();
    if context.is_null() {
        return None;
    }
    // SAFETY: the kernel hands a handler with SA_SIGINFO a valid ucontext_t.
    #[cfg(target_arch = "x86_64")]
    return Some(unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] } as usize);
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    return Some(unsafe { (*context).uc_mcontext.pc } as usize);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

/// The return addresses of a thread of this process, the innermost first; `None` when the thread did not take
/// the signal in time. One caller at a time: the watchdog.
pub fn addresses(thread: libc::pid_t, patience: Duration) -> Option<Vec<usize>> {
    WRITTEN.store(0, Ordering::Relaxed);
    WANTED.store(thread, Ordering::Release);
    // SAFETY: tgkill has no pointers; a thread that is gone is an error.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal()) == 0 };
    let end = Instant::now() + patience;
    let mut written = 0;
    while sent && written == 0 && Instant::now() < end {
        std::thread::sleep(POLL);
        written = WRITTEN.load(Ordering::Acquire);
    }
    WANTED.store(0, Ordering::Release);
    let count = written.checked_sub(1)?;
    Some(FRAMES[..count].iter().map(|frame| frame.load(Ordering::Relaxed)).collect())
}

/// Functions, files and lines of such addresses, as far as the program was built with them. Allocates, and reads
/// the program's file. Ends where a thread's own code begins.
pub fn names(addresses: &[usize]) -> Vec<String> {
    let mut lines = Vec::new();
    for address in addresses.iter().filter(|address| **address != 0) {
        let mut known = false;
        let mut begins_here = false;
        backtrace::resolve(*address as *mut c_void, |symbol| {
            let Some(name) = symbol.name() else { return };
            known = true;
            begins_here |= name.as_str().is_some_and(|name| name.contains(THREAD_BEGIN));
            let place = match (symbol.filename(), symbol.lineno()) {
                (Some(file), Some(line)) => format!(" at {}:{line}", file.display()),
                _ => String::new(),
            };
            lines.push(format!("{address:#x} {name:#}{place}"));
        });
        if !known {
            lines.push(format!("{address:#x}"));
        }
        if begins_here {
            break;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::*;

    /// There is one place to write into.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[inline(never)]
    fn stands_still_here(stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        std::hint::black_box(stop);
    }

    #[inline(never)]
    fn waits_for_the_kernel_here(stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(1));
        }
        std::hint::black_box(stop);
    }

    fn stack_of(body: fn(&AtomicBool)) -> String {
        let _one = ONE_AT_A_TIME.lock().unwrap();
        prepare().unwrap();
        let stop = AtomicBool::new(false);
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: no arguments.
                tell.send(unsafe { libc::gettid() }).unwrap();
                body(&stop);
            });
            let thread = told.recv().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            let frames = addresses(thread, Duration::from_secs(5));
            stop.store(true, Ordering::Relaxed);
            names(&frames.expect("the thread takes the signal")).join("\n")
        })
    }

    #[test]
    fn a_thread_that_spins_shows_where() {
        let stack = stack_of(stands_still_here);
        // Before it stands what was inlined into it.
        assert!(stack.lines().take(3).any(|line| line.contains("stands_still_here at ")), "{stack}");
        assert!(!stack.contains("write_down"), "the handler shows itself:\n{stack}");
    }

    #[test]
    fn a_thread_that_waits_in_the_kernel_shows_where() {
        let stack = stack_of(waits_for_the_kernel_here);
        assert!(stack.contains("nanosleep") && stack.contains("waits_for_the_kernel_here"), "{stack}");
    }

    #[test]
    fn a_thread_that_is_gone_has_no_stack() {
        let _one = ONE_AT_A_TIME.lock().unwrap();
        prepare().unwrap();
        let begun = Instant::now();
        assert_eq!(addresses(i32::MAX - 1, Duration::from_secs(5)), None);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
