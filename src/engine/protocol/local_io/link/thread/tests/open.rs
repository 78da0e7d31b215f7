//! Devices that cannot be opened, and what is said.

use std::fs::File;
use std::io;
use std::path::Path;

use super::super::open::{Kind, open, open_error};
use super::setup;

fn said(link: &str, tag: &str) -> String {
    open(&setup(link, &[tag])).expect_err("there is no such device")
}

#[test]
fn a_device_that_is_not_there_is_told_with_what_to_do() {
    let gpio = said(r#""protocol": "gpio", "chip": "/dev/gpiochip99""#, r#""address": "l:1""#);
    assert_eq!(gpio, "/dev/gpiochip99 does not exist; gpiodetect lists the chips");
    let i2c = said(r#""protocol": "i2c", "bus": "/dev/i2c-99""#, r#""address": "l:0x48:0:1""#);
    assert!(i2c.contains("/dev/i2c-99 does not exist") && i2c.contains("modprobe i2c-dev"), "{i2c}");
    let spi = said(r#""protocol": "spi", "device": "/dev/spidev9.9""#, r#""address": "l:0x00""#);
    assert!(spi.contains("is the bus enabled, and spidev bound to the device"), "{spi}");
    let iio = said(r#""protocol": "iio", "device": "no-such-adc""#, r#""address": "l:in_voltage0""#);
    assert!(iio.contains("there is no IIO device \"no-such-adc\""), "{iio}");
}

#[test]
fn a_file_that_is_another_device_is_told() {
    let gpio = said(r#""protocol": "gpio", "chip": "/dev/null""#, r#""address": "l:1""#);
    assert!(gpio.contains("/dev/null is not a GPIO chip") && gpio.contains("gpiodetect"), "{gpio}");
    let i2c = said(r#""protocol": "i2c", "bus": "/dev/null""#, r#""address": "l:0x48:0:1""#);
    assert!(i2c.contains("/dev/null is not an I2C bus"), "{i2c}");
    let spi = said(r#""protocol": "spi", "device": "/dev/null""#, r#""address": "l:0x00""#);
    assert!(spi.contains("/dev/null refuses mode 0 at 1000000 Hz"), "{spi}");
}

#[test]
fn who_may_not_open_it_is_told_which_group_to_join() {
    let denied = io::Error::from_raw_os_error(libc::EACCES);
    let said = open_error(Path::new("/dev/i2c-1"), Kind::I2c, &denied);
    assert!(said.contains("no permission for /dev/i2c-1") && said.contains("usermod -aG i2c USER"), "{said}");
    assert!(open_error(Path::new("/dev/gpiochip0"), Kind::Gpio, &denied).contains("usermod -aG gpio USER"));
    assert!(open_error(Path::new("/dev/spidev0.0"), Kind::Spi, &denied).contains("SupplementaryGroups=spi"));
}

#[test]
fn a_bus_that_another_has_is_waited_for_and_then_told() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("bus");
    let other = File::create(&path).unwrap();
    other.lock().unwrap();
    let link = format!(r#""protocol": "i2c", "bus": "{}""#, path.display());
    let started = std::time::Instant::now();
    let busy = said(&link, r#""address": "l:0x48:0:1""#);
    assert!(busy.contains("is locked: another link or program uses it"), "{busy}");
    assert!(started.elapsed() >= std::time::Duration::from_millis(900), "a thread of ours may be about to leave");
    drop(other);
    assert!(said(&link, r#""address": "l:0x48:0:1""#).contains("is not an I2C bus"));
}
