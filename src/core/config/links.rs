//! `"links"` of the tag files.

use std::collections::HashMap;

use super::fields;
use super::kind::{Protocols, ReadLink};
use super::model::{LinkConfig, LinkSettings};
use super::names::{Letters, fault, quoted};
use super::node::Node;
use super::reader::{Cx, Obj, subject};
use super::text::Source;
use crate::config::kind::Link;
use crate::limits::LINKS_MAX;
use crate::tag::Nanos;

/// The links of all files.
pub struct Links {
    pub protocols: Protocols,
    pub list: Vec<Link>,
    by_name: HashMap<String, usize>,
}

/// Stands for the settings of a link whose protocol is not known.
#[derive(Debug, Clone, PartialEq)]
struct Unknown;

impl LinkSettings for Unknown {
    fn protocol(&self) -> &'static str {
        ""
    }

    fn patience(&self) -> Nanos {
        Nanos::ZERO
    }
}

impl Links {
    pub fn new(protocols: Protocols) -> Links {
        Links { protocols, list: Vec::new(), by_name: HashMap::new() }
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|link| &*link.config.name)
    }

    /// Reads one entry of `"links"`.
    pub fn read<'c>(&mut self, cx: Cx<'c>, node: &'c Node<'c>, index: usize) {
        let subject = subject("link", node, index);
        let written = node.member("protocol").and_then(Node::as_text);
        let found = written.and_then(|text| self.protocols.find(text));
        // Of a protocol that is not known, no other key can be judged.
        if let (Some(text), None) = (written, found) {
            let guess = super::names::guess(text, self.protocols.words());
            let span = node.member("protocol").map_or(node.span, |protocol| protocol.span);
            let help = format!("allowed: {}{guess}", allowed(self.protocols));
            cx.report.error(cx.source(span), &subject, format!("protocol {} is unknown", quoted(text)), help);
            if let Some(name) = node.member("name").and_then(Node::as_text) {
                let (name, source) = (name.to_owned(), cx.source(node.span));
                let config = LinkConfig { name, source, protocol: Box::new(Unknown) };
                self.add(Link { config, protocol: None, notes: Box::new(()), used: true });
            }
            return;
        }
        // One that does not say its protocol is judged as the commonest one.
        let Some((protocol, word)) = found.or_else(|| self.protocols.commonest()) else { return };
        let Some(link) = Obj::open(cx, node, subject, protocol.link_keys(word)) else { return };
        let name = read_name(&link, Letters::Ascii);
        link.required_text("protocol", &allowed(self.protocols));
        link.words("description", fields::DESCRIPTION_BYTES_MAX);
        let ReadLink { settings, notes } = protocol.read_link(word, &link);
        let Some(name) = name else { return };
        if let Some(first) = self.find(&name).and_then(|at| self.list.get(at)) {
            already(&link, &first.config.source);
            return;
        }
        if self.list.len() == LINKS_MAX {
            link.error(link.span, format!("more than {LINKS_MAX} links"), "");
            return;
        }
        protocol.check_beside(&link, &*settings, &self.list);
        let config = LinkConfig { name, source: cx.source(link.span), protocol: settings };
        self.add(Link { config, protocol: found.map(|_| protocol), notes, used: false });
    }

    fn add(&mut self, link: Link) {
        if !self.by_name.contains_key(&link.config.name) && self.list.len() < LINKS_MAX {
            self.by_name.insert(link.config.name.clone(), self.list.len());
            self.list.push(link);
        }
    }
}

/// Reads `"name"`; the same for links, groups and tags. A name with a fault is handed out all the same, so that
/// what refers to it is not reported as well.
pub fn read_name(object: &Obj<'_>, letters: Letters) -> Option<String> {
    let name = object.required_text("name", "a name")?;
    if let Some(fault) = fault(name.value, letters) {
        object.error(name.span, format!("the name {fault}"), letters.allowed());
    }
    Some(name.value.to_owned())
}

/// Reports a name that was given before.
pub fn already(object: &Obj<'_>, first: &Source) {
    let message = format!("declared twice; first declared at {}:{}:{}", first.file, first.line, first.column);
    object.error(object.span_of("name"), message, "rename or remove one of the two");
}

fn allowed(protocols: Protocols) -> String {
    protocols.words().collect::<Vec<_>>().join(", ")
}
