//! Reply times of healthy nodes: within their declared time, once
//! their frames have had their turn on the bus.

use fastrand::Rng;

#[derive(Debug, Default)]
pub struct Pace {
    /// Each answer takes all of its time.
    exact: bool,
    expected: u64,
    frame: u64,
    /// When the bus is taken: from when to when.
    taken: Vec<(u64, u64)>,
}

impl Pace {
    pub fn new(exact: bool) -> Pace {
        Pace { exact, ..Pace::default() }
    }

    pub fn declare(&mut self, (expected, frame): (u64, u64)) {
        (self.expected, self.frame) = (expected, frame);
    }

    /// When the answer to a request is there that is sent at `now`.
    pub fn answer(&mut self, now: u64, rng: &mut Rng) -> u64 {
        self.taken.retain(|(_, end)| *end > now);
        let heard = self.take(now);
        let thinks = if self.exact { self.expected } else { rng.u64(self.expected / 5..=self.expected) };
        self.take(heard + thinks)
    }

    /// A frame goes over the bus at the first moment from `at` on in which there is room for it: when it ends.
    fn take(&mut self, at: u64) -> u64 {
        let mut begins = at;
        while let Some((_, end)) = self.taken.iter().find(|(from, to)| *from < begins + self.frame && begins < *to) {
            begins = *end;
        }
        self.taken.push((begins, begins + self.frame));
        begins + self.frame
    }
}
