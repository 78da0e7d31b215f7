//! What a tag's bits in CAN frames allow: its values, and what a DBC file says of them.

use super::model::{CanAddress, CanBits, CanBitsKind};
use crate::config::model::{Raw, TagAddress};
use crate::limits::VALUE_TEXTS_MAX;
use crate::tag::{ScalarType, Scaling, Texts, ValueType};

impl TagAddress for CanAddress {
    fn value_type(&self) -> ValueType {
        self.ty
    }

    fn scaling(&self, scale: f64, offset: f64) -> Scaling {
        Scaling::new(self.scale, self.offset).then(scale, offset)
    }

    fn unit_of_file(&self) -> Option<&str> {
        Some(&self.unit)
    }

    /// A value table by the values that the tag has.
    fn texts_of_file(&self, ty: ScalarType, scaling: Scaling) -> Texts {
        let value = |raw: u64| match ty {
            ScalarType::Float64 => {
                let number = if self.bits.kind == CanBitsKind::Signed { raw as i64 as f64 } else { raw as f64 };
                scaling.apply(number).to_bits()
            }
            _ => raw,
        };
        let texts = self.texts.iter().take(VALUE_TEXTS_MAX);
        Texts::new(texts.map(|(raw, text)| (value(*raw), text.clone())).collect())
    }

    fn signal_range(&self) -> Option<(String, f64, f64)> {
        let CanBits { len, kind, .. } = self.bits;
        let bits = i32::from(len);
        let (low, high) = match kind {
            CanBitsKind::Unsigned => (0.0, 2f64.powi(bits) - 1.0),
            CanBitsKind::Signed => (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0),
            CanBitsKind::Float => return None,
        };
        let ends = [low, high].map(|raw| Scaling::new(self.scale, self.offset).apply(raw));
        Some((format!("the signal of {len} bits"), ends[0].min(ends[1]), ends[0].max(ends[1])))
    }

    fn raw(&self) -> Option<Raw> {
        match (self.bits.kind, self.bits.len) {
            (CanBitsKind::Float, 32) => Some(Raw::Single),
            (CanBitsKind::Float, _) => Some(Raw::Double),
            (_, 1) => None,
            (kind, bits) => Some(Raw::whole((bits, kind == CanBitsKind::Signed))),
        }
    }
}
