//! What is published of a plan, in which parts, and when again.

use super::*;
use crate::catalog::{GroupEntry, LinkEntry};
use crate::tag::{Nanos, ScalarType, Texts, ValueType};

fn catalog(tags: usize) -> Arc<Catalog> {
    let write = WriteConfig { min: Some(0.0), interval_min: Nanos::from_millis(100), ..WriteConfig::default() };
    let tag = |at: usize| TagEntry {
        name: format!("boiler{at}.temperature").into(),
        link: LinkId(0),
        group: GroupId(0),
        ty: ValueType::Scalar(ScalarType::Float32),
        unit: "°C".into(),
        texts: Texts::default(),
        description: "".into(),
        range: Some([0.0, 120.0]),
        write: at.is_multiple_of(2).then(|| write.clone()),
    };
    let group = GroupEntry { name: "default".into(), period: Nanos::from_millis(10) };
    let link = LinkEntry { name: "plc1".into(), protocol: "diagnostics" };
    Arc::new(Catalog {
        tags: (0..tags).map(tag).collect(),
        groups: [group].into_iter().collect(),
        links: [link].into_iter().collect(),
    })
}

fn publisher(board: &Arc<MetaBoard>, choice: TagChoice) -> MetaPublisher {
    let topic = |template| Topic::new("topic", template, "g").unwrap();
    let of = (TopicPer::Tag, &topic("{gateway}/{tag}"));
    let mut publisher =
        MetaPublisher::new(board.clone(), "g", "g/meta".into(), choice, of, Some(topic("{gateway}/{tag}/set")));
    publisher.restart(4096);
    publisher
}

fn all(publisher: &mut MetaPublisher) -> Vec<(String, Json)> {
    std::iter::from_fn(|| publisher.next())
        .inspect(|message| assert!(message.payload.len() <= 4096, "{}", message.payload.len()))
        .map(|message| (message.topic, serde_json::from_slice(&message.payload).unwrap_or_default()))
        .collect()
}

fn bad(tags: impl IntoIterator<Item = u32>) -> Vec<(TagId, Status)> {
    tags.into_iter().map(|tag| (TagId(tag), Status::BAD_NO_COMMUNICATION)).collect()
}

#[test]
fn thousands_of_tags_fall_into_parts_that_fit_and_each_stands_in_one() {
    let board = Arc::<MetaBoard>::default();
    let mut publisher = publisher(&board, TagChoice::default());
    assert_eq!(all(&mut publisher), [], "nothing is known yet");
    board.put("a2f", &catalog(5_000), bad([7]));
    let messages = all(&mut publisher);
    let (parts, rest) = messages.split_at(messages.len() - 2);
    let mut names = Vec::new();
    for (at, (topic, part)) in parts.iter().enumerate() {
        assert_eq!((topic.as_str(), &part["part"]), (format!("g/meta/{at}").as_str(), &json!(at)));
        let tags = part["tags"].as_array().unwrap().iter();
        names.extend(tags.map(|tag| tag["tag"].as_str().unwrap().to_owned()));
    }
    assert_eq!(names, (0..5_000).map(|at| format!("boiler{at}.temperature")).collect::<Vec<_>>());
    assert_eq!(parts[0].1["links"], json!([{"link": "plc1", "protocol": "diagnostics"}]));
    assert_eq!(
        parts[0].1["tags"][0],
        json!({"tag": "boiler0.temperature", "type": "float32", "unit": "°C", "group": "default", "link": "plc1",
               "range": [0.0, 120.0], "writable": true, "write": {"min": 0.0, "min_interval_ms": 100.0},
               "topic": "g/boiler0.temperature", "set_topic": "g/boiler0.temperature/set"})
    );
    assert_eq!(
        (rest[0].0.as_str(), &rest[0].1["parts"], &rest[0].1["tags"]),
        ("g/meta", &json!(parts.len()), &json!(5_000))
    );
    assert_eq!(rest[0].1["revision"], parts[0].1["revision"]);
    assert_eq!(rest[1].0, "g/meta/bad");
    assert_eq!(rest[1].1["tags"], json!([{"tag": "boiler7.temperature", "status": "BadNoCommunication"}]));
}

#[test]
fn only_what_changed_is_published_and_parts_that_are_gone_are_removed() {
    let board = Arc::<MetaBoard>::default();
    let mut publisher = publisher(&board, TagChoice::default());
    let (large, small) = (catalog(100), catalog(1));
    board.put("a2f", &large, Vec::new());
    let parts = all(&mut publisher).len() - 2;
    assert!(parts > 2);
    board.put("a2f", &large, bad([1]));
    assert_eq!(all(&mut publisher).iter().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>(), ["g/meta/bad"]);
    board.put("a2f", &large, bad([1]));
    assert_eq!(all(&mut publisher), []);
    board.put("a2f", &small, Vec::new());
    let topics: Vec<String> = all(&mut publisher).into_iter().map(|(topic, _)| topic).collect();
    let gone = (1..parts).rev().map(|part| format!("g/meta/{part}"));
    let expected = ["g/meta/0".to_owned(), "g/meta".to_owned()].into_iter().chain(gone).chain(["g/meta/bad".into()]);
    assert_eq!(topics, expected.collect::<Vec<_>>());
    publisher.restart(4096);
    assert_eq!(all(&mut publisher).len(), 3, "on a new connection all of it");
}

#[test]
fn an_output_says_only_what_it_sends_and_a_long_list_of_bad_tags_is_cut_and_counted() {
    let board = Arc::<MetaBoard>::default();
    let choice = TagChoice { tags: vec!["boiler1*".into()], ..TagChoice::default() };
    let mut publisher = publisher(&board, choice);
    board.put("a2f", &catalog(1_000), bad(0..1_000));
    let messages = all(&mut publisher);
    let bad = &messages.last().unwrap().1;
    assert_eq!(bad["total"], 111);
    assert!((10..111).contains(&bad["tags"].as_array().unwrap().len()));
    assert_eq!(messages[messages.len() - 2].1["tags"], 111);
}
