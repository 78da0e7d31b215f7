//! VictoriaMetrics, which takes the write APIs of both InfluxDBs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};

use fieldbeat::config::{InfluxApi, InfluxConfig};

use super::journal::MemoryJournal;
use super::peers::{Killed, free_port, wait};
use super::{config, expect_settled, made, producer, spawn};

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// How many values the series have whose names end so.
fn count(port: u16, end: &str) -> u64 {
    get(port, "/internal/force_flush");
    let exported = get(port, "/api/v1/export?match[]=%7B__name__%21%3D%22%22%7D&start=0");
    let series = exported.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let named = series.filter(|one| one["metric"]["__name__"].as_str().unwrap().ends_with(end));
    named.map(|one| one["values"].as_array().unwrap().len() as u64).sum()
}

#[test]
fn every_sample_is_there_once_by_both_write_apis() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "secret\n").unwrap();
    let v2 = InfluxApi::V2 { org: "plant".into(), bucket: "line-4".into(), token_file };
    for api in [config(0).api, v2] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("victoria-metrics");
        command.arg(format!("-httpListenAddr=127.0.0.1:{port}")).args(["-retentionPeriod=100y", "-storageDataPath"]);
        command.arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        let child = child
            .unwrap_or_else(|e| panic!("victoria-metrics does not start ({e}): install the package victoria-metrics"));
        let _process = Killed(child);
        wait("it listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        let journal = MemoryJournal::default();
        let mut producer = producer(&journal);
        let mut output = spawn(&journal, &InfluxConfig { api, ..config(port) });
        (0..10).for_each(|_| producer.blocks(10));
        let made = made(&producer);
        wait("every sample has its status", || count(port, "_status") == made);
        assert_eq!(count(port, "_value"), made / 7 * 6, "held values are not written again");
        expect_settled(&journal, &mut output, made, 0);
    }
}
