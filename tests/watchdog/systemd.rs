//! What the service manager is told, over a socket of its own.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::rig::PROGRAM;
use crate::stall::{Held, one_at_a_time, site};

/// A service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    /// With a program that tells it; signs of life are wanted each 2 s.
    fn of(dir: &std::path::Path) -> (Manager, Command) {
        let path = dir.join("notify");
        let manager = Manager(UnixDatagram::bind(&path).unwrap());
        let mut program = Command::new(PROGRAM);
        program.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
        (manager, program)
    }

    /// What comes until then, each with its time.
    fn until(&self, end: Instant) -> Vec<(Instant, String)> {
        let mut seen = Vec::new();
        let mut buffer = [0; 1024];
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.0.set_read_timeout(Some(left)).unwrap();
            let Ok(n) = self.0.recv(&mut buffer) else { continue };
            seen.push((Instant::now(), String::from_utf8_lossy(&buffer[..n]).into_owned()));
        }
        seen
    }
}

fn texts(seen: &[(Instant, String)]) -> Vec<&str> {
    seen.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn the_manager_hears_of_start_life_and_stop() {
    let _one = one_at_a_time();
    let (_plant, site) = site("");
    let (manager, program) = Manager::of(site.path());
    let mut gateway = site.run_as(program, &[]);
    gateway.wait_for("running:");
    let seen = manager.until(Instant::now() + Duration::from_secs(4));
    let told = texts(&seen);
    assert_eq!(told[0], "READY=1");
    assert!(told.contains(&"STATUS=40 tags, 2 of 2 links up"), "{told:?}");
    let signs: Vec<Instant> = seen.iter().filter(|(_, text)| text == "WATCHDOG=1").map(|(at, _)| *at).collect();
    assert!(signs.len() >= 5, "{told:?}");
    assert!(signs.windows(2).all(|pair| pair[1] - pair[0] < Duration::from_secs(1)), "{told:?}");
    let ended = gateway.stop();
    ended.assert_clean();
    let told_last = manager.until(Instant::now() + Duration::from_millis(50));
    assert_eq!(texts(&told_last).last(), Some(&"STOPPING=1"));
}

#[test]
fn no_sign_of_life_comes_from_a_gateway_whose_executor_stands_still() {
    let _one = one_at_a_time();
    let (_plant, site) = site("[watchdog]\nexecutor_stall_s = 1\n");
    let (manager, program) = Manager::of(site.path());
    let mut gateway = site.run_as(program, &[]);
    gateway.wait_for("running:");
    std::thread::sleep(Duration::from_millis(500));
    manager.until(Instant::now() + Duration::from_millis(1));
    let held = Held::thread(&gateway, "fb-exec0");
    let begun = Instant::now();
    let seen = manager.until(begun + Duration::from_secs(4));
    let last = seen.iter().filter(|(_, text)| text == "WATCHDOG=1").map(|(at, _)| *at - begun).max();
    assert!(last.is_none_or(|last| last < Duration::from_millis(1800)), "{last:?}");
    let told = texts(&seen);
    assert!(told.iter().any(|text| text.starts_with("STATUS=executor 0 (thread fb-exec0) stalled for")), "{told:?}");
    assert!(!told.contains(&"STOPPING=1"), "{told:?}");
    held.until_killed(gateway);
}
