//! What can be wrong around a gateway at run time: it says so, and goes on with all the rest.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fieldbeat::plant::{Fault, GatewaySettings, Plant, PlantConfig};
use fieldbeat::tag::Status;

use crate::certs::{EXPIRED, Pair, Pki, VALID};
use crate::rig::{PROGRAM, Site, http_get, wait_until};

fn plant(devices: usize) -> Plant {
    Plant::start(PlantConfig { devices, ..PlantConfig::default() }).unwrap()
}

fn settings() -> GatewaySettings {
    GatewaySettings {
        journal_path: Some("journal".into()),
        journal_bytes_max: Some(64 << 20),
        metrics_listen: Some("127.0.0.1:0".into()),
        ..GatewaySettings::default()
    }
}

/// Changes a line of a link in its tag file.
fn change(site: &Site, device: usize, from: &str, to: &str) {
    let file = site.path().join(format!("tags/dev{device}.json"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_host_that_does_not_resolve_and_a_refused_port_cost_only_their_own_tags() {
    let plant = plant(3);
    let site = Site::of(&plant, &settings());
    change(&site, 1, "\"host\": \"127.0.0.1\"", "\"host\": \"no-such-host.invalid\"");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = plant.addresses()[2].port();
    change(&site, 2, &format!("\"port\": {port}"), &format!("\"port\": {closed}"));
    let mut gateway = site.run(&[]);
    let line = gateway.wait_for("does not resolve");
    assert!(line.contains("link \"dev1\"") && line.contains("no-such-host.invalid"), "{line}");
    let line = gateway.wait_for("cannot connect to");
    assert!(line.contains("link \"dev2\"") && line.contains(&format!("127.0.0.1:{closed}")), "{line}");
    let address = gateway.metrics();
    std::thread::sleep(Duration::from_millis(1500));
    let (code, body) = http_get(&address, "/health");
    assert!(body.contains("link dev1 is down") && body.contains("link dev2 is down"), "{code} {body}");
    assert!(!body.contains("dev0"), "{body}");
    let told = gateway.log().matches("does not resolve").count();
    assert_eq!(told, 1, "each trouble is told once: {}", gateway.log());
    let ended = gateway.stop();
    ended.assert_clean();
    let stored = site.samples();
    for tag in plant.tags() {
        match tag.device {
            0 => assert_eq!(stored.last(&tag.name).status, Status::GOOD, "{}", tag.name),
            _ => assert!(stored.tags.get(&tag.name).is_none_or(|all| all.iter().all(|s| s.value.is_none()))),
        }
    }
}

#[test]
fn health_follows_the_links_and_metrics_pass_promtool() {
    let plant = plant(2);
    let site = Site::of(&plant, &settings());
    let mut gateway = site.run(&[]);
    let address = gateway.metrics();
    let health = || http_get(&address, "/health");
    wait_until("healthy", Duration::from_secs(10), || health().0 == 200 && health().1.contains("\"ok\""));
    plant.set_fault(1, Some(Fault::Refuse));
    wait_until("a dead link shows", Duration::from_secs(10), || health().1.contains("link dev1 is down"));
    println!("with a dead link: {:?}", health());
    assert!(health().1.contains("\"degraded\""));
    let (code, metrics) = http_get(&address, "/metrics");
    assert_eq!(code, 200);
    promtool(&metrics);
    plant.set_fault(1, None);
    wait_until("healthy again", Duration::from_secs(15), || health().0 == 200 && health().1.contains("\"ok\""));
    gateway.stop().assert_clean();
}

fn promtool(metrics: &str) {
    use std::io::Write;
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("promtool does not start: {e}; install it: apt-get install prometheus"));
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.is_empty(), "{said}\n{metrics}");
}

#[test]
fn a_journal_that_another_gateway_has_is_told_with_its_process() {
    let plant = plant(1);
    let site = Site::of(&plant, &settings());
    let mut first = site.run(&[]);
    first.wait_for("running:");
    let (code, out, err) = site.command("run", &["--seconds", "1"]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains("is in use by") && err.contains(&first.pid().to_string()), "{err}");
    first.stop().assert_clean();
    let (code, _, err) = site.command("run", &["--seconds", "0.2"]);
    assert_eq!(code, 0, "once that one has ended, it is free: {err}");
}

#[test]
fn a_metrics_port_that_is_taken_is_told_and_everything_else_runs() {
    let plant = plant(1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let site = Site::of(&plant, &GatewaySettings { metrics_listen: Some(listen.clone()), ..settings() });
    let ended = site.run(&["--seconds", "1"]).end();
    ended.assert_clean();
    let line = ended.log.lines().find(|line| line.contains("no metrics")).unwrap();
    assert!(line.contains(&listen) && line.contains("everything else runs"), "{line}");
    assert_eq!(site.samples().samples, ended.samples("produced"));
}

#[test]
fn with_a_wrong_configuration_nothing_is_started() {
    let plant = plant(1);
    for (from, to, says) in [
        ("\"scan_rate_ms\": 10,", "\"scan_rate_ms\": 0.5,", "scan_rate_ms"),
        ("\"data_type\": \"int16\"", "\"data_type\": \"int17\"", "int17"),
        ("\"links\"", "\"linksss\"", "linksss"),
        ("\"tags\": [", "\"tags\": [[", "dev0.json"),
    ] {
        let site = Site::of(&plant, &settings());
        change(&site, 0, from, to);
        for command in ["run", "check", "read"] {
            let more: &[&str] = if command == "read" { &["dev0.drive0.speed"] } else { &[] };
            let (code, out, err) = site.command(command, more);
            assert_eq!((code, out.as_str()), (2, ""), "{command} {to}: {err}");
            assert!(err.contains(says) && err.contains("dev0.json:"), "{command} {to}: {err}");
        }
        assert!(!site.journal().exists());
    }
    assert_eq!(plant.totals().connections, 0, "no device was even asked");
    // It is written right, and asks for more than a line can give: the link's one request takes 10 ms.
    let site = Site::of(&plant, &settings());
    change(&site, 0, "\"addressing\": \"raw\"", "\"addressing\": \"raw\", \"expected_reply_ms\": 10");
    let (code, _, err) = site.command("run", &[]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("dev0") && !site.journal().exists(), "{err}");
    let (code, _, err) = site.command("check", &[]);
    assert_eq!(code, 2, "{err}");
}

fn mqtt(pki: &Pki, pair: &Pair) -> String {
    let text = |path: &Path| path.display().to_string();
    format!(
        "[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtts://127.0.0.1:1\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n",
        text(&pki.ca),
        text(&pair.cert),
        text(&pair.key)
    )
}

#[test]
fn a_certificate_that_is_no_good_is_found_by_check_and_does_not_stop_the_acquisition() {
    let plant = plant(1);
    let folder = tempfile::TempDir::new().unwrap();
    let pki = Pki::new(folder.path(), "ca", VALID);
    let expired = pki.issue("expired", &["gateway"], EXPIRED);
    let (one, other) = (pki.issue("one", &["gateway"], VALID), pki.issue("other", &["gateway"], VALID));
    let mixed = Pair { cert: one.cert.clone(), key: other.key };
    for (pair, says) in [(&expired, "expired"), (&mixed, "key")] {
        let site = Site::of(&plant, &GatewaySettings { more: mqtt(&pki, pair), ..settings() });
        let (code, _, err) = site.command("check", &[]);
        assert_eq!(code, 0, "as `run` starts with it: {err}");
        assert!(err.contains("output \"cloud\"") && err.contains(says), "{err}");
        println!("{err}");
        let mut gateway = site.run(&[]);
        let line = gateway.wait_for("output \"cloud\"");
        assert!(line.contains(says), "{line}");
        let address = gateway.metrics();
        wait_until("it shows", Duration::from_secs(5), || http_get(&address, "/health").1.contains("output cloud"));
        std::thread::sleep(Duration::from_millis(700));
        let ended = gateway.stop();
        ended.assert_clean();
        assert!(plant.tags().iter().all(|tag| site.samples().last(&tag.name).status == Status::GOOD));
        assert_eq!(ended.report["outputs"]["cloud"]["pending"].as_u64(), Some(ended.samples("stored")), "it is owed");
    }
    let good = Site::of(&plant, &GatewaySettings { more: mqtt(&pki, &one), ..settings() });
    assert_eq!(good.command("check", &[]).0, 0, "and the good one passes");
}

/// A program that runs the gateway's without any privilege.
pub fn unprivileged(site: &Site) -> Command {
    let mut command = Command::new("prlimit");
    command.args(["--rtprio=0:0", "--memlock=65536:65536"]);
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        command.arg(PROGRAM);
        return command;
    }
    // The folders above the program may be closed to others.
    let program = site.path().join("fieldbeat");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(site.path(), PermissionsExt::from_mode(0o777)).unwrap();
    command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]).arg(program);
    command
}

#[test]
fn without_privileges_it_runs_and_says_once_what_is_missing() {
    let plant = plant(2);
    let site = Site::of(&plant, &settings());
    let ended = site.run_as(unprivileged(&site), &["--seconds", "1.5"]).end();
    ended.assert_clean();
    let warnings: Vec<&str> = ended.log.lines().filter(|line| line.contains("WARN")).collect();
    println!("{}", warnings.join("\n"));
    for missing in ["SCHED_FIFO", "memory of the executors is not locked", "/dev/cpu_dma_latency"] {
        assert_eq!(warnings.iter().filter(|line| line.contains(missing)).count(), 1, "{missing}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let stored = site.samples();
    assert!(plant.tags().iter().all(|tag| stored.last(&tag.name).status == Status::GOOD));
}

#[test]
fn a_device_that_comes_late_is_found() {
    let plant = plant(2);
    plant.set_fault(1, Some(Fault::Refuse));
    let site = Site::of(&plant, &settings());
    let mut gateway = site.run(&[]);
    let address = gateway.metrics();
    gateway.wait_for("link \"dev1\"");
    std::thread::sleep(Duration::from_millis(500));
    plant.set_fault(1, None);
    let since = Instant::now();
    wait_until("both links are up", Duration::from_secs(10), || http_get(&address, "/health").1.contains("\"ok\""));
    println!("found after {:?}", since.elapsed());
    std::thread::sleep(Duration::from_millis(1200));
    gateway.stop().assert_clean();
    let stored = site.samples();
    assert!(plant.tags().iter().all(|tag| stored.last(&tag.name).status == Status::GOOD));
}
