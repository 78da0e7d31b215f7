//! Tags that read the same registers as different things: a warning, since one of them is likely wrong.

use super::fields::{order_name, type_name};
use super::model::ModbusAddress;
use super::registers::table_name;
use crate::config::WordOrder;
use crate::config::diagnostic::Report;
use crate::config::kind::Link;
use crate::config::model::{FieldType, TagConfig};

/// Warns of each tag that disagrees with a tag before it about registers they share.
pub fn check(tags: &[TagConfig], links: &[Link], report: &Report) {
    let mut sorted: Vec<(usize, &TagConfig, &ModbusAddress)> =
        tags.iter().enumerate().filter_map(|(index, tag)| Some((index, tag, tag.address.get()?))).collect();
    let key = |tag: &TagConfig, a: &ModbusAddress| (tag.link, a.unit, a.table);
    sorted.sort_by_key(|(index, tag, a)| (key(tag, a), a.first, *index));
    // Tags that reach to or beyond the one being looked at, each reading once.
    let mut open: Vec<(&TagConfig, &ModbusAddress)> = Vec::new();
    for (_, tag, address) in sorted {
        open.retain(|(other, a)| key(other, a) == key(tag, address) && end(a) > u32::from(address.first));
        if open.iter().any(|(_, a)| same_reading(a, address)) {
            continue;
        }
        if let Some((other, theirs)) = open.iter().find(|(_, a)| !agree(a, address)) {
            warn(report, links, (tag, address), (other, theirs));
        }
        open.push((tag, address));
    }
}

fn end(a: &ModbusAddress) -> u32 {
    u32::from(a.first) + u32::from(a.count)
}

fn same_reading(a: &ModbusAddress, b: &ModbusAddress) -> bool {
    let field = |a: &ModbusAddress| match a.field {
        FieldType::RegisterBit(_) | FieldType::Byte { .. } => FieldType::RegisterBit(0),
        field => field,
    };
    (a.first, a.count, field(a), a.order) == (b.first, b.count, field(b), b.order)
}

/// Whether two readings that share registers can both be right.
fn agree(a: &ModbusAddress, b: &ModbusAddress) -> bool {
    let bit_of_word = FieldType::is_part_of_register;
    let word = |field: FieldType| field.is_part_of_register() || matches!(field, FieldType::Int16 | FieldType::Uint16);
    if (bit_of_word(a.field) && word(b.field)) || (bit_of_word(b.field) && word(a.field)) {
        return a.order.swaps_bytes() == b.order.swaps_bytes();
    }
    if a.field != b.field {
        return false;
    }
    match a.field {
        FieldType::Bit => true,
        field if field.is_text() => same_reading(a, b),
        field => {
            a.first.abs_diff(b.first).is_multiple_of(field.registers())
                && same_order(a.order, b.order, field.registers())
        }
    }
}

fn same_order(a: WordOrder, b: WordOrder, registers: u16) -> bool {
    a.swaps_bytes() == b.swaps_bytes() && (registers == 1 || a.swaps_words() == b.swaps_words())
}

fn warn(report: &Report, links: &[Link], tag: (&TagConfig, &ModbusAddress), other: (&TagConfig, &ModbusAddress)) {
    // The later one in the files is named as the one that overlaps.
    let place = |tag: &TagConfig| (tag.source.file.clone(), tag.source.line, tag.source.column);
    let ((tag, a), (other, b)) = if place(tag.0) < place(other.0) { (other, tag) } else { (tag, other) };
    let what = |a: &ModbusAddress| {
        let array = a.array.map(|elements| format!("[{elements}]")).unwrap_or_default();
        format!("{}{array} {} at {} to {}", type_name(a.field), order_name(a.order), a.first, end(a) - 1)
    };
    let link = links.get(tag.link).map_or("", |link| &*link.config.name);
    let message = format!(
        "reads {} of link {link:?}, unit {}, as {}, overlapping tag {:?} ({}:{}:{}), which reads {}",
        table_name(a.table),
        a.unit.0,
        what(a),
        other.name,
        other.source.file,
        other.source.line,
        other.source.column,
        what(b)
    );
    let subject = format!("tag {:?}", tag.name);
    report.warning(tag.source.clone(), &subject, message, "one of the two is likely wrong");
}
