//! Opening a serial port: exclusive, raw, at its speed, with its RS-485 driver set up. An error says what to do.
//!
//! By system calls and not by a library for ports: what is needed beyond `open` are a dozen ioctls (any baud rate by
//! BOTHER, RS-485, low latency), most of which no library has.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use super::holder;
use crate::config::{Parity, Rs485Config, Rs485Switch, SerialConfig};

/// linux/serial.h.
const SER_RS485_ENABLED: u32 = 1;
const SER_RS485_RTS_ON_SEND: u32 = 1 << 1;
const SER_RS485_RTS_AFTER_SEND: u32 = 1 << 2;
const SER_RS485_RX_DURING_TX: u32 = 1 << 4;
const TIOCSRS485: libc::Ioctl = 0x542F;
const TIOCGSERIAL: libc::Ioctl = 0x541E;
const TIOCSSERIAL: libc::Ioctl = 0x541F;
const TIOCGEXCL: libc::Ioctl = 0x8004_5440_u32 as libc::Ioctl;
const ASYNC_LOW_LATENCY: i32 = 1 << 13;
/// Majors of pseudo terminals, which keep neither data bits nor parity (devices.txt of the kernel).
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;
/// How far the real speed may be from the asked one: at 11 bits a character, sender and receiver together have 4 %.
const BAUD_TOLERANCE: f64 = 0.02;

/// `struct serial_rs485` of linux/serial.h.
#[repr(C)]
#[derive(Default)]
struct SerialRs485 {
    flags: u32,
    delay_rts_before_send: u32,
    delay_rts_after_send: u32,
    padding: [u32; 5],
}

/// `struct serial_struct` of linux/serial.h; only the flags are of interest.
#[repr(C)]
struct SerialStruct {
    kind: i32,
    line: i32,
    port: u32,
    irq: i32,
    flags: i32,
    rest: [u64; 12],
}

/// Opens a port; the descriptor does not block.
pub(super) fn open(config: &SerialConfig) -> Result<OwnedFd, String> {
    let port = config.port.display();
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&config.port);
    let file = file.map_err(|error| open_error(config, &error))?;
    let fd = file.as_raw_fd();
    // SAFETY: no pointers; the descriptor is open.
    if unsafe { libc::isatty(fd) } == 0 {
        return Err(format!("{port} is not a serial port; check \"port\" of the link (ls -l /dev/serial/by-id)"));
    }
    take_for_oneself(fd).map_err(|error| busy(config, &error))?;
    let device = file.metadata().map_err(|error| format!("{port}: {error}"))?;
    let pseudo = PSEUDO_TERMINALS.contains(&libc::major(device.rdev()));
    if let Err(error) = prepare(fd, config, pseudo) {
        let_go(fd);
        return Err(error);
    }
    Ok(file.into())
}

fn prepare(fd: RawFd, config: &SerialConfig, pseudo: bool) -> Result<(), String> {
    set_up(fd, config, pseudo)?;
    match &config.rs485 {
        Some(rs485) if rs485.switched_by == Rs485Switch::Kernel => set_rs485(fd, config, rs485)?,
        Some(rs485) => set_idle_rts(fd, config, rs485)?,
        None => {}
    }
    ask_for_low_latency(fd);
    // SAFETY: no pointers; the descriptor is open.
    unsafe { libc::tcflush(fd, libc::TCIOFLUSH) };
    Ok(())
}

/// Before a port is closed: what it would still send is dropped, since closing would wait for that, be it half a
/// minute; and others may have it again, which the terminal would forbid as long as anyone holds it open. Does nothing
/// to a socket.
pub(super) fn let_go(fd: RawFd) {
    // SAFETY: no pointers; a descriptor that is no terminal is an error, not undefined.
    unsafe {
        libc::tcflush(fd, libc::TCOFLUSH);
        libc::ioctl(fd, libc::TIOCNXCL);
    }
}

fn open_error(config: &SerialConfig, error: &io::Error) -> String {
    let port = config.port.display();
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            format!("{port} does not exist; is the adapter plugged in? ls -l /dev/serial/by-id shows the ports")
        }
        Some(libc::EACCES | libc::EPERM) => format!(
            "no permission for {port}; add the user that Fieldbeat runs as to the port's group (ls -l {port}; usually \
             dialout: usermod -aG dialout USER, or SupplementaryGroups=dialout in the unit)"
        ),
        Some(libc::EBUSY) => busy(config, error),
        Some(libc::ENXIO | libc::ENODEV | libc::EIO) => {
            format!("{port} has no device ({error}); check the adapter, or \"port\" of the link")
        }
        Some(libc::EISDIR) => format!("{port} is a directory, not a serial port; check \"port\" of the link"),
        _ => format!("cannot open {port}: {error}"),
    }
}

fn busy(config: &SerialConfig, error: &io::Error) -> String {
    let port = config.port.display();
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EWOULDBLOCK) => {
            let holder =
                holder::of(&config.port).unwrap_or_else(|| format!("another program (fuser -v {port} names it)"));
            format!("{port} is busy: {holder} has it open; stop it, or use another port")
        }
        _ => format!("cannot lock {port} for exclusive use: {error}"),
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Exclusive by the terminal's flag, which root ignores, and by the lock that other programs set.
fn take_for_oneself(fd: RawFd) -> io::Result<()> {
    let mut exclusive: libc::c_int = 0;
    // SAFETY: the int lives through the call; an unknown request is an error, not undefined.
    let known = unsafe { libc::ioctl(fd, TIOCGEXCL, &raw mut exclusive) } == 0;
    if known && exclusive != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: no pointers.
    check(unsafe { libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::ioctl(fd, libc::TIOCEXCL) })
}

/// Raw bytes at the asked speed, eight or seven bits, parity and stop bits.
fn set_up(fd: RawFd, config: &SerialConfig, pseudo: bool) -> Result<(), String> {
    let port = config.port.display();
    let failed = |error: io::Error| {
        let SerialConfig { baud_rate, data_bits, stop_bits, .. } = config;
        format!(
            "{port} refuses {baud_rate} baud, {data_bits} data bits, parity {}, {stop_bits} stop bits ({error}); check \
             what the adapter can do",
            parity_letter(config.parity)
        )
    };
    // SAFETY: termios2 is a plain structure for which zeroes are a value.
    let mut termios: libc::termios2 = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives through the call and is the one that the request fills.
    check(unsafe { libc::ioctl(fd, libc::TCGETS2, &raw mut termios) }).map_err(failed)?;
    let size = if config.data_bits == 7 { libc::CS7 } else { libc::CS8 };
    let parity = match config.parity {
        Parity::None => 0,
        Parity::Even => libc::PARENB,
        Parity::Odd => libc::PARENB | libc::PARODD,
    };
    let stop = if config.stop_bits == 2 { libc::CSTOPB } else { 0 };
    // A character of wrong parity is read as NUL, which no check of a frame survives.
    termios.c_iflag = if config.parity == Parity::None { 0 } else { libc::INPCK };
    termios.c_oflag = 0;
    termios.c_lflag = 0;
    termios.c_cflag = libc::CREAD | libc::CLOCAL | libc::BOTHER | size | parity | stop;
    termios.c_ispeed = config.baud_rate;
    termios.c_ospeed = config.baud_rate;
    // At least one byte: without it, a read of nothing would look like the end.
    termios.c_cc[libc::VMIN] = 1;
    termios.c_cc[libc::VTIME] = 0;
    // SAFETY: the structure lives through the call and is the one that the request reads.
    check(unsafe { libc::ioctl(fd, libc::TCSETS2, &raw const termios) }).map_err(failed)?;
    // SAFETY: as above.
    check(unsafe { libc::ioctl(fd, libc::TCGETS2, &raw mut termios) }).map_err(failed)?;
    if (f64::from(termios.c_ospeed) / f64::from(config.baud_rate) - 1.0).abs() > BAUD_TOLERANCE {
        return Err(format!(
            "{port} does not support {} baud, the nearest is {}; set \"baudrate\" here and in the devices to a \
             supported rate",
            config.baud_rate, termios.c_ospeed
        ));
    }
    let form = libc::CSIZE | libc::PARENB | libc::PARODD | libc::CSTOPB;
    if !pseudo && termios.c_cflag & form != (size | parity | stop) {
        return Err(failed(io::Error::from_raw_os_error(libc::EINVAL)));
    }
    Ok(())
}

fn parity_letter(parity: Parity) -> &'static str {
    match parity {
        Parity::None => "N",
        Parity::Even => "E",
        Parity::Odd => "O",
    }
}

fn set_rs485(fd: RawFd, config: &SerialConfig, rs485: &Rs485Config) -> Result<(), String> {
    let rts = if rs485.rts_on_send { SER_RS485_RTS_ON_SEND } else { SER_RS485_RTS_AFTER_SEND };
    let hears = if config.echo { SER_RS485_RX_DURING_TX } else { 0 };
    let wanted = SerialRs485 {
        flags: SER_RS485_ENABLED | rts | hears,
        delay_rts_before_send: (rs485.delay_before.0 / 1_000_000) as u32,
        delay_rts_after_send: (rs485.delay_after.0 / 1_000_000) as u32,
        padding: [0; 5],
    };
    // SAFETY: the structure lives through the call and is the one that the request reads and writes.
    check(unsafe { libc::ioctl(fd, TIOCSRS485, &raw const wanted) }).map_err(|error| {
        format!(
            "the driver of {} does not switch RS-485 ({error}); set \"rts\": \"manual\" in \"rs485\", or remove \
             \"rs485\" if the adapter switches by itself",
            config.port.display()
        )
    })
}

fn set_idle_rts(fd: RawFd, config: &SerialConfig, rs485: &Rs485Config) -> Result<(), String> {
    let rts = libc::TIOCM_RTS;
    let request = if rs485.rts_on_send { libc::TIOCMBIC } else { libc::TIOCMBIS };
    // SAFETY: the flags live through the call.
    check(unsafe { libc::ioctl(fd, request, &raw const rts) })
        .map_err(|error| format!("{} has no RTS line ({error}); remove \"rs485\"", config.port.display()))
}

/// Where the driver gathers bytes before it hands them over, it shall not. Few drivers know it.
fn ask_for_low_latency(fd: RawFd) {
    let mut serial = SerialStruct { kind: 0, line: 0, port: 0, irq: 0, flags: 0, rest: [0; 12] };
    // SAFETY: the structure lives through the call and is larger than what the request writes (72 bytes).
    if unsafe { libc::ioctl(fd, TIOCGSERIAL, &raw mut serial) } == 0 {
        serial.flags |= ASYNC_LOW_LATENCY;
        // SAFETY: as above, for reading.
        unsafe { libc::ioctl(fd, TIOCSSERIAL, &raw const serial) };
    }
}
