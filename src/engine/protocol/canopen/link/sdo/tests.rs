//! Each transfer frame by frame, as CiA 301 shows it; then against a server that loses and garbles frames.

use proptest::prelude::*;

use super::*;

const OBJECT: Object = Object { index: 0x1008, sub: 0 };
const T: Nanos = Nanos::from_millis(100);

fn client() -> Client {
    Client::new(64)
}

fn sent(client: &mut Client) -> Frame {
    client.next_frame(Nanos::ZERO).expect("a frame to send")
}

#[track_caller]
fn goes_on(client: &mut Client, answer: Frame) -> Frame {
    assert_eq!(client.take(&answer, Nanos::ZERO), Taken::Progress);
    sent(client)
}

#[track_caller]
fn ends(client: &mut Client, answer: Frame, outcome: Outcome) {
    assert_eq!(client.take(&answer, Nanos::ZERO), Taken::Ended(outcome));
}

#[test]
fn an_expedited_upload_is_one_question_and_one_answer() {
    let mut c = client();
    c.upload(Object { index: 0x6064, sub: 2 }, false, Nanos::ZERO, T);
    assert_eq!(sent(&mut c), [0x40, 0x64, 0x60, 2, 0, 0, 0, 0]);
    ends(&mut c, [0x4B, 0x64, 0x60, 2, 0x34, 0x12, 9, 9], Outcome::Done);
    assert_eq!((c.value(), c.is_unsized()), (&[0x34, 0x12][..], false));
    c.upload(Object { index: 0x6064, sub: 2 }, false, Nanos::ZERO, T);
    sent(&mut c);
    ends(&mut c, [0x42, 0x64, 0x60, 2, 1, 2, 3, 4], Outcome::Done);
    assert_eq!((c.value(), c.is_unsized()), (&[1, 2, 3, 4][..], true));
}

#[test]
fn a_segmented_upload_alternates_its_toggle_bit() {
    let mut c = client();
    c.upload(OBJECT, false, Nanos::ZERO, T);
    sent(&mut c);
    assert_eq!(goes_on(&mut c, [0x41, 8, 0x10, 0, 10, 0, 0, 0]), [0x60, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(goes_on(&mut c, *b"\x00FIELDBE"), [0x70, 0, 0, 0, 0, 0, 0, 0]);
    ends(&mut c, *b"\x19AT7\0\0\0\0", Outcome::Done);
    assert_eq!(c.value(), b"FIELDBEAT7");
}

#[test]
fn a_toggle_bit_that_does_not_alternate_ends_the_upload() {
    let mut c = client();
    c.upload(OBJECT, false, Nanos::ZERO, T);
    sent(&mut c);
    goes_on(&mut c, [0x41, 8, 0x10, 0, 10, 0, 0, 0]);
    ends(&mut c, *b"\x10FIELDBE", Outcome::Broken(AbortCode::TOGGLE));
    assert_eq!(sent(&mut c), [0x80, 8, 0x10, 0, 0, 0, 3, 5]);
}

#[test]
fn an_upload_of_another_size_than_announced_is_no_value() {
    let mut c = client();
    c.upload(OBJECT, false, Nanos::ZERO, T);
    sent(&mut c);
    goes_on(&mut c, [0x41, 8, 0x10, 0, 10, 0, 0, 0]);
    ends(&mut c, *b"\x09AT7\0\0\0\0", Outcome::Broken(AbortCode::LENGTH));
}

#[test]
fn a_value_longer_than_the_room_is_refused_before_it_comes() {
    let mut c = client();
    c.upload(OBJECT, false, Nanos::ZERO, T);
    sent(&mut c);
    ends(&mut c, [0x41, 8, 0x10, 0, 65, 0, 0, 0], Outcome::Broken(AbortCode::OUT_OF_MEMORY));
    sent(&mut c);
    // And when its size was not announced.
    c.upload(OBJECT, false, Nanos::ZERO, T);
    sent(&mut c);
    let mut ended = Taken::Progress;
    c.take(&[0x40, 8, 0x10, 0, 0, 0, 0, 0], Nanos::ZERO);
    for at in 0..10u8 {
        ended = c.take(&[(at % 2) << 4, 1, 2, 3, 4, 5, 6, 7], Nanos::ZERO);
    }
    assert_eq!(ended, Taken::Ended(Outcome::Broken(AbortCode::OUT_OF_MEMORY)));
}

#[test]
fn a_block_upload_is_checked_by_its_checksum() {
    let mut c = client();
    c.upload(OBJECT, true, Nanos::ZERO, T);
    assert_eq!(sent(&mut c), [0xA4, 8, 0x10, 0, 127, 0, 0, 0]);
    assert_eq!(goes_on(&mut c, [0xC6, 8, 0x10, 0, 9, 0, 0, 0]), [0xA3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(c.take(b"\x011234567", Nanos::ZERO), Taken::Progress);
    assert_eq!(goes_on(&mut c, *b"\x8289\0\0\0\0\0"), [0xA2, 2, 127, 0, 0, 0, 0, 0]);
    ends(&mut c, [0xC1 | 5 << 2, 0xC3, 0x31, 0, 0, 0, 0, 0], Outcome::Done);
    assert_eq!(c.value(), b"123456789");
    assert_eq!(sent(&mut c), [0xA1, 0, 0, 0, 0, 0, 0, 0]);

    c.upload(OBJECT, true, Nanos::ZERO, T);
    sent(&mut c);
    goes_on(&mut c, [0xC6, 8, 0x10, 0, 9, 0, 0, 0]);
    c.take(b"\x011234567", Nanos::ZERO);
    goes_on(&mut c, *b"\x8288\0\0\0\0\0");
    ends(&mut c, [0xC1 | 5 << 2, 0xC3, 0x31, 0, 0, 0, 0, 0], Outcome::Broken(AbortCode::CRC));
}

#[test]
fn a_segment_that_was_lost_is_asked_for_again() {
    let mut c = client();
    c.upload(OBJECT, true, Nanos::ZERO, T);
    sent(&mut c);
    goes_on(&mut c, [0xC6, 8, 0x10, 0, 9, 0, 0, 0]);
    // The first is lost, so the second, last one is out of order.
    assert_eq!(goes_on(&mut c, *b"\x8289\0\0\0\0\0"), [0xA2, 0, 127, 0, 0, 0, 0, 0]);
    c.take(b"\x011234567", Nanos::ZERO);
    goes_on(&mut c, *b"\x8289\0\0\0\0\0");
    ends(&mut c, [0xC1 | 5 << 2, 0xC3, 0x31, 0, 0, 0, 0, 0], Outcome::Done);
    assert_eq!(c.value(), b"123456789");
}

#[test]
fn a_server_may_answer_a_block_upload_without_blocks() {
    let mut c = client();
    c.upload(OBJECT, true, Nanos::ZERO, T);
    sent(&mut c);
    ends(&mut c, [0x4F, 8, 0x10, 0, 7, 0, 0, 0], Outcome::Done);
    assert_eq!(c.value(), [7]);
}

#[test]
fn an_expedited_download_is_one_question_and_one_answer() {
    let mut c = client();
    assert!(c.download(Object { index: 0x1017, sub: 0 }, &[0xE8, 3], false, Nanos::ZERO, T));
    assert_eq!(sent(&mut c), [0x2B, 0x17, 0x10, 0, 0xE8, 3, 0, 0]);
    ends(&mut c, [0x60, 0x17, 0x10, 0, 0, 0, 0, 0], Outcome::Done);
}

#[test]
fn a_segmented_download_alternates_its_toggle_bit() {
    let mut c = client();
    assert!(c.download(OBJECT, b"FIELDBEAT7", false, Nanos::ZERO, T));
    assert_eq!(sent(&mut c), [0x21, 8, 0x10, 0, 10, 0, 0, 0]);
    assert_eq!(goes_on(&mut c, [0x60, 8, 0x10, 0, 0, 0, 0, 0]), *b"\x00FIELDBE");
    assert_eq!(goes_on(&mut c, [0x20, 0, 0, 0, 0, 0, 0, 0]), *b"\x19AT7\0\0\0\0");
    ends(&mut c, [0x30, 0, 0, 0, 0, 0, 0, 0], Outcome::Done);
}

#[test]
fn a_block_download_sends_on_without_being_asked_and_repeats_what_was_lost() {
    let mut c = client();
    assert!(c.download(OBJECT, b"123456789ABCDEFGH", true, Nanos::ZERO, T));
    assert_eq!(sent(&mut c), [0xC6, 8, 0x10, 0, 17, 0, 0, 0]);
    assert_eq!(goes_on(&mut c, [0xA4, 8, 0x10, 0, 2, 0, 0, 0]), *b"\x011234567");
    assert_eq!(sent(&mut c), *b"\x0289ABCDE");
    assert_eq!(c.next_frame(Nanos::ZERO), None);
    assert_eq!(goes_on(&mut c, [0xA2, 1, 5, 0, 0, 0, 0, 0]), *b"\x0189ABCDE", "the second was lost");
    assert_eq!(sent(&mut c), *b"\x82FGH\0\0\0\0");
    let crc = crc::crc16(0, b"123456789ABCDEFGH").to_le_bytes();
    assert_eq!(goes_on(&mut c, [0xA2, 2, 5, 0, 0, 0, 0, 0]), [0xC1 | 4 << 2, crc[0], crc[1], 0, 0, 0, 0, 0]);
    ends(&mut c, [0xA1, 0, 0, 0, 0, 0, 0, 0], Outcome::Done);
}

#[test]
fn an_abort_carries_its_code_and_its_name() {
    let mut c = client();
    c.upload(OBJECT, false, Nanos::ZERO, T);
    sent(&mut c);
    assert_eq!(c.take(&[0x80, 9, 0x10, 0, 0, 0, 2, 6], Nanos::ZERO), Taken::Foreign, "of another object");
    ends(&mut c, [0x80, 8, 0x10, 0, 0, 0, 2, 6], Outcome::Aborted(AbortCode::NO_SUCH_OBJECT));
    assert_eq!(AbortCode::NO_SUCH_OBJECT.to_string(), "0x06020000 (object does not exist in the object dictionary)");
    assert!(c.is_free(Nanos::ZERO) && c.next_frame(Nanos::ZERO).is_none());
}

#[test]
fn what_is_not_answered_is_given_up_and_its_late_answer_is_not_taken_for_the_next() {
    let mut c = client();
    assert!(c.download(OBJECT, &[1], false, Nanos::ZERO, T));
    sent(&mut c);
    assert_eq!(c.expire(T), Some(Outcome::TimedOut));
    assert_eq!(sent(&mut c), [0x80, 8, 0x10, 0, 0, 0, 4, 5]);
    assert!(!c.is_free(T), "the answer may still be on its way");
    assert_eq!(c.take(&[0x60, 8, 0x10, 0, 0, 0, 0, 0], T), Taken::Foreign);
    assert!(c.is_free(T), "now it has come");
}

#[test]
fn a_late_answer_to_a_write_is_no_answer_to_a_read_of_the_same_object_nor_the_other_way_round() {
    let mut c = client();
    c.upload(OBJECT, false, Nanos::ZERO, T);
    sent(&mut c);
    assert_eq!(c.take(&[0x60, 8, 0x10, 0, 0, 0, 0, 0], Nanos::ZERO), Taken::Foreign);
    assert_eq!(c.take(&[0xA4, 8, 0x10, 0, 127, 0, 0, 0], Nanos::ZERO), Taken::Foreign, "of a block download");
    ends(&mut c, [0x4B, 8, 0x10, 0, 7, 0, 0, 0], Outcome::Done);
    assert!(c.download(OBJECT, &[1], false, Nanos::ZERO, T));
    sent(&mut c);
    assert_eq!(c.take(&[0x4B, 8, 0x10, 0, 7, 0, 0, 0], Nanos::ZERO), Taken::Foreign);
    assert_eq!(c.take(&[0xC6, 8, 0x10, 0, 9, 0, 0, 0], Nanos::ZERO), Taken::Foreign, "of a block upload");
    ends(&mut c, [0x60, 8, 0x10, 0, 0, 0, 0, 0], Outcome::Done);
}

#[test]
fn a_segment_that_comes_late_is_not_taken_into_the_next_value() {
    let mut c = client();
    c.upload(OBJECT, false, Nanos::ZERO, T);
    sent(&mut c);
    goes_on(&mut c, [0x41, 8, 0x10, 0, 8, 0, 0, 0]);
    assert_eq!(c.expire(T), Some(Outcome::TimedOut));
    sent(&mut c);
    let later = Nanos(T.0 * 3);
    c.upload(Object { index: 0x1009, sub: 0 }, false, later, T);
    sent(&mut c);
    // The server answers in the order in which it was asked.
    assert_eq!(c.take(b"\x00FIELDBE", later), Taken::Foreign);
    assert_eq!(goes_on(&mut c, [0x41, 9, 0x10, 0, 8, 0, 0, 0]), [0x60, 0, 0, 0, 0, 0, 0, 0]);
    goes_on(&mut c, *b"\x00another");
    ends(&mut c, *b"\x1D!\0\0\0\0\0\0", Outcome::Done);
    assert_eq!(c.value(), b"another!");
}

#[test]
fn a_transfer_that_is_given_up_early_leaves_its_answer_the_whole_time() {
    let mut c = client();
    assert!(c.download(OBJECT, &[1], false, Nanos::ZERO, T));
    sent(&mut c);
    let early = Nanos::from_millis(1);
    c.abandon(early);
    sent(&mut c);
    assert!(!c.is_free(early) && !c.is_free(Nanos(T.0 - 1)) && c.is_free(T));
    assert_eq!(c.take(&[0x60, 8, 0x10, 0, 0, 0, 0, 0], early), Taken::Foreign);
    assert!(c.is_free(early), "now it has come");
}

#[test]
fn the_end_of_a_block_that_was_lost_is_asked_for_once() {
    let mut c = client();
    c.upload(OBJECT, true, Nanos::ZERO, T);
    sent(&mut c);
    goes_on(&mut c, [0xC6, 8, 0x10, 0, 9, 0, 0, 0]);
    c.take(b"\x011234567", Nanos::ZERO);
    assert_eq!(c.expire(T), None);
    assert_eq!(sent(&mut c), [0xA2, 1, 127, 0, 0, 0, 0, 0]);
    assert_eq!(c.expire(Nanos(T.0 * 2)), Some(Outcome::TimedOut));
}

/// A server after the specification, of which every frame can be lost or garbled on the way.
struct Server {
    value: Vec<u8>,
    toggle: bool,
    at: usize,
    block: Option<(usize, u8)>,
    got: Vec<u8>,
    expected: u8,
    block_size: u8,
}

impl Server {
    fn answer(&mut self, frame: &Frame) -> Vec<Frame> {
        let size = (self.value.len() as u32).to_le_bytes();
        let named =
            |command: u8, rest: [u8; 4]| [command, frame[1], frame[2], frame[3], rest[0], rest[1], rest[2], rest[3]];
        if let Some((length, _)) = self.block.filter(|_| self.expected > 0) {
            return self.take_segment(frame, length);
        }
        match frame[0] {
            0x40 if self.value.len() <= 4 => {
                let mut v = [0; 4];
                v[..self.value.len()].copy_from_slice(&self.value);
                vec![named(0x43 | ((4 - self.value.len()) as u8) << 2, v)]
            }
            0x40 => {
                (self.toggle, self.at) = (false, 0);
                vec![named(0x41, size)]
            }
            0x60 | 0x70 if (frame[0] & 0x10 != 0) == self.toggle => {
                let rest = &self.value[self.at.min(self.value.len())..];
                let n = rest.len().min(7);
                let mut out = [
                    u8::from(self.toggle) << 4 | ((7 - n) as u8) << 1 | u8::from(rest.len() <= 7),
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                ];
                out[1..=n].copy_from_slice(&rest[..n]);
                self.at += n;
                self.toggle = !self.toggle;
                vec![out]
            }
            0xA4 => {
                self.at = 0;
                vec![named(0xC6, size)]
            }
            0xA3 => self.block_out(127),
            0xA2 => {
                self.at += usize::from(frame[1]) * 7;
                if self.at >= self.value.len() {
                    let unused = (self.at - self.value.len()).min(7) as u8;
                    let [a, b] = crc::crc16(0, &self.value).to_le_bytes();
                    return vec![[0xC1 | unused << 2, a, b, 0, 0, 0, 0, 0]];
                }
                self.block_out(frame[2])
            }
            0xA1 => vec![],
            0xC6 => {
                self.got.clear();
                self.expected = 1;
                self.block = Some((u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize, 0));
                vec![named(0xA4, [self.block_size, 0, 0, 0])]
            }
            command if command & 0xE3 == 0xC1 && self.block.is_some() => {
                let (length, _) = self.block.take().unwrap();
                self.got.truncate(length);
                if crc::crc16(0, &self.got).to_le_bytes() == [frame[1], frame[2]] {
                    self.value = self.got.clone();
                    return vec![[0xA1, 0, 0, 0, 0, 0, 0, 0]];
                }
                vec![]
            }
            0x80 => vec![],
            _ => vec![[0x80, 8, 0x10, 0, 1, 0, 4, 5]],
        }
    }

    fn block_out(&self, segments: u8) -> Vec<Frame> {
        let rest = &self.value[self.at.min(self.value.len())..];
        let chunks: Vec<&[u8]> = rest.chunks(7).take(usize::from(segments)).collect();
        let sent: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let frame = |(i, chunk): (usize, &&[u8])| {
            let last = i + 1 == chunks.len() && sent == rest.len();
            let mut out = [(i + 1) as u8 | u8::from(last) << 7, 0, 0, 0, 0, 0, 0, 0];
            out[1..=chunk.len()].copy_from_slice(chunk);
            out
        };
        chunks.iter().enumerate().map(frame).collect()
    }

    fn take_segment(&mut self, frame: &Frame, _length: usize) -> Vec<Frame> {
        if frame[0] == 0x80 {
            self.block = None;
            self.expected = 0;
            return vec![];
        }
        let (number, last) = (frame[0] & 0x7F, frame[0] & 0x80 != 0);
        let good = number == self.expected;
        if good {
            self.got.extend(&frame[1..]);
            self.expected += 1;
        }
        if number < self.block_size && !last {
            return vec![];
        }
        let confirmed = self.expected - 1;
        self.expected = if last && good { 0 } else { 1 };
        vec![[0xA2, confirmed, self.block_size, 0, 0, 0, 0, 0]]
    }
}

/// Plays a transfer to its end over a bus that does `mischief` to frames; its end must come in bounded time.
fn play(client: &mut Client, server: &mut Server, mut mischief: impl FnMut(Frame) -> Option<Frame>) -> Outcome {
    let mut now = Nanos::ZERO;
    for _ in 0..10_000 {
        if let Some(frame) = client.next_frame(now) {
            if let Some(frame) = mischief(frame) {
                for answer in server.answer(&frame) {
                    if let Some(answer) = mischief(answer)
                        && let Taken::Ended(outcome) = client.take(&answer, now)
                    {
                        return outcome;
                    }
                }
            }
            continue;
        }
        now = client.deadline();
        assert!(now < Nanos::NEVER, "the transfer waits for nothing");
        if let Some(outcome) = client.expire(now) {
            return outcome;
        }
    }
    panic!("the transfer does not end");
}

fn server(value: &[u8], block_size: u8) -> Server {
    Server { value: value.to_vec(), toggle: false, at: 0, block: None, got: Vec::new(), expected: 0, block_size }
}

proptest! {
    #[test]
    fn every_value_arrives_both_ways(
        value in prop::collection::vec(any::<u8>(), 1..2000), block in any::<bool>(), block_size in 1u8..=127
    ) {
        let mut c = Client::new(2000);
        let mut s = server(&value, block_size);
        c.upload(OBJECT, block, Nanos::ZERO, T);
        prop_assert_eq!(play(&mut c, &mut s, Some), Outcome::Done);
        prop_assert_eq!(c.value(), &value[..]);
        let mut s = server(&[], block_size);
        prop_assert!(c.download(OBJECT, &value, true, Nanos::ZERO, T));
        if value.len() > 4 {
            prop_assert_eq!(play(&mut c, &mut s, Some), Outcome::Done);
            prop_assert_eq!(&s.value, &value);
        }
    }

    #[test]
    fn a_block_upload_over_a_bus_that_loses_frames_brings_the_value_or_none(
        value in prop::collection::vec(any::<u8>(), 1..1500), seed in any::<u64>(), every in 3u64..60
    ) {
        let mut c = Client::new(1500);
        let mut s = server(&value, 127);
        let mut state = seed | 1;
        c.upload(OBJECT, true, Nanos::ZERO, T);
        let outcome = play(&mut c, &mut s, |frame| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (!(state >> 33).is_multiple_of(every)).then_some(frame)
        });
        if outcome == Outcome::Done {
            prop_assert_eq!(c.value(), &value[..]);
        }
    }

    #[test]
    fn whatever_comes_no_transfer_panics_or_lasts(
        frames in prop::collection::vec((any::<[u8; 8]>(), any::<bool>()), 0..300),
        block in any::<bool>(), write in any::<bool>(), room in 1usize..100
    ) {
        let mut c = Client::new(room);
        let mut now = Nanos::ZERO;
        if write {
            c.download(OBJECT, &vec![7; room], block, now, T);
        } else {
            c.upload(OBJECT, block, now, T);
        }
        for (mut frame, plausible) in frames {
            now += Nanos::from_millis(1);
            if plausible {
                frame[0] = [0x41, 0x43, 0x60, 0x00, 0x10, 0x20, 0x30, 0xC6, 0xA4, 0xA2, 0xC1, 0x01, 0x82][usize::from(frame[0]) % 13];
                (frame[1], frame[2], frame[3]) = (8, 0x10, 0);
            }
            while c.next_frame(now).is_some() {}
            if matches!(c.take(&frame, now), Taken::Ended(_)) {
                break;
            }
        }
        let mut steps = 0;
        while !c.is_idle() {
            while c.next_frame(now).is_some() {}
            now = c.deadline();
            c.expire(now);
            steps += 1;
            prop_assert!(steps < 10);
        }
    }
}
