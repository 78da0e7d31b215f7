//! Refusals of admission: where, what was requested, what is possible, what helps.

use super::executor::Beside;
use super::{ExecutorLoad, response};
use crate::config::Source;
use crate::limits::PERIOD_MAX;
use crate::plan::demand::LinkDemand;
use crate::plan::model::{Refusal, *};
use crate::tag::{LinkId, NANOS_PER_SEC, Nanos};

/// Names the group that has to give way, and the rate at which everything would fit.
pub fn of_link(
    plan: &Plan,
    (id, source): (LinkId, &Source),
    demand: &LinkDemand,
    beside: &Beside,
    responses: &[Nanos],
) -> String {
    let link = &plan.links[id];
    let (file, line) = (&source.file, source.line);
    let (each, helps, or_correct) = match link.protocol.refusal(demand) {
        Refusal::Full(text) => return format!("{file}:{line}: link \"{}\": {text}", link.name),
        Refusal::Requests { each, helps, or_correct } => (each, helps, or_correct),
    };
    let load = demand.load();
    let rate = |at: usize| {
        let scan = &demand.scans[at];
        scan.requests as f64 / scan.period.as_secs_f64()
    };
    let heaviest = (0..demand.scans.len()).max_by(|a, b| rate(*a).total_cmp(&rate(*b)));
    let late = responses.iter().position(|response| *response == Nanos::NEVER);
    let Some(heaviest) = heaviest else { return format!("link \"{}\" does not fit", link.name) };
    // Too much in all: the heaviest has to give way. Else the one that is late, if that helps.
    let candidates =
        if load > crate::plan::demand::LOAD_MAX { [heaviest, heaviest] } else { [late.unwrap_or(heaviest), heaviest] };
    let found = candidates.iter().find_map(|at| Some((*at, possible(demand, *at, beside)?)));
    let (at, possible) = found.map_or((candidates[0], None), |(at, rate)| (at, Some(rate)));
    let scan = &demand.scans[at];
    let alone = Beside::nothing(beside.wake_up);
    let executor = link.lane.0;
    let why = if load > crate::plan::demand::LOAD_MAX {
        format!("need {:.0} % of the link's time", load * 100.0)
    } else if !response::fits(demand, &alone) {
        let late = plan.group_called(demand.scans[late.unwrap_or(at)].group);
        format!(
            "take {:.0} % of the link's time, but when all of its groups are due together, group {late} does not get \
             all replies before its next release",
            load * 100.0
        )
    } else {
        format!(
            "take {:.0} % of the link's time, which leaves too little for the other links of executor \
             {executor}",
            load * 100.0
        )
    };
    let advice = match possible {
        Some(rate) => format!("at most {rate} is possible"),
        None => "no rate is possible beside the other work of the link and its executor".to_owned(),
    };
    let else_helps = if response::fits(demand, &alone) {
        "give realtime.cores more CPUs, move links to another gateway,"
    } else {
        helps
    };
    let asked = rate_text(scan.period);
    let each_ms = scan.line.as_secs_f64() * 1e3 / scan.requests.max(1) as f64;
    format!(
        "{file}:{line}: link \"{}\", group {}: {} requests {asked}, {each_ms:.3} ms each {each}, {why}; \
         {advice}. {else_helps} {or_correct}",
        link.name,
        plan.group_called(scan.group),
        scan.requests,
    )
}

/// The scans fit, and no write does beside them.
pub fn of_writes(plan: &Plan, (id, source): (LinkId, &Source), demand: &LinkDemand, beside: &Beside) -> String {
    let (file, line, link) = (&source.file, source.line, &plan.links[id]);
    let Some(writes) = &demand.writes else {
        let executor = link.lane.0;
        return format!(
            "{file}:{line}: link \"{}\" fits, but not during writes to other links of executor {executor}; give \
             realtime.cores more CPUs, or lower its rate",
            link.name
        );
    };
    let responses = response::worst_responses(demand, beside);
    let late = responses.iter().position(|response| *response == Nanos::NEVER).unwrap_or(0);
    let group = demand.scans.get(late).map_or_else(String::new, |scan| plan.group_called(scan.group));
    let advice = match demand.scans.get(late).and_then(|_| possible(demand, late, beside)) {
        Some(rate) => format!("at most {rate} is possible for it"),
        None => "no rate is possible for it".to_owned(),
    };
    format!(
        "{file}:{line}: link \"{}\": its reads fit, but no write fits beside them: one of tag \"{}\" takes {:.3} ms \
         of the link's time, and group {group} would not get all replies before its next release; {advice}. Lower \
         the rate, or remove \"write\" from tags that are never written",
        link.name,
        plan.tags.get(writes.longest_tag).map_or("", |tag| &*tag.name),
        writes.line.as_secs_f64() * 1e3,
    )
}

/// `at 100 Hz`, or `each 15 s`.
fn rate_text(period: Nanos) -> String {
    match NANOS_PER_SEC as f64 / period.0.max(1) as f64 {
        hz if hz >= 1.0 => format!("at {hz:.0} Hz"),
        _ => format!("every {} s", period.as_secs_f64()),
    }
}

/// The highest whole rate of a scan, up to the asked one, at which everything on its link fits; where it is less than
/// 1 Hz, the shortest period of whole seconds.
fn possible(demand: &LinkDemand, at: usize, beside: &Beside) -> Option<String> {
    let asked = demand.scans[at].period;
    let fits = |period: Nanos| {
        let mut changed = demand.clone();
        let beside = beside.retimed(asked, period);
        changed.scans[at].period = period;
        changed.scans.sort_by_key(|scan| scan.period);
        changed.load() <= crate::plan::demand::LOAD_MAX && response::fits(&changed, &beside)
    };
    // Of places that grow longer with their number, the first that fits.
    let first = |mut low: u64, mut high: u64, period: &dyn Fn(u64) -> Nanos| {
        if low > high || !fits(period(high)) {
            return None;
        }
        while low < high {
            let middle = (low + high) / 2;
            if fits(period(middle)) { high = middle } else { low = middle + 1 }
        }
        Some(high)
    };
    let asked_hz = NANOS_PER_SEC / asked.0.max(1);
    let hz = |place: u64| asked_hz + 1 - place;
    if let Some(place) = first(1, asked_hz, &|place| Nanos(NANOS_PER_SEC / hz(place))) {
        return Some(format!("{} Hz", hz(place)));
    }
    let seconds = |place: u64| Nanos(place * NANOS_PER_SEC);
    let longest = PERIOD_MAX.0 / NANOS_PER_SEC;
    let place = first((asked.0 / NANOS_PER_SEC).max(1) + 1, longest, &seconds)?;
    Some(format!("once every {place} s"))
}

pub fn of_executor(index: usize, cpu: u32, load: &ExecutorLoad) -> String {
    format!(
        "executor {index} on CPU {cpu} would need {:.0} % of it ({:.0} requests/s, {:.0} samples/s); \
         give realtime.cores more CPUs, or scan at {:.0} % of the requested rates",
        load.load * 100.0,
        load.requests_per_s,
        load.samples_per_s,
        100.0 / load.load,
    )
}
