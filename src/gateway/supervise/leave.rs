//! Exit of a gateway with a stalled thread: everything is logged, every wait is bounded, no thread is joined.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::autopsy;
use super::watchdog::{Part, Stall};
use crate::hub::RingStats;
use crate::lane::LinkState;
use crate::limits::{STALL_EXIT, STALL_EXIT_JOURNAL};
use crate::serve::Observed;
use crate::store::JournalStats;

/// Between looks whether all samples have reached the journal: longer than the hub's period.
const POLL: Duration = Duration::from_millis(10);
/// Links that are told of one by one.
const LINKS_TOLD_MAX: usize = 32;

/// From now on the kernel ends the process in time, by SIGALRM, whatever lock a thread that stands still may hold.
pub fn set_alarm() {
    // SAFETY: SIG_DFL is a valid disposition; the set is initialised before it is used and lives through the calls.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::alarm(STALL_EXIT.as_secs() as libc::c_uint);
    }
}

/// All of them in one line.
pub fn told(stalled: &[Stall]) -> String {
    stalled.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What the service manager shows of a gateway that runs.
pub fn status(observed: &Observed) -> String {
    let plan = observed.plan();
    let up = plan.links.ids().filter(|id| observed.counters.link(*id).state() == LinkState::Up).count();
    format!("{} tags, {up} of {} links up", plan.tags.len(), plan.links.len())
}

/// Logs all that is known of each.
pub fn describe(stalled: &[Stall], observed: &Observed) {
    for stall in stalled {
        tracing::error!("{stall}; the gateway exits to be restarted");
        if let Part::Executor(id) = stall.part {
            for line in work(id, observed) {
                tracing::error!("{}: {line}", stall.part);
            }
        }
        for line in autopsy::of(stall) {
            tracing::error!("{}: {line}", stall.part);
        }
    }
}

/// What an executor was busy with, by its counts.
fn work(id: usize, observed: &Observed) -> Vec<String> {
    let (plan, counters) = (observed.plan(), &observed.counters);
    let mut lines = Vec::new();
    if let Some((_, cpu, executor)) = plan.executors().nth(id) {
        lines.push(format!("planned for CPU {cpu}, {} links", executor.links.len()));
    }
    let mut own = plan.links.iter().filter(|(_, link)| link.lane.index() == id);
    for (link_id, link) in own.by_ref().take(LINKS_TOLD_MAX) {
        let counts = counters.link(link_id);
        lines.push(format!(
            "link \"{}\" is {}: {} requests, {} replies, {} timeouts",
            link.name,
            counts.state().name(),
            counts.requests.get(),
            counts.replies.get(),
            counts.timeouts.get()
        ));
    }
    let more = own.count();
    if more > 0 {
        lines.push(format!("and {more} links more"));
    }
    for group_id in plan.groups.ids() {
        let scans =
            plan.scans.iter().filter(|(_, scan)| scan.group == group_id && plan.links[scan.link].lane.index() == id);
        let (cycles, skipped) = scans.fold((0, 0), |(cycles, skipped), (scan, _)| {
            let counts = counters.scan(scan);
            (counts.cycles.get().max(cycles), counts.skipped.get().max(skipped))
        });
        if cycles > 0 {
            let group = plan.group_called(group_id);
            lines.push(format!("group {group}: last release was its {cycles}th, {skipped} were skipped"));
        }
    }
    lines
}

/// Samples that the journal has stored, or refused for good.
pub fn settled(stats: &JournalStats) -> u64 {
    stats.samples_stored.load(Relaxed) + stats.samples_refused.load(Relaxed) + stats.samples_unsaved.load(Relaxed)
}

/// Waits until what the executors made has reached the journal, as long as hub and journal live; says what has
/// not.
pub fn let_settle(observed: &Observed, rings: &[RingStats], settled: impl Fn() -> u64, alive: bool) -> Option<String> {
    let end = Instant::now() + STALL_EXIT_JOURNAL;
    let mut quiet = 0;
    // Twice, so that what the hub held in its hands between the two counts is seen.
    while alive && quiet < 2 && Instant::now() < end {
        std::thread::sleep(POLL);
        let empty = rings.iter().all(|ring| ring.fill.load(Relaxed) == 0);
        let delivered: u64 = rings.iter().map(|ring| ring.delivered.load(Relaxed)).sum();
        quiet = if empty && delivered == settled() { quiet + 1 } else { 0 };
    }
    let made =
        observed.counters.produced().saturating_sub(observed.counters.dropped() + observed.counters.suppressed());
    let lost = made.saturating_sub(settled());
    (lost > 0).then(|| format!("{lost} samples may not be in the journal and are counted as lost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_stand_still_are_told_in_one_line() {
        let stall = |part| Stall { part, still: Duration::from_millis(2100), count: 9 };
        assert_eq!(
            told(&[stall(Part::Executor(1)), stall(Part::Journal)]),
            "executor 1 (thread fb-exec1) stalled for 2.1 s at turn 9; journal (thread journal) stalled for 2.1 s at \
             turn 9"
        );
    }
}
