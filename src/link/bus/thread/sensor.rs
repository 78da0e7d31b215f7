//! Standard signals of transmitters: the value, and whether the wire is broken.
//!
//! NAMUR NE 43: a transmitter measures between 3.8 and 20.5 mA; at most 3.6 mA or at least 21 mA says that it has
//! failed, and so does a broken wire. Signals of volts that begin above zero are the same current through a resistor.
//! A signal that begins at zero cannot tell a broken wire; its other limits are the same share of the span.

use crate::config::{SensorConfig, Signal};
use crate::tag::Status;

/// In shares of the span from 4 to 20 mA: failed below, in doubt below, in doubt above, failed above.
const LIVE_ZERO: [f64; 4] = [(3.6 - 4.0) / 16.0, (3.8 - 4.0) / 16.0, (20.5 - 4.0) / 16.0, (21.0 - 4.0) / 16.0];
/// The same upper limits of a span that begins at zero, and their mirror image for wires that are swapped.
const DEAD_ZERO: [f64; 4] = [1.0 - 21.0 / 20.0, 1.0 - 20.5 / 20.0, 20.5 / 20.0, 21.0 / 20.0];
/// For the rounding of raw values that lie on a limit.
const ROUNDING: f64 = 1e-9;

/// The engineering value of a raw one.
///
/// # Errors
/// [`Status::BAD_SENSOR_FAILURE`] when the signal is outside of what a transmitter that works sends.
pub fn value(sensor: &SensorConfig, raw: f64) -> Result<(f64, Status), Status> {
    let SensorConfig { signal, raw: [raw_min, raw_max], range: [low, high] } = *sensor;
    let share = (raw - raw_min) / (raw_max - raw_min);
    if !share.is_finite() {
        return Err(Status::BAD_DECODING_ERROR);
    }
    let starts_at_zero = matches!(signal, Signal::Current0To20 | Signal::Voltage0To10 | Signal::Voltage0To5);
    let [failed_low, doubt_low, doubt_high, failed_high] = if starts_at_zero { DEAD_ZERO } else { LIVE_ZERO };
    if share < failed_low - ROUNDING || share > failed_high + ROUNDING {
        return Err(Status::BAD_SENSOR_FAILURE);
    }
    let value = low + share * (high - low);
    let in_doubt = share < doubt_low - ROUNDING || share > doubt_high + ROUNDING;
    Ok((value, if in_doubt { Status::UNCERTAIN_UNITS_EXCEEDED } else { Status::GOOD }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Raw values are the signal itself.
    fn of(signal: Signal, raw: f64) -> Result<(f64, Status), Status> {
        value(&SensorConfig { signal, raw: signal.ends(), range: [0.0, 100.0] }, raw)
    }

    #[test]
    fn a_current_loop_has_the_limits_of_ne_43() {
        let loop_at = |ma| of(Signal::Current4To20, ma).map(|(value, status)| ((value * 1e6).round() / 1e6, status));
        for (ma, value) in [(4.0, 0.0), (12.0, 50.0), (20.0, 100.0), (3.8, -1.25), (20.5, 103.125)] {
            assert_eq!(loop_at(ma), Ok((value, Status::GOOD)), "{ma} mA");
        }
        for (ma, value) in [(3.79, -1.3125), (3.6, -2.5), (20.51, 103.1875), (21.0, 106.25)] {
            assert_eq!(loop_at(ma), Ok((value, Status::UNCERTAIN_UNITS_EXCEEDED)), "{ma} mA");
        }
        for ma in [3.59, 0.0, -1.0, 21.01, 25.0] {
            assert_eq!(loop_at(ma), Err(Status::BAD_SENSOR_FAILURE), "{ma} mA");
        }
        assert_eq!(of(Signal::Current4To20, f64::NAN), Err(Status::BAD_DECODING_ERROR));
    }

    #[test]
    fn volts_have_the_same_limits_as_the_current_through_a_resistor() {
        for (signal, per_ma) in [(Signal::Voltage2To10, 0.5), (Signal::Voltage1To5, 0.25)] {
            assert_eq!(of(signal, 3.7 * per_ma).unwrap().1, Status::UNCERTAIN_UNITS_EXCEEDED);
            assert_eq!(of(signal, 3.5 * per_ma), Err(Status::BAD_SENSOR_FAILURE));
            assert_eq!(of(signal, 20.4 * per_ma).unwrap().1, Status::GOOD);
        }
    }

    #[test]
    fn a_signal_from_zero_has_no_broken_wire_but_an_upper_end_and_no_negative_side() {
        assert_eq!(of(Signal::Voltage0To10, 0.0), Ok((0.0, Status::GOOD)));
        assert_eq!(of(Signal::Voltage0To10, 10.3).unwrap().1, Status::UNCERTAIN_UNITS_EXCEEDED);
        assert_eq!(of(Signal::Voltage0To10, 10.6), Err(Status::BAD_SENSOR_FAILURE));
        assert_eq!(of(Signal::Current0To20, -1.5), Err(Status::BAD_SENSOR_FAILURE));
        assert_eq!(of(Signal::Voltage0To5, -0.01).unwrap().1, Status::GOOD);
    }

    #[test]
    fn raw_counts_are_scaled_to_the_signal_first() {
        // 12 bits over 20 mA, a tank of 2 to 8 m; the wiring may count downwards.
        let tank = SensorConfig { signal: Signal::Current4To20, raw: [819.0, 4095.0], range: [2.0, 8.0] };
        assert_eq!(value(&tank, 2457.0), Ok((5.0, Status::GOOD)));
        assert_eq!(value(&tank, 100.0), Err(Status::BAD_SENSOR_FAILURE));
        let turned = SensorConfig { raw: [4095.0, 819.0], ..tank };
        assert_eq!(value(&turned, 4095.0), Ok((2.0, Status::GOOD)));
    }
}
