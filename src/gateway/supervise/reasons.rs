//! Logs why tags are bad: each reason once, its end, and repeats only after growing pauses.
//!
//! What fails alike (one unit, one function, one fault) is one line that names the first of its tags. What a link meets
//! that costs no tag its value, such as a wrong checksum now and then, is a line of its own kind. Links without a
//! connection are the connector's to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::lane::LinkCounters;
use crate::limits::{
    FIRST_VALUE_PATIENCE, REASON_LINES_MAX, REASON_PAUSE_MAX, REASON_PAUSE_MIN, REASON_SETTLED, REASON_TAGS_NAMED,
    REASONS_LOOK,
};
use crate::plan::Plan;
use crate::serve::{Observed, TagTrouble, Tags, reason};
use crate::tag::{Cause, CauseKind, LinkId, TagId};

/// A link, and the code of what fails alike there.
type Key = (LinkId, u64);

/// What is logged.
enum Line {
    Bad(String),
    Well(String),
}

/// Who was told what.
pub struct Reasons {
    looked: Instant,
    groups: BTreeMap<Key, Group>,
    seen: BTreeMap<(LinkId, CauseKind), Seen>,
}

/// Tags that are bad for one reason.
struct Group {
    since: Instant,
    /// When it was logged; the tags that it was logged for.
    told: Option<Instant>,
    tags: BTreeSet<TagId>,
    cause: Option<Cause>,
    /// Its end is logged once no tag has been seen with it since then for a while.
    gone: Option<Instant>,
    ended: bool,
    pause: Duration,
}

/// What a link meets now and then.
#[derive(Default)]
struct Seen {
    count: u64,
    told: Option<(Instant, Duration)>,
}

type Count = fn(&LinkCounters) -> u64;

/// Kinds that are told of a link where no tag is bad for them, and how often each was met.
const MET: [(CauseKind, Count); 10] = [
    (CauseKind::Late, |c| c.late.get()),
    (CauseKind::Exception, |c| c.exceptions.get()),
    (CauseKind::OtherUnit, |c| c.other_unit.get()),
    (CauseKind::OtherTransaction, |c| c.other_transaction.get()),
    (CauseKind::OtherFunction, |c| c.other_function.get()),
    (CauseKind::OtherLength, |c| c.other_length.get()),
    (CauseKind::HeaderLength, |c| c.wrong_lengths.get()),
    (CauseKind::Broken, |c| c.broken.get()),
    (CauseKind::Noise, |c| c.garbage.get()),
    (CauseKind::Short, |c| c.short_frames.get()),
];

impl Reasons {
    pub fn new() -> Reasons {
        Reasons { looked: Instant::now(), groups: BTreeMap::new(), seen: BTreeMap::new() }
    }

    /// Looks once a second.
    pub fn tend(&mut self, observed: &Observed) {
        if self.looked.elapsed() >= REASONS_LOOK {
            self.looked = Instant::now();
            self.look(observed, self.looked, &mut |line| match line {
                Line::Bad(text) => tracing::warn!("{text}"),
                Line::Well(text) => tracing::info!("{text}"),
            });
        }
    }

    fn look(&mut self, observed: &Observed, now: Instant, log: &mut dyn FnMut(Line)) {
        let plan = observed.plan();
        let tags = Tags::look(&plan, &observed.image, &observed.counters, FIRST_VALUE_PATIENCE);
        let mut present: BTreeMap<Key, Vec<&TagTrouble>> = BTreeMap::new();
        for trouble in tags.troubled.iter().filter(|trouble| trouble.cause != Some(Cause::NotConnected)) {
            let code = trouble.cause.map_or(trouble.status.0.into(), |cause| cause.alike().code());
            present.entry((trouble.link, code)).or_default().push(trouble);
        }
        let mut lines = 0;
        for (key, troubled) in &present {
            let group = self.groups.entry(*key).or_insert_with(|| Group::new(now));
            lines += usize::from(lines < REASON_LINES_MAX && group.tell(&plan, troubled, now, log));
        }
        let troubled: BTreeSet<TagId> = tags.troubled.iter().map(|trouble| trouble.tag).collect();
        self.groups.retain(|key, group| {
            let is_present = present.contains_key(key);
            plan.links.contains(key.0) && (is_present || group.end(&plan, key.0, &troubled, now, log))
        });
        self.tell_met(observed, (&plan, &present), now, lines, log);
    }

    fn tell_met(
        &mut self,
        observed: &Observed,
        (plan, present): (&Plan, &BTreeMap<Key, Vec<&TagTrouble>>),
        now: Instant,
        mut lines: usize,
        log: &mut dyn FnMut(Line),
    ) {
        self.seen.retain(|(link, _), _| plan.links.contains(*link));
        let shown: BTreeSet<(LinkId, CauseKind)> =
            present.iter().filter_map(|((link, _), troubled)| Some((*link, troubled.first()?.cause?.kind()))).collect();
        for (id, link) in plan.links.iter() {
            let counters = observed.counters.link(id);
            for (kind, count) in MET {
                let Some(cause) = counters.lately.get(kind) else { continue };
                let count = count(counters);
                let seen = self.seen.entry((id, kind)).or_default();
                // A count that fell is another link's.
                let is_new = count != seen.count;
                seen.count = count;
                if shown.contains(&(id, kind)) || !is_new || lines >= REASON_LINES_MAX {
                    continue;
                }
                let pause = match seen.told {
                    Some((told, pause)) if now.duration_since(told) < pause => continue,
                    Some((_, pause)) => (pause * 2).min(REASON_PAUSE_MAX),
                    None => REASON_PAUSE_MIN,
                };
                seen.told = Some((now, pause));
                lines += 1;
                log(Line::Bad(format!("link \"{}\": {count} so far, latest: {cause}", link.name)));
            }
        }
    }
}

impl Group {
    fn new(now: Instant) -> Group {
        Group {
            since: now,
            told: None,
            tags: BTreeSet::new(),
            cause: None,
            gone: None,
            ended: false,
            pause: REASON_PAUSE_MIN,
        }
    }

    /// Logs it where it is new, has come again after its pause, or has taken more tags. True: a line was written.
    fn tell(&mut self, plan: &Plan, troubled: &[&TagTrouble], now: Instant, log: &mut dyn FnMut(Line)) -> bool {
        self.gone = None;
        let is_due = match self.told {
            None => now.duration_since(self.since) >= REASON_SETTLED,
            Some(told) => {
                let has_more = self.ended || troubled.iter().any(|trouble| !self.tags.contains(&trouble.tag));
                has_more && now.duration_since(told) >= self.pause
            }
        };
        if !is_due {
            return false;
        }
        if self.told.is_some() {
            self.pause = (self.pause * 2).min(REASON_PAUSE_MAX);
        }
        (self.told, self.ended) = (Some(now), false);
        self.tags = troubled.iter().map(|trouble| trouble.tag).collect();
        self.cause = troubled.first().and_then(|trouble| trouble.cause);
        if let Some(first) = troubled.first() {
            log(Line::Bad(format!("link \"{}\": {}", name_of(plan, first.link), line(plan, troubled))));
        }
        true
    }

    /// No tag has it any more. Logs that once it has stayed so. False: it can be forgotten.
    fn end(
        &mut self,
        plan: &Plan,
        link: LinkId,
        troubled: &BTreeSet<TagId>,
        now: Instant,
        log: &mut dyn FnMut(Line),
    ) -> bool {
        let Some(told) = self.told else { return false };
        let gone = *self.gone.get_or_insert(now);
        if self.ended {
            return now.duration_since(told) < self.pause * 2;
        }
        if now.duration_since(gone) < REASON_SETTLED {
            return true;
        }
        self.tags.retain(|tag| plan.tags.contains(*tag));
        if self.tags.is_empty() {
            return false;
        }
        // They are bad for another reason by now, perhaps because the link is being connected again.
        if !self.tags.is_disjoint(troubled) {
            return true;
        }
        self.ended = true;
        let was = self.cause.map_or(String::new(), |cause| format!(" (it was: {})", place_and_fault(cause)));
        let names = names(plan, self.tags.iter().map(|tag| (*tag, String::new())));
        log(Line::Well(format!("link \"{}\": all well again: {names}{was}", name_of(plan, link))));
        true
    }
}

fn name_of(plan: &Plan, link: LinkId) -> &str {
    plan.links.get(link).map_or("", |link| &*link.name)
}

fn place_and_fault(cause: Cause) -> String {
    let scope = cause.scope();
    if scope.is_empty() { cause.fault() } else { format!("{scope}: {}", cause.fault()) }
}

/// Such as `2 tags are bad: unit 1, function 3 (holding registers): exception 02 …: "a" (address 7, count 1), "b"
/// (address 9, count 1); check …`.
fn line(plan: &Plan, troubled: &[&TagTrouble]) -> String {
    let Some(first) = troubled.first() else { return String::new() };
    let is_bad = troubled.iter().any(|trouble| trouble.status.is_bad());
    let how = if is_bad { "bad" } else { "uncertain, with their last values" };
    let count = match troubled.len() {
        1 => format!("1 tag is {how}"),
        n => format!("{n} tags are {how}"),
    };
    let place = |trouble: &&TagTrouble| trouble.cause.map_or(String::new(), Cause::place);
    let names = names(plan, troubled.iter().map(|trouble| (trouble.tag, place(trouble))));
    match first.cause {
        Some(cause) => {
            let advice = cause.advice();
            let advice = if advice.is_empty() { advice } else { format!("; {advice}") };
            format!("{count} ({}): {}: {names}{advice}", first.status, place_and_fault(cause))
        }
        None => format!("{count} ({}): {}: {names}", first.status, reason(first.status, None, None)),
    }
}

/// The first tags by name, each with its place.
fn names(plan: &Plan, tags: impl Iterator<Item = (TagId, String)>) -> String {
    let all: Vec<(TagId, String)> = tags.collect();
    let named = all.iter().take(REASON_TAGS_NAMED).map(|(tag, place)| {
        let name = plan.tags.get(*tag).map_or("", |tag| &*tag.name);
        if place.is_empty() { format!("\"{name}\"") } else { format!("\"{name}\" ({place})") }
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    let more = all.len().saturating_sub(REASON_TAGS_NAMED);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests;
