//! Faults in the journal's map: a page that the disk does not give, or that lies beyond the end of a file that was cut.
//!
//! The kernel answers such an access with SIGBUS (SIGSEGV for a write to the map), which ends the process. Here the thread
//! goes on instead: the handler puts a page of its own in the place of the one that failed and takes note of it. What LMDB
//! then reads is an empty page; whoever called it looks at the note afterwards and gives the journal up, whatever LMDB
//! has made of it. Faults anywhere else are left to whoever had the signal before.
//!
//! The handler only reads atomics, calls mmap and writes into the page that it got. mmap is a plain system call without
//! a lock or memory of its own, though POSIX does not list it as safe in a handler.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use super::pages::{META_PAGES, fill_empty_leaf, fill_empty_meta};

/// Maps of one process: two for each journal that is open. A gateway has one journal; tests have many.
const MAPS_MAX: usize = 256;

/// A map. `start` is 0 while it is not in use, and is written last (sync point with the handler).
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    /// Of LMDB's pages; else of its table of readers.
    is_data: AtomicBool,
    /// The first fault: its distance from the start, and one more.
    fault: AtomicUsize,
}

static SLOTS: [Slot; MAPS_MAX] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        is_data: AtomicBool::new(false),
        fault: AtomicUsize::new(0),
    }
}; MAPS_MAX];

/// Who had the two signals before.
struct Before(UnsafeCell<[MaybeUninit<libc::sigaction>; 2]>);
// SAFETY: written once, by `install`, before the handler can run; only read afterwards.
unsafe impl Sync for Before {}
static BEFORE: Before = Before(UnsafeCell::new([const { MaybeUninit::uninit() }; 2]));
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// Guards the maps of a journal's files as long as it lives; to be dropped before they are unmapped.
#[derive(Debug, Default)]
pub struct MapGuard {
    slots: Vec<usize>,
}

impl MapGuard {
    /// Of the maps that this process has of `data` and `readers`.
    ///
    /// # Errors
    /// The maps cannot be listed, or the signals not be taken.
    pub fn new(data: &Path, readers: &Path) -> io::Result<MapGuard> {
        install()?;
        let mut guard = MapGuard::default();
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        for (path, is_data) in [(data, true), (readers, false)] {
            let path = path.canonicalize()?;
            let inode = std::fs::metadata(&path)?.ino();
            for line in maps.lines() {
                if let Some((start, end)) = range_of(line, &path, inode) {
                    guard.add(start, end, is_data);
                }
            }
        }
        Ok(guard)
    }

    fn add(&mut self, start: usize, end: usize, is_data: bool) {
        let free = SLOTS.iter().position(|slot| !slot.taken.swap(true, Acquire));
        // Without one the map is as it would be without all this.
        let Some(at) = free else { return };
        let slot = &SLOTS[at];
        slot.fault.store(0, Relaxed);
        slot.is_data.store(is_data, Relaxed);
        slot.end.store(end, Relaxed);
        slot.start.store(start, Release);
        self.slots.push(at);
    }

    /// The place in the map at which the first fault was, if there was one.
    pub fn fault(&self) -> Option<usize> {
        self.slots.iter().map(|at| SLOTS[*at].fault.load(Acquire)).find(|fault| *fault > 0).map(|fault| fault - 1)
    }
}

impl Drop for MapGuard {
    fn drop(&mut self) {
        for at in &self.slots {
            SLOTS[*at].start.store(0, Release);
            SLOTS[*at].taken.store(false, Release);
        }
    }
}

/// `start-end perms offset device inode path`. The device is not compared: some file systems tell another one here.
fn range_of(line: &str, path: &Path, inode: u64) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let found: u64 = words.nth(3)?.parse().ok()?;
    let at = line.find('/')?;
    let name = line.get(at..)?;
    let same = found == inode && name == path.to_str()?;
    same.then_some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: a plain question to the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        PAGE_BYTES.store(usize::try_from(page).unwrap_or(4096), Relaxed);
        for (at, signal) in [libc::SIGBUS, libc::SIGSEGV].into_iter().enumerate() {
            // SAFETY: `before` lies in a static that nobody else writes, and is written before the handler is set; the
            // handler has the signature that SA_SIGINFO asks for.
            let set = unsafe {
                let before = (*BEFORE.0.get())[at].as_mut_ptr();
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_fault as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                if libc::sigaction(signal, std::ptr::null(), before) != 0 {
                    -1
                } else {
                    libc::sigaction(signal, &action, std::ptr::null_mut())
                }
            };
            if set != 0 {
                return Err(io::Error::last_os_error().raw_os_error().unwrap_or(0));
            }
        }
        Ok(())
    });
    installed.map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo, whose address is meant for these two signals.
    let address = unsafe { (*info).si_addr() } as usize;
    let page_bytes = PAGE_BYTES.load(Relaxed);
    for slot in &SLOTS {
        let start = slot.start.load(Acquire);
        if start == 0 || address < start || address >= slot.end.load(Relaxed) {
            continue;
        }
        let page = address & !(page_bytes - 1);
        // SAFETY: the page lies within a map that LMDB holds (the guard is dropped before it is unmapped), and is
        // replaced as a whole, so that nothing but this map changes. errno is put back for the code that was interrupted.
        unsafe {
            let errno = *libc::__errno_location();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let mapped =
                libc::mmap(page as *mut libc::c_void, page_bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            *libc::__errno_location() = errno;
            if mapped == libc::MAP_FAILED {
                break;
            }
            if slot.is_data.load(Relaxed) {
                let bytes = std::slice::from_raw_parts_mut(page as *mut u8, page_bytes);
                if (page - start) / page_bytes < META_PAGES { fill_empty_meta(bytes) } else { fill_empty_leaf(bytes) }
            }
        }
        let _ = slot.fault.compare_exchange(0, address - start + 1, Release, Relaxed);
        return;
    }
    give_on(signal, info, context);
}

/// To whoever had the signal before; if that was nobody, the access is made again and ends the process.
fn give_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let at = usize::from(signal != libc::SIGBUS);
    // SAFETY: `install` has written both before it set this handler. What stands there is a handler of the kind that its
    // flags name, or one of the two constants.
    unsafe {
        let before = (*BEFORE.0.get())[at].assume_init_ref();
        match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::signal(signal, libc::SIG_DFL);
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte of a shared map, read so that the compiler cannot know it.
    fn read(at: *const u8) -> u8 {
        // SAFETY: the caller's map is there; that its file is not, is what is tried.
        unsafe { std::ptr::read_volatile(at) }
    }

    #[test]
    fn a_page_beyond_the_end_of_a_file_that_was_cut_is_a_note_and_no_signal() {
        use std::os::fd::AsRawFd;
        let dir = tempfile::tempdir().unwrap();
        let (data, readers) = (dir.path().join("data"), dir.path().join("readers"));
        std::fs::write(&data, vec![7u8; 16 * 4096]).unwrap();
        std::fs::write(&readers, vec![7u8; 4096]).unwrap();
        let file = std::fs::File::options().read(true).write(true).open(&data).unwrap();
        // SAFETY: a new map of a file that is open.
        let map = unsafe {
            libc::mmap(std::ptr::null_mut(), 16 * 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(map, libc::MAP_FAILED);
        let at = |page: usize| map.cast::<u8>().wrapping_add(page * 4096 + 100).cast_const();
        let guard = MapGuard::new(&data, &readers).unwrap();
        assert_eq!((read(at(15)), guard.fault()), (7, None));
        file.set_len(4 * 4096).unwrap();
        assert_eq!((read(at(3)), guard.fault()), (7, None));
        assert_eq!((read(at(9)), guard.fault()), (0, Some(9 * 4096 + 100)));
        assert_eq!(read(at(12)), 0);
        assert_eq!(guard.fault(), Some(9 * 4096 + 100), "the first one is told");
        drop(guard);
        // SAFETY: the map is this test's own, and nobody reads it any more.
        assert_eq!(unsafe { libc::munmap(map, 16 * 4096) }, 0);
    }
}
