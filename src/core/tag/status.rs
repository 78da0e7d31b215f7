//! The quality of a sample, as an OPC UA status code (OPC 10000-4, section 7.39).

use std::fmt;

/// An OPC UA StatusCode. The two top bits are the severity: 00 good, 01 uncertain, 10 bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Status(pub u32);

impl Status {
    pub const GOOD: Status = Status(0x0000_0000);
    /// Before the first read.
    pub const BAD_WAITING_FOR_INITIAL_DATA: Status = Status(0x8032_0000);
    /// A timeout; the last value is held, with the time at which it was read.
    pub const UNCERTAIN_LAST_USABLE: Status = Status(0x408F_0000);
    /// Several requests in a row unanswered, or no connection.
    pub const BAD_NO_COMMUNICATION: Status = Status(0x8031_0000);
    /// The device answered with an exception.
    pub const BAD_DEVICE_FAILURE: Status = Status(0x808B_0000);
    /// Disabled by configuration.
    pub const BAD_OUT_OF_SERVICE: Status = Status(0x808D_0000);
    /// The address does not exist in the device (exception 02 that was pinned to this tag).
    pub const BAD_CONFIGURATION_ERROR: Status = Status(0x8089_0000);
    /// The bytes are no value of the type (BCD digit above 9, text that is not UTF-8).
    pub const BAD_DECODING_ERROR: Status = Status(0x8007_0000);
    /// The sensor behind an input has failed, or its wire is broken.
    pub const BAD_SENSOR_FAILURE: Status = Status(0x808C_0000);
    /// The value lies outside of the range that the sensor or its input is made for.
    pub const UNCERTAIN_UNITS_EXCEEDED: Status = Status(0x4094_0000);
    /// The device says that it has no value.
    pub const BAD_DATA_UNAVAILABLE: Status = Status(0x809E_0000);

    #[inline]
    pub fn is_good(self) -> bool {
        self.0 >> 30 == 0
    }

    #[inline]
    pub fn is_uncertain(self) -> bool {
        self.0 >> 30 == 1
    }

    #[inline]
    pub fn is_bad(self) -> bool {
        self.0 >> 31 == 1
    }

    /// The name of OPC 10000-6, Annex A.2; "Good", "Uncertain" or "Bad" for codes that are not ours.
    pub fn name(self) -> &'static str {
        match self {
            Status::GOOD => "Good",
            Status::BAD_WAITING_FOR_INITIAL_DATA => "BadWaitingForInitialData",
            Status::UNCERTAIN_LAST_USABLE => "UncertainNoCommunicationLastUsableValue",
            Status::BAD_NO_COMMUNICATION => "BadNoCommunication",
            Status::BAD_DEVICE_FAILURE => "BadDeviceFailure",
            Status::BAD_OUT_OF_SERVICE => "BadOutOfService",
            Status::BAD_CONFIGURATION_ERROR => "BadConfigurationError",
            Status::BAD_DECODING_ERROR => "BadDecodingError",
            Status::BAD_SENSOR_FAILURE => "BadSensorFailure",
            Status::UNCERTAIN_UNITS_EXCEEDED => "UncertainEngineeringUnitsExceeded",
            Status::BAD_DATA_UNAVAILABLE => "BadDataUnavailable",
            other if other.is_good() => "Good",
            other if other.is_uncertain() => "Uncertain",
            _ => "Bad",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_is_in_the_two_top_bits() {
        assert!(Status::GOOD.is_good() && !Status::GOOD.is_bad());
        assert!(Status::UNCERTAIN_LAST_USABLE.is_uncertain());
        assert!(Status::BAD_NO_COMMUNICATION.is_bad() && !Status::BAD_NO_COMMUNICATION.is_uncertain());
    }
}
