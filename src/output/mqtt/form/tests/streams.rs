//! What messages say of the samples before them, whatever is interleaved, cut and started again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::engine::{Client, Ended, Engine, Failed, Feed};

/// By lane and group: its numbers.
type Numbers = BTreeMap<(u16, String), Vec<u64>>;

fn numbers(shape: &[(u16, Vec<u16>)], left_out: Option<u16>) -> Numbers {
    let mut numbers = Numbers::new();
    let mut next = HashMap::<u16, u64>::new();
    for (lane, groups) in shape {
        for group in groups {
            let number = next.entry(*lane).or_default();
            if Some(*group) != left_out {
                numbers.entry((*lane, format!("g{group}"))).or_default().push(*number);
            }
            *number += 1;
        }
    }
    numbers
}

struct Said {
    stream: (u16, String),
    first: u64,
    /// Its last number.
    last: u64,
    prev: Option<u64>,
    missing: u64,
    covers: Position,
}

fn said(gathered: &Gathered<Message>) -> Said {
    let json: serde_json::Value = serde_json::from_slice(&gathered.message.payload).unwrap();
    Said {
        stream: (json["lane"].as_u64().unwrap() as u16, json["group"].as_str().unwrap().to_owned()),
        first: json["frames"][0]["seq"].as_u64().unwrap(),
        last: json["frames"].as_array().unwrap().last().map(last_of).unwrap(),
        prev: json["prev"].as_u64(),
        missing: json["missing"].as_u64().unwrap_or(0),
        covers: gathered.covers,
    }
}

fn last_of(frame: &serde_json::Value) -> u64 {
    frame["seq"].as_u64().unwrap() + frame["values"].as_object().unwrap().len() as u64 - 1
}

fn all(gather: &mut MqttGather, source: &Blocks) -> Vec<Said> {
    gather.flush();
    std::iter::from_fn(|| gather.next(source, Instant::now()).unwrap()).map(|message| said(&message)).collect()
}

/// The number before `first` in its stream.
fn before(numbers: &Numbers, said: &Said) -> Option<u64> {
    numbers[&said.stream].iter().copied().take_while(|number| *number < said.first).last()
}

proptest! {
    #[test]
    fn every_message_says_which_sample_came_before_it_in_its_group(
        shape in prop::collection::vec((0u16..2, prop::collection::vec(0..GROUPS, 1..30)), 1..20),
        bytes in MQTT_MESSAGE_BYTES_MIN..3000usize,
        cut in any::<prop::sample::Index>(),
        leaves_out in any::<bool>(),
        is_new in any::<bool>(),
    ) {
        let source = blocks(&shape);
        let choice = match leaves_out {
            true => TagChoice { exclude_tags: vec!["t1".into()], ..TagChoice::default() },
            false => TagChoice::default(),
        };
        let numbers = numbers(&shape, leaves_out.then_some(1));
        let mut gather = gather_of(choice.clone(), 100_000, bytes);
        gather.restart(None, bytes);
        let first = all(&mut gather, &source);
        for said in &first {
            prop_assert_eq!(said.prev, before(&numbers, said));
            prop_assert_eq!(said.missing, 0);
        }
        // Some of them were acknowledged; then the connection is lost, or the process dies.
        if first.is_empty() {
            return Ok(());
        }
        let cursor = first[cut.index(first.len())].covers;
        if is_new {
            gather = gather_of(choice, 100_000, bytes);
            gather.look_back(&source, Some(cursor));
        } else {
            gather.passed(cursor);
        }
        gather.restart(Some(cursor), bytes);
        for said in all(&mut gather, &source) {
            prop_assert_eq!(said.prev, before(&numbers, &said), "{:?} from {:?}", said.stream, cursor);
            prop_assert_eq!(said.missing, 0);
        }
    }
}

#[test]
fn numbers_that_will_never_come_are_said_once_in_each_stream_of_their_lane() {
    // Lanes 0 and 1 by turns, each with all groups.
    let shape: Vec<(u16, Vec<u16>)> = (0..12).map(|block| (block % 2, vec![0, 1, 2, 0])).collect();
    let source = blocks(&shape);
    // Two blocks of lane 0 and one of lane 1 are lost.
    source.0.lock().unwrap().drain(4..7);
    let mut gather = gather(1, 100_000);
    gather.restart(Some(Position::default()), 100_000);
    let said = all(&mut gather, &source);
    let missing = |lane: u16, group: &str| -> Vec<u64> {
        let own = said.iter().filter(|said| said.stream == (lane, group.to_owned()));
        own.map(|said| said.missing).filter(|missing| *missing > 0).collect()
    };
    for group in ["g0", "g1", "g2"] {
        assert_eq!((missing(0, group), missing(1, group)), (vec![8], vec![4]), "{group}");
    }
}

#[test]
fn what_is_missing_is_said_once_wherever_a_connection_or_a_process_begins_again() {
    let shape: Vec<(u16, Vec<u16>)> = (0..12).map(|block| (block % 2, vec![0, 1, 2, 0])).collect();
    let source = blocks(&shape);
    source.0.lock().unwrap().drain(4..7);
    // Small messages, so that there is a cursor behind each, and large ones, which would reach over the loss.
    for samples in [1, 100_000] {
        let mut gather = gather(samples, 100_000);
        gather.restart(Some(Position::default()), 100_000);
        let first = all(&mut gather, &source);
        for cut in 0..first.len() {
            for is_new in [true, false] {
                let mut again = self::gather(samples, 100_000);
                let cursor = first[cut].covers;
                if is_new {
                    again.look_back(&source, Some(cursor));
                } else {
                    again.restart(Some(Position::default()), 100_000);
                    all(&mut again, &source);
                    again.passed(cursor);
                }
                again.restart(Some(cursor), 100_000);
                // As a consumer counts: what repeats is nothing new.
                let mut newest: BTreeMap<(u16, String), Option<u64>> = BTreeMap::new();
                let mut missing: BTreeMap<(u16, String), u64> = BTreeMap::new();
                for said in first[..=cut].iter().chain(&all(&mut again, &source)) {
                    let newest = newest.entry(said.stream.clone()).or_default();
                    if newest.is_none_or(|newest| said.first > newest) {
                        *missing.entry(said.stream.clone()).or_default() += said.missing;
                    }
                    *newest = (*newest).max(Some(said.last));
                }
                for (lane, group) in missing.keys() {
                    let wanted = if *lane == 0 { 8 } else { 4 };
                    let found = missing[&(*lane, group.clone())];
                    assert_eq!(found, wanted, "{group} of lane {lane}, from {cursor:?}, is_new {is_new}");
                }
                assert_eq!(missing.len(), 6);
            }
        }
    }
}

/// A journal that an output has followed up to `cursor`.
struct Followed(Arc<Blocks>, Position);

impl Follow for Followed {
    fn block_at_or_after(&self, index: u64) -> Result<Option<Block>, FollowError> {
        self.0.block_at_or_after(index)
    }
    fn wait_for(&self, index: u64, patience: Duration) -> bool {
        self.0.wait_for(index, patience)
    }
    fn next_index(&self) -> Result<u64, FollowError> {
        self.0.next_index()
    }
    fn cursor(&self, _: &str) -> Result<Option<Position>, FollowError> {
        Ok(Some(self.1))
    }
    fn save_cursor(&self, _: &str, _: Position) {}
}

/// Until it is connected, the journal removes what was delivered; then it takes one message.
struct LateBroker(Arc<Blocks>, Arc<AtomicBool>, Option<Said>);

#[derive(Debug)]
struct Never;

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl Failed for Never {}

impl Client<MqttForm> for LateBroker {
    type Failure = Never;

    async fn connection(&mut self, engine: &mut Engine<MqttForm>) -> Result<Ended, Never> {
        let cursor = engine.cursor().unwrap();
        self.0.0.lock().unwrap().retain(|block| block.index >= cursor.block);
        engine.gather.restart(Some(cursor), 100_000);
        self.2 = engine.next_message().map(|message| said(&message));
        self.1.store(true, Relaxed);
        Ok(Ended::Stopped)
    }
}

#[test]
fn what_came_before_is_looked_up_at_the_start_while_the_journal_still_has_it() {
    let source = Arc::new(blocks(&[(0, vec![0; 5]), (0, vec![0; 5]), (0, vec![0; 5])]));
    let cursor = Position { block: 2, samples: 0 };
    let stop = Arc::new(AtomicBool::new(false));
    let feed = Feed {
        name: "cloud".to_owned(),
        gateway: "line-4".to_owned(),
        choice: TagChoice::default(),
        source: Box::new(Followed(source.clone(), cursor)),
        stats: Arc::default(),
        stop: stop.clone(),
    };
    let topic = Topic::new("topic", "f/{gateway}/{group}", "line-4").unwrap();
    let mut engine =
        Engine::new(MqttForm::new(TopicPer::Group, topic), GatherSettings::new(Nanos::ZERO, 100_000, 5), feed);
    let mut broker = LateBroker(source, stop, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(engine.run(&mut broker));
    let first = broker.2.expect("a message of the block behind the cursor");
    assert_eq!((first.first, first.prev), (10, Some(9)));
}

#[test]
fn the_boot_of_the_sample_before_is_said_where_it_is_another() {
    let source = blocks(&[(0, vec![0; 5]), (0, vec![0; 5])]);
    source.0.lock().unwrap()[1].boot = BootId(2);
    let mut gather = gather(100_000, 100_000);
    gather.restart(None, 100_000);
    gather.flush();
    let said: Vec<serde_json::Value> = std::iter::from_fn(|| gather.next(&source, Instant::now()).unwrap())
        .map(|message| serde_json::from_slice(&message.message.payload).unwrap())
        .collect();
    assert_eq!((said[0]["prev"].as_u64(), said[0].get("prev_boot")), (None, None));
    assert_eq!((said[1]["prev"].as_u64(), said[1]["prev_boot"].as_str()), (Some(4), Some(&*BootId(1).to_string())));
}

fn per_tag() -> MqttGather {
    let form = MqttForm::new(TopicPer::Tag, Topic::new("topic", "{tag}", "g").unwrap());
    Gather::new(form, GatherSettings::new(Nanos::from_millis(100_000), 512, 1))
}

proptest! {
    #[test]
    fn with_a_topic_per_tag_each_sample_is_a_message_that_says_what_came_before_it_wherever_the_cursor_was(
        shape in prop::collection::vec((0u16..2, prop::collection::vec(0..GROUPS, 1..30)), 1..20),
        // After each connection: how many of its messages were acknowledged.
        acknowledged in prop::collection::vec(0usize..60, 0..6),
        is_new in any::<bool>(),
    ) {
        let source = blocks(&shape);
        // A tag has the number of its group.
        let numbers = numbers(&shape, None);
        let mut gather = per_tag();
        let (mut cursor, mut counted, mut delivered) = (None, 0, std::collections::BTreeSet::new());
        for limit in acknowledged.into_iter().chain([usize::MAX]) {
            if is_new {
                gather = per_tag();
                gather.look_back(&source, cursor);
            }
            gather.restart(cursor, 512);
            for _ in 0..limit {
                let Some(gathered) = gather.next(&source, Instant::now()).unwrap() else { break };
                let json: serde_json::Value = serde_json::from_slice(&gathered.message.payload).unwrap();
                let (lane, sequence) = (json["lane"].as_u64().unwrap() as u16, json["seq"].as_u64().unwrap());
                let tag = json["tag"].as_str().unwrap();
                prop_assert_eq!((tag, json["value"].as_u64()), (gathered.message.topic.as_str(), Some(sequence)));
                let own = &numbers[&(lane, tag.replace('t', "g"))];
                let before = own.iter().copied().take_while(|number| *number < sequence).last();
                prop_assert_eq!(json["prev"].as_u64(), before);
                prop_assert!(json.get("missing").is_none());
                delivered.insert((lane, sequence));
                prop_assert!(cursor < Some(gathered.covers), "each is taken for itself");
                cursor = Some(gathered.covers);
                counted += gather.passed(gathered.covers).samples;
            }
        }
        let made: usize = shape.iter().map(|(_, groups)| groups.len()).sum();
        prop_assert_eq!((delivered.len(), counted), (made, made as u64));
        prop_assert_eq!(gather.covered(), Some(Position { block: source.next(), samples: 0 }));
    }
}

#[test]
fn numbers_that_will_never_come_are_said_once_of_each_tag() {
    let shape: Vec<(u16, Vec<u16>)> = (0..12).map(|block| (block % 2, vec![0, 1, 2, 0])).collect();
    let source = blocks(&shape);
    source.0.lock().unwrap().drain(4..7);
    let mut gather = per_tag();
    gather.restart(Some(Position::default()), 512);
    let mut missing = BTreeMap::<(u64, String), Vec<u64>>::new();
    while let Some(gathered) = gather.next(&source, Instant::now()).unwrap() {
        let json: serde_json::Value = serde_json::from_slice(&gathered.message.payload).unwrap();
        let stream = (json["lane"].as_u64().unwrap(), json["tag"].as_str().unwrap().to_owned());
        missing.entry(stream).or_default().extend(json["missing"].as_u64());
    }
    for tag in ["t0", "t1", "t2"] {
        assert_eq!((&missing[&(0, tag.into())], &missing[&(1, tag.into())]), (&vec![8], &vec![4]), "{tag}");
    }
}
