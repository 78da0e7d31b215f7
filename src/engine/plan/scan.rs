//! The id of a scan.

use crate::tag::Id;

/// A scan: one group's requests on one link; it keeps its id as long as both do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ScanId(pub u32);

impl ScanId {
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Id for ScanId {
    fn index(self) -> usize {
        self.0 as usize
    }

    fn from_index(index: usize) -> ScanId {
        ScanId(index as u32)
    }
}
