//! Requests waiting for the wire: first in, first out within a scan, and the faster scan first.

use crate::rt::region_of;

/// Fixed rings, one a scan. A request stands in it at most once, so it never overflows.
pub struct Queue {
    scans: Box<[Ring]>,
}

struct Ring {
    items: Box<[u32]>,
    head: usize,
    len: usize,
}

impl Queue {
    /// `capacities`: the requests of each scan, the fastest scan first.
    pub fn new(capacities: impl Iterator<Item = usize>) -> Queue {
        Queue {
            scans: capacities.map(|n| Ring { items: vec![0; n.max(1)].into_boxed_slice(), head: 0, len: 0 }).collect(),
        }
    }

    /// Every stretch of memory it uses: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        std::iter::once(region_of(&self.scans)).chain(self.scans.iter().map(|ring| region_of(&ring.items)))
    }

    pub fn push(&mut self, scan: usize, request: u32) {
        let ring = &mut self.scans[scan];
        debug_assert!(ring.len < ring.items.len());
        let at = (ring.head + ring.len) % ring.items.len();
        ring.items[at] = request;
        ring.len += 1;
    }

    /// Keeps what `keep` wants, in order.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, u32) -> bool) {
        for (scan, ring) in self.scans.iter_mut().enumerate() {
            let mut kept = 0;
            for i in 0..ring.len {
                let request = ring.items[(ring.head + i) % ring.items.len()];
                if keep(scan, request) {
                    let at = (ring.head + kept) % ring.items.len();
                    ring.items[at] = request;
                    kept += 1;
                }
            }
            ring.len = kept;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.scans.iter().all(|ring| ring.len == 0)
    }

    /// Every request, in no order that counts.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.scans.iter().flat_map(|ring| (0..ring.len).map(|i| ring.items[(ring.head + i) % ring.items.len()]))
    }

    /// The next request, and its scan, of those that `may` go now; the others keep their order.
    pub fn pop_first(&mut self, mut may: impl FnMut(u32) -> bool) -> Option<(usize, u32)> {
        let mut taken = None;
        self.retain(|scan, request| {
            let take = taken.is_none() && may(request);
            if take {
                taken = Some((scan, request));
            }
            !take
        });
        taken
    }

    /// The next request and its scan.
    pub fn pop(&mut self) -> Option<(usize, u32)> {
        let (scan, ring) = self.scans.iter_mut().enumerate().find(|(_, ring)| ring.len > 0)?;
        let request = ring.items[ring.head];
        ring.head = (ring.head + 1) % ring.items.len();
        ring.len -= 1;
        Some((scan, request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faster_scan_goes_first_and_order_is_kept_within_a_scan() {
        let mut queue = Queue::new([2, 3].into_iter());
        queue.push(1, 10);
        queue.push(1, 11);
        queue.push(0, 1);
        assert_eq!(queue.pop(), Some((0, 1)));
        assert_eq!(queue.pop(), Some((1, 10)));
        queue.push(1, 12);
        queue.push(1, 13);
        queue.push(0, 2);
        queue.retain(|_, request| request != 11);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [2, 12, 13]);
        assert_eq!(queue.pop_first(|request| request > 11), Some((1, 12)));
        assert_eq!(queue.pop_first(|_| false), None);
        queue.push(1, 12);
        queue.retain(|_, request| request != 13);
        queue.push(1, 13);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [(0, 2), (1, 12), (1, 13)]);
    }
}
