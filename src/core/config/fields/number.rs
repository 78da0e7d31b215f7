//! Keys whose values are numbers.

/// A whole number.
pub struct Int {
    pub key: &'static str,
    pub min: u64,
    pub max: u64,
    pub default: u64,
    /// As it is told in messages, with a space before it; may be empty.
    pub unit: &'static str,
}

/// A number that may have a fraction.
pub struct Real {
    pub key: &'static str,
    pub min: f64,
    pub max: f64,
    pub default: f64,
    pub unit: &'static str,
}

pub const fn int(key: &'static str, min: u64, max: u64, default: u64, unit: &'static str) -> Int {
    Int { key, min, max, default, unit }
}
