//! The gateway's own tags, in a whole gateway beside simulated devices.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use fieldbeat::config::Loaded;
use fieldbeat::plant::{Plant, PlantConfig, Profile};
use fieldbeat::protocol::load_parts;
use fieldbeat::store::JournalReader;
use fieldbeat::supervise::Gateway;
use fieldbeat::tag::Status;

fn load(journal: &std::path::Path, own: &str, devices: &[(&str, u16)]) -> Result<Loaded, String> {
    let journal = journal.display();
    let toml = format!("[gateway]\nid = \"g\"\n[journal]\npath = \"{journal}\"\n[metrics]\nlisten = \"off\"\n{own}");
    let files: Vec<(String, String)> = devices
        .iter()
        .map(|(name, port)| {
            let text = format!(
                r#"{{"links":[{{"name":"{name}","protocol":"modbus_tcp","host":"127.0.0.1","port":{port},"timeout_ms":100}}],
                   "tags":[{{"name":"{name}.a","address":"{name}:1:3:40001:1","data_type":"uint16","scan_rate_ms":10}}]}}"#
            );
            (format!("tags/{name}.json"), text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    load_parts(("fieldbeat.toml", &toml), &files).map_err(|error| error.to_string())
}

/// What the journal has of each tag: value, text, status of the last sample, and how many there are.
fn stored(path: &std::path::Path) -> BTreeMap<String, (f64, Option<String>, Status, usize)> {
    let reader = JournalReader::open_read_only(path).unwrap();
    let mut seen: BTreeMap<String, (f64, Option<String>, Status, usize)> = BTreeMap::new();
    let mut next = 0;
    while let Some(block) = reader.block_at_or_after(next).unwrap() {
        next = block.index + 1;
        for item in block.batch.iter() {
            let tag = block.batch.names.tag(item.sample.tag()).unwrap();
            let text = tag.texts.of(item.sample.value).map(str::to_owned);
            // Float64 is what those with a fraction are.
            let value = match item.sample.ty {
                ty if ty == fieldbeat::tag::ScalarType::Float64 as u8 => f64::from_bits(item.sample.value),
                _ => item.sample.value as f64,
            };
            let entry = seen.entry(tag.name.clone()).or_insert((0.0, None, Status::GOOD, 0));
            *entry = (value, text, item.sample.status(), entry.3 + 1);
        }
    }
    seen
}

fn run(gateway: &mut Gateway, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        gateway.tend().unwrap_or_else(|trouble| panic!("{trouble}"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn plant(devices: usize) -> Plant {
    let profile = Profile::Line { tags_per_device: 10 };
    Plant::start(PlantConfig { devices, profile, cpu: Some(0), ..PlantConfig::default() }).unwrap()
}

#[test]
fn what_the_gateway_knows_of_itself_reaches_the_journal_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let plant = plant(2);
    let ports: Vec<u16> = plant.addresses().iter().map(|address| address.port()).collect();
    let own = "[diagnostics]\nscan_rate_ms = 100\n[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:9\"\n";
    let loaded = load(&journal, own, &[("plc1", ports[0])]).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let mut gateway = Gateway::start(loaded).unwrap_or_else(|e| panic!("{e}"));
    run(&mut gateway, Duration::from_millis(1500));
    // A machine is added while it runs, and its tags with it.
    gateway.adopt(&load(&journal, own, &[("plc1", ports[0]), ("plc2", ports[1])]).unwrap());
    run(&mut gateway, Duration::from_millis(1500));
    // Another gateway's file is not what runs, and does not say what there is.
    gateway.adopt(&load(&journal, "", &[("plc1", ports[0]), ("plc2", ports[1])]).unwrap());
    run(&mut gateway, Duration::from_millis(300));
    // The devices are gone.
    drop(plant);
    run(&mut gateway, Duration::from_millis(1500));
    let ended = gateway.stop();
    let samples = &ended.report.samples;
    assert_eq!((ended.unsaved, samples.produced), (None, samples.stored + samples.dropped + samples.suppressed));

    let seen = stored(&journal);
    let of = |name: &str| seen.get(name).cloned().unwrap_or_else(|| panic!("{name} of {:?}", seen.keys()));
    let value = |name: &str| of(name).0;
    assert!(value("$gateway.uptime_s") > 3.0 && of("$gateway.uptime_s").3 > 30, "{:?}", of("$gateway.uptime_s"));
    assert!(value("$gateway.memory_bytes") > 1e6);
    assert!(value("$gateway.samples_produced") > 300.0);
    assert_eq!(value("$gateway.samples_dropped"), 0.0);
    assert!((0.0..=6400.0).contains(&value("$gateway.cpu_percent")));
    assert!(value("$journal.bytes") > 1e4);
    assert!(value("$lane.0.produced") > 100.0 && value("$lane.1.produced") > 100.0);
    assert!(value("$lane.0.ring_percent") < 100.0);
    assert!(value("$group.default.release_jitter_us_p99") > 0.0);
    assert!(value("$output.cloud.lag_s") > 2.0, "{:?}", of("$output.cloud.lag_s"));
    assert_ne!(of("$output.cloud.state").1.as_deref(), Some("up"));
    for link in ["plc1", "plc2"] {
        assert!(value(&format!("$link.{link}.requests")) > 10.0, "{link}");
        let (p50, p99) =
            (value(&format!("$link.{link}.response_ms_p50")), value(&format!("$link.{link}.response_ms_p99")));
        assert!(p50 > 0.0 && p99 >= p50, "{link}: {p50} and {p99}");
        // The devices are gone: it says so, and since when.
        assert_ne!(of(&format!("$link.{link}.state")).1.as_deref(), Some("up"), "{link}");
        assert!(value(&format!("$link.{link}.since_good_s")) > 1.0, "{link}");
        assert_eq!(of(&format!("$link.{link}.response_ms_p99")).2, Status::UNCERTAIN_LAST_USABLE, "{link}");
    }
    assert!(of("$link.plc1.requests").3 > of("$link.plc2.requests").3, "the one that came later has fewer");
    // States come when they change, everything else ten times a second.
    let of_state = of("$link.plc1.state").3;
    assert!((3..15).contains(&of_state), "{of_state} states, and {} requests", of("$link.plc1.requests").3);
}

#[test]
fn each_lane_has_its_tags_whoever_chose_the_cpus() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    // Names no cores: the machine says that there are two executors, and the gateway's own tags come behind.
    let own = "[diagnostics]\nscan_rate_ms = 100\ntags = [\"$lane.*\", \"$lane.2.dropped\"]\n";
    let loaded = load(&journal, own, &[("plc1", 502)]).unwrap();
    assert!(loaded.warnings.is_empty(), "only the machine knows how many lanes there are: {:?}", loaded.warnings);
    let mut gateway = Gateway::start_on(loaded, &[0, 1]).unwrap_or_else(|e| panic!("{e}"));
    run(&mut gateway, Duration::from_millis(500));
    gateway.adopt(&load(&journal, own, &[("plc1", 502), ("plc2", 502)]).unwrap());
    run(&mut gateway, Duration::from_millis(500));
    let ended = gateway.stop();
    assert!(ended.report.groups["$diagnostics"].produced > 30, "{:?}", ended.report.groups);
    let seen = stored(&journal);
    let lanes: Vec<&String> = seen.keys().filter(|name| name.ends_with(".produced")).collect();
    assert_eq!(lanes, ["$lane.0.produced", "$lane.1.produced", "$lane.2.produced"]);
    // The last one is that of these tags themselves.
    assert!(seen["$lane.2.produced"].0 > 30.0 && seen["$lane.2.produced"].0 > seen["$lane.1.produced"].0, "{seen:?}");
}

#[test]
fn a_gateway_with_tags_of_its_own_may_have_tags_that_are_written() {
    let tags = r#"{"links":[{"name":"plc1","protocol":"modbus_tcp","host":"127.0.0.1"}],
        "tags":[{"name":"a","address":"plc1:1:3:40001:1","data_type":"uint16","scan_rate_ms":100,"write":{}}]}"#;
    let toml = "[gateway]\nid = \"g\"\n[diagnostics]\n";
    let loaded = load_parts(("fieldbeat.toml", toml), &[("tags/a.json", tags)]).unwrap();
    let planned = fieldbeat::protocol::build(&loaded.config, &[0]).unwrap();
    let writes: Vec<bool> = planned.admission.links.values().map(|link| link.writes.is_some()).collect();
    assert_eq!(writes, [true], "of the link that is written, and of no other");
    // The ring is sized by the period of most, and by the highest rate of states.
    let own: Vec<bool> = loaded.config.tags.iter().skip(1).map(|tag| tag.name.ends_with("state")).collect();
    let states = own.iter().filter(|is_state| **is_state).count() + 2;
    assert_eq!(planned.plan.lanes[1].slots_per_s as usize, own.len() - states + states * 40);
}

#[test]
fn a_glob_of_more_lanes_than_there_are_is_told_once_they_are_counted() {
    let journal = std::path::Path::new("journal");
    let own = "[diagnostics]\ntags = [\"$lane.7.dropped\"]\n";
    let loaded = load(journal, own, &[("plc1", 502)]).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let mut config = loaded.config;
    let warnings = config.renew_diagnostics(fieldbeat::plan::lanes_of(&config, &[1, 2, 3])).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("\"$lane.7.dropped\", which matches nothing: this gateway's lanes are 0 to 3"));
    assert!(config.renew_diagnostics(8).unwrap().is_empty());
    let loaded = load(journal, &format!("{own}[realtime]\ncores = [1, 2]\n"), &[("plc1", 502)]).unwrap();
    assert!(
        loaded.warnings[0].to_string().contains("\"$lane.7.dropped\", which matches none"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn what_comes_by_event_has_no_cycles_in_metrics_report_and_status() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let toml = "[gateway]\nid = \"g\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n[diagnostics]\nscan_rate_ms = 100\n";
    let toml = format!("{toml}[journal]\npath = \"{}\"\n", journal.display());
    let tags = r#"{"links":[{"name":"plc1","protocol":"modbus_tcp","host":"127.0.0.1","port":9}],
        "tags":[{"name":"a","address":"plc1:1:3:40001:1","data_type":"uint16","scan_rate_ms":100}]}"#;
    let loaded = load_parts(("fieldbeat.toml", &toml), &[("tags/a.json", tags)]).unwrap();
    let mut gateway = Gateway::start(loaded).unwrap_or_else(|e| panic!("{e}"));
    run(&mut gateway, Duration::from_millis(700));
    let metrics = get(gateway.metrics_address().unwrap());
    let events: Vec<&str> = metrics.lines().filter(|line| line.contains("group=\"$events\"")).collect();
    let says = |name: &str| events.iter().any(|line| line.starts_with(name));
    assert!(says("fieldbeat_group_event_rate_max_hertz") && says("fieldbeat_samples_produced_total"), "{events:#?}");
    for name in ["period", "cycles", "skipped", "deadline", "release", "issue", "sample_age"] {
        assert!(!says(&format!("fieldbeat_group_{name}")), "{name}: {events:#?}");
    }
    // The others have all of it, and their own jitter is measured.
    let polled = |name: &str| metrics.lines().find(|line| line.starts_with(name) && line.contains("\"$diagnostics\""));
    let jitter = polled("fieldbeat_group_release_jitter_seconds_count").unwrap();
    assert!(!jitter.ends_with(" 0") && polled("fieldbeat_group_cycles_total").is_some(), "{jitter}");

    let socket = gateway.control_socket().unwrap().to_owned();
    let status = std::thread::spawn(move || ask(&socket, "{\"ask\":\"status\"}\n"));
    while !status.is_finished() {
        run(&mut gateway, Duration::from_millis(20));
    }
    let status: serde_json::Value = serde_json::from_str(status.join().unwrap().lines().next().unwrap()).unwrap();
    let groups = status["groups"].as_array().unwrap();
    let of_events = groups.iter().find(|group| group["group"] == "$events").unwrap();
    assert!(of_events["samples"].as_u64().unwrap() >= 3 && of_events["rate_max_hz"] == 40, "{of_events}");
    assert_eq!(of_events.as_object().unwrap().len(), 3, "{of_events}");

    let report = serde_json::to_value(&gateway.stop().report).unwrap();
    let of_events = &report["groups"]["$events"];
    assert_eq!(of_events.as_object().unwrap().len(), 4, "{of_events}");
    assert_eq!((&of_events["rate_max_hz"], &of_events["dropped"]), (&40.into(), &0.into()));
    let scans = report["links"]["$diagnostics"]["scans"].as_array().unwrap();
    assert!(scans.len() == 1 && scans[0]["group"] == "$diagnostics", "{scans:?}");
    assert!(report["groups"]["$diagnostics"]["cycles"].as_u64().unwrap() >= 5, "{report:#}");
}

fn get(address: std::net::SocketAddr) -> String {
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    text
}

fn ask(socket: &std::path::Path, question: &str) -> String {
    let mut connection = std::os::unix::net::UnixStream::connect(socket).unwrap();
    connection.write_all(question.as_bytes()).unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_tag_file_that_asks_for_events_is_told_that_links_are_polled() {
    for key in ["\"on_event\":true", "\"rate_max_hz\":10"] {
        let tags = format!(
            r#"{{"links":[{{"name":"plc1","protocol":"modbus_tcp","host":"127.0.0.1"}}],"groups":[{{"name":"g",{key}}}],
                "tags":[{{"name":"a","address":"plc1:1:3:40001:1","data_type":"uint16","group":"g"}}]}}"#
        );
        let error = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &tags)]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("links are polled every scan_rate_ms and have no samples by event"), "{error}");
    }
}

#[test]
fn only_what_is_asked_for_is_there_and_without_the_section_nothing() {
    let journal = std::path::Path::new("journal");
    let names = |own: &str| {
        let loaded = load(journal, own, &[("plc1", 502)]).unwrap();
        let names: Vec<String> = loaded.config.tags.iter().map(|tag| tag.name.clone()).collect();
        (names, loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(names("").0, ["plc1.a"]);
    assert_eq!(names("[diagnostics]\nenabled = false\n").0, ["plc1.a"]);
    let (chosen, warnings) = names("[diagnostics]\ntags = [\"$link.*.state\", \"$gateway.cpu*\", \"$output.*\"]\n");
    assert_eq!(chosen, ["plc1.a", "$gateway.cpu_percent", "$link.plc1.state"]);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("\"$output.*\", which matches none"), "{warnings:?}");
    assert!(names("[diagnostics]\n").0.len() > 20);
}

#[test]
fn what_cannot_be_asked_for_is_refused_with_what_is_allowed() {
    let journal = std::path::Path::new("journal");
    for (own, wanted) in [
        ("[diagnostics]\ntags = [\"boiler.*\"]\n", "globs of the gateway's own tags, which begin with $"),
        ("[diagnostics]\ntags = [1]\n", "an entry that is not a string"),
        ("[diagnostics]\nscan_rate_ms = 5\n", "from 100 to 3600000 ms"),
        ("[diagnostics]\nglobs = []\n", "the key \"globs\" is unknown"),
        ("[diagnostics]\nenabled = 1\n", "true or false"),
    ] {
        let error = load(journal, own, &[("plc1", 502)]).unwrap_err();
        assert!(error.contains(wanted), "{own}: {error}");
    }
    let error = load(journal, "", &[("$x", 502)]).unwrap_err();
    assert!(error.contains("begins with \"$\", which is reserved for the gateway's own tags"), "{error}");
}

#[test]
fn commands_that_look_at_devices_leave_the_gateways_own_tags_alone() {
    let dir = tempfile::tempdir().unwrap();
    let plant = plant(1);
    let port = plant.addresses()[0].port();
    std::fs::create_dir(dir.path().join("tags")).unwrap();
    let toml = "[gateway]\nid = \"g\"\n[journal]\npath = \"journal\"\n[metrics]\nlisten = \"off\"\n[diagnostics]\n";
    std::fs::write(dir.path().join("fieldbeat.toml"), toml).unwrap();
    let tags = format!(
        r#"{{"links":[{{"name":"plc","protocol":"modbus_tcp","host":"127.0.0.1","port":{port}}}],
            "tags":[{{"name":"plc.a","address":"plc:1:3:40001:1","data_type":"uint16","scan_rate_ms":10}}]}}"#
    );
    std::fs::write(dir.path().join("tags/a.json"), tags).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fieldbeat"));
        let out = command.args(arguments).arg("-c").arg(dir.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    };
    let (code, out, err) = command(&["check"]);
    assert!(code == 0 && out.contains("$diagnostics") && out.contains("plc"), "{out}{err}");
    let (code, out, err) = command(&["check", "--learn", "--seconds", "1"]);
    let learned = out.split("reply times:").nth(1).unwrap_or_default();
    assert!(code == 0 && learned.contains("plc") && !learned.contains('$'), "{out}{err}");
    let (code, out, err) = command(&["read", "*"]);
    assert!(code == 0 && out.contains("plc.a") && !out.contains('$'), "{out}{err}");
    let (code, _, err) = command(&["read", "$gateway.uptime_s"]);
    assert!(code == 1 && err.contains("`fieldbeat get` asks a running gateway"), "{err}");
}
