//! Typed reading of one object: each key asked for by its type, each fault reported with its place.

use std::borrow::Cow;
use std::collections::HashMap;

use super::diagnostic::Report;
use super::fields::{Int, Real, keys};
use super::files::Beside;
use super::names::{guess, quoted};
use super::node::{Kind, Member, Node};
use super::text::{File, Source, Span};
use crate::tag::Nanos;

/// A file being read, and where its findings go.
#[derive(Clone, Copy)]
pub struct Cx<'c> {
    pub file: &'c File,
    pub report: &'c Report,
    pub beside: Beside<'c>,
}

impl<'c> Cx<'c> {
    pub fn source(&self, span: Span) -> Source {
        self.file.source(span.start)
    }
}

/// A text value.
#[derive(Debug, Clone, Copy)]
pub struct Text<'c> {
    pub value: &'c str,
    pub span: Span,
}

impl Text<'_> {
    /// The bytes of the file that hold the value's bytes `start..end`; the whole value when it was written
    /// with escapes.
    pub fn part(&self, start: usize, end: usize) -> Span {
        if self.span.end - self.span.start == self.value.len() + 2 {
            Span::new(self.span.start + 1 + start, self.span.start + 1 + end)
        } else {
            self.span
        }
    }
}

/// An object being read. A key that is missing, doubled, unknown or of the wrong type is reported here.
///
/// Getters hand out the default after a fault: the configuration is refused anyway, and reading on finds
/// the other faults.
pub struct Obj<'c> {
    pub cx: Cx<'c>,
    /// Where the object starts.
    pub span: Span,
    pub subject: String,
    members: &'c [Member<'c>],
    keys: &'c [&'static str],
}

/// `tag "boiler.level"`, or `tag #3` when it has no name.
pub fn subject(what: &str, node: &Node<'_>, index: usize) -> String {
    match node.member("name").and_then(Node::as_text) {
        Some(name) if !name.is_empty() => format!("{what} {}", quoted(name)),
        _ => format!("{what} #{}", index + 1),
    }
}

impl<'c> Obj<'c> {
    /// Opens an object that may have `keys` and no others.
    pub fn open(cx: Cx<'c>, node: &'c Node<'c>, subject: String, keys: &'static [&'static str]) -> Option<Obj<'c>> {
        Obj::open_told(cx, node, subject, keys, |_| true)
    }

    /// The same; of the keys, messages tell those of which `is_told`.
    pub fn open_told(
        cx: Cx<'c>,
        node: &'c Node<'c>,
        subject: String,
        keys: &'c [&'static str],
        is_told: impl Fn(&str) -> bool,
    ) -> Option<Obj<'c>> {
        let Kind::Object(members) = &node.kind else {
            let message = format!("{}, not an object", found(node));
            cx.report.error(cx.source(node.span), &subject, message, format!("allowed: an object with {}", list(keys)));
            return None;
        };
        let object = Obj { cx, span: node.span, subject, members, keys };
        object.check_keys(is_told);
        Some(object)
    }

    fn check_keys(&self, is_told: impl Fn(&str) -> bool) {
        let mut seen: HashMap<&str, Span> = HashMap::with_capacity(self.members.len());
        for member in self.members {
            if let Some(first) = seen.get(&*member.name) {
                let place = self.cx.source(*first);
                let message = format!("the key {} appears twice", quoted(&member.name));
                self.error(member.name_span, message, format!("the first one is in line {}", place.line));
                continue;
            }
            seen.insert(&member.name, member.name_span);
            if !self.keys.contains(&&*member.name) {
                let message = format!("the key {} is unknown", quoted(&member.name));
                let told: Vec<&str> = self.keys.iter().copied().filter(|key| is_told(key)).collect();
                let meant = keys::MEANT.iter().find(|(name, key)| *name == member.name && self.keys.contains(key));
                let guess = match meant {
                    Some((_, key)) => format!(" (did you mean {}?)", quoted(key)),
                    None => guess(&member.name, told.iter().copied()),
                };
                let by_event = keys::BY_EVENT.contains(&&*member.name) && self.keys.contains(&"scan_rate_ms");
                let note = if by_event { keys::NOT_BY_EVENT } else { "" };
                let help = format!("allowed: {}{guess}{note}", list(&told));
                self.error(member.name_span, message, help);
            }
        }
    }

    pub fn error(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.cx.report.error(self.cx.source(span), &self.subject, message, help);
    }

    pub fn warning(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.cx.report.warning(self.cx.source(span), &self.subject, message, help);
    }

    pub fn get(&self, key: &str) -> Option<&'c Node<'c>> {
        debug_assert!(self.keys.contains(&key), "{key} is not among the keys");
        self.members.iter().find(|member| member.name == key).map(|member| &member.value)
    }

    /// Where a key's value stands, or else the object.
    pub fn span_of(&self, key: &str) -> Span {
        self.get(key).map_or(self.span, |node| node.span)
    }

    /// A value that has to be there.
    pub fn required(&self, key: &str, allowed: &str) -> Option<&'c Node<'c>> {
        let node = self.get(key);
        if node.is_none() {
            self.error(self.span, format!("{key} is missing"), format!("allowed: {allowed}"));
        }
        node
    }

    fn wrong(&self, key: &str, node: &Node<'_>, allowed: &str) {
        // What stands where a password should be is not repeated.
        let found = if key == "password" { kind_of(node).into() } else { found(node) };
        self.error(node.span, format!("{key} is {found}"), format!("allowed: {allowed}"));
    }

    fn as_text(&self, key: &str, node: &'c Node<'c>, allowed: &str) -> Option<Text<'c>> {
        match &node.kind {
            Kind::Text(value) => Some(Text { value, span: node.span }),
            _ => {
                self.wrong(key, node, allowed);
                None
            }
        }
    }

    /// A text, if the key is there.
    pub fn text(&self, key: &str, allowed: &str) -> Option<Text<'c>> {
        self.get(key).and_then(|node| self.as_text(key, node, allowed))
    }

    pub fn required_text(&self, key: &str, allowed: &str) -> Option<Text<'c>> {
        self.required(key, allowed).and_then(|node| self.as_text(key, node, allowed))
    }

    /// A text for people: at most `bytes_max`, no control characters. Missing: empty.
    pub fn words(&self, key: &str, bytes_max: usize) -> String {
        let Some(text) = self.text(key, "a string") else { return String::new() };
        if text.value.len() > bytes_max {
            self.error(
                text.span,
                format!("{key} has {} bytes", text.value.len()),
                format!("allowed: at most {bytes_max}"),
            );
        } else if let Some((at, c)) = text.value.char_indices().find(|(_, c)| c.is_control()) {
            let message = format!("{key} has the control character U+{:04X}", u32::from(c));
            self.error(text.part(at, at + 1), message, "allowed: one line of text");
        }
        text.value.to_owned()
    }

    /// A whole number in its range, or the default.
    pub fn int(&self, field: &Int) -> u64 {
        self.opt_int(field).unwrap_or(field.default)
    }

    /// A whole number in its range, if the key is there.
    pub fn opt_int(&self, field: &Int) -> Option<u64> {
        self.get(field.key).and_then(|node| self.as_int(field, node))
    }

    pub fn required_int(&self, field: &Int) -> Option<u64> {
        self.required(field.key, &range(field)).and_then(|node| self.as_int(field, node))
    }

    pub fn as_int(&self, field: &Int, node: &Node<'_>) -> Option<u64> {
        let number = match node.kind {
            Kind::Int(number) => Some(number),
            Kind::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(number as i128),
            _ => None,
        };
        let number = number.and_then(|n| u64::try_from(n).ok()).filter(|n| (field.min..=field.max).contains(n));
        if number.is_none() {
            self.wrong(field.key, node, &range(field));
        }
        number
    }

    /// A number in its range, or the default.
    pub fn real(&self, field: &Real) -> f64 {
        let Some(node) = self.get(field.key) else { return field.default };
        match as_f64(node).filter(|n| (field.min..=field.max).contains(n)) {
            Some(number) => number,
            None => {
                self.wrong(field.key, node, &format!("a number from {} to {}{}", field.min, field.max, field.unit));
                field.default
            }
        }
    }

    /// Any finite number, if the key is there.
    pub fn finite(&self, key: &str) -> Option<f64> {
        let node = self.get(key)?;
        let number = as_f64(node).filter(|n| n.is_finite());
        if number.is_none() {
            self.wrong(key, node, "a finite number");
        }
        number
    }

    /// True or false; missing: false.
    pub fn flag(&self, key: &str) -> bool {
        self.opt_flag(key).unwrap_or(false)
    }

    pub fn opt_flag(&self, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        if let Kind::Bool(value) = node.kind {
            return Some(value);
        }
        self.wrong(key, node, "true or false");
        None
    }

    /// One of several words, if the key is there.
    pub fn choice<T: Copy>(&self, key: &str, choices: &'static [(&'static str, T)]) -> Option<T> {
        self.get(key).and_then(|node| self.as_choice(key, node, choices))
    }

    pub fn required_choice<T: Copy>(&self, key: &str, choices: &'static [(&'static str, T)]) -> Option<T> {
        match self.get(key) {
            Some(node) => self.as_choice(key, node, choices),
            None => self.required(key, &words(choices)).and(None),
        }
    }

    fn as_choice<T: Copy>(&self, key: &str, node: &'c Node<'c>, choices: &'static [(&'static str, T)]) -> Option<T> {
        let Kind::Text(text) = &node.kind else {
            self.wrong(key, node, &words(choices));
            return None;
        };
        let chosen = choices.iter().find(|(word, _)| word == text);
        if chosen.is_none() {
            let guess = guess(text, choices.iter().map(|(word, _)| *word));
            let message = format!("{key} {} is unknown", quoted(text));
            self.error(node.span, message, format!("allowed: {}{guess}", words(choices)));
        }
        chosen.map(|(_, value)| *value)
    }

    /// The elements of a list. Missing: none.
    pub fn list(&self, key: &str, of: &str) -> &'c [Node<'c>] {
        match self.get(key) {
            None => &[],
            Some(Node { kind: Kind::Array(elements), .. }) => elements,
            Some(node) => {
                self.wrong(key, node, &format!("a list of {of}"));
                &[]
            }
        }
    }

    /// The keys of a table whose keys are names that people chose.
    pub fn entries(&self, key: &str, of: &str) -> &'c [Member<'c>] {
        match self.get(key) {
            None => &[],
            Some(Node { kind: Kind::Object(members), .. }) => members,
            Some(node) => {
                self.wrong(key, node, &format!("tables of {of}"));
                &[]
            }
        }
    }
}

fn as_f64(node: &Node<'_>) -> Option<f64> {
    match node.kind {
        Kind::Int(number) => Some(number as f64),
        Kind::Float(number) => Some(number),
        _ => None,
    }
}

/// `a whole number from 1 to 10000 ms`.
pub fn range(field: &Int) -> String {
    format!("a whole number from {} to {}{}", field.min, field.max, field.unit)
}

fn words<T>(choices: &[(&'static str, T)]) -> String {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    list(&words)
}

pub fn list(words: &[&str]) -> String {
    words.join(", ")
}

/// A value as messages repeat it.
pub fn found(node: &Node<'_>) -> Cow<'static, str> {
    match &node.kind {
        Kind::Text(text) => format!("the string {}", quoted(text)).into(),
        Kind::Int(number) => number.to_string().into(),
        Kind::Float(number) => format!("{number:?}").into(),
        Kind::Bool(value) => value.to_string().into(),
        _ => kind_of(node).into(),
    }
}

fn kind_of(node: &Node<'_>) -> &'static str {
    match node.kind {
        Kind::Object(_) => "an object",
        Kind::Array(_) => "a list",
        Kind::Text(_) => "a string",
        Kind::Int(_) | Kind::Float(_) => "a number",
        Kind::Bool(_) => "true or false",
        Kind::Null => "null",
        Kind::Date => "a date",
    }
}

/// Milliseconds with a fraction, rounded to nanoseconds.
pub fn nanos_of_millis(ms: f64) -> Nanos {
    Nanos((ms * 1e6).round() as u64)
}

/// A part of an address and the bytes it has in the address.
#[derive(Clone, Copy)]
pub struct Part<'c> {
    pub text: &'c str,
    pub start: usize,
}

/// Where a part stands in the file.
pub fn span(text: Text<'_>, part: Part<'_>) -> Span {
    text.part(part.start, part.start + part.text.len())
}

/// Decimal digits only, as far as 32 bits go.
pub fn decimal(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}
