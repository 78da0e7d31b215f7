//! IEEE 754 binary16 to binary32 and back.

/// The float32 of the same value; a NaN stays one.
pub fn to_float32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(half >> 10 & 0x1F), u32::from(half & 0x3FF));
    match exponent {
        // Steps of 2⁻²⁴.
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()),
        0x1F => f32::from_bits(sign | 0x7F80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The nearest half, of two that are as near the even one; `None`: it is beyond 65504, or no number.
pub fn of_float64(value: f64) -> Option<u16> {
    // Half a step beyond the greatest is rounded to what there is not.
    if !value.is_finite() || value.abs() >= 65_520.0 {
        return None;
    }
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let value = value.abs();
    // The step between halves near it: 2⁻²⁴ up to 2⁻¹⁴, then twice as wide with each power of two.
    let exponent = ((value.to_bits() >> 52) as i32 - 1023).max(-14);
    let steps = (value / 2f64.powi(exponent - 10)).round_ties_even() as u16;
    // 2048 steps are the first of the next power: the addition carries into the exponent.
    let base = if value < 2f64.powi(-14) { 0 } else { ((exponent + 14) as u16) << 10 };
    Some(sign | (base + steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `python3 -c "import struct; print(struct.unpack('>e', bytes.fromhex('3555')))"` and so on.
    const KNOWN: [(u16, f64); 14] = [
        (0x0000, 0.0),
        (0x8000, -0.0),
        (0x0001, 5.960464477539063e-08),
        (0x03FF, 6.097555160522461e-05),
        (0x0400, 6.103515625e-05),
        (0x3555, 0.333251953125),
        (0x3C00, 1.0),
        (0x3C01, 1.0009765625),
        (0xC000, -2.0),
        (0x4248, 3.140625),
        (0x5640, 100.0),
        (0x7BFF, 65504.0),
        (0xFBFF, -65504.0),
        (0xB266, -0.199951171875),
    ];

    #[test]
    fn halves_are_those_of_pythons_struct() {
        for (half, value) in KNOWN {
            assert_eq!(f64::from(to_float32(half)), value, "{half:04X}");
            assert_eq!(of_float64(value), Some(half), "{value}");
        }
        assert_eq!(to_float32(0x7C00), f32::INFINITY);
        assert_eq!(to_float32(0xFC00), f32::NEG_INFINITY);
        assert!(to_float32(0x7E00).is_nan() && to_float32(0x7C01).is_nan());
    }

    #[test]
    fn every_half_that_is_a_number_comes_back() {
        for half in (0..=u16::MAX).filter(|half| half >> 10 & 0x1F != 0x1F) {
            assert_eq!(of_float64(to_float32(half).into()), Some(half), "{half:04X}");
        }
    }

    /// Of `struct.pack('>e', …)`.
    #[test]
    fn others_are_rounded_to_the_nearest_half_and_ties_to_the_even_one() {
        for (value, half) in [
            (0.1, 0x2E66),
            (1.0 / 3.0, 0x3555),
            (2049.0, 0x6800),
            (2051.0, 0x6802),
            (65519.0, 0x7BFF),
            (1e-8, 0x0000),
            (3.1e-8, 0x0001),
            (6.1e-5, 0x03FF),
            (0.99999, 0x3C00),
        ] {
            assert_eq!(of_float64(value), Some(half), "{value}");
        }
        assert_eq!([65_520.0, 1e9, f64::NAN, f64::INFINITY].map(of_float64), [None; 4]);
    }
}
