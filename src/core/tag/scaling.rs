//! Scale and offset, applied so that a decimal stays the decimal that it is: 15003 × 0.1 is 1500.3.
//!
//! A float64 holds 0.1 only nearly, and the product shows it (1500.3000000000002). Where scale and offset are short
//! decimals, both are whole numbers over one power of ten; sum and product of whole numbers below 2⁵³ are exact, and
//! the one division rounds to the float64 that is nearest to the decimal result.
//! Where that is not so, and where scale and offset are binary fractions anyway, it is raw × scale + offset as ever.

/// Whole numbers up to here, and their sums, are float64s.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Digits of a scale that is taken for a decimal: a register of 16 bits times it stays exact.
const FACTOR_MAX: f64 = 1e10;
/// Numbers of so few binary digits behind the point are multiplied without a loss.
const BINARY_STEPS: f64 = 1_048_576.0;
/// The largest power of ten that is a float64.
const POWER_MAX: i32 = 22;
const POWERS: [f64; POWER_MAX as usize + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A value is (raw × factor + addend) / divisor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    factor: f64,
    addend: f64,
    divisor: f64,
}

impl Default for Scaling {
    fn default() -> Scaling {
        Scaling::NONE
    }
}

impl Scaling {
    /// A value is its raw value.
    pub const NONE: Scaling = Scaling { factor: 1.0, addend: 0.0, divisor: 1.0 };

    /// A value is raw × scale + offset.
    pub fn new(scale: f64, offset: f64) -> Scaling {
        let plain = Scaling { factor: scale, addend: offset, divisor: 1.0 };
        // Halves, quarters and whole numbers are what they are.
        if [scale, offset].iter().all(|number| (number * BINARY_STEPS).fract() == 0.0) {
            return plain;
        }
        let decimal = Decimal::of(scale).zip(Decimal::of(offset)).and_then(|(scale, offset)| {
            let power = scale.power.max(offset.power);
            let divisor = *POWERS.get(usize::try_from(power).ok()?)?;
            Scaling { factor: scale.over(power)?, addend: offset.over(power)?, divisor }.if_exact()
        });
        decimal.unwrap_or(plain)
    }

    /// Another scale and offset on top of it.
    pub fn then(self, scale: f64, offset: f64) -> Scaling {
        let next = Scaling::new(scale, offset);
        let both = Scaling {
            factor: self.factor * next.factor,
            addend: self.addend * next.factor + next.addend * self.divisor,
            divisor: self.divisor * next.divisor,
        };
        both.if_exact().unwrap_or_else(|| Scaling {
            factor: self.scale() * scale,
            addend: self.offset() * scale + offset,
            divisor: 1.0,
        })
    }

    /// The raw value times 10^power, before all else; at most 22 either way, which no device says.
    #[inline]
    pub fn of_power(self, power: i32) -> Scaling {
        let ten = POWERS[power.unsigned_abs().min(POWER_MAX as u32) as usize];
        if power >= 0 {
            Scaling { factor: self.factor * ten, ..self }
        } else {
            Scaling { addend: self.addend * ten, divisor: self.divisor * ten, ..self }
        }
    }

    fn if_exact(self) -> Option<Scaling> {
        let Scaling { factor, addend, divisor } = self;
        let is_power = POWERS.contains(&divisor);
        (is_power && factor.abs() <= FACTOR_MAX && factor != 0.0 && addend.abs() < EXACT_MAX).then_some(self)
    }

    #[inline]
    pub fn apply(&self, raw: f64) -> f64 {
        (raw * self.factor + self.addend) / self.divisor
    }

    /// The raw value of a value, before it is rounded to one that there is.
    pub fn undo(&self, value: f64) -> f64 {
        (value * self.divisor - self.addend) / self.factor
    }

    #[inline]
    pub fn is_none(&self) -> bool {
        self.factor == self.divisor && self.addend == 0.0
    }

    pub fn scale(&self) -> f64 {
        self.factor / self.divisor
    }

    pub fn offset(&self) -> f64 {
        self.addend / self.divisor
    }
}

/// The shortest decimal that reads back as a float64: digits / 10^power.
struct Decimal {
    digits: f64,
    power: i32,
}

impl Decimal {
    fn of(number: f64) -> Option<Decimal> {
        if !number.is_finite() {
            return None;
        }
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let behind = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
        let digits: f64 = mantissa.replace('.', "").parse().ok()?;
        let power = behind - exponent.parse::<i32>().ok()?;
        // A whole number with noughts at its end is one without a power.
        match power {
            0.. => Some(Decimal { digits, power }),
            _ => Some(Decimal { digits: digits * POWERS.get(power.unsigned_abs() as usize)?, power: 0 }),
        }
    }

    /// The digits over a higher power of ten.
    fn over(&self, power: i32) -> Option<f64> {
        Some(self.digits * POWERS.get(usize::try_from(power - self.power).ok()?)?).filter(|n| n.abs() < EXACT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(raw: f64, scale: f64, offset: f64) -> String {
        Scaling::new(scale, offset).apply(raw).to_string()
    }

    #[test]
    fn a_value_has_the_digits_of_scale_and_offset() {
        assert_eq!(shown(15003.0, 0.1, 0.0), "1500.3");
        assert_eq!(shown(3.0, 0.1, 0.0), "0.3");
        assert_eq!(shown(7.0, 0.01, 0.1), "0.17");
        assert_eq!(shown(-999.0, 0.001, -40.0), "-40.999");
        assert_eq!(shown(123.0, 1e-6, 0.0), "0.000123");
        assert_eq!(shown(4.0, 2.5, 0.0), "10");
        assert_eq!(shown(12.0, 1000.0, 0.5), "12000.5");
        assert_eq!(shown(3.0, -0.7, 273.15), "271.05");
    }

    #[test]
    fn what_is_no_short_decimal_is_scaled_as_ever() {
        for (scale, offset) in [(1.0 / 3.0, 0.0), (1e-30, 0.0), (0.1, 1e300), (8.0 / 27648.0, 0.3), (1e18, 0.0)] {
            assert_eq!(Scaling::new(scale, offset).apply(4711.0), 4711.0 * scale + offset, "{scale} {offset}");
        }
    }

    #[test]
    fn two_scales_are_one() {
        assert_eq!(Scaling::new(0.1, 0.0).then(0.1, 0.0).apply(3.0), 0.03);
        assert_eq!(Scaling::new(0.1, -40.0).then(1.8, 32.0).apply(603.0), 68.54);
        assert_eq!(Scaling::new(0.1, -40.0).then(1.0, 0.0), Scaling::new(0.1, -40.0));
        assert_eq!(Scaling::new(1.0 / 3.0, 1.0).then(2.0, 1.0).apply(3.0), 3.0 * (2.0 / 3.0) + 3.0);
        assert!(Scaling::new(0.5, 0.0).then(2.0, 0.0).is_none() && Scaling::NONE.then(1.0, 0.0).is_none());
    }

    #[test]
    fn a_power_of_ten_comes_before_the_scale() {
        assert_eq!(Scaling::NONE.of_power(-1).apply(2301.0), 230.1);
        assert_eq!(Scaling::NONE.of_power(3).apply(12.0), 12_000.0);
        assert_eq!(Scaling::new(0.1, 5.0).of_power(-2).apply(1234.0), 6.234);
        assert_eq!(Scaling::new(1.0, 5.0).of_power(2).apply(3.0), 305.0);
    }

    proptest! {
        /// Against the number that the decimal itself reads as.
        #[test]
        fn the_result_is_the_float_nearest_to_the_decimal(
            raw in any::<i32>(), digits in -9_999i64..9_999, power in 0u32..9, offset in -99_999i64..99_999,
        ) {
            prop_assume!(digits != 0);
            let number = |digits: i128| format!("{digits}e-{power}").parse::<f64>().unwrap();
            let scaling = Scaling::new(number(digits.into()), number(offset.into()));
            let expected = number(i128::from(raw) * i128::from(digits) + i128::from(offset));
            prop_assert_eq!(scaling.apply(f64::from(raw)), expected);
            prop_assert_eq!(scaling.scale(), number(digits.into()));
            prop_assert_eq!(scaling.offset(), number(offset.into()));
        }

        #[test]
        fn a_raw_value_comes_back(raw in any::<i32>(), scale in -1e6f64..1e6, offset in -1e6f64..1e6) {
            prop_assume!(scale.abs() > 1e-3);
            let scaling = Scaling::new(scale, offset);
            prop_assert_eq!(scaling.undo(scaling.apply(f64::from(raw))).round(), f64::from(raw));
        }
    }
}
