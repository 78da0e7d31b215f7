//! Tags on one (link, unit, table) of one group, merged into block reads.
//!
//! Pure arithmetic on address ranges; `build` puts the results into requests. Limits of a request:
//! Modbus Application Protocol Specification V1.1b3, sections 6.1 to 6.4.

use std::ops::Range;

/// The addresses of one tag: `first .. first + count`, never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub first: u32,
    pub count: u32,
}

impl Span {
    pub fn end(self) -> u32 {
        self.first + self.count
    }
}

/// What a request on this table costs and may hold.
#[derive(Debug, Clone, Copy)]
pub struct BlockLimits {
    /// Registers or bits of one request.
    pub count_max: u32,
    /// The largest gap that is cheaper to read than one more request.
    pub gap_max: u32,
}

/// One block read: the addresses, and which spans (by their place in the sorted input) it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub first: u32,
    pub count: u32,
    pub spans: Range<usize>,
}

/// Merges spans, sorted by `first`, into blocks.
///
/// Every span lies whole in exactly one block; no block is longer than `count_max`, touches an address of
/// `unreadable` (sorted by start), or bridges a gap above `gap_max`. A span longer than `count_max` or on an
/// unreadable address is refused by validation before this; here it would stand alone.
pub fn merge(spans: &[Span], unreadable: &[Range<u32>], limits: BlockLimits) -> Vec<Block> {
    debug_assert!(spans.is_sorted_by_key(|s| s.first));
    let mut blocks: Vec<Block> = Vec::new();
    for (i, span) in spans.iter().enumerate() {
        if let Some(block) = blocks.last_mut() {
            let block_end = block.first + block.count;
            let end = span.end().max(block_end);
            let gap = block_end..span.first;
            let gap_fits = span.first <= block_end + limits.gap_max;
            let size_fits = end - block.first <= limits.count_max;
            if gap_fits && size_fits && !touches(unreadable, &gap) {
                block.count = end - block.first;
                block.spans.end = i + 1;
                continue;
            }
        }
        blocks.push(Block { first: span.first, count: span.count, spans: i..i + 1 });
    }
    blocks
}

/// Cuts a block of several spans in two, so that a refused address can be found by halving. Overlapping
/// spans (register bits, say) stay together.
///
/// `None` when no cut is possible.
pub fn split(spans: &[Span], block: &Block) -> Option<(Block, Block)> {
    let inside = &spans[block.spans.clone()];
    let middle = inside.len() / 2;
    // The cut nearest the middle where nothing reaches across.
    let cut = (1..inside.len())
        .filter(|&at| inside[..at].iter().map(|s| s.end()).max() <= Some(inside[at].first))
        .min_by_key(|&at| at.abs_diff(middle))?;
    let part = |range: Range<usize>| {
        let spans_in = &inside[range.clone()];
        let first = spans_in[0].first;
        let end = spans_in.iter().map(|s| s.end()).max().unwrap_or(first);
        let start = block.spans.start;
        Block { first, count: end - first, spans: start + range.start..start + range.end }
    };
    Some((part(0..cut), part(cut..inside.len())))
}

fn touches(unreadable: &[Range<u32>], range: &Range<u32>) -> bool {
    !range.is_empty() && unreadable.iter().any(|u| u.start < range.end && range.start < u.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: BlockLimits = BlockLimits { count_max: 125, gap_max: 10 };

    fn span(first: u32, count: u32) -> Span {
        Span { first, count }
    }

    #[test]
    fn neighbours_become_one_block() {
        let blocks = merge(&[span(0, 2), span(2, 2), span(4, 1)], &[], LIMITS);
        assert_eq!(blocks, [Block { first: 0, count: 5, spans: 0..3 }]);
    }

    #[test]
    fn a_small_gap_is_bridged_and_a_large_one_is_not() {
        let blocks = merge(&[span(0, 2), span(12, 2), span(25, 2)], &[], LIMITS);
        assert_eq!(blocks, [Block { first: 0, count: 14, spans: 0..2 }, Block { first: 25, count: 2, spans: 2..3 }]);
    }

    #[test]
    fn an_unreadable_range_is_never_bridged() {
        let blocks = merge(&[span(0, 2), span(5, 2)], &[Range { start: 3, end: 4 }], LIMITS);
        assert_eq!(blocks.len(), 2);
    }

    #[test]
    fn overlapping_spans_share_a_block() {
        let blocks = merge(&[span(7, 1), span(7, 1), span(7, 4)], &[], LIMITS);
        assert_eq!(blocks, [Block { first: 7, count: 4, spans: 0..3 }]);
    }

    #[test]
    fn a_block_is_halved_where_nothing_reaches_across() {
        let spans = [span(0, 2), span(0, 4), span(4, 1), span(9, 2)];
        let block = Block { first: 0, count: 11, spans: 0..4 };
        let (left, right) = split(&spans, &block).unwrap();
        assert_eq!(left, Block { first: 0, count: 4, spans: 0..2 });
        assert_eq!(right, Block { first: 4, count: 7, spans: 2..4 });
        assert_eq!(split(&spans[..2], &left), None);
    }

    prop_compose! {
        fn spans()(mut spans in prop::collection::vec((0u32..600, 1u32..8), 1..200)) -> Vec<Span> {
            spans.sort();
            spans.into_iter().map(|(first, count)| span(first, count)).collect()
        }
    }

    proptest! {
        #[test]
        fn each_span_lies_whole_in_one_block_and_limits_are_kept(
            spans in spans(), bad in prop::collection::vec((0u32..600, 1u32..5), 0..5), gap_max in 0u32..40
        ) {
            let mut unreadable: Vec<_> = bad.iter().map(|&(s, l)| s..s + l).collect();
            unreadable.sort_by_key(|r| r.start);
            let spans: Vec<Span> = spans.into_iter()
                .filter(|s| !touches(&unreadable, &(s.first..s.end()))).collect();
            let limits = BlockLimits { count_max: 20, gap_max };
            let blocks = merge(&spans, &unreadable, limits);
            let mut covered = 0;
            for block in &blocks {
                prop_assert_eq!(block.spans.start, covered);
                covered = block.spans.end;
                prop_assert!(block.count <= limits.count_max);
                prop_assert!(!touches(&unreadable, &(block.first..block.first + block.count)));
                for s in &spans[block.spans.clone()] {
                    prop_assert!(block.first <= s.first && s.end() <= block.first + block.count);
                }
                if let Some((left, right)) = split(&spans, block) {
                    prop_assert_eq!(left.spans.end, right.spans.start);
                    prop_assert_eq!((left.spans.start, right.spans.end), (block.spans.start, block.spans.end));
                    for part in [left, right] {
                        for s in &spans[part.spans.clone()] {
                            prop_assert!(part.first <= s.first && s.end() <= part.first + part.count);
                        }
                    }
                }
            }
            prop_assert_eq!(covered, spans.len());
        }
    }
}
