//! The machine's hardware watchdog: it resets the machine when the gateway stops feeding it.
//!
//! Kernel documentation, "The Linux Watchdog driver API": opening the device arms it, a write feeds it, the letter
//! V before the close disarms it. A gateway that ends because a thread stands still leaves it armed: if the next
//! start does not feed it in time, the machine is reset.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::HardwareWatchdogConfig;

/// `_IOR('W', 0, struct watchdog_info)`, `_IOWR('W', 6, int)` and `_IOR('W', 7, int)` of linux/watchdog.h, as on
/// every architecture whose ioctl numbers are the generic ones.
const WDIOC_GETSUPPORT: u64 = 0x8028_5700;
const WDIOC_SETTIMEOUT: u64 = 0xC004_5706;
const WDIOC_GETTIMEOUT: u64 = 0x8004_5707;
const WDIOF_MAGICCLOSE: u32 = 0x0100;

/// `struct watchdog_info`.
#[repr(C)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

const _: () = assert!(size_of::<Info>() == 0x28);

/// What the feeding needs of a device.
pub trait Device: Send {
    /// Asks for a time and says which one the device took.
    ///
    /// # Errors
    /// The device has none to set.
    fn set_timeout(&mut self, timeout_s: u32) -> io::Result<u32>;

    /// Whether it can be disarmed, as far as it says.
    fn can_disarm(&self) -> bool;

    /// # Errors
    /// What the driver says.
    fn write(&mut self, byte: u8) -> io::Result<()>;
}

struct Character(File);

impl Device for Character {
    fn set_timeout(&mut self, timeout_s: u32) -> io::Result<u32> {
        let mut seconds = libc::c_int::try_from(timeout_s).unwrap_or(libc::c_int::MAX);
        // SAFETY: both calls write one int, which lives through them.
        unsafe {
            if libc::ioctl(self.0.as_raw_fd(), WDIOC_SETTIMEOUT as _, &raw mut seconds) != 0 {
                let refused = io::Error::last_os_error();
                if libc::ioctl(self.0.as_raw_fd(), WDIOC_GETTIMEOUT as _, &raw mut seconds) != 0 {
                    return Err(refused);
                }
            }
        }
        Ok(u32::try_from(seconds).unwrap_or(0))
    }

    fn can_disarm(&self) -> bool {
        let mut info = Info { options: 0, firmware_version: 0, identity: [0; 32] };
        // SAFETY: the call writes one watchdog_info, which lives through it.
        let told = unsafe { libc::ioctl(self.0.as_raw_fd(), WDIOC_GETSUPPORT as _, &raw mut info) == 0 };
        !told || info.options & WDIOF_MAGICCLOSE != 0
    }

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.0.write_all(&[byte])
    }
}

/// The armed device. Dropped without [`HardwareWatchdog::disarm`], it stays armed.
pub struct HardwareWatchdog {
    device: Box<dyn Device>,
    /// Between two feedings.
    period: Duration,
    fed: Option<Instant>,
    failed: bool,
}

impl HardwareWatchdog {
    /// Opens and arms what is configured. A device that is not there or taken is one warning: the gateway runs
    /// without it.
    pub fn arm(config: &HardwareWatchdogConfig) -> Option<HardwareWatchdog> {
        match open(&config.device) {
            Ok(device) => Some(HardwareWatchdog::over(Box::new(device), config)),
            Err(error) => {
                let device = config.device.display();
                let help = match error.raw_os_error() {
                    Some(libc::EBUSY) => {
                        "another program has it open; if systemd uses it (RuntimeWatchdogSec=), \
                                          remove watchdog.device"
                    }
                    Some(libc::ENOENT) => {
                        "the kernel has no driver for it (modprobe softdog loads a software \
                        watchdog)"
                    }
                    _ => "the unit needs DeviceAllow= for it, and its user the right to write it",
                };
                tracing::warn!("no hardware watchdog: {device}: {error}; {help}");
                None
            }
        }
    }

    fn over(mut device: Box<dyn Device>, config: &HardwareWatchdogConfig) -> HardwareWatchdog {
        let shown = config.device.display();
        let timeout_s = match device.set_timeout(config.timeout_s) {
            Ok(taken) if taken > 0 => {
                if taken != config.timeout_s {
                    tracing::warn!("{shown}: the device uses {taken} s instead of {} s", config.timeout_s);
                }
                taken.min(config.timeout_s)
            }
            Ok(_) => config.timeout_s,
            Err(error) => {
                tracing::warn!("{shown}: its timeout can't be set ({error}); it keeps its default");
                config.timeout_s
            }
        };
        if !device.can_disarm() {
            tracing::warn!("{shown} can't be disarmed: the machine is reset if the gateway stays stopped");
        }
        // Two feedings may be late or lost.
        let period = Duration::from_secs(u64::from(timeout_s)) / 4;
        let mut dog = HardwareWatchdog { device, period, fed: None, failed: false };
        dog.feed();
        dog
    }

    /// All advance.
    pub fn feed(&mut self) {
        if self.fed.is_some_and(|at| at.elapsed() < self.period) {
            return;
        }
        self.fed = Some(Instant::now());
        let fed = self.device.write(b'.');
        if let Err(error) = &fed
            && !self.failed
        {
            tracing::error!("the hardware watchdog can't be fed ({error}); the machine may be reset");
        }
        self.failed = fed.is_err();
    }

    /// A clean stop: nobody will feed it.
    pub fn disarm(mut self) {
        if let Err(error) = self.device.write(b'V') {
            tracing::error!("the hardware watchdog can't be disarmed ({error}); the machine may be reset");
        }
    }
}

fn open(path: &Path) -> io::Result<Character> {
    use std::os::unix::fs::FileTypeExt;
    // Looked at before it is opened: opening arms, and a plain file would be fed for ever in vain.
    if !path.metadata()?.file_type().is_char_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a character device"));
    }
    Ok(Character(OpenOptions::new().write(true).open(path)?))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A device on a desk: writes down what it gets, and takes no more than 10 s.
    #[derive(Clone, Default)]
    struct Desk {
        written: Arc<Mutex<Vec<u8>>>,
        fails: bool,
    }

    impl Device for Desk {
        fn set_timeout(&mut self, timeout_s: u32) -> io::Result<u32> {
            if self.fails { Err(io::ErrorKind::Unsupported.into()) } else { Ok(timeout_s.min(10)) }
        }

        fn can_disarm(&self) -> bool {
            !self.fails
        }

        fn write(&mut self, byte: u8) -> io::Result<()> {
            self.written.lock().unwrap().push(byte);
            if self.fails { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
        }
    }

    fn config(device: &str) -> HardwareWatchdogConfig {
        HardwareWatchdogConfig { device: device.into(), timeout_s: 15 }
    }

    #[test]
    fn it_is_fed_four_times_in_its_time_and_disarmed_at_a_clean_stop() {
        let desk = Desk::default();
        let mut dog = HardwareWatchdog::over(Box::new(desk.clone()), &config("/dev/watchdog0"));
        assert_eq!(dog.period, Duration::from_millis(2500), "the device's 10 s count, not the 15 asked for");
        for _ in 0..1000 {
            dog.feed();
        }
        assert_eq!(*desk.written.lock().unwrap(), b".");
        dog.fed = dog.fed.map(|at| at - Duration::from_secs(3));
        dog.feed();
        dog.disarm();
        assert_eq!(*desk.written.lock().unwrap(), b"..V");
    }

    #[test]
    fn left_alone_it_stays_armed() {
        let desk = Desk::default();
        drop(HardwareWatchdog::over(Box::new(desk.clone()), &config("/dev/watchdog0")));
        assert_eq!(*desk.written.lock().unwrap(), b".");
    }

    #[test]
    fn a_device_that_refuses_everything_is_still_fed() {
        let desk = Desk { fails: true, ..Desk::default() };
        let mut dog = HardwareWatchdog::over(Box::new(desk.clone()), &config("/dev/watchdog0"));
        dog.fed = None;
        dog.feed();
        assert_eq!(*desk.written.lock().unwrap(), b"..");
    }

    #[test]
    fn what_is_no_device_is_a_warning_and_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("watchdog0");
        assert!(HardwareWatchdog::arm(&config(file.to_str().unwrap())).is_none());
        std::fs::write(&file, "").unwrap();
        assert!(HardwareWatchdog::arm(&config(file.to_str().unwrap())).is_none());
        assert_eq!(std::fs::read(&file).unwrap(), b"");
        // A character device that is none: it is fed without its time being set.
        let mut null = HardwareWatchdog::arm(&config("/dev/null")).unwrap();
        null.feed();
        null.disarm();
    }
}
