//! Receive filters for the kernel, so that unused frames cost the executor nothing.

use crate::limits::CAN_FILTERS_MAX;
use crate::plan::CanFilter;
use crate::protocol::can::model::CanFrames;

/// Bits of `can_id` in linux/can.h.
pub const CAN_EXTENDED: u32 = 1 << 31;
pub const CAN_REMOTE: u32 = 1 << 30;
pub const CAN_ERROR: u32 = 1 << 29;
pub const CAN_STANDARD_MASK: u32 = 0x7FF;
pub const CAN_EXTENDED_MASK: u32 = 0x1FFF_FFFF;
/// Format, page bits and group extension of J1939, without the priority: and without the extension, which is a
/// destination then.
const PDU2_MASK: u32 = 0x03FF_FF00;
const PDU1_MASK: u32 = 0x03FF_0000;
const SOURCE_MASK: u32 = 0xFF;
/// The transport protocol's connection management and data transfer (SAE J1939-21, section 5.10).
pub const TP_CM: u32 = 0xEC00;
pub const TP_DT: u32 = 0xEB00;

/// Filters for these frames, none of them remote; wider ones when there are more than the kernel takes.
/// `in_packets`: those of J1939's transport protocol, too, from anyone to anyone.
pub fn of(frames: impl Iterator<Item = CanFrames>, in_packets: bool) -> Vec<CanFilter> {
    let parts = [TP_CM, TP_DT].map(|pgn| CanFrames::Group { pgn, source: None });
    let parts = parts.into_iter().filter(|_| in_packets);
    let mut filters: Vec<CanFilter> = frames.chain(parts).map(filter).collect();
    filters.sort_unstable();
    filters.dedup();
    let exact = filters.clone();
    // What more passes is told apart by the link; the bits that say least are left out first.
    let mut left_out = 0;
    while filters.len() > CAN_FILTERS_MAX && left_out < 29 {
        left_out += 1;
        let kept = !((1u32 << left_out) - 1);
        filters = exact.iter().map(|filter| CanFilter { id: filter.id & kept, mask: filter.mask & kept }).collect();
        filters.sort_unstable();
        filters.dedup();
    }
    filters
}

fn filter(frames: CanFrames) -> CanFilter {
    match frames {
        CanFrames::Id(id) if id.extended => {
            CanFilter { id: id.id | CAN_EXTENDED, mask: CAN_EXTENDED_MASK | CAN_EXTENDED | CAN_REMOTE }
        }
        CanFrames::Id(id) => CanFilter { id: id.id, mask: CAN_STANDARD_MASK | CAN_EXTENDED | CAN_REMOTE },
        CanFrames::Group { pgn, source } => {
            let mask = if pgn >> 8 & 0xFF < 0xF0 { PDU1_MASK } else { PDU2_MASK };
            let (source, source_mask) = source.map_or((0, 0), |source| (u32::from(source), SOURCE_MASK));
            CanFilter { id: pgn << 8 | source | CAN_EXTENDED, mask: mask | source_mask | CAN_EXTENDED | CAN_REMOTE }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::pgn_of;
    use super::*;
    use crate::protocol::can::model::CanId;

    fn passes(filters: &[CanFilter], id: u32) -> bool {
        filters.iter().any(|filter| id & filter.mask == filter.id & filter.mask)
    }

    #[test]
    fn only_what_is_expected_passes() {
        let id = |id, extended| CanFrames::Id(CanId { id, extended });
        let filters = of([id(0x123, false), id(0x123, true)].into_iter(), false);
        assert!(passes(&filters, 0x123) && passes(&filters, 0x123 | CAN_EXTENDED));
        assert!(!passes(&filters, 0x124) && !passes(&filters, 0x123 | CAN_REMOTE));
        assert!(!passes(&of([id(0x123, false)].into_iter(), false), 0x123 | CAN_EXTENDED));
    }

    #[test]
    fn parameter_groups_pass_whatever_their_priority_and_destination() {
        let group = |pgn, source| of([CanFrames::Group { pgn, source }].into_iter(), false);
        let any = group(0xF004, None);
        assert!(passes(&any, 0x0CF0_0400 | CAN_EXTENDED) && passes(&any, 0x18F0_0421 | CAN_EXTENDED));
        assert!(!passes(&any, 0x0CF0_0500 | CAN_EXTENDED) && !passes(&any, 0x1CF1_0400 | CAN_EXTENDED));
        let one = group(0xF004, Some(0x21));
        assert!(passes(&one, 0x18F0_0421 | CAN_EXTENDED) && !passes(&one, 0x18F0_0422 | CAN_EXTENDED));
        // PDU1: EF00 to the destination 0x27.
        let addressed = group(0xEF00, None);
        assert!(passes(&addressed, 0x18EF_2700 | CAN_EXTENDED));
        assert_eq!((pgn_of(0x18EF_2700), pgn_of(0x18F0_0421), pgn_of(0x19F0_0421)), (0xEF00, 0xF004, 0x1_F004));
    }

    #[test]
    fn packets_pass_where_groups_are_heard() {
        let filters = of([CanFrames::Group { pgn: 0xFECA, source: Some(0) }].into_iter(), true);
        assert!(passes(&filters, 0x18EC_FF00 | CAN_EXTENDED) && passes(&filters, 0x1CEB_0340 | CAN_EXTENDED));
        assert!(!passes(&filters, 0x18EA_FF00 | CAN_EXTENDED));
    }

    #[test]
    fn more_ids_than_the_kernel_takes_share_filters() {
        let ids = || (0..2000u32).map(|at| CanFrames::Id(CanId { id: at * 37_117 % (1 << 29), extended: true }));
        let filters = of(ids(), false);
        assert!(filters.len() <= CAN_FILTERS_MAX, "{}", filters.len());
        for frames in ids() {
            let CanFrames::Id(id) = frames else { continue };
            assert!(passes(&filters, id.id | CAN_EXTENDED));
            assert!(!passes(&filters, id.id & 0x7FF));
        }
    }
}
