//! Bytes of a device to a value: the field, the formula, the scale.

use super::bme280;
use crate::plan::SensorLimits;
use crate::protocol::local_io::model::{Field, FieldKind, Formula};
use crate::tag::{ScalarType, Scaling, Status};

/// A value before it is scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
}

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Bool(value) => f64::from(u8::from(value)),
            Number::Int(value) => value as f64,
            Number::Uint(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

/// How a value travels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convert {
    pub ty: ScalarType,
    pub scaling: Scaling,
    pub sensor: Option<SensorLimits>,
}

/// A field's raw bits, shifted and masked, and the number they are; `None`: it leaves the result.
fn bits(field: &Field, result: &[u8]) -> Option<u64> {
    let bytes = result.get(usize::from(field.at)..)?.get(..usize::from(field.width))?;
    let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    let whole = if field.little_endian { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) };
    Some(whole.checked_shr(u32::from(field.shift)).unwrap_or(0) & field.mask)
}

fn sign_extended(bits: u64, width: u8) -> i64 {
    let unused = 64 - u32::from(width.clamp(1, 64));
    ((bits << unused) as i64) >> unused
}

pub fn number(field: &Field, result: &[u8]) -> Option<Number> {
    let bits = bits(field, result)?;
    Some(match field.kind {
        FieldKind::Unsigned => Number::Uint(bits),
        FieldKind::Signed { bits: width } => Number::Int(sign_extended(bits, width)),
        FieldKind::Float32 => Number::Float(f64::from(f32::from_bits(bits as u32))),
        FieldKind::Float64 => Number::Float(f64::from_bits(bits)),
        FieldKind::Bool => Number::Bool(bits != 0),
    })
}

/// A formula's value, and what is to be thought of it.
///
/// # Errors
/// The status of a tag that has no value.
pub fn value(formula: &Formula, calibration: &[u8], result: &[u8]) -> Result<(Number, Status), Status> {
    let field = |field: &Field| number(field, result).ok_or(Status::BAD_DECODING_ERROR);
    match formula {
        Formula::Field(of) => Ok((field(of)?, Status::GOOD)),
        Formula::Linear { field: of, factor, clip } => {
            let raw = field(of)?;
            let at_end = |(low, high): (i64, i64)| matches!(raw, Number::Int(raw) if raw <= low || raw >= high);
            let status = if clip.is_some_and(at_end) { Status::UNCERTAIN_UNITS_EXCEEDED } else { Status::GOOD };
            Ok((Number::Float(raw.as_f64() * factor), status))
        }
        Formula::Product { one, other, factor } => {
            Ok((Number::Float(field(one)?.as_f64() * field(other)?.as_f64() * factor), Status::GOOD))
        }
        Formula::Bme280(which) => match bme280::value(*which, calibration, result) {
            Some(value) => Ok((Number::Float(value), Status::GOOD)),
            None => Err(Status::BAD_DEVICE_FAILURE),
        },
        Formula::Max31855 => {
            let word =
                result.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or(Status::BAD_DECODING_ERROR)?;
            // All ones or all zeros: nobody drives the line.
            match word {
                0 | u32::MAX => Err(Status::BAD_DEVICE_FAILURE),
                _ if word & 1 << 16 != 0 => Err(Status::BAD_SENSOR_FAILURE),
                _ => Ok((Number::Float(f64::from(word as i32 >> 18) * 0.25), Status::GOOD)),
            }
        }
    }
}

/// A value as it travels, and its status.
///
/// # Errors
/// The status of a tag that has no value.
pub fn convert(number: Number, status: Status, how: &Convert) -> Result<(u64, Status), Status> {
    // Whole numbers stay what they are, all 64 bits.
    if how.sensor.is_none() && how.scaling.is_none() {
        return whole(number, how.ty).map(|bits| (bits, status));
    }
    let value = how.scaling.apply(number.as_f64());
    if !value.is_finite() {
        return Err(Status::BAD_DATA_UNAVAILABLE);
    }
    let status = match how.sensor.map_or(Status::GOOD, |sensor| sensor.status(value)) {
        Status::GOOD => status,
        failed if failed.is_bad() => return Err(failed),
        in_doubt => in_doubt,
    };
    whole(Number::Float(value), how.ty).map(|bits| (bits, status))
}

fn whole(number: Number, ty: ScalarType) -> Result<u64, Status> {
    let integer: i128 = match number {
        Number::Bool(value) => i128::from(value),
        Number::Int(value) => i128::from(value),
        Number::Uint(value) => i128::from(value),
        Number::Float(value) if !value.is_finite() => return Err(Status::BAD_DATA_UNAVAILABLE),
        Number::Float(value) => value.round() as i128,
    };
    let fits = |min: i128, max: i128| (min..=max).contains(&integer).then_some(integer as u64);
    let bits = match ty {
        ScalarType::Bool => Some(u64::from(number.as_f64() != 0.0)),
        ScalarType::Int16 => fits(i16::MIN.into(), i16::MAX.into()),
        ScalarType::Uint16 => fits(0, u16::MAX.into()),
        ScalarType::Int32 => fits(i32::MIN.into(), i32::MAX.into()),
        ScalarType::Uint32 => fits(0, u32::MAX.into()),
        ScalarType::Int64 => fits(i64::MIN.into(), i64::MAX.into()),
        ScalarType::Uint64 => fits(0, u64::MAX.into()),
        ScalarType::Float32 => Some(u64::from((number.as_f64() as f32).to_bits())),
        ScalarType::Float64 => Some(number.as_f64().to_bits()),
    };
    bits.ok_or(Status::BAD_DECODING_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: Field =
        Field { at: 0, width: 2, little_endian: false, shift: 0, mask: u64::MAX, kind: FieldKind::Unsigned };

    fn float(formula: &Formula, result: &[u8]) -> f64 {
        value(formula, &[], result).unwrap().0.as_f64()
    }

    fn linear(field: Field, factor: f64) -> Formula {
        Formula::Linear { field, factor, clip: None }
    }

    #[test]
    fn a_field_is_cut_out_by_order_shift_and_mask() {
        let bytes = [0x12, 0x34, 0xFF];
        assert_eq!(number(&WORD, &bytes), Some(Number::Uint(0x1234)));
        assert_eq!(number(&Field { little_endian: true, ..WORD }, &bytes), Some(Number::Uint(0x3412)));
        assert_eq!(number(&Field { shift: 4, mask: 0xFF, ..WORD }, &bytes), Some(Number::Uint(0x23)));
        assert_eq!(
            number(&Field { at: 1, kind: FieldKind::Signed { bits: 16 }, ..WORD }, &bytes),
            Some(Number::Int(0x34FF))
        );
        let nibble = Field { mask: 0xF, shift: 4, kind: FieldKind::Signed { bits: 4 }, at: 2, width: 1, ..WORD };
        assert_eq!(number(&nibble, &bytes), Some(Number::Int(-1)));
        assert_eq!(number(&Field { at: 2, ..WORD }, &bytes), None, "it leaves the result");
        assert_eq!(number(&Field { mask: 1 << 4, kind: FieldKind::Bool, ..WORD }, &bytes), Some(Number::Bool(true)));
        let f = Field { width: 4, kind: FieldKind::Float32, ..WORD };
        assert_eq!(number(&f, &1.5f32.to_be_bytes()), Some(Number::Float(1.5)));
    }

    /// TI SBOS448, table 8: 11.98 V on the bus is 0x5D98, 20 mV at the shunt 0x07D0; 10 A through 2 mΩ.
    #[test]
    fn the_ina219_reads_as_in_its_data_sheet() {
        let bus = Field { shift: 3, ..WORD };
        assert!((float(&linear(bus, 4e-3), &[0x5D, 0x98]) - 11.98).abs() < 1e-9);
        let shunt = Field { kind: FieldKind::Signed { bits: 16 }, ..WORD };
        assert!((float(&linear(shunt, 10e-6), &[0x07, 0xD0]) - 0.02).abs() < 1e-9);
        assert!((float(&linear(shunt, 10e-6 / 0.002), &[0x07, 0xD0]) - 10.0).abs() < 1e-9);
        let power = Formula::Product { one: bus, other: Field { at: 2, ..shunt }, factor: 4e-3 * 10e-6 / 0.002 };
        assert!((float(&power, &[0x5D, 0x98, 0x07, 0xD0]) - 119.8).abs() < 1e-6);
        // Figure 20 and table 7: -320 mV is 0x8300.
        assert!((float(&linear(shunt, 10e-6), &[0x83, 0x00]) + 0.32).abs() < 1e-9);
    }

    /// TI SBOS397 (TMP102), table 8-2.
    #[test]
    fn the_tmp102_reads_as_in_its_data_sheet() {
        let field = Field { shift: 4, kind: FieldKind::Signed { bits: 12 }, ..WORD };
        for (word, celsius) in [(0x7FF0u16, 127.9375), (0x4B00, 75.0), (0x0040, 0.25), (0xFFC0, -0.25), (0xE700, -25.0)]
        {
            assert_eq!(float(&linear(field, 0.0625), &word.to_be_bytes()), celsius, "{word:04X}");
        }
    }

    /// TI SBAS444 (ADS1115), table 8-2: full scale is 7FFFh, its negative 8000h.
    #[test]
    fn a_converter_at_its_end_is_uncertain() {
        let field = Field { kind: FieldKind::Signed { bits: 16 }, ..WORD };
        let ads = Formula::Linear { field, factor: 4.096 / 32_768.0, clip: Some((-32_768, 32_767)) };
        assert_eq!(value(&ads, &[], &[0x40, 0]), Ok((Number::Float(2.048), Status::GOOD)));
        let (end, status) = value(&ads, &[], &[0x7F, 0xFF]).unwrap();
        assert!((end.as_f64() - 4.095_875).abs() < 1e-9 && status == Status::UNCERTAIN_UNITS_EXCEEDED);
        assert_eq!(value(&ads, &[], &[0x80, 0]), Ok((Number::Float(-4.096), Status::UNCERTAIN_UNITS_EXCEEDED)));
        assert_eq!(value(&ads, &[], &[0x80]), Err(Status::BAD_DECODING_ERROR));
    }

    /// Maxim 19-5793 (MAX31855), table 4: 14 bits from bit 18 on; bit 16 says that something is wrong.
    #[test]
    fn the_thermocouple_reads_as_in_its_data_sheet_and_tells_that_it_is_open() {
        for (bits, celsius) in [
            (0b01_1001_0000_0000_u32, 1600.0),
            (0b00_1111_1010_0000, 1000.0),
            (0b00_0001_1001_0011, 100.75),
            (0b11_1111_1111_1111, -0.25),
            (0b11_1100_0001_1000, -250.0),
        ] {
            assert_eq!(float(&Formula::Max31855, &(bits << 18 | 0x10).to_be_bytes()), celsius);
        }
        assert_eq!(value(&Formula::Max31855, &[], &[0x01, 0x91, 0x19, 0x01]), Err(Status::BAD_SENSOR_FAILURE));
        assert_eq!(value(&Formula::Max31855, &[], &[0xFF; 4]), Err(Status::BAD_DEVICE_FAILURE));
    }

    #[test]
    fn what_does_not_fit_its_type_is_no_value() {
        let how = |ty, scale| Convert { ty, scaling: Scaling::new(scale, 0.0), sensor: None };
        let good = |number, ty| convert(number, Status::GOOD, &how(ty, 1.0)).map(|(bits, _)| bits);
        assert_eq!(good(Number::Uint(40_000), ScalarType::Int16), Err(Status::BAD_DECODING_ERROR));
        assert_eq!(good(Number::Int(-5), ScalarType::Int16), Ok(-5i64 as u64));
        assert_eq!(good(Number::Int(-5), ScalarType::Uint64), Err(Status::BAD_DECODING_ERROR));
        assert_eq!(good(Number::Uint(u64::MAX), ScalarType::Uint64), Ok(u64::MAX));
        assert_eq!(good(Number::Float(f64::NAN), ScalarType::Float64), Err(Status::BAD_DATA_UNAVAILABLE));
        let scaled = convert(Number::Uint(10), Status::GOOD, &how(ScalarType::Float64, 0.5));
        assert_eq!(scaled, Ok((5.0f64.to_bits(), Status::GOOD)));
        assert!(convert(Number::Float(1e300), Status::GOOD, &how(ScalarType::Float64, 1e300)).is_err());
    }
}
