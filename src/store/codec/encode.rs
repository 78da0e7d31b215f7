//! Samples to bytes.

use std::collections::HashMap;

use super::cut::CutBlock;
use super::header::Header;
use super::layout::{Class, Entry, Layout, SeriesTable};
use super::values::{self, Choice, Float32s, Float64s, Words};
use crate::column::put_words;
use crate::tag::{Sample, Stamp};
use crate::wire::{Malformed, put_varint, zigzag};
use crate::{BootId, NamesId};

/// Encodes blocks; keeps its buffers from one to the next.
#[derive(Default)]
pub struct Encoder {
    layouts: Vec<Layout>,
    /// Layout by the hash of its entries; a collision costs a repeated layout, nothing else.
    known: HashMap<u64, u32>,
    table: SeriesTable,
    frames: Vec<Frame>,
    entries: Vec<Entry>,
    float32s: Vec<u32>,
    float64s: Vec<u64>,
    words: Vec<u64>,
    lengths: Vec<u64>,
    body: Vec<u8>,
    choices: [Choice; Class::COUNT],
}

/// What the samples of a frame have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Common {
    t: u64,
    cycle: u32,
    status: u32,
    group: u16,
    flags: u8,
}

impl Common {
    fn of(sample: &Sample) -> Common {
        Common { t: sample.t, cycle: sample.cycle, status: sample.status, group: sample.group, flags: sample.flags }
    }
}

struct Frame {
    common: Common,
    layout: u32,
}

impl Encoder {
    /// Appends the block's bytes to `out`. `names` are stored ones, equal to the block's.
    pub fn encode(
        &mut self,
        out: &mut Vec<u8>,
        block: &CutBlock<'_>,
        boot: BootId,
        names: NamesId,
        log_samples: u64,
    ) -> Result<(), Malformed> {
        self.find_frames(block);
        self.body.clear();
        put_varint(&mut self.body, self.layouts.len() as u64);
        for layout in &self.layouts {
            layout.put(&mut self.body);
        }
        self.put_frames()?;
        self.gather(block);
        self.put_values()?;
        self.put_payloads(block);
        let times = || self.frames.iter().map(|frame| Stamp(frame.common.t).utc_ns(&block.clock));
        let header = Header {
            boot,
            names,
            lane: block.lane,
            first_sequence: block.first_sequence,
            log_samples,
            samples: block.samples as u32,
            slots: block.slots as u32,
            clock: block.clock,
            drained: block.drained,
            utc_min_ns: times().min().unwrap_or_default(),
            utc_max_ns: times().max().unwrap_or_default(),
        };
        header.put(out, &self.body);
        Ok(())
    }

    /// Splits the samples into frames and names their layouts.
    fn find_frames(&mut self, block: &CutBlock<'_>) {
        self.layouts.clear();
        self.known.clear();
        self.table.clear();
        self.frames.clear();
        self.entries.clear();
        let mut common = None;
        let mut hash = 0u64;
        for (sample, _) in block.iter() {
            let own = Common::of(sample);
            if let Some(common) = common.filter(|common| *common != own) {
                self.close_frame(common, hash);
                hash = 0;
            }
            common = Some(own);
            let entry = Entry::of(sample);
            let key = (entry.tag as u64) << 16 | (entry.ty as u64) << 8 | entry.class as u64;
            hash = (hash ^ key).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
            self.entries.push(entry);
        }
        if let Some(common) = common {
            self.close_frame(common, hash);
        }
    }

    fn close_frame(&mut self, common: Common, hash: u64) {
        let hash = hash ^ (common.group as u64) << 48;
        let same = |layout: &Layout| layout.group == common.group && layout.entries == self.entries;
        let layout = match self.known.get(&hash) {
            Some(at) if same(&self.layouts[*at as usize]) => *at,
            _ => {
                let at = self.layouts.len() as u32;
                let series = self.table.enter_all(&self.entries);
                self.layouts.push(Layout { group: common.group, entries: self.entries.clone(), series });
                self.known.insert(hash, at);
                at
            }
        };
        self.table.count(&self.layouts[layout as usize], 1);
        self.frames.push(Frame { common, layout });
        self.entries.clear();
    }

    fn put_frames(&mut self) -> Result<(), Malformed> {
        let frames = &self.frames;
        put_varint(&mut self.body, frames.len() as u64);
        let mut column: Vec<u64> = Vec::with_capacity(frames.len());

        let mut prediction = Prediction::new(self.layouts.len());
        column.extend(frames.iter().map(|frame| prediction.token(frame.layout)));
        put_words(&mut self.body, &column)?;

        column.clear();
        let mut before = 0u64;
        column.extend(frames.iter().map(|frame| {
            let distance = frame.common.t.wrapping_sub(std::mem::replace(&mut before, frame.common.t));
            zigzag(distance as i64)
        }));
        put_words(&mut self.body, &column)?;

        column.clear();
        let mut cycles = Cycles::new(self.layouts.len());
        column.extend(frames.iter().map(|frame| cycles.token(frame.layout, frame.common.cycle)));
        put_words(&mut self.body, &column)?;

        column.clear();
        column.extend(frames.iter().map(|frame| frame.common.status as u64));
        put_words(&mut self.body, &column)?;

        column.clear();
        column.extend(frames.iter().map(|frame| frame.common.flags as u64));
        put_words(&mut self.body, &column)
    }

    /// Sorts the values by series.
    fn gather(&mut self, block: &CutBlock<'_>) {
        let [float32s, float64s, words, lengths] = self.table.place();
        self.float32s.resize(float32s, 0);
        self.float64s.resize(float64s, 0);
        self.words.resize(words, 0);
        self.lengths.resize(lengths, 0);
        let layouts = &self.layouts;
        let order = self.frames.iter().flat_map(|frame| layouts[frame.layout as usize].series.iter());
        for ((sample, _), series) in block.iter().zip(order) {
            let series = &mut self.table.series[*series as usize];
            match series.class {
                Class::Float32 => self.float32s[series.at] = sample.value as u32,
                Class::Float64 => self.float64s[series.at] = sample.value,
                Class::Word => self.words[series.at] = sample.value,
                Class::Long => self.lengths[series.at] = sample.value,
            }
            series.at += 1;
        }
    }

    fn put_values(&mut self) -> Result<(), Malformed> {
        let (body, table) = (&mut self.body, &self.table);
        let [float32s, float64s, words, lengths] = &mut self.choices;
        values::put::<Float32s>(body, &self.float32s, table.lens(Class::Float32), float32s)?;
        values::put::<Float64s>(body, &self.float64s, table.lens(Class::Float64), float64s)?;
        values::put::<Words>(body, &self.words, table.lens(Class::Word), words)?;
        values::put::<Words>(body, &self.lengths, table.lens(Class::Long), lengths)
    }

    /// Payloads in the order of the samples: 0 repeats the series' last one, else slots + 1, the bytes
    /// without trailing zeros, and how many those are.
    fn put_payloads(&mut self, block: &CutBlock<'_>) {
        if self.lengths.is_empty() {
            return;
        }
        let layouts = &self.layouts;
        let order = self.frames.iter().flat_map(|frame| layouts[frame.layout as usize].series.iter());
        let mut last: HashMap<u32, &[Sample]> = HashMap::new();
        let mut bytes = Vec::new();
        for ((sample, payload), series) in block.iter().zip(order) {
            if !sample.is_long() {
                continue;
            }
            if last.insert(*series, payload) == Some(payload) {
                self.body.push(0);
                continue;
            }
            bytes.clear();
            payload.iter().for_each(|slot| bytes.extend(slot.to_payload()));
            let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            put_varint(&mut self.body, payload.len() as u64 + 1);
            put_varint(&mut self.body, len as u64);
            self.body.extend_from_slice(&bytes[..len]);
        }
    }
}

/// Guesses each frame's layout from the one before it: cycles repeat.
pub struct Prediction {
    /// By layout: what followed it last time.
    next: Vec<u32>,
    last: Option<u32>,
}

impl Prediction {
    pub fn new(layouts: usize) -> Prediction {
        // At first, layouts appear in the order of their numbers.
        Prediction { next: (1..=layouts as u32).collect(), last: None }
    }

    fn guess(&self) -> u32 {
        self.last.map_or(0, |last| self.next[last as usize])
    }

    fn learn(&mut self, layout: u32) {
        if let Some(last) = self.last {
            self.next[last as usize] = layout;
        }
        self.last = Some(layout);
    }

    /// 0 for the guess, else the layout's number + 1.
    fn token(&mut self, layout: u32) -> u64 {
        let token = if self.guess() == layout { 0 } else { layout as u64 + 1 };
        self.learn(layout);
        token
    }

    /// The layout that a token means, if there is such a one.
    pub fn layout(&mut self, token: u64) -> Option<u32> {
        let layout = if token == 0 { self.guess() } else { u32::try_from(token - 1).ok()? };
        if layout as usize >= self.next.len() {
            return None;
        }
        self.learn(layout);
        Some(layout)
    }
}

/// Guesses each frame's cycle: one more than its layout's last.
pub struct Cycles {
    /// By layout.
    last: Vec<Option<u32>>,
    any: u32,
}

impl Cycles {
    pub fn new(layouts: usize) -> Cycles {
        Cycles { last: vec![None; layouts], any: 0 }
    }

    fn guess(&self, layout: u32) -> u32 {
        self.last[layout as usize].map_or(self.any, |cycle| cycle.wrapping_add(1))
    }

    fn learn(&mut self, layout: u32, cycle: u32) {
        self.last[layout as usize] = Some(cycle);
        self.any = cycle;
    }

    fn token(&mut self, layout: u32, cycle: u32) -> u64 {
        let token = zigzag(cycle.wrapping_sub(self.guess(layout)) as i32 as i64);
        self.learn(layout, cycle);
        token
    }

    /// The cycle that a token means; `layout` is in range.
    pub fn cycle(&mut self, layout: u32, token: u64) -> u32 {
        let cycle = self.guess(layout).wrapping_add(crate::wire::unzigzag(token) as u32);
        self.learn(layout, cycle);
        cycle
    }
}
