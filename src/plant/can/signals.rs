//! Signals in a frame's data: what they are, and where their bits lie, by the rules of DBC files.

use crate::signal::Signal;

/// What a signal follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    /// The plant's line; signals with the same group move together.
    Line(Signal, u64),
    /// The state that follows a drive's status word: an index into the signal's texts.
    State {
        period_ms: u64,
        group: u64,
    },
    /// Counts the message's frames.
    Alive,
    /// The page that a multiplexed message shows.
    Page,
    /// What the last command said, and how many came.
    Setpoint,
    Enabled,
    Commands,
}

/// How the bits are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bits {
    Unsigned,
    Signed,
    /// IEEE 754, 32 bits.
    Float,
}

/// Where a signal's bits lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Little endian: `start` is the least significant bit.
    Intel,
    /// Big endian: `start` is the most significant bit.
    Motorola,
}

/// One signal of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SignalSpec {
    pub name: &'static str,
    /// Byte × 8 + bit, as DBC files count.
    pub start: u16,
    pub bits: u16,
    pub order: Order,
    pub kind: Bits,
    pub scale: f64,
    pub offset: f64,
    pub unit: &'static str,
    /// In frames of this page only.
    pub page: Option<u8>,
    pub texts: &'static [&'static str],
    pub source: Source,
}

impl SignalSpec {
    /// The bits of a physical value, the nearest that there are.
    pub(super) fn raw(&self, physical: f64) -> u64 {
        let number = (physical - self.offset) / self.scale;
        let bits = match self.kind {
            Bits::Float => return u64::from((number as f32).to_bits()),
            Bits::Unsigned => number.round().clamp(0.0, self.most() as f64) as u64,
            Bits::Signed => {
                let half = (1i64 << (self.bits - 1)) as f64;
                number.round().clamp(-half, half - 1.0) as i64 as u64
            }
        };
        bits & self.most()
    }

    /// What a reader makes of the bits.
    pub(super) fn physical(&self, raw: u64) -> f64 {
        let number = match self.kind {
            Bits::Float => f64::from(f32::from_bits(raw as u32)),
            Bits::Unsigned => raw as f64,
            Bits::Signed => {
                let unused = 64 - u32::from(self.bits);
                ((raw << unused) as i64 >> unused) as f64
            }
        };
        number * self.scale + self.offset
    }

    fn most(&self) -> u64 {
        u64::MAX >> (64 - u32::from(self.bits))
    }

    /// Each bit's place as byte and bit, the most significant first.
    fn places(&self) -> impl Iterator<Item = (usize, u32)> + use<> {
        let SignalSpec { start, bits, order, .. } = *self;
        let (start, bits) = (usize::from(start), usize::from(bits));
        (0..bits).map(move |i| {
            let place = match order {
                Order::Intel => start + bits - 1 - i,
                // Counted through the bytes with the most significant bit first.
                Order::Motorola => {
                    let at = start / 8 * 8 + (7 - start % 8) + i;
                    at / 8 * 8 + (7 - at % 8)
                }
            };
            (place / 8, (place % 8) as u32)
        })
    }

    pub(super) fn put(&self, raw: u64, data: &mut [u8]) {
        for (i, (byte, bit)) in self.places().enumerate() {
            let is_set = raw >> (usize::from(self.bits) - 1 - i) & 1;
            if let Some(place) = data.get_mut(byte) {
                *place = *place & !(1 << bit) | (is_set as u8) << bit;
            }
        }
    }

    pub(super) fn get(&self, data: &[u8]) -> u64 {
        self.places().fold(0, |raw, (byte, bit)| raw << 1 | u64::from(data.get(byte).copied().unwrap_or(0) >> bit & 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(start: u16, bits: u16, order: Order, kind: Bits) -> SignalSpec {
        let (scale, offset) = (0.5, -10.0);
        SignalSpec {
            name: "s",
            start,
            bits,
            order,
            kind,
            scale,
            offset,
            unit: "",
            page: None,
            texts: &[],
            source: Source::Alive,
        }
    }

    fn bytes_needed(signal: &SignalSpec) -> usize {
        signal.places().map(|(byte, _)| byte + 1).max().unwrap()
    }

    #[test]
    fn bits_lie_where_a_dbc_file_says() {
        let mut data = [0; 4];
        spec(4, 12, Order::Intel, Bits::Unsigned).put(0xABC, &mut data);
        assert_eq!(data, [0xC0, 0xAB, 0, 0]);
        let mut data = [0; 4];
        spec(3, 12, Order::Motorola, Bits::Unsigned).put(0xABC, &mut data);
        assert_eq!(data, [0x0A, 0xBC, 0, 0]);
        assert_eq!(bytes_needed(&spec(3, 12, Order::Motorola, Bits::Unsigned)), 2);
        assert_eq!(bytes_needed(&spec(4, 13, Order::Intel, Bits::Unsigned)), 3);
    }

    #[test]
    fn a_value_beyond_the_bits_is_the_last_that_there_is() {
        let signed = spec(0, 8, Order::Intel, Bits::Signed);
        assert_eq!((signed.raw(1e9), signed.raw(-1e9), signed.raw(-10.5)), (0x7F, 0x80, 0xFF));
        assert_eq!((signed.physical(0x7F), signed.physical(0x80), signed.physical(0xFF)), (53.5, -74.0, -10.5));
        let unsigned = spec(0, 8, Order::Intel, Bits::Unsigned);
        assert_eq!((unsigned.raw(1e9), unsigned.raw(-1e9)), (0xFF, 0));
    }

    #[test]
    fn what_is_put_is_got() {
        for order in [Order::Intel, Order::Motorola] {
            let signal = spec(if order == Order::Intel { 5 } else { 2 }, 17, order, Bits::Unsigned);
            let mut data = [0xFF; 8];
            signal.put(0x1_2345, &mut data);
            assert_eq!(signal.get(&data), 0x1_2345);
        }
    }
}
