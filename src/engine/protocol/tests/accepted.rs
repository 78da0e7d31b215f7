//! What right files mean.

use std::path::PathBuf;

use super::{LINK, MINIMAL, config, loaded, tag_file};
use crate::config::{WordOrder, *};
use crate::protocol::modbus::{
    HostPort, ModbusAddress, ModbusConfig, ModbusTransport, Table, Tolerance, UnreadableRange,
};
use crate::tag::{Encoding, Nanos, UnitId};

fn modbus(config: &Config, tag: usize) -> &ModbusAddress {
    config.tags[tag].address.get::<ModbusAddress>().unwrap()
}

const TAG: &str = r#"{"name": "t", "address": "plc1:1:3:40001", "data_type": "int16", "scan_rate_ms": 10}"#;

#[test]
fn a_tag_is_read_with_everything_it_says() {
    let tag = r#"{"name": "kessel.füllstand", "protocol": "modbus_tcp", "address": "plc1:7:4:30011:2", "data_type": "float32",
        "byte_order": "CDAB", "scan_rate_ms": 2.5, "scale": 0.5, "offset": -40, "unit": "°C", "description": "Füllstand"}"#;
    let config = config(&tag_file(&[tag]));
    let expected = TagConfig {
        name: "kessel.füllstand".into(),
        source: Source { file: "tags/a.json".into(), line: 2, column: 1 },
        link: 0,
        group: 0,
        address: Box::new(ModbusAddress {
            unit: UnitId(7),
            table: Table::InputRegisters,
            first: 10,
            count: 2,
            field: FieldType::Float32,
            array: None,
            order: WordOrder::Cdab,
            reference: Some(30_011),
        }),
        scale: 0.5,
        offset: -40.0,
        range: None,
        sensor: None,
        unit: "°C".into(),
        description: "Füllstand".into(),
        write: None,
        reporting: None,
        decoding: DecodingConfig::default(),
    };
    assert_eq!(config.tags, [expected]);
    assert_eq!((config.groups[0].name.as_str(), config.groups[0].interval()), ("default", Nanos(2_500_000)));
    assert_eq!(config.groups[0].release, ReleaseMode::Spread);
}

#[test]
fn every_type_knows_its_registers_and_order() {
    let types = [
        ("int16", FieldType::Int16, 1),
        ("uint16", FieldType::Uint16, 1),
        ("int32", FieldType::Int32, 2),
        ("uint32", FieldType::Uint32, 2),
        ("int64", FieldType::Int64, 4),
        ("uint64", FieldType::Uint64, 4),
        ("float32", FieldType::Float32, 2),
        ("float64", FieldType::Float64, 4),
        ("bcd16", FieldType::Bcd { registers: 1 }, 1),
        ("bcd32", FieldType::Bcd { registers: 2 }, 2),
        ("bcd64", FieldType::Bcd { registers: 4 }, 4),
    ];
    let orders =
        [("ABCD", WordOrder::Abcd), ("DCBA", WordOrder::Dcba), ("BADC", WordOrder::Badc), ("CDAB", WordOrder::Cdab)];
    for (name, field, registers) in types {
        for (order_name, order) in orders {
            for (count, array, elements) in [
                (String::new(), "", None),
                (format!(":{registers}"), "", None),
                (String::new(), ", \"array\": 5", Some(5)),
            ] {
                let tag = format!(
                    r#"{{"name": "t", "address": "plc1:1:3:100{count}", "data_type": "{name}", "byte_order": "{order_name}", "scan_rate_ms": 10{array}}}"#
                );
                let config = config(&tag_file(&[&tag]));
                let expected = ModbusAddress {
                    unit: UnitId(1),
                    table: Table::HoldingRegisters,
                    first: 100,
                    count: registers * elements.unwrap_or(1),
                    field,
                    array: elements,
                    order,
                    reference: None,
                };
                assert_eq!(*modbus(&config, 0), expected, "{tag}");
            }
        }
    }
}

#[test]
fn bits_and_strings_are_read() {
    let config = config(&tag_file(&[
        r#"{"name": "coil", "address": "plc1:0:1:00001", "data_type": "bool", "scan_rate_ms": 10}"#,
        r#"{"name": "inputs", "address": "plc1:255:2:10001:2000", "data_type": "bool", "array": 2000, "scan_rate_ms": 10}"#,
        r#"{"name": "bit", "address": "plc1:1:3:40001:1", "data_type": "bool", "bit": 15, "scan_rate_ms": 10}"#,
        r#"{"name": "text", "address": "plc1:1:4:30001:125", "data_type": "string", "byte_order": "BADC", "scan_rate_ms": 10}"#,
    ]));
    let read = |tag| {
        let a = modbus(&config, tag);
        (a.unit.0, a.table, a.first, a.count, a.field, a.array)
    };
    assert_eq!(read(0), (0, Table::Coils, 0, 1, FieldType::Bit, None));
    assert_eq!(read(1), (255, Table::DiscreteInputs, 0, 2000, FieldType::Bit, Some(2000)));
    assert_eq!(read(2), (1, Table::HoldingRegisters, 0, 1, FieldType::RegisterBit(15), None));
    assert_eq!(read(3), (1, Table::InputRegisters, 0, 125, FieldType::Text(Encoding::Unstated), None));
    assert_eq!(modbus(&config, 3).order, WordOrder::Badc);
}

#[test]
fn the_last_register_can_be_read() {
    let config = config(&tag_file(&[
        r#"{"name": "a", "address": "plc1:1:3:65532", "data_type": "float64", "scan_rate_ms": 10}"#,
        r#"{"name": "b", "address": "plc1:1:4:365536", "data_type": "int16", "scan_rate_ms": 10}"#,
        r#"{"name": "c", "address": "plc1:1:1:65535", "data_type": "bool", "scan_rate_ms": 10}"#,
    ]));
    assert_eq!([0, 1, 2].map(|tag| modbus(&config, tag).first), [65_532, 65_535, 65_535]);
}

#[test]
fn a_link_has_its_defaults_and_what_it_says() {
    let only = |text: &str| {
        let mut links = config(text).links;
        links.remove(0).protocol.get::<ModbusConfig>().unwrap().clone()
    };
    let defaults = ModbusConfig {
        transport: ModbusTransport::Tcp(HostPort { host: "10.0.0.1".into(), port: 502 }),
        turnaround: Nanos::ZERO,
        unit_pause: Nanos::ZERO,
        unit_change_pause: Nanos::ZERO,
        connect_delay: Nanos::ZERO,
        tolerance: Tolerance::STRICT,
        timeout: Nanos::from_millis(200),
        connect_timeout: Nanos::from_millis(3000),
        pipeline: 1,
        reply_expected: Nanos::from_micros(500),
        registers_max: 125,
        bits_max: 2000,
        unreadable: vec![],
    };
    assert_eq!(only(&tag_file(&[TAG])), defaults);
    let text = r#"{"links": [{"name": "plc1", "protocol": "modbus_tcp", "host": "fe80::1", "port": 1502, "timeout_ms": 50,
        "connect_timeout_ms": 1000, "pipeline": 16, "expected_reply_ms": 0.25, "max_registers": 10, "max_bits": 16,
        "addressing": "modicon", "unreadable": [{"function": 1, "from": "00001", "to": 16},
        {"unit": 3, "function": 3, "from": 40101, "to": 40110}], "description": "x"}], "tags": ["#;
    let expected = ModbusConfig {
        transport: ModbusTransport::Tcp(HostPort { host: "fe80::1".into(), port: 1502 }),
        turnaround: Nanos::ZERO,
        unit_pause: Nanos::ZERO,
        unit_change_pause: Nanos::ZERO,
        connect_delay: Nanos::ZERO,
        tolerance: Tolerance::STRICT,
        timeout: Nanos::from_millis(50),
        connect_timeout: Nanos::from_millis(1000),
        pipeline: 16,
        reply_expected: Nanos::from_micros(250),
        registers_max: 10,
        bits_max: 16,
        unreadable: vec![
            UnreadableRange { unit: None, table: Table::Coils, first: 0, last: 16 },
            UnreadableRange { unit: Some(UnitId(3)), table: Table::HoldingRegisters, first: 100, last: 109 },
        ],
    };
    assert_eq!(only(&format!("{text}{TAG}]}}")), expected);
}

#[test]
fn a_serial_link_has_its_defaults_and_what_it_says() {
    let only = |link: &str| {
        let tag = r#"{"name": "t", "protocol": "modbus_rtu", "address": "l:1:3:1", "data_type": "int16", "scan_rate_ms": 1000}"#;
        let tag = if link.contains("rtu_tcp") { tag.replace("modbus_rtu", "modbus_rtu_tcp") } else { tag.to_owned() };
        let mut links = config(&format!(r#"{{"links": [{link}], "tags": [{tag}]}}"#)).links;
        links.remove(0).protocol.get::<ModbusConfig>().unwrap().clone()
    };
    let serial = SerialConfig {
        port: "/dev/ttyS1".into(),
        baud_rate: 19_200,
        data_bits: 8,
        parity: Parity::Even,
        stop_bits: 1,
        framing: SerialFraming::Rtu,
        rs485: None,
        echo: false,
    };
    let defaults = ModbusConfig {
        transport: ModbusTransport::Serial(serial.clone()),
        timeout: Nanos::from_millis(200),
        connect_timeout: Nanos::from_millis(1000),
        pipeline: 1,
        reply_expected: Nanos::from_millis(5),
        turnaround: Nanos::ZERO,
        unit_pause: Nanos::ZERO,
        unit_change_pause: Nanos::ZERO,
        connect_delay: Nanos::ZERO,
        tolerance: Tolerance::STRICT,
        registers_max: 125,
        bits_max: 2000,
        unreadable: vec![],
    };
    assert_eq!(only(r#"{"name": "l", "protocol": "modbus_rtu", "port": "/dev/ttyS1"}"#), defaults);
    let text = r#"{"name": "l", "protocol": "modbus_rtu", "port": "/dev/ttyS1", "baudrate": 9600, "parity": "N",
        "stop_bits": 2, "framing": "ascii", "echo": true, "turnaround_ms": 2.5, "unit_pause_ms": 10, "max_registers": 20,
        "rs485": {"rts": "manual", "rts_on_send": false, "delay_before_ms": 1, "delay_after_ms": 2}}"#;
    let rs485 = Rs485Config {
        switched_by: Rs485Switch::Manual,
        rts_on_send: false,
        delay_before: Nanos::from_millis(1),
        delay_after: Nanos::from_millis(2),
    };
    let expected = ModbusConfig {
        transport: ModbusTransport::Serial(SerialConfig {
            baud_rate: 9_600,
            data_bits: 7,
            parity: Parity::None,
            stop_bits: 2,
            framing: SerialFraming::Ascii,
            rs485: Some(rs485),
            echo: true,
            ..serial
        }),
        turnaround: Nanos::from_micros(2_500),
        unit_pause: Nanos::from_millis(10),
        unit_change_pause: Nanos::ZERO,
        connect_delay: Nanos::ZERO,
        tolerance: Tolerance::STRICT,
        registers_max: 20,
        ..defaults.clone()
    };
    assert_eq!(only(text), expected);
    let over_tcp = ModbusConfig {
        transport: ModbusTransport::RtuOverTcp(HostPort { host: "10.0.0.9".into(), port: 4001 }),
        timeout: Nanos::from_millis(500),
        connect_timeout: Nanos::from_millis(3000),
        reply_expected: Nanos::from_millis(20),
        ..defaults
    };
    assert_eq!(only(r#"{"name": "l", "protocol": "modbus_rtu_tcp", "host": "10.0.0.9", "port": 4001}"#), over_tcp);
}

#[test]
fn groups_and_links_serve_the_tags_of_every_file() {
    let tags = r#"{"tags": [
        {"name": "a", "address": "plc1:1:3:1", "data_type": "int16", "group": "fast"},
        {"name": "b", "address": "plc1:1:3:2", "data_type": "int16", "group": "fast", "scan_rate_ms": 1.0},
        {"name": "c", "address": "plc1:1:3:3", "data_type": "int16", "scan_rate_ms": 10},
        {"name": "d", "address": "plc1:1:3:4", "data_type": "int16", "scan_rate_ms": 1},
        {"name": "e", "address": "plc1:1:3:5", "data_type": "int16", "scan_rate_ms": 10.0}]}"#;
    let shared = format!(
        r#"{{{LINK}, "groups": [{{"name": "fast", "scan_rate_ms": 1, "release": "together"}}, {{"name": "10ms", "scan_rate_ms": 10}}]}}"#
    );
    let Loaded { config, warnings } = loaded(MINIMAL, &[("tags/a.json", tags), ("tags/z.json", &shared)]);
    assert_eq!(warnings, []);
    let names: Vec<(&str, u64, ReleaseMode)> =
        config.groups.iter().map(|g| (&*g.name, g.interval().0, g.release)).collect();
    let expected = [
        ("fast", 1_000_000, ReleaseMode::Together),
        ("10ms", 10_000_000, ReleaseMode::Spread),
        ("default", 1_000_000, ReleaseMode::Spread),
    ];
    assert_eq!(names, expected, "a tag without a group joins no declared one but by its old name");
    assert_eq!(config.tags.iter().map(|tag| tag.group).collect::<Vec<_>>(), [0, 0, 1, 2, 1]);
}

#[test]
fn tags_without_a_group_share_a_name_whatever_their_scan_rates() {
    let tags = |fast: &str, slow: &str| {
        tag_file(&[
            &format!(r#"{{"name": "a", "address": "plc1:1:3:1", "data_type": "int16", "scan_rate_ms": {fast}}}"#),
            &format!(r#"{{"name": "b", "address": "plc1:1:3:2", "data_type": "int16", "scan_rate_ms": {slow}}}"#),
        ])
    };
    let names = |config: &Config| -> Vec<(String, u64)> {
        config.groups.iter().map(|group| (group.name.clone(), group.interval().0 / 1_000_000)).collect()
    };
    let default = |ms| ("default".to_owned(), ms);
    assert_eq!(names(&config(&tags("10", "60000"))), [default(10), default(60_000)]);
    assert_eq!(names(&config(&tags("20", "20"))), [default(20)], "another rate, the same name");
    // A declared one of that name has those of its rate.
    let declared = r#""groups": [{"name": "default", "scan_rate_ms": 10, "release": "together"}], "tags""#;
    let config = config(&tags("10", "500").replace("\"tags\"", declared));
    assert_eq!(names(&config), [default(10), default(500)]);
    assert_eq!(config.groups[config.tags[0].group].release, ReleaseMode::Together);
}

#[test]
fn a_minimal_gateway_has_its_defaults() {
    let config = config(&tag_file(&[TAG]));
    assert_eq!(config.gateway.id, "line-4");
    assert_eq!(
        config.realtime,
        RealtimeConfig { cores: None, priority: 80, guard: Guard::Auto, admission: AdmissionRule::Refuse }
    );
    let journal = JournalConfig {
        path: PathBuf::from("/var/lib/fieldbeat/journal"),
        bytes_max: 8 << 30,
        commit: Nanos::from_millis(100),
    };
    assert_eq!(config.journal, journal);
    assert_eq!((config.metrics.listen, config.metrics.per_link), (Some("127.0.0.1:9464".parse().unwrap()), false));
    assert_eq!(config.outputs, []);
    assert_eq!(config.watchdog, WatchdogConfig::default());
}

/// A gateway file with every key.
pub const FULL: &str = r#"
[gateway]
id = "line-4"
[realtime]
cores = [2, 3]
priority = 70
guard_us = 50
admission = "warn"
[journal]
path = "/data/journal"
max_bytes = "500MB"
commit_ms = 50
[metrics]
listen = "off"
per_link = true
[watchdog]
executor_stall_s = 5
journal_stall_s = 60
device = "/dev/watchdog1"
timeout_s = 30
[control]
socket = "/run/fieldbeat/control.sock"
group = "plant"
max_writes_per_s = 50
[outputs.local]
type = "mqtt"
url = "mqtt://[::1]"
[outputs.cloud]
type = "mqtt"
urls = ["mqtts://broker.example:8884/", "mqtts://10.0.0.9"]
return_after_s = 20
version = "5"
ca = "/etc/ca.pem"
cert = "/etc/gateway.pem"
key = "/etc/gateway.key"
user = "u"
password = "p"
client_id = "c"
qos = 0
topic = "plant/{gateway}/data/{group}"
status_topic = "plant/{gateway}/alive"
batch_ms = 250
max_message_bytes = 65536
max_in_flight = 10
keep_alive_s = 60
commands = true
command_topic = "plant/{gateway}/write"
"#;

#[test]
fn a_gateway_file_is_read_with_everything_it_says() {
    let config = loaded(FULL, &[("tags/a.json", &tag_file(&[TAG]))]).config;
    let guard = Guard::Fixed(Nanos::from_micros(50));
    assert_eq!(
        config.realtime,
        RealtimeConfig { cores: Some(vec![2, 3]), priority: 70, guard, admission: AdmissionRule::Warn }
    );
    assert_eq!((config.journal.bytes_max, config.journal.commit), (500_000_000, Nanos::from_millis(50)));
    assert_eq!((config.metrics.listen, config.metrics.per_link), (None, true));
    let watchdog = WatchdogConfig {
        executor_stall: Nanos::from_millis(5_000),
        journal_stall: Nanos::from_millis(60_000),
        hardware: Some(HardwareWatchdogConfig { device: "/dev/watchdog1".into(), timeout_s: 30 }),
    };
    assert_eq!(config.watchdog, watchdog);
    let control = ControlConfig {
        socket: Some("/run/fieldbeat/control.sock".into()),
        group: Some("plant".into()),
        writes_per_s: 50,
    };
    assert_eq!(config.control, control);
    let local = MqttConfig {
        host: "::1".into(),
        port: 1883,
        version: MqttVersion::V311,
        tls: None,
        user: None,
        password: None,
        client_id: "fieldbeat-line-4-local".into(),
        qos: 1,
        topic_per: TopicPer::Group,
        topic: "fieldbeat/{gateway}/{group}".into(),
        retain: false,
        meta_topic: None,
        status_topic: "fieldbeat/{gateway}/status".into(),
        batch: Nanos::from_millis(100),
        message_bytes_max: 128 << 10,
        in_flight_max: 100,
        keep_alive: Nanos::from_millis(30_000),
        commands: None,
        more: vec![],
        return_after: Nanos::from_millis(60_000),
    };
    let cloud = MqttConfig {
        host: "broker.example".into(),
        port: 8884,
        version: MqttVersion::V5,
        tls: Some(TlsConfig {
            ca: Some("/etc/ca.pem".into()),
            cert: Some("/etc/gateway.pem".into()),
            key: Some("/etc/gateway.key".into()),
        }),
        user: Some("u".into()),
        password: Some("p".into()),
        client_id: "c".into(),
        qos: 0,
        topic_per: TopicPer::Group,
        topic: "plant/{gateway}/data/{group}".into(),
        retain: false,
        meta_topic: None,
        status_topic: "plant/{gateway}/alive".into(),
        batch: Nanos::from_millis(250),
        message_bytes_max: 65_536,
        in_flight_max: 10,
        keep_alive: Nanos::from_millis(60_000),
        more: vec![("10.0.0.9".into(), 8883)],
        return_after: Nanos::from_millis(20_000),
        commands: Some(CommandTopics {
            command_topic: "plant/{gateway}/write".into(),
            answer_topic: "fieldbeat/{gateway}/answer".into(),
            set_topic: None,
        }),
    };
    let outputs: Vec<(&str, u32, &OutputKind)> =
        config.outputs.iter().map(|output| (&*output.name, output.source.line, &output.kind)).collect();
    assert_eq!(outputs, [("local", 25, &OutputKind::Mqtt(local)), ("cloud", 28, &OutputKind::Mqtt(cloud))]);
}

#[test]
fn a_link_over_tcp_may_have_pauses_and_tolerance_and_a_second_one_to_its_place_is_warned_of() {
    let text = r#"{"links": [
{"name": "a", "protocol": "modbus_tcp", "host": "Plc", "timeout_ms": 60000, "turnaround_ms": 100, "unit_pause_ms": 20,
 "unit_change_pause_ms": 2.5, "connect_delay_ms": 1500, "any_unit_id": true, "any_transaction_id": true,
 "any_read_function": true, "longer_replies": true},
{"name": "b", "protocol": "modbus_rtu_tcp", "host": "plc", "port": 502, "any_unit_id": true},
{"name": "c", "protocol": "modbus_tcp", "host": "plc", "port": 503}],
"tags": [{"name": "t", "address": "a:1:3:1", "data_type": "int16", "scan_rate_ms": 100}]}"#;
    let loaded = loaded(MINIMAL, &[("tags/a.json", text)]);
    let link = |at: usize| loaded.config.links[at].protocol.get::<ModbusConfig>().unwrap();
    let first = link(0);
    assert_eq!((first.timeout, first.connect_delay), (Nanos::from_millis(60_000), Nanos::from_millis(1_500)));
    assert_eq!((first.turnaround, first.unit_pause), (Nanos::from_millis(100), Nanos::from_millis(20)));
    assert_eq!(first.unit_change_pause, Nanos::from_micros(2_500));
    let all = Tolerance { any_unit: true, any_transaction: true, any_function: true, longer_replies: true };
    assert_eq!(first.tolerance, all);
    assert_eq!(link(1).tolerance, Tolerance { any_unit: true, ..Tolerance::STRICT });
    assert_eq!(link(2).tolerance, Tolerance::STRICT);
    let told: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|line| line.contains("link \"b\": plc:502 is also that of link \"a\"")), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("plc:503")), "another port is another device: {told:?}");
}
