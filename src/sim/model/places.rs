//! Where devices are: each has a number, its host, which stands in the name of whatever leads to it.

use std::path::Path;

use crate::plan::{Place, Plan};
use crate::protocol::local_io::model::LocalIoDevice;
use crate::protocol::local_io::plan::LocalIoSetup;
use crate::tag::LinkId;
use fieldbeat_engine::connector::Target;

/// The name of a device's host.
pub fn host_name(host: u32) -> String {
    format!("10.0.{}.{}", host >> 8, host & 255)
}

/// The port of the line that a host is at the other end of.
pub fn port_name(host: u32) -> String {
    format!("/dev/sim{host}")
}

/// What the names of interfaces begin with on which CANopen is spoken.
pub const CANOPEN: &str = "cano";

/// The host at a place.
pub fn host_of(place: &Place) -> Option<u32> {
    let number = |path: &Path, prefix: &str| path.to_str()?.strip_prefix(prefix)?.parse().ok();
    match place {
        Place::Tcp { host, .. } => {
            let (high, low) = host.strip_prefix("10.0.")?.split_once('.')?;
            Some(high.parse::<u32>().ok()? << 8 | low.parse::<u32>().ok()?)
        }
        Place::Serial(serial) => number(&serial.port, "/dev/sim"),
        Place::Can(socket) => {
            let interface = &socket.interface;
            interface.strip_prefix(CANOPEN).or_else(|| interface.strip_prefix("can"))?.parse().ok()
        }
        Place::Own(device) => host_of_device(&*device.clone().get()?),
    }
}

fn host_of_device(setup: &LocalIoSetup) -> Option<u32> {
    let number = |path: &Path, prefix: &str| path.to_str()?.strip_prefix(prefix)?.parse().ok();
    match &setup.device {
        LocalIoDevice::Gpio { chip } => number(chip, "/dev/gpiochip"),
        LocalIoDevice::I2c { bus, .. } => number(bus, "/dev/i2c-"),
        LocalIoDevice::Spi { device, .. } => number(device, "/dev/spi"),
        LocalIoDevice::Iio { device, .. } => device.strip_prefix("iio:device")?.parse().ok(),
    }
}

/// The host of a link's device.
pub fn host_of_link(plan: &Plan, link: LinkId) -> u32 {
    let target = plan.links.get(link).and_then(|link| Target::of(&*link.protocol, 0));
    target.and_then(|target| host_of(&target.place)).unwrap_or(u32::MAX)
}
