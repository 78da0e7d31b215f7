//! Opening a CAN interface: a raw socket with its filters, bound, not blocking. An error says what to do.
//!
//! By system calls and not by a library for CAN: besides `socket` and `bind` these are half a dozen options, of which
//! time stamps and the count of dropped frames are in none.

use std::ffi::CString;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::limits::CAN_RECEIVE_BUFFER_BYTES;
use crate::plan::CanSocket;

/// linux/if_arp.h.
const ARPHRD_CAN: u16 = 280;
/// linux/net_tstamp.h.
const SOF_TIMESTAMPING_RX_HARDWARE: libc::c_uint = 1 << 2;
const SOF_TIMESTAMPING_RX_SOFTWARE: libc::c_uint = 1 << 3;
const SOF_TIMESTAMPING_SOFTWARE: libc::c_uint = 1 << 4;
const SOF_TIMESTAMPING_RAW_HARDWARE: libc::c_uint = 1 << 6;
const HWTSTAMP_FILTER_ALL: libc::c_int = 1;
const SIOCSHWTSTAMP: libc::Ioctl = 0x89B0;
/// What an interface can carry: sizeof(struct canfd_frame).
const CANFD_MTU: libc::c_int = 72;
/// Every class of error frames.
const CAN_ERR_MASK: libc::c_uint = 0x1FFF_FFFF;

/// `struct hwtstamp_config` of linux/net_tstamp.h.
#[repr(C)]
struct HardwareTimeConfig {
    flags: libc::c_int,
    tx_type: libc::c_int,
    rx_filter: libc::c_int,
}

/// Opens an interface; the descriptor does not block.
pub(super) fn open(wanted: &CanSocket) -> Result<OwnedFd, String> {
    let name = &*wanted.interface;
    // SAFETY: no pointers; the result is checked below.
    let fd =
        unsafe { libc::socket(libc::PF_CAN, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, libc::CAN_RAW) };
    if fd < 0 {
        return Err(no_socket(name, &io::Error::last_os_error()));
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let index = interface_index(fd, wanted)?;
    set_up(fd, wanted).map_err(|(what, error)| format!("CAN interface {name}: the kernel refuses {what} ({error})"))?;
    if wanted.hardware_time {
        ask_for_hardware_time(fd, name);
    }
    // SAFETY: sockaddr_can is a plain structure for which zeroes are a value.
    let mut address: libc::sockaddr_can = unsafe { std::mem::zeroed() };
    address.can_family = libc::AF_CAN as libc::sa_family_t;
    address.can_ifindex = index;
    // SAFETY: the address lives through the call, and its size is its own.
    let bound = unsafe { libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as libc::socklen_t) };
    if bound < 0 {
        return Err(format!("CAN interface {name} cannot be bound: {}", io::Error::last_os_error()));
    }
    Ok(socket)
}

fn no_socket(name: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) => {
            format!(
                "CAN interface {name}: this kernel has no CAN support; load its modules (modprobe can-raw), or \
                build them"
            )
        }
        Some(libc::EPERM | libc::EACCES) => {
            format!(
                "CAN interface {name}: no permission for a raw CAN socket ({error}); see RestrictAddressFamilies of the unit"
            )
        }
        _ => format!("CAN interface {name}: {error}"),
    }
}

/// A request of netdevice(7) about an interface.
fn ask(fd: RawFd, request: libc::Ioctl, name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is a plain structure for which zeroes are a value.
    let mut about: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= about.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in about.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the structure lives through the call and is the one that these requests fill.
    if unsafe { libc::ioctl(fd, request, &raw mut about) } < 0 { Err(io::Error::last_os_error()) } else { Ok(about) }
}

/// The interface's number, once it is one that can be used.
fn interface_index(fd: RawFd, wanted: &CanSocket) -> Result<libc::c_int, String> {
    let name = &*wanted.interface;
    let missing = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => {
            format!(
                "CAN interface {name} does not exist; is the adapter plugged in? ip -details link show type can \
                 lists the interfaces"
            )
        }
        _ => format!("CAN interface {name}: {error}"),
    };
    let index = CString::new(name).ok().map(|name| {
        // SAFETY: the name ends with NUL and lives through the call.
        unsafe { libc::if_nametoindex(name.as_ptr()) }
    });
    let index = match index {
        Some(index @ 1..) => index as libc::c_int,
        _ => return Err(missing(io::Error::from_raw_os_error(libc::ENODEV))),
    };
    let hardware = ask(fd, libc::SIOCGIFHWADDR, name).map_err(missing)?;
    // SAFETY: SIOCGIFHWADDR fills this member.
    if unsafe { hardware.ifr_ifru.ifru_hwaddr.sa_family } != ARPHRD_CAN {
        return Err(format!("{name} is not a CAN interface; check \"interface\" of the link"));
    }
    let flags = ask(fd, libc::SIOCGIFFLAGS, name).map_err(missing)?;
    // SAFETY: SIOCGIFFLAGS fills this member.
    if i32::from(unsafe { flags.ifr_ifru.ifru_flags }) & libc::IFF_UP == 0 {
        return Err(format!("CAN interface {name} is down; set it up: ip link set {name} up type can bitrate 500000"));
    }
    let mtu = ask(fd, libc::SIOCGIFMTU, name).map_err(missing)?;
    // SAFETY: SIOCGIFMTU fills this member.
    if wanted.fd && unsafe { mtu.ifr_ifru.ifru_mtu } < CANFD_MTU {
        return Err(format!(
            "CAN interface {name} is not set up for CAN FD; set it up with a data bitrate (ip link set {name} type can \
             bitrate 500000 dbitrate 2000000 fd on), or remove \"fd\""
        ));
    }
    Ok(index)
}

fn set_up(fd: RawFd, wanted: &CanSocket) -> Result<(), (&'static str, io::Error)> {
    let on: libc::c_int = 1;
    option(fd, libc::SOL_CAN_RAW, libc::CAN_RAW_FILTER, &wanted.filters[..]).map_err(|e| ("the filters", e))?;
    option(fd, libc::SOL_CAN_RAW, libc::CAN_RAW_ERR_FILTER, &CAN_ERR_MASK).map_err(|e| ("error frames", e))?;
    if wanted.fd {
        option(fd, libc::SOL_CAN_RAW, libc::CAN_RAW_FD_FRAMES, &on).map_err(|e| ("CAN FD", e))?;
    }
    if wanted.hears_itself {
        option(fd, libc::SOL_CAN_RAW, libc::CAN_RAW_RECV_OWN_MSGS, &on).map_err(|e| ("its own frames", e))?;
    }
    let software = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    let hardware = SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE;
    let stamps = software | if wanted.hardware_time { hardware } else { 0 };
    option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &stamps).map_err(|e| ("time stamps", e))?;
    option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &on).map_err(|e| ("the count of dropped frames", e))?;
    // Beyond the system's usual bound with the right to it, else up to that.
    if option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &CAN_RECEIVE_BUFFER_BYTES).is_err() {
        let _ = option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &CAN_RECEIVE_BUFFER_BYTES);
    }
    Ok(())
}

fn option<T: ?Sized>(fd: RawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let bytes = size_of_val(value) as libc::socklen_t;
    // SAFETY: pointer and length are those of a live value.
    if unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), bytes) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Controllers that have a clock may have to be told to use it. Where that is refused, frames carry the kernel's time
/// alone.
fn ask_for_hardware_time(fd: RawFd, name: &str) {
    let config = HardwareTimeConfig { flags: 0, tx_type: 0, rx_filter: HWTSTAMP_FILTER_ALL };
    // SAFETY: ifreq is a plain structure for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw const config).cast_mut().cast();
    // SAFETY: both structures live through the call; a driver that does not know the request is an error.
    unsafe { libc::ioctl(fd, SIOCSHWTSTAMP, &raw mut request) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(interface: &str) -> CanSocket {
        let pass_all = vec![crate::plan::CanFilter { id: 0, mask: 0 }];
        CanSocket {
            interface: interface.into(),
            filters: pass_all,
            fd: false,
            hardware_time: false,
            hears_itself: false,
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        for interface in ["no-such-can", "a-name-that-is-longer-than-any", "nul\0inside"] {
            let error = open(&socket(interface)).unwrap_err();
            assert!(error.contains(interface), "{error}");
            // A kernel without CAN says that, one with CAN that the interface is not there.
            assert!(error.contains("does not exist") || error.contains("no CAN"), "{error}");
        }
    }
}
