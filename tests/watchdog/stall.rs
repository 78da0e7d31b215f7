//! Threads that stand still: an executor, the journal; and those that only seem to.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::store::JournalReader;

use crate::rig::{Ended, Running, Site};

/// The exit code that says "start me again: a thread stood still".
const STALLED: i32 = 3;

/// They measure time on a few CPUs.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two devices, 40 tags at 1 kHz.
pub fn site(more: &str) -> (Plant, Site) {
    let rates = ScanRates::Uniform(fieldbeat::tag::Nanos::from_millis(1));
    let config = PlantConfig {
        devices: 2,
        profile: Profile::Float32 { tags_per_device: 20 },
        scan_rates: rates,
        ..Default::default()
    };
    let plant = Plant::start(config).unwrap();
    let settings = GatewaySettings {
        journal_path: Some("journal".into()),
        journal_bytes_max: Some(64 << 20),
        metrics_listen: Some("127.0.0.1:0".into()),
        more: more.to_owned(),
        ..GatewaySettings::default()
    };
    let site = Site::of(&plant, &settings);
    (plant, site)
}

/// A thread of another process, stopped as a debugger stops it, until this is dropped or it is killed.
pub struct Held(i32);

impl Held {
    pub fn thread(gateway: &Running, name: &str) -> Held {
        let tasks = format!("/proc/{}/task", gateway.pid());
        let thread = fs::read_dir(&tasks)
            .unwrap()
            .map(|entry| entry.unwrap())
            .find(|entry| fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
            .unwrap_or_else(|| panic!("no thread {name}:\n{}", gateway.log()));
        let thread: i32 = thread.file_name().to_str().unwrap().parse().unwrap();
        ptrace(libc::PTRACE_SEIZE, thread);
        ptrace(libc::PTRACE_INTERRUPT, thread);
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        assert_eq!(unsafe { libc::waitpid(thread, &mut status, libc::__WALL) }, thread);
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        Held(thread)
    }

    /// Until its process is gone: a thread that is traced and dead must be waited for, or its process stays.
    pub fn until_killed(self, gateway: Running) -> Ended {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        while unsafe { libc::waitpid(self.0, &mut status, libc::__WALL) } == self.0 && libc::WIFSTOPPED(status) {}
        gateway.end()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: no pointers are read by this request, and `status` lives through the call. A thread that was
        // killed can't be let go; it is waited for, or its process would stay.
        unsafe {
            if libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) != 0 {
                let mut status = 0;
                libc::waitpid(self.0, &mut status, libc::__WALL);
            }
        }
    }
}

fn ptrace(request: libc::c_uint, thread: i32) {
    // SAFETY: no pointers are read by these requests.
    let done = unsafe { libc::ptrace(request, thread, 0, 0) };
    let error = std::io::Error::last_os_error();
    assert_eq!(done, 0, "this test debugs its own child (ptrace): {error}");
}

/// Samples in all blocks of the journal.
fn in_journal(site: &Site) -> u64 {
    let reader = JournalReader::open_read_only(&site.journal()).unwrap();
    reader.accounts().unwrap().iter().map(|account| account.samples).sum()
}

/// The number before `text` in the log; 0 if it is not there.
fn number_before(log: &str, text: &str) -> u64 {
    let Some((before, _)) = log.split_once(text) else { return 0 };
    before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Every sample is stored, counted as dropped, or told as lost; and what counts as stored is there. A commit that was
/// under way when the process ended may be there as well, though nobody was told of it: its samples are among the lost.
fn assert_account(ended: &Ended, site: &Site) -> u64 {
    let lost = number_before(&ended.log, " samples may not be in the journal");
    let [produced, stored, dropped] = ["produced", "stored", "dropped"].map(|key| ended.samples(key));
    assert!(stored > 0, "{}", ended.log);
    assert_eq!(produced, stored + dropped + lost, "{}", ended.log);
    let there = in_journal(site);
    assert!((stored..=stored + lost).contains(&there), "{there} are there:\n{}", ended.log);
    lost
}

#[test]
fn an_executor_that_stands_still_ends_the_process_with_all_that_is_known() {
    let _one = one_at_a_time();
    let (_plant, site) = site("");
    let mut gateway = site.run(&[]);
    gateway.wait_for("running:");
    std::thread::sleep(Duration::from_secs(1));
    let held = Held::thread(&gateway, "fb-exec0");
    let begun = Instant::now();
    let ended = held.until_killed(gateway);
    let took = begun.elapsed();
    assert_eq!(ended.code, STALLED, "{}", ended.log);
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(9), "{took:?}: {}", ended.log);
    for told in [
        "executor 0 (thread fb-exec0) stalled for 2.",
        "is stopped by a debugger (t), last on CPU ",
        " debugs it",
        "system call: ",
        "may run on CPUs ",
        "no stack: the thread did not handle a signal within 500 ms",
        "link \"dev0\" is up: ",
        "last release was its ",
        "stopped: ",
    ] {
        assert!(ended.log.contains(told), "no {told:?}:\n{}", ended.log);
    }
    // All that the executor had handed over is there; at most what it had in its hands is not.
    let lost = assert_account(&ended, &site);
    assert!(lost <= 40, "{lost} are lost:\n{}", ended.log);
}

#[test]
fn a_journal_that_stands_still_ends_the_process_and_what_is_lost_is_told() {
    let _one = one_at_a_time();
    let (_plant, site) = site("[watchdog]\njournal_stall_s = 5\n");
    let mut gateway = site.run(&[]);
    let metrics = gateway.metrics();
    std::thread::sleep(Duration::from_secs(1));
    let held = Held::thread(&gateway, "journal");
    let begun = Instant::now();
    // A disk that hangs is not a dead thread: it shows, and nothing else happens until the bound.
    std::thread::sleep(Duration::from_millis(3500));
    let (code, health) = crate::rig::http_get(&metrics, "/health");
    assert!(code == 503 && health.contains("its thread waits for the disk"), "{code}: {health}");
    let ended = held.until_killed(gateway);
    let took = begun.elapsed();
    assert_eq!(ended.code, STALLED, "{}", ended.log);
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(12), "{took:?}: {}", ended.log);
    assert!(ended.log.contains("journal (thread journal) stalled for 5."), "{}", ended.log);
    assert!(assert_account(&ended, &site) > 0, "{}", ended.log);
}

#[test]
fn a_short_stall_is_counted_as_skipped_and_never_made_up_for() {
    let _one = one_at_a_time();
    let (plant, site) = site("");
    let mut gateway = site.run(&[]);
    gateway.wait_for("running:");
    std::thread::sleep(Duration::from_millis(500));
    let held = Held::thread(&gateway, "fb-exec0");
    std::thread::sleep(Duration::from_millis(1200));
    let before = plant.totals().requests;
    let resumed = Instant::now();
    drop(held);
    std::thread::sleep(Duration::from_millis(50));
    let burst = plant.totals().requests - before;
    let periods = resumed.elapsed().as_millis() as u64 + 2;
    let ended = gateway.stop();
    ended.assert_clean();
    let links = ended.report["links"].as_object().unwrap();
    for (name, link) in links {
        let skipped: u64 = link["scans"].as_array().unwrap().iter().map(|scan| scan["skipped"].as_u64().unwrap()).sum();
        assert!(skipped >= 1100, "{name} skipped {skipped}");
    }
    let requests_per_cycle: u64 = links
        .values()
        .map(|link| {
            let cycles = link["scans"][0]["cycles"].as_u64().unwrap();
            link["requests"].as_u64().unwrap().div_ceil(cycles)
        })
        .sum();
    assert!(burst <= periods * requests_per_cycle, "{burst} requests in {periods} periods of {requests_per_cycle}");
}

#[test]
fn a_process_that_was_stopped_as_a_whole_goes_on_where_it_was() {
    let _one = one_at_a_time();
    let (_plant, site) = site("[watchdog]\nexecutor_stall_s = 1\njournal_stall_s = 5\n");
    let mut gateway = site.run(&[]);
    gateway.wait_for("running:");
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(500));
        gateway.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_secs(7));
        gateway.signal(libc::SIGCONT);
    }
    std::thread::sleep(Duration::from_secs(1));
    let ended = gateway.stop();
    ended.assert_clean();
    assert!(!ended.log.contains("stalled for"), "{}", ended.log);
}
