//! The fuzzers' corpora, and seeded changes of them, for a few seconds: no input makes any reader panic. Longer runs are
//! cargo-fuzz's, under `fuzz/`; what it finds goes into the corpora.
//!
//! `SEED` and `RUNS` choose another sequence and another number of changes of each target.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fieldbeat::fuzz::TARGETS;
use fieldbeat::store::codec::{Encoder, HEADER_BYTES, cut};
use fieldbeat::store::{BootId, NamesId};
use fieldbeat::tag::Batch;
use fieldbeat::tag::{ClockPair, LaneId, Nanos, Sample, ScalarType, flags};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The files of one corpus in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(corpora().join(name)).unwrap().map(|file| file.unwrap().path());
    files.collect::<BTreeSet<PathBuf>>().into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Some changes of one input, with pieces of others.
fn changed(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    const TELLING: [&[u8]; 14] = [
        b"\0",
        b"\xff",
        b"\x7f",
        b"\x80",
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"-1",
        b"1e999",
        b"99999999999999999999",
        b"\"",
        b"{",
        b"[[[[[[[[",
        b"\n",
        "°".as_bytes(),
    ];
    let mut bytes = corpus[random.usize(..corpus.len())].clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..12)).min(bytes.len());
        match random.u8(..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => drop(bytes.splice(at..end, TELLING[random.usize(..TELLING.len())].iter().copied())),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let piece = bytes[at..end].repeat(random.usize(1..40));
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &corpus[random.usize(..corpus.len())];
                let from = random.usize(..=other.len());
                let to = (from + random.usize(..64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

/// Feeds one input; on a panic the input stands in a file, for the corpus.
fn feed(name: &str, target: fn(&[u8]), bytes: &[u8], what: &str) {
    if catch_unwind(|| target(bytes)).is_err() {
        let path = std::env::temp_dir().join(format!("fieldbeat-fuzz-{name}"));
        std::fs::write(&path, bytes).unwrap();
        panic!("{name}: {what} panics; it is in {}", path.display());
    }
}

#[test]
fn no_input_and_no_change_of_one_makes_a_reader_panic() {
    let (seed, runs) = (setting("SEED", 20_261_130), setting("RUNS", 3_000));
    println!("SEED={seed} RUNS={runs}");
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for bytes in &corpus {
            feed(name, target, bytes, "an input of its corpus");
        }
        feed(name, target, b"", "nothing");
        let mut random = fastrand::Rng::with_seed(seed);
        for run in 0..runs {
            feed(name, target, &changed(&corpus, &mut random), &format!("change {run} of seed {seed}"));
        }
    }
}

#[test]
fn each_target_has_its_program_and_each_corpus_its_target() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found = |path: &str, end: &str| -> BTreeSet<String> {
        let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        files.map(|file| file.unwrap().file_name().to_string_lossy().trim_end_matches(end).to_owned()).collect()
    };
    assert_eq!(found("fuzz/corpus", ""), names);
    assert_eq!(found("fuzz/fuzz_targets", ".rs"), names);
    let manifest = std::fs::read_to_string(corpora().join("../Cargo.toml")).unwrap();
    assert!(names.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))));
}

/// A few samples of several kinds, one of them a text of two slots.
fn slots() -> Vec<Sample> {
    let mut slots = Vec::new();
    for cycle in 0..6u32 {
        for tag in 0..4u32 {
            let ty = [ScalarType::Float32, ScalarType::Float64, ScalarType::Uint64, ScalarType::Bool][tag as usize];
            let value = [u64::from((cycle as f32 * 0.37).to_bits()), (f64::from(cycle) * 0.1).to_bits(), 1 << cycle, 1];
            slots.push(Sample {
                t: u64::from(cycle) * 10_000_000,
                value: value[tag as usize],
                tag,
                status: if tag == 3 { 0x408F_0000 } else { 0 },
                cycle,
                group: (tag % 2) as u16,
                ty: ty as u8,
                flags: 0,
            });
        }
    }
    let text = b"a text that is longer than one slot holds, as recipes have them";
    slots.push(Sample { flags: flags::LONG, value: text.len() as u64, tag: 4, cycle: 6, ..slots[0] });
    slots.extend(text.chunks(Sample::PAYLOAD_BYTES).map(Sample::from_payload));
    slots
}

/// As the encoder writes it now; after a change of the format, `BLESS=1` writes the corpus anew.
#[test]
fn the_corpus_of_blocks_is_of_the_format_that_is_written() {
    let slots = slots();
    let clock = ClockPair { mono: Nanos(5), utc_ns: 7 };
    let (lane, drained, names) = (LaneId(3), Nanos(1 << 40), Arc::default());
    let mut batch = Batch { lane, first_sequence: 1 << 40, samples: 0, slots, clock, drained, names };
    batch.samples = batch.iter().count() as u32;
    let batches = [Arc::new(batch)];
    let cut = cut(&batches);
    let block = &cut.blocks[0];
    let mut whole = Vec::new();
    Encoder::default().encode(&mut whole, block, BootId(9), NamesId(4), 11).unwrap();
    let counts = [block.samples as u16, (block.slots - block.samples) as u16];
    let body = [&counts.map(u16::to_le_bytes).concat(), &whole[HEADER_BYTES..]].concat();
    let folder = corpora().join("journal_blocks");
    for (name, bytes) in [("block", whole), ("body", body)] {
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), &bytes).unwrap();
        }
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), bytes, "{name}");
    }
}
