//! Systems that refuse the calls by which executors wait: kernels before 5.11, filters of containers, emulators. Here a
//! filter (seccomp(2)) in the program's own process refuses them.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig};

use crate::rig::{PROGRAM, Site};

/// A filter has room for so many calls.
const CALLS_MAX: usize = 4;
/// linux/bpf_common.h: load a word, jump if equal, return.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Lets nothing in this process, nor in what it starts, use these calls: each fails with `error`. Between fork and exec,
/// so it does not allocate.
fn refuse(calls: [Option<libc::c_long>; CALLS_MAX], error: libc::c_int) -> io::Result<()> {
    let step = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    // Room for a jump and a return for each call, and for the load and the last return.
    let mut filter = [step(RETURN, libc::SECCOMP_RET_ALLOW); 2 * CALLS_MAX + 2];
    // The number of the call is the first word of seccomp_data.
    filter[0] = step(LOAD, 0);
    let mut len = 1;
    for call in calls.into_iter().flatten() {
        filter[len] = libc::sock_filter { jf: 1, ..step(JUMP_IF_EQUAL, call as u32) };
        filter[len + 1] = step(RETURN, libc::SECCOMP_RET_ERRNO | error as u32);
        len += 2;
    }
    filter[len] = step(RETURN, libc::SECCOMP_RET_ALLOW);
    let program = libc::sock_fprog { len: (len + 1) as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the first takes numbers; the program and its steps live through the second, which copies them.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if set { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn program_without(calls: &[libc::c_long], error: libc::c_int) -> Command {
    let mut refused = [None; CALLS_MAX];
    refused.iter_mut().zip(calls).for_each(|(place, call)| *place = Some(*call));
    let mut program = Command::new(PROGRAM);
    // SAFETY: what is done there is two system calls on memory of its own.
    unsafe { program.pre_exec(move || refuse(refused, error)) };
    program
}

fn site() -> (Plant, Site) {
    let plant = Plant::start(PlantConfig { devices: 2, ..PlantConfig::default() }).unwrap();
    let settings = GatewaySettings { journal_path: Some("journal".into()), ..GatewaySettings::default() };
    let site = Site::of(&plant, &settings);
    (plant, site)
}

fn doctor(mut program: Command) -> String {
    let out = program.args(["doctor", "--json"]).stdin(Stdio::null()).output().unwrap();
    let visit: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let check = visit["checks"].as_array().unwrap().iter().find(|check| check["id"] == "wait_call").unwrap();
    format!("{}: {}", check["state"].as_str().unwrap(), check["found"].as_str().unwrap())
}

const BEST: &[libc::c_long] = &[libc::SYS_epoll_pwait2];
const BEST_TWO: &[libc::c_long] = &[libc::SYS_epoll_pwait2, libc::SYS_ppoll];
#[cfg(target_arch = "x86_64")]
const ALL: &[libc::c_long] = &[libc::SYS_epoll_pwait2, libc::SYS_ppoll, libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
#[cfg(not(target_arch = "x86_64"))]
const ALL: &[libc::c_long] = &[libc::SYS_epoll_pwait2, libc::SYS_ppoll, libc::SYS_epoll_pwait];

#[test]
fn without_the_best_call_every_tag_is_read_by_the_next_and_the_log_says_what_it_costs() {
    let cases = [(BEST, libc::ENOSYS, "ppoll"), (BEST, libc::EPERM, "ppoll"), (BEST_TWO, libc::ENOSYS, "epoll_wait")];
    for (calls, error, used) in cases {
        let (plant, site) = site();
        let ended = site.run_as(program_without(calls, error), &["--seconds", "3"]).end();
        ended.assert_clean();
        assert!(ended.log.contains(&format!("executors wait by {used}")), "{}", ended.log);
        let stored = site.samples();
        for tag in plant.tags() {
            assert!(stored.last(&tag.name).status.is_good(), "{}", tag.name);
        }
        let link = &ended.report["links"]["dev0"];
        assert!(link["replies"].as_u64().unwrap() > 100, "{link}");
        if used == "ppoll" {
            // Not spinning: a quarter of the time is far from it, and far above what the work takes.
            let cpu = ended.report["process"]["executors_cpu_seconds"].as_f64().unwrap();
            assert!(cpu < 0.25 * ended.report["duration_seconds"].as_f64().unwrap(), "{cpu} s");
        }
        let told = doctor(program_without(calls, error));
        assert!(told.starts_with("warn: no epoll_pwait2,") && told.contains(used), "{told}");
    }
}

#[test]
fn without_any_call_to_wait_by_it_does_not_start_and_says_why() {
    let (_plant, site) = site();
    let ended = site.run_as(program_without(ALL, libc::ENOSYS), &["--seconds", "3"]).end();
    assert_ne!(ended.code, 0);
    assert!(ended.log.contains("allow one of them in the system call filter"), "{}", ended.log);
    assert!(doctor(program_without(ALL, libc::ENOSYS)).starts_with("bad: "));
}
