//! Reload: what the files say now becomes the plan that runs, or the plan that runs stays.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::gateway::{Gateway, dictionary};
use super::watch::{Found, Watch};
use crate::config::{Config, Loaded};
use crate::hub::{self, Filter, NextRing, RingEnd};
use crate::limits::{IDS_REST, RELOAD_POLL};
use crate::plan::{Base, Change, Plan, Planned, UsedIds};
use crate::protocol;
use crate::serve::Severity;
use crate::supervise::reloading::{Changing, Reload, Rest};
use crate::tag::{ById, Id, LinkId, TagId};

/// The name of the condition under which a refused configuration shows on `/health`.
const PART: &str = "configuration";

/// How long an executor's adoption is waited for before other work is looked after.
const ADOPTION_LOOK: Duration = Duration::from_millis(50);

/// With so many tags less, memory is given back, so long after the last of it may have been used.
const TRIM_TAGS_MIN: usize = 1_000;
const TRIM_DELAY: Duration = Duration::from_secs(5);

impl Gateway {
    /// From now on, what changes in the tag files under `dir` is adopted.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch(&mut self, dir: &Path) -> std::io::Result<()> {
        self.reload.watch = Some(Watch::start(dir.to_owned(), RELOAD_POLL)?);
        Ok(())
    }

    /// Has the files looked at now, though they may have changed just before.
    pub fn look_for_changes(&self) {
        match &self.reload.watch {
            Some(watch) => watch.look_at_once(),
            None => tracing::warn!("changed files are not detected"),
        }
    }

    /// Makes `loaded` the plan that runs, at once, and waits for the executors; as the files would be adopted.
    pub fn adopt(&mut self, loaded: &Loaded) {
        while !self.rings_are_followed() || self.reload.changing.is_some() && !self.end_change() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.begin_change(loaded);
        while self.reload.changing.is_some() && !self.end_change() {}
    }

    /// Does what is to be done next for what was found in the files.
    pub(super) fn tend_reload(&mut self) {
        if self.reload.trim_at.is_some_and(|at| Instant::now() >= at) {
            self.reload.trim_at = None;
            self.reload.forget_rested();
            give_memory_back();
        }
        if self.reload.changing.is_some() && !self.end_change() {
            return;
        }
        let found = self.reload.watch.as_ref().and_then(Watch::found);
        match newest(found, &mut self.reload.waiting) {
            None => {}
            Some(Err(diagnostics)) => self.refuse(diagnostics),
            // While the journal takes nothing, every change would leave a ring of samples behind.
            Some(Ok(loaded)) if !self.rings_are_followed() => self.reload.waiting = Some(loaded),
            Some(Ok(loaded)) => self.begin_change(&loaded),
        }
    }

    /// Whether the hub is at every executor's newest ring.
    fn rings_are_followed(&self) -> bool {
        self.next_rings.is_empty() && self.rings.iter().all(|ring| ring.next_rings.load(Relaxed) == 0)
    }

    /// Makes `loaded` the plan that runs, but for the gateway's own file, which is read at the start. What does not
    /// fit is refused: the old plan runs on, and everyone is told why.
    fn begin_change(&mut self, loaded: &Loaded) {
        self.tell_of_gateway_file(&loaded.config);
        self.reload.forget_rested();
        let Reload { config: own, resting, .. } = &mut self.reload;
        let Config { links, groups, tags, .. } = loaded.config.clone();
        let mut config = Config { links, groups, tags, ..own.clone() };
        // Those of the files that were found are by a gateway's file that does not run.
        if let Err(error) = config.renew_diagnostics(self.lane_owners.len()) {
            return self.refuse(error);
        }
        let old = self.observed.plan();
        let image = self.floor.image.clone();
        let long_fits = move |tag: TagId, bytes| image.long_fits(tag.index(), bytes);
        let resting: Vec<UsedIds> = resting.iter().map(|rest| rest.ids.clone()).collect();
        let base = Base { plan: &old, resting: &resting, long_fits: &long_fits };
        let Planned { plan: new, admission } = match protocol::rebuild_with(&config, &base, &self.admission.costs) {
            Ok(planned) => planned,
            Err(error) => return self.refuse(error),
        };
        // Also where the plan stays: someone has changed a file.
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        if same(&old, &new) {
            return self.accept();
        }
        for warning in &admission.warnings {
            tracing::warn!("{warning}");
        }
        let new = Arc::new(new);
        self.reload.number += 1;
        let names = Arc::new(dictionary(&self.observed.gateway, &new));
        self.observed.statistics.adopt(&new);
        self.reload.is_changing.store(true, SeqCst);
        let next_rings = &self.next_rings;
        let counters = self.floor.counters.clone();
        let changes = self.floor.adopt(&old, &new, self.reload.number, |executor, ring| {
            let filter = Filter::following(executor, &old, &new, counters.clone());
            // The hub takes them every few milliseconds; where it has ended, so will the gateway.
            let _ = next_rings.send(NextRing { lane: executor, end: RingEnd { ring, names: names.clone(), filter } });
        });
        self.reload.changing = Some(Changing { old, new, changes, admission });
        self.end_change();
    }

    /// False: an executor has not yet adopted its part. One that stands still is the watchdog's.
    fn end_change(&mut self) -> bool {
        let end = Instant::now() + ADOPTION_LOOK;
        while !self.floor.has_adopted() {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let Some(Changing { old, new, changes, admission }) = self.reload.changing.take() else { return true };
        tracing::info!("new configuration adopted: {}", summary(&old, &new, &changes));
        if old.tags.len() >= new.tags.len() + TRIM_TAGS_MIN {
            self.reload.trim_at = Some(Instant::now() + IDS_REST + TRIM_DELAY);
        }
        self.observed.set_plan(new);
        self.reload.is_changing.store(false, SeqCst);
        let (plan, ids) = (Arc::downgrade(&old), UsedIds::of(&old));
        self.reload.resting.push(Rest { since: Instant::now(), plan, ids });
        self.admission = admission;
        self.observed.reloads.adopted.fetch_add(1, Relaxed);
        self.accept();
        true
    }

    fn accept(&self) {
        let reloads = &self.observed.reloads;
        if reloads.last_refused.swap(false, Relaxed) {
            tracing::info!("the configuration is valid again: the current files are in use");
        }
        reloads.last_success_utc_ns.store(hub::clock_pair().utc_ns, Relaxed);
        self.observed.health.clear(PART);
    }

    /// The old plan runs on, and everyone is told why.
    fn refuse(&self, why: impl Display) {
        let reloads = &self.observed.reloads;
        reloads.refused.fetch_add(1, Relaxed);
        reloads.last_refused.store(true, Relaxed);
        let why = why.to_string();
        tracing::error!("the new configuration is refused, the old one stays in use:\n{why}");
        let text = format!("the current files are refused and not in use: {why}");
        self.observed.health.set(PART, Severity::Degraded, text);
    }

    fn tell_of_gateway_file(&mut self, found: &Config) {
        let Reload { config: own, told_of_gateway_file, .. } = &mut self.reload;
        let changed = changed_sections(own, found);
        if !changed.is_empty() && *told_of_gateway_file != changed {
            let sections = changed.join(", ");
            tracing::warn!("fieldbeat.toml has changed in {sections}: this takes effect when the gateway is restarted");
        }
        *told_of_gateway_file = changed;
    }
}

/// The sections of the gateway's own file that are not as they run.
fn changed_sections(runs: &Config, found: &Config) -> Vec<&'static str> {
    let Config { gateway, realtime, journal, metrics, control, watchdog, diagnostics, outputs, links, groups, tags } =
        runs;
    // Those of the tag files.
    let _ = (links, groups, tags);
    let sections = [
        ("[gateway]", *gateway != found.gateway),
        ("[realtime]", *realtime != found.realtime),
        ("[journal]", *journal != found.journal),
        ("[metrics]", *metrics != found.metrics),
        ("[control]", *control != found.control),
        ("[watchdog]", *watchdog != found.watchdog),
        ("[diagnostics]", *diagnostics != found.diagnostics),
        ("[outputs]", *outputs != found.outputs),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}

/// What is to be done next. What was found last stands in place of what still waits: that is no longer what the files
/// say.
fn newest(found: Option<Found>, waiting: &mut Option<Loaded>) -> Option<Found> {
    let waited = waiting.take();
    found.or(waited.map(Ok))
}

/// Whether a new plan is the old one.
fn same(old: &Plan, new: &Plan) -> bool {
    let releases = |plan: &Plan| plan.lanes.iter().map(|e| e.releases.clone()).collect::<Vec<_>>();
    old.tags == new.tags && old.groups == new.groups && old.links == new.links && releases(old) == releases(new)
}

fn summary(old: &Plan, new: &Plan, changes: &[(LinkId, Change)]) -> String {
    fn counted<I: Id, T>(old: &ById<I, T>, new: &ById<I, T>) -> (usize, usize) {
        let come = new.ids().filter(|id| !old.contains(*id)).count();
        (come, old.ids().filter(|id| !new.contains(*id)).count())
    }
    let ((tags_new, tags_gone), (links_new, links_gone)) =
        (counted(&old.tags, &new.tags), counted(&old.links, &new.links));
    let other = changes.iter().filter(|(_, change)| matches!(change, Change::Work | Change::Target)).count();
    format!(
        "{} tags ({tags_new} new, {tags_gone} gone) on {} links ({links_new} new, {links_gone} gone, {other} with other \
         work)",
        new.tags.len(),
        new.links.len()
    )
}

/// The allocator keeps what was freed between what is still used; the system may need it.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointers, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::load_parts;

    fn gateway(id: &str) -> Found {
        load_parts(("fieldbeat.toml", &format!("[gateway]\nid = \"{id}\"\n")), &[("tags/a.json", TAGS)])
    }

    const TAGS: &str = r#"{"links":[{"name":"l","protocol":"modbus_tcp","host":"127.0.0.1"}],
        "tags":[{"name":"t","address":"l:1:3:40001:1","data_type":"uint16","scan_rate_ms":100}]}"#;

    #[test]
    fn what_has_changed_in_the_gateways_own_file_is_named() {
        let found = |own: &str| {
            let toml = format!("[gateway]\nid = \"g\"\n{own}");
            load_parts(("fieldbeat.toml", &toml), &[("tags/a.json", TAGS)]).unwrap().config
        };
        let own = "[diagnostics]\ntags = [\"$gateway.*\"]\n";
        assert!(changed_sections(&found(own), &found(own)).is_empty());
        for other in ["", "[diagnostics]\n", "[diagnostics]\ntags = [\"$gateway.*\"]\nscan_rate_ms = 200\n"] {
            assert_eq!(changed_sections(&found(own), &found(other)), ["[diagnostics]"], "{other}");
        }
        let several = found("[realtime]\npriority = 70\n[outputs.a]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\n");
        assert_eq!(changed_sections(&found(own), &several), ["[realtime]", "[diagnostics]", "[outputs]"]);
    }

    #[test]
    fn what_waits_is_never_adopted_after_what_was_found_later() {
        let mut waiting = gateway("old").ok();
        let next = newest(Some(gateway("new")), &mut waiting).unwrap().unwrap();
        assert_eq!((next.config.gateway.id.as_str(), &waiting), ("new", &None));
        // Files that are wrong by now: what was right before them is not what they say, either.
        waiting = gateway("old").ok();
        let wrong = load_parts(("fieldbeat.toml", ""), &[]);
        assert!(newest(Some(wrong), &mut waiting).unwrap().is_err() && waiting.is_none());
        waiting = gateway("old").ok();
        assert!(newest(None, &mut waiting).unwrap().is_ok() && newest(None, &mut waiting).is_none());
    }
}
