//! What a server does not take, and what is told then.

use std::sync::atomic::Ordering::Relaxed;

use fieldbeat::config::{InfluxApi, InfluxConfig};
use fieldbeat::output::{OutputError, OutputState, influx};

use super::journal::MemoryJournal;
use super::peers::wait;
use super::server::{Reply, Server, raw};
use super::{config, count, expect_settled, made, producer, spawn};

fn is_bad(line: &str) -> bool {
    line.starts_with("tag5,") && line.ends_with("70000")
}

#[test]
fn bad_lines_are_found_counted_and_the_rest_goes_on_whatever_the_server_says_of_them() {
    for text in
        ["{\"error\":\"partial write: max-values-per-tag limit exceeded dropped=1\"}", "{\"error\":\"no\"}", "no"]
    {
        let partial = text.contains("partial");
        let server = Server::start(move |request| {
            if !request.lines.iter().any(|line| is_bad(line)) {
                return Reply::taken();
            }
            Reply { stores: Box::new(move |line| partial && !is_bad(line)), ..Reply::refused(400, text) }
        });
        let journal = MemoryJournal::default();
        let mut producer = producer(&journal);
        for _ in 0..5 {
            producer.blocks(10);
        }
        let mut output = spawn(&journal, &config(server.port));
        wait("all of it", || output.stats.cursor().block == journal.next());
        // Cycles 7, 17, … of 50.
        assert_eq!(server.points().len() as u64, made(&producer) - 5, "{text}");
        assert!(server.points().keys().all(|(series, time)| !is_bad(&format!("{series} {time}"))));
        expect_settled(&journal, &mut output, made(&producer), 5);
    }
}

#[test]
fn a_server_that_refuses_everything_costs_nothing_and_is_told() {
    let server = Server::start(|request| match request.number {
        ..=30 => Reply::refused(400, "{\"error\":\"database is required\"}"),
        _ => Reply::taken(),
    });
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    producer.blocks(10);
    let output = spawn(&journal, &config(server.port));
    wait("it is told", || output.stats.last_error().contains("rejects every line: database is required"));
    assert_eq!(output.stats.state(), OutputState::Offline);
    assert_eq!(count(&output.stats.samples_refused), 0);
    assert_eq!(output.stats.cursor().block, 0);
}

#[test]
fn a_wrong_token_names_its_file_and_a_new_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    let server = Server::start(|request| {
        assert!(request.head.starts_with("POST /api/v2/write?org=my+org&bucket=b%26c&precision=us HTTP/1.1"));
        match request.head.to_ascii_lowercase().contains("authorization: token right\r\n") {
            true => Reply::taken(),
            false => Reply::refused(401, "{\"code\":\"unauthorized\",\"message\":\"unauthorized access\"}"),
        }
    });
    let api = InfluxApi::V2 { org: "my org".into(), bucket: "b&c".into(), token_file: token_file.clone() };
    let config = InfluxConfig { api, ..config(server.port) };
    assert!(matches!(influx::check_files(&config), Err(OutputError::Unreadable { .. })), "there is no file yet");
    for bad in ["", "two\nlines", "\u{e9}"] {
        std::fs::write(&token_file, bad).unwrap();
        assert!(matches!(influx::check_files(&config), Err(OutputError::BadToken { .. })), "{bad:?}");
    }
    std::fs::write(&token_file, "wrong\n").unwrap();
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    producer.blocks(10);
    let mut output = spawn(&journal, &config);
    wait("it is told", || output.stats.last_error().contains("unauthorized access"));
    let text = output.stats.last_error();
    assert!(text.contains("bucket \"b&c\" of organisation \"my org\"") && text.contains("/token"), "{text}");
    assert!(!text.contains("wrong"), "the token is not told: {text}");
    std::fs::write(&token_file, "right\n").unwrap();
    // The pause after a refusal is 15 s.
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(server.requests.load(Relaxed), 1, "it is not asked again at once");
    wait("the new token is taken", || count(&output.stats.samples_acknowledged) == made(&producer));
    expect_settled(&journal, &mut output, made(&producer), 0);
}

#[test]
fn redirects_and_what_is_no_http_are_told_and_not_followed() {
    let elsewhere = Server::start(|_| Reply::taken());
    let location: &'static str = Box::leak(format!("Location: http://127.0.0.1:{}/\r\n", elsewhere.port).into());
    let redirects = Server::start(move |_| Reply { headers: location, ..Reply::refused(307, "") });
    let endless = raw(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nffffffffffffffff\r\n");
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    producer.blocks(10);
    for (port, told) in [
        (redirects.port, "redirects (307) to http://127.0.0.1"),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not speak HTTP"),
        (raw(b""), "closed the connection (if it is a TLS port, the URL begins with https://)"),
        (endless, "127.0.0.1"),
    ] {
        let output = spawn(&journal, &config(port));
        wait(told, || output.stats.last_error().contains(told));
        assert_eq!(output.stats.cursor().block, 0);
    }
    assert_eq!(elsewhere.requests.load(Relaxed), 0);
}
