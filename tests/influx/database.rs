//! InfluxDB 1, as Debian has it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use fieldbeat::config::InfluxConfig;
use fieldbeat::output::OutputState;
use tempfile::TempDir;

use super::journal::{MemoryJournal, Producer};
use super::peers::{Killed, free_port, wait};
use super::{config, count, expect_settled, made, producer, spawn, v1};

struct Database {
    port: u16,
    folder: TempDir,
    process: Option<Killed>,
}

impl Database {
    fn started() -> Database {
        let folder = tempfile::tempdir().unwrap();
        let (port, rpc) = (free_port(), free_port());
        let at = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n[meta]\ndir = \"{}\"\n[data]\ndir = \"{}\"\n\
             wal-dir = \"{}\"\n[http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n",
            at("meta"),
            at("data"),
            at("wal")
        );
        std::fs::write(folder.path().join("influxdb.conf"), text).unwrap();
        let mut database = Database { port, folder, process: None };
        database.start();
        database.query("", "CREATE DATABASE plant");
        database
    }

    fn start(&mut self) {
        let mut command = Command::new("influxd");
        command.arg("-config").arg(self.folder.path().join("influxdb.conf"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|e| panic!("influxd does not start ({e}): install the package influxdb"));
        self.process = Some(Killed(child));
        wait("influxd listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok());
    }

    /// As kill -9 does it.
    fn kill(&mut self) {
        self.process = None;
    }

    fn query(&self, database: &str, query: &str) -> serde_json::Value {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        write!(stream, "POST /query?db={database}&q={encoded} HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Of all measurements, how many points have the field.
    fn count(&self, field: &str) -> u64 {
        let found = self.query("plant", &format!("SELECT count(\"{field}\") FROM /.*/"));
        let series = found["results"][0]["series"].as_array().cloned().unwrap_or_default();
        series.iter().map(|one| one["values"][0][1].as_u64().unwrap()).sum()
    }

    /// Values of one column of a query with one series.
    fn column(&self, query: &str) -> Vec<serde_json::Value> {
        let found = self.query("plant", query);
        let rows = found["results"][0]["series"][0]["values"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row[1].clone()).collect()
    }
}

/// Of the samples that a producer made: those that are not held.
fn values_of(made: u64, tags: u64) -> u64 {
    let in_cycle = (0..tags).filter(|at| at % 7 != 6).count() as u64;
    made / tags * in_cycle
}

fn flows(config: impl Fn(u16) -> InfluxConfig) {
    let database = Database::started();
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    producer.blocks(20);
    let mut output = spawn(&journal, &config(database.port));
    for _ in 0..30 {
        producer.blocks(5);
        std::thread::sleep(Duration::from_millis(10));
    }
    let made = made(&producer);
    wait("every sample has its status", || database.count("status") == made);
    assert_eq!(database.count("value"), values_of(made, 28), "held values are not written again");
    expect_settled(&journal, &mut output, made, 0);
    assert_eq!(count(&output.stats.connects), 1);
    let values = database.column("SELECT \"value\" FROM \"tag0\" LIMIT 3");
    let expected = [0u64, 28, 56].map(|sequence| serde_json::json!(f64::from(sequence as f32 * 0.37)));
    let close =
        |(a, b): (&serde_json::Value, &serde_json::Value)| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5;
    assert!(values.iter().zip(&expected).all(close), "{values:?}");
    let status = database.column("SELECT \"status\" FROM \"tag6\" LIMIT 1");
    assert_eq!(status, [serde_json::json!(0x408F_0000u32)]);
}

#[test]
fn every_sample_is_there_once() {
    flows(config);
}

#[test]
fn every_sample_is_there_once_without_gzip_and_in_other_precisions() {
    flows(|port| InfluxConfig { gzip: false, precision: fieldbeat::config::Precision::Nanoseconds, ..config(port) });
}

#[test]
fn a_database_killed_and_started_again_in_mid_flow_has_everything_once() {
    let mut database = Database::started();
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    let mut output = spawn(&journal, &config(database.port));
    for round in 0..90 {
        producer.blocks(4);
        std::thread::sleep(Duration::from_millis(10));
        if round % 40 == 20 {
            database.kill();
            wait("it is noticed", || output.stats.state() != OutputState::Online || round > 60);
            database.start();
        }
    }
    let made = made(&producer);
    wait("all of it", || database.count("status") == made);
    assert_eq!(database.count("value"), values_of(made, 28));
    expect_settled(&journal, &mut output, made, 0);
}

#[test]
fn lines_of_a_field_of_another_type_are_counted_and_the_rest_goes_on() {
    let database = Database::started();
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    // tag3 is a text already.
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, database.port)).unwrap();
    let line = "tag3,gateway=line-4 value=\"x\" 1763693956000000000";
    write!(stream, "POST /write?db=plant HTTP/1.0\r\nContent-Length: {}\r\n\r\n{line}", line.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("204"), "{answer}");
    let mut output = spawn(&journal, &config(database.port));
    for _ in 0..20 {
        producer.blocks(5);
    }
    let made = made(&producer);
    wait("the rest", || count(&output.stats.samples_acknowledged) + count(&output.stats.samples_refused) == made);
    let refused = count(&output.stats.samples_refused);
    assert_eq!(refused, 100, "one a cycle");
    assert_eq!(database.count("status"), made - refused);
    expect_settled(&journal, &mut output, made, refused);
}

#[test]
fn a_database_that_is_not_there_is_named_and_written_to_once_it_is() {
    let database = Database::started();
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 1, 1, 7);
    producer.floats = true;
    producer.blocks(10);
    let output = spawn(&journal, &InfluxConfig { api: v1("no such"), ..config(database.port) });
    wait("it is told", || !output.stats.last_error().is_empty());
    let text = output.stats.last_error();
    assert!(text.contains("does not know database \"no such\"") && text.contains("database not found"), "{text}");
    assert_ne!(output.stats.state(), OutputState::Online);
    assert_eq!(output.stats.cursor().block, 0);
}
