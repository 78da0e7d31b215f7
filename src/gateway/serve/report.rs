//! The report of a run as JSON: settings, counts and timing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::{Observed, ProcessUsage};
use crate::disk;
use crate::hub::stats::Distribution;
use crate::lane::GroupCounters;
use crate::plan::NamedGroup;
use crate::tag::{GroupId, LinkId, Nanos};

/// A distribution in nanoseconds; quantiles within 1 %, the maximum exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Quantiles {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl From<&Distribution> for Quantiles {
    fn from(times: &Distribution) -> Quantiles {
        Quantiles { p50: times.p50.0, p99: times.p99.0, p999: times.p999.0, max: times.max.0 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// Of a polled group.
    #[serde(flatten)]
    pub polled: Option<PolledReport>,
    /// Of a group by event: samples a second of each tag at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_max_hz: Option<u32>,
    /// Samples of its tags: made, dropped at full rings or beyond that rate, and held back by the rules of report by
    /// exception.
    pub produced: u64,
    pub dropped: u64,
    pub suppressed: u64,
}

/// How well a polled group kept its beat.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PolledReport {
    /// The shortest, where its tags have several.
    pub period_ns: u64,
    /// The largest of its scans' cycles: how often the group was released.
    pub cycles: u64,
    /// Sums over its scans.
    pub skipped: u64,
    pub deadline_misses: u64,
    pub release_jitter_ns: Quantiles,
    pub issue_jitter_ns: Quantiles,
    pub sample_age_ns: Quantiles,
}

/// One group's part of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScanReport {
    pub group: String,
    pub cycles: u64,
    pub skipped: u64,
    pub deadline_misses: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkReport {
    pub requests: u64,
    /// Good replies.
    pub replies: u64,
    pub timeouts: u64,
    pub exceptions: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    pub aborted: u64,
    pub late: u64,
    pub foreign: u64,
    /// Of the foreign ones, by what is not as it was asked.
    pub other_unit: u64,
    pub other_transaction: u64,
    pub other_function: u64,
    pub other_length: u64,
    /// Taken, though their header counted other bytes than they had.
    pub wrong_lengths: u64,
    /// Connections that the device closed with nothing outstanding.
    pub idle_closes: u64,
    pub garbage: u64,
    /// Requests whose reply failed its check; of these, by CRC or LRC.
    pub broken: u64,
    pub crc_errors: u64,
    /// Of the timeouts, those with a part of a reply.
    pub short_frames: u64,
    pub suppressed: u64,
    /// Writes of which a request went out, those that were done, and those that were not, sent or not.
    pub writes_sent: u64,
    pub writes_done: u64,
    pub writes_failed: u64,
    /// Of a CAN interface: frames received and sent, and what the controller and the kernel tell of the bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can: Option<BTreeMap<&'static str, u64>>,
    pub response_ns: Quantiles,
    pub scans: Vec<ScanReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SamplesReport {
    pub produced: u64,
    /// Durable in the journal.
    pub stored: u64,
    /// At the rings or by the journal. After a clean stop, produced = stored + dropped + suppressed.
    pub dropped: u64,
    /// Held back, at the rings or before the journal, by the rules of report by exception.
    pub suppressed: u64,
    /// Of the stored ones, or of those of earlier runs: lost with the journal's file before every output had them.
    pub lost_after_stored: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputReport {
    /// Samples that the other side has acknowledged.
    pub acked: u64,
    /// Samples in the journal that it has not.
    pub pending: u64,
    /// Samples that the journal's bound removed, or that were lost with its file, before it had acknowledged them, ever.
    pub lost: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessReport {
    pub cpu_seconds: f64,
    /// Of these, in the executors' threads; known when those have ended.
    pub executors_cpu_seconds: f64,
    pub rss_bytes: u64,
    pub anonymous_bytes: u64,
}

/// A run; groups, links and outputs by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    pub gateway: String,
    pub version: &'static str,
    pub duration_seconds: f64,
    pub groups: BTreeMap<String, GroupReport>,
    pub links: BTreeMap<String, LinkReport>,
    pub samples: SamplesReport,
    pub outputs: BTreeMap<String, OutputReport>,
    pub process: ProcessReport,
}

impl RunReport {
    /// Everything as it stands now, after a run of this length.
    pub fn of(observed: &Observed, duration: Nanos) -> RunReport {
        let (plan, counters) = (observed.plan(), &observed.counters);
        let statistics = observed.statistics.snapshot();
        let scans: Vec<(GroupId, LinkId, ScanReport)> = plan
            .scans
            .iter()
            // What comes by event has no cycles.
            .filter(|(_, scan)| plan.groups[scan.group].pace.period().is_some())
            .map(|(id, scan)| {
                let counts = counters.scan(id);
                let report = ScanReport {
                    group: plan.groups[scan.group].name.to_string(),
                    cycles: counts.cycles.get(),
                    skipped: counts.skipped.get(),
                    deadline_misses: counts.deadline_misses.get(),
                };
                (scan.group, scan.link, report)
            })
            .collect();
        let groups = plan.named_groups().into_iter().map(|NamedGroup { name, first, ids, pace }| {
            let times = statistics.groups.get(first).copied().unwrap_or_default();
            let samples = |count: fn(&GroupCounters) -> u64| -> u64 {
                let of_group =
                    |id: &GroupId| counters.groups.iter().map(|groups| count(&groups[id.index()])).sum::<u64>();
                ids.iter().map(of_group).sum()
            };
            let own = || scans.iter().filter(|(group, ..)| ids.contains(group)).map(|(.., scan)| scan);
            let polled = |period: Nanos| PolledReport {
                period_ns: period.0,
                cycles: own().map(|s| s.cycles).max().unwrap_or(0),
                skipped: own().map(|s| s.skipped).sum(),
                deadline_misses: own().map(|s| s.deadline_misses).sum(),
                release_jitter_ns: (&times.release_jitter).into(),
                issue_jitter_ns: (&times.issue_jitter).into(),
                sample_age_ns: (&times.sample_age).into(),
            };
            let report = GroupReport {
                polled: pace.period().map(polled),
                rate_max_hz: pace.rate_max_hz(),
                produced: samples(|group| group.produced.get()),
                dropped: samples(|group| group.dropped.get()),
                suppressed: samples(|group| group.suppressed_at_ring.get() + group.suppressed_at_journal.get()),
            };
            (name.to_string(), report)
        });
        let links = plan.links.iter().map(|(id, link)| {
            let counts = counters.link(id);
            let report = LinkReport {
                requests: counts.requests.get(),
                replies: counts.replies.get(),
                timeouts: counts.timeouts.get(),
                exceptions: counts.exceptions.get(),
                reconnects: counts.connects.get().saturating_sub(1),
                aborted: counts.aborted.get(),
                late: counts.late.get(),
                foreign: counts.foreign.get(),
                other_unit: counts.other_unit.get(),
                other_transaction: counts.other_transaction.get(),
                other_function: counts.other_function.get(),
                other_length: counts.other_length.get(),
                wrong_lengths: counts.wrong_lengths.get(),
                idle_closes: counts.idle_closes.get(),
                garbage: counts.garbage.get(),
                broken: counts.broken.get(),
                crc_errors: counts.crc_errors.get(),
                short_frames: counts.short_frames.get(),
                suppressed: counts.suppressed.get(),
                writes_sent: counts.writes_sent.get(),
                writes_done: counts.writes_done.get(),
                writes_failed: counts.writes_failed.get(),
                can: link
                    .protocol
                    .is_on_can()
                    .then(|| counts.can.all().into_iter().map(|(event, count)| (event, count.get())).collect()),
                response_ns: statistics.response.get(id).map(Quantiles::from).unwrap_or_default(),
                scans: scans.iter().filter(|(_, link, _)| *link == id).map(|(.., scan)| scan.clone()).collect(),
            };
            (link.name.to_string(), report)
        });
        let journal = (observed.journal)();
        let outputs = observed.outputs.iter().map(|(name, view)| {
            let view = view();
            (name.clone(), OutputReport { acked: view.acknowledged, pending: view.lag, lost: view.lost })
        });
        let usage = ProcessUsage::now();
        RunReport {
            gateway: observed.gateway.clone(),
            version: env!("CARGO_PKG_VERSION"),
            duration_seconds: duration.as_secs_f64(),
            groups: groups.collect(),
            links: links.collect(),
            samples: SamplesReport {
                produced: counters.produced(),
                stored: journal.stored,
                dropped: counters.dropped() + journal.dropped,
                suppressed: counters.suppressed(),
                lost_after_stored: journal.lost,
            },
            outputs: outputs.collect(),
            process: ProcessReport {
                cpu_seconds: usage.cpu_s,
                executors_cpu_seconds: counters.lanes.iter().map(|e| e.cpu_ns.get() as f64 / 1e9).sum(),
                rss_bytes: usage.resident_bytes,
                anonymous_bytes: usage.anonymous_bytes,
            },
        }
    }

    /// Writes the report so that a reader sees the old file or the whole new one, never a part. A link is followed; what is
    /// no file, as a pipe or a terminal, is written to.
    ///
    /// # Errors
    /// Whatever the file system says; the file that was there is then untouched.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        disk::write_whole(path, &text)
    }
}
