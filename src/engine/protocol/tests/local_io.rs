//! Links to local inputs and outputs, right and wrong.

use super::{MINIMAL, config, lines, refused};
use crate::config::*;
use crate::protocol::load_parts;
use crate::protocol::local_io::{
    Field, FieldKind, Formula, GpioBias, GpioEdge, GpioLine, GpioSetting, IioBufferConfig, LocalIoAddress,
    LocalIoConfig, LocalIoDevice, LocalIoPoint, Program, Step,
};
use crate::tag::{Nanos, ScalarType, ValueType};

const LINKS: &str = r#""links": [
    {"name": "gpio", "protocol": "gpio", "chip": "/dev/gpiochip0"},
    {"name": "i2c", "protocol": "i2c", "bus": "/dev/i2c-1", "clock_hz": 400000},
    {"name": "spi", "protocol": "spi", "device": "/dev/spidev0.0", "mode": 3, "speed_hz": 500000, "bits": 8},
    {"name": "adc", "protocol": "iio", "device": "iio:device0"},
    {"name": "plc", "protocol": "modbus_tcp", "host": "10.0.0.1"}]"#;

fn file(tags: &[&str]) -> String {
    format!("{{{LINKS}, \"tags\": [\n{}\n]}}", tags.join(",\n"))
}

/// A tag with its name, scan rate, and a link that is used.
fn tag(rest: &str) -> String {
    format!(r#"{{"name": "t", "scan_rate_ms": 100, {rest}}}"#)
}

fn accepted(rest: &str) -> (LocalIoAddress, ValueType) {
    let text = file(&[&tag(rest)]);
    let loaded = load_parts(("fieldbeat.toml", MINIMAL), &[("tags/a.json", &text)]).unwrap_or_else(|e| panic!("{e}"));
    let tag = loaded.config.tags[0].clone();
    let Some(address) = tag.address.get::<LocalIoAddress>() else { panic!("{:?}", tag.address) };
    (address.clone(), tag.value_type())
}

/// The only fault, without its place.
fn fault(rest: &str) -> String {
    let all = lines(&refused(MINIMAL, &[("tags/a.json", &file(&[&tag(rest)]))]));
    let errors: Vec<&String> = all.iter().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(errors.len(), 1, "{all:#?}");
    errors[0].split(": error: ").nth(1).unwrap().to_owned()
}

fn register(rest: &str) -> (Program, Field) {
    let (address, _) = accepted(rest);
    let LocalIoPoint::Register { program, formula: Formula::Field(field), .. } = address.point else { panic!() };
    ((*program).clone(), field)
}

#[test]
fn a_link_of_each_kind_is_read_with_its_defaults() {
    let tags = [r#"{"name": "t", "scan_rate_ms": 100, "address": "gpio:1"}"#];
    let text = file(&tags);
    let loaded = load_parts(("fieldbeat.toml", MINIMAL), &[("tags/a.json", &text)]).unwrap();
    let bus = |at: usize| loaded.config.links[at].protocol.get::<LocalIoConfig>().unwrap();
    assert_eq!(bus(0).device, LocalIoDevice::Gpio { chip: "/dev/gpiochip0".into() });
    assert_eq!(bus(1).device, LocalIoDevice::I2c { bus: "/dev/i2c-1".into(), clock_hz: 400_000 });
    let spi = LocalIoDevice::Spi { device: "/dev/spidev0.0".into(), mode: 3, speed_hz: 500_000, lsb_first: false };
    assert_eq!(bus(2).device, spi);
    assert_eq!(bus(3).device, LocalIoDevice::Iio { device: "iio:device0".into(), buffer: None });
    assert_eq!((bus(1).timeout, bus(1).overhead), (Nanos::from_millis(100), Nanos::from_micros(100)));
}

#[test]
fn a_line_is_named_by_number_or_name_and_set_up_as_written() {
    let (address, ty) = accepted(r#""address": "gpio:17", "bias": "pull-up", "active_low": true, "debounce_us": 5000"#);
    let LocalIoPoint::Gpio(point) = address.point else { panic!() };
    assert_eq!((point.line, point.counts, ty), (GpioLine::Offset(17), false, ValueType::Scalar(ScalarType::Bool)));
    let wanted = GpioSetting { bias: GpioBias::PullUp, active_low: true, debounce_us: 5000, ..GpioSetting::default() };
    assert_eq!(point.setting, wanted);
    let (address, ty) = accepted(r#""address": "gpio:P9:12", "edge": "rising", "data_type": "uint64""#);
    let LocalIoPoint::Gpio(point) = address.point else { panic!() };
    assert_eq!((point.line, point.counts), (GpioLine::Name("P9:12".into()), true));
    assert_eq!((point.setting.edge, ty), (Some(GpioEdge::Rising), ValueType::Scalar(ScalarType::Uint64)));
    let (output, _) = accepted(r#""address": "gpio:4", "direction": "out", "initial": false, "drive": "open-drain""#);
    assert!(output.is_writable());
    assert!(!accepted(r#""address": "gpio:4""#).0.is_writable());
}

#[test]
fn a_register_is_cut_as_written() {
    let (program, field) = register(r#""address": "i2c:0x48:0x02:2", "data_type": "int16", "shift": 4"#);
    assert_eq!(program.address, 0x48);
    assert_eq!(program.measure, [Step::Read { command: vec![2], bytes: 2 }]);
    assert_eq!((field.shift, field.kind), (4, FieldKind::Signed { bits: 12 }));
    let (program, field) = register(r#""address": "i2c:72:0x0102:4", "byte_order": "DCBA", "mask": "0x0FFF""#);
    assert_eq!(program.measure, [Step::Read { command: vec![1, 2], bytes: 4 }]);
    assert_eq!((field.little_endian, field.mask, field.kind), (true, 0xFFF, FieldKind::Unsigned));
    // A humidity sensor that takes a command, 15 ms, and gives two words with a check sum each.
    let sht = r#""address": "i2c:0x44:-:6", "command": ["0x24", 0], "delay_us": 15000, "at": 3, "data_type": "uint16""#;
    let (program, field) = register(sht);
    let read = Step::Read { command: vec![], bytes: 6 };
    assert_eq!(program.measure, [Step::Write(vec![0x24, 0]), Step::Wait(Nanos::from_millis(15)), read]);
    assert_eq!((field.at, field.width), (3, 2));
    let (program, field) = register(r#""address": "spi:0x068000", "at": 1, "width": 2, "mask": 4095"#);
    assert_eq!(program.measure, [Step::Exchange(vec![6, 0x80, 0])]);
    assert_eq!((field.at, field.width, field.mask), (1, 2, 0xFFF));
    let (program, field) = register(r#""address": "spi:0x8A:3", "data_type": "bool", "bit": 7"#);
    assert_eq!(program.measure, [Step::Read { command: vec![0x8A], bytes: 3 }]);
    assert_eq!((field.kind, field.mask), (FieldKind::Bool, 0x80));
    assert!(accepted(r#""address": "i2c:0x48:0x02:2""#).0.is_writable(), "a plain register");
    assert!(!accepted(r#""address": "i2c:0x48:0x02:2", "shift": 1"#).0.is_writable(), "a part of one");
}

#[test]
fn a_chip_is_known_by_name_and_set_as_written() {
    let (address, ty) =
        accepted(r#""address": "i2c:0x48:ads1115.ain0", "chip": {"full_scale_v": 4.096, "rate_sps": 860}"#);
    assert_eq!(ty, ValueType::Scalar(ScalarType::Float64));
    let LocalIoPoint::Register { program, formula, write: None } = address.point else { panic!() };
    assert_eq!(program.measure[0], Step::Write(vec![1, 0xC3, 0xE3]));
    let Formula::Linear { factor, .. } = formula else { panic!() };
    assert_eq!(factor, 4.096 / 32_768.0);
    accepted(r#""address": "spi:mcp3208.ch3", "chip": {"reference_v": 5}, "data_type": "float32""#);
    accepted(r#""address": "i2c:0x76:bme280.temperature""#);
    accepted(r#""address": "i2c:0x40:ina219.bus_voltage""#);
    accepted(r#""address": "spi:bme280.humidity""#);
    let (_, ty) = accepted(r#""address": "i2c:0x20:mcp23017.gpb3""#);
    assert_eq!(ty, ValueType::Scalar(ScalarType::Bool));
}

#[test]
fn what_is_wrong_is_told_with_what_is_allowed() {
    for (rest, said) in [
        (
            r#""address": "gpio:17", "data_type": "int16""#,
            "a line has no value of this type; allowed: bool for the \
            level",
        ),
        (r#""address": "gpio:17", "data_type": "uint32""#, "a count without edge; allowed: \"edge\""),
        (r#""address": "gpio:17", "edge": "up""#, "edge \"up\" is unknown; allowed: rising, falling, both"),
        (r#""address": "gpio:17", "direction": "out", "edge": "both""#, "edge on an output; remove it"),
        (r#""address": "gpio:17", "initial": true"#, "initial on an input; remove it, or set \"direction\": \"out\""),
        (
            r#""address": "gpio:17", "debounce_us": 9999999"#,
            "debounce_us is 9999999; allowed: a whole number from 0 to",
        ),
        (r#""address": "gpio:17", "scale": 2"#, "scale on a bool; remove it"),
        (r#""address": "gpio:", "edge": "both""#, "the line \"\"; allowed: link:line"),
        (r#""address": "i2c:0x78:0:2""#, "the device's address is \"0x78\"; allowed: 0x08 to 0x77"),
        (r#""address": "i2c:zz:0:2""#, "the device's address is \"zz\"; allowed: 0x08 to 0x77"),
        (r#""address": "i2c:0x48:0x100:2""#, "the register is \"0x100\"; allowed: 0x00 to 0xFF, with four digits"),
        (r#""address": "i2c:0x48:0:33""#, "the number of bytes is \"33\"; allowed: 1 to 32"),
        (r#""address": "i2c:0x48:0:0""#, "the number of bytes is \"0\"; allowed: 1 to 32"),
        (r#""address": "i2c:0x48""#, "address \"i2c:0x48\"; allowed: link:address:register:bytes"),
        (r#""address": "i2c:0x48:0:2", "at": 2"#, "at is 2, but 2 bytes are read; allowed: 0 to 1"),
        (
            r#""address": "i2c:0x48:0:2", "at": 1, "data_type": "int16""#,
            "2 bytes from byte 1 exceed the 2 bytes that are read",
        ),
        (r#""address": "i2c:0x48:0:2", "width": 3"#, "3 bytes from byte 0 exceed the 2 bytes that are read"),
        (r#""address": "i2c:0x48:0:12""#, "a value of 12 bytes; allowed: \"at\" and \"width\""),
        (r#""address": "i2c:0x48:0:2", "shift": 16"#, "a shift of 16 removes all 16 bits; allowed: 0 to 15"),
        (
            r#""address": "i2c:0x48:0:2", "shift": 8, "mask": "0x1FF""#,
            "mask 0x1FF exceeds the 8 bits that are read; allowed: up to 0xFF",
        ),
        (r#""address": "i2c:0x48:0:2", "mask": 0"#, "mask is 0; allowed: a number that is not 0"),
        (
            r#""address": "i2c:0x48:0:1", "data_type": "bool", "bit": 8"#,
            "bit 8 is outside the 8 bits that are read; allowed: 0 to 7",
        ),
        (r#""address": "i2c:0x48:0:1", "data_type": "bool""#, "a bool without bit; allowed: \"bit\" or \"mask\""),
        (r#""address": "i2c:0x48:0:4", "data_type": "int16""#, "32 bits do not fit int16; allowed: a wider type"),
        (r#""address": "i2c:0x48:0:2", "data_type": "float32""#, "a float32 of 2 bytes; allowed: 4 bytes"),
        (r#""address": "i2c:0x48:0:4", "data_type": "float32", "shift": 1"#, "shift on a float32; remove it"),
        (r#""address": "i2c:0x48:0:2", "byte_order": "CDAB""#, "this byte_order swaps words, but the value has none"),
        (r#""address": "i2c:0x48:0:2", "command": [256]"#, "command is a list; allowed: a list of 1 to 16 bytes"),
        (r#""address": "i2c:0x48:0:2", "delay_us": 10"#, "delay_us without command"),
        (r#""address": "i2c:0x48:0:2", "data_type": "string""#, "data_type string on a link of local inputs"),
        (r#""address": "i2c:0x48:0:2", "edge": "both""#, "edge on a link of protocol i2c; remove it"),
        (r#""address": "i2c:0x48:adc1115.ain0""#, "the chip \"adc1115\" is unknown; allowed: ads1115, ads1015"),
        (r#""address": "i2c:0x48:ads1115.ain4""#, "ads1115 has no channel \"ain4\"; allowed: ain0, ain1"),
        (r#""address": "i2c:0x48:bme280.temperature""#, "a bme280 cannot have the address 0x48; allowed: 0x76 to 0x77"),
        (r#""address": "i2c:0x48:mcp3208.ch0""#, "the chip \"mcp3208\" is unknown"),
        (r#""address": "i2c:0x48:ads1115.ain0", "shift": 1"#, "shift with a known chip; remove it"),
        (
            r#""address": "i2c:0x48:ads1115.ain0", "chip": {"full_scale_v": 3}"#,
            "full_scale_v is 3; allowed: 6.144, 4.096",
        ),
        (r#""address": "i2c:0x48:ads1115.ain0", "chip": {"rate_sps": 1000}"#, "rate_sps is 1000; allowed: 8, 16, 32"),
        (
            r#""address": "i2c:0x48:ads1115.ain0", "chip": {"shunt_ohm": 1}"#,
            "ads1115 has no shunt_ohm; allowed: full_scale_v, rate_sps",
        ),
        (r#""address": "i2c:0x48:ads1115.ain0", "data_type": "bool""#, "ads1115.ain0 is not a bool; allowed: float64"),
        (r#""address": "spi:0x8:3""#, "the bytes to send are \"0x8\"; allowed: 0x and two digits"),
        (r#""address": "adc:voltage0""#, "the channel \"voltage0\" is not a channel"),
        (r#""address": "adc:in_voltage0_raw""#, "the channel \"in_voltage0_raw\" has the suffix of a file name"),
        (r#""address": "adc:in_../../x""#, "the channel \"in_../../x\" is not a channel"),
        (
            r#""address": "plc:1:3:40001", "data_type": "uint16", "debounce_us": 5"#,
            "debounce_us on a link of protocol modbus_tcp; remove it",
        ),
    ] {
        let found = fault(rest);
        assert!(found.contains(said), "{rest}\nfound:  {found}\nwanted: {said}");
    }
}

#[test]
fn impossible_links_are_refused() {
    for (link, said) in [
        (
            r#""protocol": "i2c", "bus": "/dev/i2c-1", "clock_hz": 5000"#,
            "clock_hz is 5000; allowed: a whole number from 10000 to 3400000 Hz",
        ),
        (r#""protocol": "i2c", "bus": "i2c-1""#, "bus \"i2c-1\" is not an absolute path"),
        (r#""protocol": "i2c""#, "bus is missing; allowed: the path of a device"),
        (
            r#""protocol": "spi", "device": "/dev/spidev0.0", "mode": 4"#,
            "mode is 4; allowed: a whole number from 0 to 3",
        ),
        (
            r#""protocol": "spi", "device": "/dev/spidev0.0", "speed_hz": 900000000"#,
            "speed_hz is 900000000; allowed: a whole number from 1000",
        ),
        (
            r#""protocol": "spi", "device": "/dev/spidev0.0", "bits": 12"#,
            "bits is 12; allowed: a whole number from 8 to 8",
        ),
        (
            r#""protocol": "iio", "device": "/sys/bus/iio""#,
            "device is \"/sys/bus/iio\"; allowed: the name of an IIO device",
        ),
        (r#""protocol": "gpoi", "chip": "/dev/gpiochip0""#, "(did you mean \"gpio\"?)"),
    ] {
        let text = format!(r#"{{"links": [{{"name": "l", {link}}}]}}"#);
        let all = lines(&refused(MINIMAL, &[("tags/a.json", &text)]));
        assert!(all.iter().any(|line| line.contains(said)), "{link}\nfound:  {all:#?}\nwanted: {said}");
    }
}

#[test]
fn two_tags_of_one_line_want_the_same_of_it() {
    let tags = |second: &str| {
        let first = r#"{"name": "a", "address": "gpio:5", "edge": "both", "scan_rate_ms": 10}"#;
        file(&[first, second])
    };
    config_of(&tags(
        r#"{"name": "b", "address": "gpio:5", "edge": "both", "data_type": "uint32", "scan_rate_ms": 50}"#,
    ));
    let text = tags(r#"{"name": "b", "address": "gpio:5", "bias": "pull-up", "scan_rate_ms": 50}"#);
    let all = lines(&refused(MINIMAL, &[("tags/a.json", &text)]));
    assert!(all.iter().any(|l| l.contains("its line is also that of tag \"a\" (line 7)")), "{all:#?}");
}

fn config_of(text: &str) -> Config {
    load_parts(("fieldbeat.toml", MINIMAL), &[("tags/a.json", text)]).unwrap_or_else(|e| panic!("{e}")).config
}

#[test]
fn a_device_has_one_link() {
    let text = r#"{"links": [{"name": "a", "protocol": "i2c", "bus": "/dev/i2c-1"},
        {"name": "b", "protocol": "i2c", "bus": "/dev/i2c-1"}]}"#;
    let all = lines(&refused(MINIMAL, &[("tags/a.json", text)]));
    assert!(all.iter().any(|line| line.contains("\"/dev/i2c-1\" is also that of link \"a\"")), "{all:#?}");
}

#[test]
fn only_outputs_and_whole_registers_may_be_written() {
    let range = r#""write": {"min": 0, "max": 9}"#;
    accepted(r#""address": "gpio:4", "direction": "out", "write": true"#);
    accepted(&format!(r#""address": "i2c:0x48:0x02:2", {range}"#));
    for rest in [
        r#""address": "gpio:4""#,
        r#""address": "i2c:0x48:0x02:2", "shift": 4"#,
        r#""address": "i2c:0x48:ads1115.ain0""#,
        r#""address": "spi:0x8A:2""#,
        r#""address": "adc:in_voltage0""#,
    ] {
        let found = fault(&format!("{rest}, \"write\": true"));
        assert!(found.contains("write on a read-only tag"), "{rest}: {found}");
    }
}

#[test]
fn a_file_of_local_inputs_alone_has_no_warnings() {
    let text = r#"{"links": [{"name": "g", "protocol": "gpio", "chip": "/dev/gpiochip0"}],
        "tags": [{"name": "t", "protocol": "gpio", "address": "g:1", "scan_rate_ms": 10}]}"#;
    assert_eq!(config(text).tags.len(), 1);
}

fn buffer(keys: &str) -> Option<IioBufferConfig> {
    let link = format!(r#"{{"name": "adc", "protocol": "iio", "device": "adc8", "buffer": {{{keys}}}}}"#);
    let tag = r#"{"name": "t", "scan_rate_ms": 100, "address": "adc:in_voltage0"}"#;
    let text = format!(r#"{{"links": [{link}], "tags": [{tag}]}}"#);
    let loaded = load_parts(("fieldbeat.toml", MINIMAL), &[("tags/a.json", &text)]).unwrap_or_else(|e| panic!("{e}"));
    let Some(LocalIoConfig { device: LocalIoDevice::Iio { buffer, .. }, .. }) = loaded.config.links[0].protocol.get()
    else {
        panic!()
    };
    buffer.clone()
}

#[test]
fn a_buffer_is_read_with_defaults_that_follow_its_frequency() {
    let plain = IioBufferConfig {
        length: 1024,
        watermark: 1,
        trigger: None,
        frequency_hz: None,
        every: false,
        silent_after: Nanos::from_millis(1000),
    };
    assert_eq!(buffer(""), Some(plain.clone()));
    let fast = buffer(r#""frequency_hz": 5000, "sampling": "every", "trigger": "tick""#).unwrap();
    assert_eq!((fast.watermark, fast.every, fast.trigger.as_deref()), (50, true, Some("tick")));
    assert_eq!(fast.silent_after, Nanos::from_millis(100), "three wake-ups are 30 ms");
    let slow = buffer(r#""frequency_hz": 0.5, "length": 2"#).unwrap();
    assert_eq!((slow.watermark, slow.silent_after), (1, Nanos::from_millis(6000)));
    let own = IioBufferConfig { watermark: 7, silent_after: Nanos::from_millis(20), ..plain };
    assert_eq!(buffer(r#""watermark": 7, "silent_after_ms": 20"#), Some(own));
}

#[test]
fn impossible_buffers_and_outputs_are_refused() {
    let tags = |count: usize, address: &str| {
        let tag = |n| format!(r#"{{"name": "t{n}", "scan_rate_ms": 100, "address": "adc:{address}{n}"}}"#);
        (0..count).map(tag).collect::<Vec<_>>().join(",")
    };
    for (keys, tags, said) in [
        (r#""length": 8, "watermark": 9"#, tags(1, "in_voltage"), "watermark is 9, and the buffer's length 8"),
        (r#""length": 1"#, tags(1, "in_voltage"), "length is 1; allowed: a whole number from 2 to 65536"),
        (r#""sampling": "every""#, tags(1, "in_voltage"), "sampling every without frequency_hz"),
        (r#""trigger": "a/b""#, tags(1, "in_voltage"), "trigger is \"a/b\"; allowed: a trigger's name"),
        (r#""frequency_hz": 0"#, tags(1, "in_voltage"), "frequency_hz is 0; allowed:"),
        (
            r#""frequency_hz": 5000, "sampling": "every""#,
            tags(5, "in_voltage"),
            "5 tags with every sample are 25000 samples a second; allowed: 20000 of a link",
        ),
        ("", tags(1, "out_voltage"), "\"out_voltage0\" on a link with a buffer, which samples inputs"),
    ] {
        let link = format!(r#"{{"name": "adc", "protocol": "iio", "device": "adc8", "buffer": {{{keys}}}}}"#);
        let text = format!(r#"{{"links": [{link}], "tags": [{tags}]}}"#);
        let all = lines(&refused(MINIMAL, &[("tags/a.json", &text)]));
        assert!(all.iter().any(|line| line.contains(said)), "{keys}\nfound:  {all:#?}\nwanted: {said}");
    }
}

#[test]
fn what_can_be_written_says_so() {
    assert!(accepted(r#""address": "adc:out_voltage0""#).0.is_writable());
    assert!(!accepted(r#""address": "adc:in_voltage0""#).0.is_writable());
    assert!(!accepted(r#""address": "spi:0x8A:3""#).0.is_writable(), "nobody said how");
    let (address, _) = accepted(r#""address": "spi:0x8A:3", "write_command": ["0x0A"]"#);
    let LocalIoPoint::Register { write: Some(write), .. } = address.point else { panic!() };
    assert_eq!((write.command, write.read_command, write.width), (vec![0x0A], vec![0x8A], 3));
    for rest in [
        r#""address": "spi:0x8A:3", "shift": 1, "write_command": [10]"#,
        r#""address": "spi:0x068000", "at": 1, "write_command": [10]"#,
        r#""address": "i2c:0x44:-:2", "command": [1], "write_command": [10]"#,
    ] {
        let found = fault(rest);
        assert!(found.contains("write_command on a tag that cannot be written"), "{rest}: {found}");
    }
    assert!(fault(r#""address": "spi:0x8A:3", "write_command": []"#).contains("write_command is a list"));
    assert!(fault(r#""address": "gpio:3", "write_command": [1]"#).contains("write_command on a link of protocol gpio"));
}
