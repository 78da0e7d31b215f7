//! How a line moves: each signal is a function of its seed and the plant's millisecond, with no memory.

use crate::tag::Nanos;

/// The plant's millisecond at a moment of CLOCK_MONOTONIC; 0 before the start.
pub(super) fn tick(at: Nanos, start: Nanos) -> u64 {
    at.since(start).0 / 1_000_000
}

/// What a tag follows. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Signal {
    /// °C: drifts slowly round its base; a transmitter with a tenth of a degree and a little noise.
    Temperature { base: f64, swing: f64, period_ms: u64 },
    /// bar: nearly steady, with the ripple of a pump.
    Pressure { base: f64, ripple: f64 },
    /// rpm: ramps up, holds, ramps down, rests.
    DriveSpeed { rpm: f64, period_ms: u64 },
    /// %: high on the ramps, friction between them.
    DriveTorque { period_ms: u64 },
    /// A: follows torque and speed.
    DriveCurrent { rated: f64, period_ms: u64 },
    /// Bit field: 0 ready, 1 running, 2 at speed, 3 accelerating, 4 braking.
    DriveStatus { period_ms: u64 },
    /// Pieces: only ever rises.
    Counter { per_hour: u64 },
    /// 1 while open.
    Valve { period_ms: u64, open_ms: u64 },
    /// 1 once the valve has travelled.
    LimitSwitch { period_ms: u64, open_ms: u64, travel_ms: u64 },
    /// The name of what is being made.
    Recipe { period_ms: u64 },
}

const RECIPES: [&str; 6] = ["PILS 0.5L", "PILS 0.33L", "WEISSBIER 0.5L", "RADLER 0.33L", "ALKOHOLFREI", "CIP CLEANING"];

/// Share of a drive's period on the ramp up, at speed, on the ramp down; it rests for what is left.
const RAMP_UP: f64 = 0.15;
const AT_SPEED: f64 = 0.65;
const RAMP_DOWN: f64 = 0.10;

impl Signal {
    /// The value as a number; 0 for the recipe, which is text.
    pub(super) fn number(self, seed: u64, tick: u64) -> f64 {
        match self {
            Signal::Temperature { base, swing, period_ms } => {
                let drift = swing * wave(seed, tick, period_ms);
                to_tenths(base + drift + 0.15 * noise(seed, tick / 500))
            }
            Signal::Pressure { base, ripple } => {
                let slow = wave(seed, tick, 180_000);
                base + 0.02 * base * slow + ripple * noise(seed, tick / 50)
            }
            Signal::DriveSpeed { rpm, period_ms } => {
                let drive = Drive::at(seed, tick, period_ms);
                if drive.speed == 0.0 { 0.0 } else { (rpm * drive.speed + 2.0 * noise(seed, tick / 20)).round() }
            }
            Signal::DriveTorque { period_ms } => to_tenths(torque(seed, tick, period_ms)),
            Signal::DriveCurrent { rated, period_ms } => {
                let drive = Drive::at(seed, tick, period_ms);
                let magnetising = if drive.speed > 0.0 { 0.3 } else { 0.0 };
                let share = magnetising + 0.007 * torque(seed, tick, period_ms).abs();
                (rated * share * 100.0).round() / 100.0
            }
            Signal::DriveStatus { period_ms } => {
                let drive = Drive::at(seed, tick, period_ms);
                let bits = 1
                    | u16::from(drive.speed > 0.0) << 1
                    | u16::from(drive.speed == 1.0) << 2
                    | u16::from(drive.acceleration > 0.0) << 3
                    | u16::from(drive.acceleration < 0.0) << 4;
                f64::from(bits)
            }
            Signal::Counter { per_hour } => (seed % 100_000 + tick * per_hour / 3_600_000) as f64,
            Signal::Valve { period_ms, open_ms } => f64::from(u8::from(in_period(seed, tick, period_ms) < open_ms)),
            Signal::LimitSwitch { period_ms, open_ms, travel_ms } => {
                let at = in_period(seed, tick, period_ms);
                f64::from(u8::from((travel_ms..open_ms + travel_ms).contains(&at)))
            }
            Signal::Recipe { .. } => 0.0,
        }
    }

    /// The value as text; empty for what is a number.
    pub(super) fn text(self, seed: u64, tick: u64) -> &'static str {
        match self {
            Signal::Recipe { period_ms } => RECIPES[((seed % 6 + tick / period_ms) % 6) as usize],
            _ => "",
        }
    }
}

struct Drive {
    /// 0 to 1 of the rated speed.
    speed: f64,
    acceleration: f64,
}

impl Drive {
    fn at(seed: u64, tick: u64, period_ms: u64) -> Drive {
        let at = in_period(seed, tick, period_ms) as f64 / period_ms as f64;
        if at < RAMP_UP {
            Drive { speed: at / RAMP_UP, acceleration: 1.0 }
        } else if at < RAMP_UP + AT_SPEED {
            Drive { speed: 1.0, acceleration: 0.0 }
        } else if at < RAMP_UP + AT_SPEED + RAMP_DOWN {
            Drive { speed: 1.0 - (at - RAMP_UP - AT_SPEED) / RAMP_DOWN, acceleration: -1.5 }
        } else {
            Drive { speed: 0.0, acceleration: 0.0 }
        }
    }
}

fn torque(seed: u64, tick: u64, period_ms: u64) -> f64 {
    let drive = Drive::at(seed, tick, period_ms);
    if drive.speed == 0.0 {
        return 0.0;
    }
    25.0 + 55.0 * drive.acceleration + 12.0 * drive.speed + 1.5 * noise(seed, tick / 20)
}

fn to_tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Where in its period a signal is; seeds shift it, so that no two move together.
fn in_period(seed: u64, tick: u64, period_ms: u64) -> u64 {
    (tick + hash(seed) % period_ms) % period_ms
}

fn wave(seed: u64, tick: u64, period_ms: u64) -> f64 {
    (in_period(seed, tick, period_ms) as f64 / period_ms as f64 * std::f64::consts::TAU).sin()
}

/// Between −1 and 1, the same for the same seed and step.
fn noise(seed: u64, step: u64) -> f64 {
    (hash(seed ^ step.wrapping_mul(0xA24B_AED4_963E_E407)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// The finaliser of splitmix64.
pub(super) fn hash(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_never_falls_and_does_rise() {
        let counter = Signal::Counter { per_hour: 36_000 };
        let values: Vec<f64> = (0..10_000).step_by(7).map(|tick| counter.number(3, tick)).collect();
        assert!(values.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(values[values.len() - 1] - values[0], 99.0);
    }

    #[test]
    fn a_temperature_stays_near_its_base_and_moves_slowly() {
        let signal = Signal::Temperature { base: 80.0, swing: 4.0, period_ms: 600_000 };
        let values: Vec<f64> = (0..1_200_000).step_by(10).map(|tick| signal.number(7, tick)).collect();
        assert!(values.iter().all(|v| (75.0..85.0).contains(v)));
        assert!(values.windows(2).all(|w| (w[0] - w[1]).abs() < 0.5));
        assert!(values.iter().any(|v| *v > 83.0) && values.iter().any(|v| *v < 77.0));
    }

    #[test]
    fn a_drive_ramps_up_runs_and_rests_and_its_status_says_so() {
        let (speed, status) =
            (Signal::DriveSpeed { rpm: 1480.0, period_ms: 12_000 }, Signal::DriveStatus { period_ms: 12_000 });
        let seen: Vec<(f64, u16)> =
            (0..12_000).map(|tick| (speed.number(5, tick), status.number(5, tick) as u16)).collect();
        assert!(seen.iter().any(|(v, _)| *v == 0.0) && seen.iter().any(|(v, _)| *v > 1470.0));
        assert!(seen.iter().all(|(v, bits)| (*v > 10.0) <= (bits & 2 != 0)));
        for bits in [0b00001, 0b00111, 0b01011, 0b10011] {
            assert!(seen.iter().any(|(_, b)| *b == bits), "{bits:05b}");
        }
    }

    #[test]
    fn a_limit_switch_follows_its_valve() {
        let (period_ms, open_ms) = (6000, 2500);
        let valve = Signal::Valve { period_ms, open_ms };
        let switch = Signal::LimitSwitch { period_ms, open_ms, travel_ms: 800 };
        for tick in 800..20_000 {
            assert_eq!(switch.number(9, tick), valve.number(9, tick - 800));
        }
    }
}
