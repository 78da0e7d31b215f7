//! A raw socket of SocketCAN on one interface.

use std::fmt;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::net::if_::if_nametoindex;

use super::frame::Frame;

/// Why there is no CAN here, for a person.
#[derive(Debug)]
pub enum NoCan {
    /// The kernel does not know the protocol at all.
    Kernel,
    /// It does, but there is no such interface.
    Interface(String),
    /// The interface is of another kind.
    Kind(String),
    /// It takes no frames of CAN FD.
    Classic(String),
    /// What is made up for an interface without hardware.
    Hardware(String),
    System(io::Error),
}

impl fmt::Display for NoCan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoCan::Kernel => f.write_str(
                "this kernel has no CAN support (CONFIG_CAN, CONFIG_CAN_RAW), or the module is not loaded: try \
                 modprobe can-raw",
            ),
            NoCan::Interface(name) => write!(
                f,
                "there is no interface {name:?}; to make one without hardware: ip link add {name} type vcan && ip link \
                 set {name} mtu 72 up (needs the kernel's CONFIG_CAN_VCAN)"
            ),
            NoCan::Kind(name) => write!(f, "the interface {name:?} is not a CAN interface"),
            NoCan::Classic(name) => {
                write!(f, "the interface {name:?} does not support CAN FD frames: ip link set {name} mtu 72")
            }
            NoCan::Hardware(name) => write!(
                f,
                "the interface {name:?} has hardware: controller faults (error-frames, bus-off) are simulated on \
                 virtual interfaces only"
            ),
            NoCan::System(error) => write!(f, "CAN: {error}"),
        }
    }
}

impl std::error::Error for NoCan {}

impl From<io::Error> for NoCan {
    fn from(error: io::Error) -> NoCan {
        NoCan::System(error)
    }
}

/// Sends and receives without waiting.
#[derive(Debug)]
pub(crate) struct CanSocket(OwnedFd);

impl CanSocket {
    /// Opens an interface for CAN and CAN FD.
    pub(crate) fn open(interface: &str) -> Result<CanSocket, NoCan> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe {
            libc::socket(libc::PF_CAN, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, libc::CAN_RAW)
        };
        if fd < 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) => NoCan::Kernel,
                _ => error.into(),
            });
        }
        // SAFETY: the descriptor is new and nobody else's.
        let socket = CanSocket(unsafe { OwnedFd::from_raw_fd(fd) });
        let index = if_nametoindex(interface).map_err(|_| NoCan::Interface(interface.into()))?;
        let class = std::fs::read_to_string(Path::new("/sys/class/net").join(interface).join("type"));
        // ARPHRD_CAN.
        if class.is_ok_and(|class| class.trim() != "280") {
            return Err(NoCan::Kind(interface.into()));
        }
        if mtu(interface).is_some_and(|mtu| mtu < 72) {
            return Err(NoCan::Classic(interface.into()));
        }
        socket.allow_fd()?;
        // SAFETY: the structure is plain data, for which zeroes are a value.
        let mut address: libc::sockaddr_can = unsafe { zeroed() };
        address.can_family = libc::AF_CAN as libc::sa_family_t;
        address.can_ifindex = index as i32;
        // SAFETY: the address is of the length that is told, and lives through the call.
        let bound =
            unsafe { libc::bind(fd, (&raw const address).cast(), size_of::<libc::sockaddr_can>() as libc::socklen_t) };
        if bound < 0 { Err(io::Error::last_os_error().into()) } else { Ok(socket) }
    }

    fn allow_fd(&self) -> io::Result<()> {
        let on: libc::c_int = 1;
        // SAFETY: the option is of the length that is told, and lives through the call.
        let set = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_CAN_RAW,
                libc::CAN_RAW_FD_FRAMES,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// # Errors
    /// What the kernel says; `ENOBUFS` where the interface's queue is full, `ENETDOWN` while it is down.
    pub(crate) fn send(&self, frame: &Frame) -> io::Result<()> {
        nix::unistd::write(&self.0, &frame.to_wire()).map(drop).map_err(io::Error::from)
    }

    /// A frame that waits, if one does.
    pub(crate) fn receive(&self) -> Option<Frame> {
        let mut wire = [0; 72];
        let bytes = nix::unistd::read(&self.0, &mut wire).ok()?;
        Frame::from_wire(wire.get(..bytes)?)
    }
}

impl AsFd for CanSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn mtu(interface: &str) -> Option<u32> {
    std::fs::read_to_string(Path::new("/sys/class/net").join(interface).join("mtu")).ok()?.trim().parse().ok()
}

/// Whether an interface has no hardware: then nobody is hurt by errors that are made up.
pub(crate) fn is_virtual(interface: &str) -> bool {
    std::fs::canonicalize(Path::new("/sys/class/net").join(interface))
        .is_ok_and(|path| path.starts_with("/sys/devices/virtual"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_cannot_be_is_told_with_what_to_do() {
        let fault = CanSocket::open("nocan9").unwrap_err();
        let text = fault.to_string();
        match fault {
            NoCan::Kernel => assert!(text.contains("CONFIG_CAN_RAW"), "{text}"),
            NoCan::Interface(_) => assert!(text.contains("ip link add nocan9 type vcan"), "{text}"),
            other => panic!("{other}"),
        }
    }
}
