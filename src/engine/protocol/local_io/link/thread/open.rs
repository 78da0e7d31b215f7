//! Devices opened and set up. An error says what to do.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channels::ChannelReader;
use super::gpio::{CONSUMER, GpioChip, LineFault};
use super::i2c::I2cBus;
use super::iio::{self, IioDevice};
use super::iio_buffer::{self, IioBuffer};
use super::lines::Lines;
use super::registers::Registers;
use super::samples::SampleReader;
use super::spi::SpiDevice;
use super::{Reader, SystemClock, start};
use crate::limits::LOCAL_IO_OPEN_TIMEOUT;
use crate::plan::Opens;
use crate::protocol::local_io::link::thread::unopened::Trouble;
use crate::protocol::local_io::model::LocalIoDevice;
use crate::protocol::local_io::plan::LocalIoSetup;

/// How long whoever has the device is waited for at once: a thread that was told to end needs a moment.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Opens a device and starts its thread.
///
/// # Errors
/// What is wrong, and what would help.
pub fn open(setup: &Arc<LocalIoSetup>) -> Result<OwnedFd, String> {
    let end = Instant::now() + Duration::from_nanos(LOCAL_IO_OPEN_TIMEOUT.0);
    let reader = loop {
        match reader(setup) {
            Ok(reader) => break reader,
            Err(Trouble::Busy(_)) if Instant::now() < end => std::thread::sleep(BUSY_PAUSE),
            Err(Trouble::Busy(text) | Trouble::Other(text)) => return Err(text),
        }
    };
    start(reader, setup).map_err(|error| format!("cannot start a thread for the device ({error})"))
}

impl Opens for LocalIoSetup {
    fn open(self: Arc<LocalIoSetup>) -> Result<OwnedFd, String> {
        open(&self)
    }

    fn equals(&self, other: &dyn Opens) -> bool {
        (other as &dyn Any).downcast_ref::<LocalIoSetup>().is_some_and(|other| self == other)
    }
}

fn reader(setup: &Arc<LocalIoSetup>) -> Result<Box<dyn Reader>, Trouble> {
    let clock = Box::new(SystemClock);
    Ok(match &setup.device {
        LocalIoDevice::Gpio { chip } => {
            let file = open_file(chip, Kind::Gpio)?;
            let lines =
                GpioChip::new(&file, &chip.display().to_string(), &setup.lines).map_err(|fault| match fault {
                    // A thread of ours that was told to end.
                    LineFault::Busy(text) if text.contains(&format!("\"{CONSUMER}\"")) => Trouble::Busy(text),
                    LineFault::Busy(text) | LineFault::Other(text) => Trouble::Other(text),
                })?;
            Box::new(Lines::new(Box::new(lines), clock, setup.clone()))
        }
        LocalIoDevice::I2c { bus, .. } => {
            let file = open_file(bus, Kind::I2c)?;
            take_for_oneself(&file, bus)?;
            let no_bus = |error: io::Error| {
                Trouble::Other(format!("{} is not an I2C bus ({error}); check \"bus\" of the link", bus.display()))
            };
            Box::new(Registers::new(
                Box::new(I2cBus::new(file, bus, setup.timeout).map_err(no_bus)?),
                clock,
                setup.clone(),
            ))
        }
        LocalIoDevice::Spi { device, mode, speed_hz, lsb_first } => {
            let file = open_file(device, Kind::Spi)?;
            take_for_oneself(&file, device)?;
            let refused = |error: io::Error| {
                Trouble::Other(format!(
                    "{} refuses mode {mode} at {speed_hz} Hz ({error}); check what the controller can do",
                    device.display()
                ))
            };
            let bus = SpiDevice::new(file, *mode, *speed_hz, *lsb_first).map_err(refused)?;
            Box::new(Registers::new(Box::new(bus), clock, setup.clone()))
        }
        LocalIoDevice::Iio { device, buffer: Some(config) } => {
            let (devices, files) = (Path::new(iio::DEVICES), Path::new(iio_buffer::DEVICE_FILES));
            let (opened, stream) = IioBuffer::open(devices, files, device, &setup.channels, config)?;
            Box::new(SampleReader::new(Box::new(opened), stream, clock, setup.clone(), config.clone()))
        }
        LocalIoDevice::Iio { device, buffer: None } => {
            let opened = IioDevice::open(Path::new(iio::DEVICES), device, &setup.channels, &setup.writes)
                .map_err(Trouble::Other)?;
            Box::new(ChannelReader::new(Box::new(opened), clock, setup.clone()))
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gpio,
    I2c,
    Spi,
}

fn open_file(path: &Path, kind: Kind) -> Result<File, Trouble> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map_err(|error| Trouble::Other(open_error(path, kind, &error)))
}

/// What a file that can't be opened means, and what helps.
pub(super) fn open_error(path: &Path, kind: Kind, error: &io::Error) -> String {
    let name = path.display();
    let group = match kind {
        Kind::Gpio => "gpio",
        Kind::I2c => "i2c",
        Kind::Spi => "spi",
    };
    match error.raw_os_error() {
        Some(libc::ENOENT) => match kind {
            Kind::Gpio => format!("{name} does not exist; gpiodetect lists the chips"),
            Kind::I2c => format!(
                "{name} does not exist; is the bus enabled (device tree, raspi-config) and i2c-dev loaded (modprobe \
                 i2c-dev)? i2cdetect -l lists the buses"
            ),
            Kind::Spi => format!(
                "{name} does not exist; is the bus enabled, and spidev bound to the device (device tree, or \
                 driver_override in /sys/bus/spi/devices)?"
            ),
        },
        Some(libc::EACCES | libc::EPERM) => format!(
            "no permission for {name}; add the user that Fieldbeat runs as to the device's group (ls -l {name}; usually \
             {group}: usermod -aG {group} USER, or SupplementaryGroups={group} in the unit)"
        ),
        Some(libc::ENXIO | libc::ENODEV) => format!("{name} has no device ({error}); is its driver loaded?"),
        Some(libc::EBUSY) => format!("{name} is busy: another program has it open (fuser -v {name} names it)"),
        Some(libc::EISDIR) => format!("{name} is a directory, not a device"),
        _ => format!("cannot open {name}: {error}"),
    }
}

/// So that no two threads work on one device: one that hangs in its driver keeps the lock.
fn take_for_oneself(file: &File, path: &Path) -> Result<(), Trouble> {
    // SAFETY: no pointers; the descriptor is open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(());
    }
    let name = path.display();
    Err(Trouble::Busy(format!(
        "{name} is locked: another link or program uses it, or the last access is stuck in the driver (fuser \
         -v {name})"
    )))
}
