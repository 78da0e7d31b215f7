//! Tags by status and by cause, and the state of each unit, as metrics.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{GAUGE, Reader, family};
use crate::limits::{FIRST_VALUE_PATIENCE, METRIC_UNITS_MAX};
use crate::serve::tags::UnitState;
use crate::serve::{TagCounts, Tags};
use crate::tag::LinkId;

impl Reader {
    pub(super) fn tags(&self, e: &mut DescriptorEncoder) -> fmt::Result {
        let plan = self.0.plan();
        let tags = Tags::look(&plan, &self.0.image, &self.0.counters, FIRST_VALUE_PATIENCE);
        let help = "Tags by the quality of their status; waiting: not read yet";
        let mut by_status = family(e, GAUGE, "fieldbeat_tags", None, help)?;
        for (id, link) in plan.links.iter() {
            let TagCounts { good, uncertain, bad, waiting, .. } = tags.by_link.get(&id).copied().unwrap_or_default();
            for (status, count) in [("good", good), ("uncertain", uncertain), ("bad", bad), ("waiting", waiting)] {
                by_status.gauge([("link", &*link.name), ("status", status)], count as f64)?;
            }
        }
        let mut causes: BTreeMap<(LinkId, &str), u64> = BTreeMap::new();
        for bad in tags.bad() {
            let cause = bad.cause.map_or("unknown", |cause| cause.kind().name());
            *causes.entry((bad.link, cause)).or_default() += 1;
        }
        let help = "Bad tags by cause; causes without a tag are omitted";
        let mut by_cause = family(e, GAUGE, "fieldbeat_bad_tags", None, help)?;
        for ((id, cause), count) in causes {
            let link = plan.links.get(id).map_or("", |link| &*link.name);
            by_cause.gauge([("link", link), ("cause", cause)], count as f64)?;
        }
        let help = "1 for the current state of a unit or node, from its tags, 0 for the others; up: at least one of \
            its tags is read";
        let mut states = family(e, GAUGE, "fieldbeat_link_unit_state", None, help)?;
        for ((id, unit), state) in tags.units.iter().take(METRIC_UNITS_MAX) {
            let (link, unit) = (plan.links.get(*id).map_or("", |link| &*link.name), unit.to_string());
            for one in UnitState::ALL {
                let labels = [("link", link), ("unit", unit.as_str()), ("state", one.name())];
                states.gauge(labels, f64::from(u8::from(one == *state)))?;
            }
        }
        Ok(())
    }
}
