//! Which models a SunSpec device has (SunSpec Device Information Model Specification, section 3), and a tag file of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::models::{self, Point};
use crate::limits::MODBUS_REGISTERS_MAX;

/// Where the chain of models may begin.
const BASES: [u16; 3] = [40_000, 50_000, 0];
/// `SunS`
const MARKER: [u16; 2] = [0x5375, 0x6E53];
const END: u16 = 0xFFFF;
/// A device that has more goes round in circles.
const MODELS_MAX: usize = 256;
/// A scale that is not implemented.
const NO_SCALE: u16 = 0x8000;

/// A model of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub id: u16,
    /// Offset of its number.
    pub at: u16,
    /// Behind its number and its length.
    pub registers: u16,
    /// Of a model whose points are known: all of it, from its number on.
    pub values: Vec<u16>,
}

/// Reads registers: the first, and how many.
type Read<'r> = dyn FnMut(u16, u16) -> Result<Vec<u16>, String> + 'r;

/// Goes along the chain.
///
/// # Errors
/// What the device answered where it has no marker, or what failed on the way.
pub fn walk(read: &mut Read<'_>) -> Result<Vec<Found>, String> {
    let mut tried = Vec::new();
    let base = BASES.into_iter().find(|base| match read(*base, 2) {
        Ok(marker) if marker == MARKER => true,
        Ok(_) => {
            tried.push(format!("{base}: not SunSpec"));
            false
        }
        Err(error) => {
            tried.push(format!("{base}: {error}"));
            false
        }
    });
    let Some(base) = base else {
        return Err(format!("the device has no marker \"SunS\" ({}); is the unit right?", tried.join("; ")));
    };
    let mut found = Vec::new();
    let mut at = u32::from(base) + 2;
    while found.len() < MODELS_MAX {
        let Ok(here) = u16::try_from(at) else { break };
        let (id, registers) = match read(here, 2)?[..] {
            [END, _] => return Ok(found),
            [id, registers] => (id, registers),
            _ => return Err(format!("there is no model at {here}")),
        };
        let end = at + 2 + u32::from(registers);
        if end > 65_536 {
            return Err(format!("the model {id} at {here} has {registers} registers and ends beyond register 65535"));
        }
        let values = if models::of(id).is_some() { all_of(read, here, 2 + registers)? } else { Vec::new() };
        found.push(Found { id, at: here, registers, values });
        at = end;
    }
    Err(format!("more than {} models, or no end marker", found.len()))
}

fn all_of(read: &mut Read<'_>, first: u16, count: u16) -> Result<Vec<u16>, String> {
    let mut values = Vec::new();
    while values.len() < usize::from(count) {
        let done = values.len() as u16;
        values.extend(read(first + done, (count - done).min(MODBUS_REGISTERS_MAX))?);
    }
    Ok(values)
}

/// Where the device is, and how its tags are named.
pub struct Place<'p> {
    pub name: &'p str,
    pub host: &'p str,
    pub port: u16,
    pub unit: u8,
    pub scan_rate_ms: u32,
}

/// A tag file as it is written.
#[derive(Serialize)]
pub struct TagFile<'p> {
    links: [Link<'p>; 1],
    tags: Vec<Tag>,
}

#[derive(Serialize)]
struct Link<'p> {
    name: &'p str,
    protocol: &'static str,
    host: &'p str,
    #[serde(skip_serializing_if = "is_usual")]
    port: u16,
    addressing: &'static str,
}

fn is_usual(port: &u16) -> bool {
    *port == 502
}

#[derive(Serialize)]
struct Tag {
    name: String,
    address: String,
    data_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_available: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, &'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    scan_rate_ms: u32,
}

impl TagFile<'_> {
    pub fn tags(&self) -> usize {
        self.tags.len()
    }

    /// A tag a line.
    pub fn text(&self) -> Result<String, String> {
        let tags =
            self.tags.iter().map(|tag| json(tag).map(|tag| format!("    {tag}"))).collect::<Result<Vec<_>, _>>()?;
        let link = json(&self.links[0])?;
        Ok(format!("{{ \"links\": [ {link} ],\n  \"tags\": [\n{} ] }}\n", tags.join(",\n")))
    }
}

fn json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

/// The points of the models that are known. Left out are those whose scale says that it is not implemented: the device
/// has no such point at any time, whereas a value may only be missing now.
pub fn tag_file<'p>(place: &Place<'p>, found: &[Found]) -> TagFile<'p> {
    let mut tags = Vec::new();
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    for model in found {
        let Some(known) = models::of(model.id) else { continue };
        let nth = seen.entry(model.id).or_default();
        *nth += 1;
        let prefix = match nth {
            1 => format!("{}.{}", place.name, model.id),
            n => format!("{}.{}-{n}", place.name, model.id),
        };
        let scale_at = |name: &str| known.points.iter().find(|point| point.name == name);
        let is_there = |point: &Point| {
            let scale = if point.is_scale() { Some(point) } else { point.scale.and_then(scale_at) };
            let inside = point.at + point.registers <= model.registers.saturating_add(2);
            let has_scale = |scale: &Point| model.values.get(usize::from(scale.at)).is_some_and(|raw| *raw != NO_SCALE);
            inside && scale.is_none_or(has_scale)
        };
        for point in known.points.iter().filter(|point| is_there(point)) {
            let Some(data_type) = point.data_type() else { continue };
            let first = model.at + point.at;
            tags.push(Tag {
                name: format!("{prefix}.{}", point.name),
                address: format!("{}:{}:3:{first}:{}", place.name, place.unit, point.registers),
                data_type,
                scale_from: point.scale.map(|scale| format!("{prefix}.{scale}")),
                not_available: point.has_no_value_by_its_bits().then_some("sunspec"),
                values: point.texts.iter().map(|(value, text)| (value.to_string(), *text)).collect(),
                unit: point.unit.map(unit),
                scan_rate_ms: place.scan_rate_ms,
            });
        }
    }
    let link = Link { name: place.name, protocol: "modbus_tcp", host: place.host, port: place.port, addressing: "raw" };
    TagFile { links: [link], tags }
}

/// As it is written elsewhere.
fn unit(unit: &'static str) -> &'static str {
    match unit {
        "C" => "°C",
        "Pct" => "%",
        "Secs" => "s",
        unit => unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device: the marker, model 1, a model that nobody knows, model 103, the end.
    fn device() -> Vec<u16> {
        let mut registers = MARKER.to_vec();
        registers.extend([1, 65]);
        registers.extend([0; 65]);
        registers.extend([64_001, 3, 7, 7, 7]);
        let mut inverter = vec![0u16; 52];
        (inverter[0], inverter[1]) = (103, 50);
        // A with its scale; the scale of VA is not implemented.
        (inverter[2], inverter[6]) = (2301, (-1i16) as u16);
        inverter[19] = NO_SCALE;
        registers.extend(inverter);
        registers.extend([END, 0]);
        registers
    }

    fn of(base: u16, registers: Vec<u16>) -> impl FnMut(u16, u16) -> Result<Vec<u16>, String> {
        move |first, count| {
            let at = usize::from(first).checked_sub(base.into()).ok_or("not here")?;
            registers.get(at..at + usize::from(count)).map(<[u16]>::to_vec).ok_or_else(|| "not here".to_owned())
        }
    }

    #[test]
    fn the_chain_is_followed_from_wherever_its_marker_lies() {
        for base in BASES {
            let found = walk(&mut of(base, device())).unwrap();
            let places: Vec<_> = found.iter().map(|model| (model.id, model.at - base, model.registers)).collect();
            assert_eq!(places, [(1, 2, 65), (64_001, 69, 3), (103, 74, 50)]);
            assert_eq!((found[1].values.len(), found[2].values.len()), (0, 52));
        }
    }

    #[test]
    fn a_chain_that_is_none_ends_in_an_error() {
        let error = |registers: Vec<u16>| walk(&mut of(40_000, registers)).unwrap_err();
        assert!(error(vec![1, 2]).contains("no marker \"SunS\" (40000: not SunSpec; 50000: not here"));
        let mut endless = MARKER.to_vec();
        endless.extend([0; 600]);
        assert!(error(endless).contains("no end"));
        let mut wide = MARKER.to_vec();
        wide.extend([64_001, 60_000]);
        assert!(error(wide).contains("ends beyond register 65535"));
    }

    #[test]
    fn the_tag_file_is_one_that_can_be_run() {
        let found = walk(&mut of(40_000, device())).unwrap();
        let place = Place { name: "inv", host: "10.0.0.7", port: 1502, unit: 1, scan_rate_ms: 1000 };
        let file = tag_file(&place, &found);
        let text = file.text().unwrap();
        let toml = ("fieldbeat.toml", "[gateway]\nid = \"t\"\n");
        let config = crate::protocol::load_parts(toml, &[("tags/inv.json", &text)]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.warnings, []);
        let tags = &config.config.tags;
        assert_eq!(tags.len(), file.tags());
        let of = |name: &str| tags.iter().find(|tag| tag.name == name);
        let amperes = of("inv.103.A").unwrap();
        let address = amperes.address.get::<crate::protocol::modbus::model::ModbusAddress>().unwrap();
        assert_eq!((address.first, &*amperes.unit), (40_076, "A"));
        assert_eq!(amperes.decoding.scale_from.as_deref(), Some("inv.103.A_SF"));
        assert_eq!(*amperes.decoding.not_available, [0xFFFF]);
        assert_eq!(of("inv.103.St").unwrap().decoding.texts.of(4), Some("MPPT"));
        assert!(of("inv.103.VA").is_none() && of("inv.103.VA_SF").is_none(), "its scale is not implemented");
        assert!(of("inv.1.Mn").is_some());
    }

    #[test]
    fn a_model_that_a_device_has_twice_has_names_of_its_own() {
        let one = Found { id: 1, at: 40_002, registers: 65, values: vec![0; 67] };
        let place = Place { name: "inv", host: "h", port: 502, unit: 1, scan_rate_ms: 1000 };
        let file = tag_file(&place, &[one.clone(), Found { at: 40_069, ..one }]);
        assert!(file.tags.iter().any(|tag| tag.name == "inv.1.Mn"));
        assert!(file.tags.iter().any(|tag| tag.name == "inv.1-2.Mn"));
    }
}
