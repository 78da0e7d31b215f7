//! The thread that serves every device: one epoll, no request allocates.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::tag::{NANOS_PER_SEC, Nanos};

use super::connection::{Closed, Connection, Device};
use super::device::DeviceMemory;
use super::fault::{Fault, Faulty, ScheduledFault};
use super::protocol::UnknownUnit;
use super::{PlantConfig, Shared};

/// Connections of the whole plant; more are closed at once.
const CONNECTIONS_MAX: usize = 1024;
const BACKLOG: i32 = 64;
const EVENTS: usize = 64;

const WAKE: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
/// Marks the token of a connection: generation above, index below.
const CONNECTION: u64 = 1 << 62;

struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    delay: Nanos,
    fault: Option<Fault>,
}

struct Slot {
    /// Tells a connection from the one that had the slot before, within one batch of events.
    generation: u32,
    interest: EpollFlags,
    connection: Option<Connection>,
}

pub(super) struct Server {
    epoll: Epoll,
    timer: TimerFd,
    /// What the timer is set to.
    armed: Nanos,
    devices: Vec<Listening>,
    slots: Vec<Slot>,
    faults: Vec<ScheduledFault>,
    /// When the schedule changes something next, CLOCK_MONOTONIC.
    next_change: Nanos,
    start: Nanos,
    unknown_unit: UnknownUnit,
    cpu: Option<usize>,
    memories: Arc<Vec<DeviceMemory>>,
    shared: Arc<Shared>,
}

impl Server {
    pub(super) fn bind(
        config: &PlantConfig,
        start: Nanos,
        memories: Arc<Vec<DeviceMemory>>,
        shared: Arc<Shared>,
    ) -> io::Result<Server> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        epoll.add(&shared.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let mut devices = Vec::with_capacity(config.devices);
        for device in 0..config.devices {
            let port = match config.base_port {
                None => 0,
                Some(base) => u16::try_from(usize::from(base) + device).map_err(|_| {
                    let why = format!("port of device {device}: {base} + {device} is above 65535");
                    io::Error::new(ErrorKind::InvalidInput, why)
                })?,
            };
            let listener = listen(port)
                .map_err(|e| io::Error::new(e.kind(), format!("device {device} on 127.0.0.1:{port}: {e}")))?;
            epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, device as u64))?;
            let address = listener.local_addr()?;
            let delay = config.reply_delays.get(device).copied().unwrap_or_default();
            devices.push(Listening { listener, address, delay, fault: None });
        }
        Ok(Server {
            epoll,
            timer,
            armed: Nanos::NEVER,
            devices,
            slots: Vec::new(),
            faults: config.faults.clone(),
            next_change: Nanos::ZERO,
            start,
            unknown_unit: config.unknown_unit,
            cpu: config.cpu,
            memories,
            shared,
        })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.devices.iter().map(|d| d.address).collect()
    }

    /// Pins the calling thread as configured.
    pub(super) fn pin(&self) -> io::Result<()> {
        let Some(cpu) = self.cpu else { return Ok(()) };
        let mut set = nix::sched::CpuSet::new();
        set.set(cpu)
            .and_then(|()| nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set))
            .map_err(|e| io::Error::new(io::Error::from(e).kind(), format!("pinning the plant to CPU {cpu}: {e}")))
    }

    /// Serves until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.shared.stop.load(Relaxed) {
            self.arm();
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
            };
            let mut woken = false;
            let mut timed = false;
            for event in &events[..count] {
                match event.data() {
                    WAKE => woken = true,
                    TIMER => timed = true,
                    token if token & CONNECTION != 0 => self.serve(token, event.events()),
                    device => self.accept(device as usize),
                }
            }
            if woken {
                let _ = self.shared.wake.read();
            }
            if timed {
                self.disarm();
            }
            if woken || super::now() >= self.next_change {
                self.change_faults();
            }
            if timed {
                self.send_due();
            }
        }
    }

    /// Sets the timer to the next reply or change that waits for its time.
    fn arm(&mut self) {
        let replies = self.slots.iter().filter_map(|s| s.connection.as_ref()).map(Connection::next_due);
        let next = replies.fold(self.next_change, Nanos::min);
        if next >= self.armed || next == Nanos::NEVER {
            return;
        }
        self.armed = next;
        // Zero would switch the timer off.
        let at = next.0.max(1);
        let time = TimeSpec::new((at / NANOS_PER_SEC) as i64, (at % NANOS_PER_SEC) as i64);
        let _ = self.timer.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
    }

    fn disarm(&mut self) {
        self.armed = Nanos::NEVER;
        // An expired one-shot timer stays readable until it is set again; unset takes the event back.
        let _ = self.timer.unset();
    }

    fn accept(&mut self, device: usize) {
        loop {
            let socket = match self.devices[device].listener.accept() {
                Ok((socket, _)) => socket,
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Out of descriptors, or refusing; the event comes again, and must not come at full speed.
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    return;
                }
            };
            let open = self.slots.iter().filter(|s| s.connection.is_some()).count();
            if open >= CONNECTIONS_MAX || socket.set_nonblocking(true).is_err() || socket.set_nodelay(true).is_err() {
                continue;
            }
            let index = self.slots.iter().position(|s| s.connection.is_none()).unwrap_or_else(|| {
                self.slots.push(Slot { generation: 0, interest: EpollFlags::empty(), connection: None });
                self.slots.len() - 1
            });
            let slot = &mut self.slots[index];
            slot.generation = (slot.generation + 1) & 0x1FFF_FFFF;
            slot.interest = EpollFlags::EPOLLIN;
            let token = token(slot.generation, index);
            if self.epoll.add(&socket, EpollEvent::new(slot.interest, token)).is_ok() {
                slot.connection = Some(Connection::new(socket, device));
                let counters = &self.shared.counters[device];
                counters.connections.fetch_add(1, Relaxed);
                counters.open.fetch_add(1, Relaxed);
            }
        }
    }

    fn serve(&mut self, token: u64, events: EpollFlags) {
        let index = (token & 0xFFFF_FFFF) as usize;
        if token != self::token(self.slots[index].generation, index) {
            return;
        }
        self.step(index, events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR));
    }

    fn step(&mut self, index: usize, readable: bool) {
        let slot = &mut self.slots[index];
        let Some(connection) = slot.connection.as_mut() else { return };
        let listening = &self.devices[connection.device];
        let device = Device {
            memory: &self.memories[connection.device],
            counters: &self.shared.counters[connection.device],
            fault: listening.fault,
            delay: listening.delay,
            unknown_unit: self.unknown_unit,
            start: self.start,
        };
        let result = if readable { connection.readable(&device) } else { connection.advance(&device) };
        if let Err(Closed) = result {
            return self.close(index);
        }
        let mut interest = EpollFlags::empty();
        interest.set(EpollFlags::EPOLLIN, connection.wants_read());
        interest.set(EpollFlags::EPOLLOUT, connection.wants_write());
        if interest != slot.interest {
            slot.interest = interest;
            let mut event = EpollEvent::new(interest, token(slot.generation, index));
            if self.epoll.modify(connection.socket(), &mut event).is_err() {
                self.close(index);
            }
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(connection) = self.slots[index].connection.take() {
            self.shared.counters[connection.device].open.fetch_sub(1, Relaxed);
        }
    }

    fn send_due(&mut self) {
        let now = super::now();
        for index in 0..self.slots.len() {
            if self.slots[index].connection.as_ref().is_some_and(|c| c.next_due() <= now) {
                self.step(index, false);
            }
        }
    }

    /// Brings every device to the fault that holds now.
    fn change_faults(&mut self) {
        let now = super::now();
        let elapsed = now.since(self.start);
        for device in 0..self.devices.len() {
            let scheduled = ScheduledFault::now(&self.faults, Faulty::Device(Some(device)), elapsed);
            let fault = self.shared.manual[device].get().or(scheduled);
            let before = std::mem::replace(&mut self.devices[device].fault, fault);
            if before == fault {
                continue;
            }
            let listener = &self.devices[device].listener;
            if fault == Some(Fault::Refuse) {
                // A listener that is shut down refuses connections and keeps its port.
                let _ = socket::shutdown(listener.as_raw_fd(), socket::Shutdown::Both);
                let _ = self.epoll.delete(listener);
                self.close_all(device);
            } else if before == Some(Fault::Refuse)
                && Backlog::new(BACKLOG).is_ok_and(|b| socket::listen(listener, b).is_ok())
            {
                let _ = self.epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, device as u64));
            }
            // A reply that trickled goes on at once when the fault ends.
            for index in 0..self.slots.len() {
                if self.slots[index]
                    .connection
                    .as_ref()
                    .is_some_and(|c| c.device == device && c.next_due() != Nanos::NEVER)
                {
                    self.step(index, false);
                }
            }
        }
        let changes = self.faults.iter().flat_map(|f| [f.from, f.until]);
        let next = changes.filter(|t| *t > elapsed && *t != Nanos::NEVER).min();
        self.next_change = next.map_or(Nanos::NEVER, |t| self.start + t);
    }

    fn close_all(&mut self, device: usize) {
        for index in 0..self.slots.len() {
            if self.slots[index].connection.as_ref().is_some_and(|c| c.device == device) {
                self.shared.counters[device].faults.fetch_add(1, Relaxed);
                self.close(index);
            }
        }
    }
}

fn token(generation: u32, index: usize) -> u64 {
    CONNECTION | u64::from(generation) << 32 | index as u64
}

/// A listener on loopback that keeps its port when it is shut down: Linux gives a port back on shutdown when it
/// chose it, so a free port is found first and then asked for by its number, while the finder still holds it.
fn listen(port: u16) -> io::Result<TcpListener> {
    let bound = |port: u16| -> io::Result<_> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        socket::bind(fd.as_raw_fd(), &SockaddrIn::from(address))?;
        Ok(fd)
    };
    let mut port = port;
    let mut finder = None;
    if port == 0 {
        let found = bound(0)?;
        port = socket::getsockname::<SockaddrIn>(found.as_raw_fd())?.port();
        finder = Some(found);
    }
    let fd = bound(port)?;
    drop(finder);
    socket::listen(&fd, Backlog::new(BACKLOG)?)?;
    // SAFETY: the descriptor is a bound, listening TCP socket that nobody else owns.
    Ok(unsafe { TcpListener::from_raw_fd(fd.into_raw_fd()) })
}
