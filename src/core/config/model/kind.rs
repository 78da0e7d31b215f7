//! The interface to a protocol's settings and addresses.

use std::any::Any;
use std::fmt::Debug;

use super::Raw;
use crate::tag::{Nanos, ScalarType, Scaling, Texts, ValueType, kept};

/// The settings of a link.
pub trait LinkSettings: Any + Debug + Send + Sync + KeptSettings {
    /// Its protocol, as it is written in the tag files.
    fn protocol(&self) -> &'static str;

    /// How long a look at its tags waits for the connection and the answers, beside what its scans take.
    fn patience(&self) -> Nanos;

    /// How long its device is expected to take for a reply; `None`: nobody declares that.
    fn reply_expected(&self) -> Option<Nanos> {
        None
    }

    /// As if that were declared.
    fn expect_reply(&mut self, _expected: Nanos) {}
}
kept!(LinkSettings, KeptSettings);

/// Where a tag lies, and what lies there.
pub trait TagAddress: Any + Debug + Send + Sync + KeptAddress {
    /// The type of what lies there, before it is scaled.
    fn value_type(&self) -> ValueType;

    /// The unit behind the link that holds it, where there are such.
    fn unit(&self) -> Option<u8> {
        None
    }

    /// What makes the value of the raw one: the tag's own scale and offset, on top of what the address knows.
    fn scaling(&self, scale: f64, offset: f64) -> Scaling {
        Scaling::new(scale, offset)
    }

    /// The engineering unit of a file that names it.
    fn unit_of_file(&self) -> Option<&str> {
        None
    }

    /// What its values are called in that file; `ty` and `scaling` are the tag's.
    fn texts_of_file(&self, _ty: ScalarType, _scaling: Scaling) -> Texts {
        Texts::default()
    }

    /// Why no transmitter can be behind it, beside its type: what it is, and what to do.
    fn no_transmitter(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// What raw values a transmitter's signal can have there, and in what; `None`: nobody can say.
    fn signal_range(&self) -> Option<(String, f64, f64)> {
        None
    }

    /// Which raw values there are that may say that there is none; `None`: it has a value always.
    fn raw(&self) -> Option<Raw> {
        None
    }

    /// Why what is not a number cannot be a value there: the message, and what to do.
    fn no_nan(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Whether another tag can be its power of ten: what is wrong with that, if anything, and what to do.
    ///
    /// # Errors
    /// It cannot.
    fn takes_scale_from(&self) -> Result<(), (String, &'static str)> {
        Err(("scale_from on a link that is not Modbus".to_owned(), "remove it: only Modbus has registers"))
    }

    /// The numbers that the device can hold there, before they are scaled; `None`: text, or any number.
    fn raw_range(&self) -> Option<(f64, f64)> {
        Some(match scalar(self.value_type())? {
            ScalarType::Int16 => (i16::MIN.into(), i16::MAX.into()),
            ScalarType::Uint16 => (0.0, u16::MAX.into()),
            ScalarType::Int32 => (i32::MIN.into(), i32::MAX.into()),
            ScalarType::Uint32 => (0.0, u32::MAX.into()),
            ScalarType::Int64 => (i64::MIN as f64, i64::MAX as f64),
            ScalarType::Uint64 => (0.0, u64::MAX as f64),
            ScalarType::Float32 => (f32::MIN.into(), f32::MAX.into()),
            ScalarType::Float64 | ScalarType::Bool => return None,
        })
    }
}
kept!(TagAddress, KeptAddress);

/// The type of one element; `None`: text.
pub fn scalar(ty: ValueType) -> Option<ScalarType> {
    match ty {
        ValueType::Scalar(ty) | ValueType::Array { of: ty, .. } => Some(ty),
        ValueType::Text { .. } => None,
    }
}
