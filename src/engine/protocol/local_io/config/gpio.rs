//! Tags on lines of a GPIO chip.

use std::collections::BTreeMap;

use super::super::model::{GpioDrive, GpioLine, GpioPoint, GpioSetting, LocalIoAddress, LocalIoPoint};
use crate::config::diagnostic::Report;
use crate::config::kind::Link;
use crate::config::model::TagConfig;
use crate::config::names::quoted;
use crate::config::reader::{Obj, Part, Text, span};
use crate::limits::GPIO_LINES_MAX;
use crate::protocol::local_io::fields;
use crate::tag::ScalarType;

const ALLOWED: &str = "link:line, a line by its number or its name, such as \"gpio:17\" or \"gpio:DOOR_OPEN\"; gpioinfo \
                       shows them";
/// Bytes of a line's name in the kernel, without its end.
const LINE_NAME_BYTES_MAX: usize = 31;

pub fn read(
    tag: &Obj<'_>,
    text: Text<'_>,
    parts: &[Part<'_>],
    written: Option<ScalarType>,
) -> Option<(LocalIoPoint, ScalarType)> {
    // Names of lines may have colons.
    let (first, last) = (parts.first()?, parts.last()?);
    let name = text.value.get(first.start..last.start + last.text.len())?;
    let whole = Part { text: name, start: first.start };
    let line = match name.parse::<u32>() {
        Ok(offset) if name.bytes().all(|b| b.is_ascii_digit()) => GpioLine::Offset(offset),
        _ if name.is_empty() || name.len() > LINE_NAME_BYTES_MAX || name.chars().any(char::is_control) => {
            tag.error(span(text, whole), format!("the line {}", quoted(name)), format!("allowed: {ALLOWED}"));
            return None;
        }
        _ => GpioLine::Name(name.to_owned()),
    };
    let setting = GpioSetting {
        is_output: tag.choice("direction", fields::GPIO_DIRECTION).unwrap_or(false),
        initial: tag.opt_flag("initial"),
        active_low: tag.flag("active_low"),
        bias: tag.choice("bias", fields::GPIO_BIAS).unwrap_or_default(),
        drive: tag.choice("drive", fields::GPIO_DRIVE).unwrap_or_default(),
        edge: tag.choice("edge", fields::GPIO_EDGE),
        debounce_us: tag.int(&fields::DEBOUNCE_US) as u32,
    };
    check_direction(tag, &setting);
    let ty = written.unwrap_or(ScalarType::Bool);
    let counts = matches!(ty, ScalarType::Uint16 | ScalarType::Uint32 | ScalarType::Uint64);
    if ty != ScalarType::Bool && !matches!(ty, ScalarType::Uint32 | ScalarType::Uint64) {
        let help = "allowed: bool for the level, uint32 or uint64 for the number of edges";
        tag.error(tag.span_of("data_type"), "a line has no value of this type", help);
        return None;
    }
    if counts && setting.edge.is_none() {
        let help = "allowed: \"edge\" with the edges to count: \"rising\", \"falling\" or \"both\"";
        tag.error(tag.span_of("data_type"), "a count without edge", help);
        return None;
    }
    Some((LocalIoPoint::Gpio(GpioPoint { line, setting, counts }), ty))
}

fn check_direction(tag: &Obj<'_>, setting: &GpioSetting) {
    let wrong: &[&str] = if setting.is_output { &["edge", "debounce_us"] } else { &["initial", "drive"] };
    let direction = if setting.is_output { "an output" } else { "an input" };
    for key in wrong.iter().filter(|key| tag.get(key).is_some()) {
        let help = if setting.is_output { "remove it" } else { "remove it, or set \"direction\": \"out\"" };
        tag.error(tag.span_of(key), format!("{key} on {direction}"), help);
    }
    debug_assert!(setting.is_output || setting.drive == GpioDrive::PushPull || tag.get("drive").is_some());
}

/// A line is set up once: tags that share it must want the same of it. And a link has so many lines at most.
pub fn check_lines(tags: &[TagConfig], links: &[Link], report: &Report) {
    let mut known: BTreeMap<(usize, &GpioLine), (&TagConfig, GpioSetting)> = BTreeMap::new();
    let mut lines: BTreeMap<usize, usize> = BTreeMap::new();
    for tag in tags {
        let Some(address) = tag.address.get::<LocalIoAddress>() else { continue };
        let LocalIoPoint::Gpio(point) = &address.point else { continue };
        let Some((first, setting)) = known.get(&(tag.link, &point.line)) else {
            known.insert((tag.link, &point.line), (tag, point.setting));
            let count = lines.entry(tag.link).or_default();
            *count += 1;
            if *count == GPIO_LINES_MAX + 1 {
                let name = links.get(tag.link).map_or("", |link| &link.config.name);
                let message = format!("link {} has more than {GPIO_LINES_MAX} lines", quoted(name));
                report.error(tag.source.clone(), &subject(tag), message, "one chip has one link, of so many lines");
            }
            continue;
        };
        if *setting != point.setting {
            let message = format!(
                "its line is also that of tag {} (line {}), with another direction, bias, edge or debounce time",
                quoted(&first.name),
                first.source.line
            );
            report.error(tag.source.clone(), &subject(tag), message, "use the same settings for both tags");
        }
    }
}

fn subject(tag: &TagConfig) -> String {
    format!("tag {}", quoted(&tag.name))
}
