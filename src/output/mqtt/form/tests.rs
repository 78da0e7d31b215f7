//! Whatever is interleaved, cut, acknowledged in part and started again: the cursor never passes a sample that
//! was not delivered, and everything is.

mod streams;

use std::collections::HashMap;
use std::sync::Mutex;

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::TagChoice;
use crate::engine::{Gather, GatherSettings, Gathered, Skipped};
use crate::limits::MQTT_MESSAGE_BYTES_MIN;
use crate::store::{Block, BootId, Follow, FollowError, Position};
use crate::tag::{Batch, DictionaryTag, Nanos, Sample, ScalarType};

type MqttGather = Gather<MqttForm>;

const GROUPS: u16 = 3;

#[derive(Default)]
struct Blocks(Mutex<Vec<Block>>);

impl Blocks {
    fn next(&self) -> u64 {
        self.0.lock().unwrap().last().map_or(0, |b| b.index + 1)
    }
}

impl Follow for Blocks {
    fn block_at_or_after(&self, index: u64) -> Result<Option<Block>, FollowError> {
        Ok(self.0.lock().unwrap().iter().find(|b| b.index >= index).cloned())
    }
    fn wait_for(&self, index: u64, _: Duration) -> bool {
        self.next() > index
    }
    fn next_index(&self) -> Result<u64, FollowError> {
        Ok(self.next())
    }
    fn cursor(&self, _: &str) -> Result<Option<Position>, FollowError> {
        Ok(None)
    }
    fn save_cursor(&self, _: &str, _: Position) {}
}

fn dictionary() -> Arc<Dictionary> {
    let tags = (0..9).map(|i| DictionaryTag { name: format!("t{i}"), ..DictionaryTag::default() }).collect();
    let groups = (0..GROUPS).map(|g| format!("g{g}")).collect();
    Arc::new(Dictionary { gateway: "line-4".into(), tags, groups })
}

/// Blocks whose samples lie in the given groups; the value is the sequence number.
fn blocks(shape: &[(u16, Vec<u16>)]) -> Blocks {
    let dictionary = dictionary();
    let mut next = HashMap::<u16, u64>::new();
    let make = |(index, (executor, groups)): (usize, &(u16, Vec<u16>))| {
        let first_sequence = *next.entry(*executor).or_default();
        let slots: Vec<Sample> = (first_sequence..)
            .zip(groups)
            .map(|(sequence, group)| Sample {
                t: index as u64 * 10_000_000,
                value: sequence,
                tag: u32::from(*group),
                group: *group,
                ty: ScalarType::Uint64 as u8,
                cycle: index as u32,
                ..Sample::default()
            })
            .collect();
        *next.entry(*executor).or_default() += slots.len() as u64;
        let batch = Batch {
            lane: LaneId(*executor),
            first_sequence,
            samples: slots.len() as u32,
            slots,
            clock: ClockPair::default(),
            drained: Nanos(index as u64 * 10_000_000),
            names: dictionary.clone(),
        };
        Block { index: index as u64, boot: BootId(1), batch }
    };
    Blocks(Mutex::new(shape.iter().enumerate().map(make).collect()))
}

fn gather(batch_ms: u64, message_bytes_max: usize) -> MqttGather {
    gather_of(TagChoice::default(), batch_ms, message_bytes_max)
}

fn gather_of(choice: TagChoice, batch_ms: u64, message_bytes_max: usize) -> MqttGather {
    let form = MqttForm::new(TopicPer::Group, Topic::new("topic", "{group}", "g").unwrap());
    let settings = GatherSettings::new(Nanos::from_millis(batch_ms), message_bytes_max, u32::MAX);
    Gather::new(form, GatherSettings { choice, ..settings })
}

/// (executor, sequence) of each sample, in order.
fn samples_of(gathered: &Gathered<Message>) -> Vec<(u16, u64)> {
    let json: serde_json::Value = serde_json::from_slice(&gathered.message.payload).unwrap();
    let executor = json["lane"].as_u64().unwrap() as u16;
    let frames = json["frames"].as_array().unwrap().iter();
    let values = frames.flat_map(|f| f["values"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()));
    let mut values: Vec<u64> = values.collect();
    // Keys are sorted when read; the numbers tell the order.
    values.sort_unstable();
    values.into_iter().map(|v| (executor, v)).collect()
}

/// Where each sample lies.
fn positions(blocks: &Blocks) -> HashMap<(u16, u64), Position> {
    let all = blocks.0.lock().unwrap();
    let of = |b: &Block| {
        let at = |(i, s): (usize, crate::tag::BatchSample<'_>)| {
            ((b.batch.lane.0, s.sequence), Position { block: b.index, samples: i as u32 })
        };
        b.batch.iter().enumerate().map(at).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_cursor_passes_only_what_was_delivered(
        shape in prop::collection::vec((0u16..2, prop::collection::vec(0..GROUPS, 1..40)), 1..25),
        batch_ms in prop::sample::select(vec![0u64, 15, 100_000]),
        bytes_max in prop::sample::select(vec![512usize, 1500, 100_000]),
        // After each connection: how many of its messages were acknowledged.
        acknowledged in prop::collection::vec(0usize..12, 0..8),
    ) {
        let source = blocks(&shape);
        let positions = positions(&source);
        let mut gather = gather(batch_ms, bytes_max);
        let mut cursor = None;
        let mut delivered = std::collections::HashSet::new();
        let mut counted = 0;
        for (round, limit) in acknowledged.iter().copied().chain([usize::MAX]).enumerate() {
            gather.restart(cursor, bytes_max);
            let mut newest = HashMap::<(String, u16), u64>::new();
            if limit == usize::MAX {
                gather.flush();
            }
            for _ in 0..limit {
                let Some(message) = gather.next(&source, Instant::now()).unwrap() else { break };
                prop_assert!(message.message.payload.len() <= bytes_max.max(MQTT_MESSAGE_BYTES_MIN));
                for (executor, sequence) in samples_of(&message) {
                    let before = newest.insert((message.message.topic.clone(), executor), sequence);
                    prop_assert!(before.is_none_or(|b| b < sequence), "in order");
                    delivered.insert((executor, sequence));
                }
                if cursor.is_none_or(|c| c < message.covers) {
                    cursor = Some(message.covers);
                    counted += gather.passed(message.covers).samples;
                }
                let passed = positions.iter().filter(|(_, p)| cursor.is_some_and(|c| **p < c));
                for (sample, _) in passed.clone() {
                    prop_assert!(delivered.contains(sample), "round {}: {:?} is before the cursor", round, sample);
                }
                prop_assert_eq!(counted, passed.count() as u64, "each sample counts once");
            }
        }
        prop_assert_eq!(delivered.len(), positions.len(), "everything is delivered");
        prop_assert_eq!(cursor, Some(Position { block: source.next(), samples: 0 }));
    }
}

#[test]
fn a_cursor_in_the_middle_of_a_block_goes_on_there() {
    let source = blocks(&[(0, vec![0; 10]), (0, vec![0; 10])]);
    let mut gather = gather(100_000, 100_000);
    gather.restart(Some(Position { block: 0, samples: 4 }), 100_000);
    gather.flush();
    let message = gather.next(&source, Instant::now()).unwrap().unwrap();
    assert_eq!(samples_of(&message), (4..20).map(|n| (0, n)).collect::<Vec<_>>());
    assert_eq!(gather.passed(message.covers).samples, 16);
}

#[test]
fn missing_blocks_count_once_however_often_the_connection_is_lost_before_the_cursor_is_past_them() {
    let source = blocks(&[(0, vec![0; 10]), (0, vec![0; 10]), (0, vec![0; 10]), (0, vec![0; 10])]);
    let mut gather = gather(0, 100_000);
    gather.restart(None, 100_000);
    let first = gather.next(&source, Instant::now()).unwrap().unwrap();
    gather.passed(first.covers);
    source.0.lock().unwrap().drain(1..3);
    for _ in 0..3 {
        gather.restart(Some(first.covers), 100_000);
        gather.flush();
        while gather.next(&source, Instant::now()).unwrap().is_some() {}
    }
    assert_eq!(gather.take_skipped(), Skipped::default());
    gather.passed(Position { block: 4, samples: 0 });
    assert_eq!(gather.take_skipped(), Skipped { blocks: 2, samples: 20 });
}

#[test]
fn names_of_another_boot_are_never_mixed_with_those_before() {
    let source = blocks(&[(0, vec![0; 5]), (0, vec![0; 5])]);
    source.0.lock().unwrap()[1].boot = BootId(2);
    let mut gather = gather(100_000, 100_000);
    gather.restart(None, 100_000);
    gather.flush();
    let boots: Vec<String> = std::iter::from_fn(|| gather.next(&source, Instant::now()).unwrap())
        .map(|m| {
            serde_json::from_slice::<serde_json::Value>(&m.message.payload).unwrap()["boot"].as_str().unwrap().into()
        })
        .collect();
    assert_eq!(boots, [BootId(1).to_string(), BootId(2).to_string()]);
}

#[test]
fn what_is_left_out_is_passed_by_the_cursor_and_counted_once() {
    // By sample: group 0, 1, 2, 1, 0 …; the tag has the group's number.
    let groups: Vec<u16> = (0..40).map(|i| [0, 1, 2, 1][i % 4]).collect();
    let source = blocks(&[(0, groups.clone()), (0, groups.clone()), (0, groups), (0, vec![1; 10])]);
    let choice =
        TagChoice { exclude_tags: vec!["t1".into()], groups: vec!["g0".into(), "g1".into()], ..TagChoice::default() };
    let mut gather = gather_of(choice, 100_000, 512);
    let (mut cursor, mut passed, mut left_out, mut sent) =
        (Position::default(), 0, 0, std::collections::HashSet::new());
    for messages in [0, 1, 3, 2, usize::MAX] {
        gather.restart(Some(cursor), 512);
        gather.flush();
        for _ in 0..messages {
            let Some(gathered) = gather.next(&source, Instant::now()).unwrap() else { break };
            sent.extend(samples_of(&gathered));
            let step = gather.passed(gathered.covers);
            (cursor, passed, left_out) = (gathered.covers, passed + step.samples, left_out + step.left_out);
        }
    }
    let step = gather.passed(gather.covered().unwrap());
    assert_eq!((passed + step.samples, left_out + step.left_out), (130, 100));
    assert_eq!(gather.covered(), Some(Position { block: source.next(), samples: 0 }));
    assert_eq!(sent.len(), 30, "group 0 of three blocks");
}

#[test]
fn a_long_run_of_blocks_that_hold_nothing_for_the_output_is_passed_in_steps() {
    let source = blocks(&vec![(0, vec![1; 2]); 600]);
    let choice = TagChoice { tags: vec!["t2".into()], ..TagChoice::default() };
    let mut gather = gather_of(choice, 100_000, 512);
    gather.restart(None, 512);
    let mut steps = vec![];
    while gather.covered() != Some(Position { block: 600, samples: 0 }) {
        assert!(gather.next(&source, Instant::now()).unwrap().is_none());
        steps.push(gather.passed(gather.covered().unwrap()).left_out);
    }
    assert_eq!(steps, [512, 512, 176]);
}

/// A message: executor, topic, and the name and value of each sample.
type Told = (u16, String, Vec<(String, u64)>);

/// What is told of all blocks, in order.
fn told(source: &Blocks, gather: &mut MqttGather) -> Vec<Told> {
    std::iter::from_fn(|| gather.next(source, Instant::now()).unwrap())
        .map(|gathered| {
            let message = gathered.message;
            let json: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            let frames = json["frames"].as_array().unwrap().iter();
            let values = frames.flat_map(|f| f["values"].as_object().unwrap());
            let values = values.map(|(name, value)| (name.clone(), value.as_u64().unwrap())).collect();
            (json["lane"].as_u64().unwrap() as u16, message.topic, values)
        })
        .collect()
}

/// Names of one tag and one group, all else not in use.
fn renamed(tag: usize, name: &str, group: usize, group_name: &str) -> Arc<Dictionary> {
    let mut names = Dictionary { gateway: "line-4".into(), ..Dictionary::default() };
    names.tags.resize(tag + 1, DictionaryTag::default());
    names.tags[tag].name = name.into();
    names.groups.resize(group + 1, String::new());
    names.groups[group] = group_name.into();
    Arc::new(names)
}

#[test]
fn an_id_that_means_something_else_after_a_reload_is_told_by_the_name_it_had() {
    let source = blocks(&[(0, vec![2; 3]), (0, vec![2; 2]), (0, vec![2; 2])]);
    let (before, after) = (renamed(2, "a", 2, "slow"), renamed(2, "b", 2, "fast"));
    let names = [&before, &after, &after];
    source.0.lock().unwrap().iter_mut().zip(names).for_each(|(block, names)| block.batch.names = names.clone());
    let mut gather = gather(100_000, 100_000);
    gather.restart(None, 100_000);
    gather.flush();
    let of = |name: &str, values: std::ops::Range<u64>| values.map(|v| (name.to_string(), v)).collect::<Vec<_>>();
    let expected = [(0, "slow".to_string(), of("a", 0..3)), (0, "fast".to_string(), of("b", 3..7))];
    assert_eq!(told(&source, &mut gather), expected);

    // The same once more from the middle of the first block: back to the old names.
    gather.restart(Some(Position { block: 0, samples: 1 }), 100_000);
    gather.flush();
    let expected = [(0, "slow".to_string(), of("a", 1..3)), (0, "fast".to_string(), of("b", 3..7))];
    assert_eq!(told(&source, &mut gather), expected);
}

#[test]
fn equal_names_go_on_being_gathered_together() {
    let source = blocks(&[(0, vec![0; 3]), (0, vec![0; 3]), (0, vec![0; 3])]);
    // Equal, each decoded anew.
    source.0.lock().unwrap().iter_mut().for_each(|block| block.batch.names = dictionary());
    let mut gather = gather(100_000, 100_000);
    gather.restart(None, 100_000);
    gather.flush();
    let message = gather.next(&source, Instant::now()).unwrap().unwrap();
    assert_eq!(samples_of(&message), (0..9).map(|n| (0, n)).collect::<Vec<_>>());
}

#[test]
fn executors_change_over_on_their_own_and_cut_no_message_of_another() {
    // Executor 0 has the new names from its second block on; executor 1 keeps the old ones.
    let source = blocks(&[(0, vec![2]), (1, vec![2]), (0, vec![2]), (1, vec![2]), (0, vec![2]), (1, vec![2])]);
    let (before, after) = (renamed(2, "a", 2, "g"), renamed(2, "b", 2, "g"));
    for block in source.0.lock().unwrap().iter_mut() {
        let new = block.batch.lane.0 == 0 && block.index > 0;
        block.batch.names = if new { after.clone() } else { before.clone() };
    }
    let mut gather = gather(100_000, 100_000);
    gather.restart(None, 100_000);
    gather.flush();
    let of = |name: &str, values: &[u64]| values.iter().map(|v| (name.to_string(), *v)).collect::<Vec<_>>();
    let mut told = told(&source, &mut gather);
    told.sort();
    let group = || "g".to_string();
    assert_eq!(told, [(0, group(), of("a", &[0])), (0, group(), of("b", &[1, 2])), (1, group(), of("a", &[0, 1, 2]))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_message_mixes_two_meanings_of_an_id(
        shape in prop::collection::vec((0u16..3, prop::collection::vec(0..GROUPS, 1..20)), 1..30),
        // By block: which names, if its executor has come that far.
        changes in prop::collection::vec(0usize..4, 30),
        batch_ms in prop::sample::select(vec![0u64, 15, 100_000]),
        bytes_max in prop::sample::select(vec![512usize, 100_000]),
    ) {
        let source = blocks(&shape);
        let mut meaning = HashMap::new();
        for (block, names) in source.0.lock().unwrap().iter_mut().zip(&changes) {
            let mut dictionary = Dictionary { gateway: "line-4".into(), ..Dictionary::default() };
            let tag = |i: u16| DictionaryTag { name: format!("t{i} of {names}"), ..DictionaryTag::default() };
            dictionary.tags = (0..GROUPS).map(tag).collect();
            dictionary.groups = (0..GROUPS).map(|g| format!("g{g} of {names}")).collect();
            block.batch.names = Arc::new(dictionary);
            let all = block.batch.iter().map(|s| ((block.batch.lane.0, s.sequence), (s.sample.group, *names)));
            meaning.extend(all);
        }
        let mut gather = gather(batch_ms, bytes_max);
        gather.restart(None, bytes_max);
        gather.flush();
        let mut delivered = 0;
        for (executor, topic, values) in told(&source, &mut gather) {
            for (name, sequence) in values {
                let (id, names) = meaning[&(executor, sequence)];
                prop_assert_eq!(&topic, &format!("g{id} of {names}"));
                prop_assert_eq!(name, format!("t{id} of {names}"));
                delivered += 1;
            }
        }
        prop_assert_eq!(delivered, meaning.len());
    }
}
