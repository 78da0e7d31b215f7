//! The messages on the plant's CAN bus: who sends what, how often, and what is in it.

use super::frame::{Frame, FrameKind};
use super::signals::{Bits, Order, SignalSpec, Source};
use crate::signal::{Signal, hash};

/// The nodes that send, as faults and the DBC file name them.
pub(super) const NODES: [&str; 5] = ["mixer", "tank", "drive", "engine", "batch"];

/// A message of the bus.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Message {
    pub name: &'static str,
    pub comment: &'static str,
    pub id: u32,
    pub extended: bool,
    pub fd: bool,
    /// A parameter group of J1939: the id has its number, a priority and a source address.
    pub j1939: bool,
    pub bytes: usize,
    pub cycle_ms: u64,
    /// Index into [`NODES`]; `None`: the gateway sends it.
    pub node: Option<usize>,
    pub signals: &'static [SignalSpec],
}

/// What decides on a frame's values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Moment {
    /// The plant's millisecond.
    pub tick: u64,
    /// Frames of the message before this one.
    pub sent: u64,
    pub commands: Commands,
}

/// What the mixer has heard.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Commands {
    pub setpoint: f64,
    pub enabled: bool,
    pub count: u64,
}

const fn number(
    name: &'static str,
    start: u16,
    bits: u16,
    scale: f64,
    unit: &'static str,
    source: Source,
) -> SignalSpec {
    SignalSpec {
        name,
        start,
        bits,
        order: Order::Intel,
        kind: Bits::Unsigned,
        scale,
        offset: 0.0,
        unit,
        page: None,
        texts: &[],
        source,
    }
}

const fn signed(spec: SignalSpec) -> SignalSpec {
    SignalSpec { kind: Bits::Signed, ..spec }
}

const fn float(name: &'static str, start: u16, unit: &'static str, source: Source) -> SignalSpec {
    SignalSpec { kind: Bits::Float, ..number(name, start, 32, 1.0, unit, source) }
}

const fn motorola(spec: SignalSpec) -> SignalSpec {
    SignalSpec { order: Order::Motorola, ..spec }
}

const fn on_page(page: u8, spec: SignalSpec) -> SignalSpec {
    SignalSpec { page: Some(page), ..spec }
}

const fn temperature(base: f64, group: u64) -> Source {
    Source::Line(Signal::Temperature { base, swing: 4.0, period_ms: 60_000 }, group)
}

const MIXER_MS: u64 = 8_000;
const DRIVE_MS: u64 = 11_000;
const ENGINE_MS: u64 = 14_000;
const NO_YES: &[&str] = &["No", "Yes"];

/// Identifiers keep clear of those that CANopen gives to nodes, so that both can share a bus.
pub(super) const MESSAGES: [Message; 7] = [
    Message {
        name: "MixerStatus",
        comment: "What the mixer does",
        id: 0x110,
        extended: false,
        fd: false,
        j1939: false,
        bytes: 8,
        cycle_ms: 10,
        node: Some(0),
        signals: &[
            signed(number(
                "Speed",
                0,
                16,
                0.1,
                "rpm",
                Source::Line(Signal::DriveSpeed { rpm: 1480.0, period_ms: MIXER_MS }, 1),
            )),
            signed(number("Torque", 16, 12, 0.1, "%", Source::Line(Signal::DriveTorque { period_ms: MIXER_MS }, 1))),
            SignalSpec {
                texts: &["Stopped", "Accelerating", "Running", "Braking"],
                ..number("State", 28, 3, 1.0, "", Source::State { period_ms: MIXER_MS, group: 1 })
            },
            number(
                "Current",
                32,
                16,
                0.01,
                "A",
                Source::Line(Signal::DriveCurrent { rated: 12.5, period_ms: MIXER_MS }, 1),
            ),
            number("Alive", 60, 4, 1.0, "", Source::Alive),
        ],
    },
    Message {
        name: "MixerFeedback",
        comment: "The command that the mixer follows",
        id: 0x118,
        extended: false,
        fd: false,
        j1939: false,
        bytes: 6,
        cycle_ms: 100,
        node: Some(0),
        signals: &[
            signed(number("SetpointSeen", 0, 16, 0.1, "rpm", Source::Setpoint)),
            SignalSpec { texts: NO_YES, ..number("EnableSeen", 16, 1, 1.0, "", Source::Enabled) },
            number("CommandsSeen", 24, 16, 1.0, "", Source::Commands),
        ],
    },
    Message {
        name: "MixerCommand",
        comment: "What the mixer shall do; the gateway sends it",
        id: 0x119,
        extended: false,
        fd: false,
        j1939: false,
        bytes: 4,
        cycle_ms: 0,
        node: None,
        signals: &[
            signed(number("Setpoint", 0, 16, 0.1, "rpm", Source::Setpoint)),
            SignalSpec { texts: NO_YES, ..number("Enable", 16, 1, 1.0, "", Source::Enabled) },
        ],
    },
    Message {
        name: "TankLevel",
        comment: "The tank, by a transmitter with the high byte first",
        id: 0x120,
        extended: false,
        fd: false,
        j1939: false,
        bytes: 7,
        cycle_ms: 100,
        node: Some(1),
        signals: &[
            motorola(number("Level", 7, 16, 0.01, "%", temperature(55.0, 2))),
            motorola(SignalSpec { offset: -40.0, ..number("Temperature", 23, 12, 0.05, "°C", temperature(62.0, 3)) }),
            motorola(number(
                "Pressure",
                27,
                12,
                0.005,
                "bar",
                Source::Line(Signal::Pressure { base: 3.0, ripple: 0.03 }, 4),
            )),
            motorola(signed(number(
                "Drift",
                47,
                16,
                0.001,
                "°C",
                Source::Line(Signal::Temperature { base: 0.0, swing: 5.0, period_ms: 30_000 }, 5),
            ))),
        ],
    },
    Message {
        name: "DriveDiagnosis",
        comment: "Three pages in turn",
        id: 0x130,
        extended: false,
        fd: false,
        j1939: false,
        bytes: 8,
        cycle_ms: 50,
        node: Some(2),
        signals: &[
            number("Page", 0, 8, 1.0, "", Source::Page),
            on_page(
                0,
                number(
                    "Current",
                    8,
                    16,
                    0.01,
                    "A",
                    Source::Line(Signal::DriveCurrent { rated: 32.0, period_ms: DRIVE_MS }, 6),
                ),
            ),
            on_page(
                0,
                signed(number(
                    "Torque",
                    24,
                    16,
                    0.1,
                    "%",
                    Source::Line(Signal::DriveTorque { period_ms: DRIVE_MS }, 6),
                )),
            ),
            on_page(1, signed(number("WindingTemperature", 8, 16, 0.1, "°C", temperature(85.0, 7)))),
            on_page(1, motorola(signed(number("BearingTemperature", 31, 16, 0.1, "°C", temperature(48.0, 8))))),
            on_page(2, number("Revolutions", 16, 32, 1.0, "", Source::Line(Signal::Counter { per_hour: 88_000 }, 9))),
        ],
    },
    Message {
        name: "EEC1",
        comment: "Electronic engine controller 1 (PGN 61444), from source address 3",
        id: 0x0CF0_0403,
        extended: true,
        fd: false,
        j1939: true,
        bytes: 8,
        cycle_ms: 20,
        node: Some(3),
        signals: &[
            SignalSpec {
                offset: -125.0,
                ..number(
                    "ActualTorque",
                    16,
                    8,
                    1.0,
                    "%",
                    Source::Line(Signal::DriveTorque { period_ms: ENGINE_MS }, 10),
                )
            },
            number(
                "EngineSpeed",
                24,
                16,
                0.125,
                "rpm",
                Source::Line(Signal::DriveSpeed { rpm: 1800.0, period_ms: ENGINE_MS }, 10),
            ),
        ],
    },
    Message {
        name: "BatchRecord",
        comment: "The batch in one frame of CAN FD",
        id: 0x140,
        extended: false,
        fd: true,
        j1939: false,
        bytes: 32,
        cycle_ms: 100,
        node: Some(4),
        signals: &[
            number("Pieces", 0, 32, 1.0, "pcs", Source::Line(Signal::Counter { per_hour: 36_000 }, 11)),
            float("Density", 32, "kg/m3", temperature(998.0, 12)),
            float("Flow", 64, "l/min", Source::Line(Signal::Pressure { base: 120.0, ripple: 1.5 }, 13)),
            float("Viscosity", 192, "mPa.s", temperature(12.0, 14)),
            number("Valve", 248, 1, 1.0, "", Source::Line(Signal::Valve { period_ms: 5_000, open_ms: 2_000 }, 15)),
        ],
    },
];

/// Index of the message that the gateway sends.
pub(super) const COMMAND: usize = 2;

impl Message {
    /// How many pages it shows in turn; one where it has none.
    fn pages(&self) -> u64 {
        self.signals.iter().filter_map(|signal| signal.page).max().map_or(1, |last| u64::from(last) + 1)
    }

    /// The signals of one frame with their physical values, as the bits can hold them.
    pub(super) fn values(&self, at: Moment) -> impl Iterator<Item = (&'static SignalSpec, f64)> {
        let page = at.sent % self.pages();
        let shown = move |signal: &&SignalSpec| signal.page.is_none_or(|own| u64::from(own) == page);
        self.signals.iter().filter(shown).map(move |signal| {
            let physical = match signal.source {
                Source::Line(line, group) => line.number(seed(group), at.tick),
                Source::State { period_ms, group } => state(seed(group), at.tick, period_ms),
                Source::Alive => (at.sent % (1 << signal.bits)) as f64,
                Source::Page => page as f64,
                Source::Setpoint => at.commands.setpoint,
                Source::Enabled => f64::from(u8::from(at.commands.enabled)),
                Source::Commands => (at.commands.count % (1 << signal.bits)) as f64,
            };
            (signal, signal.physical(signal.raw(physical)))
        })
    }

    /// Bits that belong to no signal are 0, in J1939 1.
    pub(super) fn frame(&self, at: Moment) -> Frame {
        let mut data = vec![if self.j1939 { 0xFF } else { 0 }; self.bytes];
        for (signal, physical) in self.values(at) {
            signal.put(signal.raw(physical), &mut data);
        }
        let kind = if self.fd { FrameKind::Fd } else { FrameKind::Data };
        Frame { id: self.id, extended: self.extended, kind, data }
    }

    pub(super) fn is_in(&self, frame: &Frame) -> bool {
        (frame.id, frame.extended) == (self.id, self.extended)
            && matches!(frame.kind, FrameKind::Data | FrameKind::Fd)
            && frame.data.len() >= self.bytes
    }
}

impl Commands {
    /// What the mixer makes of a frame; others leave it as it is.
    pub(super) fn hear(&mut self, frame: &Frame) {
        let [setpoint, enable] = MESSAGES[COMMAND].signals else { return };
        if MESSAGES[COMMAND].is_in(frame) {
            self.setpoint = setpoint.physical(setpoint.get(&frame.data));
            self.enabled = enable.get(&frame.data) == 1;
            self.count += 1;
        }
    }
}

/// Apart from the seeds of the Modbus devices.
pub(crate) fn seed(group: u64) -> u64 {
    hash(0xCA << 48 | group)
}

fn state(seed: u64, tick: u64, period_ms: u64) -> f64 {
    let status = Signal::DriveStatus { period_ms }.number(seed, tick) as u16;
    match (status >> 1 & 1, status >> 3 & 1, status >> 4 & 1) {
        (0, ..) => 0.0,
        (_, 1, _) => 1.0,
        (_, _, 1) => 3.0,
        _ => 2.0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_signal_lies_within_its_message_and_alone() {
        for message in MESSAGES {
            for page in 0..message.pages() {
                let mut all = vec![0; message.bytes];
                let mut bits = 0;
                for signal in message.signals.iter().filter(|s| s.page.is_none_or(|own| u64::from(own) == page)) {
                    assert_eq!(signal.get(&all), 0, "{}.{} lies over another", message.name, signal.name);
                    signal.put(u64::MAX, &mut all);
                    bits += u32::from(signal.bits);
                }
                assert_eq!(all.iter().map(|byte: &u8| byte.count_ones()).sum::<u32>(), bits);
            }
        }
        let ids: HashSet<u32> = MESSAGES.iter().map(|message| message.id).collect();
        assert_eq!(ids.len(), MESSAGES.len());
    }

    #[test]
    fn a_frame_holds_the_values_of_its_moment_and_pages_come_in_turn() {
        for (sent, page) in [(0, 0), (1, 1), (2, 2), (3, 0)] {
            let at = Moment { tick: 12_345, sent, ..Moment::default() };
            let message = &MESSAGES[4];
            let frame = message.frame(at);
            assert_eq!(frame.data[0], page);
            for (signal, value) in message.values(at) {
                assert_eq!(signal.physical(signal.get(&frame.data)), value, "{}", signal.name);
            }
        }
    }

    #[test]
    fn values_move_and_some_are_below_zero() {
        let seen = |message: &Message, name: &str| -> Vec<f64> {
            let ticks = (0..120_000).step_by(100);
            let at = |tick| message.values(Moment { tick, ..Moment::default() });
            ticks
                .flat_map(|tick| at(tick).filter(|(s, _)| s.name == name).map(|(_, v)| v).collect::<Vec<_>>())
                .collect()
        };
        for (message, name) in [(0, "Torque"), (3, "Drift")] {
            let values = seen(&MESSAGES[message], name);
            assert!(values.iter().any(|v| *v < 0.0) && values.iter().any(|v| *v > 0.0), "{name}");
        }
        let states: HashSet<u64> = seen(&MESSAGES[0], "State").into_iter().map(f64::to_bits).collect();
        assert_eq!(states.len(), 4);
    }

    #[test]
    fn the_mixer_hears_its_commands_only() {
        let mut commands = Commands::default();
        commands.hear(&Frame::data(0x119, &[0x18, 0xFC, 1, 0]));
        assert_eq!(commands, Commands { setpoint: -100.0, enabled: true, count: 1 });
        commands.hear(&Frame::data(0x119, &[0, 0, 0]));
        commands.hear(&Frame::data(0x118, &[0, 0, 0, 0]));
        assert_eq!(commands.count, 1);
    }
}
