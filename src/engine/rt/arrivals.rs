//! Frames from a socket, many in one call, each with the kernel's word on when it came and how many were dropped before.

use std::mem::MaybeUninit;

use super::clock::monotonic_now;
use super::world::{Arrival, Conn, Io, Stamped};
use crate::tag::{NANOS_PER_SEC, Nanos};

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

/// As [`World::receive_frames`](super::world::World::receive_frames) says.
pub(super) fn receive<B: AsMut<[u8]>>(conn: Conn, room: &mut [Arrival<B>]) -> Io {
    let asked = room.len().min(FRAMES_AT_ONCE);
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; FRAMES_AT_ONCE];
    let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; FRAMES_AT_ONCE];
    // SAFETY: mmsghdr is a plain structure for which zeroes are a value.
    let mut messages: [libc::mmsghdr; FRAMES_AT_ONCE] = unsafe { std::mem::zeroed() };
    for (((arrival, control), part), message) in room.iter_mut().zip(&mut controls).zip(&mut parts).zip(&mut messages) {
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
        return Io::of_call(n as isize);
    }
    let clocks = Clocks::now();
    for (got, (arrival, message)) in room.iter_mut().zip(&messages[..n as usize]).enumerate() {
        // A peer that has closed gives nothing, for every message: the first of them is its end. An error behind
        // frames is kept by the kernel for the next call (recvmmsg(2)).
        match Io::of_call(message.msg_len as isize) {
            Io::Done(bytes) => arrival.stamped = stamped(Io::Done(bytes), &message.msg_hdr, &clocks),
            end if got == 0 => return end,
            _ => return Io::Done(got),
        }
    }
    Io::Done(n as usize)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::LinuxWorld;
    use crate::rt::World;
    use proptest::prelude::*;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::time::Duration;

    const TIMES: [(libc::c_int, libc::c_int); 2] =
        [(libc::SO_TIMESTAMPING, (1 << 3) | (1 << 4)), (libc::SO_RXQ_OVFL, 1)];

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
        if !options.is_empty() {
            // The kernel begins to stamp a moment after the first socket asks for it.
            std::thread::sleep(Duration::from_millis(200));
        }
        (socket.0.into(), socket.1.into())
    }

    #[test]
    fn a_frame_has_the_time_at_which_the_kernel_took_it() {
        let (near, far) = pair(&TIMES);
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

    fn send(socket: &OwnedFd, bytes: &[u8]) {
        assert_eq!(LinuxWorld::new().unwrap().send(Conn(socket.as_raw_fd()), bytes), Io::Done(bytes.len()));
    }

    fn room(frames: usize) -> Vec<Arrival<[u8; 16]>> {
        vec![Arrival::new([0; 16]); frames]
    }

    fn taken(arrivals: &[Arrival<[u8; 16]>]) -> Vec<Vec<u8>> {
        arrivals.iter().map(|arrival| arrival.frame[..arrival.stamped.bytes()].to_vec()).collect()
    }

    #[test]
    fn as_many_frames_come_as_there_are_and_as_there_is_room_for() {
        let (near, far) = pair(&TIMES);
        let conn = Conn(far.as_raw_fd());
        for (waiting, places) in [(0, 16), (1, 16), (15, 16), (16, 16), (17, 16), (5, 2), (40, 100)] {
            for n in 0..waiting {
                send(&near, &[n as u8; 5]);
            }
            let (mut room, mut all) = (room(places), Vec::new());
            while let Io::Done(n) = receive(conn, &mut room) {
                assert!(n > 0 && n <= places.min(FRAMES_AT_ONCE));
                assert!(n == places.min(FRAMES_AT_ONCE) || all.len() + n == waiting, "{n} of {waiting}");
                all.extend(taken(&room[..n]));
                if all.len() == waiting {
                    break;
                }
            }
            let wanted: Vec<Vec<u8>> = (0..waiting).map(|n| vec![n as u8; 5]).collect();
            assert_eq!(all, wanted, "{waiting} in {places} places");
            assert_eq!(receive(conn, &mut room), Io::WouldBlock);
        }
    }

    #[test]
    fn each_frame_of_a_call_has_its_own_time() {
        let (near, far) = pair(&TIMES);
        let mut spans = Vec::new();
        for n in 0..3u8 {
            let before = monotonic_now();
            send(&near, &[n; 3]);
            spans.push((before, monotonic_now()));
            std::thread::sleep(Duration::from_millis(60));
        }
        let mut room = room(16);
        assert_eq!(receive(Conn(far.as_raw_fd()), &mut room), Io::Done(3));
        let slack = Nanos::from_millis(20);
        for (arrival, (before, after)) in room.iter().zip(spans) {
            let at = arrival.stamped.at;
            assert!(at + slack >= before && at <= after + slack, "{before:?} {at:?} {after:?}");
        }
    }

    #[test]
    fn what_was_dropped_is_told_with_the_first_frame_that_came_after_it() {
        let (near, far) = pair(&[TIMES[0], TIMES[1], (libc::SO_RCVBUF, 1)]);
        let conn = Conn(far.as_raw_fd());
        let (mut sent, mut got, mut dropped) = (0u32, 0u32, 0);
        for _ in 0..3 {
            // The least that a buffer can be has room for some frames.
            for _ in 0..100 {
                send(&near, &sent.to_le_bytes());
                sent += 1;
            }
            let mut room = room(16);
            while let Io::Done(n) = receive(conn, &mut room) {
                for arrival in &room[..n] {
                    dropped = arrival.stamped.dropped;
                    assert_eq!(
                        taken(std::slice::from_ref(arrival)),
                        [(got + dropped).to_le_bytes()],
                        "none is missing untold"
                    );
                    got += 1;
                }
            }
        }
        assert!(dropped > 0 && got + dropped < sent, "{got} came, {dropped} of {sent} were told");
    }

    #[test]
    fn frames_before_the_end_of_a_connection_come_first() {
        for waiting in [0, 3, 16] {
            let mut fds = [0; 2];
            // SAFETY: the array has room for two descriptors.
            assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, fds.as_mut_ptr()) }, 0);
            // SAFETY: they were just made, and nobody else has them.
            let [near, far] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
            (0..waiting).for_each(|_| send(&near, b"frame"));
            drop(near);
            let mut room = room(16);
            if waiting > 0 {
                assert_eq!(receive(Conn(far.as_raw_fd()), &mut room), Io::Done(waiting));
            }
            assert_eq!(receive(Conn(far.as_raw_fd()), &mut room), Io::Closed);
            assert_eq!(receive(Conn(far.as_raw_fd()), &mut room), Io::Closed);
        }
    }

    #[test]
    fn neither_an_error_nor_the_frames_before_it_are_lost() {
        let (near, far) = pair(&TIMES);
        // What far sends to nobody comes back as an error.
        let address = near.try_clone().map(std::net::UdpSocket::from).unwrap().local_addr().unwrap();
        std::net::UdpSocket::from(far.try_clone().unwrap()).connect(address).unwrap();
        send(&near, b"frame");
        drop(near);
        send(&far, b"to nobody");
        let (mut room, conn) = (room(16), Conn(far.as_raw_fd()));
        let mut seen = vec![receive(conn, &mut room), receive(conn, &mut room), receive(conn, &mut room)];
        seen.sort_by_key(|io| matches!(io, Io::Closed));
        // Whichever the kernel tells first: neither is lost.
        assert_eq!(seen[2], Io::Closed);
        assert!(seen.contains(&Io::Done(1)) && seen.contains(&Io::WouldBlock), "{seen:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Called frame by frame and in batches of any size.
        #[test]
        fn batches_bring_what_single_calls_bring(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=16), 0..60), places in 1usize..40,
        ) {
            let (near, far) = pair(&[]);
            let (near_too, far_too) = pair(&[]);
            for frame in &frames {
                send(&near, frame);
                send(&near_too, frame);
            }
            let mut world = LinuxWorld::new().unwrap();
            let (mut batches, mut room) = (Vec::new(), room(places));
            while let Io::Done(n) = world.receive_frames(Conn(far.as_raw_fd()), &mut room) {
                batches.extend(taken(&room[..n]));
            }
            let (mut single, mut buffer) = (Vec::new(), [0; 16]);
            while let Io::Done(n) = world.receive(Conn(far_too.as_raw_fd()), &mut buffer) {
                single.push(buffer[..n].to_vec());
            }
            prop_assert_eq!(&batches, &single);
            prop_assert_eq!(&batches, &frames);
        }
    }
}
