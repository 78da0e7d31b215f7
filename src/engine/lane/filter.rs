//! Report by exception: which samples are reported, and which are suppressed as unchanged.
//!
//! A sample is told when its status is another than that of the last one that was told; when its value is further from
//! that one's than the deadband; or when the next reading would come too late for the tag's longest silence. That is the
//! trigger STATUS_VALUE of OPC 10000-4, section 7.22.2: a status passes whatever the deadband, NaN is told when it comes
//! and when it goes, and of an array one element that leaves the deadband tells all of it. What comes first, after the
//! start or after a loss, is told.
//!
//! An executor has one table before its ring, the hub one for each ring. All memory is there from the start.

use crate::plan::{Plan, Reporting, Suppress};
use crate::tag::{Id, LaneId, LinkId, Nanos, Sample, ScalarType, TagId, ValueType, flags};

/// No place in a table.
const NONE: u32 = u32::MAX;

/// What becomes of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Tell,
    /// Before it, one that was kept.
    TellAfter(Sample),
    /// And one that was kept is given up: count one suppressed.
    TellInstead,
    /// Count one suppressed: this one, or the one that was kept until now.
    Suppress,
    /// It is kept; what becomes of it is not yet known, and nothing is counted.
    Keep,
}

/// What was told last of the tags that are told by exception. Owned by one thread.
#[derive(Default)]
pub struct ReportFilter {
    /// By tag id: the place in `states`, or [`NONE`]. Empty while no tag is told by exception.
    places: Box<[u32]>,
    states: Box<[State]>,
    /// The long values that were told last, one behind the other.
    long: Box<[u8]>,
    /// By state: where the table before has the same.
    from: Box<[u32]>,
    /// What a state says was told counts only while it has this number.
    epoch: u32,
}

/// Of one tag: its rule, and what was told last. One cache line.
#[repr(align(64))]
struct State {
    /// A sample that is later than the last one by more than this is told.
    quiet_max: u64,
    /// The deadband, by the type: the bits of a float64, or whole units.
    deadband: u64,
    epoch: u32,
    status: u32,
    t: u64,
    value: u64,
    memory: Memory,
}

/// What a tag keeps beside its last value.
#[derive(Clone, Copy)]
enum Memory {
    Nothing,
    /// The last sample that was held back is to be kept; there is none.
    Empty,
    Kept {
        t: u64,
        value: u64,
        cycle: u32,
        group: u16,
    },
    /// A long value was told, and its bytes begin here.
    Long {
        at: u32,
    },
}

const _: () = assert!(size_of::<State>() == 64);

impl ReportFilter {
    /// For the tags of `executor` that are told by exception at this place.
    pub fn new(lane: LaneId, place: Suppress, plan: &Plan) -> ReportFilter {
        let mut rules = rules(lane, place, plan).peekable();
        if rules.peek().is_none() {
            return ReportFilter::default();
        }
        let mut places = vec![NONE; plan.tags.end()].into_boxed_slice();
        let mut long_bytes = 0;
        let states: Box<[State]> = rules
            .enumerate()
            .map(|(at, (id, reporting))| {
                places[id.index()] = at as u32;
                let ty = plan.tags[id].ty;
                let period = plan.groups[plan.tags[id].group].interval();
                let long_at = long_bytes;
                long_bytes += ty.long_bytes_max().next_multiple_of(8);
                State {
                    quiet_max: quiet_max(reporting.max_silence, period),
                    deadband: deadband_of(reporting.deadband, ty),
                    epoch: 0,
                    status: 0,
                    t: 0,
                    value: 0,
                    memory: match ty.is_long() {
                        true => Memory::Long { at: long_at as u32 },
                        false if reporting.keep_last => Memory::Empty,
                        false => Memory::Nothing,
                    },
                }
            })
            .collect();
        ReportFilter {
            from: vec![NONE; states.len()].into_boxed_slice(),
            places,
            states,
            long: vec![0; long_bytes].into_boxed_slice(),
            epoch: 1,
        }
    }

    /// Likewise, to go on where the table of `old` stands once [`ReportFilter::take_over`] is called: tags that stay as
    /// they are, on links that do.
    pub fn following(lane: LaneId, place: Suppress, old: &Plan, new: &Plan) -> ReportFilter {
        let mut table = ReportFilter::new(lane, place, new);
        let links_stay: Vec<bool> = (0..old.links.end())
            .map(LinkId::from_index)
            .map(|id| old.links.contains(id) && old.links.get(id) == new.links.get(id))
            .collect();
        for (before, (id, _)) in rules(lane, place, old).enumerate() {
            let same = |was: TagId| {
                let (Some(a), Some(b)) = (old.tags.get(was), new.tags.get(was)) else { return false };
                let period = |plan: &Plan| plan.groups[plan.tags[was].group].interval();
                (a.ty, a.group, a.reporting) == (b.ty, b.group, b.reporting)
                    && period(old) == period(new)
                    && links_stay[a.link.index()]
            };
            let at = table.places.get(id.index()).copied().filter(|at| *at != NONE && same(id));
            if let Some(from) = at.and_then(|at| table.from.get_mut(at as usize)) {
                *from = before as u32;
            }
        }
        table
    }

    /// Whether every sample is told.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// How many tags it has.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Every stretch of memory that it uses: address and bytes.
    pub fn regions(&self) -> [(*const u8, usize); 4] {
        use super::pages::region_of;
        [region_of(&self.places), region_of(&self.states), region_of(&self.long), region_of(&self.from)]
    }

    #[inline]
    fn place(&self, tag: u32) -> Option<usize> {
        self.places.get(tag as usize).copied().filter(|at| *at != NONE).map(|at| at as usize)
    }

    /// What becomes of a sample that has no long value. When it is told, the next is judged by it.
    #[inline]
    pub fn judge(&mut self, sample: &Sample) -> Verdict {
        let Some(at) = self.place(sample.tag) else { return Verdict::Tell };
        let state = &mut self.states[at];
        let news = state.epoch != self.epoch
            || sample.status != state.status
            || sample.flags & flags::HELD != 0
            || is_outside(sample.ty, state.deadband, state.value, sample.value);
        if news || state.is_overdue(sample.t) {
            let verdict = state.verdict_with_kept(news, sample);
            state.tell(sample, self.epoch);
            verdict
        } else {
            state.hold_back(sample)
        }
    }

    /// What becomes of a sample with the bytes of a long value.
    pub fn judge_long(&mut self, sample: &Sample, bytes: &[u8]) -> Verdict {
        let Some(at) = self.place(sample.tag) else { return Verdict::Tell };
        let state = &mut self.states[at];
        let Memory::Long { at } = state.memory else { return Verdict::Tell };
        let room = self.long.get_mut(at as usize..).unwrap_or_default();
        let told = room.get(..state.value as usize).unwrap_or_default();
        let news = state.epoch != self.epoch
            || sample.status != state.status
            || sample.flags & flags::HELD != 0
            || is_outside_long(sample.ty, state.deadband, told, bytes);
        if !news && !state.is_overdue(sample.t) {
            return Verdict::Suppress;
        }
        match room.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                state.tell(sample, self.epoch);
            }
            // Longer than its type allows: nothing to compare the next with.
            None => state.epoch = 0,
        }
        Verdict::Tell
    }

    /// What was told of this tag has been lost: its next sample is told.
    #[inline]
    pub fn forget(&mut self, tag: u32) {
        if let Some(at) = self.place(tag) {
            self.states[at].epoch = 0;
        }
    }

    /// Something that was told has been lost: the next sample of every tag is told.
    pub fn forget_all(&mut self) {
        self.epoch = self.epoch.wrapping_add(1).max(1);
    }

    /// Goes on where `old` stands, which is the table of the plan before. A step for each tag.
    pub fn take_over(&mut self, old: &mut ReportFilter) {
        for (state, from) in self.states.iter_mut().zip(&self.from) {
            let Some(before) = old.states.get_mut(*from as usize) else { continue };
            match (&mut state.memory, &mut before.memory) {
                (Memory::Long { at }, Memory::Long { at: before_at }) => {
                    let bytes = before.value as usize;
                    let told = old.long.get(*before_at as usize..).and_then(|long| long.get(..bytes));
                    let room = self.long.get_mut(*at as usize..).and_then(|long| long.get_mut(..bytes));
                    let (Some(told), Some(room)) = (told, room) else { continue };
                    room.copy_from_slice(told);
                }
                (memory, before @ Memory::Kept { .. }) => *memory = std::mem::replace(before, Memory::Empty),
                _ => {}
            }
            let counts = before.epoch == old.epoch;
            (state.epoch, state.status) = (if counts { self.epoch } else { 0 }, before.status);
            (state.t, state.value) = (before.t, before.value);
        }
    }

    /// Gives up what is kept: the group of each goes to `suppressed`.
    pub fn give_up(&mut self, mut suppressed: impl FnMut(u16)) {
        for state in &mut self.states {
            if let Memory::Kept { group, .. } = state.memory {
                state.memory = Memory::Empty;
                suppressed(group);
            }
        }
    }
}

impl State {
    #[inline]
    fn is_overdue(&self, t: u64) -> bool {
        t.saturating_sub(self.t) > self.quiet_max
    }

    #[inline]
    fn tell(&mut self, sample: &Sample, epoch: u32) {
        (self.epoch, self.status, self.t, self.value) = (epoch, sample.status, sample.t, sample.value);
        if let Memory::Kept { .. } = self.memory {
            self.memory = Memory::Empty;
        }
    }

    /// A sample is told: and what was kept until now?
    #[inline]
    fn verdict_with_kept(&self, news: bool, sample: &Sample) -> Verdict {
        match self.memory {
            // It has the status of the last one that was told: another would have been told itself.
            Memory::Kept { t, value, cycle, .. } if news => {
                Verdict::TellAfter(Sample { t, value, cycle, status: self.status, flags: 0, ..*sample })
            }
            Memory::Kept { .. } => Verdict::TellInstead,
            _ => Verdict::Tell,
        }
    }

    #[inline]
    fn hold_back(&mut self, sample: &Sample) -> Verdict {
        let Sample { t, value, cycle, group, .. } = *sample;
        match self.memory {
            Memory::Empty => {
                self.memory = Memory::Kept { t, value, cycle, group };
                Verdict::Keep
            }
            Memory::Kept { .. } => {
                self.memory = Memory::Kept { t, value, cycle, group };
                Verdict::Suppress
            }
            _ => Verdict::Suppress,
        }
    }
}

/// The tags of an executor that are told by exception at this place, ascending.
fn rules(lane: LaneId, place: Suppress, plan: &Plan) -> impl Iterator<Item = (TagId, Reporting)> {
    let all = plan.tags.iter().filter_map(|(id, tag)| Some((id, tag.link, tag.reporting?)));
    let own = all.filter(move |(_, link, reporting)| plan.links[*link].lane == lane && reporting.suppress == place);
    own.map(|(id, _, reporting)| (id, reporting))
}

/// How long after a sample that was told the next ones may be held back, so that one that comes a period later, and
/// half a period late, still keeps the longest silence.
fn quiet_max(max_silence: Nanos, period: Nanos) -> u64 {
    max_silence.0.saturating_sub(period.0 + period.0 / 2)
}

fn element_of(ty: ValueType) -> Option<ScalarType> {
    match ty {
        ValueType::Scalar(of) | ValueType::Array { of, .. } => Some(of),
        ValueType::Text { .. } => None,
    }
}

fn deadband_of(deadband: f64, ty: ValueType) -> u64 {
    match element_of(ty) {
        Some(ScalarType::Float32 | ScalarType::Float64) => deadband.to_bits(),
        // Whole numbers are further apart than 0.7 exactly when they are further apart than 0.
        Some(_) => deadband as u64,
        None => 0,
    }
}

/// Whether `value` is further from `told` than the deadband; of the type with this code.
#[inline]
fn is_outside(ty: u8, deadband: u64, told: u64, value: u64) -> bool {
    if told == value {
        return false;
    }
    match ty & !ValueType::ARRAY_CODE {
        code if code == ScalarType::Float32 as u8 => {
            let number = |bits: u64| f64::from(f32::from_bits(bits as u32));
            is_apart(f64::from_bits(deadband), number(told), number(value))
        }
        code if code == ScalarType::Float64 as u8 => {
            is_apart(f64::from_bits(deadband), f64::from_bits(told), f64::from_bits(value))
        }
        code if code == ScalarType::Int16 as u8
            || code == ScalarType::Int32 as u8
            || code == ScalarType::Int64 as u8 =>
        {
            (told as i64).abs_diff(value as i64) > deadband
        }
        _ => told.abs_diff(value) > deadband,
    }
}

/// NaN is one value; an infinity is apart from all but itself.
#[inline]
fn is_apart(deadband: f64, told: f64, value: f64) -> bool {
    let near = (told - value).abs() <= deadband || told == value || told.is_nan() && value.is_nan();
    !near
}

fn is_outside_long(ty: u8, deadband: u64, told: &[u8], bytes: &[u8]) -> bool {
    if told == bytes {
        return false;
    }
    if ty & ValueType::ARRAY_CODE == 0 || told.len() != bytes.len() {
        return true;
    }
    let word = |chunk: &[u8]| {
        let mut word = [0u8; 8];
        word.copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    let elements = told.chunks_exact(8).zip(bytes.chunks_exact(8));
    elements.into_iter().any(|(told, new)| is_outside(ty, deadband, word(told), word(new)))
}

#[cfg(test)]
mod tests;
