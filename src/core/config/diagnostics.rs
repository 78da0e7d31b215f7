//! `[diagnostics]`: the gateway's own tags, made of its links, groups and outputs. They are tags like any other, of a link
//! of their own, whose names no file can have.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::diagnostic::Report;
use super::fields;
use super::model::*;
use super::names::quoted;
use super::node::Kind;
use super::reader::Obj;
use crate::config::Pace;
use crate::config::text::Source;
use crate::limits::{DIAGNOSTIC_EVENTS_MAX_HZ, DIAGNOSTIC_GLOBS_MAX, EXECUTORS_MAX, NAME_BYTES_MAX, TAGS_MAX};
use crate::tag::{Nanos, Texts, glob_has};

/// Reads the section; `None`: it is not there, or says `enabled = false`.
pub fn read(section: Option<&Obj<'_>>) -> Option<DiagnosticsConfig> {
    let section = section?;
    let mut tags: Vec<String> = Vec::new();
    for node in section.list("tags", "globs such as \"$link.*.state\"") {
        let Kind::Text(text) = &node.kind else {
            section.error(
                node.span,
                "tags has an entry that is not a string",
                "allowed: globs such as \
                \"$link.*.state\"",
            );
            continue;
        };
        if tags.len() == DIAGNOSTIC_GLOBS_MAX {
            section.error(node.span, format!("tags has more than {DIAGNOSTIC_GLOBS_MAX} globs"), "");
            break;
        }
        if text.len() > NAME_BYTES_MAX || !text.starts_with('$') {
            let help = "allowed: globs of the gateway's own tags, which begin with $, such as \"$link.*.state\"";
            section.error(node.span, format!("tags has {}", quoted(text)), help);
            continue;
        }
        tags.push(text.to_string());
    }
    if section.get("tags").is_none() {
        tags.push("$*".to_owned());
    }
    let enabled = section.get("enabled").is_none() || section.flag("enabled");
    let period = Nanos::from_millis(section.int(&fields::DIAGNOSTICS_MS));
    enabled.then_some(DiagnosticsConfig { tags, period })
}

/// Adds the tags, their link and their groups to what the files say, and warns of globs that match nothing. Where no cores
/// are named, only the machine knows how many lanes there are: [`Config::renew_diagnostics`].
pub fn add(config: &mut Config, report: &Report) {
    let cores = config.realtime.cores.as_ref().map(|cores| cores.len().min(EXECUTORS_MAX));
    match add_to(config, cores.unwrap_or(1) + 1) {
        Ok(unmatched) => {
            for glob in unmatched.iter().filter(|glob| cores.is_some() || !is_of_lanes(glob)) {
                let message =
                    format!("tags has the glob {}, which matches none of the gateway's own tags", quoted(glob));
                let help = "`fieldbeat list '$*'` shows them while `tags` is left out";
                report.warning(of_gateway_file(), "[diagnostics]", message, help);
            }
        }
        Err(message) => {
            let help = "choose fewer: tags = [\"$gateway.*\", \"$link.*.state\"]";
            report.error(of_gateway_file(), "[diagnostics]", message, help);
        }
    }
}

/// Whether it would match with more lanes.
fn is_of_lanes(glob: &str) -> bool {
    of_lanes(EXECUTORS_MAX + 1).any(|lane| glob_has(glob, &lane.name()))
}

fn of_gateway_file() -> Source {
    Source { file: super::files::GATEWAY_FILE.into(), line: 0, column: 0 }
}

impl Config {
    /// Without the gateway's own tags: for a look at devices, without a gateway.
    #[must_use]
    pub fn without_diagnostics(mut self) -> Config {
        self.diagnostics = None;
        // Without the section there is nothing to add, and so nothing too many.
        let _ = self.renew_diagnostics(0);
        self
    }

    /// Makes the gateway's own tags anew, by its links, groups and outputs as they are now, and by the number of its lanes.
    /// Returns a warning for each glob that would match with more of these.
    ///
    /// # Errors
    /// Together with the others there are too many.
    pub fn renew_diagnostics(&mut self, lanes: usize) -> Result<Vec<String>, String> {
        let is_own = |link: &LinkConfig| link.protocol.is::<DiagnosticsLink>();
        if let Some(own) = self.links.iter().position(is_own) {
            // They come last in each table, so that no index changes.
            self.tags.retain(|tag| tag.link != own);
            self.links.truncate(own);
            self.groups.retain(|group| group.name != DIAGNOSTICS && group.name != DIAGNOSTIC_EVENTS);
        }
        let unmatched = add_to(self, lanes)?;
        let warning = |glob: String| {
            let (glob, last) = (quoted(&glob), lanes.saturating_sub(1));
            format!(
                "[diagnostics]: tags has the glob {glob}, which matches nothing: this gateway's lanes are 0 to {last}"
            )
        };
        Ok(unmatched.into_iter().filter(|glob| is_of_lanes(glob)).map(warning).collect())
    }
}

fn add_to(config: &mut Config, lanes: usize) -> Result<Vec<String>, String> {
    let Some(DiagnosticsConfig { tags: globs, period }) = config.diagnostics.clone() else { return Ok(Vec::new()) };
    let source = of_gateway_file();
    let mut unmatched = Vec::new();
    let all = signals(config, lanes);
    let mut chosen = vec![false; all.len()];
    for text in &globs {
        let mut matches = false;
        for (chosen, signal) in chosen.iter_mut().zip(&all) {
            if glob_has(text, &signal.name()) {
                (*chosen, matches) = (true, true);
            }
        }
        if !matches {
            unmatched.push(text.clone());
        }
    }
    let (link, group) = (config.links.len(), config.groups.len());
    // The group of states is the one behind.
    let group_of = |signal: &DiagnosticSignal| group + usize::from(signal.is_state());
    let all = all.into_iter().zip(chosen).filter(|(_, chosen)| *chosen);
    let tags: Vec<TagConfig> = all
        .map(|(signal, _)| (group_of(&signal), signal))
        .map(|(group, signal)| tag(signal, link, group, &source))
        .collect();
    if config.tags.len() + tags.len() > TAGS_MAX {
        return Err(format!("the gateway's own {} tags and those of the files are more than {TAGS_MAX}", tags.len()));
    }
    config.tags.extend(tags);
    config.links.push(LinkConfig {
        name: DIAGNOSTICS.into(),
        source: source.clone(),
        protocol: Box::new(DiagnosticsLink),
    });
    let release = ReleaseMode::Spread;
    config.groups.push(GroupConfig {
        name: DIAGNOSTICS.into(),
        source: source.clone(),
        pace: Pace::Every(period),
        release,
    });
    if config.tags.iter().any(|tag| tag.group > group) {
        let pace = Pace::OnEvent { rate_max_hz: DIAGNOSTIC_EVENTS_MAX_HZ };
        config.groups.push(GroupConfig { name: DIAGNOSTIC_EVENTS.into(), source, pace, release });
    }
    Ok(unmatched)
}

/// Those of so many lanes.
fn of_lanes(lanes: usize) -> impl Iterator<Item = DiagnosticSignal> {
    let of_lane = |lane| LaneSignal::ALL.iter().map(move |what| DiagnosticSignal::Lane(lane, *what));
    (0..lanes as u16).flat_map(of_lane)
}

/// All that there are of this configuration.
fn signals(config: &Config, lanes: usize) -> Vec<DiagnosticSignal> {
    let mut all: Vec<DiagnosticSignal> =
        GatewaySignal::ALL.iter().map(|what| DiagnosticSignal::Gateway(*what)).collect();
    all.extend(JournalSignal::ALL.iter().map(|what| DiagnosticSignal::Journal(*what)));
    all.extend(of_lanes(lanes));
    for (index, link) in config.links.iter().enumerate() {
        let name: Arc<str> = link.name.as_str().into();
        all.extend(LinkSignal::ALL.iter().map(|what| DiagnosticSignal::Link(name.clone(), *what)));
        let units: BTreeSet<u8> =
            config.tags.iter().filter(|tag| tag.link == index).filter_map(|tag| tag.address.unit()).collect();
        if units.len() > 1 {
            let of_unit = |unit| UnitSignal::ALL.iter().map(move |what| (unit, *what));
            all.extend(
                units
                    .into_iter()
                    .flat_map(of_unit)
                    .map(|(unit, what)| DiagnosticSignal::Unit(name.clone(), unit, what)),
            );
        }
    }
    // What comes by event has no cycles.
    let polled = config.groups.iter().filter(|group| group.pace.period().is_some());
    let mut named = BTreeSet::new();
    for group in polled.filter(|group| named.insert(group.name.as_str())) {
        all.extend(GroupSignal::ALL.iter().map(|what| DiagnosticSignal::Group(group.name.as_str().into(), *what)));
    }
    for output in &config.outputs {
        all.extend(OutputSignal::ALL.iter().map(|what| DiagnosticSignal::Output(output.name.as_str().into(), *what)));
    }
    all
}

/// What the states of links and outputs are called.
fn texts(signal: &DiagnosticSignal) -> Texts {
    let of = |texts: &[&str]| Texts::new(texts.iter().zip(0..).map(|(text, value)| (value, (*text).into())).collect());
    match signal {
        DiagnosticSignal::Link(_, LinkSignal::State) => of(&["down", "up", "silent", "bus_off"]),
        DiagnosticSignal::Output(_, OutputSignal::State) => of(&["down", "connecting", "up"]),
        _ => Texts::default(),
    }
}

fn tag(signal: DiagnosticSignal, link: usize, group: usize, source: &Source) -> TagConfig {
    let (_, unit, about) = signal.about();
    TagConfig {
        name: signal.name(),
        source: source.clone(),
        link,
        group,
        decoding: DecodingConfig { texts: texts(&signal), ..DecodingConfig::default() },
        address: Box::new(signal),
        scale: 1.0,
        offset: 0.0,
        range: None,
        sensor: None,
        unit: unit.to_owned(),
        description: about.to_owned(),
        write: None,
        reporting: None,
    }
}
