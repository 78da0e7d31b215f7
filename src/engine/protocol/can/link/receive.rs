//! Receiving: frames are identified, timed and decoded into the image immediately, and into the ring at each scan.

use super::age::Age;
use super::decode::{self, Decoded};
use super::frame::{Buffer, Head, Trouble};
use super::transport::window;
use super::{CanLink, Latest};
use crate::config::Sampling;
use crate::lane::{Frame, LinkState};
use crate::limits::CAN_VALUES_PER_STEP;
use crate::protocol::can::plan::bits::CanData;
use crate::protocol::can::plan::model::{CanDecode, CanPlan};
use crate::rt::{Arrival, StepContext, World};
use crate::tag::{CanFault, Cause, Nanos, Status};

impl CanLink {
    #[inline]
    pub(super) fn take<W: World>(&mut self, arrival: &Arrival<Buffer>, floor: &mut StepContext<W>) {
        let Arrival { frame: buffer, stamped } = arrival;
        let counters = &floor.counters.links[self.id.index()];
        if stamped.dropped != self.dropped {
            counters.can.dropped.add(u64::from(stamped.dropped.wrapping_sub(self.dropped)));
            self.dropped = stamped.dropped;
        }
        match buffer.head(stamped.bytes()) {
            Head::Data { id, extended, len } => {
                counters.can.received.add(1);
                let t = match stamped.hardware {
                    Some(hardware) => self.clock.on_monotonic(hardware, stamped.at),
                    None => self.clock.without_stamp(stamped.at),
                };
                self.take_data(id, extended, len, buffer.data(), t, floor);
            }
            Head::Remote => counters.can.remote.add(1),
            Head::Malformed => counters.garbage.add(1),
            Head::Error(classes) => self.take_trouble(Trouble::of(classes, buffer.data()), stamped.at, floor),
        }
    }

    #[inline]
    fn take_data<W: World>(
        &mut self,
        id: u32,
        extended: bool,
        len: u8,
        data: &CanData,
        t: Nanos,
        floor: &mut StepContext<W>,
    ) {
        if self.bus_off {
            self.on_the_bus_again(t, floor);
        }
        let mut expected = false;
        if let Some(message) = self.plan.lookup.message(id, extended) {
            self.take_message(message, len.into(), data, &[], t, floor);
            expected = true;
        }
        if extended && !self.plan.lookup.groups.is_empty() {
            expected |= self.take_part(id, len, data, t, floor);
            for message in self.plan.lookup.of_group(id).into_iter().flatten() {
                self.take_message(message, len.into(), data, &[], t, floor);
                expected = true;
            }
        }
        if !self.sent.is_empty() && self.hear_own(id, extended, len, data, t, floor) {
            expected = true;
        }
        if !expected {
            floor.counters.links[self.id.index()].foreign.add(1);
        }
    }

    /// `data`: its first bytes; `whole`: all of a message that came in packets.
    pub(super) fn take_message<W: World>(
        &mut self,
        message: u16,
        len: u16,
        data: &CanData,
        whole: &[u8],
        t: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let CanLink { plan, cases, latest, scans, .. } = self;
        let every = plan.config.sampling == Sampling::Every;
        let Some(message) = plan.messages.get(usize::from(message)) else { return };
        let mut is_short = false;
        for at in message.cases.start as usize..message.cases.end as usize {
            let case = &plan.cases[at];
            if !decode::applies(plan, case, data, len.min(u16::from(u8::MAX)) as u8) {
                continue;
            }
            (cases[at].seen, cases[at].age) = (t, Age::New);
            for i in case.decodes.start as usize..case.decodes.end as usize {
                let decode = &plan.decodes[i];
                let frame = Frame { group: decode.group, cycle: scans[usize::from(decode.scan_at)].cycle, t: t.into() };
                if len < decode.bytes_needed {
                    is_short = true;
                    let why = (Status::UNCERTAIN_LAST_USABLE, Some(Cause::Can(CanFault::Short)));
                    hold(plan, decode, &mut latest[i], frame, why, floor);
                    continue;
                }
                let far;
                let data = match decode.base {
                    0 => data,
                    base => {
                        far = window(whole, usize::from(base));
                        &far
                    }
                };
                let (value, status) = match decode::value(plan, decode, data) {
                    Decoded::Bits(bits, status) => {
                        floor.sink.show(frame, decode.tag, bits, status);
                        (bits, status)
                    }
                    Decoded::Text(text) => {
                        floor.sink.show_long(frame, decode.tag, text_of(plan, text));
                        (u64::from(text), Status::GOOD)
                    }
                    Decoded::Bad(status) => {
                        hold(plan, decode, &mut latest[i], frame, (status, Cause::of_status(status)), floor);
                        continue;
                    }
                };
                let at_once = every || !latest[i].was_told && scans[usize::from(decode.scan_at)].is_slow;
                latest[i] = Latest { t, value, status, is_fresh: !at_once, was_told: true };
                if at_once {
                    tell(plan, decode, frame, value, status, floor);
                }
            }
        }
        if is_short {
            floor.counters.links[self.id.index()].short_frames.add(1);
        }
    }

    /// Hands the ring what a beat has to: some values a step.
    pub(super) fn tell_some<W: World>(&mut self, floor: &mut StepContext<W>) {
        let CanLink { plan, latest, scans, .. } = self;
        let mut left = CAN_VALUES_PER_STEP;
        for scan in scans.iter_mut() {
            while scan.next < scan.end && left > 0 {
                left -= 1;
                let at = plan.beats[scan.next as usize] as usize;
                scan.next += 1;
                let (decode, latest) = (&plan.decodes[at], &mut latest[at]);
                tell_fresh(plan, decode, latest, scan.cycle, floor);
            }
        }
        floor.sink.flush();
    }

    /// What the controller tells of itself.
    fn take_trouble<W: World>(&mut self, trouble: Trouble, at: Nanos, floor: &mut StepContext<W>) {
        let counters = &floor.counters.links[self.id.index()];
        let can = &counters.can;
        for (happened, count) in [
            (trouble.overflow, &can.overflows),
            (trouble.bus_error, &can.bus_errors),
            (trouble.no_acknowledge, &can.unacknowledged),
            (trouble.lost_arbitration, &can.lost_arbitrations),
            (trouble.passive, &can.passives),
        ] {
            count.add(u64::from(happened));
        }
        if trouble.bus_off && !self.bus_off {
            can.bus_offs.add(1);
            counters.set_state(LinkState::BusOff);
            self.bus_off = true;
            self.lose(at);
        } else if trouble.restarted || trouble.active {
            self.on_the_bus_again(at, floor);
        }
    }

    fn on_the_bus_again<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if self.bus_off && self.connection.is_some() {
            self.bus_off = false;
            self.lost_for_good_at = Nanos::NEVER;
            floor.counters.links[self.id.index()].set_state(LinkState::Up);
            self.start_sending(now);
        }
    }
}

/// The bytes of a text.
pub(super) fn text_of(plan: &CanPlan, text: u32) -> &[u8] {
    let Some(text) = plan.texts.get(text as usize) else { return &[] };
    plan.text_bytes.get(text.start as usize..(text.start + text.len) as usize).unwrap_or(&[])
}

/// Hands the ring a value that the image has.
fn tell<W: World>(
    plan: &CanPlan,
    decode: &CanDecode,
    frame: Frame,
    value: u64,
    status: Status,
    floor: &mut StepContext<W>,
) {
    if decode.ty.is_long() {
        floor.sink.ring_long(frame, decode.tag, decode.code, text_of(plan, value as u32));
    } else {
        floor.sink.sample(frame, decode.tag, decode.code, value, status);
    }
}

#[inline]
pub(super) fn tell_fresh<W: World>(
    plan: &CanPlan,
    decode: &CanDecode,
    latest: &mut Latest,
    cycle: u32,
    floor: &mut StepContext<W>,
) {
    if std::mem::take(&mut latest.is_fresh) {
        tell(
            plan,
            decode,
            Frame { group: decode.group, cycle, t: latest.t.into() },
            latest.value,
            latest.status,
            floor,
        );
    }
}

/// Gives a tag a status, after the value that the ring has not had yet.
pub(super) fn hold<W: World>(
    plan: &CanPlan,
    decode: &CanDecode,
    latest: &mut Latest,
    frame: Frame,
    (status, cause): (Status, Option<Cause>),
    floor: &mut StepContext<W>,
) {
    tell_fresh(plan, decode, latest, frame.cycle, floor);
    latest.was_told = false;
    floor.sink.hold_because(frame, decode.tag, decode.code, decode.ty.is_long(), status, cause);
}
