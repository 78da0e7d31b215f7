//! Linux as an executor's world: CLOCK_MONOTONIC, epoll, non-blocking sockets and serial ports.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::arrivals;
use super::waiting::{self, EVENTS_MAX, WaitCall};
use super::world::{Arrival, Conn, Io, Ready, Stamped, World};
use crate::rt::monotonic_now;
use crate::tag::Nanos;

/// In place of a connection's token: someone wakes the executor.
const WOKEN: u64 = u64::MAX;

pub struct LinuxWorld {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    events: [libc::epoll_event; EVENTS_MAX],
    call: WaitCall,
    /// Since they were last taken away.
    failed_waits: u64,
}

impl LinuxWorld {
    /// # Errors
    /// When the system gives no epoll instance, or has no call by which one can be waited for.
    pub fn new() -> io::Result<LinuxWorld> {
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let wake = event_descriptor()?;
        // By its edge: each write wakes once, and nobody has to read it.
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: WOKEN };
        // SAFETY: `event` lives through the call.
        if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, wake.as_raw_fd(), &mut event) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let call = WaitCall::probe(epoll.as_raw_fd())?;
        let events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        Ok(LinuxWorld { epoll, wake: Arc::new(wake), events, call, failed_waits: 0 })
    }

    /// By which call it waits.
    pub fn wait_call(&self) -> WaitCall {
        self.call
    }

    /// Wakes whoever waits in this world.
    pub fn waker(&self) -> Waker {
        Waker(self.wake.clone())
    }

    #[cfg(test)]
    pub(super) fn use_call_for_test(&mut self, call: WaitCall) {
        self.call = call;
    }
}

fn event_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked below.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ends a wait in a [`LinuxWorld`] from another thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Of nobody's world: for a thread that waits by [`Waker::wait`].
    ///
    /// # Errors
    /// When the system gives no event descriptor.
    pub fn new() -> io::Result<Waker> {
        event_descriptor().map(|wake| Waker(Arc::new(wake)))
    }

    /// Waits until it is woken, or for so long.
    pub fn wait(&self, long: Nanos) {
        let mut fd = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // Rounded up: what is due has come then.
        let millis = libc::c_int::try_from(long.0.div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX);
        // SAFETY: one entry, which lives through the call.
        let ready = unsafe { libc::poll(&raw mut fd, 1, millis) };
        if ready < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            // Who can't wait must not spin.
            std::thread::sleep(Duration::from_nanos(long.0));
        }
        let mut count = [0; 8];
        // SAFETY: pointer and length are those of a live array. It does not block: nothing there is an error.
        let _ = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// The wait that is under way, or else the next, returns at once.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: pointer and length are those of a live array. It can't fail but by a count that nobody reaches.
        let _ = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl World for LinuxWorld {
    #[inline]
    fn now(&mut self) -> Nanos {
        monotonic_now()
    }

    #[inline]
    fn spin_until(&mut self, until: Nanos) -> Nanos {
        loop {
            let now = monotonic_now();
            if now >= until {
                return now;
            }
            std::hint::spin_loop();
        }
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        ready.clear();
        let left = until.since(monotonic_now());
        let events_max = EVENTS_MAX.min(ready.capacity());
        let n = match self.call.wait(self.epoll.as_raw_fd(), &mut self.events[..events_max], left) {
            Ok(n) => n,
            // Nothing was looked at, which is not the same as nothing being there: another call may do, and without
            // one this thread must not spin.
            Err(_) => {
                self.failed_waits += 1;
                match self.call.next() {
                    Some(next) => self.call = next,
                    None => waiting::nap(left),
                }
                0
            }
        };
        for event in self.events[..n].iter().filter(|event| { event.u64 } != WOKEN) {
            ready.push(event.u64 as u32);
        }
    }

    fn failed_waits(&mut self) -> u64 {
        std::mem::take(&mut self.failed_waits)
    }

    fn attach(&mut self, conn: Conn, token: u32) -> bool {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLRDHUP) as u32, u64: u64::from(token) };
        // SAFETY: `event` lives through the call; a bad descriptor is an error, not undefined.
        unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, conn.0, &mut event) == 0 }
    }

    fn detach(&mut self, conn: Conn) {
        // SAFETY: EPOLL_CTL_DEL ignores the event pointer; a bad descriptor is an error, not undefined.
        unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, conn.0, std::ptr::null_mut()) };
    }

    #[inline]
    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io {
        // SAFETY: pointer and length are those of a live slice.
        let n =
            unsafe { libc::send(conn.0, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        if n < 0 && is_no_socket() {
            // A serial port, opened without blocking.
            // SAFETY: pointer and length are those of a live slice.
            return Io::of_call(unsafe { libc::write(conn.0, bytes.as_ptr().cast(), bytes.len()) });
        }
        Io::of_call(n)
    }

    #[inline]
    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        // SAFETY: pointer and length are those of a live, writable slice.
        let n = unsafe { libc::recv(conn.0, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        if n < 0 && is_no_socket() {
            // SAFETY: pointer and length are those of a live, writable slice.
            return Io::of_call(unsafe { libc::read(conn.0, buffer.as_mut_ptr().cast(), buffer.len()) });
        }
        Io::of_call(n)
    }

    fn unsent(&mut self, conn: Conn) -> usize {
        let mut bytes: libc::c_int = 0;
        // Of TCP what the peer has not acknowledged (SIOCOUTQ, tcp(7)), of a serial port what has not left it
        // (tty_ioctl(2)): the same number.
        // SAFETY: the number lives through the call; a descriptor that has no such count is an error, not undefined.
        let told = unsafe { libc::ioctl(conn.0, libc::TIOCOUTQ, &raw mut bytes) } == 0;
        // A kernel that does not tell has not said that all is out: what may be left counts as left.
        if told { bytes.max(0) as usize } else { usize::MAX }
    }

    fn receive_stamped(&mut self, conn: Conn, buffer: &mut [u8]) -> Stamped {
        let mut room = [Arrival::new(buffer)];
        match self.receive_frames(conn, &mut room) {
            Io::Done(_) => room[0].stamped,
            io => Stamped { io, at: monotonic_now(), hardware: None, dropped: 0 },
        }
    }

    fn receive_frames<B: AsMut<[u8]>>(&mut self, conn: Conn, room: &mut [Arrival<B>]) -> Io {
        arrivals::receive(conn, room)
    }

    fn abort(&mut self, conn: Conn) {
        // SAFETY: all zero is a valid address of no family.
        let mut nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
        nobody.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
        let bytes = size_of::<libc::sockaddr>() as libc::socklen_t;
        // A TCP socket is reset and its queue is dropped at once (connect(2)); to close it would deliver the queue.
        // SAFETY: the address lives through the call; a descriptor that can't is an error, not undefined.
        if unsafe { libc::connect(conn.0, &raw const nobody, bytes) } != 0 && is_no_socket() {
            // SAFETY: no pointers.
            unsafe { libc::tcflush(conn.0, libc::TCOFLUSH) };
        }
    }

    fn set_rts(&mut self, conn: Conn, high: bool) {
        let rts = libc::TIOCM_RTS;
        let request = if high { libc::TIOCMBIS } else { libc::TIOCMBIC };
        // SAFETY: the flags live through the call; a descriptor without RTS is an error, not undefined.
        unsafe { libc::ioctl(conn.0, request, &raw const rts) };
    }
}

fn is_no_socket() -> bool {
    io::Error::last_os_error().raw_os_error() == Some(libc::ENOTSOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    #[test]
    fn what_an_aborted_connection_has_not_delivered_never_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let (mut world, conn) = (LinuxWorld::new().unwrap(), Conn(stream.as_raw_fd()));
        assert_eq!(world.unsent(conn), 0);
        let mut sent = 0;
        // The peer reads nothing: its buffer fills, then ours.
        while let Io::Done(n) = world.send(conn, &[7; 65_536]) {
            sent += n;
        }
        let unsent = world.unsent(conn);
        assert!(unsent > 0 && unsent < sent, "{unsent} of {sent}");
        world.abort(conn);
        drop(stream);
        let (mut arrived, mut buffer) = (0, [0; 65_536]);
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let end = loop {
            match peer.read(&mut buffer) {
                Ok(0) => break None,
                Ok(n) => arrived += n,
                Err(error) => break Some(error.kind()),
            }
        };
        assert_eq!(end, Some(ErrorKind::ConnectionReset));
        assert!(arrived < sent, "{arrived} of {sent} arrived");
    }

    #[test]
    fn a_wait_ends_when_it_is_woken_and_each_waking_counts_once() {
        let mut world = LinuxWorld::new().unwrap();
        let (waker, mut ready) = (world.waker(), Ready::with_capacity(4));
        let (second, long) = (Duration::from_secs(1), Nanos::from_millis(10_000));
        for _ in 0..3 {
            let start = Instant::now();
            let waking = std::thread::spawn({
                let waker = waker.clone();
                move || {
                    std::thread::sleep(Duration::from_millis(20));
                    waker.wake();
                }
            });
            world.wait(monotonic_now() + long, &mut ready);
            assert!(start.elapsed() < second && ready.is_empty());
            waking.join().unwrap();
        }
        // Before the wait: it returns at once, and the next one does not.
        waker.wake();
        world.wait(monotonic_now() + long, &mut ready);
        let start = Instant::now();
        world.wait(monotonic_now() + Nanos::from_millis(50), &mut ready);
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
}
