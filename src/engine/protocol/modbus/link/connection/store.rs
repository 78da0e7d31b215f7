//! A reply's values into image and ring.

use super::super::decode::{self, BlockBytes};
use super::{InFlight, ModbusLink};
use crate::lane::{Frame, Reading};
use crate::limits::SCALE_POWER_MAX;
use crate::plan::Check;
use crate::protocol::modbus::plan::Decode;
use crate::rt::{StepContext, World};
use crate::tag::{Nanos, Status, ValueType};

/// What SunSpec's scale factors hold where there is none (int16).
const NO_SCALE: i64 = i16::MIN as i64;

impl ModbusLink {
    pub(super) fn store<W: World>(
        &mut self,
        at: u32,
        flight: InFlight,
        values: &[u8],
        received: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let request = &self.plan.requests[at as usize];
        let middle = Nanos(flight.sent.0 + (received - flight.sent).0 / 2);
        let frame = Frame { group: request.group, cycle: flight.cycle, t: middle.into() };
        let block = BlockBytes { bytes: values, first: request.first };
        let range = request.decodes.start as usize..request.decodes.end as usize;
        // Scales first, wherever they lie in the block: what they scale was read with them.
        if self.plan.checks.has_scales() {
            for scales in [true, false] {
                for at in range.clone() {
                    if self.plan.decodes[at].is_scale == scales {
                        self.store_one(at, frame, block, floor);
                    }
                }
            }
        } else {
            range.for_each(|at| self.store_one(at, frame, block, floor));
        }
        floor.sink.flush();
    }

    #[inline(always)]
    fn store_one<W: World>(&mut self, at: usize, frame: Frame, block: BlockBytes<'_>, floor: &mut StepContext<W>) {
        let d = &self.plan.decodes[at];
        if d.is_checked {
            return self.store_checked(at, frame, block, floor);
        }
        let code = d.ty.code();
        let done = match d.ty {
            ValueType::Scalar(_) => decode::scalar(d, block).map(|bits| floor.sink.scalar(frame, d.tag, code, bits)),
            _ => decode::long(d, block, &mut self.long, |_| false)
                .map(|n| floor.sink.long(frame, d.tag, code, &self.long[..n])),
        };
        if let Err(none) = done {
            floor.sink.hold(frame, d.tag, code, d.ty.is_long(), none.status());
        }
    }

    #[inline(never)]
    fn store_checked<W: World>(&mut self, at: usize, frame: Frame, block: BlockBytes<'_>, floor: &mut StepContext<W>) {
        let d = &self.plan.decodes[at];
        let (tag, code, is_long) = (d.tag, d.ty.code(), d.ty.is_long());
        let Some(check) = self.plan.checks.of_tag(tag) else { return };
        let (scaled, doubt) = match of_scale(d, check, floor) {
            Ok(scaled) => scaled,
            Err(status) => return floor.sink.hold(frame, tag, code, is_long, status),
        };
        let checks = &self.plan.checks;
        let is_absent = |raw| checks.is_absent(check, raw);
        let done = match scaled.ty {
            ValueType::Scalar(_) => decode::scalar_unless(&scaled, block, is_absent).map(|bits| {
                let status = match check.status(bits) {
                    Status::GOOD => doubt,
                    other => other,
                };
                floor.sink.judged(frame, tag, code, bits, status);
            }),
            ValueType::Text { .. } => {
                let is_absent = |_| checks.may_be_absent(check);
                decode::long(&scaled, block, &mut self.long, is_absent)
                    .map(|n| floor.sink.long(frame, tag, code, &self.long[..n]))
            }
            // Lists are good or none.
            ValueType::Array { .. } if doubt != Status::GOOD => return floor.sink.hold(frame, tag, code, true, doubt),
            ValueType::Array { .. } => decode::long(&scaled, block, &mut self.long, is_absent)
                .map(|n| floor.sink.long(frame, tag, code, &self.long[..n])),
        };
        if let Err(none) = done {
            floor.sink.hold(frame, tag, code, is_long, none.status());
        }
    }
}

/// How a value is made with the scale that another tag has now, and whether that is to be trusted.
///
/// # Errors
/// The status of a tag whose scale is not known.
fn of_scale<W: World>(d: &Decode, check: &Check, floor: &StepContext<W>) -> Result<(Decode, Status), Status> {
    let Some(scale) = check.scale_from else { return Ok((*d, Status::GOOD)) };
    let (power, doubt) = power_of(floor.sink.shown(scale))?;
    Ok((Decode { scaling: d.scaling.of_power(power), ..*d }, doubt))
}

fn power_of(shown: Option<Reading>) -> Result<(i32, Status), Status> {
    let scale = shown.ok_or(Status::BAD_WAITING_FOR_INITIAL_DATA)?;
    let status = Status(scale.status);
    if status.is_bad() {
        return Err(status);
    }
    match scale.value as i64 {
        NO_SCALE => Err(Status::BAD_DATA_UNAVAILABLE),
        power if (-SCALE_POWER_MAX..=SCALE_POWER_MAX).contains(&power) => Ok((power as i32, status)),
        _ => Err(Status::BAD_DECODING_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_power_of_ten_as_good_as_its_tag() {
        let of = |value: i64, status: Status| {
            power_of(Some(Reading { t: 1, value: value as u64, status: status.0, cycle: 0 }))
        };
        assert_eq!(of(-2, Status::GOOD), Ok((-2, Status::GOOD)));
        assert_eq!(of(3, Status::UNCERTAIN_LAST_USABLE), Ok((3, Status::UNCERTAIN_LAST_USABLE)));
        assert_eq!(of(-32_768, Status::GOOD), Err(Status::BAD_DATA_UNAVAILABLE));
        assert_eq!(of(11, Status::GOOD), Err(Status::BAD_DECODING_ERROR));
        assert_eq!(of(i64::MIN, Status::GOOD), Err(Status::BAD_DECODING_ERROR));
        assert_eq!(of(1, Status::BAD_NO_COMMUNICATION), Err(Status::BAD_NO_COMMUNICATION));
        assert_eq!(power_of(None), Err(Status::BAD_WAITING_FOR_INITIAL_DATA));
    }
}
