//! Linux as an executor's world: CLOCK_MONOTONIC, epoll, non-blocking sockets and serial ports.
//!
//! `epoll_pwait2` and not a timerfd: on PREEMPT_RT a timerfd's timer is served by a low-priority thread.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use super::world::{Arrival, Conn, Io, Ready, Stamped, World};
use crate::tag::{NANOS_PER_SEC, Nanos};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 64;
/// In place of a connection's token: someone wakes the executor.
const WOKEN: u64 = u64::MAX;

pub struct LinuxWorld {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    events: [libc::epoll_event; EVENTS_MAX],
}

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

impl LinuxWorld {
    pub fn new() -> io::Result<LinuxWorld> {
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and nobody else owns it.
        let wake = unsafe { OwnedFd::from_raw_fd(fd) };
        // By its edge: each write wakes once, and nobody has to read it.
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: WOKEN };
        // SAFETY: `event` lives through the call.
        if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, wake.as_raw_fd(), &mut event) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        Ok(LinuxWorld { epoll, wake: Arc::new(wake), events })
    }

    /// Wakes whoever waits in this world.
    pub fn waker(&self) -> Waker {
        Waker(self.wake.clone())
    }

    fn io(n: isize) -> Io {
        match n {
            0 => Io::Closed,
            1.. => Io::Done(n as usize),
            _ => match io::Error::last_os_error().raw_os_error() {
                // A CAN interface whose queue is full says ENOBUFS: it takes more once it has sent some.
                Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => Io::WouldBlock,
                _ => Io::Closed,
            },
        }
    }
}

/// Ends a wait in a [`LinuxWorld`] from another thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
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
        let left = until.since(monotonic_now()).0;
        let timeout = libc::timespec {
            tv_sec: (left / NANOS_PER_SEC) as libc::time_t,
            tv_nsec: (left % NANOS_PER_SEC) as libc::c_long,
        };
        let events_max = EVENTS_MAX.min(ready.capacity());
        // SAFETY: the event array holds `events_max` entries, the timespec lives through the call, and a null
        // signal mask is allowed (epoll_pwait2(2)).
        let n = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                events_max as libc::c_int,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        for event in self.events[..n.max(0) as usize].iter().filter(|event| { event.u64 } != WOKEN) {
            ready.push(event.u64 as u32);
        }
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
            return LinuxWorld::io(unsafe { libc::write(conn.0, bytes.as_ptr().cast(), bytes.len()) });
        }
        LinuxWorld::io(n)
    }

    #[inline]
    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        // SAFETY: pointer and length are those of a live, writable slice.
        let n = unsafe { libc::recv(conn.0, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        if n < 0 && is_no_socket() {
            // SAFETY: pointer and length are those of a live, writable slice.
            return LinuxWorld::io(unsafe { libc::read(conn.0, buffer.as_mut_ptr().cast(), buffer.len()) });
        }
        LinuxWorld::io(n)
    }

    fn unsent(&mut self, conn: Conn) -> usize {
        let mut bytes: libc::c_int = 0;
        // Of TCP what the peer has not acknowledged (SIOCOUTQ, tcp(7)), of a serial port what has not left it
        // (tty_ioctl(2)): the same number.
        // SAFETY: the number lives through the call; a descriptor that has no such count is an error, not undefined.
        let told = unsafe { libc::ioctl(conn.0, libc::TIOCOUTQ, &raw mut bytes) } == 0;
        if told { bytes.max(0) as usize } else { 0 }
    }

    fn receive_stamped(&mut self, conn: Conn, buffer: &mut [u8]) -> Stamped {
        let mut room = [Arrival::new(buffer)];
        match self.receive_frames(conn, &mut room) {
            Io::Done(_) => room[0].stamped,
            io => Stamped { io, at: monotonic_now(), hardware: None, dropped: 0 },
        }
    }

    fn receive_frames<B: AsMut<[u8]>>(&mut self, conn: Conn, room: &mut [Arrival<B>]) -> Io {
        let asked = room.len().min(FRAMES_AT_ONCE);
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; FRAMES_AT_ONCE];
        let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; FRAMES_AT_ONCE];
        // SAFETY: mmsghdr is a plain structure for which zeroes are a value.
        let mut messages: [libc::mmsghdr; FRAMES_AT_ONCE] = unsafe { std::mem::zeroed() };
        for (((arrival, control), part), message) in
            room.iter_mut().zip(&mut controls).zip(&mut parts).zip(&mut messages)
        {
            let bytes = arrival.frame.as_mut();
            *part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
        // SAFETY: as many messages are asked for as point to live, writable slices and to control bytes that live through
        // the call, each with its length; without a time-out.
        let n = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::recvmmsg(conn.0, messages.as_mut_ptr(), asked as u32, flags, std::ptr::null_mut())
        };
        if n <= 0 {
            return LinuxWorld::io(n as isize);
        }
        let clocks = Clocks::now();
        for (got, (arrival, message)) in room.iter_mut().zip(&messages[..n as usize]).enumerate() {
            // A peer that has closed gives nothing, for every message: the first of them is its end. An error behind
            // frames is kept by the kernel for the next call (recvmmsg(2)).
            match LinuxWorld::io(message.msg_len as isize) {
                Io::Done(bytes) => arrival.stamped = stamped(Io::Done(bytes), &message.msg_hdr, &clocks),
                end if got == 0 => return end,
                _ => return Io::Done(got),
            }
        }
        Io::Done(n as usize)
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

/// Frames taken from the kernel in one call: beyond some, the call itself costs next to nothing of each.
const FRAMES_AT_ONCE: usize = 16;
/// Room for the control messages of one frame: three times (SCM_TIMESTAMPING) and a count (SO_RXQ_OVFL).
const CONTROL_BYTES: usize = 128;

/// Aligned as control messages have to be.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// The same instant on both clocks.
struct Clocks {
    monotonic: Nanos,
    real: Nanos,
}

impl Clocks {
    fn now() -> Clocks {
        let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let monotonic = monotonic_now();
        // SAFETY: `ts` is a valid timespec to write to; CLOCK_REALTIME always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut ts) };
        Clocks { monotonic, real: nanos_of(&ts) }
    }

    /// A time of CLOCK_REALTIME as one of CLOCK_MONOTONIC: so long ago on both. Now where that cannot be, since the clock
    /// was set meanwhile.
    fn on_monotonic(&self, real: Nanos) -> Nanos {
        const AGE_MAX: Nanos = Nanos(10 * NANOS_PER_SEC);
        let age = self.real.since(real);
        if real == Nanos::ZERO || age > AGE_MAX { self.monotonic } else { self.monotonic - age }
    }
}

/// What the kernel says beside a frame.
fn stamped(io: Io, message: &libc::msghdr, clocks: &Clocks) -> Stamped {
    let mut stamped = Stamped { io, at: clocks.monotonic, hardware: None, dropped: 0 };
    // SAFETY: the kernel has filled the control bytes that the message points to, and their length; the macros walk
    // within it.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so it lies within the control bytes, of which nobody else has a reference.
        let (kind, data) = unsafe { ((*header).cmsg_type, libc::CMSG_DATA(header)) };
        match kind {
            libc::SO_TIMESTAMPING => {
                // SAFETY: SCM_TIMESTAMPING carries three timespecs; read without asking for their alignment.
                let times: [libc::timespec; 3] = unsafe { data.cast::<[libc::timespec; 3]>().read_unaligned() };
                stamped.at = clocks.on_monotonic(nanos_of(&times[0]));
                stamped.hardware = Some(nanos_of(&times[2])).filter(|time| *time > Nanos::ZERO);
            }
            libc::SO_RXQ_OVFL => {
                // SAFETY: SO_RXQ_OVFL carries 32 bits; read without asking for their alignment.
                stamped.dropped = unsafe { data.cast::<u32>().read_unaligned() };
            }
            _ => {}
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    stamped
}

fn nanos_of(time: &libc::timespec) -> Nanos {
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    Nanos(seconds.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
}

fn is_no_socket() -> bool {
    io::Error::last_os_error().raw_os_error() == Some(libc::ENOTSOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    /// A pair of sockets that keep the frames apart, as a CAN socket does.
    fn pair(options: &[(libc::c_int, libc::c_int)]) -> (OwnedFd, OwnedFd) {
        // Not of AF_UNIX: what goes through those is stamped when it is taken.
        let bind = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = (bind(), bind());
        socket.0.connect(socket.1.local_addr().unwrap()).unwrap();
        for (option, value) in options {
            let size = std::mem::size_of_val(value) as libc::socklen_t;
            // SAFETY: pointer and length are those of a live value.
            let set = unsafe {
                libc::setsockopt(socket.1.as_raw_fd(), libc::SOL_SOCKET, *option, (&raw const *value).cast(), size)
            };
            assert_eq!(set, 0);
        }
        // The kernel begins to stamp a moment after the first socket asks for it.
        std::thread::sleep(Duration::from_millis(200));
        (socket.0.into(), socket.1.into())
    }

    #[test]
    fn a_frame_has_the_time_at_which_the_kernel_took_it() {
        let (near, far) = pair(&[(libc::SO_TIMESTAMPING, (1 << 3) | (1 << 4)), (libc::SO_RXQ_OVFL, 1)]);
        let mut world = LinuxWorld::new().unwrap();
        let before = monotonic_now();
        assert_eq!(world.send(Conn(near.as_raw_fd()), b"frame"), Io::Done(5));
        let sent = monotonic_now();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let mut buffer = [0; 16];
        let frame = world.receive_stamped(Conn(far.as_raw_fd()), &mut buffer);
        assert_eq!((frame.io, &buffer[..5]), (Io::Done(5), &b"frame"[..]));
        // The two clocks are read one after the other: what lies between goes into the time.
        let slack = Nanos::from_millis(20);
        assert!(frame.at + slack >= before && frame.at <= sent + slack, "{before:?} {:?} {sent:?}", frame.at);
        assert_eq!((frame.hardware, frame.dropped), (None, 0));
        let nothing = world.receive_stamped(Conn(far.as_raw_fd()), &mut buffer);
        assert_eq!(nothing.io, Io::WouldBlock);
        drop(near);
    }

    #[test]
    fn a_time_that_cannot_be_is_that_of_the_call() {
        let clocks = Clocks { monotonic: Nanos(50 * NANOS_PER_SEC), real: Nanos(9_000 * NANOS_PER_SEC) };
        let now = clocks.monotonic;
        assert_eq!(clocks.on_monotonic(Nanos(8_999 * NANOS_PER_SEC)), Nanos(49 * NANOS_PER_SEC));
        assert_eq!(clocks.on_monotonic(Nanos::ZERO), now);
        assert_eq!(clocks.on_monotonic(Nanos(NANOS_PER_SEC)), now, "hours ago");
        assert_eq!(clocks.on_monotonic(Nanos(9_001 * NANOS_PER_SEC)), now, "yet to come");
    }

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
