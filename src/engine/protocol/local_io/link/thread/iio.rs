//! Analogue inputs and outputs of the kernel's IIO, by its files in sysfs (kernel documentation, ABI/testing/sysfs-bus-iio).
//!
//! A channel's value is (raw + offset) × scale, in the unit of that document: mV, mA, milli °C; or what its `_input`
//! file says, where the driver reckons itself. Scale and offset are read once, when the device is opened. An output is
//! written by its `_raw` file, to the nearest step.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::device::{ChannelFault, Channels, Fault};
use crate::limits::SYSFS_NUMBER_BYTES_MAX;
use crate::protocol::local_io::plan::LocalIoWrite;

pub const DEVICES: &str = "/sys/bus/iio/devices";

/// The open files of the channels.
pub struct IioDevice {
    channels: Vec<Channel>,
}

struct Channel {
    file: File,
    scale: f64,
    offset: f64,
    /// The driver does not say what an output is set to.
    is_write_only: bool,
    /// What was written last: the raw value, and the value that was asked for.
    written: Option<(f64, f64)>,
}

/// Whole numbers that a float64 holds exactly.
const RAW_MAX: f64 = 9_007_199_254_740_992.0;

impl IioDevice {
    /// `devices` is the folder of all devices.
    ///
    /// # Errors
    /// What is missing, and what is there.
    pub fn open(
        devices: &Path,
        device: &str,
        channels: &[String],
        writes: &[LocalIoWrite],
    ) -> Result<IioDevice, String> {
        let folder = find(devices, device)?;
        let is_written =
            |at: usize| writes.iter().any(|write| matches!(write, LocalIoWrite::Channel(c) if usize::from(*c) == at));
        let open = |(at, channel): (usize, &String)| Channel::open(&folder, channel, is_written(at));
        let channels = channels.iter().enumerate().map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(IioDevice { channels })
    }
}

pub(super) fn find(devices: &Path, device: &str) -> Result<PathBuf, String> {
    let folder = devices.join(device);
    if device.starts_with("iio:device") && folder.is_dir() {
        return Ok(folder);
    }
    let mut known = Vec::new();
    for entry in fs::read_dir(devices).into_iter().flatten().flatten() {
        let is_device = entry.file_name().to_string_lossy().starts_with("iio:device");
        let Some(name) = fs::read_to_string(entry.path().join("name")).ok().filter(|_| is_device) else { continue };
        if name.trim_end() == device {
            return Ok(entry.path());
        }
        known.push(format!("{} ({})", entry.file_name().display(), name.trim_end()));
    }
    known.sort();
    let there =
        if known.is_empty() { "there is no IIO device; is the driver loaded?".to_owned() } else { known.join(", ") };
    Err(format!("there is no IIO device \"{device}\" in {}: {there}", devices.display()))
}

impl Channel {
    fn open(folder: &Path, name: &str, is_written: bool) -> Result<Channel, String> {
        let raw = folder.join(format!("{name}_raw"));
        let (path, is_raw) = if raw.exists() { (raw, true) } else { (folder.join(format!("{name}_input")), false) };
        // By its mode, not by trying: root may open what the driver does not read.
        let is_readable = fs::metadata(&path).map_or(true, |meta| meta.mode() & 0o444 != 0);
        let file = OpenOptions::new().read(is_readable).write(is_written).open(&path);
        let file = file.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => {
                format!("{} has no channel \"{name}\"; it has {}", folder.display(), channels(folder))
            }
            Some(libc::EACCES | libc::EPERM) => {
                format!("no permission for {}; add a udev rule that gives it to a group of the user", path.display())
            }
            _ => format!("cannot open {}: {error}", path.display()),
        })?;
        let (scale, offset) = if is_raw {
            (
                shared_number(folder, name, "scale")?.unwrap_or(1.0),
                shared_number(folder, name, "offset")?.unwrap_or(0.0),
            )
        } else {
            (1.0, 0.0)
        };
        Ok(Channel { file, scale, offset, is_write_only: !is_readable, written: None })
    }
}

/// The channels that there are.
fn channels(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let channel = name.strip_suffix("_raw").or(name.strip_suffix("_input"))?;
        (channel.starts_with("in_") || channel.starts_with("out_")).then(|| channel.to_owned())
    };
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A channel's own file, or that of all channels of its kind: without the numbers, and without the modifier.
pub(super) fn shared_number(folder: &Path, channel: &str, what: &str) -> Result<Option<f64>, String> {
    let numberless: String = channel.chars().filter(|c| !c.is_ascii_digit()).collect();
    let plain = numberless
        .rsplit_once('_')
        .filter(|(kind, _)| *kind != "in" && *kind != "out")
        .map(|(kind, _)| kind.to_owned());
    for name in [Some(channel.to_owned()), Some(numberless), plain].into_iter().flatten() {
        let path = folder.join(format!("{name}_{what}"));
        if let Ok(file) = File::open(&path) {
            let number = read_number(&file).map_err(|_| format!("{} does not hold a number", path.display()))?;
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn read_number(file: &File) -> Result<f64, ChannelFault> {
    let mut bytes = [0; SYSFS_NUMBER_BYTES_MAX];
    let len = file.read_at(&mut bytes, 0).map_err(|error| ChannelFault::Of(Fault::of(&error)))?;
    number(bytes.get(..len).unwrap_or_default()).ok_or(ChannelFault::NoNumber)
}

/// The number that such a file holds: digits, perhaps a sign and a fraction, and the end of the line.
pub fn number(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = text.parse().ok().filter(|_| plain && digits.starts_with(|c: char| c.is_ascii_digit()))?;
    number.is_finite().then_some(number)
}

impl Channels for IioDevice {
    fn read(&mut self, channel: usize) -> Result<f64, ChannelFault> {
        let Some(Channel { file, scale, offset, is_write_only, written }) = self.channels.get(channel) else {
            return Err(ChannelFault::Of(Fault::Failed(libc::EINVAL)));
        };
        if *is_write_only {
            return written.map(|(raw, _)| (raw + offset) * scale).ok_or(ChannelFault::Unwritten);
        }
        Ok((read_number(file)? + offset) * scale)
    }

    fn write(&mut self, channel: usize, value: f64) -> Result<(), Fault> {
        let refused = Fault::Failed(libc::EINVAL);
        let Some(Channel { file, scale, offset, written, .. }) = self.channels.get_mut(channel) else {
            return Err(refused);
        };
        let raw = (value / *scale - *offset).round();
        // Whether it is in the converter's range, its driver says.
        if !raw.is_finite() || raw.abs() > RAW_MAX {
            return Err(Fault::Failed(libc::ERANGE));
        }
        file.write_at(format!("{}\n", raw as i64).as_bytes(), 0).map_err(|error| Fault::of(&error))?;
        *written = Some((raw, value));
        Ok(())
    }

    fn read_back(&mut self, channel: usize) -> Result<f64, ChannelFault> {
        let Some(Channel { file, scale, offset, is_write_only: false, written }) = self.channels.get(channel) else {
            return Err(ChannelFault::Of(Fault::Failed(libc::EOPNOTSUPP)));
        };
        let raw = read_number(file)?;
        match written {
            Some((known, value)) if *known == raw => Ok(*value),
            _ => Ok((raw + offset) * scale),
        }
    }
}
