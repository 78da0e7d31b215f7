//! Rate limit of edges: so many a second, and a burst of one second's worth.

use crate::tag::{NANOS_PER_SEC, Nanos};

#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    per_s: u64,
    /// What may still be told, in billionths.
    left: u64,
    at: Nanos,
}

impl Allowance {
    pub fn new(per_s: u64) -> Allowance {
        Allowance { per_s, left: per_s.saturating_mul(NANOS_PER_SEC), at: Nanos::ZERO }
    }

    /// Whether one more may be told at `t`.
    pub fn takes(&mut self, t: Nanos) -> bool {
        let passed = t.since(self.at).0.min(NANOS_PER_SEC);
        self.at = self.at.max(t);
        self.left = (self.left + passed * self.per_s).min(self.per_s * NANOS_PER_SEC);
        let takes = self.left >= NANOS_PER_SEC;
        if takes {
            self.left -= NANOS_PER_SEC;
        }
        takes
    }
}
