//! Measured reply times of the devices against those declared for admission.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::plan::{Plan, admission};
use crate::serve::{Observed, Severity};
use crate::tag::LinkId;

/// Between two looks; the first is as late, so that a start does not count.
const PERIOD: Duration = Duration::from_secs(60);
/// Replies that a judgement needs at least.
const REPLIES_MIN: u64 = 500;

/// Who was told what.
pub struct Learned {
    looked: Instant,
    told: BTreeSet<LinkId>,
}

impl Learned {
    pub fn new() -> Learned {
        Learned { looked: Instant::now(), told: BTreeSet::new() }
    }

    /// Looks once a minute. A link whose device answers too slowly for what it is asked is told: once in the log,
    /// and on `/health` as long as deadlines must be missed.
    pub fn tend(&mut self, observed: &Observed) {
        if self.looked.elapsed() >= PERIOD {
            self.looked = Instant::now();
            self.look(observed);
        }
    }

    fn look(&mut self, observed: &Observed) {
        let plan = observed.plan();
        let response = observed.statistics.snapshot().response;
        self.told.retain(|link| plan.links.contains(*link));
        for (id, times) in response.iter().filter(|(_, times)| times.count >= REPLIES_MIN) {
            let part = format!("link {id:?} reply time", id = id.0);
            match admission::observed(&plan, id, times.p99) {
                None => observed.health.clear(&part),
                Some(finding) => {
                    let text = text(&plan, id, finding);
                    if self.told.insert(id) {
                        tracing::warn!("{text}");
                    }
                    if finding.is_over {
                        observed.health.set(&part, Severity::Degraded, text);
                    }
                }
            }
        }
    }
}

fn text(plan: &Plan, link: LinkId, finding: admission::Finding) -> String {
    let ms = |time: crate::tag::Nanos| time.0 as f64 / 1e6;
    let name = plan.links.get(link).map_or("", |link| &*link.name);
    let key = plan.links.get(link).map_or("expected_reply_ms", |link| link.protocol.reply_key());
    format!(
        "link \"{name}\": 99 % of its replies take up to {:.2} ms, but {:.2} ms are declared: the scans need {:.0} % \
         of its time; set {key} and lower the rate",
        ms(finding.seen),
        ms(finding.declared),
        finding.load * 100.0
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::hub::stats::Statistics;
    use crate::lane::Counters;
    use crate::protocol;
    use crate::protocol::load_parts;
    use crate::rt::{Report, RequestResult};
    use crate::serve::{Current, Health, JournalView, Reloads};
    use crate::tag::Nanos;

    /// A link that is asked 100 times a second, by its declared time half a millisecond each.
    fn observed() -> Observed {
        let tags = r#"{"links":[{"name":"slow","protocol":"modbus_tcp","host":"127.0.0.1"}],
            "tags":[{"name":"t","address":"slow:1:3:40001:1","data_type":"uint16","scan_rate_ms":10}]}"#;
        let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", tags)]).unwrap();
        let plan = Arc::new(protocol::build(&loaded.config, &[0]).unwrap().plan);
        Observed {
            boot: String::new(),
            started: Nanos::ZERO,
            taps: crate::hub::taps().0,
            gateway: "g".into(),
            counters: Arc::new(Counters::new(&plan)),
            image: Arc::default(),
            link_troubles: Box::new(Default::default),
            statistics: Arc::new(Statistics::new(&plan)),
            current: Mutex::new(Current::new(plan)),
            rings: vec![],
            journal: Box::new(JournalView::default),
            outputs: vec![],
            health: Arc::new(Health::default()),
            reloads: Reloads::default(),
            writes: Arc::default(),
        }
    }

    fn replies(observed: &Observed, count: u64, took: Nanos) {
        let plan = observed.plan();
        let scan = plan.scans.ids().next().unwrap();
        let (nominal, sent) = (Nanos(0), Nanos(0));
        let report =
            Report::Finished { scan, link: LinkId(0), nominal, sent, received: took, result: RequestResult::Good };
        (0..count).for_each(|_| observed.statistics.record(&report));
    }

    #[test]
    fn a_device_that_is_too_slow_for_what_it_is_asked_is_told_until_it_is_well() {
        let observed = observed();
        let mut learned = Learned::new();
        replies(&observed, REPLIES_MIN - 1, Nanos::from_millis(20));
        learned.look(&observed);
        assert!(observed.health.conditions().is_empty(), "too few to judge by");
        replies(&observed, 1, Nanos::from_millis(20));
        learned.look(&observed);
        let told = observed.health.conditions().into_values().next().unwrap();
        assert_eq!(told.severity, Severity::Degraded);
        assert!(told.text.contains("link \"slow\"") && told.text.contains("but 0.50 ms are declared"), "{}", told.text);
        replies(&observed, REPLIES_MIN * 1000, Nanos::from_micros(100));
        learned.look(&observed);
        assert!(observed.health.conditions().is_empty());
    }
}
