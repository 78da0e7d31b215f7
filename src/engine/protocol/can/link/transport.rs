//! Messages of several packets, as J1939 sends them (SAE J1939-21, section 5.10): listened to, never asked for.
//!
//! A sender announces a message to all (BAM) or to one node (RTS, which that node answers with CTS); numbered packets of
//! seven bytes follow. What is missing a packet, or has one twice or too late, is dropped as a whole.

use super::CanLink;
use crate::lane::region_of;
use crate::limits::{J1939_CONNECTION_TIMEOUT, J1939_MESSAGE_BYTES_MAX, J1939_PACKET_TIMEOUT};
use crate::protocol::can::plan::bits::{CAN_DATA_ROOM, CanData};
use crate::protocol::can::plan::filters::{TP_CM, TP_DT};
use crate::protocol::can::plan::model::{GroupKey, TransportSlot, pgn_of};
use crate::rt::{StepContext, World};
use crate::tag::Nanos;

/// The destination of what is for all.
const GLOBAL: u8 = 255;
const PACKET_BYTES: usize = 7;
/// What fits one frame is not sent in packets.
const SIZE_MIN: u16 = 9;
const SIZE_MAX: u16 = J1939_MESSAGE_BYTES_MAX as u16;

/// Control bytes (5.10.3).
const RTS: u8 = 16;
const CTS: u8 = 17;
const END_OF_MESSAGE: u8 = 19;
const BAM: u8 = 32;
const ABORT: u8 = 255;

/// The rooms for messages, fixed by the plan, and those in which one is under way.
pub struct Transport {
    rooms: Box<[Room]>,
    /// Indices of rooms, the first `under_way` of them.
    list: Box<[u16]>,
    under_way: usize,
}

struct Room {
    key: GroupKey,
    session: Session,
    /// As much of a message as fields lie in.
    data: Box<[u8]>,
}

/// A message under way.
#[derive(Debug, Clone, Copy, Default)]
struct Session {
    source: u8,
    destination: u8,
    pgn: u32,
    size: u16,
    /// The packet that is to come, from 1.
    next: u8,
    heard: Nanos,
}

/// What a packet came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    /// Of no message that is followed.
    Foreign,
    Taken,
    /// It is not the one that was to come.
    Wrong,
    /// The message is whole: in this room.
    Last(usize),
}

impl Session {
    fn due(&self) -> Nanos {
        self.heard + if self.destination == GLOBAL { J1939_PACKET_TIMEOUT } else { J1939_CONNECTION_TIMEOUT }
    }

    fn is_between(&self, source: u8, destination: u8) -> bool {
        (self.source, self.destination) == (source, destination)
    }
}

impl Transport {
    pub fn new(slots: &[TransportSlot]) -> Transport {
        let room = |slot: &TransportSlot| Room {
            key: slot.key,
            session: Session::default(),
            data: vec![0; usize::from(slot.bytes)].into_boxed_slice(),
        };
        Transport { rooms: slots.iter().map(room).collect(), list: (0..slots.len() as u16).collect(), under_way: 0 }
    }

    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        let rooms = self.rooms.iter().map(|room| region_of(&room.data));
        [region_of(&self.rooms), region_of(&self.list)].into_iter().chain(rooms)
    }

    /// Nothing that was under way counts any more.
    pub fn forget(&mut self) {
        self.under_way = 0;
    }

    fn active(&self) -> &[u16] {
        self.list.get(..self.under_way).unwrap_or_default()
    }

    fn session(&self, room: u16) -> Option<&Session> {
        self.rooms.get(usize::from(room)).map(|room| &room.session)
    }

    /// The place in the list of the first message under way that is so.
    fn find(&self, is_it: impl Fn(&Session) -> bool) -> Option<usize> {
        self.active().iter().position(|room| self.session(*room).is_some_and(&is_it))
    }

    fn end(&mut self, place: usize) {
        if place < self.under_way {
            self.under_way -= 1;
            self.list.swap(place, self.under_way);
        }
    }

    /// When the next packet of some message is overdue.
    pub fn deadline(&self) -> Nanos {
        let sessions = self.active().iter().filter_map(|room| self.session(*room));
        sessions.map(Session::due).min().unwrap_or(Nanos::NEVER)
    }

    /// Drops what is overdue; how many.
    pub fn expire(&mut self, now: Nanos) -> u64 {
        let mut dropped = 0;
        while let Some(place) = self.find(|session| now >= session.due()) {
            self.end(place);
            dropped += 1;
        }
        dropped
    }

    /// A frame of either kind, for fuzzers.
    pub(super) fn fuzz(&mut self, is_control: bool, source: u8, destination: u8, data: &[u8; 8], now: Nanos) {
        if is_control {
            self.control(source, destination, data, now);
        } else {
            self.packet(source, destination, data, now);
        }
        assert!(self.under_way <= self.list.len());
    }

    /// A frame of connection management; how many messages it has put an end to before they were whole.
    fn control(&mut self, source: u8, destination: u8, data: &[u8; 8], now: Nanos) -> u64 {
        let [control, low, high, packets, _, pgn @ ..] = *data;
        let pgn = u32::from_le_bytes([pgn[0], pgn[1], pgn[2], 0]);
        // As in an identifier: without the destination, where the group has one.
        let pgn = pgn_of((pgn & 0x3_FFFF) << 8);
        match control {
            BAM | RTS => {
                if (control == BAM) != (destination == GLOBAL) {
                    return 0;
                }
                // A sender has one message at a time for each destination, followed or not.
                let before = self.find(|session| session.is_between(source, destination));
                before.iter().for_each(|place| self.end(*place));
                let size = u16::from_le_bytes([low, high]);
                let lost = u64::from(before.is_some());
                if !(SIZE_MIN..=SIZE_MAX).contains(&size) || usize::from(packets) != packets_of(size) {
                    return lost;
                }
                let session = Session { source, destination, pgn, size, next: 1, heard: now };
                lost + u64::from(!self.begin(session))
            }
            CTS => {
                let Some(place) = self.find(|session| session.is_between(destination, source)) else { return 0 };
                let Some(session) = self.at(place) else { return 0 };
                // How many packets may come, and from which on: some again, or none yet. What the receiver has, and we
                // have not, does not come again.
                let (count, from) = (low, high);
                if count > 0 && (from == 0 || from > session.next) {
                    self.end(place);
                    return 1;
                }
                session.heard = now;
                if count > 0 {
                    session.next = from;
                }
                0
            }
            END_OF_MESSAGE | ABORT => {
                let either = |session: &Session| {
                    session.pgn == pgn
                        && (session.is_between(destination, source)
                            || control == ABORT && session.is_between(source, destination))
                };
                let found = self.find(either);
                found.iter().for_each(|place| self.end(*place));
                u64::from(found.is_some())
            }
            _ => 0,
        }
    }

    fn at(&mut self, place: usize) -> Option<&mut Session> {
        let room = *self.active().get(place)?;
        self.rooms.get_mut(usize::from(room)).map(|room| &mut room.session)
    }

    /// False: its group is followed, and all rooms for it are taken.
    fn begin(&mut self, session: Session) -> bool {
        let known = |source: u16| {
            let key = GroupKey { pgn: session.pgn, source };
            self.rooms.iter().any(|room| room.key == key).then_some(key)
        };
        let Some(key) = known(u16::from(session.source)).or_else(|| known(GroupKey::ANY_SOURCE)) else { return true };
        let free = self.list.get(self.under_way..).unwrap_or_default();
        let is_it = |room: &u16| self.rooms.get(usize::from(*room)).is_some_and(|room| room.key == key);
        let Some(found) = free.iter().position(is_it) else { return false };
        self.list.swap(self.under_way, self.under_way + found);
        self.under_way += 1;
        if let Some(begun) = self.at(self.under_way - 1) {
            *begun = session;
        }
        true
    }

    /// A packet.
    fn packet(&mut self, source: u8, destination: u8, data: &[u8; 8], now: Nanos) -> Packet {
        let Some(place) = self.find(|session| session.is_between(source, destination)) else { return Packet::Foreign };
        let Some(number) = self.active().get(place).map(|room| usize::from(*room)) else { return Packet::Foreign };
        let Some(Room { session, data: room, .. }) = self.rooms.get_mut(number) else { return Packet::Foreign };
        let [sequence, bytes @ ..] = data;
        if now >= session.due() || *sequence != session.next {
            self.end(place);
            return Packet::Wrong;
        }
        let start = (usize::from(*sequence) - 1) * PACKET_BYTES;
        // As far as there is room, and no padding.
        let end = usize::from(session.size);
        for (to, from) in room.iter_mut().take(end).skip(start).zip(bytes) {
            *to = *from;
        }
        session.heard = now;
        if usize::from(*sequence) < packets_of(session.size) {
            session.next += 1;
            return Packet::Taken;
        }
        self.end(place);
        Packet::Last(number)
    }
}

fn packets_of(size: u16) -> usize {
    usize::from(size).div_ceil(PACKET_BYTES)
}

/// What a field lies in that begins `base` bytes behind the start of a message.
pub(super) fn window(message: &[u8], base: usize) -> CanData {
    let mut window = [0; CAN_DATA_ROOM];
    for (to, from) in window.iter_mut().zip(message.get(base..).unwrap_or_default()) {
        *to = *from;
    }
    window
}

impl CanLink {
    /// A frame with an extended identifier. False: it is no part of a message that is followed.
    pub(super) fn take_part<W: World>(
        &mut self,
        id: u32,
        len: u8,
        data: &CanData,
        t: Nanos,
        floor: &mut StepContext<W>,
    ) -> bool {
        let group = pgn_of(id);
        if !matches!(group, TP_CM | TP_DT) || self.plan.transports.is_empty() {
            return false;
        }
        let (source, destination) = (id as u8, (id >> 8) as u8);
        let Some(bytes) = data.first_chunk::<8>().filter(|_| len == 8) else { return false };
        let can = &floor.counters.links[self.id.index()].can;
        if group == TP_CM {
            can.tp_lost.add(self.transport.control(source, destination, bytes, t));
            return true;
        }
        match self.transport.packet(source, destination, bytes, t) {
            Packet::Foreign => return false,
            Packet::Taken => {}
            Packet::Wrong => can.tp_lost.add(1),
            Packet::Last(room) => {
                can.tp_messages.add(1);
                self.take_whole(room, t, floor);
            }
        }
        true
    }

    fn take_whole<W: World>(&mut self, room: usize, t: Nanos, floor: &mut StepContext<W>) {
        let Some(Room { session, data, .. }) = self.transport.rooms.get_mut(room) else { return };
        let Session { source, pgn, size, .. } = *session;
        // Taken out and put back: nothing is allocated for what is empty.
        let message = std::mem::take(data);
        let head = window(&message, 0);
        for known in self.plan.lookup.of_group(pgn << 8 | u32::from(source)).into_iter().flatten() {
            self.take_message(known, size, &head, &message, t, floor);
        }
        if let Some(room) = self.transport.rooms.get_mut(room) {
            room.data = message;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PGN: u32 = 0xFECA;
    const MS: u64 = 1_000_000;

    fn transport() -> Transport {
        let slot = |source, bytes| TransportSlot { key: GroupKey { pgn: PGN, source }, bytes };
        Transport::new(&[slot(GroupKey::ANY_SOURCE, 30), slot(GroupKey::ANY_SOURCE, 30), slot(0x21, 12)])
    }

    fn opening(control: u8, size: u16) -> [u8; 8] {
        let [low, high] = size.to_le_bytes();
        [control, low, high, packets_of(size) as u8, 255, 0xCA, 0xFE, 0]
    }

    fn part(sequence: u8) -> [u8; 8] {
        std::array::from_fn(|at| if at == 0 { sequence } else { (sequence - 1) * 7 + at as u8 })
    }

    fn whole(transport: &Transport, packet: Packet) -> &[u8] {
        let Packet::Last(room) = packet else { panic!("not whole: {packet:?}") };
        let Room { session, data, .. } = &transport.rooms[room];
        &data[..data.len().min(usize::from(session.size))]
    }

    #[test]
    fn a_broadcast_is_put_together_without_its_padding() {
        let mut transport = transport();
        assert_eq!(transport.control(0, GLOBAL, &opening(BAM, 17), Nanos(0)), 0);
        assert_eq!(transport.packet(0, GLOBAL, &part(1), Nanos(50 * MS)), Packet::Taken);
        assert_eq!(transport.packet(1, GLOBAL, &part(2), Nanos(60 * MS)), Packet::Foreign, "of somebody else");
        assert_eq!(transport.packet(0, GLOBAL, &part(2), Nanos(100 * MS)), Packet::Taken);
        let last = transport.packet(0, GLOBAL, &part(3), Nanos(150 * MS));
        assert_eq!(whole(&transport, last), (1..=17).collect::<Vec<u8>>());
        assert_eq!(transport.packet(0, GLOBAL, &part(4), Nanos(150 * MS)), Packet::Foreign);
        assert_eq!(transport.deadline(), Nanos::NEVER);
        // The room of a sender of its own holds no more than its fields need.
        transport.control(0x21, GLOBAL, &opening(BAM, 17), Nanos(0));
        (1..3).for_each(|n| assert_eq!(transport.packet(0x21, GLOBAL, &part(n), Nanos(0)), Packet::Taken));
        let last = transport.packet(0x21, GLOBAL, &part(3), Nanos(0));
        assert_eq!(whole(&transport, last), (1..=12).collect::<Vec<u8>>());
    }

    #[test]
    fn a_packet_that_is_missing_doubled_or_late_ends_it() {
        for (packets, at) in [(&[1u8, 3][..], 10), (&[1, 1], 10), (&[2], 10), (&[1, 2], 400)] {
            let mut transport = transport();
            transport.control(0, GLOBAL, &opening(BAM, 17), Nanos(0));
            let (last, before) = packets.split_last().unwrap();
            for (n, sequence) in before.iter().enumerate() {
                let now = Nanos((n as u64 + 1) * at * MS);
                assert_eq!(transport.packet(0, GLOBAL, &part(*sequence), now), Packet::Taken);
            }
            let now = Nanos(if at == 400 { 1_150 * MS } else { 50 * MS });
            assert_eq!(transport.packet(0, GLOBAL, &part(*last), now), Packet::Wrong, "{packets:?}");
            assert_eq!(transport.packet(0, GLOBAL, &part(2), now), Packet::Foreign);
        }
        let mut transport = transport();
        transport.control(0, GLOBAL, &opening(BAM, 17), Nanos(0));
        assert_eq!(transport.deadline(), Nanos(750 * MS));
        assert_eq!((transport.expire(Nanos(749 * MS)), transport.expire(Nanos(750 * MS))), (0, 1));
    }

    #[test]
    fn another_announcement_of_the_same_sender_ends_the_first_even_of_a_group_that_is_not_followed() {
        let mut transport = transport();
        transport.control(0, GLOBAL, &opening(BAM, 17), Nanos(0));
        let mut other = opening(BAM, 17);
        other[5] = 0xCB;
        assert_eq!(transport.control(0, GLOBAL, &other, Nanos(0)), 1);
        assert_eq!(transport.packet(0, GLOBAL, &part(1), Nanos(0)), Packet::Foreign, "its packets are not ours");
        transport.control(0, GLOBAL, &opening(BAM, 17), Nanos(0));
        assert_eq!(transport.control(0, GLOBAL, &opening(BAM, 9), Nanos(0)), 1);
        assert_eq!(transport.packet(0, GLOBAL, &part(1), Nanos(0)), Packet::Taken);
    }

    #[test]
    fn a_session_between_two_others_is_followed_with_what_is_sent_again() {
        let mut transport = transport();
        let cts = |count, from| [CTS, count, from, 255, 255, 0xCA, 0xFE, 0];
        assert_eq!(transport.control(0, 0x40, &opening(RTS, 17), Nanos(0)), 0);
        transport.control(0x40, 0, &cts(2, 1), Nanos(900 * MS));
        assert_eq!(transport.packet(0, 0x40, &part(1), Nanos(901 * MS)), Packet::Taken);
        assert_eq!(transport.packet(0, 0x40, &part(2), Nanos(902 * MS)), Packet::Taken);
        // The second got lost at the receiver; it holds the sender for a while, too.
        transport.control(0x40, 0, &cts(0, 255), Nanos(1_900 * MS));
        transport.control(0x40, 0, &cts(2, 2), Nanos(2_900 * MS));
        assert_eq!(transport.packet(0, 0x40, &part(2), Nanos(2_901 * MS)), Packet::Taken);
        let last = transport.packet(0, 0x40, &part(3), Nanos(2_902 * MS));
        assert_eq!(whole(&transport, last), (1..=17).collect::<Vec<u8>>());
        // What the receiver has had, and we have not, does not come again.
        transport.control(0, 0x40, &opening(RTS, 17), Nanos(0));
        assert_eq!(transport.control(0x40, 0, &cts(1, 3), Nanos(0)), 1);
        transport.control(0, 0x40, &opening(RTS, 17), Nanos(0));
        assert_eq!(transport.control(0x40, 0, &[ABORT, 3, 255, 255, 255, 0xCA, 0xFE, 0], Nanos(0)), 1);
        assert_eq!(transport.packet(0, 0x40, &part(1), Nanos(0)), Packet::Foreign);
    }

    #[test]
    fn more_messages_at_once_than_rooms_are_counted_and_disturb_none() {
        let mut transport = transport();
        let lost: Vec<u64> = (0..4).map(|n| transport.control(n, GLOBAL, &opening(BAM, 17), Nanos(0))).collect();
        assert_eq!(lost, [0, 0, 1, 1], "two rooms for any sender, one for another");
        for sequence in 1..3 {
            assert_eq!(transport.packet(1, GLOBAL, &part(sequence), Nanos(0)), Packet::Taken);
        }
        let last = transport.packet(1, GLOBAL, &part(3), Nanos(0));
        assert_eq!(whole(&transport, last).len(), 17);
        assert_eq!(transport.control(3, GLOBAL, &opening(BAM, 17), Nanos(0)), 0);
    }

    #[test]
    fn an_announcement_that_cannot_be_is_none() {
        let mut transport = transport();
        let mut wrong = opening(BAM, 17);
        wrong[3] = 4;
        for (destination, data) in [
            (GLOBAL, wrong),
            (GLOBAL, opening(BAM, 8)),
            (GLOBAL, opening(BAM, 1_786)),
            (5, opening(BAM, 17)),
            (GLOBAL, opening(RTS, 17)),
        ] {
            assert_eq!(transport.control(0, destination, &data, Nanos(0)), 0);
            assert_eq!(transport.packet(0, destination, &part(1), Nanos(0)), Packet::Foreign, "{data:?}");
        }
    }

    proptest! {
        #[test]
        fn no_frames_panic_and_what_is_whole_came_in_order(
            frames in prop::collection::vec((0u8..4, any::<bool>(), 0u8..6, any::<[u8; 8]>(), any::<bool>()), 0..200)
        ) {
            let mut transport = transport();
            let mut expected = [1u8; 4];
            for (n, (source, is_control, kind, mut data, valid)) in frames.into_iter().enumerate() {
                let now = Nanos(n as u64 * 20 * MS);
                if is_control {
                    if valid {
                        data = opening([BAM, RTS, CTS, END_OF_MESSAGE, ABORT, data[0]][usize::from(kind)], 9 + u16::from(data[1] % 20));
                    }
                    transport.control(source, if valid && kind == 1 { 2 } else { GLOBAL }, &data, now);
                    if data[0] == BAM {
                        expected[usize::from(source)] = 1;
                    }
                    continue;
                }
                data[0] %= 5;
                let packet = transport.packet(source, GLOBAL, &data, now);
                if matches!(packet, Packet::Taken | Packet::Last(_)) {
                    prop_assert_eq!(data[0], expected[usize::from(source)]);
                    expected[usize::from(source)] += 1;
                }
                transport.expire(now);
                prop_assert!(transport.under_way <= transport.list.len());
            }
        }
    }
}
