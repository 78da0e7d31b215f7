//! `fieldbeat read`: reads tags once, from the devices or from the running gateway that polls them.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::{files, held, rows};
use crate::config::{Config, Pace, TagConfig};
use crate::lane::{LinkState, Reading};
use crate::limits::{LATE_REPLY_WAIT, PERIOD_QUICK_MAX, SILENT_AFTER_TIMEOUTS};
use crate::plan::{Plan, TagPlan};
use crate::protocol;
use crate::rt::monotonic_now;
use crate::serve::{cause_of, newest, reason};
use crate::supervise::floor::{self, Floor, Scheduling};
use crate::tag::{Cause, Fault, Nanos, Status, Value, glob_has, is_pattern};

#[derive(Args)]
pub struct ReadArgs {
    /// Directory with fieldbeat.toml and tags/.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// Tags to read, by name or by a pattern in which * matches any characters ('boiler.*').
    #[arg(required = true, value_name = "TAG")]
    tags: Vec<String>,
    /// Read from the devices even if a running gateway polls them: each gets a second connection.
    #[arg(long)]
    direct: bool,
}

pub fn read(args: &ReadArgs) -> ExitCode {
    let loaded = match files::load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let names = match named(&loaded.config, &args.tags) {
        Ok(names) => names,
        Err(message) => return super::fail(super::EXIT_NO, message),
    };
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let socket = loaded.config.control.socket.as_deref().filter(|_| !args.direct);
    let held = socket.map_or_else(HashMap::new, |socket| held::held(socket, &names));
    let (from_gateway, names): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| held.contains_key(name));
    let rows = from_gateway.iter().filter_map(|name| held.get(name));
    let all_good = rows.fold(true, |all_good, row| {
        out!("{:<width$}  {}", rows::text(row, "tag"), rows::latest(row));
        all_good & (rows::text(row, "status") == Status::GOOD.name())
    });
    match names.is_empty() {
        true if all_good => ExitCode::SUCCESS,
        true => ExitCode::from(super::EXIT_NO),
        false => {
            let code = read_directly(loaded.config, &names, width);
            if all_good || code != ExitCode::SUCCESS { code } else { ExitCode::from(super::EXIT_NO) }
        }
    }
}

/// Asks the devices.
fn read_directly(config: Config, names: &[String], width: usize) -> ExitCode {
    if let Some(own) = names.iter().find(|name| name.starts_with('$')) {
        let text =
            format!("error: \"{own}\" is one of the gateway's own tags: `fieldbeat get` asks a running gateway for it");
        return super::fail(super::EXIT_NO, text);
    }
    let mut config = only(config, names);
    // Ordinary threads read, those of local buses among them: they stay below this.
    config.realtime.priority = 1;
    // Once is enough, but whoever asks does not wait for a day to be asked again after a reply that was lost.
    config.groups.iter_mut().for_each(|group| group.pace = Pace::Every(group.interval().min(PERIOD_QUICK_MAX)));
    let patience = patience(&config);
    let plan = match protocol::build(&config, &[0]) {
        Ok(planned) => Arc::new(planned.plan),
        Err(error) => return super::fail(super::EXIT_CONFIG, error),
    };
    let mut floor = match floor::prepare(plan.clone(), Scheduling::Ordinary) {
        Ok(prepared) => prepared.start(),
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: cannot start a thread: {error}")),
    };
    let end = Instant::now() + patience;
    while Instant::now() < end && !settled(&floor, &plan) {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Whether a device is silent or slow shows only later.
    let end = end.min(Instant::now() + LATE_REPLY_WAIT);
    while Instant::now() < end && is_silent(&floor, &plan) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let all_good = print(&floor, &plan, names, width);
    floor.stop();
    if all_good { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_NO) }
}

/// The tags that are meant, each once, in the order in which they were asked for.
fn named(config: &Config, asked: &[String]) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for one in asked {
        // The gateway's own tags are meant where they are named.
        let may_be = |name: &str| one.starts_with('$') || !name.starts_with('$');
        let matching = |name: &str| may_be(name) && glob_has(one, name);
        let mut found = config.tags.iter().filter(|tag| matching(&tag.name)).peekable();
        if found.peek().is_none() {
            let all = config.tags.iter().map(|tag| tag.name.as_str());
            let hint = files::near(one.trim_matches('*'), all);
            let what = if is_pattern(one) { "tag that fits" } else { "tag" };
            return Err(format!("error: there is no {what} \"{one}\" in the configuration{hint}"));
        }
        names.extend(found.filter(|tag| known.insert(&tag.name)).map(|tag| tag.name.clone()));
    }
    Ok(names)
}

/// The part of a configuration that these tags need, in their order.
fn only(mut config: Config, names: &[String]) -> Config {
    let by_name: HashMap<&str, &TagConfig> = config.tags.iter().map(|tag| (tag.name.as_str(), tag)).collect();
    let mut tags: Vec<TagConfig> =
        names.iter().filter_map(|name| by_name.get(name.as_str()).copied()).cloned().collect();
    // What scales them has to be read with them.
    let scales: Vec<_> = tags.iter().filter_map(|tag| tag.decoding.scale_from.clone()).collect();
    for scale in scales {
        if !tags.iter().any(|tag| *tag.name == *scale) {
            tags.extend(config.tags.iter().find(|tag| *tag.name == *scale).cloned());
        }
    }
    let mut used: Vec<usize> = tags.iter().map(|t| t.link).collect();
    used.sort_unstable();
    used.dedup();
    for tag in &mut tags {
        tag.link = used.iter().position(|l| *l == tag.link).unwrap_or(0);
    }
    config.links = used.iter().map(|l| config.links[*l].clone()).collect();
    config.tags = tags;
    config
}

/// Long enough for the slowest link to connect and to be asked until it counts as silent.
fn patience(config: &Config) -> Duration {
    let longest = config.links.iter().map(|link| link.protocol.patience());
    let slowest_scan = config.groups.iter().map(|g| g.interval()).max().unwrap_or_default();
    Duration::from_nanos((longest.max().unwrap_or_default() + slowest_scan + slowest_scan).0)
}

pub(super) fn settled(floor: &Floor, plan: &Plan) -> bool {
    plan.tags.iter().all(|(id, tag)| match floor.image.read(id.index()).map(|r| Status(r.status)) {
        None | Some(Status::BAD_WAITING_FOR_INITIAL_DATA | Status::UNCERTAIN_LAST_USABLE) => false,
        // After the first reply that did not come: another may.
        Some(Status::BAD_NO_COMMUNICATION) if plan.links[tag.link].protocol.is_polled() => {
            let link = floor.counters.link(tag.link);
            let missed = link.timeouts.get() + link.exceptions.get() + link.broken.get();
            link.state() != LinkState::Up || missed >= u64::from(SILENT_AFTER_TIMEOUTS)
        }
        Some(_) => true,
    })
}

/// Whether a device with a connection has answered nothing so far, not even too late.
fn is_silent(floor: &Floor, plan: &Plan) -> bool {
    plan.tags.iter().any(|(id, tag)| {
        let status = floor.image.read(id.index()).map(|r| Status(r.status));
        let is_silent = match Cause::of_code(floor.image.cause(id.index())) {
            Some(Cause::Read { fault, .. }) => fault == Fault::NoReply,
            // It had one, which was given up for its silence.
            Some(Cause::NotConnected) => floor.counters.link(tag.link).connects.get() > 0,
            _ => false,
        };
        is_silent && status == Some(Status::BAD_NO_COMMUNICATION)
    })
}

fn print(floor: &Floor, plan: &Plan, names: &[String], width: usize) -> bool {
    let now = monotonic_now();
    let notes = floor.notes.lock().map(|notes| notes.clone()).unwrap_or_default();
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut all_good = true;
    let mut troubled = vec![false; plan.links.end()];
    // Scales of other tags are read as well, and not asked for.
    for (id, tag) in plan.tags.iter().filter(|(_, tag)| names.contains(&*tag.name)) {
        let (reading, value) = newest(&floor.image, id, tag.ty);
        let status = Status(reading.status);
        all_good &= status.is_good();
        troubled[tag.link.index()] |= !status.is_good();
        let age = match reading.t {
            0 => "never read".to_owned(),
            t => format!("{:.1} ms ago", (now - Nanos(t)).0 as f64 / 1e6),
        };
        let why = match status.is_good() {
            true => String::new(),
            false => {
                let cause = cause_of(plan, &floor.image, &floor.counters, id, status);
                format!(": {}", reason(status, cause, notes.get(&tag.link).map(|note| &*note.trouble)))
            }
        };
        out!("{:<width$}  {}  {status}  {age}{why}", tag.name, shown(tag, reading, value.as_ref()));
    }
    for (id, note) in &notes {
        if troubled.get(id.index()) == Some(&true) && !note.trouble.is_empty() {
            note!("link \"{}\": {}", plan.links[*id].name, note.trouble);
        }
    }
    all_good
}

/// A value with its unit, and with what it is called.
fn shown(tag: &TagPlan, reading: Reading, value: Option<&Value>) -> String {
    let value = value.map_or("-".to_owned(), |v| v.to_string());
    let unit = if tag.unit.is_empty() { String::new() } else { format!(" {}", tag.unit) };
    let has_text = reading.t != 0 && !tag.ty.is_long();
    let text = Some(reading.value).filter(|_| has_text).and_then(|bits| tag.texts.of(bits));
    let text = text.map_or(String::new(), |text| format!(" {text:?}"));
    format!("{value}{unit}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Image;
    use crate::protocol::load_parts;
    use crate::tag::TagId;

    const DBC: &str = "BO_ 256 Gearbox: 8 Node\n SG_ Gear : 0|8@1+ (1,-125) [0|0] \"\" Node\n \
        SG_ Lever : 8|8@1- (1,0) [0|0] \"\" Node\nVAL_ 256 Gear 251 \"Park\" 0 \"Reverse\" ;\nVAL_ 256 Lever -1 \"back\" ;\n";

    fn plan_of(tags: &str) -> Plan {
        let file = format!(
            r#"{{ "links": [ {{ "name": "can", "protocol": "can", "interface": "can0", "dbc": "gear.dbc" }},
                             {{ "name": "plc", "protocol": "modbus_tcp", "host": "h" }} ], "tags": [ {tags} ] }}"#
        );
        let files = [("tags/a.json", &*file), ("tags/gear.dbc", DBC)];
        let config = load_parts(("fieldbeat.toml", "[gateway]\nid = \"t\"\n"), &files);
        protocol::build(&config.unwrap_or_else(|errors| panic!("{errors}")).config, &[0]).unwrap().plan
    }

    #[test]
    fn a_value_is_shown_with_its_unit_and_with_what_a_dbc_file_or_its_tag_calls_it() {
        let plan = plan_of(
            r#"{ "name": "gear", "address": "can:Gearbox.Gear", "scan_rate_ms": 100 },
               { "name": "lever", "address": "can:Gearbox.Lever", "scan_rate_ms": 100 },
               { "name": "pump", "address": "plc:1:3:1", "data_type": "uint16", "unit": "x", "scan_rate_ms": 100,
                 "values": { "0": "off", "2": "on" } }"#,
        );
        let shown = |name: &str, value: u64| {
            let tag = plan.tags.values().find(|tag| *tag.name == *name).unwrap();
            let image = Image::new([0], 0);
            image.write(0, Reading { t: 1, value, ..Reading::default() });
            let (reading, value) = newest(&image, TagId(0), tag.ty);
            super::shown(tag, reading, value.as_ref())
        };
        assert_eq!(shown("gear", 126f64.to_bits()), "126 \"Park\"");
        assert_eq!(shown("gear", (-125f64).to_bits()), "-125 \"Reverse\"");
        assert_eq!(shown("gear", 3f64.to_bits()), "3");
        assert_eq!(shown("lever", -1i64 as u64), "-1 \"back\"");
        assert_eq!([shown("pump", 2), shown("pump", 1)], ["2 x \"on\"", "1 x"]);
        let never = Reading::default();
        let pump = plan.tags.values().find(|tag| *tag.name == *"pump").unwrap();
        assert_eq!(super::shown(pump, never, None), "- x");
    }

    #[test]
    fn a_tag_is_read_with_the_tag_that_scales_it() {
        let tag = |name: &str, more: &str| {
            format!(
                r#"{{ "name": "{name}", "address": "plc:1:3:1", "data_type": "int16", "scan_rate_ms": 100{more} }}"#
            )
        };
        let file = format!(
            r#"{{ "links": [ {{ "name": "plc", "protocol": "modbus_tcp", "host": "h" }} ], "tags": [ {}, {}, {} ] }}"#,
            tag("a", r#", "scale_from": "sf""#),
            tag("b", ""),
            tag("sf", "")
        );
        let toml = ("fieldbeat.toml", "[gateway]\nid = \"t\"\n");
        let config = load_parts(toml, &[("tags/a.json", &file)]).unwrap_or_else(|errors| panic!("{errors}")).config;
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            let config = only(config.clone(), &named(&config, &asked).unwrap());
            config.tags.iter().map(|tag| tag.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!((names(&["a"]), names(&["b"])), (vec!["a".into(), "sf".into()], vec!["b".to_owned()]));
        assert_eq!(
            (names(&["b", "*"]), names(&["s*", "b"])),
            (vec!["b".into(), "a".into(), "sf".into()], vec!["sf".into(), "b".to_owned()])
        );
        let fault = named(&config, &["c*".to_owned()]).unwrap_err();
        assert!(fault.starts_with("error: there is no tag that fits \"c*\" in the configuration"), "{fault}");
    }
}
