//! Analogue inputs of the kernel's IIO, by its files in sysfs (kernel documentation, ABI/testing/sysfs-bus-iio).
//!
//! A channel's value is (raw + offset) × scale, in the unit of that document: mV, mA, milli °C; or what its `_input`
//! file says, where the driver reckons itself. Scale and offset are read once, when the device is opened.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::device::{ChannelFault, Channels, Fault};
use crate::limits::SYSFS_NUMBER_BYTES_MAX;

pub const DEVICES: &str = "/sys/bus/iio/devices";

/// The open files of the channels.
pub struct IioDevice {
    channels: Vec<Channel>,
}

struct Channel {
    file: File,
    scale: f64,
    offset: f64,
}

impl IioDevice {
    /// `devices` is the folder of all devices.
    ///
    /// # Errors
    /// What is missing, and what is there.
    pub fn open(devices: &Path, device: &str, channels: &[String]) -> Result<IioDevice, String> {
        let folder = find(devices, device)?;
        let channels = channels.iter().map(|channel| Channel::open(&folder, channel)).collect::<Result<Vec<_>, _>>()?;
        Ok(IioDevice { channels })
    }
}

fn find(devices: &Path, device: &str) -> Result<PathBuf, String> {
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
    let there = if known.is_empty() { "there is none; is its driver loaded?".to_owned() } else { known.join(", ") };
    Err(format!("there is no IIO device \"{device}\" in {}: {there}", devices.display()))
}

impl Channel {
    fn open(folder: &Path, name: &str) -> Result<Channel, String> {
        let raw = folder.join(format!("{name}_raw"));
        let (path, is_raw) = if raw.exists() { (raw, true) } else { (folder.join(format!("{name}_input")), false) };
        let file = File::open(&path).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => format!("{} has no channel \"{name}\"; it has {}", folder.display(), inputs(folder)),
            Some(libc::EACCES | libc::EPERM) => {
                format!("no permission for {}; let a udev rule give it to a group of the user", path.display())
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
        Ok(Channel { file, scale, offset })
    }
}

/// The channels that can be read.
fn inputs(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let channel = name.strip_suffix("_raw").or(name.strip_suffix("_input"))?;
        channel.starts_with("in_").then(|| channel.to_owned())
    };
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A channel's own file, or that of all channels of its kind: without the numbers, and without the modifier.
fn shared_number(folder: &Path, channel: &str, what: &str) -> Result<Option<f64>, String> {
    let numberless: String = channel.chars().filter(|c| !c.is_ascii_digit()).collect();
    let plain = numberless.rsplit_once('_').filter(|(kind, _)| *kind != "in").map(|(kind, _)| kind.to_owned());
    for name in [Some(channel.to_owned()), Some(numberless), plain].into_iter().flatten() {
        let path = folder.join(format!("{name}_{what}"));
        if let Ok(file) = File::open(&path) {
            let number = read_number(&file).map_err(|_| format!("{} holds no number", path.display()))?;
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
        let Some(Channel { file, scale, offset }) = self.channels.get(channel) else {
            return Err(ChannelFault::Of(Fault::Failed(libc::EINVAL)));
        };
        Ok((read_number(file)? + offset) * scale)
    }
}
