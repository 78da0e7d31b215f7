//! Standard signals of transmitters on the floor: what the value of one says of its wire.
//!
//! The value itself is scaled like any other; a transmitter adds the status. NAMUR NE 43, see
//! [`crate::config::SignalLimits`].

use crate::config::SensorConfig;
use crate::tag::Status;

/// For the rounding of values that lie on a limit; in shares of the span.
const ROUNDING: f64 = 1e-9;

/// The limits of one transmitter, in the tag's unit, each the lower one first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SensorLimits {
    failed: [f64; 2],
    doubt: [f64; 2],
}

impl SensorLimits {
    pub fn of(sensor: &SensorConfig) -> SensorLimits {
        let [low, high] = sensor.range;
        let limits = sensor.signal.limits();
        let value = |share: f64| low + share * (high - low);
        // A value that falls while the signal rises has them the other way round.
        let ordered = |ends: [f64; 2]| if ends[0] <= ends[1] { ends } else { [ends[1], ends[0]] };
        let [failed_low, failed_high] = limits.failed;
        let [doubt_low, doubt_high] = limits.doubt;
        SensorLimits {
            failed: ordered([value(failed_low + ROUNDING), value(failed_high - ROUNDING)]),
            doubt: ordered([value(doubt_low - ROUNDING), value(doubt_high + ROUNDING)]),
        }
    }

    /// What is to be thought of a value.
    #[inline]
    pub fn status(&self, value: f64) -> Status {
        if value >= self.doubt[0] && value <= self.doubt[1] {
            Status::GOOD
        } else if value > self.failed[0] && value < self.failed[1] {
            Status::UNCERTAIN_UNITS_EXCEEDED
        } else if value.is_nan() {
            Status::BAD_DECODING_ERROR
        } else {
            Status::BAD_SENSOR_FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Signal;

    /// Raw values are the signal itself; the value is rounded for comparison.
    fn of(signal: Signal, raw: f64) -> (f64, Status) {
        through(&SensorConfig { signal, raw: signal.ends(), range: [0.0, 100.0] }, raw)
    }

    fn through(sensor: &SensorConfig, raw: f64) -> (f64, Status) {
        let (scale, offset) = sensor.scale_and_offset();
        let value = raw * scale + offset;
        ((value * 1e6).round() / 1e6, SensorLimits::of(sensor).status(value))
    }

    const FAILED: Status = Status::BAD_SENSOR_FAILURE;
    const DOUBT: Status = Status::UNCERTAIN_UNITS_EXCEEDED;

    #[test]
    fn a_current_loop_has_the_limits_of_ne_43() {
        for (ma, value) in [(4.0, 0.0), (12.0, 50.0), (20.0, 100.0), (3.8, -1.25), (20.5, 103.125)] {
            assert_eq!(of(Signal::Current4To20, ma), (value, Status::GOOD), "{ma} mA");
        }
        for (ma, value) in [(3.79, -1.3125), (3.61, -2.4375), (20.51, 103.1875), (20.99, 106.1875)] {
            assert_eq!(of(Signal::Current4To20, ma), (value, DOUBT), "{ma} mA");
        }
        for ma in [3.6, 3.59, 0.0, -1.0, 21.0, 21.01, 25.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(of(Signal::Current4To20, ma).1, FAILED, "{ma} mA");
        }
        assert_eq!(of(Signal::Current4To20, f64::NAN).1, Status::BAD_DECODING_ERROR);
    }

    #[test]
    fn volts_have_the_same_limits_as_the_current_through_a_resistor() {
        for (signal, per_ma) in [(Signal::Voltage2To10, 0.5), (Signal::Voltage1To5, 0.25)] {
            for (ma, status) in [(3.6, FAILED), (3.7, DOUBT), (3.8, Status::GOOD), (20.5, Status::GOOD), (21.0, FAILED)]
            {
                assert_eq!(of(signal, ma * per_ma).1, status, "{signal:?} as of {ma} mA");
            }
        }
    }

    #[test]
    fn a_signal_from_zero_has_no_broken_wire_but_an_upper_end_and_no_negative_side() {
        assert_eq!(of(Signal::Voltage0To10, 0.0), (0.0, Status::GOOD));
        assert_eq!(of(Signal::Voltage0To10, 10.25).1, Status::GOOD);
        assert_eq!(of(Signal::Voltage0To10, 10.3).1, DOUBT);
        assert_eq!(of(Signal::Voltage0To10, 10.5).1, FAILED);
        assert_eq!(of(Signal::Current0To20, -1.0).1, FAILED);
        assert_eq!(of(Signal::Voltage0To5, -0.01).1, Status::GOOD);
    }

    #[test]
    fn raw_counts_are_scaled_to_the_signal_and_may_run_downwards() {
        // 12 bits over 20 mA, a tank of 2 to 8 m.
        let tank = SensorConfig { signal: Signal::Current4To20, raw: [819.0, 4095.0], range: [2.0, 8.0] };
        assert_eq!(through(&tank, 2457.0), (5.0, Status::GOOD));
        assert_eq!(through(&tank, 100.0).1, FAILED);
        for turned in [SensorConfig { raw: [4095.0, 819.0], ..tank }, SensorConfig { range: [8.0, 2.0], ..tank }] {
            assert_eq!(through(&turned, 819.0), (8.0, Status::GOOD));
            assert_eq!(through(&turned, 4095.0), (2.0, Status::GOOD));
        }
        // What lies beyond the lower end of the signal is the upper end of what is measured: a level from above.
        let from_above = SensorConfig { range: [8.0, 2.0], ..tank };
        assert_eq!(through(&from_above, 819.0 - 0.025 * 3276.0).1, FAILED);
        assert_eq!(through(&from_above, 819.0 - 0.0125 * 3276.0), (8.075, Status::GOOD));
    }

    /// Siemens S7-1200, analogue inputs of 4 to 20 mA: 27648 at 20 mA, -4864 at 1.185 mA, 32511 at 22.81 mA; 32767 says
    /// overflow, -32768 a broken wire. The limits lie at -691.2, -345.6, 28512 and 29376.
    #[test]
    fn counts_of_a_usual_module_tell_a_broken_wire_at_the_nearest_count() {
        let s7 = SensorConfig { signal: Signal::Current4To20, raw: [0.0, 27_648.0], range: [0.0, 16.0] };
        for (count, status) in [
            (-32_768.0, FAILED),
            (-692.0, FAILED),
            (-691.0, DOUBT),
            (-346.0, DOUBT),
            (-345.0, Status::GOOD),
            (13_824.0, Status::GOOD),
            (28_512.0, Status::GOOD),
            (28_513.0, DOUBT),
            (29_375.0, DOUBT),
            (29_376.0, FAILED),
            (32_767.0, FAILED),
        ] {
            assert_eq!(through(&s7, count).1, status, "{count}");
        }
    }
}
