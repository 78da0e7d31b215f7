//! Tag files that come, change and go while the program runs, in all the ways in which people bring them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig, Profile};
use fieldbeat::tag::Status;

use crate::bad_input::unprivileged;
use crate::rig::{PROGRAM, Running, Site, http_get, wait_until};

/// From the last write to the adoption. The promise is two seconds; the machine may be busy.
const WITHIN: Duration = Duration::from_secs(4);

struct Bench {
    plant: Plant,
    site: Site,
    gateway: Running,
    address: String,
}

fn start() -> (Bench, String) {
    start_as(|_| Command::new(PROGRAM))
}

/// Two devices; the second one's file is taken out before the start.
fn start_as(program: impl Fn(&Site) -> Command) -> (Bench, String) {
    let plant = Plant::start(PlantConfig {
        devices: 2,
        profile: Profile::Line { tags_per_device: 20 },
        cpu: Some(0),
        ..PlantConfig::default()
    })
    .unwrap();
    let settings = GatewaySettings {
        journal_path: Some("journal".into()),
        metrics_listen: Some("127.0.0.1:0".into()),
        ..GatewaySettings::default()
    };
    let site = Site::of(&plant, &settings);
    let second = site.path().join("tags/dev1.json");
    let text = fs::read_to_string(&second).unwrap();
    fs::remove_file(second).unwrap();
    let mut gateway = site.run_as(program(&site), &[]);
    let address = gateway.metrics();
    wait_until("healthy", Duration::from_secs(10), || http_get(&address, "/health").1.contains("\"ok\""));
    (Bench { plant, site, gateway, address }, text)
}

impl Bench {
    fn tags(&self, name: &str) -> PathBuf {
        self.site.path().join("tags").join(name)
    }

    fn metric(&self, line: &str) -> Option<f64> {
        let (_, text) = http_get(&self.address, "/metrics");
        text.lines().find_map(|l| l.strip_prefix(line)).and_then(|rest| rest.trim().parse().ok())
    }

    fn has_link(&self, name: &str) -> bool {
        self.metric(&format!("fieldbeat_link_connects_total{{link=\"{name}\"}}")).is_some()
    }

    fn refused(&self) -> f64 {
        self.metric("fieldbeat_config_reloads_total{result=\"refused\"}").unwrap()
    }

    /// Waits for the next refusal, and checks that log, health and metrics say why, and that the work goes on.
    fn is_refused(&mut self, before: f64, words: &[&str]) {
        wait_until("refused", WITHIN, || self.refused() > before);
        let (code, health) = http_get(&self.address, "/health");
        assert_eq!(code, 200, "the work itself goes on: {health}");
        for word in words {
            assert!(health.contains(word), "{word:?} on /health: {health}");
            self.gateway.wait_for(word);
        }
        assert_eq!(self.metric("fieldbeat_config_last_reload_successful"), Some(0.0));
        let cycles = || self.metric("fieldbeat_link_requests_total{link=\"dev0\"}").unwrap();
        let now = cycles();
        wait_until("the old plan runs", WITHIN, || cycles() > now);
    }

    fn is_well_again(&self) {
        wait_until("well again", WITHIN, || {
            self.metric("fieldbeat_config_last_reload_successful") == Some(1.0)
                && !http_get(&self.address, "/health").1.contains("configuration")
        });
        // The last word of the log is not that it is refused.
        let log = self.gateway.log();
        let of_files = log.lines().rfind(|line| line.contains("configuration"));
        assert!(of_files.is_some_and(|line| line.contains("the configuration is valid again")), "{log}");
    }
}

#[test]
fn a_file_that_is_dropped_in_changed_and_removed_is_adopted_within_two_seconds() {
    let (bench, text) = start();
    let connects = || bench.metric("fieldbeat_link_connects_total{link=\"dev0\"}");
    let first = connects();
    let mut times = Vec::new();
    let mut adopted = |what: &str, so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        wait_until(what, WITHIN, so);
        times.push(begun.elapsed());
    };

    // As cp and scp do: in place, in pieces.
    let mut file = fs::File::create(bench.tags("dev1.json")).unwrap();
    for piece in text.as_bytes().chunks(text.len() / 5) {
        file.write_all(piece).unwrap();
        file.sync_all().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(file);
    adopted("the second link", &|| bench.has_link("dev1"));

    // As rsync and editors do: under another name, then renamed.
    fs::write(bench.tags(".dev1.json.Ab3xQ"), text.replace("\"dev1\"", "\"renamed\"").replace("dev1:", "renamed:"))
        .unwrap();
    fs::rename(bench.tags(".dev1.json.Ab3xQ"), bench.tags("dev1.json")).unwrap();
    adopted("the link's other name", &|| bench.has_link("renamed") && !bench.has_link("dev1"));

    fs::remove_file(bench.tags("dev1.json")).unwrap();
    adopted("the link is gone", &|| !bench.has_link("renamed"));
    println!("from the last write to the adoption: {times:?}");

    assert_eq!(connects(), first, "the other link kept its connection");
    assert_eq!(bench.refused(), 0.0, "no half file was told as wrong");
    let Bench { site, gateway, plant, .. } = bench;
    let ended = gateway.stop();
    ended.assert_clean();
    assert_eq!(ended.samples("dropped"), 0);
    // Every sample is in the journal under the name that it was made under.
    let stored = site.samples();
    assert_eq!(stored.samples, ended.samples("produced"));
    for tag in plant.tags() {
        let seen = &stored.tags[&tag.name];
        assert!(seen.iter().any(|s| s.status == Status::GOOD), "{}", tag.name);
    }
    let misses = ended.report["links"]["dev0"]["scans"].as_array().unwrap();
    assert!(misses.iter().all(|scan| scan["cycles"].as_u64().unwrap() > 0));
}

#[test]
fn what_is_wrong_changes_nothing_and_is_told_in_full() {
    let (mut bench, text) = start();

    fs::write(bench.tags("dev1.json"), &text[..text.len() / 2]).unwrap();
    bench.is_refused(0.0, &["tags/dev1.json"]);
    // The upload goes on after a pause.
    fs::write(bench.tags("dev1.json"), &text).unwrap();
    wait_until("adopted in the end", WITHIN, || bench.has_link("dev1"));
    bench.is_well_again();

    let refused = bench.refused();
    fs::write(bench.tags("copy.json"), &text).unwrap();
    bench.is_refused(refused, &["tags/dev1.json", "declared twice"]);
    fs::remove_file(bench.tags("copy.json")).unwrap();
    bench.is_well_again();

    let refused = bench.refused();
    let (before, after) = text.split_once("\"expected_reply_ms\": ").unwrap();
    let too_much = format!("{before}\"expected_reply_ms\": 190{}", &after[after.find([',', '\n']).unwrap()..]);
    assert_ne!(too_much, text);
    fs::write(bench.tags("dev1.json"), too_much).unwrap();
    bench.is_refused(refused, &["possible"]);
    fs::write(bench.tags("dev1.json"), &text).unwrap();
    bench.is_well_again();

    // What is no file, or cannot be read.
    let refused = bench.refused();
    fs::create_dir(bench.tags("dir.json")).unwrap();
    bench.is_refused(refused, &["tags/dir.json"]);
    fs::remove_dir(bench.tags("dir.json")).unwrap();
    bench.is_well_again();
    let refused = bench.refused();
    std::os::unix::fs::symlink("/nowhere", bench.tags("gone.json")).unwrap();
    bench.is_refused(refused, &["tags/gone.json"]);
    fs::remove_file(bench.tags("gone.json")).unwrap();
    bench.is_well_again();

    // The whole folder goes, and comes back.
    let refused = bench.refused();
    let (tags, away) = (bench.site.path().join("tags"), bench.site.path().join("away"));
    fs::rename(&tags, &away).unwrap();
    bench.is_refused(refused, &["tags"]);
    fs::rename(&away, &tags).unwrap();
    bench.is_well_again();

    // The gateway's own file is for the next start, and a broken one is told now.
    let own = bench.site.path().join("fieldbeat.toml");
    let toml = fs::read_to_string(&own).unwrap();
    fs::write(&own, toml.replace("id = \"plant\"", "id = \"other\"")).unwrap();
    bench.gateway.wait_for("takes effect when the gateway is restarted");
    let refused = bench.refused();
    fs::write(&own, "[gateway").unwrap();
    bench.is_refused(refused, &["fieldbeat.toml"]);
    fs::write(&own, toml).unwrap();
    bench.is_well_again();

    let ended = bench.gateway.stop();
    ended.assert_clean();
    assert_eq!(ended.samples("dropped"), 0);
    assert_eq!(ended.report["links"]["dev0"]["reconnects"], 0);
}

#[test]
fn a_file_that_may_no_longer_be_read_is_told_and_the_old_plan_runs_on() {
    let (mut bench, _) = start_as(unprivileged);
    let file = bench.tags("dev0.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    bench.is_refused(0.0, &["tags/dev0.json", "Permission denied"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    bench.is_well_again();
    bench.gateway.stop().assert_clean();
}
