//! The state of the whole gateway as one object.

use serde_json::{Value as Json, json};

use crate::hub::TapView;
use crate::limits::FIRST_VALUE_PATIENCE;
use crate::plan::{LinkPlan, NamedGroup, Pace, SourceKind};
use crate::rt::monotonic_now;
use crate::serve::retired::totals_of;
use crate::serve::{HealthReport, Observed, OutputView, Tags, View};
use crate::tag::{GroupId, LinkId};

pub(super) fn of(observed: &Observed) -> Json {
    let health = HealthReport::of(observed);
    let plan = observed.plan();
    let tags = Tags::look(&plan, &observed.image, &observed.counters, FIRST_VALUE_PATIENCE);
    let journal = (observed.journal)();
    let live: Vec<Json> = observed
        .taps
        .all()
        .into_iter()
        .map(|TapView { name, lost }| json!({ "name": name, "lost": lost.samples }))
        .collect();
    json!({
        "gateway": observed.gateway,
        "version": env!("CARGO_PKG_VERSION"),
        "boot": observed.boot,
        "pid": std::process::id(),
        "uptime_s": (monotonic_now() - observed.started).as_secs_f64(),
        "health": health.status,
        "reasons": health.reasons,
        "tags": tags.counts(),
        "bad_tags": health.bad_tags,
        "links": links(observed, &tags),
        "groups": groups(observed),
        "lanes": lanes(observed),
        "journal": {
            "bytes": journal.bytes,
            "bytes_max": journal.bytes_max,
            "oldest_age_s": journal.oldest_age.as_secs_f64(),
            "stored": journal.stored,
            "dropped": journal.dropped,
            "lost": journal.lost,
        },
        "outputs": outputs(observed),
        "live": live,
    })
}

fn links(observed: &Observed, tags: &Tags) -> Vec<Json> {
    let plan = observed.plan();
    let troubles = (observed.link_troubles)();
    let link = |(id, link): (LinkId, &LinkPlan)| {
        let counts = observed.counters.link(id);
        let of_tags = tags.by_link.get(&id).copied().unwrap_or_default();
        json!({
            "link": &*link.name,
            "protocol": link.protocol.name(),
            "lane": link.lane.0,
            "state": counts.state().name(),
            "trouble": troubles.get(&id),
            "requests": counts.requests.get(),
            "replies": counts.replies.get(),
            "timeouts": counts.timeouts.get(),
            "exceptions": counts.exceptions.get(),
            "tags": of_tags.total,
            "bad_tags": of_tags.bad,
        })
    };
    plan.links.iter().map(link).collect()
}

fn groups(observed: &Observed) -> Vec<Json> {
    let current = observed.current();
    let plan = &current.plan;
    let times = observed.statistics.snapshot().groups;
    let group = |group: NamedGroup<'_>| {
        let of = |id: &GroupId, lane: usize| observed.counters.groups[lane][id.index()].produced.get();
        let of_lane = |lane: usize| {
            current.retired_samples(lane, group.name)[0] + group.ids.iter().map(|id| of(id, lane)).sum::<u64>()
        };
        let samples: u64 = (0..observed.counters.groups.len()).map(of_lane).sum();
        let period = match group.pace {
            Pace::Every(period) => period,
            // Without cycles there are none to be skipped or late.
            Pace::OnEvent { rate_max_hz } => {
                return json!({ "group": &**group.name, "rate_max_hz": rate_max_hz, "samples": samples });
            }
        };
        let mut totals = current.retired(group.name);
        for (scan, _) in plan.scans.iter().filter(|(_, scan)| group.ids.contains(&scan.group)) {
            totals.iter_mut().zip(totals_of(&observed.counters, scan)).for_each(|(sum, count)| *sum += count);
        }
        let [cycles, skipped, misses] = totals;
        let jitter = times.get(group.first).map(|times| times.release_jitter).filter(|jitter| jitter.count > 0);
        json!({
            "group": &**group.name,
            "period_ms": period.0 as f64 / 1e6,
            "cycles": cycles,
            "skipped_cycles": skipped,
            "deadline_misses": misses,
            "release_jitter_us_p99": jitter.map(|jitter| jitter.p99.0 as f64 / 1e3),
            "samples": samples,
        })
    };
    plan.named_groups().into_iter().map(group).collect()
}

fn lanes(observed: &Observed) -> Vec<Json> {
    let plan = observed.plan();
    let mut lanes = Vec::new();
    for (at, (lane, counts)) in plan.lanes.iter().zip(&observed.counters.lanes).enumerate() {
        let ring = observed.rings.get(at).map(|ring| ring()).unwrap_or_default();
        lanes.push(json!({
            "lane": at,
            "owner": lane.owner.source().map_or("executor", SourceKind::name),
            "cpu": lane.owner.cpu(),
            "produced": counts.produced.get(),
            "dropped": counts.dropped.get(),
            "suppressed": counts.suppressed_at_ring.get() + counts.suppressed_at_journal.get(),
            "ring_used": ring.used,
            "ring_capacity": ring.capacity,
        }));
    }
    lanes
}

fn outputs(observed: &Observed) -> Vec<Json> {
    let output = |(name, view): &(String, View<OutputView>)| {
        let view = view();
        json!({
            "output": name,
            "state": view.state.name(),
            "lag": view.lag,
            "acknowledged": view.acknowledged,
            "in_flight": view.in_flight,
            "lost": view.lost,
        })
    };
    observed.outputs.iter().map(output).collect()
}
