//! The plant's nodes on CAN, as python-can, cantools and the package canopen see them.

use serde_json::{Value, json};

use crate::guest::Guest;

const MESSAGES: [&str; 6] = ["MixerStatus", "MixerFeedback", "TankLevel", "DriveDiagnosis", "EEC1", "BatchRecord"];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

pub fn cantools_decodes_every_message_that_the_plant_sends(guest: &Guest) {
    guest.assert_done("plant.messages");
    let seen = guest.json("plant.messages");
    assert_eq!((&seen["errors"], &seen["unknown"]), (&json!([]), &json!({})));
    for name in MESSAGES {
        let message = &seen["messages"][name];
        assert_eq!((&message["undecoded"], &message["as_declared"]), (&json!(0), &json!(true)), "{name}: {message:#}");
        // Half of what three seconds have is left to a slow machine.
        let expected = 3000.0 / number(&message["cycle_ms"]);
        assert!(number(&message["count"]) > expected / 2.0, "{name}: {message:#}");
    }
    assert_eq!(seen["states"], json!({ "0": "Stopped", "1": "Accelerating", "2": "Running", "3": "Braking" }));
}

pub fn values_are_those_of_a_line_with_pages_and_signs(guest: &Guest) {
    let seen = guest.json("plant.messages");
    let signal = |message: &str, name: &str| seen["messages"][message]["signals"][name].clone();
    for (message, name, low, high) in [
        ("MixerStatus", "Speed", -1600.0, 1600.0),
        ("MixerStatus", "State", 0.0, 3.0),
        ("TankLevel", "Level", 45.0, 65.0),
        ("TankLevel", "Temperature", 50.0, 75.0),
        ("TankLevel", "Drift", -6.0, 6.0),
        ("DriveDiagnosis", "WindingTemperature", 75.0, 95.0),
        ("DriveDiagnosis", "BearingTemperature", 40.0, 56.0),
        ("EEC1", "EngineSpeed", 0.0, 1810.0),
        ("BatchRecord", "Density", 990.0, 1006.0),
        ("BatchRecord", "Viscosity", 6.0, 18.0),
    ] {
        let signal = signal(message, name);
        assert!(number(&signal["min"]) >= low && number(&signal["max"]) <= high, "{message}.{name}: {signal}");
    }
    let page = signal("DriveDiagnosis", "Page");
    assert_eq!((&page["min"], &page["max"]), (&json!(0), &json!(2)));
    let pieces = signal("BatchRecord", "Pieces");
    assert!(number(&pieces["last"]) > number(&pieces["first"]), "{pieces}");
}

pub fn the_mixer_follows_a_command(guest: &Guest) {
    let feedback = guest.json("plant.messages")["messages"]["MixerFeedback"]["signals"].clone();
    let ends = |name: &str| (number(&feedback[name]["first"]), number(&feedback[name]["last"]));
    assert_eq!(ends("SetpointSeen"), (0.0, -73.5));
    assert_eq!((ends("EnableSeen"), ends("CommandsSeen")), ((0.0, 1.0), (0.0, 1.0)));
}

pub fn faults_of_the_senders_show_on_the_bus(guest: &Guest) {
    guest.assert_done("plant.faults");
    let seen = guest.json("plant.faults");
    let of = |name: &str, key: &str| number(&seen["messages"][name][key]);
    assert_eq!((of("MixerStatus", "count"), of("MixerFeedback", "count")), (0.0, 0.0));
    assert!(of("TankLevel", "undecoded") > 0.0 && of("TankLevel", "undecoded") == of("TankLevel", "count"));
    let stuck = seen["messages"]["DriveDiagnosis"]["signals"].as_object().unwrap();
    assert!(!stuck.is_empty() && stuck.values().all(|signal| signal["min"] == signal["max"]), "{stuck:#?}");
    // 1500 in three seconds, where the emulator keeps up.
    assert!(number(&seen["unknown"]["1"]) > 100.0, "{}", seen["unknown"]);
    // Off the bus, back on it, then error after error.
    let errors: Vec<u64> = seen["errors"].as_array().unwrap().iter().map(|class| class.as_u64().unwrap()).collect();
    assert_eq!(errors[..2], [0x40, 0x100]);
    assert!(errors[2..].len() > 10 && errors[2..].iter().all(|class| *class == 4), "{errors:?}");
}

pub fn a_canopen_master_gets_all_from_the_node(guest: &Guest) {
    guest.assert_done("plant.canopen");
    let mut seen = guest.json("plant.canopen");
    let take = |seen: &mut Value, key: &str| seen.as_object_mut().unwrap().remove(key).unwrap();
    let (log, again) = (take(&mut seen, "log"), take(&mut seen, "log_by_segments"));
    assert_eq!((log.as_str().unwrap().len(), &log), (2 * 2000, &again));
    let tenths = number(&take(&mut seen, "temperature"));
    assert!((-110.0..30.0).contains(&tenths), "{tenths}");
    assert!(number(&take(&mut seen, "strokes")) > 0.0);
    let expected = json!({
        "first_state": "PRE-OPERATIONAL", "vendor": 0xFBE, "name": "Fieldbeat dosing pump",
        "note": "a note of more than seven bytes", "block_came_back": true,
        "aborts": [0x0602_0000u32, 0x0609_0011, 0x0601_0002, 0x0607_0010],
        "tpdo1": ["Process.Flow", "Process.Temperature", "Process.Pressure"], "tpdo1_came": true, "tpdo2_came": true,
        "setpoint": -321, "mapped_came": true, "mapped": [-321, 6],
        "emergencies": [[0x4210, 1], [0, 0]], "history": 0x4210, "after_reset": 0,
    });
    assert_eq!(seen, expected);
}
