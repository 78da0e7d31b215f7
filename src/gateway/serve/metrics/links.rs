//! Links among the metrics.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::{COUNTER, GAUGE, HISTOGRAM, Reader, family};
use crate::lane::{LinkCounters, LinkState};
use crate::serve::Observed;

/// A link's counts, and those of the links of its name that have left.
struct Of<'a>(&'a LinkCounters, Option<&'a LinkCounters>);

impl Of<'_> {
    fn sum(&self, count: fn(&LinkCounters) -> u64) -> u64 {
        count(self.0) + self.1.map_or(0, count)
    }
}

impl Reader {
    pub(super) fn links(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let Observed { counters, statistics, .. } = &*self.0;
        let current = self.0.current();
        let plan = &current.plan;
        let links = || {
            plan.links.iter().map(|(id, link)| {
                let of = (counters.link(id), current.retired_link(&link.name));
                (&*link.name, Of(of.0, of.1))
            })
        };
        type Row = (&'static str, &'static str, fn(&LinkCounters) -> u64);
        let rows: [Row; 10] = [
            ("fieldbeat_link_requests", "Requests sent", |c| c.requests.get()),
            (
                "fieldbeat_link_suppressed_requests",
                "Requests not sent because their unit is silent or the link is down",
                { |c| c.suppressed.get() },
            ),
            ("fieldbeat_link_crc_errors", "Replies whose CRC or LRC was wrong", |c| c.crc_errors.get()),
            ("fieldbeat_link_short_frames", "Timeouts after an incomplete reply", |c| c.short_frames.get()),
            ("fieldbeat_link_lost_events", "Edges that came too fast to be reported individually", |c| c.lost.get()),
            ("fieldbeat_link_connects", "Connections made", |c| c.connects.get()),
            ("fieldbeat_link_disconnects", "Connections lost", |c| c.disconnects.get()),
            ("fieldbeat_link_idle_closes", "Idle connections closed by the device and reconnected immediately", {
                |c| c.idle_closes.get()
            }),
            ("fieldbeat_link_wrong_lengths", "Replies accepted although the length in their header was wrong", {
                |c| c.wrong_lengths.get()
            }),
            ("fieldbeat_link_writes_sent", "Writes with at least one request sent", |c| c.writes_sent.get()),
        ];
        for (name, help, count) in rows {
            let mut family = family(e, COUNTER, name, None, help)?;
            for (link, counters) in links() {
                family.counter([("link", link)], counters.sum(count))?;
            }
        }
        type Result = (&'static str, fn(&LinkCounters) -> u64);
        let results: [Result; 8] = [
            ("good", |c| c.replies.get()),
            ("exception", |c| c.exceptions.get()),
            ("timeout", |c| c.timeouts.get()),
            ("aborted", |c| c.aborted.get()),
            ("broken", |c| c.broken.get()),
            ("late", |c| c.late.get()),
            ("foreign", |c| c.foreign.get()),
            ("garbage", |c| c.garbage.get()),
        ];
        let help = "Results of requests (good, exception, timeout, aborted, broken) and unexpected replies (late, \
            foreign, garbage)";
        let mut replies = family(e, COUNTER, "fieldbeat_link_replies", None, help)?;
        for (link, counters) in links() {
            for (result, count) in results {
                replies.counter([("link", link), ("result", result)], counters.sum(count))?;
            }
        }
        let differs: [Result; 4] = [
            ("unit", |c| c.other_unit.get()),
            ("transaction", |c| c.other_transaction.get()),
            ("function", |c| c.other_function.get()),
            ("length", |c| c.other_length.get()),
        ];
        let help = "Foreign replies, by the part that differs from the request";
        let mut foreign = family(e, COUNTER, "fieldbeat_link_foreign_replies", None, help)?;
        for (link, counters) in links() {
            for (differs, count) in differs {
                foreign.counter([("link", link), ("differs", differs)], counters.sum(count))?;
            }
        }
        let help = "Results of writes; failed includes writes that were never sent";
        let mut writes = family(e, COUNTER, "fieldbeat_link_writes", None, help)?;
        for (link, counters) in links() {
            let results: [Result; 2] = [("done", |c| c.writes_done.get()), ("failed", |c| c.writes_failed.get())];
            for (result, count) in results {
                writes.counter([("link", link), ("result", result)], counters.sum(count))?;
            }
        }
        let help = "Frames received and sent, and bus conditions reported by the controller and the kernel";
        let mut can = family(e, COUNTER, "fieldbeat_can_frames", None, help)?;
        for (id, link) in plan.links.iter().filter(|(_, link)| link.protocol.is_on_can()) {
            let before = current.retired_link(&link.name).map(|before| before.can.all());
            for (at, (event, count)) in counters.link(id).can.all().into_iter().enumerate() {
                let before = before.map_or(0, |before| before[at].1.get());
                can.counter([("link", &*link.name), ("event", event)], before + count.get())?;
            }
        }
        let help = "1 for the current state of the link, 0 for the others";
        let mut state = family(e, GAUGE, "fieldbeat_link_state", None, help)?;
        for (link, counters) in links() {
            let now = counters.0.state();
            for one in [LinkState::Up, LinkState::Silent, LinkState::Down, LinkState::BusOff] {
                state.gauge([("link", link), ("state", one.name())], f64::from(u8::from(one == now)))?;
            }
        }
        let help = "Reply received minus request sent, of good and exception replies of all links";
        let times = statistics.snapshot();
        family(e, HISTOGRAM, "fieldbeat_response_time", Some(&Unit::Seconds), help)?.histogram([], &times.responses)?;
        if !self.1 {
            return Ok(());
        }
        let help = "Reply received minus request sent, of good and exception replies, by link";
        let mut response = family(e, HISTOGRAM, "fieldbeat_link_response_time", Some(&Unit::Seconds), help)?;
        for (id, link) in plan.links.iter() {
            if let Some(times) = times.response.get(id) {
                response.histogram([("link", &*link.name)], times)?;
            }
        }
        Ok(())
    }
}
