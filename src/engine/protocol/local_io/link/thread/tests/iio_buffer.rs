//! The buffer of an IIO device that is a fake: a folder that looks like sysfs, and a FIFO in place of the device file.
//! There is no driver behind it that would refuse anything, or sample.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::super::wire::{self, Asked, Datagram, Told};
use super::super::iio_buffer::{IioBuffer, Stream, cannot_open, cannot_set};
use super::super::samples::SampleReader;
use super::super::{SystemClock, start};
use super::setup;
use crate::limits::LOCAL_IO_DATAGRAM_BYTES_MAX;
use crate::protocol::local_io::link::thread::unopened::Trouble;
use crate::protocol::local_io::model::LocalIoDevice;
use crate::protocol::local_io::plan::LocalIoSetup;
use crate::rt::monotonic_now;
use crate::tag::Status;

/// As the kernel's drivers make them; a program before has left a channel and the buffer on.
const FILES: &[(&str, &str)] = &[
    ("iio:device0/name", "adc8\n"),
    ("iio:device0/buffer/enable", "1\n"),
    ("iio:device0/buffer/length", "2\n"),
    ("iio:device0/buffer/watermark", "1\n"),
    ("iio:device0/current_timestamp_clock", "realtime\n"),
    ("iio:device0/trigger/current_trigger", ""),
    ("iio:device0/in_voltage_scale", "0.5\n"),
    ("iio:device0/in_voltage1_offset", "-100\n"),
    ("iio:device0/scan_elements/in_voltage0_en", "0\n"),
    ("iio:device0/scan_elements/in_voltage0_index", "0\n"),
    ("iio:device0/scan_elements/in_voltage0_type", "le:s12/16>>4\n"),
    ("iio:device0/scan_elements/in_voltage1_en", "0\n"),
    ("iio:device0/scan_elements/in_voltage1_index", "1\n"),
    ("iio:device0/scan_elements/in_voltage1_type", "be:u24/32>>8\n"),
    ("iio:device0/scan_elements/in_voltage2_en", "1\n"),
    ("iio:device0/scan_elements/in_voltage2_index", "2\n"),
    ("iio:device0/scan_elements/in_voltage2_type", "le:s12/16>>4\n"),
    ("iio:device0/scan_elements/in_timestamp_en", "0\n"),
    ("iio:device0/scan_elements/in_timestamp_index", "3\n"),
    ("iio:device0/scan_elements/in_timestamp_type", "le:s64/64>>0\n"),
    ("trigger0/name", "tick\n"),
    ("trigger0/sampling_frequency", "100.000000000\n"),
];

struct Sysfs {
    dir: tempfile::TempDir,
}

impl Sysfs {
    fn new() -> Sysfs {
        let dir = tempfile::TempDir::new().unwrap();
        for (file, text) in FILES {
            let path = dir.path().join("sys").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir(dir.path().join("dev")).unwrap();
        let sysfs = Sysfs { dir };
        nix::unistd::mkfifo(&sysfs.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        sysfs
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("dev/iio:device0")
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.dir.path().join("sys").join(file)
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// The whole of it.
    fn texts(&self) -> Vec<String> {
        FILES.iter().map(|(file, _)| self.text(file)).collect()
    }

    /// The other end of the device file.
    fn driver(&self) -> File {
        OpenOptions::new().read(true).write(true).open(self.file()).unwrap()
    }

    fn open(&self, setup: &LocalIoSetup) -> Result<(IioBuffer, Stream), String> {
        let LocalIoDevice::Iio { device, buffer: Some(config) } = &setup.device else { panic!() };
        let (sys, dev) = (self.dir.path().join("sys"), self.dir.path().join("dev"));
        IioBuffer::open(&sys, &dev, device, &setup.channels, config).map_err(|trouble| match trouble {
            Trouble::Busy(text) | Trouble::Other(text) => text,
        })
    }
}

fn buffered(buffer: &str) -> Arc<LocalIoSetup> {
    let link = format!(r#""protocol": "iio", "device": "adc8", "buffer": {{{buffer}}}"#);
    setup(&link, &[r#""address": "l:in_voltage1""#, r#""address": "l:in_voltage0""#])
}

#[test]
fn in_a_fake_sysfs_a_buffer_is_set_up_and_put_back_as_it_was() {
    let sysfs = Sysfs::new();
    let before = sysfs.texts();
    let setup = buffered(r#""trigger": "tick", "frequency_hz": 1000, "length": 64, "watermark": 8"#);
    let _driver = sysfs.driver();
    fs::write(sysfs.path("trigger0/sampling_frequency"), "1000.000000000\n").unwrap();
    let (buffer, stream) = sysfs.open(&setup).unwrap_or_else(|said| panic!("{said}"));
    for (file, wanted) in [
        ("buffer/enable", "1"),
        ("buffer/length", "64"),
        ("buffer/watermark", "8"),
        ("current_timestamp_clock", "monotonic"),
        ("trigger/current_trigger", "tick"),
        ("scan_elements/in_voltage0_en", "1"),
        ("scan_elements/in_voltage1_en", "1"),
        ("scan_elements/in_voltage2_en", "0"),
        ("scan_elements/in_timestamp_en", "1"),
    ] {
        assert_eq!(sysfs.text(&format!("iio:device0/{file}")).trim_end(), wanted, "{file}");
    }
    // By index: voltage0 in 2 bytes, voltage1 in 4 at a multiple of 4, the time in 8.
    assert_eq!((stream.channels[0].at, stream.channels[1].at, stream.time.unwrap().at), (4, 0, 8));
    assert_eq!(stream.scan_bytes, 16);
    let scan = [0xF0, 0x7F, 0, 0, 0x00, 0x03, 0xE8, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!((stream.channels[0].value(&scan), stream.channels[1].value(&scan)), (Some(450.0), Some(1023.5)));
    drop(buffer);
    fs::write(sysfs.path("trigger0/sampling_frequency"), "100.000000000\n").unwrap();
    let mut wanted = before;
    // The buffer that was left on is off.
    wanted[1] = "0\n".to_owned();
    wanted[5] = "\n".to_owned();
    assert_eq!(sysfs.texts(), wanted);
}

#[test]
fn in_a_fake_sysfs_what_is_in_the_way_is_told_with_its_file_and_what_to_do_and_nothing_stays_changed() {
    let frequency = r#""frequency_hz": 1000"#;
    // What the buffer has, what is done to the files, what is said.
    type Case<'a> = (&'a str, &'a dyn Fn(&Sysfs), &'a str);
    let cases: &[Case<'_>] = &[
        (
            frequency,
            &|s| fs::remove_dir_all(s.path("iio:device0/buffer")).unwrap(),
            "has no buffer/enable: its driver has no buffer",
        ),
        (frequency, &|s| fs::remove_file(s.file()).unwrap(), "dev/iio:device0 does not exist"),
        (
            frequency,
            &|s| fs::remove_file(s.path("iio:device0/scan_elements/in_voltage1_en")).unwrap(),
            "has no channel \"in_voltage1\" for the buffer; it has in_voltage0, in_voltage2",
        ),
        (r#""trigger": "tock""#, &|_| (), "there is no trigger \"tock\": available triggers: tick"),
        (
            r#""trigger": "tick""#,
            &|s| fs::remove_dir_all(s.path("iio:device0/trigger")).unwrap(),
            "the device has no trigger; remove \"trigger\"",
        ),
        (frequency, &|_| (), "nor its trigger has a file sampling_frequency"),
        (frequency, &|s| fs::create_dir(s.path("iio:device0/sampling_frequency")).unwrap(), "cannot write \"1000\" to"),
        (
            r#""length": 8"#,
            &|s| fs::write(s.path("iio:device0/scan_elements/in_voltage0_type"), "le:f12/16>>4\n").unwrap(),
            "in_voltage0_type is \"le:f12/16>>4\\n\", which is an unknown format",
        ),
        (
            r#""length": 8"#,
            &|s| fs::write(s.path("iio:device0/scan_elements/in_voltage0_type"), "le:s16/16X4>>0\n").unwrap(),
            "in_voltage0 has 4 values in a scan, but a tag has one",
        ),
        (
            r#""length": 8"#,
            &|s| fs::write(s.path("iio:device0/scan_elements/in_voltage0_index"), "\n").unwrap(),
            "in_voltage0_index does not hold a number",
        ),
    ];
    for (buffer, harm, wanted) in cases {
        let sysfs = Sysfs::new();
        harm(&sysfs);
        let said = sysfs.open(&buffered(buffer)).err().unwrap_or_else(|| panic!("not refused: {wanted}"));
        assert!(said.contains(wanted), "found:  {said}\nexpected: {wanted}");
        let length = fs::read_to_string(sysfs.path("iio:device0/buffer/length")).unwrap_or("2\n".into());
        assert_eq!((length.as_str(), sysfs.text("iio:device0/scan_elements/in_voltage2_en").as_str()), ("2\n", "1\n"));
    }
}

#[test]
fn a_frequency_that_the_device_does_not_make_is_told() {
    let sysfs = Sysfs::new();
    fs::write(sysfs.path("trigger0/sampling_frequency_available"), "100 200\n").unwrap();
    // A file keeps what is written; this one stands for a driver that does not.
    fs::remove_file(sysfs.path("trigger0/sampling_frequency")).unwrap();
    std::os::unix::fs::symlink("/dev/null", sysfs.path("trigger0/sampling_frequency")).unwrap();
    let said = sysfs.open(&buffered(r#""trigger": "tick", "frequency_hz": 1000"#)).err().unwrap();
    assert!(said.contains("sampling_frequency is nothing, although 1000 was requested; it has 100 200"), "{said}");
}

#[test]
fn who_has_the_buffer_and_who_may_not_is_told() {
    let of = |code| io::Error::from_raw_os_error(code);
    let device = Path::new("/dev/iio:device0");
    let Trouble::Busy(said) = cannot_open(device, &of(libc::EBUSY)) else { panic!("it may be about to leave") };
    assert!(said.contains("fuser -v /dev/iio:device0"), "{said}");
    let enable = Path::new("/sys/bus/iio/devices/iio:device0/buffer/enable");
    let Trouble::Busy(said) = cannot_set(enable, "1", &of(libc::EBUSY)) else { panic!() };
    assert!(said.contains("buffer/enable is busy: the device's buffer is in use by another"), "{said}");
    let Trouble::Other(said) = cannot_set(enable, "1", &of(libc::EACCES)) else { panic!() };
    assert!(said.contains("no permission to write") && said.contains("udev rule"), "{said}");
    let Trouble::Other(said) = cannot_open(device, &of(libc::EACCES)) else { panic!() };
    assert!(said.contains("usually iio"), "{said}");
}

#[test]
fn a_thread_tells_each_sample_of_a_fake_device_and_switches_its_buffer_off_at_its_end() {
    let sysfs = Sysfs::new();
    fs::write(sysfs.path("trigger0/sampling_frequency"), "1000\n").unwrap();
    let setup = buffered(r#""sampling": "every", "trigger": "tick", "frequency_hz": 1000"#);
    let LocalIoDevice::Iio { buffer: Some(config), .. } = setup.device.clone() else { panic!() };
    let mut driver = sysfs.driver();
    let (buffer, stream) = sysfs.open(&setup).unwrap_or_else(|said| panic!("{said}"));
    let reader = SampleReader::new(Box::new(buffer), stream, Box::new(SystemClock), setup.clone(), config);
    let ordinary = LocalIoSetup { priority: 0, ..(*setup).clone() };
    let socket = start(Box::new(reader), &ordinary).unwrap();
    let from = monotonic_now();
    let mut written = Vec::new();
    for n in 0..20i16 {
        let t = from.0 + n as u64;
        let mut scan = [0; 16];
        scan[..2].copy_from_slice(&(n << 4).to_le_bytes());
        scan[4..7].copy_from_slice(&[0, 1, n as u8]);
        scan[8..].copy_from_slice(&t.to_le_bytes());
        driver.write_all(&scan).unwrap();
        written.extend([(0, (256.0 + f64::from(n) - 100.0) * 0.5, t), (1, f64::from(n) * 0.5, t)]);
    }
    let receive = || {
        let mut buffer = vec![0; LOCAL_IO_DATAGRAM_BYTES_MAX];
        // SAFETY: pointer and length are those of a live, writable slice.
        let len = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        buffer.truncate(usize::try_from(len).unwrap());
        buffer
    };
    let mut told = Vec::new();
    while told.len() < written.len() {
        let bytes = receive();
        let Some(Told::Edges { lost: 0, entries }) = wire::told(&bytes) else { panic!("{bytes:?}") };
        told.extend(entries.map(|entry| (entry.item, f64::from_bits(entry.value), entry.t.0)));
    }
    assert_eq!(told, written);
    let mut datagram = Datagram::default();
    datagram.ask(Asked::Scan { request: 0, sequence: 5 });
    // SAFETY: pointer and length are those of a live slice.
    unsafe { libc::send(socket.as_raw_fd(), datagram.bytes().as_ptr().cast(), datagram.bytes().len(), 0) };
    let bytes = receive();
    let Some(Told::Scanned { sequence: 5, mut entries, .. }) = wire::told(&bytes) else { panic!("{bytes:?}") };
    assert!(entries.all(|entry| entry.item == wire::UNCHANGED && entry.status == Status::GOOD));
    drop(socket);
    let end = Instant::now() + Duration::from_secs(10);
    while sysfs.text("iio:device0/buffer/enable") != "0\n" && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(sysfs.text("iio:device0/buffer/enable"), "0\n");
}
