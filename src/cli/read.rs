//! `fieldbeat read`: asks the devices once, without a running gateway.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::files;
use crate::config::{Config, LinkProtocol};
use crate::lane::{LinkState, Reading};
use crate::limits::{LATE_REPLY_WAIT, PERIOD_QUICK_MAX, SILENT_AFTER_TIMEOUTS};
use crate::plan::{self, Plan, TagPlan};
use crate::rt::monotonic_now;
use crate::serve::{cause_of, reason};
use crate::supervise::floor::{self, Floor, Scheduling};
use crate::tag::{Cause, Fault, Nanos, Status, Value, ValueType};

#[derive(Args)]
pub struct ReadArgs {
    /// Directory with fieldbeat.toml and tags/.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// Tags to read.
    #[arg(required = true, value_name = "TAG")]
    tags: Vec<String>,
}

pub fn read(args: &ReadArgs) -> ExitCode {
    let loaded = match files::load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let mut config = match only(loaded.config, &args.tags) {
        Ok(config) => config,
        Err(message) => return super::fail(super::EXIT_CONFIG, message),
    };
    // Ordinary threads read, those of local buses among them: they stay below this.
    config.realtime.priority = 1;
    // Once is enough, but whoever asks does not wait for a day to be asked again after a reply that was lost.
    config.groups.iter_mut().for_each(|group| group.period = group.period.min(PERIOD_QUICK_MAX));
    let patience = patience(&config);
    let plan = match plan::build(&config, &[0]) {
        Ok(planned) => Arc::new(planned.plan),
        Err(error) => return super::fail(super::EXIT_CONFIG, error),
    };
    let mut floor = match floor::prepare(plan.clone(), Scheduling::Ordinary) {
        Ok(prepared) => prepared.start(),
        Err(error) => return super::fail(1, format!("error: the system gives no thread: {error}")),
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
    let all_good = print(&floor, &plan, &args.tags);
    floor.stop();
    if all_good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// The part of a configuration that the named tags need, in their order.
fn only(mut config: Config, names: &[String]) -> Result<Config, String> {
    let mut tags = Vec::new();
    for name in names {
        let Some(tag) = config.tags.iter().find(|t| t.name == *name) else {
            let hint = files::near(name, config.tags.iter().map(|tag| tag.name.as_str()));
            return Err(format!("error: there is no tag \"{name}\" in the configuration{hint}"));
        };
        tags.push(tag.clone());
    }
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
    Ok(config)
}

/// Long enough for the slowest link to connect and to be asked until it counts as silent.
fn patience(config: &Config) -> Duration {
    let longest = config.links.iter().map(|link| {
        let tries = |timeout: Nanos| Nanos(timeout.0 * 4);
        match &link.protocol {
            LinkProtocol::Modbus(modbus) => modbus.connect_timeout + modbus.connect_delay + tries(modbus.timeout),
            LinkProtocol::Can(can) => can.connect_timeout,
            LinkProtocol::CanOpen(canopen) => canopen.connect_timeout,
            LinkProtocol::Bus(_) => crate::limits::BUS_OPEN_TIMEOUT,
            LinkProtocol::Diagnostics => Nanos::ZERO,
        }
    });
    let slowest_scan = config.groups.iter().map(|g| g.period).max().unwrap_or_default();
    Duration::from_nanos((longest.max().unwrap_or_default() + slowest_scan + slowest_scan).0)
}

pub(super) fn settled(floor: &Floor, plan: &Plan) -> bool {
    plan.tags.iter().all(|(id, tag)| match floor.image.read(id.index()).map(|r| Status(r.status)) {
        None | Some(Status::BAD_WAITING_FOR_INITIAL_DATA | Status::UNCERTAIN_LAST_USABLE) => false,
        // After the first reply that did not come: another may.
        Some(Status::BAD_NO_COMMUNICATION) if plan.links[tag.link].protocol.modbus().is_some() => {
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

fn print(floor: &Floor, plan: &Plan, names: &[String]) -> bool {
    let now = monotonic_now();
    let notes = floor.notes.lock().map(|notes| notes.clone()).unwrap_or_default();
    let width = plan.tags.values().map(|t| t.name.len()).max().unwrap_or(0);
    let mut all_good = true;
    let mut troubled = vec![false; plan.links.end()];
    // Scales of other tags are read as well, and not asked for.
    for (id, tag) in plan.tags.iter().filter(|(_, tag)| names.iter().any(|name| **name == *tag.name)) {
        let mut bytes = vec![0; tag.ty.long_bytes_max()];
        let reading = floor.image.read_long(id.index(), &mut bytes).unwrap_or_default();
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
        out!("{:<width$}  {}  {status}  {age}{why}", tag.name, shown(tag, reading, &bytes));
    }
    for (id, note) in &notes {
        if troubled.get(id.index()) == Some(&true) && !note.trouble.is_empty() {
            note!("link \"{}\": {}", plan.links[*id].name, note.trouble);
        }
    }
    all_good
}

/// A value with its unit, and with what it is called.
fn shown(tag: &TagPlan, reading: Reading, bytes: &[u8]) -> String {
    let value = value(tag.ty, reading, bytes).map_or("-".to_owned(), |v| v.to_string());
    let unit = if tag.unit.is_empty() { String::new() } else { format!(" {}", tag.unit) };
    let has_text = reading.t != 0 && !tag.ty.is_long();
    let text = Some(reading.value).filter(|_| has_text).and_then(|bits| tag.texts.of(bits));
    let text = text.map_or(String::new(), |text| format!(" {text:?}"));
    format!("{value}{unit}{text}")
}

fn value(ty: ValueType, reading: Reading, bytes: &[u8]) -> Option<Value> {
    if reading.t == 0 {
        return None;
    }
    match ty {
        ValueType::Scalar(scalar) => Some(Value::from_bits(scalar, reading.value)),
        _ => Value::from_long(ty.code(), &bytes[..(reading.value as usize).min(bytes.len())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_parts;

    const DBC: &str = "BO_ 256 Gearbox: 8 Node\n SG_ Gear : 0|8@1+ (1,-125) [0|0] \"\" Node\n \
        SG_ Lever : 8|8@1- (1,0) [0|0] \"\" Node\nVAL_ 256 Gear 251 \"Park\" 0 \"Reverse\" ;\nVAL_ 256 Lever -1 \"back\" ;\n";

    fn plan_of(tags: &str) -> Plan {
        let file = format!(
            r#"{{ "links": [ {{ "name": "can", "protocol": "can", "interface": "can0", "dbc": "gear.dbc" }},
                             {{ "name": "plc", "protocol": "modbus_tcp", "host": "h" }} ], "tags": [ {tags} ] }}"#
        );
        let files = [("tags/a.json", &*file), ("tags/gear.dbc", DBC)];
        let config = load_parts(("fieldbeat.toml", "[gateway]\nid = \"t\"\n"), &files);
        plan::build(&config.unwrap_or_else(|errors| panic!("{errors}")).config, &[0]).unwrap().plan
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
            super::shown(tag, Reading { t: 1, value, ..Reading::default() }, &[])
        };
        assert_eq!(shown("gear", 126f64.to_bits()), "126 \"Park\"");
        assert_eq!(shown("gear", (-125f64).to_bits()), "-125 \"Reverse\"");
        assert_eq!(shown("gear", 3f64.to_bits()), "3");
        assert_eq!(shown("lever", -1i64 as u64), "-1 \"back\"");
        assert_eq!([shown("pump", 2), shown("pump", 1)], ["2 x \"on\"", "1 x"]);
        let never = Reading::default();
        let pump = plan.tags.values().find(|tag| *tag.name == *"pump").unwrap();
        assert_eq!(super::shown(pump, never, &[]), "- x");
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
            let config = only(config.clone(), &asked).unwrap();
            config.tags.iter().map(|tag| tag.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!((names(&["a"]), names(&["b"])), (vec!["a".into(), "sf".into()], vec!["b".to_owned()]));
    }
}
