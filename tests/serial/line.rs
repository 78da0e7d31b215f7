//! Two pseudo terminals with a wire between them: the gateway's port and the device's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tempfile::TempDir;

pub struct Line {
    dir: TempDir,
    port: PathBuf,
    device: PathBuf,
    wire: Option<Wire>,
}

struct Wire {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Line {
    pub fn new() -> Line {
        let dir = TempDir::new().unwrap();
        let (port, device) = (dir.path().join("port"), dir.path().join("device"));
        let mut line = Line { dir, port, device, wire: None };
        line.plug();
        line
    }

    /// Where the gateway finds it: a link that goes when the line is pulled.
    pub fn port(&self) -> &Path {
        &self.port
    }

    pub fn device(&self) -> &Path {
        &self.device
    }

    /// As another program would have it.
    pub fn take(&self) -> File {
        let file = File::options().read(true).write(true).open(&self.port).unwrap();
        // SAFETY: no pointers; the descriptor is open.
        assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }, 0);
        file
    }

    pub fn plug(&mut self) {
        let (near, far) = (end(&self.port), end(&self.device));
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || carry(near, far, &told));
        self.wire = Some(Wire { stop, thread });
    }

    pub fn pull(&mut self) {
        for link in [&self.port, &self.device] {
            std::fs::remove_file(link).unwrap();
        }
        if let Some(wire) = self.wire.take() {
            wire.stop.store(true, Relaxed);
            wire.thread.join().unwrap();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        assert!(self.dir.path().exists());
        if let Some(wire) = self.wire.take() {
            wire.stop.store(true, Relaxed);
            let _ = wire.thread.join();
        }
    }
}

/// A pseudo terminal: our side, and the other held open so that it outlives who uses it.
fn end(link: &Path) -> (File, OwnedFd) {
    let pty = openpty(None, None).unwrap();
    for end in [&pty.master, &pty.slave] {
        // Or the programs that the test starts would hold it open.
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    let mut raw = tcgetattr(&pty.slave).unwrap();
    cfmakeraw(&mut raw);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &raw).unwrap();
    let name = std::fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd())).unwrap();
    std::os::unix::fs::symlink(name, link).unwrap();
    (File::from(pty.master), pty.slave)
}

fn carry(mut near: (File, OwnedFd), mut far: (File, OwnedFd), stop: &AtomicBool) {
    let mut buffer = [0u8; 4096];
    while !stop.load(Relaxed) {
        let mut ends = [PollFd::new(near.0.as_fd(), PollFlags::POLLIN), PollFd::new(far.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut ends, PollTimeout::from(20u8)).unwrap();
        let ready = ends.map(|end| end.revents().is_some_and(|events| events.contains(PollFlags::POLLIN)));
        if ready[0] {
            hand_over(&mut near.0, &mut far.0, &mut buffer);
        }
        if ready[1] {
            hand_over(&mut far.0, &mut near.0, &mut buffer);
        }
    }
}

fn hand_over(from: &mut File, to: &mut File, buffer: &mut [u8]) {
    if let Ok(n) = from.read(buffer) {
        to.write_all(&buffer[..n]).unwrap();
    }
}
