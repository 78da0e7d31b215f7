//! Whether a value is one of the tag's type, within its limits.

use serde_json::{Number, Value as Json};

use super::answer::Reason;
use crate::config::{WriteConfig, quoted};
use crate::tag::{ScalarType, Value, ValueType};

/// Why a request is refused: a word, and what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal { reason, message: message.into() }
    }
}

/// Reads a value of a type that is within the tag's limits. A whole number that the type does not hold is judged by the
/// limits where there are any: they are what the tag's file says, the type is the device's.
///
/// # Errors
/// As [`typed`] and [`within_limits`].
pub fn allowed(ty: ValueType, limits: &WriteConfig, json: &Json) -> Result<Value, Refusal> {
    let value = typed(ty, json).map_err(|refusal| match (refusal.reason, json, limits_text(limits)) {
        (Reason::OutOfRange, Json::Number(number), Some(allowed)) => {
            Refusal::new(Reason::OutOfRange, format!("the value is {number}; allowed: {allowed}"))
        }
        _ => refusal,
    })?;
    within_limits(limits, &value)?;
    Ok(value)
}

/// `0 to 100`; `None`: no limits.
fn limits_text(limits: &WriteConfig) -> Option<String> {
    match (limits.min, limits.max) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}")),
        (Some(min), None) => Some(format!("{min} or more")),
        (None, Some(max)) => Some(format!("{max} or less")),
        (None, None) => None,
    }
}

/// Reads a value of a type. Whole numbers may be written with a fraction of zero, and a bool as 0 or 1.
///
/// # Errors
/// Another type, a fraction for a whole number, a number that the type does not hold, a text that is too long, a list
/// of another length.
pub fn typed(ty: ValueType, json: &Json) -> Result<Value, Refusal> {
    match ty {
        ValueType::Scalar(scalar) => typed_scalar(scalar, json),
        ValueType::Text { bytes_max } => typed_text(bytes_max, json),
        ValueType::Array { of, len } => {
            let wrong = |found: String| Refusal::new(Reason::WrongType, format!("{found}; allowed: a list of {len}"));
            let Json::Array(elements) = json else { return Err(wrong(format!("the value is {}", found(json)))) };
            if elements.len() != usize::from(len) {
                return Err(wrong(format!("the value has {} elements", elements.len())));
            }
            let elements = elements.iter().map(|element| typed_scalar(of, element));
            Ok(Value::Array(elements.collect::<Result<_, _>>()?))
        }
    }
}

fn typed_text(bytes_max: u16, json: &Json) -> Result<Value, Refusal> {
    let Json::String(text) = json else {
        return Err(Refusal::new(Reason::WrongType, format!("the value is {}; allowed: a string", found(json))));
    };
    if text.len() > usize::from(bytes_max) {
        let message = format!("the string has {} bytes; allowed: {bytes_max}", text.len());
        return Err(Refusal::new(Reason::OutOfRange, message));
    }
    if text.contains('\0') {
        let message = "the string contains a NUL character, which would end it; allowed: a string without NUL";
        return Err(Refusal::new(Reason::WrongType, message));
    }
    Ok(Value::Text(text.clone()))
}

fn typed_scalar(ty: ScalarType, json: &Json) -> Result<Value, Refusal> {
    let wrong = |allowed: &str| {
        let message = format!("the value is {}, the tag is {}; allowed: {allowed}", found(json), ty.name());
        Err(Refusal::new(Reason::WrongType, message))
    };
    if ty == ScalarType::Bool {
        return match (json, json.as_u64()) {
            (Json::Bool(value), _) => Ok(Value::Bool(*value)),
            (_, Some(bit @ (0 | 1))) => Ok(Value::Bool(bit == 1)),
            _ => wrong("true or false"),
        };
    }
    let Json::Number(number) = json else { return wrong("a number") };
    if matches!(ty, ScalarType::Float32 | ScalarType::Float64) {
        let Some(value) = number.as_f64().filter(|value| value.is_finite()) else { return wrong("a finite number") };
        if ty == ScalarType::Float64 {
            return Ok(Value::Float64(value));
        }
        return match value as f32 {
            single if single.is_finite() => Ok(Value::Float32(single)),
            _ => Err(outside(json, ty, f64::from(f32::MIN), f64::from(f32::MAX))),
        };
    }
    let Some(whole) = whole(number) else { return wrong("a whole number") };
    let (min, max) = range(ty);
    if !(min..=max).contains(&whole) {
        return Err(outside(json, ty, min, max));
    }
    Ok(if min < 0 { Value::Int(whole as i64) } else { Value::Uint(whole as u64) })
}

fn outside(json: &Json, ty: ScalarType, min: impl std::fmt::Display, max: impl std::fmt::Display) -> Refusal {
    let message = format!("{} does not fit {}; allowed: {min} to {max}", found(json), ty.name());
    Refusal::new(Reason::OutOfRange, message)
}

/// A number without a fraction; the largest beyond any type.
fn whole(number: &Number) -> Option<i128> {
    if let Some(value) = number.as_i64() {
        return Some(value.into());
    }
    if let Some(value) = number.as_u64() {
        return Some(value.into());
    }
    number.as_f64().filter(|value| value.fract() == 0.0).map(|value| value as i128)
}

fn range(ty: ScalarType) -> (i128, i128) {
    match ty {
        ScalarType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        ScalarType::Uint16 => (0, u16::MAX.into()),
        ScalarType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        ScalarType::Uint32 => (0, u32::MAX.into()),
        ScalarType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        _ => (0, u64::MAX.into()),
    }
}

fn found(json: &Json) -> String {
    match json {
        Json::String(text) => format!("the string {}", quoted(text)),
        Json::Array(_) => "a list".into(),
        Json::Object(_) => "an object".into(),
        json => json.to_string(),
    }
}

/// Within the tag's range, each element of a list.
///
/// # Errors
/// [`Reason::OutOfRange`].
pub fn within_limits(limits: &WriteConfig, value: &Value) -> Result<(), Refusal> {
    if let Value::Array(elements) = value {
        return elements.iter().try_for_each(|element| within_limits(limits, element));
    }
    let below = limits.min.is_some_and(|min| exceeds(value, min, |value, limit| value < limit, |v, l| v < l));
    let above = limits.max.is_some_and(|max| exceeds(value, max, |value, limit| value > limit, |v, l| v > l));
    if !below && !above {
        return Ok(());
    }
    let allowed = limits_text(limits).unwrap_or_default();
    Err(Refusal::new(Reason::OutOfRange, format!("the value is {value}; allowed: {allowed}")))
}

/// Compares whole numbers as whole numbers: a float does not hold each of 64 bits.
fn exceeds(value: &Value, limit: f64, of_float: fn(f64, f64) -> bool, of_whole: fn(i128, i128) -> bool) -> bool {
    let whole = |value: i128| {
        let floor = limit.floor() as i128;
        // Between two whole numbers: above the lower one, below the upper one.
        if limit.fract() == 0.0 { of_whole(value, floor) } else { of_whole(2 * value, 2 * floor + 1) }
    };
    match value {
        Value::Int(value) => whole((*value).into()),
        Value::Uint(value) => whole((*value).into()),
        Value::Float32(value) => of_float(shortest(*value), limit),
        Value::Float64(value) => of_float(*value, limit),
        Value::Bool(_) | Value::Text(_) | Value::Array(_) => false,
    }
}

/// The number that a float32 stands for: 20.1 written to a float32 tag is 20.1, not 20.100000381.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The change is at most the tag's largest step, in each element of a list. `old`: the newest good value.
///
/// # Errors
/// [`Reason::StepTooLarge`], and [`Reason::NoGoodValue`] where there is a largest step and nothing to measure it from.
pub fn within_step(limits: &WriteConfig, old: Option<&Value>, new: &Value) -> Result<(), Refusal> {
    let Some(step_max) = limits.step_max else { return Ok(()) };
    let Some(old) = old else {
        let message = format!(
            "the tag has no good value, so the change cannot be checked; allowed: a change of at most {step_max} \
             once the tag is good"
        );
        return Err(Refusal::new(Reason::NoGoodValue, message));
    };
    if let (Value::Array(old), Value::Array(new)) = (old, new) {
        return old.iter().zip(new).try_for_each(|(old, new)| within_step(limits, Some(old), new));
    }
    let (Some(from), Some(to)) = (number(old), number(new)) else { return Ok(()) };
    // What rounding to the type may add: 0.3 is 0.1 above 0.2.
    let rounding = match new {
        Value::Float32(_) => f64::from(f32::EPSILON),
        _ => 4.0 * f64::EPSILON,
    };
    let change = match (old, new) {
        (Value::Int(old), Value::Int(new)) => (i128::from(*new) - i128::from(*old)).unsigned_abs() as f64,
        (Value::Uint(old), Value::Uint(new)) => old.abs_diff(*new) as f64,
        _ => (to - from).abs(),
    };
    // Not "change > …": a NaN from the device is no value to measure from.
    if change <= step_max + rounding * from.abs().max(to.abs()) {
        return Ok(());
    }
    let message = format!("from {old} to {new} is a change of {change}; allowed: {step_max} in one write");
    Err(Refusal::new(Reason::StepTooLarge, message))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::Float32(value) => Some(shortest(*value)),
        Value::Float64(value) => Some(*value),
        Value::Bool(_) | Value::Text(_) | Value::Array(_) => None,
    }
}

/// A value as JSON; a float that is no number is null.
pub fn json_of(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Float32(value) => Number::from_f64(shortest(*value)).map_or(Json::Null, Json::Number),
        Value::Float64(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::Text(text) => Json::String(text.clone()),
        Value::Array(elements) => Json::Array(elements.iter().map(json_of).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn scalar(ty: ScalarType, json: Json) -> Result<Value, Refusal> {
        typed(ValueType::Scalar(ty), &json)
    }

    fn reason<T: std::fmt::Debug>(refused: Result<T, Refusal>) -> Reason {
        refused.unwrap_err().reason
    }

    #[test]
    fn values_of_the_type_are_taken() {
        assert_eq!(scalar(ScalarType::Bool, json!(true)), Ok(Value::Bool(true)));
        assert_eq!(scalar(ScalarType::Bool, json!(0)), Ok(Value::Bool(false)));
        assert_eq!(scalar(ScalarType::Int16, json!(-32768)), Ok(Value::Int(-32768)));
        assert_eq!(scalar(ScalarType::Uint16, json!(5.0)), Ok(Value::Uint(5)));
        assert_eq!(scalar(ScalarType::Uint64, json!(u64::MAX)), Ok(Value::Uint(u64::MAX)));
        assert_eq!(scalar(ScalarType::Float32, json!(20.1)), Ok(Value::Float32(20.1)));
        assert_eq!(scalar(ScalarType::Float64, json!(3)), Ok(Value::Float64(3.0)));
        assert_eq!(typed(ValueType::Text { bytes_max: 4 }, &json!("über")).unwrap_err().reason, Reason::OutOfRange);
        assert_eq!(typed(ValueType::Text { bytes_max: 5 }, &json!("über")), Ok(Value::Text("über".into())));
        let list = ValueType::Array { of: ScalarType::Int16, len: 2 };
        assert_eq!(typed(list, &json!([1, -1])), Ok(Value::Array(vec![Value::Int(1), Value::Int(-1)])));
    }

    #[test]
    fn values_of_another_type_are_refused_with_what_is_allowed() {
        for (ty, wrong) in [
            (ScalarType::Bool, json!(2)),
            (ScalarType::Bool, json!("true")),
            (ScalarType::Int16, json!("12")),
            (ScalarType::Int16, json!(1.5)),
            (ScalarType::Uint32, json!(null)),
            (ScalarType::Float32, json!("NaN")),
            (ScalarType::Float64, json!(true)),
            (ScalarType::Float64, json!([1.0])),
        ] {
            let refusal = scalar(ty, wrong.clone()).unwrap_err();
            assert_eq!(refusal.reason, Reason::WrongType, "{ty:?} {wrong}");
            assert!(refusal.message.contains("allowed:"), "{}", refusal.message);
        }
        let list = ValueType::Array { of: ScalarType::Int16, len: 2 };
        assert_eq!(reason(typed(list, &json!([1]))), Reason::WrongType);
        assert_eq!(reason(typed(list, &json!(1))), Reason::WrongType);
        assert_eq!(reason(typed(list, &json!([1, "2"]))), Reason::WrongType);
        assert_eq!(reason(typed(ValueType::Text { bytes_max: 9 }, &json!(12))), Reason::WrongType);
        assert_eq!(reason(typed(ValueType::Text { bytes_max: 9 }, &json!("a\0b"))), Reason::WrongType);
    }

    #[test]
    fn numbers_that_the_type_does_not_hold_are_out_of_range() {
        for (ty, wrong) in [
            (ScalarType::Int16, json!(32768)),
            (ScalarType::Int16, json!(-32769)),
            (ScalarType::Uint16, json!(-1)),
            (ScalarType::Uint32, json!(4294967296u64)),
            (ScalarType::Int64, json!(9223372036854775808u64)),
            (ScalarType::Uint64, json!(1e30)),
            (ScalarType::Float32, json!(1e39)),
        ] {
            assert_eq!(reason(scalar(ty, wrong.clone())), Reason::OutOfRange, "{ty:?} {wrong}");
        }
        let message = scalar(ScalarType::Int16, json!(40000)).unwrap_err().message;
        assert_eq!(message, "40000 does not fit int16; allowed: -32768 to 32767");
    }

    fn limits(min: Option<f64>, max: Option<f64>, step_max: Option<f64>) -> WriteConfig {
        WriteConfig { min, max, step_max, ..WriteConfig::default() }
    }

    #[test]
    fn the_range_holds_both_its_ends_and_nothing_beyond() {
        let range = limits(Some(0.0), Some(100.5), None);
        for good in [Value::Float64(0.0), Value::Float64(100.5), Value::Int(100), Value::Uint(0), Value::Bool(true)] {
            assert_eq!(within_limits(&range, &good), Ok(()), "{good}");
        }
        for bad in [Value::Float64(-0.001), Value::Float64(100.50001), Value::Int(101), Value::Int(-1)] {
            assert_eq!(reason(within_limits(&range, &bad)), Reason::OutOfRange, "{bad}");
        }
        assert_eq!(within_limits(&range, &Value::Int(-1)).unwrap_err().message, "the value is -1; allowed: 0 to 100.5");
        assert!(within_limits(&range, &Value::Array(vec![Value::Int(5), Value::Int(101)])).is_err());
        assert!(within_limits(&limits(Some(-0.5), None, None), &Value::Int(-1)).is_err());
        assert!(within_limits(&limits(Some(-0.5), None, None), &Value::Int(0)).is_ok());
        // A float32 is what was written, not what its bits are beside it.
        assert!(within_limits(&limits(None, Some(20.1), None), &Value::Float32(20.1)).is_ok());
        // Beyond 53 bits a float does not tell two whole numbers apart.
        let max = (1u64 << 53) as f64;
        assert!(within_limits(&limits(None, Some(max), None), &Value::Uint((1 << 53) + 1)).is_err());
    }

    #[test]
    fn a_change_may_be_as_large_as_the_step_and_no_larger() {
        let step = limits(None, None, Some(0.1));
        for (old, new) in [(0.2, 0.3), (0.3, 0.4), (0.4, 0.3), (-0.05, 0.05), (20.1, 20.2)] {
            assert_eq!(within_step(&step, Some(&Value::Float64(old)), &Value::Float64(new)), Ok(()), "{old} {new}");
            let (old, new) = (Value::Float32(old as f32), Value::Float32(new as f32));
            assert_eq!(within_step(&step, Some(&old), &new), Ok(()), "{old} {new}");
        }
        assert_eq!(
            reason(within_step(&step, Some(&Value::Float64(0.2)), &Value::Float64(0.3001))),
            Reason::StepTooLarge
        );
        let whole = limits(None, None, Some(10.0));
        assert!(within_step(&whole, Some(&Value::Int(-5)), &Value::Int(5)).is_ok());
        assert!(within_step(&whole, Some(&Value::Uint(u64::MAX)), &Value::Uint(0)).is_err());
        assert!(within_step(&whole, Some(&Value::Int(i64::MIN)), &Value::Int(i64::MAX)).is_err());
    }

    #[test]
    fn without_a_good_value_there_is_no_step() {
        let step = limits(None, None, Some(1.0));
        assert_eq!(reason(within_step(&step, None, &Value::Int(1))), Reason::NoGoodValue);
        assert_eq!(
            reason(within_step(&step, Some(&Value::Float64(f64::NAN)), &Value::Float64(1.0))),
            Reason::StepTooLarge
        );
        assert_eq!(within_step(&limits(None, None, None), None, &Value::Int(1)), Ok(()));
    }

    proptest! {
        #[test]
        fn what_is_taken_reads_back_as_it_was_written(ty in 0..ScalarType::ALL.len(), number: f64, whole: i64) {
            let ty = ScalarType::ALL[ty];
            for json in [json!(number), json!(whole)] {
                if let Ok(value) = scalar(ty, json) {
                    let again = json_of(&value);
                    prop_assert_eq!(scalar(ty, again), Ok(value));
                }
            }
        }

        #[test]
        fn a_whole_number_is_within_limits_as_exact_arithmetic_says(value: i64, min in -1e3f64..1e3, small in -2000i64..2000) {
            for value in [value, small] {
                let exact = (value as f64) >= min;
                prop_assert_eq!(within_limits(&limits(Some(min), None, None), &Value::Int(value)).is_ok(), exact);
            }
        }
    }
}
