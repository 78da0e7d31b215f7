//! What the image must show of what devices gave: at once, and not for longer than it is true.

use super::super::given::{CAUSED, Given};
use super::{Books, EXCHANGE_KEPT_NS, Part};
use crate::plan::{LinkProtocolPlan, TagPlan};
use crate::rt::Image;
use crate::tag::{ExecutorId, LinkId, Status, TagId};

const SECOND: u64 = 1_000_000_000;

impl Books<'_> {
    /// A device gave something to one of this executor's links.
    pub fn given(&mut self, executor: ExecutorId, given: Given) {
        if let Some(bit) = given.trouble().and_then(|status| CAUSED.iter().position(|known| *known == status)) {
            let (current, newest) = (self.parts[executor.index()].generation, self.generations.len() - 1);
            for at in current..=newest {
                for (_, life) in self.generations[at].at(given.link, given.key) {
                    self.tags[life.0].caused |= 1 << bit;
                }
            }
        }
        let kept = self.parts[executor.index()].given.entry((given.link, given.key)).or_default();
        while kept.front().is_some_and(|old| old.received + EXCHANGE_KEPT_NS < given.received) {
            kept.pop_front();
        }
        kept.push_back(given);
    }

    /// The image has what came last, and nothing in it is said to be good that is older than it may be.
    ///
    /// # Errors
    /// The first tag of which that does not hold.
    pub fn shown(&self, executor: ExecutorId, image: &Image, now: u64) -> Result<(), String> {
        let under = self.generation(executor.index());
        let part = &self.parts[executor.index()];
        let own = |link: LinkId| under.plan.links[link].executor == executor;
        for (id, tag) in under.plan.tags.iter().filter(|(id, tag)| under.key(*id) != 0 && own(tag.link)) {
            let shown = image.read(id.index()).ok_or("a slot of the image is locked though nobody writes")?;
            if let Some(last) = last_given(part, tag.link, under.key(id)) {
                let is_there = match last.trouble() {
                    None => shown.t_mono_ns >= last.from,
                    Some(_) => Status(shown.status).is_bad(),
                };
                if !is_there {
                    return Err(format!("tag \"{}\": the device gave {last:?}, the image has {shown:?}", tag.name));
                }
            }
            let oldest = self.oldest(executor.index(), id, tag);
            if self.scenario.is_calm() && Status(shown.status).is_good() && shown.t_mono_ns + oldest < now {
                return Err(format!(
                    "tag \"{}\" is said to be good, and is {} ms old, allowed are {}: {shown:?}",
                    tag.name,
                    (now - shown.t_mono_ns) / 1_000_000,
                    oldest / 1_000_000
                ));
            }
        }
        Ok(())
    }

    /// How old a good value may be, at most.
    fn oldest(&self, executor: usize, _id: TagId, tag: &TagPlan) -> u64 {
        let under = self.generation(executor);
        match &under.plan.links[tag.link].protocol {
            // Three timeouts until a thread is given up, in which it is asked for nothing else; before that, one write
            // and one request of each scan may have taken as long.
            LinkProtocolPlan::Bus(bus) => {
                let waits = (bus.requests.len() as u64 + 1) * 6 * bus.config.timeout.0;
                under.plan.groups[tag.group].period.0 * 2 + waits + SECOND
            }
            _ => u64::MAX / 2,
        }
    }
}

/// What the link took last from a place, under the plan that it has, if it must be shown.
fn last_given(part: &Part, link: LinkId, key: u64) -> Option<&Given> {
    let adopted = part.adopted.last().map_or(0, |(_, at)| *at);
    part.given.get(&(link, key))?.back().filter(|given| given.required && given.received > adopted)
}
