//! What executors allocate and free: with this module a test's allocator watches.

#![allow(dead_code, reason = "each test program uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Counts what threads named fb-exec… do while it is armed, and what any thread does in [`watched`].
struct Watching;

#[global_allocator]
static ALLOCATOR: Watching = Watching;

pub static ARMED: AtomicBool = AtomicBool::new(false);
pub static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
pub static FREES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Not asked yet; of an executor or not. Constant and without a destructor, so it needs no allocation.
    static IS_EXECUTOR: Cell<Option<bool>> = const { Cell::new(None) };
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Whatever this does on its thread counts.
pub fn watched(work: impl FnOnce()) {
    IS_WATCHED.set(true);
    work();
    IS_WATCHED.set(false);
}

fn on_executor() -> bool {
    IS_WATCHED.get()
        || ARMED.load(Relaxed)
            && IS_EXECUTOR.with(|known| {
                known.get().unwrap_or_else(|| {
                    let mut name = [0u8; 16];
                    // SAFETY: PR_GET_NAME writes up to 16 bytes to the buffer.
                    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
                    let is = name.starts_with(b"fb-exec");
                    known.set(Some(is));
                    is
                })
            })
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if on_executor() {
            ALLOCATIONS.fetch_add(1, Relaxed);
        }
        // SAFETY: the caller's promises hold for the system's allocator.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller's promises are handed on as they are.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if on_executor() {
            FREES.fetch_add(1, Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    // SAFETY: the caller's promises are handed on as they are.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if on_executor() {
            ALLOCATIONS.fetch_add(1, Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: the caller's promises are handed on as they are.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if on_executor() {
            ALLOCATIONS.fetch_add(1, Relaxed);
            FREES.fetch_add(1, Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

pub fn the_detector_bites() {
    ARMED.store(true, Relaxed);
    let on = |name: &str| {
        let work = || drop(std::hint::black_box(Vec::<u8>::with_capacity(100)));
        std::thread::Builder::new().name(name.into()).spawn(work).unwrap().join().unwrap();
        (ALLOCATIONS.swap(0, Relaxed), FREES.swap(0, Relaxed))
    };
    assert_eq!(on("other"), (0, 0), "other threads may");
    let (allocations, frees) = on("fb-exec-x");
    assert!(allocations >= 1 && frees >= 1, "{allocations} and {frees} were seen");
    ARMED.store(false, Relaxed);
    watched(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(100))));
    assert_eq!((ALLOCATIONS.swap(0, Relaxed), FREES.swap(0, Relaxed)), (1, 1), "of this thread");
}
