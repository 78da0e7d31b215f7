//! Runs as data: they do what the seed did, and what is no case is refused in words.

use std::path::Path;

use super::super::script::Script;
use super::*;

fn case_of(seed: u64) -> (Case, Outcome) {
    let scenario = Scenario::of_seed(seed, Some(0.01)).unwrap();
    let (outcome, recorded) = record(&scenario, &RealParts);
    (recorded.case(&scenario).unwrap(), outcome)
}

#[test]
fn a_seed_written_as_a_case_does_the_same() {
    let mut changes = 0;
    for seed in [0, 1, 4, 7, 12, 24, 36, 60, 84] {
        let (case, of_seed) = case_of(seed);
        let again = Case::parse(Path::new("case.json"), &case.text().unwrap()).unwrap();
        assert_eq!(again, case, "seed {seed}");
        let scenario = Scenario::of_case(&again).unwrap();
        assert!(matches!(scenario.script, Script::Listed(_)));
        let of_case = run(&scenario, &RealParts);
        assert_eq!((of_case.hash, of_case.events), (of_seed.hash, of_seed.events), "seed {seed}");
        assert_eq!(of_case.writes_done + of_case.writes_failed, of_seed.writes_done + of_seed.writes_failed);
        changes += case.events.changes.len();
    }
    assert!(changes > 20, "{changes}");
}

#[test]
fn hosts_that_a_case_does_not_list_are_as_its_seed_says() {
    let (mut case, of_seed) = case_of(7);
    case.events.hosts.clear();
    let of_case = run(&Scenario::of_case(&case).unwrap(), &RealParts);
    assert_eq!((of_case.hash, of_case.events), (of_seed.hash, of_seed.events));
}

#[test]
fn what_is_no_case_is_refused_with_what_is_wrong() {
    let (case, _) = case_of(1);
    let refused = |text: &str| Case::parse(Path::new("broken.json"), text).unwrap_err().to_string();
    assert!(refused("{\"seed\": 1,").contains("broken.json: EOF while parsing"), "where, too");
    assert!(refused("[]").contains("broken.json"));
    let bent = |bend: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(&case).unwrap();
        bend(&mut value);
        refused(&value.to_string())
    };
    let told = bent(&|value| value["executors"] = 0.into());
    assert!(told.contains("executors is 0; allowed are 1 to 8"), "{told}");
    let told = bent(&|value| value["hub_period_ns"] = 0.into());
    assert!(told.contains("hub_period_ns is 0; allowed are"), "{told}");
    let told = bent(&|value| value["trouble_ns"] = u64::MAX.into());
    assert!(told.contains("trouble_ns is"), "{told}");
    let told = bent(&|value| value["ring_slots"] = 1.into());
    assert!(told.contains("ring_slots is 1; allowed are"), "{told}");
    let told = bent(&|value| value["bells"] = 1.into());
    assert!(told.contains("unknown field `bells`"), "{told}");
    let told = bent(&|value| value["tags"] = serde_json::json!({"tags": [{"name": "a"}]}));
    assert!(told.contains("tags: the configuration is refused"), "{told}");
    let told = bent(&|value| {
        value["events"]["changes"] = serde_json::json!([{"pause_ns": 0, "tags": 7}]);
    });
    assert!(told.contains("events.changes[0].tags"), "{told}");
    let told = bent(&|value| {
        value["events"]["stalls"] = serde_json::json!([{"executor": 7, "at_ns": 0, "length_ns": 0}]);
        value["calm"] = false.into();
    });
    assert!(told.contains("events.stalls: executor is 7"), "{told}");
    let told = bent(&|value| {
        value["events"]["stalls"] = serde_json::json!([{"executor": 0, "at_ns": 0, "length_ns": 0}]);
        value["calm"] = true.into();
    });
    assert!(told.contains("calm is true"), "{told}");
    let told = bent(&|value| {
        let phase = |from: u64, until: u64| serde_json::json!({"mood": "dead", "from_ns": from, "until_ns": until});
        let host = serde_json::json!({"host": 0, "seed": 1, "modbus": [phase(0, 9), phase(5, 7)]});
        value["events"]["hosts"] = serde_json::json!([host]);
    });
    assert!(told.contains("(host 0): from_ns of a phase is 5; allowed are 9 to"), "{told}");
    let told = bent(&|value| {
        let phase = serde_json::json!({"mood": "sulking", "from_ns": 0, "until_ns": 1});
        value["events"]["hosts"] = serde_json::json!([{"host": 0, "seed": 1, "modbus": [phase]}]);
    });
    assert!(told.contains("unknown variant `sulking`"), "{told}");
    assert!(Case::read(Path::new("/nowhere/at/all.json")).unwrap_err().to_string().contains("/nowhere/at/all.json"));
}

/// What was found once, each with its story in `about`.
#[test]
fn the_cases_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut broken = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in &names {
        let case = Case::read(path).unwrap_or_else(|error| panic!("{error}"));
        let outcome = run(&Scenario::of_case(&case).unwrap(), &RealParts);
        println!("{}: {} events", path.file_name().unwrap().display(), outcome.events);
        if let Some((what, last)) = outcome.broken {
            broken.push(format!(
                "{}\n{}: {what}\nrun it again with: fieldbeat sim --case {}",
                last.join("\n"),
                what.kind,
                path.display()
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    assert!(!names.is_empty());
}
