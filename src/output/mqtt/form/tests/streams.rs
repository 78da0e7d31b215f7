//! What messages say of the samples before them, whatever is interleaved, cut and started again.

use std::collections::BTreeMap;

use super::*;

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
    prev: Option<u64>,
    missing: u64,
    covers: Position,
}

fn said(gathered: &Gathered<Message>) -> Said {
    let json: serde_json::Value = serde_json::from_slice(&gathered.message.payload).unwrap();
    Said {
        stream: (json["lane"].as_u64().unwrap() as u16, json["group"].as_str().unwrap().to_owned()),
        first: json["frames"][0]["seq"].as_u64().unwrap(),
        prev: json["prev"].as_u64(),
        missing: json["missing"].as_u64().unwrap_or(0),
        covers: gathered.covers,
    }
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
