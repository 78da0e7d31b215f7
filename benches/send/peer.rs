//! The other end of every connection: answers each request, and notes when the kernel took it off the wire.

use std::io::{IoSliceMut, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::unistd::Pid;

/// A read of 50 float32 by Modbus TCP, and its reply.
pub const REQUEST_BYTES: usize = 12;
pub const REPLY_BYTES: usize = 209;

/// When the last request of each connection arrived, CLOCK_REALTIME in nanoseconds.
pub type Arrivals = Arc<[AtomicU64]>;

/// Serves `connections` on the first CPU for as long as the process lives.
pub fn serve(connections: Vec<TcpStream>) -> Arrivals {
    let arrivals: Arrivals = connections.iter().map(|_| AtomicU64::new(0)).collect();
    let noted = arrivals.clone();
    thread::spawn(move || {
        let mut first = CpuSet::new();
        first.set(0).expect("a CPU");
        sched_setaffinity(Pid::from_raw(0), &first).expect("pinned");
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
        for (at, connection) in connections.iter().enumerate() {
            setsockopt(&connection.as_fd(), sockopt::ReceiveTimestampns, &true).expect("timestamps");
            epoll.add(connection, EpollEvent::new(EpollFlags::EPOLLIN, at as u64)).expect("watched");
        }
        let reply = [7; REPLY_BYTES];
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
            for event in &events[..count] {
                let at = event.data() as usize;
                let mut connection = &connections[at];
                let Some(arrived) = take(connection) else { return };
                noted[at].store(arrived, Ordering::Release);
                connection.write_all(&reply).expect("a reply fits");
            }
        }
    });
    arrivals
}

/// Takes one request and tells when it arrived. `None`: the process ends.
fn take(connection: &TcpStream) -> Option<u64> {
    let mut request = [0; 2 * REQUEST_BYTES];
    let mut slices = [IoSliceMut::new(&mut request)];
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let message = recvmsg::<()>(connection.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty()).ok()?;
    if message.bytes == 0 {
        return None;
    }
    assert_eq!(message.bytes, REQUEST_BYTES, "one request at a time");
    message.cmsgs().expect("room for the time").find_map(|told| match told {
        ControlMessageOwned::ScmTimestampns(at) => Some(at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64),
        _ => None,
    })
}
