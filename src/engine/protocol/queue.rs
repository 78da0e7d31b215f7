//! Requests waiting for the wire: first in, first out within a scan, and the faster scan first.
//!
//! A scan whose requests still wait when its next release comes is late. By turns with the order above, the scan that
//! is late for longest goes next: a device that is slower than its fastest scan must not keep the others from being
//! read at all, their old values looking good. Where everything meets its deadline nothing is late, and admission's
//! reckoning stands.

use crate::lane::region_of;

/// Fixed rings, one a scan. A request stands in it at most once, so it never overflows.
pub struct Queue {
    scans: Box<[Ring]>,
    turns: Turns,
}

struct Ring {
    items: Box<[u32]>,
    head: usize,
    len: usize,
}

/// Which scan goes next: the fastest, or by turns the one that is late for longest.
pub struct Turns {
    /// By scan: since which tick it is late; 0: it is not.
    late: Box<[u64]>,
    ticks: u64,
    /// The last one to go was late, and went before a faster one.
    overtook: bool,
}

impl Turns {
    pub fn new(scans: usize) -> Turns {
        Turns { late: vec![0; scans].into_boxed_slice(), ticks: 0, overtook: false }
    }

    pub fn region(&self) -> (*const u8, usize) {
        region_of(&self.late)
    }

    /// A scan's next release has come, and not all of it has gone.
    pub fn is_late(&mut self, scan: usize) {
        if self.late[scan] == 0 {
            self.ticks += 1;
            self.late[scan] = self.ticks;
        }
    }

    /// Nothing of a scan waits any more.
    pub fn is_done(&mut self, scan: usize) {
        self.late[scan] = 0;
    }

    /// Which scan goes next, the fastest being number 0, of those that `may`.
    pub fn next(&self, mut may: impl FnMut(usize) -> bool) -> Option<usize> {
        let fastest = (0..self.late.len()).find(|scan| may(*scan))?;
        if self.overtook {
            return Some(fastest);
        }
        let late = (fastest + 1..self.late.len()).filter(|scan| self.late[*scan] > 0);
        let late = late.filter(|scan| self.late[fastest] == 0 || self.late[*scan] < self.late[fastest]);
        late.filter(|scan| may(*scan)).min_by_key(|scan| self.late[*scan]).or(Some(fastest))
    }

    /// One of a scan's requests goes, while `faster` ones wait or not.
    pub fn went(&mut self, scan: usize, faster: bool) {
        self.overtook = faster;
        if self.late[scan] > 0 {
            // Behind the others that are late.
            self.ticks += 1;
            self.late[scan] = self.ticks;
        }
    }
}

impl Queue {
    /// `capacities`: the requests of each scan, the fastest scan first.
    pub fn new(capacities: impl Iterator<Item = usize>) -> Queue {
        let ring = |n: usize| Ring { items: vec![0; n.max(1)].into_boxed_slice(), head: 0, len: 0 };
        let scans: Box<[Ring]> = capacities.map(ring).collect();
        Queue { turns: Turns::new(scans.len()), scans }
    }

    /// Every stretch of memory it uses: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        let own = [region_of(&self.scans), self.turns.region()];
        own.into_iter().chain(self.scans.iter().map(|ring| region_of(&ring.items)))
    }

    pub fn push(&mut self, scan: usize, request: u32) {
        let ring = &mut self.scans[scan];
        debug_assert!(ring.len < ring.items.len());
        let at = (ring.head + ring.len) % ring.items.len();
        ring.items[at] = request;
        ring.len += 1;
    }

    /// A scan is released: what still waits of it is late. Whether anything does.
    pub fn released(&mut self, scan: usize) -> bool {
        let waits = self.scans[scan].len > 0;
        if waits {
            self.turns.is_late(scan);
        }
        waits
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
            if kept == 0 {
                self.turns.is_done(scan);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.scans.iter().all(|ring| ring.len == 0)
    }

    /// Every request, in no order that counts.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.scans.iter().flat_map(Ring::iter)
    }

    /// The next request, and its scan, of those that `may` go now; the others keep their order.
    pub fn pop_first(&mut self, mut may: impl FnMut(u32) -> bool) -> Option<(usize, u32)> {
        let scans = &self.scans;
        let scan = self.turns.next(|scan| scans[scan].iter().any(&mut may))?;
        let faster = scans[..scan].iter().any(|ring| ring.iter().any(&mut may));
        let request = self.scans[scan].take_first(may)?;
        self.turns.went(scan, faster);
        if self.scans[scan].len == 0 {
            self.turns.is_done(scan);
        }
        Some((scan, request))
    }

    /// The next request and its scan.
    pub fn pop(&mut self) -> Option<(usize, u32)> {
        self.pop_first(|_| true)
    }
}

impl Ring {
    fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.len).map(|i| self.items[(self.head + i) % self.items.len()])
    }

    fn take_first(&mut self, may: impl FnMut(u32) -> bool) -> Option<u32> {
        let size = self.items.len();
        let at = self.iter().position(may)?;
        let request = self.items[(self.head + at) % size];
        // Those before it move up behind it.
        for i in (0..at).rev() {
            self.items[(self.head + i + 1) % size] = self.items[(self.head + i) % size];
        }
        self.head = (self.head + 1) % size;
        self.len -= 1;
        Some(request)
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
    #[test]
    fn a_scan_that_is_late_goes_by_turns_with_faster_ones() {
        let mut queue = Queue::new([1, 2, 2].into_iter());
        (0..2).for_each(|n| queue.push(1, 10 + n));
        (0..2).for_each(|n| queue.push(2, 20 + n));
        queue.push(0, 1);
        // The slowest is late first; its own requests keep their order.
        queue.released(2);
        queue.released(1);
        let mut order = Vec::new();
        while let Some((scan, request)) = queue.pop() {
            order.push(request);
            if scan == 0 && order.len() < 12 {
                queue.push(0, 1);
            }
            queue.released(0);
        }
        assert_eq!(order[..8], [20, 1, 10, 1, 21, 1, 11, 1]);
        // None is late any more, and the faster goes first again.
        queue.push(2, 20);
        queue.push(1, 10);
        queue.push(0, 1);
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [(0, 1), (1, 10), (2, 20)]);
    }
}
