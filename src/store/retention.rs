//! Retention: removes blocks that every output has passed, and the oldest when the bound is reached.

use heed::RwTxn;

use super::codec::Header;
use super::cursors::Cursors;
use super::names::NamesId;
use super::tables::Tables;
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
#[derive(Debug, Clone, Default)]
pub struct Trimmed {
    /// Samples removed before every cursor had passed them.
    pub samples_dropped: u64,
    /// Names that no block needs any longer.
    pub names_gone: Vec<NamesId>,
    /// The oldest block that is left, and the UTC of its first sample.
    pub oldest: Option<(u64, i64)>,
    pub blocks_live: u64,
    pub bytes_used: u64,
    pub bytes_file: u64,
}

impl Retention {
    /// Removes what may go from the oldest on; the newest block always stays, so that its successor's number
    /// is known. Names go with the last block that uses them; `names_ends` are these blocks' indices, in order.
    pub fn trim(
        &self,
        tables: &Tables,
        txn: &mut RwTxn<'_>,
        cursors: &mut Cursors,
        names_ends: &[(u64, NamesId)],
        utc_now_ns: i64,
    ) -> heed::Result<Trimmed> {
        let mut out = Trimmed::default();
        let newest = tables.blocks.last(txn)?.map(|(index, _)| index);
        let mut removed = 0;
        let mut names_ends = names_ends.iter().peekable();
        loop {
            let Some((index, bytes)) = tables.blocks.first(txn)? else { break };
            // A header that cannot be read has an unknown number of samples; its block goes by its index, once all are
            // beyond it.
            let header = Header::read(bytes).ok();
            let samples = header.map_or(1, |header| header.samples);
            out.oldest = Some((index, header.map_or(0, |header| header.utc_min_ns)));
            while let Some((_, id)) = names_ends.next_if(|(last, _)| *last < index) {
                tables.dictionaries.delete(txn, &id.0)?;
                tables.names_last.delete(txn, &id.0)?;
                out.names_gone.push(*id);
            }
            out.bytes_used = tables.fill(txn)?.used;
            if removed == RETENTION_BLOCKS_MAX || Some(index) == newest {
                break;
            }
            let all = header.map_or(u32::MAX, |header| header.samples);
            let passed = !cursors.is_empty() && cursors.have_passed(index, all);
            // A stamp from the future is from a clock that was wrong; it says as little as one long ago.
            let is_old = header.is_none_or(|header| header.utc_max_ns.abs_diff(utc_now_ns) >= self.keep.0);
            if out.bytes_used > self.used_bytes_max {
                out.samples_dropped += cursors.lose(index, samples) as u64;
            } else if !(passed && is_old) {
                break;
            }
            tables.blocks.delete(txn, &index)?;
            removed += 1;
        }
        let fill = tables.fill(txn)?;
        out.bytes_used = fill.used;
        out.bytes_file = fill.end;
        out.blocks_live = tables.blocks.len(txn)?;
        Ok(out)
    }
}
