//! The buffer of an IIO device: set up by sysfs, read as a device file, put back as it was (kernel documentation,
//! ABI/testing/sysfs-bus-iio, driver-api/iio/buffers and triggers).
//!
//! The device file is opened first: the kernel gives it to one program only, so what is found to be on is left over
//! from a program that ended in the middle.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::device::{Fault, Scans};
use super::iio::{find, number, shared_number};
use super::scan_element::{Format, Layout};
use super::unopened::Trouble;
use crate::protocol::local_io::model::IioBufferConfig;

pub const DEVICE_FILES: &str = "/dev";
const TIME: &str = "in_timestamp";
/// A device may round what it is asked for; further off, the load and the ages would be reckoned wrong.
const FREQUENCY_TOLERANCE: f64 = 0.05;

/// What a scan of the buffer holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stream {
    pub scan_bytes: usize,
    /// By the setup's channels.
    pub channels: Vec<Element>,
    /// CLOCK_MONOTONIC at the scan, in nanoseconds; `None`: the driver does not say it, or by another clock.
    pub time: Option<Element>,
}

/// A value in a scan: (raw + offset) × scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element {
    pub at: usize,
    pub format: Format,
    pub scale: f64,
    pub offset: f64,
}

impl Element {
    /// `None`: the scan is too short.
    pub fn raw(&self, scan: &[u8]) -> Option<i128> {
        self.format.value(scan.get(self.at..)?)
    }

    pub fn value(&self, scan: &[u8]) -> Option<f64> {
        Some((self.raw(scan)? as f64 + self.offset) * self.scale)
    }
}

/// An open buffer. Dropped, it is off, and all is as it was found.
pub struct IioBuffer {
    _settings: Settings,
    file: File,
    descriptors: [RawFd; 1],
}

impl IioBuffer {
    /// `devices` is the folder of all devices in sysfs, `files` that of their device files.
    ///
    /// # Errors
    /// Which file is at fault, and what to do.
    pub fn open(
        devices: &Path,
        files: &Path,
        device: &str,
        channels: &[String],
        config: &IioBufferConfig,
    ) -> Result<(IioBuffer, Stream), Trouble> {
        let folder = find(devices, device).map_err(Trouble::Other)?;
        let name = folder.file_name().unwrap_or_default().to_owned();
        if !folder.join("buffer/enable").exists() {
            return Err(Trouble::Other(format!(
                "{} has no buffer/enable: its driver has no buffer, or the kernel has no IIO_TRIGGERED_BUFFER; remove \
                 \"buffer\" of the link to read the channels one by one",
                folder.display()
            )));
        }
        let path = files.join(name);
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let file = file.map_err(|error| cannot_open(&path, &error))?;
        let mut settings = Settings { enable: folder.join("buffer/enable"), saved: Vec::new() };
        settings.switch_off()?;
        let monotonic = settings.use_monotonic_clock(&folder)?;
        let has_time = settings.choose_elements(&folder, channels)?;
        let trigger = settings.choose_trigger(devices, &folder, config)?;
        settings.set_frequency(&folder, trigger.as_deref(), channels, config)?;
        settings.set(&folder.join("buffer/length"), &config.length.to_string())?;
        let watermark = folder.join("buffer/watermark");
        // Kernels before 4.2 have none, and wake up for each scan.
        if watermark.exists() {
            settings.set(&watermark, &config.watermark.to_string())?;
        }
        let stream = stream(&folder, channels, has_time && monotonic, has_time)?;
        settings.switch_on(devices)?;
        let descriptors = [file.as_raw_fd()];
        Ok((IioBuffer { _settings: settings, file, descriptors }, stream))
    }
}

impl Scans for IioBuffer {
    fn read(&mut self, scans: &mut [u8]) -> Result<usize, Fault> {
        loop {
            match self.file.read(scans) {
                // The end of a file that has none.
                Ok(0) => return Err(Fault::Gone),
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::of(&error)),
            }
        }
    }

    fn descriptors(&self) -> &[RawFd] {
        &self.descriptors
    }
}

/// Where the channels and the time lie.
fn stream(folder: &Path, channels: &[String], use_time: bool, has_time: bool) -> Result<Stream, Trouble> {
    let mut elements = Vec::new();
    let names = channels.iter().map(String::as_str).chain(has_time.then_some(TIME));
    for name in names {
        let file = |what: &str| folder.join("scan_elements").join(format!("{name}_{what}"));
        let text = fs::read_to_string(file("type")).unwrap_or_default();
        let Some(format) = Format::of(&text) else {
            let message = format!("{} is {text:?}, which is an unknown format", file("type").display());
            return Err(Trouble::Other(message));
        };
        let index = fs::read_to_string(file("index")).ok().and_then(|text| text.trim_end().parse::<u32>().ok());
        let Some(index) = index else {
            return Err(Trouble::Other(format!("{} does not hold a number", file("index").display())));
        };
        elements.push((index, format));
    }
    let layout = Layout::of(&elements);
    let mut stream = Stream { scan_bytes: layout.bytes, ..Stream::default() };
    for (at, (offset, (_, format))) in layout.offsets.iter().zip(&elements).enumerate() {
        let Some(channel) = channels.get(at) else {
            stream.time = use_time.then_some(Element { at: *offset, format: *format, scale: 1.0, offset: 0.0 });
            continue;
        };
        if format.repeat > 1 {
            let message = format!("{channel} has {} values in a scan, but a tag has one", format.repeat);
            return Err(Trouble::Other(message));
        }
        let factor = |what| shared_number(folder, channel, what).map_err(Trouble::Other);
        let (scale, add) = (factor("scale")?.unwrap_or(1.0), factor("offset")?.unwrap_or(0.0));
        stream.channels.push(Element { at: *offset, format: *format, scale, offset: add });
    }
    Ok(stream)
}

/// What was changed in sysfs, with what was there before.
struct Settings {
    enable: PathBuf,
    saved: Vec<(PathBuf, String)>,
}

impl Drop for Settings {
    fn drop(&mut self) {
        // Whatever cannot be put back: nobody is left to tell, and the next to open it sets it up again.
        let _ = fs::write(&self.enable, "0\n");
        // Twice: a watermark waits for its length, a channel for another that is off.
        for (path, text) in self.saved.iter().rev().chain(&self.saved) {
            // A write of no bytes reaches no driver.
            let _ = fs::write(path, if text.is_empty() { "\n" } else { text });
        }
    }
}

impl Settings {
    /// Writes what is not there yet.
    fn set(&mut self, path: &Path, text: &str) -> Result<(), Trouble> {
        let before = fs::read_to_string(path).map_err(|error| cannot_set(path, text, &error))?;
        if before.trim_end() != text {
            write(path, text)?;
            self.saved.push((path.to_owned(), before));
        }
        Ok(())
    }

    fn switch_off(&self) -> Result<(), Trouble> {
        let is_off = fs::read_to_string(&self.enable).is_ok_and(|text| text.trim_end() == "0");
        if is_off { Ok(()) } else { write(&self.enable, "0") }
    }

    /// Whether the time of a scan is that of CLOCK_MONOTONIC.
    fn use_monotonic_clock(&mut self, folder: &Path) -> Result<bool, Trouble> {
        let clock = folder.join("current_timestamp_clock");
        if clock.exists() {
            self.set(&clock, "monotonic")?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Switches on the channels and the time, and all others off. Whether there is a time.
    fn choose_elements(&mut self, folder: &Path, channels: &[String]) -> Result<bool, Trouble> {
        let elements = folder.join("scan_elements");
        let mut known = Vec::new();
        for entry in fs::read_dir(&elements).into_iter().flatten().flatten() {
            let name = entry.file_name();
            known.extend(name.to_str().and_then(|name| name.strip_suffix("_en")).map(str::to_owned));
        }
        known.sort();
        let has_time = known.iter().any(|name| name == TIME);
        if let Some(missing) = channels.iter().find(|channel| !known.contains(channel)) {
            let there: Vec<&str> = known.iter().map(String::as_str).filter(|name| *name != TIME).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Err(Trouble::Other(format!(
                "{} has no channel \"{missing}\" for the buffer; it has {there}",
                elements.display()
            )));
        }
        let is_wanted = |name: &String| name == TIME || channels.contains(name);
        // Off first: some devices take only so many at once.
        for on in [false, true] {
            for name in known.iter().filter(|name| is_wanted(name) == on) {
                self.set(&elements.join(format!("{name}_en")), if on { "1" } else { "0" })?;
            }
        }
        Ok(has_time)
    }

    /// The folder of the trigger that is named.
    fn choose_trigger(
        &mut self,
        devices: &Path,
        folder: &Path,
        config: &IioBufferConfig,
    ) -> Result<Option<PathBuf>, Trouble> {
        let Some(wanted) = &config.trigger else { return Ok(None) };
        let known = triggers(devices);
        let Some((_, path)) = known.iter().find(|(name, _)| name == wanted) else {
            return Err(Trouble::Other(format!("there is no trigger \"{wanted}\": {}", there(&known))));
        };
        let current = folder.join("trigger/current_trigger");
        if !current.exists() {
            let message =
                format!("{} does not exist: the device has no trigger; remove \"trigger\"", current.display());
            return Err(Trouble::Other(message));
        }
        self.set(&current, wanted)?;
        Ok(Some(path.clone()))
    }

    /// Of the trigger, where it has one, else of the device.
    fn set_frequency(
        &mut self,
        folder: &Path,
        trigger: Option<&Path>,
        channels: &[String],
        config: &IioBufferConfig,
    ) -> Result<(), Trouble> {
        let Some(hz) = config.frequency_hz else { return Ok(()) };
        let kind = channels.first().and_then(|channel| channel.split(|c: char| c.is_ascii_digit()).next());
        let of_kind = kind.map(|kind| folder.join(format!("{}_sampling_frequency", kind.trim_end_matches('_'))));
        let places = trigger
            .map(|trigger| trigger.join("sampling_frequency"))
            .into_iter()
            .chain(["sampling_frequency", "buffer/sampling_frequency", "in_sampling_frequency"].map(|f| folder.join(f)))
            .chain(of_kind);
        let Some(path) = places.into_iter().find(|path| path.exists()) else {
            return Err(Trouble::Other(format!(
                "neither {} nor its trigger has a file sampling_frequency; create a timer trigger (see \
                 iio-trig-hrtimer in the kernel documentation) and set it as \"trigger\"",
                folder.display()
            )));
        };
        self.set(&path, &hz.to_string())?;
        let set = fs::read(&path).ok().and_then(|bytes| number(&bytes));
        if !set.is_some_and(|set| (set - hz).abs() <= hz * FREQUENCY_TOLERANCE) {
            let set = set.map_or("nothing".to_owned(), |set| format!("{set} Hz"));
            let available = fs::read_to_string(path.with_file_name("sampling_frequency_available"));
            let available = available.map(|text| format!("; it has {}", text.trim_end())).unwrap_or_default();
            return Err(Trouble::Other(format!("{} is {set}, although {hz} was requested{available}", path.display())));
        }
        Ok(())
    }

    fn switch_on(&self, devices: &Path) -> Result<(), Trouble> {
        fs::write(&self.enable, "1\n").map_err(|error| {
            let path = self.enable.display();
            match error.raw_os_error() {
                Some(libc::EINVAL) => Trouble::Other(format!(
                    "{path} cannot be enabled ({error}): the device needs a trigger (\"trigger\" of the buffer), or \
                     cannot sample these channels together; {}",
                    there(&triggers(devices))
                )),
                _ => cannot_set(&self.enable, "1", &error),
            }
        })
    }
}

/// The triggers that there are: names and folders.
fn triggers(devices: &Path) -> Vec<(String, PathBuf)> {
    let mut known = Vec::new();
    for entry in fs::read_dir(devices).into_iter().flatten().flatten() {
        let is_trigger = entry.file_name().to_string_lossy().starts_with("trigger");
        if let Some(name) = fs::read_to_string(entry.path().join("name")).ok().filter(|_| is_trigger) {
            known.push((name.trim_end().to_owned(), entry.path()));
        }
    }
    known.sort();
    known
}

fn there(triggers: &[(String, PathBuf)]) -> String {
    if triggers.is_empty() {
        return "there is no trigger in /sys/bus/iio/devices; create one with iio-trig-hrtimer or \
            iio-trig-sysfs"
            .to_owned();
    }
    let names: Vec<&str> = triggers.iter().map(|(name, _)| name.as_str()).collect();
    format!("available triggers: {}", names.join(", "))
}

fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    fs::write(path, format!("{text}\n")).map_err(|error| cannot_set(path, text, &error))
}

pub(super) fn cannot_set(path: &Path, text: &str, error: &io::Error) -> Trouble {
    let name = path.display();
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            Trouble::Busy(format!("{name} is busy: the device's buffer is in use by another program or driver"))
        }
        Some(libc::EACCES | libc::EPERM) => Trouble::Other(format!(
            "no permission to write {name}; add a udev rule that gives it to a group of the \
                user"
        )),
        Some(libc::EINVAL) => Trouble::Other(format!("{name} refuses {text:?} ({error})")),
        _ => Trouble::Other(format!("cannot write {text:?} to {name}: {error}")),
    }
}

pub(super) fn cannot_open(path: &Path, error: &io::Error) -> Trouble {
    let name = path.display();
    match error.raw_os_error() {
        Some(libc::EBUSY) => Trouble::Busy(format!(
            "{name} is busy: another program reads the device's buffer (fuser -v {name} names it)"
        )),
        Some(libc::EACCES | libc::EPERM) => Trouble::Other(format!(
            "no permission for {name}; add the user that Fieldbeat runs as to the device's group (usually iio), or \
             add a udev rule that sets its group"
        )),
        Some(libc::ENOENT) => {
            Trouble::Other(format!("{name} does not exist: the device has no buffer, or udev did not create it"))
        }
        _ => Trouble::Other(format!("cannot open {name}: {error}")),
    }
}
