//! The simulated plant, read by clients that others wrote and by raw sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peers;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use fieldbeat::plant::{Fault, GatewaySettings, Plant, PlantConfig, Profile, ScanRates, UnknownUnit, can};
use fieldbeat::protocol::modbus::model::Table;
use fieldbeat::tag::{Nanos, UnitId};
use serde_json::json;

use peers::Peer;

fn config(devices: usize) -> PlantConfig {
    PlantConfig { devices, ..PlantConfig::default() }
}

/// Whether these registers lay in the device at one millisecond between two moments.
fn seen_between(plant: &Plant, place: (usize, u8, Table, u16), values: &[u64], before: u64, after: u64) -> bool {
    let (device, unit, table, first) = place;
    let mut moment = before;
    loop {
        let expected = |i: usize| plant.expected(device, UnitId(unit), table, first + i as u16, Nanos(moment));
        if values.iter().enumerate().all(|(i, v)| expected(i).map(u64::from) == Some(*v)) {
            return true;
        }
        if moment >= after {
            return false;
        }
        moment = (moment + 1_000_000).min(after);
    }
}

#[test]
fn pymodbus_reads_every_tag_of_a_line_as_expected() {
    let plant = Plant::start(PlantConfig { units_per_device: 2, ..config(3) }).unwrap();
    let mut client = Peer::python("modbus_client.py", &[]);
    for tag in plant.tags() {
        let request = json!({
            "port": plant.addresses()[tag.device].port(), "unit": tag.unit.0,
            "function": tag.table.read_function(), "first": tag.first, "count": tag.count,
        });
        let reply = client.ask(&request);
        let values: Vec<u64> = match reply["values"].as_array() {
            Some(values) => values.iter().map(|v| v.as_u64().unwrap()).collect(),
            None => panic!("{}: {reply}", tag.name),
        };
        let (before, after) = (reply["before"].as_u64().unwrap(), reply["after"].as_u64().unwrap());
        let place = (tag.device, tag.unit.0, tag.table, tag.first);
        assert!(seen_between(&plant, place, &values, before, after), "{}: {reply}", tag.name);
    }
    let totals = plant.totals();
    assert_eq!((totals.requests, totals.replies), (300, 300));
    assert_eq!((totals.connections, totals.faults), (3, 0));
}

#[test]
fn pymodbus_reads_whole_blocks_of_one_moment() {
    let plant = Plant::start(PlantConfig { profile: Profile::Float32 { tags_per_device: 1000 }, ..config(1) }).unwrap();
    let mut client = Peer::python("modbus_client.py", &[]);
    for round in 0..200 {
        let first = round % 16 * 125;
        let reply = client.ask(&json!({
            "port": plant.addresses()[0].port(), "unit": 1, "function": 3, "first": first, "count": 125,
        }));
        let values: Vec<u64> = reply["values"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
        let (before, after) = (reply["before"].as_u64().unwrap(), reply["after"].as_u64().unwrap());
        let place = (0, 1, Table::HoldingRegisters, first);
        assert!(seen_between(&plant, place, &values, before, after), "{reply}");
    }
}

#[test]
fn pymodbus_is_told_what_a_device_lacks() {
    let plant = Plant::start(config(2)).unwrap();
    plant.set_fault(1, Some(Fault::Exceptions(6)));
    let mut client = Peer::python("modbus_client.py", &[]);
    let port = |device: usize| plant.addresses()[device].port();
    for (port, unit, first, code) in [(port(0), 1, 60_000, 2), (port(0), 9, 0, 0x0B), (port(1), 1, 0, 6)] {
        let reply = client.ask(&json!({ "port": port, "unit": unit, "function": 3, "first": first, "count": 1 }));
        assert_eq!(reply["exception"], code, "{reply}");
    }
}

#[test]
fn libmodbus_reads_all_four_tables() {
    let plant = Plant::start(config(1)).unwrap();
    let port = plant.addresses()[0].port().to_string();
    for (kind, table, count) in [
        ("0", Table::Coils, 12),
        ("1", Table::DiscreteInputs, 5),
        ("3:hex", Table::InputRegisters, 90),
        ("4:hex", Table::HoldingRegisters, 44),
    ] {
        let before = monotonic();
        let count_text = count.to_string();
        let args =
            ["-m", "tcp", "-a", "1", "-0", "-r", "0", "-c", &count_text, "-t", kind, "-1", "-p", &port, "127.0.0.1"];
        let (good, text) = peers::output_of("mbpoll", "mbpoll", &args);
        assert!(good, "{text}");
        let values: Vec<u64> = text
            .lines()
            .filter_map(|line| line.strip_prefix('[')?.split_once("]:"))
            .map(|(_, value)| {
                let value = value.trim();
                match value.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
                    None => value.parse().unwrap(),
                }
            })
            .collect();
        assert_eq!(values.len(), count, "{text}");
        assert!(seen_between(&plant, (0, 1, table, 0), &values, before, monotonic()), "{text}");
    }
}

fn monotonic() -> u64 {
    let t = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
}

fn connect(plant: &Plant, device: usize) -> TcpStream {
    let socket = TcpStream::connect(plant.addresses()[device]).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Reads two holding registers of unit 1.
fn request(transaction: u16) -> Vec<u8> {
    let mut frame = transaction.to_be_bytes().to_vec();
    frame.extend([0, 0, 0, 6, 1, 3, 0, 0, 0, 2]);
    frame
}

const REPLY_BYTES: usize = 13;

fn is_reply(bytes: &[u8], transaction: u16) -> bool {
    bytes.len() == REPLY_BYTES && bytes[..2] == transaction.to_be_bytes() && bytes[2..9] == [0, 0, 0, 7, 1, 3, 4]
}

fn exchange(socket: &mut TcpStream, transaction: u16) -> Vec<u8> {
    socket.write_all(&request(transaction)).unwrap();
    let mut reply = vec![0; REPLY_BYTES];
    socket.read_exact(&mut reply).unwrap();
    reply
}

/// What arrives until nothing more does for a while; `true`: the connection was closed.
fn drain(socket: &mut TcpStream, quiet: Duration) -> (Vec<u8>, bool) {
    socket.set_read_timeout(Some(quiet)).unwrap();
    let (mut seen, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        match socket.read(&mut chunk) {
            Ok(0) => return (seen, true),
            Ok(n) => seen.extend(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return (seen, false),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return (seen, true),
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn many_requests_in_one_segment_are_answered_in_order() {
    let plant = Plant::start(PlantConfig { reply_delays: vec![Nanos::from_millis(5)], ..config(2) }).unwrap();
    // Far more than a device keeps waiting replies; it goes on when the first are out.
    for device in 0..2 {
        let mut socket = connect(&plant, device);
        let frames: Vec<u8> = (0..500).flat_map(request).collect();
        socket.write_all(&frames).unwrap();
        for transaction in 0..500 {
            let mut reply = [0; REPLY_BYTES];
            socket.read_exact(&mut reply).unwrap();
            assert!(is_reply(&reply, transaction), "device {device}, {transaction}: {reply:?}");
        }
    }
}

#[test]
fn a_request_in_single_bytes_is_answered() {
    let plant = Plant::start(config(1)).unwrap();
    let mut socket = connect(&plant, 0);
    for byte in request(77) {
        socket.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut reply = [0; REPLY_BYTES];
    socket.read_exact(&mut reply).unwrap();
    assert!(is_reply(&reply, 77));
}

#[test]
fn bytes_that_are_no_modbus_close_the_connection_and_nothing_else() {
    let plant = Plant::start(config(1)).unwrap();
    let (mut good, mut bad) = (connect(&plant, 0), connect(&plant, 0));
    bad.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(drain(&mut bad, Duration::from_secs(2)), (vec![], true));
    assert!(is_reply(&exchange(&mut good, 1), 1));
}

#[test]
fn a_slow_device_does_not_hold_up_another() {
    let config = PlantConfig { reply_delays: vec![Nanos::from_millis(300)], ..config(2) };
    let plant = Plant::start(config).unwrap();
    let (mut slow, mut fast) = (connect(&plant, 0), connect(&plant, 1));
    let start = Instant::now();
    slow.write_all(&request(1)).unwrap();
    for transaction in 0..100 {
        assert!(is_reply(&exchange(&mut fast, transaction), transaction));
    }
    assert!(start.elapsed() < Duration::from_millis(250));
    let mut reply = [0; REPLY_BYTES];
    slow.read_exact(&mut reply).unwrap();
    let took = start.elapsed();
    assert!(is_reply(&reply, 1));
    assert!((Duration::from_millis(300)..Duration::from_millis(450)).contains(&took), "{took:?}");
}

#[test]
fn each_fault_does_what_it_says_and_ends_when_it_is_taken_back() {
    let plant = Plant::start(config(2)).unwrap();
    let mut other = connect(&plant, 1);
    let quiet = Duration::from_millis(150);
    for fault in [
        Fault::Silence,
        Fault::Delay(60),
        Fault::Exceptions(4),
        Fault::Garbage,
        Fault::WrongTransaction,
        Fault::HalfFrame,
        Fault::DropConnection,
        Fault::Trickle(50),
    ] {
        let mut socket = connect(&plant, 0);
        assert!(is_reply(&exchange(&mut socket, 1), 1), "before {fault}");
        plant.set_fault(0, Some(fault));
        std::thread::sleep(Duration::from_millis(20));
        let before = plant.counts(0);
        let asked = Instant::now();
        socket.write_all(&request(2)).unwrap();
        if fault == Fault::Trickle(50) {
            let mut reply = [0; REPLY_BYTES];
            socket.read_exact(&mut reply[..4]).unwrap();
            assert!((150..400).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
            plant.set_fault(0, None);
            socket.read_exact(&mut reply[4..]).unwrap();
            assert!(asked.elapsed() < Duration::from_millis(450), "the rest comes at once");
            assert!(is_reply(&reply, 2));
        } else {
            let (seen, closed) = drain(&mut socket, quiet);
            assert_eq!(closed, fault == Fault::DropConnection, "{fault}");
            match fault {
                Fault::Silence | Fault::DropConnection => assert!(seen.is_empty(), "{seen:?}"),
                Fault::Delay(_) => assert!(is_reply(&seen, 2) && asked.elapsed() > Duration::from_millis(60 + 150)),
                Fault::Exceptions(code) => assert_eq!(seen, [0, 2, 0, 0, 0, 3, 1, 0x83, code]),
                Fault::WrongTransaction => assert!(seen.len() == REPLY_BYTES && is_reply(&seen, 0x5557), "{seen:?}"),
                Fault::HalfFrame => assert_eq!(seen[..], [0, 2, 0, 0, 0, 7]),
                _ => assert!(!seen.is_empty() && !is_reply(&seen, 2)),
            }
        }
        assert!(is_reply(&exchange(&mut other, 9), 9), "another device during {fault}");
        let after = plant.counts(0);
        assert_eq!((after.requests - before.requests, after.faults - before.faults), (1, 1), "{fault}");
        plant.set_fault(0, None);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(is_reply(&exchange(&mut connect(&plant, 0), 1), 1));
    assert_eq!(plant.counts(1).faults, 0);
}

#[test]
fn a_refusing_device_closes_its_connections_and_comes_back_on_its_port() {
    let plant = Plant::start(config(2)).unwrap();
    let (mut socket, mut other) = (connect(&plant, 0), connect(&plant, 1));
    for _ in 0..3 {
        assert!(is_reply(&exchange(&mut socket, 1), 1));
        plant.set_fault(0, Some(Fault::Refuse));
        assert_eq!(drain(&mut socket, Duration::from_secs(2)), (vec![], true));
        let refused = TcpStream::connect(plant.addresses()[0]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(is_reply(&exchange(&mut other, 5), 5));
        plant.set_fault(0, None);
        let deadline = Instant::now() + Duration::from_secs(2);
        socket = loop {
            match TcpStream::connect(plant.addresses()[0]) {
                Ok(socket) => break socket,
                Err(e) if Instant::now() > deadline => panic!("{e}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
    }
}

#[test]
fn a_schedule_starts_and_ends_its_fault_by_itself() {
    let faults = vec!["0:silence@0.2..0.5".parse().unwrap()];
    let plant = Plant::start(PlantConfig { faults, ..config(1) }).unwrap();
    let mut socket = connect(&plant, 0);
    assert!(is_reply(&exchange(&mut socket, 1), 1));
    let until = |ms: u64| {
        let now = Nanos(monotonic()).since(plant.started());
        std::thread::sleep(Duration::from_nanos(Nanos::from_millis(ms).since(now).0));
    };
    until(300);
    socket.write_all(&request(2)).unwrap();
    assert_eq!(drain(&mut socket, Duration::from_millis(100)), (vec![], false));
    until(550);
    assert!(is_reply(&exchange(&mut socket, 3), 3));
}

#[test]
fn an_unknown_unit_can_stay_silent() {
    let plant = Plant::start(PlantConfig { unknown_unit: UnknownUnit::Silence, ..config(1) }).unwrap();
    let mut socket = connect(&plant, 0);
    let mut frame = request(1);
    frame[6] = 9;
    socket.write_all(&frame).unwrap();
    assert_eq!(drain(&mut socket, Duration::from_millis(100)), (vec![], false));
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(is_reply(&exchange(&mut socket, 2), 2));
}

#[test]
fn a_plant_that_cannot_be_says_why() {
    let plant = Plant::start(config(1)).unwrap();
    let taken = PlantConfig { base_port: Some(plant.addresses()[0].port()), ..config(1) };
    let error = Plant::start(taken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains("device 0 on 127.0.0.1"), "{error}");

    let faults = vec!["7:drop".parse().unwrap()];
    let error = Plant::start(PlantConfig { faults, ..config(2) }).unwrap_err();
    assert!(error.to_string().contains("no device 7") && error.to_string().contains("0 to 1"), "{error}");

    let error = Plant::start(PlantConfig { cpu: Some(1000), ..config(1) }).unwrap_err();
    assert!(error.to_string().contains("CPU 1000"), "{error}");
}

#[test]
fn the_written_configuration_names_every_link_and_tag() {
    let scan_rates = ScanRates::Uniform(Nanos::from_millis(10));
    let plant = Plant::start(PlantConfig { scan_rates, ..config(2) }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = GatewaySettings {
        id: "line \"4\"".into(),
        cores: Some(vec![1]),
        journal_path: Some(dir.path().join("journal")),
        ..GatewaySettings::default()
    };
    plant.write_config(dir.path(), &settings).unwrap();

    let text = std::fs::read_to_string(dir.path().join("fieldbeat.toml")).unwrap();
    let gateway = toml::de::DeTable::parse(&text).unwrap().into_inner();
    assert_eq!(gateway["gateway"].get_ref()["id"].get_ref().as_str(), Some("line \"4\""));
    assert_eq!(gateway["realtime"].get_ref()["cores"].get_ref().as_array().unwrap().len(), 1);
    assert!(!gateway.contains_key("metrics"));

    let mut names = Vec::new();
    for device in 0..2 {
        let text = std::fs::read_to_string(dir.path().join(format!("tags/dev{device}.json"))).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["links"][0]["port"], plant.addresses()[device].port());
        for tag in file["tags"].as_array().unwrap() {
            assert_eq!(tag["scan_rate_ms"], 10);
            let address: Vec<&str> = tag["address"].as_str().unwrap().split(':').collect();
            assert_eq!(address[..2], [format!("dev{device}").as_str(), "1"]);
            names.push(tag["name"].as_str().unwrap().to_string());
        }
    }
    assert!(names.iter().eq(plant.tags().iter().map(|t| &t.name)));
}

#[test]
fn the_gateway_takes_the_files_of_the_nodes_on_can() {
    let plant = Plant::start(config(1)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    plant.write_config(dir.path(), &GatewaySettings::default()).unwrap();
    let nodes = can::CanSettings {
        senders: Some("vcan0".into()),
        canopen: Some("vcan1".into()),
        node_id: 9,
        faults: Vec::new(),
    };
    nodes.write_tags(&dir.path().join("tags")).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_fieldbeat")).arg("check").arg("--config").arg(dir.path()).output();
    let checked = checked.unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    for link in ["can", "canopen"] {
        assert!(said.contains(link), "{link}: {said}");
    }
}

/// What the gateway's tests lean on: both servers hold what the table says, and refuse what it does not.
#[test]
fn the_peers_servers_hold_the_table_of_contents() {
    let contents = peers::contents();
    let mut client = Peer::python("modbus_client.py", &[]);
    for server in [peers::Server::pymodbus(), peers::Server::libmodbus()] {
        let mut ask = |unit: &str, function: usize, first: usize, count: usize| {
            let unit: u8 = unit.parse().unwrap();
            client.ask(&json!({
                "port": server.port, "unit": unit, "function": function, "first": first, "count": count,
            }))
        };
        for (unit, tables) in contents["units"].as_object().unwrap() {
            for (function, table) in
                ["coils", "discrete_inputs", "holding_registers", "input_registers"].into_iter().enumerate()
            {
                let function = function + 1;
                let values = tables[table].as_array().unwrap();
                for (block, chunk) in values.chunks(100).enumerate() {
                    let reply = ask(unit, function, block * 100, chunk.len());
                    assert_eq!(reply["values"].as_array(), Some(&chunk.to_vec()), "{unit} {table}: {reply}");
                }
                assert_eq!(ask(unit, function, values.len(), 1)["exception"], 2);
                assert_eq!(ask(unit, function, values.len() - 1, 2)["exception"], 2);
            }
        }
        assert_eq!(ask("9", 3, 0, 1)["exception"], 0x0B);
    }
    let silent = peers::Server::pymodbus_silent();
    let mut socket = TcpStream::connect(("127.0.0.1", silent.port)).unwrap();
    let mut frame = request(1);
    frame[6] = 9;
    socket.write_all(&frame).unwrap();
    assert_eq!(drain(&mut socket, Duration::from_millis(200)), (vec![], false));
}

#[test]
fn cantools_decodes_the_plants_frames_to_the_values_meant() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plant.dbc");
    std::fs::write(&file, can::dbc_file()).unwrap();
    let mut cantools = Peer::python("dbc_decoder.py", &[file.to_str().unwrap()]);
    let mut values = 0;
    for moment in 0..200 {
        for sent in can::frames_at(Nanos::from_millis(moment * 173), moment) {
            let data: String = sent.frame.data.iter().map(|byte| format!("{byte:02x}")).collect();
            let seen = cantools.ask(&json!({ "id": sent.frame.id, "data": data }));
            assert_eq!(seen["message"], sent.message);
            let seen = &seen["values"];
            assert_eq!(seen.as_object().unwrap().len(), sent.values.len(), "{sent:?}: {seen}");
            for (name, value) in &sent.values {
                let read = seen[*name].as_f64().unwrap();
                assert!(
                    (read - value).abs() <= 1e-9 * value.abs().max(1.0),
                    "{}.{name}: {read}, {value}",
                    sent.message
                );
                values += 1;
            }
        }
    }
    assert_eq!(values, 200 * (5 + 3 + 2 + 4 + 2 + 5) + 67 * 3 + 67 * 3 + 66 * 2);
}
