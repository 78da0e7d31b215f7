//! `fieldbeat check --learn`: measured reply times of the devices against the declared ones.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counting;
use crate::config::{Config, Guard, LinkConfig, Pace};
use crate::hub::stats::{Distribution, Statistics};
use crate::plan::demand::Costs;
use crate::plan::{Plan, admission};
use crate::protocol;
use crate::serve::{Tags, reason};
use crate::supervise::floor::{self, Floor, Scheduling};
use crate::tag::{LinkId, Nanos};

/// Nothing is read faster than this: it is a look at the devices, not the gateway's work.
const PERIOD_MIN: Nanos = Nanos::from_millis(100);
/// How often the executors' reports are taken.
const DRAIN_PERIOD: Duration = Duration::from_millis(20);
/// The longest that is measured.
const SECONDS_MAX: f64 = 3600.0;
/// Bad tags that are printed one by one.
const BAD_TAGS_SHOWN: usize = 200;
/// A declared time above so many times the measured one is said to be too long.
const TOO_LONG: f64 = 4.0;

/// Reads every request of every link again and again for so many seconds, and prints what their replies took.
/// Exit code 1 when a device answered nothing, or a tag is bad: which, and why, is printed.
pub fn learn(config: &Config, seconds: f64) -> ExitCode {
    let config = &config.clone().without_diagnostics();
    let plan = match protocol::build_with(&slowly(config), &[0], &nothing()) {
        Ok(planned) => Arc::new(planned.plan),
        Err(error) => return super::fail(super::EXIT_CONFIG, error),
    };
    let mut floor = match floor::prepare(plan.clone(), Scheduling::Ordinary) {
        Ok(prepared) => prepared.start(),
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: cannot start a thread: {error}")),
    };
    let statistics = Statistics::new(&plan);
    let end = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.1, SECONDS_MAX));
    while Instant::now() < end {
        std::thread::sleep(DRAIN_PERIOD);
        floor.reports.iter_mut().for_each(|ring| {
            statistics.drain(ring);
        });
    }
    let tags = Tags::look(&plan, &floor.image, &floor.counters, Nanos::ZERO);
    let all_answered = print(config, &plan, &statistics, &floor, &tags);
    let all_good = print_bad_tags(&plan, &floor, &tags);
    let refused = counting::refused(config, &plan, &floor);
    floor.stop();
    counting::hints(&slowly(config), &refused).iter().for_each(|hint| out!("{hint}"));
    if all_answered && all_good { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_NO) }
}

/// The same requests, at a pace that takes nobody's time.
fn slowly(config: &Config) -> Config {
    let mut slow = config.clone();
    slow.realtime.guard = Guard::Fixed(Nanos::ZERO);
    // Ordinary threads ask, and those of local buses stay below them.
    slow.realtime.priority = 1;
    for group in &mut slow.groups {
        group.pace = Pace::Every(group.interval().max(PERIOD_MIN));
    }
    for link in &mut slow.links {
        link.protocol.expect_reply(Nanos(1));
    }
    slow
}

/// Whether it would fit is not the question here.
fn nothing() -> Costs {
    Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) }
}

fn declared(link: &LinkConfig) -> Nanos {
    link.protocol.reply_expected().unwrap_or_default()
}

fn print(config: &Config, slow: &Plan, statistics: &Statistics, floor: &Floor, tags: &Tags) -> bool {
    // Loads are those of the rates that were asked for; the ids are the configuration's order in either plan.
    let mut asked = slow.clone();
    for ((_, group), wanted) in asked.groups.iter_mut().zip(&config.groups) {
        group.pace = wanted.pace;
    }
    let response = statistics.snapshot().response;
    let notes = floor.notes.lock().map(|notes| notes.clone()).unwrap_or_default();
    out!(
        "{:<20} {:>8} {:>10} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "reply times: link",
        "replies",
        "declared",
        "p50 ms",
        "p99 ms",
        "max ms",
        "load",
        "measured"
    );
    let mut hints = Vec::new();
    let mut all_answered = true;
    for (at, link) in config.links.iter().enumerate() {
        let id = LinkId(at as u16);
        let seen = response.get(id).copied().unwrap_or_default();
        let expected = declared(link);
        if seen.count == 0 {
            all_answered = false;
            out!("{:<20} {:>8} {:>10.3}", link.name, 0, millis(expected));
            let trouble = notes.get(&id).map(|note| &*note.trouble);
            let of_tag = tags.troubled.iter().find(|tag| tag.link == id);
            let why = match (trouble.filter(|trouble| !trouble.is_empty()), of_tag) {
                (Some(trouble), _) => trouble.to_owned(),
                (None, Some(tag)) => reason(tag.status, tag.cause, None),
                (None, None) => "no replies".to_owned(),
            };
            note!("link \"{}\": {why}", link.name);
            continue;
        }
        let percent = |reply| asked.links[id].protocol.load_with(&asked, reply).unwrap_or_default() * 100.0;
        out!(
            "{:<20} {:>8} {:>10.3} {:>8.3} {:>8.3} {:>8.3} {:>7.1} % {:>7.1} %",
            link.name,
            seen.count,
            millis(expected),
            millis(seen.p50),
            millis(seen.p99),
            millis(seen.max),
            percent(expected),
            percent(seen.p99)
        );
        hints.extend(hint(&asked, id, link, &seen));
    }
    hints.iter().for_each(|hint| out!("{hint}"));
    out!("");
    all_answered
}

/// Every tag that is not good at the end, and why. False: one is bad.
fn print_bad_tags(plan: &Plan, floor: &Floor, tags: &Tags) -> bool {
    let troubles = floor.notes.lock().map(|notes| notes.clone()).unwrap_or_default();
    let counts = tags.counts();
    let of = |n: usize| format!("{n} of {} tags", counts.total);
    if counts.waiting > 0 {
        out!("note: {} have not been read yet; set a longer --seconds", of(counts.waiting));
    }
    for trouble in tags.troubled.iter().take(BAD_TAGS_SHOWN) {
        let name = plan.tags.get(trouble.tag).map_or("", |tag| &*tag.name);
        let why = reason(trouble.status, trouble.cause, troubles.get(&trouble.link).map(|note| &*note.trouble));
        out!("{name}  {}: {why}", trouble.status);
    }
    let more = tags.troubled.len().saturating_sub(BAD_TAGS_SHOWN);
    if more > 0 {
        out!("and {more} more");
    }
    match (counts.bad, tags.troubled.len()) {
        (0, 0) => {}
        (0, held) => out!("note: {} hold their last value because the latest read failed", of(held)),
        (bad, _) => note!("error: {} cannot be read; see the reasons above", of(bad)),
    }
    counts.bad == 0
}

/// What to write into the tag file where the declared time is none that the device keeps, or far from it.
fn hint(plan: &Plan, id: LinkId, link: &LinkConfig, seen: &Distribution) -> Option<String> {
    let expected = link.protocol.reply_expected()?;
    let too_short = seen.p99 > expected;
    let too_long = expected.0 as f64 > seen.p99.0 as f64 * TOO_LONG;
    if !too_short && !too_long {
        return None;
    }
    let mut with_measured = plan.clone();
    with_measured.links.get_mut(id)?.protocol.expect_reply(expected);
    let found = admission::observed(&with_measured, id, seen.p99);
    let what = match found {
        Some(found) if found.is_over => "warning: does not fit with the measured reply times",
        Some(_) => "warning: is tight with the measured reply times",
        None if too_short => "note: answers slower than declared",
        None => "note: answers much faster than declared",
    };
    let (file, line) = (&link.source.file, link.source.line);
    let name = &link.name;
    Some(format!("{file}:{line}: link \"{name}\": {what}; write \"expected_reply_ms\": {}", rounded_up(seen.p99)))
}

fn millis(time: Nanos) -> f64 {
    time.0 as f64 / 1e6
}

/// In milliseconds, to two digits that count, never below what is rounded nor below what a tag file may say.
fn rounded_up(time: Nanos) -> f64 {
    let ns = time.0.max(10_000);
    let step = 10u64.pow(ns.ilog10().saturating_sub(1));
    millis(Nanos(ns.div_ceil(step) * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_up_to_what_a_person_would_write() {
        let rounded = |ns| rounded_up(Nanos(ns));
        assert_eq!(rounded(1_834_567), 1.9);
        assert_eq!(rounded(20_000_000), 20.0);
        assert_eq!(rounded(20_000_001), 21.0);
        assert_eq!(rounded(412_000), 0.42);
        assert_eq!(rounded(7), 0.01);
    }
}
