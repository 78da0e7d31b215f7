//! The gateway's own tags by the side of what else says the same: the kernel of the clock, the log of a changed file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fieldbeat::protocol::load_parts;
use fieldbeat::store::JournalReader;
use fieldbeat::supervise::Gateway;

const TAGS: &str = r#"{"links":[{"name":"plc1","protocol":"modbus_tcp","host":"127.0.0.1","port":9}],
    "tags":[{"name":"a","address":"plc1:1:3:40001:1","data_type":"uint16","scan_rate_ms":1000}]}"#;

#[test]
fn the_tags_of_the_clock_say_what_the_kernel_says() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let own = "[metrics]\nlisten = \"off\"\n[diagnostics]\nscan_rate_ms = 100\ntags = [\"$gateway.clock_*\"]\n";
    let toml = format!("[gateway]\nid = \"g\"\n[journal]\npath = \"{}\"\n{own}", journal.display());
    let loaded = load_parts(("fieldbeat.toml", &toml), &[("tags/a.json", TAGS)]).unwrap();
    let mut gateway = Gateway::start(loaded).unwrap_or_else(|e| panic!("{e}"));
    let end = Instant::now() + Duration::from_millis(600);
    while Instant::now() < end {
        gateway.tend().unwrap_or_else(|trouble| panic!("{trouble}"));
        std::thread::sleep(Duration::from_millis(20));
    }
    gateway.stop();
    // SAFETY: all zeroes are a valid `timex`, and ask for nothing to be changed.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is that of a live struct.
    assert!(unsafe { libc::adjtimex(&raw mut timex) } >= 0);
    let unit = if timex.status & libc::STA_NANO != 0 { 1e-9 } else { 1e-6 };

    let reader = JournalReader::open_read_only(&journal).unwrap();
    let (mut seen, mut next) = (BTreeMap::new(), 0);
    while let Some(block) = reader.block_at_or_after(next).unwrap() {
        next = block.index + 1;
        for item in block.batch.iter() {
            let name = block.batch.names.tag(item.sample.tag()).unwrap().name.clone();
            seen.entry(name).or_insert_with(Vec::new).push(item.sample.value);
        }
    }
    let last = |name: &str| f64::from_bits(*seen[name].last().unwrap());
    // The greatest error grows by itself, 500 µs a second; the offset moves a little.
    let (error, offset) = (timex.maxerror as f64 * 1e-6, timex.offset as f64 * unit);
    assert!((last("$gateway.clock_error_s") - error).abs() < 0.1 + error * 0.01, "{error}, {seen:?}");
    assert!((last("$gateway.clock_offset_s") - offset).abs() < 0.01 + offset.abs() * 0.1, "{offset}, {seen:?}");
    assert!(seen["$gateway.clock_step_s"].iter().all(|step| f64::from_bits(*step).abs() < 0.05), "{seen:?}");
    let synchronised = u64::from(timex.status & libc::STA_UNSYNC == 0);
    assert_eq!(seen["$gateway.clock_synchronised"], [synchronised], "said once, as it does not change");
}

/// Ends with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_choice_of_tags_is_said_to_need_a_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tags")).unwrap();
    std::fs::write(dir.path().join("tags/a.json"), TAGS).unwrap();
    let file = dir.path().join("fieldbeat.toml");
    let toml = "[gateway]\nid = \"g\"\n[journal]\npath = \"journal\"\n[metrics]\nlisten = \"off\"\n[diagnostics]\n";
    std::fs::write(&file, format!("{toml}tags = [\"$gateway.*\"]\n")).unwrap();
    let gateway = Command::new(env!("CARGO_BIN_EXE_fieldbeat"))
        .args(["run", "-c"])
        .arg(dir.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .current_dir(dir.path())
        .spawn()
        .unwrap();
    let mut gateway = Ended(gateway);
    let lines = BufReader::new(gateway.0.stderr.take().unwrap()).lines();
    let (said, hears) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(said.send(line))));
    let wait_for = |wanted: &str| {
        let mut all = Vec::new();
        while !all.last().is_some_and(|line: &String| line.contains(wanted)) {
            match hears.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => all.push(line),
                Err(error) => panic!("{wanted:?}: {error} after {all:#?}"),
            }
        }
    };
    wait_for("running: ");
    // Each time that something else has changed, it is said.
    let other = "tags = [\"$gateway.*\"]\n[watchdog]\nexecutor_stall_s = 20\n";
    for (own, section) in [("tags = [\"$link.*\"]\n", "[diagnostics]"), (other, "[watchdog]")] {
        std::fs::write(&file, format!("{toml}{own}")).unwrap();
        wait_for(&format!("{section}: this takes effect when the gateway is restarted"));
    }
    // SAFETY: it takes no pointers, and the process is a child that is not yet waited for.
    unsafe { libc::kill(gateway.0.id() as i32, libc::SIGTERM) };
    assert!(gateway.0.wait().unwrap().success());
    reader.join().unwrap();
}
