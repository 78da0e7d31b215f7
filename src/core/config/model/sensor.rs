//! Transmitters with a standard signal: scaling of raw values, and raw values that indicate a fault.

/// A transmitter behind an analogue input: which raw values are the ends of its signal, and what they mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SensorConfig {
    pub signal: Signal,
    /// Raw values at the lower and the upper end of the signal.
    pub raw: [f64; 2],
    /// Engineering values there.
    pub range: [f64; 2],
}

impl SensorConfig {
    /// The value is raw × scale + offset.
    pub fn scale_and_offset(&self) -> (f64, f64) {
        let SensorConfig { raw: [raw_min, raw_max], range: [low, high], .. } = *self;
        let scale = (high - low) / (raw_max - raw_min);
        (scale, low - raw_min * scale)
    }

    /// The raw value at a share of the span.
    pub fn raw_at(&self, share: f64) -> f64 {
        self.raw[0] + share * (self.raw[1] - self.raw[0])
    }
}

/// Standard signals of transmitters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Current4To20,
    Current0To20,
    Voltage0To10,
    Voltage2To10,
    Voltage0To5,
    Voltage1To5,
}

/// What is measured, and what says that the transmitter or its wire has failed; in shares of the span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignalLimits {
    /// At most the first, or at least the second: failed.
    pub failed: [f64; 2],
    /// Below the first, or above the second: in doubt.
    pub doubt: [f64; 2],
}

/// NAMUR NE 43: a transmitter measures from 3.8 to 20.5 mA; at most 3.6 mA, or at least 21 mA, says that it has failed.
const LIVE_ZERO: SignalLimits = SignalLimits {
    failed: [(3.6 - 4.0) / 16.0, (21.0 - 4.0) / 16.0],
    doubt: [(3.8 - 4.0) / 16.0, (20.5 - 4.0) / 16.0],
};
/// The same upper limits of a span that begins at zero, and their mirror image for wires that are swapped.
const DEAD_ZERO: SignalLimits =
    SignalLimits { failed: [1.0 - 21.0 / 20.0, 21.0 / 20.0], doubt: [1.0 - 20.5 / 20.0, 20.5 / 20.0] };

impl Signal {
    /// Its ends, in mA or V.
    pub fn ends(self) -> [f64; 2] {
        match self {
            Signal::Current4To20 => [4.0, 20.0],
            Signal::Current0To20 => [0.0, 20.0],
            Signal::Voltage0To10 => [0.0, 10.0],
            Signal::Voltage2To10 => [2.0, 10.0],
            Signal::Voltage0To5 => [0.0, 5.0],
            Signal::Voltage1To5 => [1.0, 5.0],
        }
    }

    /// It begins above zero: a broken wire is no value of it. Volts that do are the current loop through a resistor.
    pub fn has_live_zero(self) -> bool {
        self.ends()[0] > 0.0
    }

    pub fn limits(self) -> SignalLimits {
        if self.has_live_zero() { LIVE_ZERO } else { DEAD_ZERO }
    }
}
