//! The configuration files: `fieldbeat.toml` and `tags/*.json`, read and validated.
//!
//! | file | subject |
//! |---|---|
//! | `model` | the result: everything filled in, every reference resolved |
//! | `kind` | what a protocol answers for its links and tags; no protocol is known here |
//! | `files`, `text`, `scan`, `node` | bytes to text to one tree for TOML and JSON, with places |
//! | `reader`, `diagnostic`, `fault`, `names` | typed reading of that tree; findings, all at once |
//! | `fields` | keys with their ranges and defaults, for the reader and the schema |
//! | `beside` | files that links name: DBC, EDS |
//! | `gateway`, `outputs/`, `topics`, `control`, `host`, `diagnostics` | `fieldbeat.toml` |
//! | `links`, `groups`, `tags` | the tag files |
//! | `decoding`, `value_texts` | which values are none, scales in other tags; what values are called |
//! | `sensor` | transmitters with a standard signal behind a tag |
//! | `reporting`, `write` | report by exception; which tags may be written, within which limits |
//! | `schema` | the tag files for editors |

pub mod beside;
mod control;
pub mod decoding;
pub mod diagnostic;
mod diagnostics;
pub mod fault;
pub mod fields;
pub mod files;
mod gateway;
mod groups;
pub mod host;
pub mod kind;
pub mod links;
pub mod model;
pub mod names;
pub mod node;
mod outputs;
pub mod paths;
pub mod reader;
mod reporting;
mod scan;
pub mod schema;
mod sensor;
pub mod tags;
pub mod text;
mod topics;
mod value_texts;
pub mod write;

use std::path::Path;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use fields::type_name;
pub use files::{DirTimes, Fingerprint};
pub use kind::{Protocol, Protocols};
pub use model::*;
pub use names::{guess, nearest, quoted};
pub use schema::schema;
pub use text::Source;
pub use topics::{TopicOf, TopicPart, fill_topic, is_reserved_in_topics, template_parts};

pub use self::model::{LinkSettings, Reporting, Suppress, TagAddress};

use self::files::Beside;
use crate::limits::{CONFIG_FILE_BYTES_MAX, CONFIG_VALUES_MAX};
use diagnostic::Report;
use files::{Input, Inputs};
use gateway::GatewayFile;
use node::Node;
use paths::Base;
use reader::{Cx, Obj};
use scan::Fault;
use text::{File, Span, decode};

/// A configuration that can run.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// What is allowed and still likely wrong.
    pub warnings: Vec<Diagnostic>,
}

/// Reads `dir/fieldbeat.toml` and `dir/tags/*.json`, in the order of their names. Names that start with a dot or
/// end in `.tmp` or `~` are passed over, as are JSON Schemas. Relative paths in the files start at `dir`.
///
/// # Errors
/// All that is wrong in all files.
pub fn load(dir: &Path, protocols: Protocols) -> Result<Loaded, Diagnostics> {
    let report = Report::default();
    let inputs = files::collect(dir, &report);
    read(inputs, Base { dir, look_at_files: true }, Beside::Dir(dir), protocols, report)
}

/// What `dir/fieldbeat.toml` says of the control socket; no other file is looked at.
///
/// # Errors
/// All that is wrong in that file.
pub fn control(dir: &Path) -> Result<ControlConfig, Diagnostics> {
    let report = Report::default();
    let mut inputs = Inputs::default();
    files::collect_gateway(dir, &report, &mut inputs);
    let gateway = inputs.gateway.and_then(|input| to_file(input, &report));
    let gateway = gateway.and_then(|file| {
        let cx = Cx { file: &file, report: &report, beside: Beside::Parts(&[]) };
        gateway::read(cx, &check(cx, parse_toml(&file.text))?, Base { dir, look_at_files: false })
    });
    match gateway {
        Some(gateway) if !report.has_errors() => Ok(gateway.control),
        _ => Err(report.into_diagnostics()),
    }
}

/// Reads a configuration from memory, each file as its name and its text; files that links name (DBC, EDS) are among
/// them by their names' ends. Relative paths stay relative.
///
/// # Errors
/// All that is wrong in all files.
pub fn load_parts(toml: (&str, &str), tags: &[(&str, &str)], protocols: Protocols) -> Result<Loaded, Diagnostics> {
    let input = |(name, text): (&str, &str)| Input { name: name.into(), bytes: text.into() };
    let tag_files = tags.iter().filter(|(name, _)| !files::is_one(name)).map(|file| input(*file)).collect();
    let inputs = Inputs { gateway: Some(input(toml)), tags: tag_files, incomplete: false };
    read(inputs, Base { dir: Path::new(""), look_at_files: false }, Beside::Parts(tags), protocols, Report::default())
}

/// Reads files that are in memory already; see [`load`].
///
/// # Errors
/// All that is wrong in all files.
pub fn read(
    inputs: Inputs,
    base: Base<'_>,
    beside: Beside<'_>,
    protocols: Protocols,
    report: Report,
) -> Result<Loaded, Diagnostics> {
    let gateway = inputs.gateway.and_then(|input| to_file(input, &report));
    let gateway = gateway.and_then(|file| {
        let cx = Cx { file: &file, report: &report, beside };
        let root = check(cx, parse_toml(&file.text))?;
        gateway::read(cx, &root, base)
    });
    let tag_files: Vec<Option<File>> = inputs.tags.into_iter().map(|input| to_file(input, &report)).collect();
    let mut values_left = CONFIG_VALUES_MAX;
    let trees: Vec<Option<(Cx<'_>, Node<'_>)>> = tag_files
        .iter()
        .map(|file| {
            let cx = Cx { file: file.as_ref()?, report: &report, beside };
            check(cx, parse_json(&cx.file.text, &mut values_left)).map(|root| (cx, root))
        })
        .collect();
    let incomplete = inputs.incomplete || trees.iter().any(Option::is_none);
    let roots: Vec<Obj<'_>> = trees
        .iter()
        .flatten()
        .filter(|(_, root)| !is_schema(root))
        .filter_map(|(cx, root)| Obj::open(*cx, root, String::new(), fields::keys::TAG_FILE))
        .collect();

    let mut links = links::Links::new(protocols);
    let mut groups = groups::Groups::default();
    let mut tags = tags::Tags::new(protocols);
    for root in &roots {
        root.text("$schema", "the path of the JSON Schema");
        for (index, node) in root.list("links", "links").iter().enumerate() {
            links.read(root.cx, node, index);
        }
        for (index, node) in root.list("groups", "groups").iter().enumerate() {
            groups.read(root.cx, node, index);
        }
    }
    let mut known = tags::Known { links: &mut links, groups: &mut groups, incomplete };
    for root in &roots {
        for (index, node) in root.list("tags", "tags").iter().enumerate() {
            tags.read(root.cx, node, index, &mut known);
        }
    }
    if tags.seen == 0 && !report.has_errors() {
        let whole = Source { file: files::TAGS_DIR.into(), line: 0, column: 0 };
        report.error(whole, "", "no tags: nothing to scan", "declare a link and its tags in a file tags/*.json");
    }
    decoding::check_scales(&tags.list, &tags.scaled, incomplete, &report);
    protocols.all().for_each(|protocol| protocol.check(&tags.list, &mut links.list, &report));
    if !report.has_errors() {
        warn_of_unused(&links, &groups, &report);
    }
    if let Some(gateway) = &gateway {
        let names: Vec<&str> = links.list.iter().map(|link| &*link.config.name).collect();
        topics::check(&gateway.outputs, &gateway.gateway.id, (&tags.list, &groups.list, &names), &report);
        if !incomplete && !report.has_errors() {
            outputs::check_choices(&gateway.outputs, &tags.list, &groups.list, &report);
        }
    }
    match gateway {
        Some(gateway) if !report.has_errors() => {
            let GatewayFile { gateway, realtime, journal, metrics, control, watchdog, diagnostics, outputs } = gateway;
            let links = links.list.into_iter().map(|link| link.config).collect();
            let (groups, tags) = (groups.list, tags.list);
            let mut config = Config {
                gateway,
                realtime,
                journal,
                metrics,
                control,
                watchdog,
                diagnostics,
                outputs,
                links,
                groups,
                tags,
            };
            diagnostics::add(&mut config, &report);
            if report.has_errors() {
                return Err(report.into_diagnostics());
            }
            Ok(Loaded { config, warnings: report.into_warnings() })
        }
        _ => Err(report.into_diagnostics()),
    }
}

fn to_file(input: Input, report: &Report) -> Option<File> {
    if input.bytes.len() as u64 > CONFIG_FILE_BYTES_MAX {
        let whole = Source { file: input.name.as_str().into(), line: 0, column: 0 };
        report.error(whole, "", format!("the file is larger than {} MiB", CONFIG_FILE_BYTES_MAX >> 20), "");
        return None;
    }
    match decode(input.bytes) {
        Ok(text) => Some(File::new(&input.name, text)),
        Err(fault) => {
            let source = File::new(&input.name, fault.before).source(usize::MAX);
            report.error(source, "", fault.message, fault.help);
            None
        }
    }
}

fn check<'t>(cx: Cx<'_>, parsed: Result<Node<'t>, Fault>) -> Option<Node<'t>> {
    match parsed {
        Ok(node) => Some(node),
        Err(Fault { span, message, help }) => {
            cx.report.error(cx.source(span), "", message, help);
            None
        }
    }
}

/// Whether a file is a JSON Schema, such as the one of the tag files that `fieldbeat schema` prints: editors look for it
/// beside the files, whatever its name.
fn is_schema(root: &Node<'_>) -> bool {
    let of = root.member("$schema").and_then(Node::as_text);
    let of = of.and_then(|url| url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")));
    of.is_some_and(|url| url.starts_with("json-schema.org/"))
        && ["properties", "definitions", "$defs"].iter().any(|key| root.member(key).is_some())
}

fn parse_toml(text: &str) -> Result<Node<'_>, Fault> {
    if text.len() as u64 > crate::limits::GATEWAY_FILE_BYTES_MAX {
        return Err(Fault::new(Span::default(), "the file is larger than 1 MiB", ""));
    }
    if text.trim().is_empty() { Err(node::empty()) } else { node::from_toml(text) }
}

fn parse_json<'t>(text: &'t str, values_left: &mut usize) -> Result<Node<'t>, Fault> {
    if text.trim().is_empty() {
        return Err(node::empty());
    }
    let shape = scan::json(text)?;
    match values_left.checked_sub(shape.values) {
        Some(left) => *values_left = left,
        None => {
            let message = format!("the tag files have more than {CONFIG_VALUES_MAX} values together");
            return Err(Fault::new(Span::default(), message, "split the tags over several gateways"));
        }
    }
    node::from_json(text, &shape)
}

fn warn_of_unused(links: &links::Links, groups: &groups::Groups, report: &Report) {
    for link in links.list.iter().filter(|link| !link.used) {
        let subject = format!("link {}", names::quoted(&link.config.name));
        report.warning(link.config.source.clone(), &subject, "no tag reads from it", "");
    }
    for group in groups.unused() {
        let subject = format!("group {}", names::quoted(&group.name));
        report.warning(group.source.clone(), &subject, "no tag is in it", "");
    }
}
