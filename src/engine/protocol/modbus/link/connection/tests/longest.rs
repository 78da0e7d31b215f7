//! The longest block that a unit takes is learned once for all of its blocks.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

const REGISTERS: u16 = 120;

/// Takes so many registers at once, and refuses more.
fn takes(most: &Rc<Cell<u16>>) -> Script {
    let most = most.clone();
    Box::new(move |request| {
        let count = u16::from_be_bytes([request[10], request[11]]);
        vec![(MS / 10, if count > most.get() { exception(request, 3) } else { honest(request) })]
    })
}

fn blocks(starts: &[u16]) -> Vec<TagConfig> {
    starts.iter().flat_map(|start| (*start..start + REGISTERS).map(|register| tag(0, register))).collect()
}

impl Bench {
    /// Requests that were longer than `most`, since the last look.
    fn too_long(&mut self, most: u16) -> Vec<(u16, u16)> {
        let requests = std::mem::take(&mut *self.requests.borrow_mut());
        let word = |request: &[u8], at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let all = requests.iter().map(|(_, request)| (word(request, 8), word(request, 10)));
        all.filter(|(_, count)| *count > most).collect()
    }

    fn all_good(&self) -> bool {
        self.plan.tags.ids().all(|id| self.status(id.index()) == Status::GOOD)
    }
}

#[test]
fn what_one_block_has_taught_goes_for_the_others_and_for_those_that_come() {
    let most = Rc::new(Cell::new(60));
    let period = Nanos::from_millis(500);
    let mut bench = bench_of_period(&tcp_config(), vec![(blocks(&[0, 1_000, 2_000]), takes(&most))], period);
    bench.run_ms(5_000);
    assert!(bench.all_good());
    bench.run_ms(60_000);
    bench.too_long(60);
    bench.run_ms(120_000);
    let tried = bench.too_long(60).len();
    assert!((3..=5).contains(&tried), "one try in thirty seconds for all three: {tried}");
    // A block that comes is asked in parts from the beginning.
    bench.config.tags.extend(blocks(&[3_000]));
    let later = bench.change(1);
    drop(bench.adopted());
    bench.run_ms(2_000);
    drop(later);
    assert!(bench.all_good());
    let of_new = bench.too_long(60).into_iter().filter(|(first, _)| *first >= 3_000).count();
    assert_eq!(of_new, 0);
    // The device gets another program: the next try shows it for all.
    most.set(125);
    bench.run_ms(40_000);
    bench.too_long(0);
    bench.run_ms(500);
    assert_eq!(bench.too_long(60).len(), 4, "each in one request again");
}

#[test]
fn a_register_that_is_missing_teaches_nothing_of_lengths() {
    let period = Nanos::from_millis(500);
    let script: Script = Box::new(|request| {
        let first = u16::from_be_bytes([request[8], request[9]]);
        let count = u16::from_be_bytes([request[10], request[11]]);
        let has_missing = (first..first + count).contains(&50);
        vec![(MS / 10, if has_missing { exception(request, 3) } else { honest(request) })]
    });
    let mut bench = bench_of_period(&tcp_config(), vec![(blocks(&[0, 1_000]), script)], period);
    bench.run_ms(60_000);
    bench.too_long(0);
    bench.run_ms(500);
    assert!(bench.too_long(60).contains(&(1_000, REGISTERS)), "the other block is asked whole");
}
