//! Bytes to samples. The bytes are not trusted: every count is checked before anything is sized by it.

use std::collections::HashMap;
use std::sync::Arc;

use super::encode::{Cycles, Prediction};
use super::header::Header;
use super::layout::{Class, Layout, SeriesTable};
use super::values::{self, Float32s, Float64s, Words};
use crate::column::words;
use crate::tag::Batch;
use crate::tag::{Dictionary, Sample};
use crate::wire::{Malformed, Reader, unzigzag};

/// Reads a block, whose header refers to `names`. Needs at most about 100 bytes a slot of [`crate::limits::BLOCK_SLOTS_MAX`] while it runs,
/// whatever the bytes say.
pub fn decode(bytes: &[u8], names: Arc<Dictionary>) -> Result<(Header, Batch), Malformed> {
    let (header, body) = Header::read_with_body(bytes)?;
    let slots = decode_body(body, header.samples as usize, header.slots as usize)?;
    let batch = Batch {
        lane: header.lane,
        first_sequence: header.first_sequence,
        samples: header.samples,
        slots,
        clock: header.clock,
        drained: header.drained,
        names,
    };
    Ok((header, batch))
}

/// Reads a body of `samples` samples in `slots` slots, both within their limits.
pub(super) fn decode_body(body: &[u8], samples: usize, slots: usize) -> Result<Vec<Sample>, Malformed> {
    let mut reader = Reader::new(body);
    let mut table = SeriesTable::default();
    let layouts = read_layouts(&mut reader, samples, &mut table)?;
    let frames = read_frames(&mut reader, samples, &layouts, &mut table)?;
    let [float32s, float64s, words, lengths] = table.place();
    let float32s = values::read::<Float32s>(&mut reader, float32s, table.lens(Class::Float32))?;
    let float64s = values::read::<Float64s>(&mut reader, float64s, table.lens(Class::Float64))?;
    let words = values::read::<Words>(&mut reader, words, table.lens(Class::Word))?;
    let lengths = values::read::<Words>(&mut reader, lengths, table.lens(Class::Long))?;

    let mut payloads = Payloads { left: slots - samples, last: HashMap::new() };
    let mut out: Vec<Sample> = Vec::with_capacity(slots);
    for (common, layout) in frames {
        let layout = &layouts[layout as usize];
        for (entry, at) in layout.entries.iter().zip(&layout.series) {
            let series = &mut table.series[*at as usize];
            let value = match series.class {
                Class::Float32 => float32s.get(series.at).map(|bits| *bits as u64),
                Class::Float64 => float64s.get(series.at).copied(),
                Class::Word => words.get(series.at).copied(),
                Class::Long => lengths.get(series.at).copied(),
            };
            series.at += 1;
            let value = value.ok_or(Malformed("a column is too short"))?;
            out.push(Sample { value, tag: entry.tag, ty: entry.ty, group: layout.group, ..common });
            if series.class == Class::Long {
                payloads.read_into(&mut out, *at, &mut reader)?;
            }
        }
    }
    if out.len() == slots && reader.is_empty() { Ok(out) } else { Err(Malformed("the block's counts do not agree")) }
}

/// Each layout is used at least once, so all of them together have no more entries than there are samples.
fn read_layouts(reader: &mut Reader<'_>, samples: usize, table: &mut SeriesTable) -> Result<Vec<Layout>, Malformed> {
    let count = reader.count(samples, "the count of layouts")?;
    let mut left = samples;
    let mut layouts = Vec::with_capacity(count);
    for _ in 0..count {
        let layout = Layout::read(reader, left, table)?;
        if layout.entries.is_empty() {
            return Err(Malformed("an empty layout"));
        }
        left -= layout.entries.len();
        layouts.push(layout);
    }
    Ok(layouts)
}

/// Frames with their layouts; in total they have exactly `samples` samples. Counts them into `table`.
fn read_frames(
    reader: &mut Reader<'_>,
    samples: usize,
    layouts: &[Layout],
    table: &mut SeriesTable,
) -> Result<Vec<(Sample, u32)>, Malformed> {
    let count = reader.count(samples, "the count of frames")?;
    let mut prediction = Prediction::new(layouts.len());
    let tokens = words(reader, count)?;
    let order: Option<Vec<u32>> = tokens.into_iter().map(|token| prediction.layout(token)).collect();
    let order = order.ok_or(Malformed("a layout's number"))?;
    let mut uses = vec![0usize; layouts.len()];
    let mut total = 0usize;
    for layout in &order {
        uses[*layout as usize] += 1;
        total += layouts[*layout as usize].entries.len();
    }
    if total != samples {
        return Err(Malformed("the frames do not have the block's samples"));
    }
    for (layout, uses) in layouts.iter().zip(uses) {
        table.count(layout, uses);
    }
    let times = words(reader, count)?;
    let cycle_tokens = words(reader, count)?;
    let statuses = words(reader, count)?;
    let flags = words(reader, count)?;
    let mut cycles = Cycles::new(layouts.len());
    let mut t = 0u64;
    let mut frames = Vec::with_capacity(count);
    for (i, layout) in order.into_iter().enumerate() {
        t = t.wrapping_add(unzigzag(times[i]) as u64);
        let common = Sample {
            t,
            cycle: cycles.cycle(layout, cycle_tokens[i]),
            status: statuses[i] as u32,
            flags: flags[i] as u8,
            ..Sample::default()
        };
        frames.push((common, layout));
    }
    Ok(frames)
}

/// Reads payload slots, of which the block has only so many.
struct Payloads {
    left: usize,
    /// By series: where its last payload lies in the output, and how many slots it has.
    last: HashMap<u32, (usize, usize)>,
}

impl Payloads {
    fn read_into(&mut self, out: &mut Vec<Sample>, series: u32, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        const LENGTH: &str = "a payload's length";
        let start = out.len();
        let token = reader.count(self.left + 1, LENGTH)?;
        let slots = match token {
            0 => {
                let (at, slots) = *self.last.get(&series).ok_or(Malformed("a payload that repeats nothing"))?;
                if slots > self.left {
                    return Err(Malformed(LENGTH));
                }
                out.extend_from_within(at..at + slots);
                slots
            }
            token => {
                let slots = token - 1;
                let len = reader.count(slots * Sample::PAYLOAD_BYTES, LENGTH)?;
                let bytes = reader.take(len)?;
                out.extend(bytes.chunks(Sample::PAYLOAD_BYTES).map(Sample::from_payload));
                out.resize(start + slots, Sample::from_payload(&[]));
                slots
            }
        };
        self.left -= slots;
        self.last.insert(series, (start, slots));
        Ok(())
    }
}
