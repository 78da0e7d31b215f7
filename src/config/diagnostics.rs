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
use crate::limits::{DIAGNOSTIC_GLOBS_MAX, NAME_BYTES_MAX, TAGS_MAX};
use crate::tag::{Nanos, Texts, glob_has};

/// Reads the section; `None`: it is not there, or says `enabled = false`.
pub(super) fn read(section: Option<&Obj<'_>>) -> Option<DiagnosticsConfig> {
    let section = section?;
    let mut tags: Vec<String> = Vec::new();
    for node in section.list("tags", "globs such as \"$link.*.state\"") {
        let Kind::Text(text) = &node.kind else {
            section.error(node.span, "tags has an entry that is no text", "allowed: globs such as \"$link.*.state\"");
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

/// Adds the tags, their link and their group to what the files say, and warns of globs that match nothing.
pub(super) fn add(config: &mut Config, report: &Report) {
    match add_to(config) {
        Ok(unmatched) => {
            for glob in unmatched {
                let message =
                    format!("tags has the glob {}, which matches none of the gateway's own tags", quoted(&glob));
                let help = "`fieldbeat list '$*'` shows them while `tags` is left out";
                report.warning(of_gateway_file(), "[diagnostics]", message, help);
            }
        }
        Err(message) => {
            let help = "choose fewer of them: tags = [\"$gateway.*\", \"$link.*.state\"]";
            report.error(of_gateway_file(), "[diagnostics]", message, help);
        }
    }
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
        let _ = self.renew_diagnostics();
        self
    }

    /// Makes the gateway's own tags anew, by its links, groups and outputs as they are now. Returns the globs that match
    /// nothing.
    ///
    /// # Errors
    /// Together with the others there are too many.
    pub fn renew_diagnostics(&mut self) -> Result<Vec<String>, String> {
        let is_own = |link: &LinkConfig| link.protocol == LinkProtocol::Diagnostics;
        if let Some(own) = self.links.iter().position(is_own) {
            // They come last in each table, so that no index changes.
            self.tags.retain(|tag| tag.link != own);
            self.links.truncate(own);
            self.groups.retain(|group| group.name != DIAGNOSTICS);
        }
        add_to(self)
    }
}

fn add_to(config: &mut Config) -> Result<Vec<String>, String> {
    let Some(DiagnosticsConfig { tags: globs, period }) = config.diagnostics.clone() else { return Ok(Vec::new()) };
    let source = of_gateway_file();
    let mut unmatched = Vec::new();
    let all = signals(config);
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
    let tags =
        all.into_iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(signal, _)| tag(signal, link, group, &source));
    let tags: Vec<TagConfig> = tags.collect();
    if config.tags.len() + tags.len() > TAGS_MAX {
        return Err(format!("the gateway's own {} tags and those of the files are more than {TAGS_MAX}", tags.len()));
    }
    config.tags.extend(tags);
    config.links.push(LinkConfig {
        name: DIAGNOSTICS.into(),
        source: source.clone(),
        protocol: LinkProtocol::Diagnostics,
    });
    config.groups.push(GroupConfig { name: DIAGNOSTICS.into(), source, period, release: ReleaseMode::Spread });
    Ok(unmatched)
}

/// All that there are of this configuration.
fn signals(config: &Config) -> Vec<DiagnosticSignal> {
    let mut all: Vec<DiagnosticSignal> =
        GatewaySignal::ALL.iter().map(|what| DiagnosticSignal::Gateway(*what)).collect();
    all.extend(JournalSignal::ALL.iter().map(|what| DiagnosticSignal::Journal(*what)));
    // An executor for each CPU, and this source's own.
    let lanes = config.realtime.cores.as_ref().map_or(1, Vec::len) as u16 + 1;
    let of_lane = |lane| LaneSignal::ALL.iter().map(move |what| DiagnosticSignal::Lane(lane, *what));
    all.extend((0..lanes).flat_map(of_lane));
    for (index, link) in config.links.iter().enumerate() {
        let name: Arc<str> = link.name.as_str().into();
        all.extend(LinkSignal::ALL.iter().map(|what| DiagnosticSignal::Link(name.clone(), *what)));
        let units: BTreeSet<u8> = config
            .tags
            .iter()
            .filter(|tag| tag.link == index)
            .filter_map(|tag| tag.address.modbus().map(|address| address.unit.0))
            .collect();
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
    let mut named = BTreeSet::new();
    for group in config.groups.iter().filter(|group| named.insert(group.name.as_str())) {
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
        address: TagAddress::Diagnostics(signal),
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
