//! What must hold of a source's lane: what it gave comes in the order in which it gave it and as it was, or is counted as
//! dropped or suppressed; and the image has what it gave last, of which backfill is no part.

use std::collections::{BTreeMap, VecDeque};

use super::super::broken::{Broken, Kind};
use super::Books;
use crate::lane::{Counters, Image, Reading};
use crate::plan::{LaneOwner, Plan};
use crate::tag::{LaneId, Sample, Status, TagId, flags};

/// A source's part of the books.
pub(super) struct SourceBooks {
    lane: usize,
    /// Not delivered yet, in order: under which plan, and what.
    given: VecDeque<(usize, Sample)>,
    /// How many there ever were, of these backfill, and how many of all were delivered.
    made: u64,
    backfill: u64,
    delivered: u64,
    /// What the image must have.
    shown: BTreeMap<TagId, Reading>,
}

impl SourceBooks {
    pub fn of(plan: &Plan) -> Option<SourceBooks> {
        let lane = plan.lanes.iter().position(|lane| matches!(lane.owner, LaneOwner::Source(_)))?;
        let (given, shown) = (VecDeque::new(), BTreeMap::new());
        Some(SourceBooks { lane, given, made: 0, backfill: 0, delivered: 0, shown })
    }
}

impl Books<'_> {
    /// Whether a lane is a source's.
    pub(super) fn is_source(&self, lane: usize) -> bool {
        self.source.as_ref().is_some_and(|source| source.lane == lane)
    }

    /// Samples that a source gave, and of these backfill.
    pub fn given_by_source(&self) -> (u64, u64) {
        self.source.as_ref().map_or((0, 0), |source| (source.made, source.backfill))
    }

    /// The source gives a sample.
    pub fn source_gives(&mut self, sample: Sample) {
        let Some(source) = &mut self.source else { return };
        let generation = self.parts[source.lane].generation;
        source.made += 1;
        if sample.flags & flags::BACKFILL != 0 {
            source.backfill += 1;
        } else {
            let Sample { t, value, status, cycle, .. } = sample;
            source.shown.insert(TagId(sample.tag), Reading { t, value, status, cycle });
        }
        source.given.push_back((generation, sample));
    }

    /// The source has a new status for a tag, whose value is held: there is a sample where that is news.
    pub fn source_holds(&mut self, sample: Sample) {
        let Some(source) = &mut self.source else { return };
        let none = Reading { status: Status::BAD_WAITING_FOR_INITIAL_DATA.0, ..Reading::default() };
        let held = source.shown.entry(TagId(sample.tag)).or_insert(none);
        let status = sample.status();
        if held.status == sample.status || status.is_uncertain() && Status(held.status).is_bad() {
            return;
        }
        (held.status, held.cycle) = (sample.status, sample.cycle);
        let sample = match held.t {
            0 => Sample { value: held.value, flags: flags::HELD | flags::NO_VALUE, ..sample },
            t => Sample { t, value: held.value, ..sample },
        };
        let generation = self.parts[source.lane].generation;
        source.made += 1;
        source.given.push_back((generation, sample));
    }

    /// The source has another plan: of tags that are new, nothing was given yet.
    pub fn source_adopted(&mut self, plan: &Plan) {
        let Some(source) = &mut self.source else { return };
        let lane = LaneId(source.lane as u16);
        let stays = |id: TagId| plan.tags.get(id).is_some_and(|tag| plan.links[tag.link].lane == lane);
        source.shown.retain(|id, _| stays(*id));
    }

    /// A sample of a source comes out of the hub.
    ///
    /// # Errors
    /// It was never given, or not after the one before.
    pub(super) fn of_source(&mut self, generation: usize, sample: &Sample) -> Result<(), Broken> {
        let Some(source) = &mut self.source else { return Ok(()) };
        while let Some(given) = source.given.pop_front() {
            if given == (generation, *sample) {
                source.delivered += 1;
                return Ok(());
            }
        }
        let name = self.generations[generation].names.tag(TagId(sample.tag)).map_or("", |tag| tag.name.as_str());
        let what = format!("tag \"{name}\" (plan {generation}): its source never gave {sample:?}, or gave it earlier");
        Err(Kind::SampleNeverGiven.says(what))
    }

    /// All that the source gave is counted as made.
    pub(super) fn account_of_source(&self, counters: &Counters) -> Result<(), String> {
        let Some(SourceBooks { lane, made, delivered, .. }) = &self.source else { return Ok(()) };
        let counts = &counters.lanes[*lane];
        if counts.produced.get() == *made {
            return Ok(());
        }
        let (counted, dropped) = (counts.produced.get(), counts.dropped.get());
        Err(format!(
            "a source gave {made} samples, {counted} are counted as samples made; {delivered} delivered, {dropped} dropped"
        ))
    }

    /// The image has what the source gave last.
    pub(super) fn shown_of_source(&self, image: &Image) -> Result<(), String> {
        let Some(source) = &self.source else { return Ok(()) };
        // What is new in a plan on its way has its slot already; what has left by it has none any more.
        let newest = &self.generations[self.generations.len() - 1].plan;
        let own = &self.generations[self.parts[source.lane].generation].plan;
        for (id, tag) in own.tags.iter().filter(|(_, tag)| own.links[tag.link].lane.index() == source.lane) {
            if newest.tags.get(id).is_none_or(|new| new.name != tag.name) {
                continue;
            }
            let none = Reading { status: Status::BAD_WAITING_FOR_INITIAL_DATA.0, ..Reading::default() };
            let given = source.shown.get(&id).copied().unwrap_or(none);
            let shown = image.read(id.index()).ok_or("a slot of the image is locked although no thread writes")?;
            if shown != given {
                return Err(format!(
                    "tag \"{}\": the image has {shown:?}, its source gave {given:?} last, backfill apart",
                    tag.name
                ));
            }
        }
        Ok(())
    }
}
