//! IIO by a folder that looks like sysfs.

use std::fs;
use std::path::Path;

use super::super::Reader;
use super::super::channels::ChannelReader;
use super::super::device::Fault;
use super::super::iio::{IioDevice, number};
use super::fake::Fake;
use super::{scanned, setup};
use crate::tag::Status;

const IIO: &str = r#""protocol": "iio", "device": "ads1015""#;
const GOOD: Status = Status::GOOD;

/// Two devices, with the files that the kernel's drivers make.
fn devices() -> tempfile::TempDir {
    let dir = tempfile::TempDir::new().unwrap();
    for (file, text) in [
        ("iio:device0/name", "bmp280\n"),
        ("iio:device0/in_temp_input", "23460\n"),
        ("iio:device1/name", "ads1015\n"),
        ("iio:device1/in_voltage0_raw", "1000\n"),
        ("iio:device1/in_voltage0_scale", "3.000000000\n"),
        ("iio:device1/in_voltage1_raw", "-25\n"),
        ("iio:device1/in_voltage_scale", "2.0\n"),
        ("iio:device1/in_voltage0-voltage1_raw", "7\n"),
        ("iio:device1/in_voltage-voltage_scale", "0.5\n"),
        ("iio:device1/in_accel_x_raw", "100\n"),
        ("iio:device1/in_accel_scale", "0.01\n"),
        ("iio:device1/in_accel_x_offset", "50\n"),
        ("trigger0/name", "ads1015\n"),
    ] {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn open(devices: &Path, device: &str, channels: &[&str]) -> Result<IioDevice, String> {
    IioDevice::open(devices, device, &channels.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>(), &[])
}

#[test]
fn in_a_fake_sysfs_a_channel_is_raw_plus_offset_times_its_own_or_its_kinds_scale() {
    let devices = devices();
    let setup = setup(
        IIO,
        &[
            r#""address": "l:in_voltage0""#,
            r#""address": "l:in_voltage1""#,
            r#""address": "l:in_voltage0-voltage1""#,
            r#""address": "l:in_accel_x""#,
            r#""address": "l:in_voltage0", "data_type": "int16""#,
        ],
    );
    let device = IioDevice::open(devices.path(), "ads1015", &setup.channels, &[]).unwrap();
    let fake = Fake::default();
    let mut reader = ChannelReader::new(Box::new(device), Box::new(fake), setup.clone());
    let wanted = [3000.0, -50.0, 3.5, 1.5, 3000.0].map(|value| Ok((value, GOOD)));
    assert_eq!(scanned(&mut reader, &setup), wanted);
    fs::write(devices.path().join("iio:device1/in_voltage1_raw"), "no number\n").unwrap();
    fs::write(devices.path().join("iio:device1/in_voltage0_raw"), "20000\n").unwrap();
    let values = scanned(&mut reader, &setup);
    assert_eq!(values[0], Ok((60_000.0, GOOD)), "read anew each time");
    assert_eq!(values[1], Err(Status::BAD_DECODING_ERROR));
    assert_eq!(values[4], Err(Status::BAD_DECODING_ERROR), "more than int16 holds");
}

#[test]
fn in_a_fake_sysfs_what_is_missing_is_told_with_what_is_there() {
    let devices = devices();
    let said = open(devices.path(), "ads1115", &[]).err().unwrap();
    assert!(said.ends_with("iio:device0 (bmp280), iio:device1 (ads1015)"), "{said}");
    let said = open(devices.path(), "iio:device1", &["in_voltage9"]).err().unwrap();
    assert!(
        said.contains("no channel \"in_voltage9\"; it has in_accel_x, in_voltage0, in_voltage0-voltage1"),
        "{said}"
    );
    assert!(open(devices.path(), "bmp280", &["in_temp"]).is_ok(), "the driver reckons itself");
    let said = open(&devices.path().join("nothing"), "ads1115", &[]).err().unwrap();
    assert!(said.contains("there is no IIO device; is the driver loaded?"), "{said}");
    fs::write(devices.path().join("iio:device1/in_voltage0_scale"), "lots\n").unwrap();
    let said = open(devices.path(), "ads1015", &["in_voltage0"]).err().unwrap();
    assert!(said.contains("in_voltage0_scale does not hold a number"), "{said}");
}

/// Prints the seed with which it fails.
#[test]
fn a_text_of_sysfs_is_a_number_or_refused_whatever_it_holds() {
    for (text, wanted) in [
        ("0\n", Some(0.0)),
        ("-12.5\n", Some(-12.5)),
        ("4095\n", Some(4095.0)),
        ("4095", None),
        ("\n", None),
        ("", None),
        ("-\n", None),
        (".5\n", None),
        ("1e5\n", None),
        ("inf\n", None),
        ("NaN\n", None),
        ("1 2\n", None),
        ("1\n2\n", None),
        ("+1\n", None),
        ("0x10\n", None),
        ("1.2.3\n", None),
    ] {
        assert_eq!(number(text.as_bytes()), wanted, "{text:?}");
    }
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let len = rng.usize(..64);
        let letters = b"0123456789.-\n eE\xFF";
        let bytes: Vec<u8> = (0..len).map(|_| letters[rng.usize(..letters.len())]).collect();
        if let Some(value) = number(&bytes) {
            accepted += 1;
            assert!(value.is_finite() && bytes.ends_with(b"\n"), "seed {seed}: {bytes:?}");
        }
    }
    assert!(accepted > 100, "seed {seed}: hardly any was a number");
}

/// A converter of 12 bits, 1 mV a step, whose file can be read or not.
fn dac(readable: bool) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::TempDir::new().unwrap();
    for (file, text) in [
        ("name", "mcp4725\n"),
        ("out_voltage0_raw", "0\n"),
        ("out_voltage0_scale", "0.5\n"),
        ("out_voltage0_offset", "-100\n"),
    ] {
        let path = dir.path().join("iio:device0").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mode = fs::Permissions::from_mode(if readable { 0o644 } else { 0o200 });
    fs::set_permissions(dir.path().join("iio:device0/out_voltage0_raw"), mode).unwrap();
    dir
}

#[test]
fn in_a_fake_sysfs_an_output_is_written_to_its_nearest_step_and_read_back() {
    let link = r#""protocol": "iio", "device": "mcp4725""#;
    let setup = setup(link, &[r#""address": "l:out_voltage0""#]);
    let raw = |dir: &tempfile::TempDir| fs::read_to_string(dir.path().join("iio:device0/out_voltage0_raw")).unwrap();
    for readable in [true, false] {
        let dir = dac(readable);
        let device = IioDevice::open(dir.path(), "mcp4725", &setup.channels, &setup.writes).unwrap();
        let mut reader = ChannelReader::new(Box::new(device), Box::new(Fake::default()), setup.clone());
        let mut answers = Vec::new();
        reader.scan(0, &mut answers).unwrap();
        let is_new = answers[0].news == super::super::super::wire::NEW;
        assert_eq!(is_new, readable, "of an output that cannot be read nothing is known before it is written");
        // 200.2 mV is 500.4 steps.
        reader.write(0, &200.2f64.to_ne_bytes()).unwrap();
        assert_eq!(raw(&dir), "500\n");
        assert_eq!(scanned(&mut reader, &setup), [Ok((200.0, GOOD))], "what it makes of it");
        let mut back = Vec::new();
        let read = reader.read_back(0, &mut back);
        if readable {
            assert_eq!((read, back.as_slice()), (Ok(()), &200.2f64.to_ne_bytes()[..]), "the nearest step");
            fs::write(dir.path().join("iio:device0/out_voltage0_raw"), "501\n").unwrap();
            back.clear();
            reader.read_back(0, &mut back).unwrap();
            assert_eq!(back, 200.5f64.to_ne_bytes(), "somebody else has set it");
        } else {
            assert_eq!(read, Err(Fault::Failed(libc::EOPNOTSUPP)));
        }
        for nonsense in [f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(reader.write(0, &nonsense.to_ne_bytes()), Err(Fault::Failed(libc::ERANGE)));
        }
        assert_eq!(reader.write(0, &[1]), Err(Fault::Failed(libc::EINVAL)));
        assert_eq!(reader.write(1, &[0; 8]), Err(Fault::Failed(libc::EINVAL)), "no such slot");
    }
}
