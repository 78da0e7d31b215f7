//! What may leave the log: blocks that every output has passed, and the oldest when the bound is reached.

use heed::RwTxn;

use super::block::BootId;
use super::codec::Header;
use super::cursors::Cursors;
use super::database::Tables;
use crate::limits::RETENTION_BLOCKS_MAX;
use crate::tag::Nanos;

/// The rules.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Bytes that pages in use may take.
    pub used_bytes_max: u64,
    /// How long blocks stay that all cursors have passed.
    pub keep: Nanos,
}

/// What a commit removed, and what is left.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trimmed {
    /// Samples removed before every cursor had passed them.
    pub samples_dropped: u64,
    /// The oldest block that is left, and the UTC of its first sample.
    pub oldest: Option<(u64, i64)>,
    pub blocks_live: u64,
    pub bytes_used: u64,
    pub bytes_file: u64,
}

impl Retention {
    /// Removes what may go from the oldest on; the newest block always stays, so that its successor's number
    /// is known. `boots` are the indices of the first blocks of the boots in the log, in order; names that no
    /// block needs any longer go with the blocks.
    pub fn trim(
        &self,
        tables: &Tables,
        txn: &mut RwTxn<'_>,
        cursors: &mut Cursors,
        boots: &[(u64, BootId)],
        utc_now_ns: i64,
    ) -> heed::Result<Trimmed> {
        let mut out = Trimmed::default();
        let newest = tables.blocks.last(txn)?.map(|(index, _)| index);
        let mut removed = 0;
        loop {
            out.bytes_used = tables.fill(txn)?.used;
            let Some((index, bytes)) = tables.blocks.first(txn)? else { break };
            // A header that cannot be read has an unknown number of samples; its block goes by its index.
            let header = Header::read(bytes).ok();
            let samples = header.map_or(1, |header| header.samples);
            out.oldest = Some((index, header.map_or(0, |header| header.utc_min_ns())));
            if removed == RETENTION_BLOCKS_MAX || Some(index) == newest {
                break;
            }
            let passed = !cursors.is_empty() && cursors.have_passed(index, samples);
            // A stamp from the future is from a clock that was wrong; it says as little as one long ago.
            let is_old = header.is_none_or(|header| header.utc_max_ns().abs_diff(utc_now_ns) >= self.keep.0);
            if out.bytes_used > self.used_bytes_max {
                out.samples_dropped += cursors.lose(index, samples) as u64;
            } else if !(passed && is_old) {
                break;
            }
            tables.blocks.delete(txn, &index)?;
            removed += 1;
        }
        let oldest = out.oldest.map_or(0, |(index, _)| index);
        for (_, boot) in needless(boots, oldest) {
            tables.dictionaries.delete(txn, &boot.0)?;
        }
        let fill = tables.fill(txn)?;
        out.bytes_used = fill.used;
        out.bytes_file = fill.end;
        out.blocks_live = tables.blocks.len(txn)?;
        Ok(out)
    }
}

/// The boots whose blocks are all gone: the next one begins at or before the oldest block.
pub fn needless(boots: &[(u64, BootId)], oldest: u64) -> impl Iterator<Item = (u64, BootId)> {
    boots.windows(2).filter(move |pair| pair[1].0 <= oldest).map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_with_the_last_block_of_their_boot() {
        let boots = [(0, BootId(1)), (5, BootId(2)), (5, BootId(3)), (9, BootId(4))];
        let gone = |oldest| needless(&boots, oldest).map(|(_, boot)| boot.0).collect::<Vec<_>>();
        assert_eq!(gone(0), [] as [u64; 0]);
        assert_eq!(gone(4), [] as [u64; 0]);
        assert_eq!(gone(5), [1, 2]);
        assert_eq!(gone(100), [1, 2, 3]);
    }
}
