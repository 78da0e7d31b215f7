//! Reload: what the files say now becomes the plan that runs, or the plan that runs stays.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::gateway::{Gateway, dictionary};
use super::watch::Watch;
use crate::config::{Config, Loaded};
use crate::hub::{self, NextRing};
use crate::limits::{IDS_REST, RELOAD_POLL};
use crate::plan::{self, Base, Change, Plan, Planned};
use crate::serve::Severity;
use crate::tag::{ById, Id, LinkId};

/// The name of the condition under which a refused configuration shows on `/health`.
const PART: &str = "configuration";

/// What a gateway keeps to be able to reload.
pub(super) struct Reload {
    watch: Option<Watch>,
    /// As it runs, but for what the tag files say.
    config: Config,
    /// Plans before the one that runs, whose ids rest.
    resting: Vec<(Instant, Arc<Plan>)>,
    /// How many plans were adopted.
    number: u32,
    /// The gateway's own file has changed, which was told.
    told_of_gateway_file: bool,
}

impl Reload {
    pub fn new(config: &Config) -> Reload {
        let config = Config { links: Vec::new(), groups: Vec::new(), tags: Vec::new(), ..config.clone() };
        Reload { watch: None, config, resting: Vec::new(), number: 0, told_of_gateway_file: false }
    }
}

impl Gateway {
    /// From now on, what changes in the tag files under `dir` is adopted.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch(&mut self, dir: &Path) -> std::io::Result<()> {
        self.reload.watch = Some(Watch::start(dir.to_owned(), RELOAD_POLL)?);
        Ok(())
    }

    /// Adopts what was found in the files since the last call.
    ///
    /// # Errors
    /// When an executor does not take the new plan: only a new start helps.
    pub(super) fn tend_reload(&mut self) -> Result<(), String> {
        match self.reload.watch.as_ref().and_then(Watch::found) {
            None => Ok(()),
            Some(Ok(loaded)) => self.adopt(&loaded),
            Some(Err(diagnostics)) => {
                self.refuse(diagnostics);
                Ok(())
            }
        }
    }

    /// Makes `loaded` the plan that runs, but for the gateway's own file, which is read at the start.
    ///
    /// # Errors
    /// When an executor does not take the new plan: only a new start helps. What does not fit is refused, told, and
    /// no error: the old plan runs on.
    pub fn adopt(&mut self, loaded: &Loaded) -> Result<(), String> {
        self.tell_of_gateway_file(&loaded.config);
        let Reload { config: own, resting, .. } = &mut self.reload;
        resting.retain(|(since, plan)| since.elapsed() < IDS_REST || Arc::strong_count(plan) > 1);
        let Config { links, groups, tags, .. } = loaded.config.clone();
        let config = Config { links, groups, tags, ..own.clone() };
        let old = self.observed.plan();
        let image = self.floor.image.clone();
        let long_fits = move |tag: crate::tag::TagId, bytes| image.long_fits(tag.index(), bytes);
        let recent: Vec<Arc<Plan>> = resting.iter().map(|(_, plan)| plan.clone()).collect();
        let base = Base { plan: &old, recent: &recent, long_fits: &long_fits };
        let Planned { plan: new, admission } = match plan::rebuild(&config, &base) {
            Ok(planned) => planned,
            Err(error) => {
                self.refuse(error);
                return Ok(());
            }
        };
        if same(&old, &new) {
            self.accept();
            return Ok(());
        }
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        for warning in &admission.warnings {
            tracing::warn!("{warning}");
        }
        let new = Arc::new(new);
        self.reload.number += 1;
        let names = Arc::new(dictionary(&self.observed.gateway, &new));
        self.observed.statistics.adopt(&new);
        let next_rings = &self.next_rings;
        let changes = self.floor.adopt(&old, &new, self.reload.number, |executor, ring| {
            // The hub takes them every few milliseconds; where it has ended, so will the gateway.
            let _ = next_rings.send(NextRing { executor, ring, names: names.clone() });
        })?;
        self.observed.set_plan(new.clone());
        self.reload.resting.push((Instant::now(), old.clone()));
        self.admission = admission;
        self.observed.reloads.adopted.fetch_add(1, Relaxed);
        self.accept();
        tracing::info!("new configuration adopted: {}", summary(&old, &new, &changes));
        Ok(())
    }

    fn accept(&self) {
        let reloads = &self.observed.reloads;
        reloads.last_refused.store(false, Relaxed);
        reloads.last_success_utc_ns.store(hub::clock_pair().utc_ns, Relaxed);
        self.observed.health.clear(PART);
    }

    /// The old plan runs on, and everyone is told why.
    fn refuse(&self, why: impl Display) {
        let reloads = &self.observed.reloads;
        reloads.refused.fetch_add(1, Relaxed);
        reloads.last_refused.store(true, Relaxed);
        let why = why.to_string();
        tracing::error!("the new configuration is refused, the old one runs on:\n{why}");
        let text = format!("the files are not what runs; they are refused: {why}");
        self.observed.health.set(PART, Severity::Degraded, text);
    }

    fn tell_of_gateway_file(&mut self, found: &Config) {
        let Reload { config: own, told_of_gateway_file, .. } = &mut self.reload;
        let found = Config { links: Vec::new(), groups: Vec::new(), tags: Vec::new(), ..found.clone() };
        let differs = *own != found;
        if differs && !*told_of_gateway_file {
            tracing::warn!("fieldbeat.toml has changed: that takes effect when the gateway is started again");
        }
        *told_of_gateway_file = differs;
    }
}

/// Whether a new plan is the old one.
fn same(old: &Plan, new: &Plan) -> bool {
    let releases = |plan: &Plan| plan.executors.iter().map(|e| e.releases.clone()).collect::<Vec<_>>();
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
