//! Register numbers as people write them: Modicon references and raw offsets.
//!
//! Under modicon addressing, a number of five or six digits whose first digit fits the function (0 with 1,
//! 1 with 2, 4 with 3, 3 with 4) is a reference: that digit names the table, the rest counts from 1.
//! Every other number is the offset on the wire, 0 to 65535. Under raw addressing all are offsets.

use super::fields::Addressing;
use super::model::Table;
use crate::config::fault::Fault;

fn fault<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { message: message.into(), help: help.into() })
}

/// A register number, understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Register {
    /// On the wire, from 0.
    pub offset: u16,
    /// It was taken as an offset, and reads like a reference into this other table.
    pub reads_like: Option<Table>,
}

const TABLES: [(char, Table); 4] =
    [('0', Table::Coils), ('1', Table::DiscreteInputs), ('4', Table::HoldingRegisters), ('3', Table::InputRegisters)];

fn digit(table: Table) -> char {
    TABLES.iter().find(|(_, t)| *t == table).map_or('0', |(digit, _)| *digit)
}

/// What a table's entries are called.
pub fn table_name(table: Table) -> &'static str {
    match table {
        Table::Coils => "coils",
        Table::DiscreteInputs => "discrete inputs",
        Table::HoldingRegisters => "holding registers",
        Table::InputRegisters => "input registers",
    }
}

pub fn register(text: &str, table: Table, addressing: Addressing) -> Result<Register, Fault> {
    let function = table.read_function();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return fault(
            format!("the register {} is not a number", crate::config::names::quoted(text)),
            "allowed: decimal digits",
        );
    }
    let modicon = addressing == Addressing::Modicon;
    let referenced = TABLES.iter().find(|(first, _)| text.starts_with(*first)).map(|(_, table)| *table);
    let reads_like = referenced.filter(|_| modicon && matches!(text.len(), 5 | 6));
    if reads_like == Some(table) {
        return reference(text, table).map(|offset| Register { offset, reads_like: None });
    }
    if modicon && text.len() > 1 && text.starts_with('0') {
        let help = match table {
            Table::Coils => {
                "a reference to a coil has five or six digits, such as 00001; an offset no leading zero".into()
            }
            _ => format!(
                "the reference of function {function} starts with {}; an offset has no leading zero",
                digit(table)
            ),
        };
        return fault(format!("the register {text} is ambiguous"), help);
    }
    match text.parse::<u16>() {
        Ok(offset) => Ok(Register { offset, reads_like }),
        Err(_) => {
            let help = match addressing {
                Addressing::Modicon => format!(
                    "allowed: 0 to 65535, or a reference with function {function}: {0}0001 to {0}65536",
                    digit(table)
                ),
                Addressing::Raw => "allowed: 0 to 65535, because the link's addressing is raw".into(),
            };
            let shown = if text.len() > 20 { &text[..20] } else { text };
            fault(format!("the register {shown} is outside 0 to 65535"), help)
        }
    }
}

/// The offset of a Modicon reference whose first digit fits.
fn reference(text: &str, table: Table) -> Result<u16, Fault> {
    let first = &text[..text.len() - 1];
    match text[1..].parse::<u32>() {
        Ok(number @ 1..=65_536) => Ok((number - 1) as u16),
        Ok(0) => fault(
            format!("the register {text} is ambiguous: references start at {first}1"),
            format!("write {first}1 for the first; for the offset {text} set \"addressing\": \"raw\" on the link"),
        ),
        _ => fault(
            format!("the register {text} is outside 0 to 65535"),
            format!("allowed: the references {0}0001 to {0}65536, or offsets", digit(table)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Table::*;

    fn offset(text: &str, table: Table) -> Option<u16> {
        register(text, table, Addressing::Modicon).ok().map(|register| register.offset)
    }

    #[test]
    fn references_that_fit_the_function_count_from_one() {
        assert_eq!(offset("40001", HoldingRegisters), Some(0));
        assert_eq!(offset("400001", HoldingRegisters), Some(0));
        assert_eq!(offset("465536", HoldingRegisters), Some(65_535));
        assert_eq!(offset("49999", HoldingRegisters), Some(9_998));
        assert_eq!(offset("30010", InputRegisters), Some(9));
        assert_eq!(offset("10001", DiscreteInputs), Some(0));
        assert_eq!(offset("00001", Coils), Some(0));
        assert_eq!(offset("000017", Coils), Some(16));
    }

    #[test]
    fn other_numbers_are_offsets() {
        assert_eq!(offset("0", HoldingRegisters), Some(0));
        assert_eq!(offset("4000", HoldingRegisters), Some(4_000));
        assert_eq!(offset("65535", HoldingRegisters), Some(65_535));
        assert_eq!(offset("17", Coils), Some(17));
        assert_eq!(register("40001", HoldingRegisters, Addressing::Raw).unwrap().offset, 40_001);
        assert_eq!(register("00017", HoldingRegisters, Addressing::Raw).unwrap().offset, 17);
    }

    #[test]
    fn what_is_outside_or_ambiguous_is_refused() {
        for (text, table) in [
            ("65536", HoldingRegisters),
            ("70000", HoldingRegisters),
            ("40000", HoldingRegisters),
            ("400000", HoldingRegisters),
            ("465537", HoldingRegisters),
            ("499999", HoldingRegisters),
            ("00001", HoldingRegisters),
            ("007", HoldingRegisters),
            ("0007", Coils),
            ("", Coils),
            ("4x001", HoldingRegisters),
            ("-1", HoldingRegisters),
            ("99999999999999999999999999", HoldingRegisters),
        ] {
            assert!(register(text, table, Addressing::Modicon).is_err(), "{text} in {table:?}");
        }
        let fault = register("40000", HoldingRegisters, Addressing::Modicon).unwrap_err();
        assert_eq!(fault.message, "the register 40000 is ambiguous: references start at 40001");
    }

    #[test]
    fn an_offset_that_reads_like_another_table_is_told() {
        let read = register("30001", HoldingRegisters, Addressing::Modicon).unwrap();
        assert_eq!((read.offset, read.reads_like), (30_001, Some(InputRegisters)));
        assert_eq!(register("30001", HoldingRegisters, Addressing::Raw).unwrap().reads_like, None);
        assert_eq!(register("20001", HoldingRegisters, Addressing::Modicon).unwrap().reads_like, None);
    }
}
