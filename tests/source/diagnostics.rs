//! The gateway's own tags, in a whole gateway beside simulated devices.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fieldbeat::config::{Loaded, load_parts};
use fieldbeat::plant::{Plant, PlantConfig, Profile};
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
    assert!(of("$link.plc1.state").3 > of("$link.plc2.state").3, "the one that came later has fewer");
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
        ("[diagnostics]\ntags = [1]\n", "an entry that is no text"),
        ("[diagnostics]\nscan_rate_ms = 5\n", "from 100 to 3600000 ms"),
        ("[diagnostics]\nglobs = []\n", "the key \"globs\" is unknown"),
        ("[diagnostics]\nenabled = 1\n", "true or false"),
    ] {
        let error = load(journal, own, &[("plc1", 502)]).unwrap_err();
        assert!(error.contains(wanted), "{own}: {error}");
    }
    let error = load(journal, "", &[("$x", 502)]).unwrap_err();
    assert!(error.contains("begins with \"$\", as only the gateway's own tags do"), "{error}");
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
