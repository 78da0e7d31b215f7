//! Layouts: the sequences of tags that frames repeat, and the series of values they feed.

use std::collections::HashMap;

use crate::limits::BLOCK_SAMPLES_MAX;
use crate::tag::{Sample, ScalarType};
use crate::wire::{Malformed, Reader, put_varint, unzigzag, zigzag};

/// What kind of numbers a series holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// 32 bits of a float32.
    Float32 = 0,
    /// 64 bits of a float64.
    Float64 = 1,
    /// Everything else that fits a sample.
    Word = 2,
    /// A length in bytes, and payload slots.
    Long = 3,
}

impl Class {
    pub const COUNT: usize = 4;

    pub fn of(sample: &Sample) -> Class {
        const FLOAT32: u8 = ScalarType::Float32 as u8;
        const FLOAT64: u8 = ScalarType::Float64 as u8;
        match sample.ty {
            _ if sample.is_long() => Class::Long,
            FLOAT32 if sample.value >> 32 == 0 => Class::Float32,
            FLOAT64 => Class::Float64,
            _ => Class::Word,
        }
    }

    fn from_code(code: u8) -> Result<Class, Malformed> {
        match code {
            0 => Ok(Class::Float32),
            1 => Ok(Class::Float64),
            2 => Ok(Class::Word),
            3 => Ok(Class::Long),
            _ => Err(Malformed("an unknown class of values")),
        }
    }
}

/// One place in a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub tag: u32,
    pub ty: u8,
    pub class: Class,
}

impl Entry {
    pub fn of(sample: &Sample) -> Entry {
        Entry { tag: sample.tag, ty: sample.ty, class: Class::of(sample) }
    }
}

/// A frame's samples without their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub group: u16,
    pub entries: Vec<Entry>,
    /// Of each entry: index into [`SeriesTable::series`].
    pub series: Vec<u32>,
}

impl Layout {
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.group as u64);
        put_varint(out, self.entries.len() as u64);
        // Tags count up by one over long stretches.
        let mut expected = 0u32;
        for run in self.entries.chunk_by(|a, b| a.tag.wrapping_add(1) == b.tag) {
            put_varint(out, zigzag(run[0].tag.wrapping_sub(expected) as i32 as i64));
            put_varint(out, run.len() as u64);
            expected = run[0].tag.wrapping_add(run.len() as u32);
        }
        for run in self.entries.chunk_by(|a, b| (a.ty, a.class) == (b.ty, b.class)) {
            out.extend([run[0].ty, run[0].class as u8]);
            put_varint(out, run.len() as u64);
        }
    }

    /// Reads a layout of at most `entries_max` entries.
    pub fn read(reader: &mut Reader<'_>, entries_max: usize, table: &mut SeriesTable) -> Result<Layout, Malformed> {
        const LENGTH: &str = "a layout's length";
        let group = u16::try_from(reader.varint()?).map_err(|_| Malformed("a group's number"))?;
        let len = reader.count(entries_max.min(BLOCK_SAMPLES_MAX), LENGTH)?;
        let mut entries = Vec::with_capacity(len);
        let mut expected = 0u32;
        while entries.len() < len {
            let first = expected.wrapping_add(unzigzag(reader.varint()?) as u32);
            let run = reader.count(len - entries.len(), LENGTH)?;
            if run == 0 {
                return Err(Malformed(LENGTH));
            }
            let tags = (0..run as u32).map(|i| first.wrapping_add(i));
            entries.extend(tags.map(|tag| Entry { tag, ty: 0, class: Class::Word }));
            expected = first.wrapping_add(run as u32);
        }
        let mut typed = 0;
        while typed < len {
            let (ty, class) = (reader.u8()?, Class::from_code(reader.u8()?)?);
            let run = reader.count(len - typed, LENGTH)?;
            if run == 0 {
                return Err(Malformed(LENGTH));
            }
            for entry in &mut entries[typed..typed + run] {
                (entry.ty, entry.class) = (ty, class);
            }
            typed += run;
        }
        let series = table.enter_all(&entries);
        Ok(Layout { group, entries, series })
    }
}

/// The values of one tag in one class, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    pub class: Class,
    pub len: usize,
    /// Where the next value stands in the class's column.
    pub at: usize,
}

/// Series in the order in which layouts first name them; columns hold them in this order.
#[derive(Debug, Default)]
pub struct SeriesTable {
    pub series: Vec<Series>,
    known: HashMap<(u32, Class), u32>,
}

impl SeriesTable {
    pub fn enter_all(&mut self, entries: &[Entry]) -> Vec<u32> {
        let mut enter = |entry: &Entry| {
            *self.known.entry((entry.tag, entry.class)).or_insert_with(|| {
                self.series.push(Series { class: entry.class, len: 0, at: 0 });
                self.series.len() as u32 - 1
            })
        };
        entries.iter().map(&mut enter).collect()
    }

    /// Counts `frames` frames of `layout`.
    pub fn count(&mut self, layout: &Layout, frames: usize) {
        for series in &layout.series {
            self.series[*series as usize].len += frames;
        }
    }

    /// Gives each series its place in its class's column, and returns the columns' lengths.
    pub fn place(&mut self) -> [usize; Class::COUNT] {
        let mut lens = [0; Class::COUNT];
        for series in &mut self.series {
            let len = &mut lens[series.class as usize];
            series.at = *len;
            *len += series.len;
        }
        lens
    }

    /// The lengths of a class's series, one after the other.
    pub fn lens(&self, class: Class) -> impl Iterator<Item = usize> + Clone {
        self.series.iter().filter(move |series| series.class == class).map(|series| series.len)
    }

    pub fn clear(&mut self) {
        self.series.clear();
        self.known.clear();
    }
}
