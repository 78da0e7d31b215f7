//! Faults on the way: every sample is there once all the same.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fieldbeat::config::{InfluxConfig, TagChoice, TlsConfig};
use fieldbeat::output::OutputState;

use super::certs::{Pki, VALID};
use super::journal::MemoryJournal;
use super::peers::{free_port, wait};
use super::server::{Reply, Server, raw};
use super::{config, count, expect_settled, made, producer, spawn, spawn_of};

#[test]
fn failures_in_mid_flow_double_nothing_and_lose_nothing() {
    let server = Server::start(|request| match request.number % 9 {
        // Half of it is stored, and the answer says that it failed.
        2 => Reply {
            stores: {
                let half = request.lines[request.lines.len() / 2].clone();
                let known = request.lines.clone();
                let middle = known.iter().position(|line| *line == half).unwrap();
                let first: Vec<String> = known[..middle].to_vec();
                Box::new(move |line| first.iter().any(|one| one == line))
            },
            ..Reply::refused(500, "{\"error\":\"engine: closed\"}")
        },
        // All of it, and no answer.
        4 => Reply { closes: true, ..Reply::taken() },
        // None of it, and no answer.
        6 => Reply { closes: true, ..Reply::refused(0, "") },
        // All of it, and the answer comes too late.
        8 => Reply { waits: Duration::from_millis(1_300), ..Reply::taken() },
        _ => Reply::taken(),
    });
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    let mut output = spawn(&journal, &config(server.port));
    for _ in 0..60 {
        producer.blocks(4);
        std::thread::sleep(Duration::from_millis(10));
    }
    let made = made(&producer);
    wait("all of it", || count(&output.stats.samples_acknowledged) == made);
    assert_eq!(server.count("status"), made);
    assert_eq!(server.points().len() as u64, made, "one point a sample");
    assert!(count(&output.stats.failures) > 2);
    expect_settled(&journal, &mut output, made, 0);
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let begun = Instant::now();
    let server = Server::start(|request| match request.number {
        1 => Reply { headers: "Retry-After: 2\r\n", ..Reply::refused(429, "slow down") },
        2 => Reply { headers: "Retry-After: 1\r\n", ..Reply::refused(503, "") },
        _ => Reply::taken(),
    });
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    producer.blocks(4);
    let mut output = spawn(&journal, &config(server.port));
    wait("the first pause", || output.stats.last_error().contains("retry after 2 s"));
    assert_eq!(output.stats.state(), OutputState::Offline);
    wait("all of it", || count(&output.stats.samples_acknowledged) == made(&producer));
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(server.requests.load(Relaxed), 3, "nothing was sent in between");
    expect_settled(&journal, &mut output, made(&producer), 0);
}

#[test]
fn requests_that_are_too_large_are_sent_in_parts_and_smaller_from_then_on() {
    let server = Server::start(|request| {
        let bytes: usize = request.lines.iter().map(|line| line.len() + 1).sum();
        if bytes > 4_000 { Reply::refused(413, "too large") } else { Reply::taken() }
    });
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    for _ in 0..10 {
        producer.blocks(10);
    }
    let mut output = spawn(&journal, &config(server.port));
    wait("all of it", || count(&output.stats.samples_acknowledged) == made(&producer));
    let requests = server.requests.load(Relaxed);
    assert_eq!(server.points().len() as u64, made(&producer));
    for _ in 0..10 {
        producer.blocks(10);
    }
    wait("the rest", || count(&output.stats.samples_acknowledged) == made(&producer));
    assert!(server.requests.load(Relaxed) - requests <= requests, "it has learned");
    assert_eq!(count(&output.stats.failures), 0, "that is no failure");
    expect_settled(&journal, &mut output, made(&producer), 0);
}

#[test]
fn every_sample_arrives_over_tls_behind_a_path_and_a_strange_ca_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "ca", VALID);
    let other = Pki::new(folder.path(), "other", VALID);
    let pair = pki.issue("server", &["localhost", "127.0.0.1"], VALID);
    let server = Server::start_with(Some(&pair), |request| {
        assert!(request.head.starts_with("POST /influx/write?db=plant&precision=u HTTP/1.1"), "{}", request.head);
        Reply::taken()
    });
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    producer.blocks(20);
    let with = |ca: &std::path::Path| InfluxConfig {
        path: "/influx".into(),
        tls: Some(TlsConfig { ca: Some(ca.into()), cert: None, key: None }),
        ..config(server.port)
    };
    let wrong = spawn(&journal, &with(&other.ca));
    wait("it is told", || wrong.stats.last_error().contains("was not issued by a CA in"));
    drop(wrong);
    let mut output = spawn(&journal, &with(&pki.ca));
    wait("all of it", || count(&output.stats.samples_acknowledged) == made(&producer));
    assert_eq!(server.points().len() as u64, made(&producer));
    expect_settled(&journal, &mut output, made(&producer), 0);
}

#[test]
fn what_an_output_leaves_out_is_passed_and_the_account_closes() {
    let server = Server::start(|_| Reply::taken());
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    let choice =
        TagChoice { tags: vec!["tag1*".into()], groups: vec!["group0".into()], exclude_tags: vec!["tag13".into()] };
    let mut output = spawn_of(choice.clone(), &journal, &config(server.port));
    for _ in 0..20 {
        producer.blocks(5);
        std::thread::sleep(Duration::from_millis(5));
    }
    // Behind the last sample that is sent there are others.
    wait("the cursor is at the end", || output.stats.cursor().block == journal.next());
    output.stop();
    let (sent, left_out) = (count(&output.stats.samples_acknowledged), count(&output.stats.samples_left_out));
    assert_eq!(sent + left_out, made(&producer));
    assert_eq!(server.points().len() as u64, sent);
    assert!(
        sent > 0
            && server.points().keys().all(|(series, _)| {
                let name = series.split(',').next().unwrap();
                name.starts_with("tag1") && name != "tag13"
            })
    );

    // An output of nothing that comes by passes all of it.
    let none = TagChoice { tags: vec!["other".into()], ..choice };
    let mut output = spawn_of(none, &MemoryJournal::default(), &config(server.port));
    wait("connected", || output.stats.state() == OutputState::Online);
    output.stop();
    assert_eq!(count(&output.stats.messages_published), 0);
}

#[test]
fn a_stop_is_quick_and_the_next_start_goes_on_where_it_was() {
    let journal = MemoryJournal::default();
    let mut producer = producer(&journal);
    producer.blocks(10);
    let mute = raw(b"");
    let slow = Server::start(|_| Reply { waits: Duration::from_secs(20), ..Reply::taken() });
    let patient = InfluxConfig { timeout: fieldbeat::tag::Nanos::from_millis(60_000), ..config(slow.port) };
    for (config, most) in [(config(free_port()), 1), (config(mute), 1), (patient, 8)] {
        let mut output = spawn(&journal, &config);
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        output.stop();
        assert!(begun.elapsed() < Duration::from_secs(most), "{:?}", begun.elapsed());
        assert_eq!(journal.saved("cloud"), None);
    }
    let server = Server::start(|_| Reply::taken());
    for _ in 0..3 {
        let mut output = spawn(&journal, &config(server.port));
        wait("connected", || output.stats.state() == OutputState::Online);
        producer.blocks(10);
        output.stop();
    }
    assert_eq!(server.points().len() as u64, made(&producer), "what was gathered at the stop is sent");
}
