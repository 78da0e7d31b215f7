//! Columns of values: several series of numbers, one after the other.
//!
//! A column is written in one of two ways: each value as the distance from the one before it in its series
//! (of floats: between their places in the order of all floats), or as it is, when pco finds a better
//! pattern, as it does for floats that are multiples of a step.

use pco::data_types::Number;

use crate::column::{Shape, packed, put_packed};
use crate::wire::{Malformed, Reader};

const DISTANCES: u8 = 0;
const DIRECT: u8 = 1;

/// A kind of value that stands in columns.
pub trait Kind {
    /// Raw bits.
    type Bits: Copy + Default;
    /// What distances are made of.
    type Ordered: Number;
    /// What pco sees when it is given the values as they are.
    type Direct: Number;

    fn distance(from: Self::Bits, to: Self::Bits) -> Self::Ordered;
    fn step(from: Self::Bits, distance: Self::Ordered) -> Self::Bits;
    fn direct(bits: Self::Bits) -> Self::Direct;
    fn bits(direct: Self::Direct) -> Self::Bits;
}

/// Maps the bits of a float32 to integers in the same order as the floats; its own inverse.
fn ordered32(bits: u32) -> u32 {
    bits ^ (((bits as i32) >> 31) as u32 >> 1)
}

fn ordered64(bits: u64) -> u64 {
    bits ^ (((bits as i64) >> 63) as u64 >> 1)
}

/// Bits of float32.
pub struct Float32s;

impl Kind for Float32s {
    type Bits = u32;
    type Ordered = i32;
    type Direct = f32;

    fn distance(from: u32, to: u32) -> i32 {
        ordered32(to).wrapping_sub(ordered32(from)) as i32
    }

    fn step(from: u32, distance: i32) -> u32 {
        ordered32(ordered32(from).wrapping_add(distance as u32))
    }

    fn direct(bits: u32) -> f32 {
        f32::from_bits(bits)
    }

    fn bits(direct: f32) -> u32 {
        direct.to_bits()
    }
}

/// Bits of float64.
pub struct Float64s;

impl Kind for Float64s {
    type Bits = u64;
    type Ordered = i64;
    type Direct = f64;

    fn distance(from: u64, to: u64) -> i64 {
        ordered64(to).wrapping_sub(ordered64(from)) as i64
    }

    fn step(from: u64, distance: i64) -> u64 {
        ordered64(ordered64(from).wrapping_add(distance as u64))
    }

    fn direct(bits: u64) -> f64 {
        f64::from_bits(bits)
    }

    fn bits(direct: f64) -> u64 {
        direct.to_bits()
    }
}

/// Integers, bools, lengths.
pub struct Words;

impl Kind for Words {
    type Bits = u64;
    type Ordered = i64;
    type Direct = i64;

    fn distance(from: u64, to: u64) -> i64 {
        to.wrapping_sub(from) as i64
    }

    fn step(from: u64, distance: i64) -> u64 {
        from.wrapping_add(distance as u64)
    }

    fn direct(bits: u64) -> i64 {
        bits as i64
    }

    fn bits(direct: i64) -> u64 {
        direct as u64
    }
}

/// Which way of writing a column won last time; both are tried every so often.
#[derive(Debug, Default)]
pub struct Choice {
    blocks: u32,
    direct: bool,
}

/// Blocks between trials of both ways.
const TRIAL_EVERY: u32 = 16;

/// Appends a column that consists of series of the lengths `lens`.
pub fn put<K: Kind>(
    out: &mut Vec<u8>,
    values: &[K::Bits],
    lens: impl Iterator<Item = usize> + Clone,
    choice: &mut Choice,
) -> Result<(), Malformed> {
    if values.is_empty() {
        return Ok(());
    }
    let start = out.len();
    let trial = choice.blocks.is_multiple_of(TRIAL_EVERY);
    choice.blocks = choice.blocks.wrapping_add(1);
    if trial || choice.direct {
        out.push(DIRECT);
        let direct: Vec<K::Direct> = values.iter().map(|bits| K::direct(*bits)).collect();
        put_packed(out, &direct, Shape::Series)?;
    }
    let direct_end = out.len();
    if trial || !choice.direct {
        out.push(DISTANCES);
        put_distances::<K>(out, values, lens)?;
    }
    if trial {
        choice.direct = direct_end - start <= out.len() - direct_end;
        if choice.direct { out.truncate(direct_end) } else { drop(out.drain(start..direct_end)) }
    }
    Ok(())
}

fn put_distances<K: Kind>(
    out: &mut Vec<u8>,
    values: &[K::Bits],
    lens: impl Iterator<Item = usize>,
) -> Result<(), Malformed> {
    let mut firsts = Vec::new();
    let mut rest = Vec::with_capacity(values.len());
    let mut at = 0;
    for len in lens {
        let series = &values[at..at + len];
        at += len;
        if let Some(first) = series.first() {
            firsts.push(K::distance(K::Bits::default(), *first));
        }
        rest.extend(series.windows(2).map(|pair| K::distance(pair[0], pair[1])));
    }
    put_packed(out, &firsts, Shape::Plain)?;
    put_packed(out, &rest, Shape::Plain)
}

/// Reads a column of `len` values that consists of series of the lengths `lens`, whose sum is `len`.
pub fn read<K: Kind>(
    reader: &mut Reader<'_>,
    len: usize,
    lens: impl Iterator<Item = usize> + Clone,
) -> Result<Vec<K::Bits>, Malformed> {
    if len == 0 {
        return Ok(Vec::new());
    }
    match reader.u8()? {
        DIRECT => Ok(packed::<K::Direct>(reader, len)?.into_iter().map(K::bits).collect()),
        DISTANCES => {
            let series = lens.clone().filter(|len| *len > 0).count();
            let mut firsts = packed::<K::Ordered>(reader, series)?.into_iter();
            let mut rest = packed::<K::Ordered>(reader, len - series)?.into_iter();
            let mut values = Vec::with_capacity(len);
            for len in lens.filter(|len| *len > 0) {
                let mut value = K::Bits::default();
                for distance in firsts.by_ref().take(1).chain(rest.by_ref().take(len - 1)) {
                    value = K::step(value, distance);
                    values.push(value);
                }
            }
            Ok(values)
        }
        _ => Err(Malformed("a column of values of an unknown kind")),
    }
}
