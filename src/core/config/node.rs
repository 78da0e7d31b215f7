//! One tree for both formats: values with the bytes they were written in.

use std::borrow::Cow;

use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, ast};
use toml::de::{DeTable, DeValue};

use super::scan::{self, Fault, Shape};
use super::text::Span;

/// A value and where it stands.
#[derive(Debug)]
pub struct Node<'t> {
    pub span: Span,
    pub kind: Kind<'t>,
}

#[derive(Debug)]
pub enum Kind<'t> {
    Object(Vec<Member<'t>>),
    Array(Vec<Node<'t>>),
    Text(Cow<'t, str>),
    Int(i128),
    Float(f64),
    Bool(bool),
    Null,
    /// A TOML date or time.
    Date,
}

/// A key and its value, in the order of the file.
#[derive(Debug)]
pub struct Member<'t> {
    pub name: Cow<'t, str>,
    pub name_span: Span,
    pub value: Node<'t>,
}

impl<'t> Node<'t> {
    /// The first value under `name`, if this is an object.
    pub fn member(&self, name: &str) -> Option<&Node<'t>> {
        match &self.kind {
            Kind::Object(members) => members.iter().find(|member| member.name == name).map(|member| &member.value),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads JSON (RFC 8259).
pub fn from_json<'t>(text: &'t str, shape: &Shape) -> Result<Node<'t>, Fault> {
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &strict);
    match parsed {
        Ok(parsed) => match parsed.value {
            Some(value) => Ok(json_node(value)),
            None => Err(empty()),
        },
        Err(error) => Err(json_fault(text, shape, &error)),
    }
}

pub fn empty() -> Fault {
    Fault::new(Span::new(0, 0), "the file is empty", "was it written completely?")
}

fn json_fault(text: &str, shape: &Shape, error: &jsonc_parser::errors::ParseError) -> Fault {
    let range = error.range();
    let end = text.trim_end().len();
    let ended = matches!(error.kind(), ParseErrorKind::UnterminatedObject | ParseErrorKind::UnterminatedArray);
    if let Some(open) = shape.unclosed
        && (ended || range.start >= end)
    {
        let bracket = if text.as_bytes().get(open) == Some(&b'[') { '[' } else { '{' };
        let line = text[..open].matches('\n').count() + 1;
        let message = format!("the file ends before the {bracket} of line {line} is closed");
        return Fault::new(Span::new(end, end), message, "was it written completely?");
    }
    let help = match error.kind() {
        ParseErrorKind::TrailingCommasNotAllowed => "remove the comma after the last entry",
        ParseErrorKind::ExpectedComma => "put a comma between two entries",
        ParseErrorKind::UnexpectedWord | ParseErrorKind::UnexpectedToken => "strings are written in \"quotes\"",
        _ => "",
    };
    Fault::new(Span::new(range.start, range.end), format!("not JSON: {}", lower_first(&error.kind().to_string())), help)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn json_node(value: ast::Value<'_>) -> Node<'_> {
    let range = value.range();
    let kind = match value {
        ast::Value::Object(object) => Kind::Object(
            object
                .properties
                .into_iter()
                .map(|property| {
                    let name_range = property.name.range();
                    let name = match property.name {
                        ast::ObjectPropName::String(text) => text.value,
                        ast::ObjectPropName::Word(word) => Cow::Borrowed(word.value),
                    };
                    let name_span = Span::new(name_range.start, name_range.end);
                    Member { name, name_span, value: json_node(property.value) }
                })
                .collect(),
        ),
        ast::Value::Array(array) => Kind::Array(array.elements.into_iter().map(json_node).collect()),
        ast::Value::StringLit(text) => Kind::Text(text.value),
        ast::Value::NumberLit(number) => number_kind(number.value),
        ast::Value::BooleanLit(value) => Kind::Bool(value.value),
        ast::Value::NullKeyword(_) => Kind::Null,
    };
    Node { span: Span::new(range.start, range.end), kind }
}

/// A number that is too large for an integer becomes a float, possibly infinite; the reader checks ranges.
fn number_kind(text: &str) -> Kind<'static> {
    match text.parse::<i128>() {
        Ok(number) => Kind::Int(number),
        Err(_) => Kind::Float(text.parse().unwrap_or(f64::NAN)),
    }
}

/// Reads TOML 1.1.
pub fn from_toml(text: &str) -> Result<Node<'_>, Fault> {
    scan::toml(text)?;
    match DeTable::parse(text) {
        Ok(table) => Ok(Node { span: Span::new(0, 0), kind: Kind::Object(toml_members(table.into_inner())) }),
        Err(error) => {
            let span = error.span().map_or(Span::new(0, 0), |span| Span::new(span.start, span.end));
            let message = error.message().replace('\n', ", ");
            Err(Fault::new(span, format!("not TOML: {message}"), ""))
        }
    }
}

fn toml_members(table: DeTable<'_>) -> Vec<Member<'_>> {
    let mut members: Vec<Member<'_>> = table
        .into_iter()
        .map(|(name, value)| {
            let span = name.span();
            let name_span = Span::new(span.start, span.end);
            Member { name: name.into_inner(), name_span, value: toml_node(value) }
        })
        .collect();
    members.sort_by_key(|member| member.name_span.start);
    members
}

fn toml_node(value: toml::Spanned<DeValue<'_>>) -> Node<'_> {
    let span = value.span();
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Int(number),
            Err(_) => Kind::Float(f64::INFINITY),
        },
        DeValue::Float(number) => Kind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Kind::Bool(value),
        DeValue::Datetime(_) => Kind::Date,
        DeValue::Array(array) => Kind::Array(array.into_iter().map(toml_node).collect()),
        DeValue::Table(table) => Kind::Object(toml_members(table)),
    };
    Node { span: Span::new(span.start, span.end), kind }
}
