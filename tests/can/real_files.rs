//! Whole folders of DBC and EDS files as they are in the field: names, types, texts and values as cantools and canopen
//! have them.
//!
//! The folders are those of FIELDBEAT_REAL_FILES, separated by colons; else what the packages cantools and canopen ship
//! in their own tests, which tests/setup.sh puts beside them. `tests/real_files.sh FOLDER…` runs it on other ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fieldbeat::config::{Config, Severity};
use fieldbeat::plan::{self};
use fieldbeat::protocol;
use fieldbeat::protocol::can::link::pure::{Decoded, Head};
use fieldbeat::protocol::can::plan::model::CanPlan;
use fieldbeat::protocol::canopen::eds::Eds;
use fieldbeat::protocol::canopen::eds::types::DataType;
use fieldbeat::protocol::load;
use fieldbeat::tag::{LinkId, Value};
use serde_json::{Value as Json, json};

use super::peers::Peer;
use super::{agrees, buffer_of, decode_all, text_of};

/// Random frames of each message.
const FRAMES: usize = 20;

/// Where the files are.
fn folders() -> Vec<PathBuf> {
    match std::env::var("FIELDBEAT_REAL_FILES") {
        Ok(folders) => folders.split(':').map(PathBuf::from).collect(),
        Err(_) => vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/real_files")],
    }
}

/// Of a person's own files nothing is known beforehand.
fn are_ones_own() -> bool {
    std::env::var_os("FIELDBEAT_REAL_FILES").is_some()
}

/// The files below the folders whose names end so, in any capitals.
fn files(ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = folders();
    while let Some(folder) = open.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}; run sh tests/setup.sh", folder.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.to_string_lossy().to_ascii_lowercase();
            if path.is_dir() {
                open.push(path);
            } else if ends.iter().any(|end| name.ends_with(end)) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty() || are_ones_own(), "no files {ends:?} below {:?}", folders());
    found
}

fn list<'j>(json: &'j Json, key: &str) -> &'j [Json] {
    json[key].as_array().unwrap_or_else(|| panic!("{key} in {json}"))
}

/// What became of the names of a file's signals.
#[derive(Default)]
struct Outcome {
    config: Option<Config>,
    warnings: usize,
    /// By the tag's name.
    refused: BTreeMap<String, String>,
    /// What is wrong with the file as a whole.
    file: Option<String>,
}

/// Reads a DBC file with a tag for each of these: name, address without the link, data type. Those that are refused are
/// left out, as a person would do.
fn read(path: &Path, tags: &[(String, String, &str)]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tags")).unwrap();
    fs::write(dir.path().join("fieldbeat.toml"), "[gateway]\nid = \"t\"\n").unwrap();
    fs::copy(path, dir.path().join("tags/real.dbc")).unwrap();
    let mut outcome = Outcome::default();
    let mut left: Vec<&(String, String, &str)> = tags.iter().collect();
    loop {
        let tags: Vec<Json> = left
            .iter()
            .map(|(name, signal, ty)| match *ty {
                "" => json!({ "name": name, "address": format!("bus:{signal}"), "scan_rate_ms": 1000 }),
                ty => {
                    json!({ "name": name, "address": format!("bus:{signal}"), "scan_rate_ms": 1000, "data_type": ty })
                }
            })
            .collect();
        let link = json!({ "name": "bus", "protocol": "can", "interface": "can0", "fd": true, "dbc": "real.dbc",
            "j1939_special_values": false });
        // One that is always there, so that a file without messages can be read.
        let own = json!({ "name": "own", "address": "bus:0x7FF:0:8", "scan_rate_ms": 1000 });
        let file = json!({ "links": [link], "tags": tags.into_iter().chain([own]).collect::<Vec<_>>() });
        fs::write(dir.path().join("tags/bus.json"), file.to_string()).unwrap();
        let found = match load(dir.path()) {
            Ok(loaded) => {
                outcome.warnings = loaded.warnings.len();
                outcome.config = Some(loaded.config);
                return outcome;
            }
            Err(found) => found,
        };
        let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
        let before = left.len();
        for error in errors {
            let Some(tag) = error.subject.strip_prefix("tag \"").and_then(|rest| rest.strip_suffix('"')) else {
                outcome.file.get_or_insert(error.to_string());
                continue;
            };
            outcome.refused.insert(tag.to_owned(), format!("{}; {}", error.message, error.help));
        }
        left.retain(|(name, ..)| !outcome.refused.contains_key(name));
        if left.len() == before {
            return outcome;
        }
    }
}

/// What the file itself says, which no reader can make good.
fn is_said_by_the_file(why: &str) -> bool {
    [
        "ignored",
        " exceeds message ",
        "for a signal with a value table",
        "has several switches",
        "is multiplexed",
        "bits; allowed: 1 to 64",
    ]
    .iter()
    .any(|known| why.contains(known))
}

fn can_plan(plan: &plan::Plan) -> &CanPlan {
    let Some(can) = plan.links[LinkId(0)].protocol.get::<CanPlan>() else { panic!("a CAN link") };
    can
}

/// What the link makes of a frame, by the names of tags: numbers, and texts of those that have one for it.
fn decoded(
    planned: &plan::Plan,
    id: u32,
    extended: bool,
    data: &[u8],
) -> (BTreeMap<String, Value>, BTreeMap<String, String>) {
    let plan = can_plan(planned);
    let (buffer, n) = buffer_of(id, extended, data);
    let Head::Data { id, len, .. } = buffer.head(n) else { panic!("no data frame") };
    let mut messages = vec![plan.lookup.message(id, extended)];
    messages.extend(extended.then(|| plan.lookup.of_group(id)).into_iter().flatten());
    let (mut numbers, mut texts) = (BTreeMap::new(), BTreeMap::new());
    for message in messages.into_iter().flatten() {
        decode_all(plan, usize::from(message), &buffer, len, |decode, value| {
            let name = planned.tags[decode.tag].name.to_string();
            match value {
                Decoded::Text(at) => drop(texts.insert(name, text_of(plan, at))),
                Decoded::Bits(..) => drop(numbers.insert(name, super::number_of(decode, value))),
                Decoded::Bad(_) => {}
            }
        });
    }
    (numbers, texts)
}

/// A wide raw number that is scaled may be rounded once more here than there.
fn is_near(ours: &Value, theirs: &str, bits: u64) -> bool {
    let Value::Float64(ours) = ours else { return false };
    let theirs = super::number(theirs);
    bits > 53 && (ours - theirs).abs() <= ours.abs() * 1e-15
}

#[derive(Default)]
struct Sums {
    files: usize,
    warnings: usize,
    signals: usize,
    refused: usize,
    frames: usize,
    values: usize,
    texts: usize,
}

/// One file that cantools can read.
fn compare(path: &Path, theirs: &Json, sums: &mut Sums) {
    let at = path.display();
    // By the address: its tag's number, type and bits.
    let mut known: BTreeMap<String, (usize, &str, u64)> = BTreeMap::new();
    let mut tags = Vec::new();
    for message in list(theirs, "messages") {
        for signal in list(message, "signals") {
            let address = address_of(message, signal["name"].as_str().unwrap());
            let number = known.len();
            if known.contains_key(&address) {
                continue;
            }
            known.insert(address.clone(), (number, signal["type"].as_str().unwrap(), signal["bits"].as_u64().unwrap()));
            if signal["has_texts"] == true {
                tags.push((format!("t{number}"), address.clone(), "string"));
            }
            tags.push((format!("n{number}"), address, ""));
        }
    }
    let outcome = read(path, &tags);
    sums.warnings += outcome.warnings;
    let Some(config) = outcome.config else { panic!("{at} is refused: {:?} {:?}", outcome.file, outcome.refused) };
    sums.signals += known.len();
    for (tag, why) in &outcome.refused {
        let address = known.iter().find(|(_, (number, ..))| tag[1..] == number.to_string()).map(|(address, _)| address);
        sums.refused += usize::from(tag.starts_with('n'));
        println!("{at}: {address:?}: {why}");
        assert!(is_said_by_the_file(why), "{at}: {address:?}: {why}");
    }
    let planned = protocol::build(&config, &[0]).unwrap().plan;
    let types: BTreeMap<&str, String> =
        config.tags.iter().map(|tag| (&*tag.name, tag.value_type().to_string())).collect();
    for (address, (number, ty, _)) in &known {
        if let Some(ours) = types.get(&*format!("n{number}")) {
            assert_eq!(ours, ty, "{at}: {address}");
        }
    }
    for message in list(theirs, "messages") {
        let (id, extended) = (message["id"].as_u64().unwrap() as u32, message["extended"] == true);
        for frame in list(message, "frames") {
            let data = super::hexadecimal(frame["data"].as_str().unwrap());
            let (numbers, texts) = decoded(&planned, id, extended, &data);
            for (signal, theirs) in frame["values"].as_object().unwrap() {
                let address = address_of(message, signal);
                let (number, _, bits) = known[&address];
                let name = format!("n{number}");
                let theirs = theirs.as_str().unwrap();
                if types.contains_key(&*name) {
                    let ours = numbers.get(&name);
                    // What is no number, or infinite, is no value.
                    let is_none = theirs.parse::<f64>().is_ok_and(|theirs| !theirs.is_finite());
                    let equal = ours.is_none_or(|ours| agrees(ours, theirs) || is_near(ours, theirs, bits));
                    let equal = equal && ours.is_none() == is_none;
                    assert!(equal, "{at}: {address} of {}: {ours:?}, by cantools {theirs}", frame["data"]);
                    sums.values += 1;
                }
            }
            for (signal, theirs) in frame["texts"].as_object().unwrap() {
                let address = address_of(message, signal);
                let name = format!("t{}", known[&address].0);
                if types.contains_key(&*name) {
                    assert_eq!(
                        texts.get(&name).map(String::as_str),
                        theirs.as_str(),
                        "{at}: {address} of {}",
                        frame["data"]
                    );
                    sums.texts += 1;
                }
            }
            sums.frames += 1;
        }
    }
}

fn address_of(message: &Json, signal: &str) -> String {
    format!("{}.{signal}", message["name"].as_str().unwrap())
}

#[test]
fn real_dbc_files_are_read_and_decoded_as_by_cantools() {
    let mut peer = Peer::python("real_files.py", &[]);
    let seed: u32 =
        std::env::var("FIELDBEAT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| fastrand::u32(..));
    println!("FIELDBEAT_SEED={seed}");
    let (mut sums, mut theirs_alone) = (Sums::default(), 0);
    for path in files(&[".dbc"]) {
        let theirs = peer.ask(&json!({ "dbc": path, "frames": FRAMES, "seed": seed }));
        sums.files += 1;
        if let Some(error) = theirs["error"].as_str() {
            // What cantools refuses as a whole, we read as far as it can be understood.
            let outcome = read(&path, &[]);
            println!("{}: cantools says {error}; {} warnings, {:?}", path.display(), outcome.warnings, outcome.file);
            theirs_alone += 1;
            continue;
        }
        compare(&path, &theirs, &mut sums);
    }
    let Sums { files, warnings, signals, refused, frames, values, texts } = sums;
    println!(
        "{files} files ({theirs_alone} that cantools does not read), {warnings} warnings; {signals} signals, {refused} left \
         out; {values} values and {texts} texts of {frames} frames are equal"
    );
    assert!(are_ones_own() || values > 0 && refused * 20 < signals, "{refused} of {signals} signals are left out");
}

#[test]
fn real_eds_files_have_the_objects_that_canopen_finds() {
    let mut peer = Peer::python("real_files.py", &[]);
    let (mut objects, mut warnings) = (0, 0);
    for path in files(&[".eds", ".dcf"]) {
        let at = path.display();
        let read = Eds::read(&fs::read(&path).unwrap());
        let theirs = peer.ask(&json!({ "eds": path, "node": 5 }));
        let ours = match (read, theirs["error"].as_str()) {
            (Err(faults), Some(error)) => {
                println!("{at}: {faults:?}; canopen says {error}");
                continue;
            }
            (Ok(ours), Some(error)) => {
                println!(
                    "{at}: canopen says {error}; {} objects, {} left out",
                    ours.objects().count(),
                    ours.left_out.len()
                );
                continue;
            }
            (Ok(ours), None) => ours,
            (Err(faults), None) => panic!("{at} is refused: {faults:?}"),
        };
        for (what, why) in ours.left_out.iter() {
            println!("{at}:{}: {what}: {}", why.line, why.message);
        }
        warnings += ours.left_out.len();
        let found: BTreeMap<(u16, u8), (&str, DataType)> = ours
            .objects()
            .map(|(object, entry)| ((object.index, object.sub), (&*entry.name, entry.data_type)))
            .collect();
        for object in list(&theirs, "objects") {
            let number = |at: usize| object[at].as_u64().unwrap_or_default();
            let (index, sub) = (number(0) as u16, number(1) as u8);
            let Some((name, data_type)) = found.get(&(index, sub)) else { panic!("{at}: {object} is missing") };
            // canopen takes types that it does not know for domains.
            let is_unknown = matches!(data_type, DataType::Other(_)) && number(3) == 15;
            assert!(is_unknown || *data_type == DataType::from_code(number(3) as u16), "{at}: {object} {data_type}");
            // Of sub-objects that are all alike, canopen takes the object's name for each.
            let theirs = object[2].as_str().unwrap();
            let is_compact = theirs.ends_with(".Number of entries") || {
                let (own, rest) = theirs.split_at_checked(theirs.len() / 2).unwrap_or_default();
                rest.strip_prefix('.') == Some(own)
            };
            assert!(is_compact || theirs == *name, "{at}: {object} is {name:?}");
            objects += 1;
        }
    }
    println!("{objects} objects are equal, {warnings} warnings");
    assert!(are_ones_own() || objects > 0);
}
