//! The journal among the metrics.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::{COUNTER, GAUGE, HISTOGRAM, Reader, family};
use crate::serve::JournalView;
use crate::store::{COMMIT_BOUNDS, CommitTimes};

impl Reader {
    pub(super) fn journal(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let view: JournalView = (self.0.journal)();
        for (name, unit, help, value) in [
            ("fieldbeat_journal_size", Some(&Unit::Bytes), "Bytes used by the journal on disk", view.bytes as f64),
            ("fieldbeat_journal_limit", Some(&Unit::Bytes), "Maximum bytes of the journal", view.bytes_max as f64),
            ("fieldbeat_journal_blocks", None, "Blocks in the journal", view.blocks as f64),
            (
                "fieldbeat_journal_oldest_age",
                Some(&Unit::Seconds),
                "Age of the oldest block in the journal",
                view.oldest_age.as_secs_f64(),
            ),
        ] {
            family(e, GAUGE, name, unit, help)?.gauge([], value)?;
        }
        for (name, help, value) in [
            ("fieldbeat_journal_stored_samples", "Samples stored durably", view.stored),
            ("fieldbeat_journal_dropped_samples", "Samples that could not be stored", view.dropped),
            (
                "fieldbeat_journal_evicted_samples",
                "Samples removed at the bound before every output had delivered them",
                view.evicted,
            ),
            (
                "fieldbeat_journal_lost_samples",
                "Samples stored, but lost with the journal's file before every output had delivered them",
                view.lost,
            ),
            ("fieldbeat_journal_set_aside", "Damaged journals that were set aside", view.set_aside),
            ("fieldbeat_journal_damaged_blocks", "Damaged blocks skipped by readers", view.blocks_damaged),
            ("fieldbeat_journal_commits", "Commits with full sync", view.commits),
        ] {
            family(e, COUNTER, name, None, help)?.counter([], value)?;
        }
        let help = "Duration of commits with full sync";
        let mut commits = family(e, HISTOGRAM, "fieldbeat_journal_commit", Some(&Unit::Seconds), help)?;
        let CommitTimes { sum, buckets } = view.commit_times;
        let bounds = COMMIT_BOUNDS.iter().map(|bound| bound.as_secs_f64());
        commits.buckets([], sum as f64 / 1e9, bounds, &buckets)
    }
}
