//! Every count and distribution as Prometheus metrics: read at each scrape, nothing is kept twice.

mod journal;
mod links;
mod tags;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::command::{AnswerEnd, Outcome, Reason, Way};
use crate::hub::stats::{BUCKET_BOUNDS, Distribution};
use crate::plan::ScanPlan;

use super::retired::{ScanTotals, samples_of, totals_of};
use super::{Observed, OutputState, OutputView, ProcessUsage};

/// The exposition formats that are asked for in practice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The metrics of a gateway, ready to be written out.
pub(super) struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// `per_link`: with the times of each link.
    pub(super) fn new(observed: Arc<Observed>, per_link: bool) -> Metrics {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Reader(observed, per_link)));
        Metrics { registry }
    }

    pub(super) fn write(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Prometheus => to_prometheus(&text),
        })
    }
}

/// OpenMetrics says `TYPE x counter` of a sample `x_total`, and knows units; the older format does neither.
fn to_prometheus(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    let renamed = |out: &mut String, keyword: &str, rest: &str| {
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        out.extend(["# ", keyword, " ", name, "_total ", rest, "\n"]);
    };
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let help = line.strip_prefix("# HELP ");
        let counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        if let (Some(help), true) = (help, lines.peek().is_some_and(|next| counter(next))) {
            renamed(&mut out, "HELP", help);
        } else if counter(line) {
            renamed(&mut out, "TYPE", &line["# TYPE ".len()..]);
        } else {
            out.extend([line, "\n"]);
        }
    }
    out
}

/// And whether it tells the times of each link.
struct Reader(Arc<Observed>, bool);

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// One metric of any number of rows.
struct Family<'a>(MetricEncoder<'a>);

impl Family<'_> {
    fn counter<const N: usize>(&mut self, labels: Labels<'_, N>, value: u64) -> fmt::Result {
        if N == 0 {
            return self.0.encode_counter::<NoLabelSet, u64, u64>(&value, None);
        }
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    fn gauge<const N: usize>(&mut self, labels: Labels<'_, N>, value: f64) -> fmt::Result {
        if N == 0 {
            return self.0.encode_gauge(&value);
        }
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    fn histogram<const N: usize>(&mut self, labels: Labels<'_, N>, times: &Distribution) -> fmt::Result {
        let bounds = BUCKET_BOUNDS.iter().map(|bound| bound.as_secs_f64());
        self.buckets(labels, times.sum as f64 / 1e9, bounds, &times.buckets)
    }

    /// `counts` has one more than there are bounds.
    fn buckets<const N: usize>(
        &mut self,
        labels: Labels<'_, N>,
        sum_s: f64,
        bounds: impl Iterator<Item = f64>,
        counts: &[u64],
    ) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts.iter().copied()).collect();
        let count = counts.iter().sum();
        if N == 0 {
            return self.0.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None);
        }
        self.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)
    }
}

fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    kind: MetricType,
    name: &'a str,
    unit: Option<&'a Unit>,
    help: &str,
) -> Result<Family<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, unit, kind).map(Family)
}

impl Collector for Reader {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let e = &mut encoder;
        self.groups(e)?;
        self.links(e)?;
        self.tags(e)?;
        self.executors(e)?;
        self.journal(e)?;
        self.outputs(e)?;
        self.live(e)?;
        self.writes(e)?;
        self.configuration(e)?;
        self.process(e)
    }
}

const COUNTER: MetricType = MetricType::Counter;
const GAUGE: MetricType = MetricType::Gauge;
const HISTOGRAM: MetricType = MetricType::Histogram;

impl Reader {
    fn groups(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let Observed { counters, statistics, .. } = &*self.0;
        let current = self.0.current();
        let plan = &current.plan;
        let mut periods = family(
            e,
            GAUGE,
            "fieldbeat_group_period",
            Some(&Unit::Seconds),
            "Scan period of a group; the shortest one if its tags have several",
        )?;
        let named = plan.named_groups();
        for group in &named {
            if let Some(period) = group.pace.period() {
                periods.gauge([("group", &**group.name)], period.as_secs_f64())?;
            }
        }
        let hertz = Unit::Other("hertz".into());
        let help = "Maximum samples a second of each tag of a group by event, which has no period";
        let mut rates = family(e, GAUGE, "fieldbeat_group_event_rate_max", Some(&hertz), help)?;
        for group in plan.groups.values() {
            if let Some(rate) = group.pace.rate_max_hz() {
                rates.gauge([("group", &*group.name)], f64::from(rate))?;
            }
        }
        // What comes by event has no cycles, and no times of them.
        let polled = || named.iter().filter(|group| group.pace.period().is_some());
        let rows = [
            ("fieldbeat_group_cycles", "Scans of the group that were released, over its links"),
            (
                "fieldbeat_group_skipped_cycles",
                "Scans of the group that were skipped because the executor was late, over its links",
            ),
            (
                "fieldbeat_group_deadline_misses",
                "Scans of the group that were not complete when the next was due, over its links",
            ),
        ];
        let mut sums = vec![ScanTotals::default(); plan.groups.end()];
        for group in &named {
            sums[group.first.index()] = current.retired(group.name);
        }
        let first = plan.first_of_name();
        for (id, ScanPlan { group, .. }) in plan.scans.iter() {
            let group = first.get(*group).unwrap_or(group);
            sums[group.index()].iter_mut().zip(totals_of(counters, id)).for_each(|(sum, count)| *sum += count);
        }
        for (at, (name, help)) in rows.into_iter().enumerate() {
            let mut family = family(e, COUNTER, name, None, help)?;
            for group in polled() {
                family.counter([("group", &**group.name)], sums[group.first.index()][at])?;
            }
        }
        let times = statistics.snapshot().groups;
        type Times = (&'static str, &'static str, fn(&crate::hub::stats::GroupTimes) -> &Distribution);
        let rows: [Times; 3] = [
            (
                "fieldbeat_group_release_jitter",
                "Actual minus nominal start of a scan; after skipped scans, minus the first of them",
                |t| &t.release_jitter,
            ),
            ("fieldbeat_group_issue_jitter", "Request sent minus nominal start of its scan", |t| &t.issue_jitter),
            ("fieldbeat_group_sample_age", "Reply decoded minus nominal start of its scan", |t| &t.sample_age),
        ];
        for (name, help, pick) in rows {
            let mut family = family(e, HISTOGRAM, name, Some(&Unit::Seconds), help)?;
            for group in polled() {
                if let Some(times) = times.get(group.first) {
                    family.histogram([("group", &**group.name)], pick(times))?;
                }
            }
        }
        Ok(())
    }

    fn executors(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let Observed { counters, rings, .. } = &*self.0;
        let current = self.0.current();
        let plan = &current.plan;
        let names: Vec<String> = (0..plan.lanes.len()).map(|i| i.to_string()).collect();
        let executors =
            || names.iter().zip(&plan.lanes).zip(&counters.lanes).filter(|((_, lane), _)| lane.owner.cpu().is_some());
        let help = "Waits for devices that the operating system refused";
        let mut waits = family(e, COUNTER, "fieldbeat_executor_failed_waits", None, help)?;
        for ((name, _), executor) in executors() {
            waits.counter([("executor", name)], executor.failed_waits.get())?;
        }
        let mut loops = family(e, COUNTER, "fieldbeat_executor_loops", None, "Iterations of an executor's loop")?;
        for ((name, _), executor) in executors() {
            loops.counter([("executor", name)], executor.loops.get())?;
        }
        let help = "Timing reports dropped because the statistics ring was full";
        let mut dropped = family(e, COUNTER, "fieldbeat_executor_dropped_reports", None, help)?;
        for ((name, _), executor) in executors() {
            dropped.counter([("executor", name)], executor.reports_dropped.get())?;
        }
        let rows = [
            ("fieldbeat_samples_produced", "Samples produced by a lane's thread: an executor or a source"),
            ("fieldbeat_samples_dropped", "Samples dropped because a lane's ring was full"),
            ("fieldbeat_samples_suppressed", "Samples suppressed by report by exception"),
        ];
        for (at, (metric, help)) in rows.into_iter().enumerate() {
            let mut family = family(e, COUNTER, metric, None, help)?;
            for (lane, (name, groups)) in names.iter().zip(&counters.groups).enumerate() {
                for group in plan.named_groups() {
                    let labels = [("lane", name.as_str()), ("group", &**group.name)];
                    let before = current.retired_samples(lane, group.name)[at];
                    let now: u64 = group.ids.iter().map(|id| samples_of(&groups[id.index()])[at]).sum();
                    family.counter(labels, before + now)?;
                }
            }
        }
        let fills: Vec<_> = rings.iter().map(|ring| ring()).collect();
        let mut capacity = family(
            e,
            GAUGE,
            "fieldbeat_ring_capacity_slots",
            None,
            "Capacity of a lane's ring in \
            slots",
        )?;
        for (name, fill) in names.iter().zip(&fills) {
            capacity.gauge([("lane", name)], fill.capacity as f64)?;
        }
        let ratio = Unit::Other("ratio".into());
        let mut filled =
            family(e, GAUGE, "fieldbeat_ring_fill", Some(&ratio), "Share of a ring's slots in use, 0 to 1")?;
        for (name, fill) in names.iter().zip(&fills) {
            filled.gauge([("lane", name)], fill.used as f64 / fill.capacity.max(1) as f64)?;
        }
        Ok(())
    }

    fn outputs(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let views: Vec<(&str, OutputView)> = self.0.outputs.iter().map(|(name, view)| (&**name, view())).collect();
        type Row = (&'static str, &'static str, fn(&OutputView) -> u64);
        let gauges: [Row; 3] = [
            ("fieldbeat_output_server", "Number of the server that the output uses; 1 is the preferred one", |v| {
                v.server + 1
            }),
            ("fieldbeat_output_cursor_lag_samples", "Samples in the journal behind the output's cursor", |v| v.lag),
            ("fieldbeat_output_in_flight_messages", "Messages sent and not yet acknowledged", |v| v.in_flight),
        ];
        for (name, help, value) in gauges {
            let mut family = family(e, GAUGE, name, None, help)?;
            for (output, view) in &views {
                family.gauge([("output", output)], value(view) as f64)?;
            }
        }
        let counters: [Row; 5] = [
            ("fieldbeat_output_acknowledged_samples", "Samples acknowledged by the server", |v| v.acknowledged),
            ("fieldbeat_output_left_out_samples", "Samples not selected by the output's tag filters", |v| v.left_out),
            ("fieldbeat_output_refused_samples", "Samples rejected by the server", |v| v.refused),
            ("fieldbeat_output_published_messages", "Messages sent, including retries", |v| v.published),
            (
                "fieldbeat_output_lost_samples",
                "Samples removed at the journal's bound, or lost with its file, before delivery, over the journal's \
                 whole life",
                |v| v.lost,
            ),
        ];
        for (name, help, value) in counters {
            let mut family = family(e, COUNTER, name, None, help)?;
            for (output, view) in &views {
                family.counter([("output", output)], value(view))?;
            }
        }
        let help = "1 for the current state of the output, 0 for the others";
        let mut state = family(e, GAUGE, "fieldbeat_output_state", None, help)?;
        for (output, view) in &views {
            for one in OutputState::ALL {
                let now = f64::from(u8::from(one == view.state));
                state.gauge([("output", output), ("state", one.name())], now)?;
            }
        }
        Ok(())
    }

    fn live(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let taps = &self.0.taps;
        let mut readers = family(e, GAUGE, "fieldbeat_live_readers", None, "Clients that follow samples live")?;
        readers.gauge([], taps.all().len() as f64)?;
        let help = "Samples lost by live readers that were too slow, summed over the readers";
        family(e, COUNTER, "fieldbeat_live_lost_samples", None, help)?.counter([], taps.lost().samples)
    }

    fn writes(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Write requests by interface and outcome";
        let mut family = family(e, COUNTER, "fieldbeat_writes", None, help)?;
        for way in Way::ALL {
            for outcome in Outcome::ALL {
                let count = self.0.writes.get(way, outcome);
                family.counter([("way", way.name()), ("outcome", outcome.name())], count)?;
            }
        }
        let help = "Writes that were refused or failed, by interface and reason";
        let mut family = self::family(e, COUNTER, "fieldbeat_writes_not_done", None, help)?;
        for way in Way::ALL {
            for reason in Reason::ALL {
                let count = self.0.writes.not_done(way, *reason);
                family.counter([("way", way.name()), ("reason", reason.word())], count)?;
            }
        }
        let help = "Answers to commands over MQTT; redirected: the broker refuses their own topic";
        let mut family = self::family(e, COUNTER, "fieldbeat_command_answers", None, help)?;
        for end in AnswerEnd::ALL {
            family.counter([("result", end.name())], self.0.writes.answers(end))?;
        }
        let help = "Minutes in which a broker sent commands faster than the limit";
        self::family(e, COUNTER, "fieldbeat_command_floods", None, help)?.counter([], self.0.writes.floods())
    }

    /// Named as Prometheus names its own.
    fn configuration(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let reloads = &self.0.reloads;
        let help = "Configuration changes found while the gateway ran";
        let mut found = family(e, COUNTER, "fieldbeat_config_reloads", None, help)?;
        found.counter([("result", "adopted")], reloads.adopted.load(Relaxed))?;
        found.counter([("result", "refused")], reloads.refused.load(Relaxed))?;
        let help = "1 if the current files are in use, 0 if they are refused and an older configuration stays in use";
        let good = !reloads.last_refused.load(Relaxed);
        family(e, GAUGE, "fieldbeat_config_last_reload_successful", None, help)?
            .gauge([], f64::from(u8::from(good)))?;
        let help = "Time at which the current files were last in use, since the Unix epoch";
        let at_s = reloads.last_success_utc_ns.load(Relaxed) as f64 / 1e9;
        family(e, GAUGE, "fieldbeat_config_last_reload_success_timestamp", Some(&Unit::Seconds), help)?.gauge([], at_s)
    }

    /// The names that Prometheus's own client libraries give these.
    fn process(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let usage = ProcessUsage::now();
        for (name, unit, help, value) in [
            ("process_resident_memory", Some(&Unit::Bytes), "Resident memory", usage.resident_bytes as f64),
            ("process_anonymous_memory", Some(&Unit::Bytes), "Anonymous resident memory", usage.anonymous_bytes as f64),
            ("process_open_fds", None, "Open file descriptors", usage.open_fds as f64),
            ("process_start_time", Some(&Unit::Seconds), "Start of the process since the Unix epoch", usage.started_s),
        ] {
            family(e, GAUGE, name, unit, help)?.gauge([], value)?;
        }
        let mut cpu = family(e, COUNTER, "process_cpu", Some(&Unit::Seconds), "User and system time of all threads")?;
        cpu.0.encode_counter::<NoLabelSet, f64, u64>(&usage.cpu_s, None)?;
        let help = "Log lines lost because the reader of standard error was too slow";
        family(e, COUNTER, "fieldbeat_log_lost_lines", None, help)?.counter([], crate::logs::lost())?;
        let mut build = family(e, GAUGE, "fieldbeat_build_info", None, "Name and version of the gateway")?;
        build.gauge([("gateway", &self.0.gateway), ("version", env!("CARGO_PKG_VERSION"))], 1.0)
    }
}
