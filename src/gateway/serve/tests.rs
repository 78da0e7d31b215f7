//! The endpoint as its clients see it, and the report of a run.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::config::{Pace, ReleaseMode};
use crate::lane::LinkState;
use crate::plan::{GroupPlan, LaneOwner, LanePlan, LinkPlan, ScanId, ScanPlan};
use crate::protocol::modbus::model::{HostPort, ModbusConfig, ModbusTransport, Tolerance};
use crate::protocol::modbus::plan::ModbusPlan;
use crate::rt::{Report, RequestResult};
use crate::tag::{ById, GroupId, LaneId, LinkId};

/// Two groups; the first is read on both links, the second on the first link.
fn plan() -> Plan {
    let group = |name: &str, ms| GroupPlan {
        name: Arc::from(name),
        pace: Pace::Every(Nanos::from_millis(ms)),
        release: ReleaseMode::Spread,
    };
    let link = |name: &str| LinkPlan {
        name: Arc::from(name),
        lane: LaneId(0),
        write_spacing: Nanos::ZERO,
        protocol: Box::new(ModbusPlan {
            config: ModbusConfig {
                transport: ModbusTransport::Tcp(HostPort { host: "127.0.0.1".into(), port: 502 }),
                turnaround: Nanos::ZERO,
                unit_pause: Nanos::ZERO,
                unit_change_pause: Nanos::ZERO,
                connect_delay: Nanos::ZERO,
                tolerance: Tolerance::STRICT,
                timeout: Nanos::from_millis(200),
                connect_timeout: Nanos::from_millis(200),
                pipeline: 1,
                reply_expected: Nanos::from_millis(2),
                registers_max: 125,
                bits_max: 2000,
                unreadable: vec![],
            },
            units: vec![],
            requests: vec![],
            block_count: 0,
            decodes: vec![],
            checks: Default::default(),
            writes: vec![],
        }),
    };
    let scan = |group, link| ScanPlan { group: GroupId(group), link: LinkId(link), requests: 0..0 };
    Plan {
        tags: ById::new(),
        groups: [group("10ms", 10), group("with \"quotes\" and \\", 1000)].into_iter().collect(),
        links: [link("plc1"), link("plc2")].into_iter().collect(),
        scans: [scan(0, 0), scan(0, 1), scan(1, 0)].into_iter().collect(),
        lanes: vec![LanePlan {
            owner: LaneOwner::Executor { cpu: 0 },
            links: vec![LinkId(0), LinkId(1)],
            releases: vec![],
            slots_per_s: 0,
        }],
    }
}

pub(in crate::serve) fn observed() -> Arc<Observed> {
    let plan = Arc::new(plan());
    let counters = Arc::new(Counters::new(&plan));
    let statistics = Arc::new(Statistics::new(&plan));
    for (scan, cycles) in [100, 90, 1].into_iter().enumerate() {
        counters.scans[scan].cycles.add(cycles);
    }
    counters.scans[0].skipped.add(2);
    counters.scans[1].skipped.add(3);
    counters.scans[1].deadline_misses.add(4);
    counters.links[0].requests.add(101);
    counters.links[0].replies.add(95);
    counters.links[0].timeouts.add(6);
    counters.links[0].connects.add(3);
    counters.links[0].writes_sent.add(5);
    counters.links[0].writes_done.add(4);
    counters.links[0].writes_failed.add(7);
    for link in plan.links.ids() {
        counters.link(link).set_state(LinkState::Up);
    }
    counters.groups[0][0].produced.add(1000);
    counters.groups[0][0].dropped.add(7);
    counters.groups[0][0].suppressed_at_ring.add(20);
    counters.groups[0][0].suppressed_at_journal.add(30);
    counters.lanes[0].suppressed_at_ring.add(20);
    counters.lanes[0].suppressed_at_journal.add(30);
    counters.lanes[0].produced.add(1000);
    counters.lanes[0].dropped.add(7);
    let nominal = Nanos(1_000_000);
    let at = |us| nominal + Nanos::from_micros(us);
    statistics.record(&Report::Released { group: GroupId(0), due: nominal, nominal, actual: at(3) });
    statistics.record(&Report::Issued { group: GroupId(0), link: LinkId(0), nominal, sent: at(40) });
    let (sent, received) = (at(40), at(440));
    let result = RequestResult::Good;
    statistics.record(&Report::Finished { scan: ScanId(0), link: LinkId(0), nominal, sent, received, result });
    Arc::new(Observed {
        boot: String::new(),
        started: Nanos::ZERO,
        taps: crate::hub::taps().0,
        gateway: "line-4".into(),
        current: Mutex::new(Current::new(plan)),
        reloads: Reloads::started_now(),
        writes: Arc::default(),
        counters,
        image: Arc::default(),
        link_troubles: Box::new(BTreeMap::new),
        statistics,
        rings: vec![Box::new(|| RingFill { used: 1024, capacity: 4096 })],
        journal: Box::new(|| JournalView {
            bytes: 1 << 20,
            bytes_max: 1 << 30,
            blocks: 5,
            oldest_age: Nanos::from_millis(2500),
            stored: 990,
            dropped: 3,
            evicted: 0,
            lost: 4,
            set_aside: 1,
            blocks_damaged: 2,
            commits: 12,
            commit_times: CommitTimes { sum: 24_000_000, buckets: [0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
        }),
        outputs: vec![(
            "cloud".into(),
            Box::new(|| OutputView {
                state: OutputState::Up,
                lag: 40,
                acknowledged: 950,
                left_out: 30,
                refused: 4,
                server: 1,
                published: 12,
                in_flight: 2,
                lost: 0,
            }),
        )],
        health: Arc::default(),
    })
}

fn start(observed: &Arc<Observed>) -> HttpServer {
    start_with(observed, false)
}

fn start_with(observed: &Arc<Observed>, per_link: bool) -> HttpServer {
    HttpServer::start("127.0.0.1:0".parse().unwrap(), Arc::clone(observed), per_link).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Status line, headers, body.
fn send(address: SocketAddr, request: &str) -> (String, String, String) {
    let mut socket = connect(address);
    socket.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{reply:?}"));
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.into(), headers.into(), body.into())
}

fn get(address: SocketAddr, path: &str) -> (String, String, String) {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let observed = observed();
    let server = start(&observed);
    let (status, headers, body) = get(server.address(), "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains("text/plain; version=0.0.4"), "{headers}");
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => panic!("promtool does not start: {e}; install it: apt-get install prometheus"),
    };
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.trim().is_empty(), "{said}\n{body}");
}

#[test]
fn the_metrics_say_what_was_counted() {
    let observed = observed();
    let server = start(&observed);
    let (_, _, body) = get(server.address(), "/metrics");
    for line in [
        "# TYPE fieldbeat_group_cycles_total counter",
        "fieldbeat_group_cycles_total{group=\"10ms\"} 190",
        "fieldbeat_group_cycles_total{group=\"with \\\"quotes\\\" and \\\\\"} 1",
        "fieldbeat_group_skipped_cycles_total{group=\"10ms\"} 5",
        "fieldbeat_group_deadline_misses_total{group=\"10ms\"} 4",
        "fieldbeat_group_release_jitter_seconds_bucket{le=\"0.000002\",group=\"10ms\"} 0",
        "fieldbeat_group_release_jitter_seconds_bucket{le=\"0.000005\",group=\"10ms\"} 1",
        "fieldbeat_group_release_jitter_seconds_bucket{le=\"+Inf\",group=\"10ms\"} 1",
        "fieldbeat_group_issue_jitter_seconds_count{group=\"10ms\"} 1",
        "fieldbeat_group_sample_age_seconds_sum{group=\"10ms\"} 0.00044",
        "fieldbeat_link_requests_total{link=\"plc1\"} 101",
        "fieldbeat_link_replies_total{link=\"plc1\",result=\"good\"} 95",
        "fieldbeat_link_replies_total{link=\"plc1\",result=\"timeout\"} 6",
        "fieldbeat_link_writes_sent_total{link=\"plc1\"} 5",
        "fieldbeat_link_writes_total{link=\"plc1\",result=\"done\"} 4",
        "fieldbeat_link_writes_total{link=\"plc1\",result=\"failed\"} 7",
        "fieldbeat_link_state{link=\"plc1\",state=\"up\"} 1.0",
        "fieldbeat_link_state{link=\"plc1\",state=\"down\"} 0.0",
        "fieldbeat_response_time_seconds_sum 0.0004",
        "fieldbeat_response_time_seconds_count 1",
        "fieldbeat_ring_fill_ratio{lane=\"0\"} 0.25",
        "fieldbeat_ring_capacity_slots{lane=\"0\"} 4096.0",
        "fieldbeat_samples_produced_total{lane=\"0\",group=\"10ms\"} 1000",
        "fieldbeat_samples_dropped_total{lane=\"0\",group=\"10ms\"} 7",
        "fieldbeat_samples_suppressed_total{lane=\"0\",group=\"10ms\"} 50",
        "fieldbeat_journal_size_bytes 1048576.0",
        "fieldbeat_journal_oldest_age_seconds 2.5",
        "fieldbeat_journal_commit_seconds_bucket{le=\"0.001\"} 0",
        "fieldbeat_journal_commit_seconds_bucket{le=\"0.002\"} 12",
        "fieldbeat_journal_commit_seconds_count 12",
        "fieldbeat_journal_commit_seconds_sum 0.024",
        "fieldbeat_live_readers 0.0",
        "fieldbeat_journal_stored_samples_total 990",
        "fieldbeat_journal_lost_samples_total 4",
        "fieldbeat_journal_set_aside_total 1",
        "fieldbeat_output_cursor_lag_samples{output=\"cloud\"} 40.0",
        "fieldbeat_output_acknowledged_samples_total{output=\"cloud\"} 950",
        "fieldbeat_output_state{output=\"cloud\",state=\"up\"} 1.0",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(body.lines().any(|l| l == line), "{line}\nis not in\n{body}");
    }
    assert!(body.contains("fieldbeat_build_info{gateway=\"line-4\",version=\""), "{body}");

    // Counts are read at each scrape.
    observed.counters.links[0].requests.add(1);
    let (_, _, body) = get(server.address(), "/metrics");
    assert!(body.contains("fieldbeat_link_requests_total{link=\"plc1\"} 102\n"));
}

#[test]
fn times_of_each_link_are_there_where_they_are_asked_for() {
    let observed = observed();
    let line = "fieldbeat_link_response_time_seconds_sum{link=\"plc1\"} 0.0004\n";
    assert!(get(start_with(&observed, true).address(), "/metrics").2.contains(line));
    let body = get(start(&observed).address(), "/metrics").2;
    assert!(!body.contains("fieldbeat_link_response_time"), "{body}");
}

#[test]
fn no_counter_falls_when_links_and_groups_go_and_come_again() {
    let observed = observed();
    let server = start_with(&observed, true);
    let (_, _, before) = get(server.address(), "/metrics");
    let whole = observed.plan();
    let mut without = Plan { links: ById::new(), groups: ById::new(), scans: ById::new(), ..(*whole).clone() };
    without.lanes[0].links.clear();
    let without = Arc::new(without);
    // They get ids of their own when they come again; their counts there begin at zero.
    let mut again = (*whole).clone();
    let moved = |id: u16| id + 8;
    again.links = whole.links.iter().map(|(id, link)| (LinkId(moved(id.0)), link.clone())).collect();
    again.groups = whole.groups.iter().map(|(id, group)| (GroupId(moved(id.0)), group.clone())).collect();
    let scan = |(id, scan): (ScanId, &ScanPlan)| {
        let (group, link) = (GroupId(moved(scan.group.0)), LinkId(moved(scan.link.0)));
        (ScanId(id.0 + 8), ScanPlan { group, link, ..scan.clone() })
    };
    again.scans = whole.scans.iter().map(scan).collect();
    let again = Arc::new(again);
    for (old, new) in [(&whole, &without), (&without, &again)] {
        observed.counters.prepare(new, old);
        observed.statistics.adopt(new);
        observed.set_plan(new.clone());
    }
    observed.counters.link(LinkId(moved(0))).requests.add(1);
    let (_, _, after) = get(server.address(), "/metrics");
    assert!(after.contains("fieldbeat_link_requests_total{link=\"plc1\"} 102\n"), "{after}");
    let value =
        |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse::<f64>().unwrap()));
    let rows = |text: &str| -> BTreeMap<String, f64> {
        text.lines().filter(|line| !line.starts_with('#')).filter_map(value).collect()
    };
    let (before, after) = (rows(&before), rows(&after));
    let count = |name: &str| {
        ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.split('{').next().unwrap().ends_with(end))
    };
    let fallen: Vec<_> = before
        .iter()
        .filter(|(name, _)| count(name) && !name.starts_with("process_"))
        .filter(|(name, value)| after.get(*name).is_none_or(|after| after < value))
        .collect();
    assert!(fallen.is_empty(), "{fallen:#?}");
}

#[test]
fn a_client_that_asks_for_openmetrics_gets_it() {
    let server = start(&observed());
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\naccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
    let (_, headers, body) = send(server.address(), request);
    assert!(headers.contains("application/openmetrics-text"), "{headers}");
    assert!(body.ends_with("# EOF\n"));
    assert!(body.contains("# UNIT fieldbeat_group_release_jitter_seconds seconds\n"));
    assert!(body.contains("# TYPE fieldbeat_group_cycles counter\nfieldbeat_group_cycles_total{"));
}

#[test]
fn health_is_as_bad_as_its_worst_condition() {
    let observed = observed();
    let server = start(&observed);
    let ask = || {
        let (status, headers, body) = get(server.address(), "/health");
        assert!(headers.contains("Content-Type: application/json"));
        (status, serde_json::from_str::<serde_json::Value>(&body).unwrap())
    };
    let (status, report) = ask();
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(report["status"], "ok");
    assert_eq!(report["reasons"], serde_json::json!([]));

    observed.counters.links[1].set_state(LinkState::Silent);
    let (status, report) = ask();
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(report["status"], "degraded");
    assert_eq!(report["reasons"], serde_json::json!(["link plc2 is silent"]));
    assert_eq!(report["links"], serde_json::json!({ "total": 2, "up": 1, "down": 0, "silent": 1 }));

    observed.health.set("journal", Severity::Failed, "the disk is full; free space under /var");
    let (status, report) = ask();
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(report["status"], "failed");
    assert_eq!(
        report["reasons"],
        serde_json::json!(["journal: the disk is full; free space under /var", "link plc2 is silent"])
    );

    observed.health.clear("journal");
    observed.counters.links[1].set_state(LinkState::Up);
    assert_eq!(ask().1["status"], "ok");
}

#[test]
fn what_is_not_there_is_said_so() {
    let server = start(&observed());
    let status = |request: &str| send(server.address(), request).0;
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(status("GET /metricsx HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(status("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK");
    for target in ["http://x/metrics", "HTTP://plant.example:9464/metrics?x=1", "https://[::1]:9464/metrics#here"] {
        assert_eq!(status(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")), "HTTP/1.1 200 OK", "{target}");
    }
    for (target, answer) in [
        ("http://x", "404 Not Found"),
        ("http://x/", "404 Not Found"),
        ("http:///metrics", "400 Bad Request"),
        ("ftp://x/metrics", "400 Bad Request"),
        ("metrics", "400 Bad Request"),
        ("*", "400 Bad Request"),
    ] {
        assert_eq!(status(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")), format!("HTTP/1.1 {answer}"));
    }
    assert_eq!(status("GET /metrics HTTP/2.0\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    assert_eq!(status("\u{0}\u{1}\u{2}\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    assert_eq!(
        status(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000))),
        "HTTP/1.1 431 Request Header Fields Too Large"
    );
    let (status, headers, _) =
        send(server.address(), "POST /metrics HTTP/1.1\r\nContent-Length: 900000000000000\r\n\r\nabc");
    assert_eq!(status, "HTTP/1.1 405 Method Not Allowed");
    assert!(headers.contains("Allow: GET, HEAD"));
    let (status, headers, body) = send(server.address(), "HEAD /health HTTP/1.1\r\n\r\n");
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""));
    assert!(!headers.contains("Content-Length: 0"), "{headers}");
}

#[test]
fn slow_and_idle_clients_do_not_keep_a_scraper_away() {
    let server = start(&observed());
    let mut idle: Vec<TcpStream> = (0..100).map(|_| connect(server.address())).collect();
    for (i, socket) in idle.iter_mut().enumerate() {
        // Half a request; those that were pushed out already refuse it.
        let _ = socket.write_all(&b"GET /metrics HTTP/1.1\r\n"[..i % 20]);
    }
    let asked = Instant::now();
    for _ in 0..5 {
        assert_eq!(get(server.address(), "/metrics").0, "HTTP/1.1 200 OK");
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // The oldest are gone, the newest may still go on.
    let gone = idle
        .iter_mut()
        .filter(|socket| {
            socket.set_nonblocking(true).unwrap();
            !matches!((&mut &**socket).read(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock)
        })
        .count();
    assert!((100 - crate::limits::HTTP_CONNECTIONS_MAX..100).contains(&gone), "{gone}");
}

#[test]
fn a_request_that_never_ends_is_cut_off_at_the_deadline() {
    let server = start(&observed());
    let mut socket = connect(server.address());
    socket.write_all(b"GET /metrics HTTP").unwrap();
    let asked = Instant::now();
    assert_eq!(socket.read(&mut [0; 16]).unwrap_or(0), 0);
    let took = asked.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let observed = observed();
    let server = start(&observed);
    let error = HttpServer::start(server.address(), observed, false).unwrap_err().to_string();
    assert!(error.contains(&server.address().to_string()) && error.contains("listen"), "{error}");
}

#[test]
fn a_stopped_endpoint_gives_its_port_back() {
    let observed = observed();
    let server = start(&observed);
    let address = server.address();
    let _open = connect(address);
    drop(server);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_report_has_every_figure_of_the_run() {
    let observed = observed();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    std::fs::write(&path, "old").unwrap();
    RunReport::of(&observed, Nanos::from_millis(30_500)).write(&path).unwrap();
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let group = &report["groups"]["10ms"];
    assert_eq!(group["period_ns"], 10_000_000);
    assert_eq!((&group["cycles"], &group["skipped"]), (&100.into(), &5.into()));
    assert_eq!(group["deadline_misses"], 4);
    assert_eq!([&group["produced"], &group["dropped"], &group["suppressed"]], [1000, 7, 50]);
    assert_eq!(group["release_jitter_ns"]["max"], 3_000);
    assert_eq!(group["issue_jitter_ns"]["p50"], 40_000);
    assert_eq!(group["sample_age_ns"]["p999"], 440_000);
    let link = &report["links"]["plc1"];
    assert_eq!((&link["requests"], &link["timeouts"], &link["reconnects"]), (&101.into(), &6.into(), &2.into()));
    assert_eq!(link["response_ns"]["p99"], 400_000);
    assert_eq!(
        link["scans"][1],
        serde_json::json!({
            "group": "with \"quotes\" and \\", "cycles": 1, "skipped": 0, "deadline_misses": 0,
        })
    );
    assert_eq!(
        report["samples"],
        serde_json::json!({
            "produced": 1000, "stored": 990, "dropped": 10, "suppressed": 50, "lost_after_stored": 4,
        })
    );
    assert_eq!(report["outputs"]["cloud"], serde_json::json!({ "acked": 950, "pending": 40, "lost": 0 }));
    assert_eq!(report["duration_seconds"], 30.5);
    assert!(report["process"]["anonymous_bytes"].as_u64().unwrap() > 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn a_report_that_cannot_be_written_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    std::fs::create_dir(&path).unwrap();
    RunReport::of(&observed(), Nanos::ZERO).write(&path).unwrap_err();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

mod tags;

#[test]
fn what_is_taken_out_of_a_configuration_takes_nothing_off_its_groups_totals() {
    let observed = observed();
    let totals = |observed: &Arc<Observed>| -> Vec<u64> {
        let body = metrics::Metrics::new(observed.clone(), false).write(metrics::Format::Prometheus).unwrap();
        let of = |name: &str| {
            let row = body.lines().find(|line| line.starts_with(&format!("{name}_total{{group=\"10ms\"}}")));
            row.and_then(|row| row.rsplit(' ').next()?.parse().ok()).unwrap()
        };
        ["fieldbeat_group_cycles", "fieldbeat_group_skipped_cycles", "fieldbeat_group_deadline_misses"].map(of).to_vec()
    };
    assert_eq!(totals(&observed), [190, 5, 4]);
    let mut without = Plan::clone(&observed.plan());
    without.links.retain(|id, _| id != LinkId(1));
    without.scans.retain(|id, _| id != ScanId(1));
    observed.set_plan(Arc::new(without));
    assert_eq!(totals(&observed), [190, 5, 4]);
    // The link comes again, under another id; what its scan counts is more.
    let again = Arc::new(plan());
    observed.counters.prepare(&again, &observed.plan());
    observed.set_plan(again);
    observed.counters.scans[1].cycles.add(6);
    assert_eq!(totals(&observed), [196, 5, 4]);
}
