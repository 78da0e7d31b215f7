//! Signals: none ends a gateway without its last commit and its report.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig};

use crate::rig::{PROGRAM, Site, wait_until};

fn site() -> (Plant, Site) {
    let plant = Plant::start(PlantConfig::default()).unwrap();
    let settings = GatewaySettings { journal_path: Some("journal".into()), ..GatewaySettings::default() };
    let site = Site::of(&plant, &settings);
    (plant, site)
}

fn something_is_stored(site: &Site) {
    wait_until("something is stored", Duration::from_secs(60), || site.samples().samples > 0);
}

#[test]
fn signals_that_mean_nothing_to_it_are_named_and_the_gateway_goes_on() {
    let (_plant, site) = site();
    let mut running = site.run(&[]);
    running.wait_for("running:");
    let nothing =
        [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGIO, libc::SIGPWR];
    for signal in nothing.into_iter().chain([libc::SIGXCPU, libc::SIGXFSZ, libc::SIGRTMIN() + 3]) {
        running.signal(signal);
        if signal != libc::SIGXFSZ {
            running.wait_for(&format!("signal {signal} is ignored"));
        }
    }
    something_is_stored(&site);
    let ended = running.stop();
    ended.assert_clean();
    assert_eq!(site.samples().samples, ended.samples("stored"));
}

#[test]
fn quit_stops_it_cleanly() {
    let (_plant, site) = site();
    let mut running = site.run(&[]);
    running.wait_for("running:");
    something_is_stored(&site);
    running.signal(libc::SIGQUIT);
    let ended = running.end();
    ended.assert_clean();
    assert_eq!(site.samples().samples, ended.samples("stored"));
}

#[test]
fn hang_up_has_the_files_looked_at_and_nothing_else() {
    let (_plant, site) = site();
    let mut running = site.run(&[]);
    running.wait_for("running:");
    running.signal(libc::SIGHUP);
    std::fs::write(site.path().join("tags/broken.json"), "{").unwrap();
    running.signal(libc::SIGHUP);
    running.wait_for("broken.json");
    something_is_stored(&site);
    running.stop().assert_clean();
}

/// The gateway as the leader of a session on a pseudo terminal, whose other end goes away.
#[test]
fn it_stops_cleanly_when_its_terminal_is_gone() {
    let (_plant, site) = site();
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx").unwrap();
    let mut name = [0 as libc::c_char; 64];
    // SAFETY: the descriptor is open, and the name's memory lives through the call.
    unsafe {
        assert_eq!(libc::unlockpt(terminal.as_raw_fd()), 0);
        assert_eq!(libc::ptsname_r(terminal.as_raw_fd(), name.as_mut_ptr(), name.len()), 0);
    }
    let mut program = Command::new(PROGRAM);
    // SAFETY: both calls are async-signal-safe, and the name belongs to the closure. What a session's leader opens is its
    // terminal.
    unsafe {
        program.pre_exec(move || {
            if libc::setsid() < 0 || libc::open(name.as_ptr(), libc::O_RDWR) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut running = site.run_as(program, &[]);
    running.wait_for("running:");
    something_is_stored(&site);
    drop(terminal);
    let ended = running.end();
    ended.assert_clean();
    assert_eq!(site.samples().samples, ended.samples("stored"));
}

#[test]
fn a_report_goes_where_it_is_asked_for_and_replaces_nothing_else() {
    let (_plant, site) = site();
    let link = site.path().join("link.json");
    std::os::unix::fs::symlink(site.report_path(), &link).unwrap();
    for target in ["/dev/null", "/dev/full", link.to_str().unwrap()] {
        let mut program = Command::new(PROGRAM);
        program.args(["run", "--seconds", "1", "--report", target, "--config"]).arg(site.path());
        let out = program.output().unwrap();
        assert_eq!(out.status.code(), Some(if target == "/dev/full" { 3 } else { 0 }), "{target}");
        let log = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(log.contains("No space left on device"), target == "/dev/full", "{log}");
    }
    wait_until("the report is there", Duration::from_secs(1), || site.report_path().exists());
    assert!(link.is_symlink());
    let null = std::fs::metadata("/dev/null").unwrap();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&null.file_type()));
}
