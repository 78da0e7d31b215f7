//! Accounting: which sequence numbers of each boot and executor the log holds.

use super::block::BootId;
use super::error::JournalError;
use super::reader::JournalReader;
use crate::tag::LaneId;

/// Headers that are read in one transaction.
const CHUNK: usize = 512;
/// Holes that are listed one by one; all are counted.
const HOLES_LISTED_MAX: usize = 1000;

/// What the log holds of one executor of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub boot: BootId,
    pub lane: LaneId,
    pub first_sequence: u64,
    /// One beyond the highest number.
    pub next_sequence: u64,
    /// Samples in the log.
    pub samples: u64,
    /// Numbers between `first_sequence` and `next_sequence` that are not in the log.
    pub missing: u64,
    /// The first runs of missing numbers: first and one beyond the last.
    pub holes: Vec<(u64, u64)>,
    /// Blocks that repeat numbers or are out of order: always 0, unless the journal is at fault.
    pub blocks_out_of_order: u64,
}

impl JournalReader {
    /// Reads the headers of the whole log. One account for each boot and executor, in the log's order.
    pub fn accounts(&self) -> Result<Vec<Account>, JournalError> {
        let mut accounts: Vec<Account> = Vec::new();
        let mut index = 0;
        loop {
            let headers = self.headers(index, CHUNK)?;
            let Some((last, _)) = headers.last() else { return Ok(accounts) };
            index = last + 1;
            for header in headers.into_iter().filter_map(|(_, header)| header) {
                let end = header.first_sequence.saturating_add(header.samples as u64);
                let same = |account: &&mut Account| (account.boot, account.lane) == (header.boot, header.lane);
                if let Some(account) = accounts.iter_mut().find(same) {
                    account.add(header.first_sequence, end);
                } else {
                    accounts.push(Account {
                        boot: header.boot,
                        lane: header.lane,
                        first_sequence: header.first_sequence,
                        next_sequence: end,
                        samples: header.samples as u64,
                        missing: 0,
                        holes: Vec::new(),
                        blocks_out_of_order: 0,
                    });
                }
            }
        }
    }
}

impl Account {
    fn add(&mut self, first: u64, end: u64) {
        self.samples += end - first;
        if first < self.next_sequence {
            self.blocks_out_of_order += 1;
        } else if first > self.next_sequence {
            self.missing += first - self.next_sequence;
            if self.holes.len() < HOLES_LISTED_MAX {
                self.holes.push((self.next_sequence, first));
            }
        }
        self.next_sequence = self.next_sequence.max(end);
    }
}
