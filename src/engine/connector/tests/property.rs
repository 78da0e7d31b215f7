//! Whatever comes in whatever order: no connection is lost, closed twice or beside another, and willing devices are
//! connected in time.

use proptest::prelude::*;

use super::*;
use crate::limits::CONNECT_PAUSE_MAX;

#[derive(Debug, Clone)]
enum Op {
    Tell(Command),
    /// One of the attempts ends.
    Attempt {
        which: usize,
        well: bool,
    },
    Adopt {
        executor: usize,
    },
    GiveBack {
        link: u16,
        reason: CloseReason,
    },
    Wait(u64),
    Room(Option<usize>),
    Step,
}

const HOSTS: [&str; 3] = ["a", "b", "c"];
const LINKS: u16 = 5;
const EXECUTORS: u16 = 2;

fn ops() -> impl Strategy<Value = Op> {
    let reasons = [CloseReason::Lost, CloseReason::Garbage, CloseReason::Silent, CloseReason::Refused];
    let reason = (0..6_usize).prop_map(move |at| reasons.get(at).copied().unwrap_or(CloseReason::Removed));
    prop_oneof![
        2 => (0..LINKS, 0..EXECUTORS, 0..3_usize).prop_map(|(link, ex, host)| Op::Tell(add(link, ex, HOSTS[host]))),
        2 => (0..LINKS, 0..3_usize).prop_map(|(link, host)| Op::Tell(retarget(link, HOSTS[host]))),
        1 => (0..LINKS).prop_map(|link| Op::Tell(remove(link))),
        6 => (0..64_usize, 0..4_u8).prop_map(|(which, n)| Op::Attempt { which, well: n > 0 }),
        3 => (0..usize::from(EXECUTORS)).prop_map(|executor| Op::Adopt { executor }),
        3 => (0..LINKS, reason).prop_map(|(link, reason)| Op::GiveBack { link, reason }),
        3 => (1..5_000_u64).prop_map(Op::Wait),
        1 => proptest::option::of(0..3_usize).prop_map(Op::Room),
        5 => Just(Op::Step),
    ]
}

/// The links that are to be connected, each to whom and through whom.
#[derive(Default)]
struct Wanted(BTreeMap<LinkId, (usize, Target)>);

impl Wanted {
    fn take(&mut self, command: &Command) {
        match command.clone() {
            Command::Add { link, executor, target, .. } => {
                self.0.insert(link, (executor.index(), target));
            }
            Command::Retarget { link, target } => {
                if let Some(wanted) = self.0.get_mut(&link) {
                    wanted.1 = target;
                }
            }
            Command::Hurry { .. } => {}
            Command::Remove { link } => {
                self.0.remove(&link);
            }
        }
    }
}

impl Bench {
    /// After a step, whatever is open is out: at most one connection a link.
    fn check(&self) {
        let dialed = self.dialed.borrow();
        assert!(dialed.wrong.is_empty(), "closed twice: {:?}", dialed.wrong);
        assert_eq!(dialed.opened, dialed.closed + dialed.open.len());
        let mut links: Vec<LinkId> = dialed.open.values().map(|(link, _)| *link).collect();
        links.sort_unstable();
        assert!(links.windows(2).all(|pair| pair[0] != pair[1]), "two connections of a link: {:?}", dialed.open);
    }

    /// As an executor does that has taken up the plan: it keeps only what the plan has.
    fn follow_plan(&mut self, wanted: &Wanted) {
        self.adopt();
        let dialed = self.dialed.clone();
        for (executor, side) in self.sides.iter_mut().enumerate() {
            let fits = |link: &LinkId, conn: &Conn| {
                let leads = dialed.borrow().open.get(&conn.0).map(|(_, target)| target.clone());
                wanted.0.get(link).is_some_and(|(at, target)| *at == executor && Some(target) == leads.as_ref())
            };
            let strangers: Vec<LinkId> =
                side.has.iter().filter(|(link, conn)| !fits(link, conn)).map(|(link, _)| *link).collect();
            for link in strangers {
                side.give_back(link, CloseReason::Removed);
            }
        }
    }
}

fn run(seed: u64, ring: usize, ops: Vec<Op>) {
    let mut bench = Bench::new(usize::from(EXECUTORS), ring, seed);
    let mut wanted = Wanted::default();
    for op in ops {
        match op {
            Op::Tell(command) => {
                wanted.take(&command);
                bench.commands.push(command);
            }
            Op::Attempt { which, well } => {
                let under_way = bench.dialed.borrow().under_way.len();
                if under_way > 0 {
                    bench.end_attempt_at(which % under_way, (!well).then_some("refused"));
                }
            }
            Op::Adopt { executor } => bench.sides[executor].adopt(),
            Op::GiveBack { link, reason } => {
                let _ = bench.sides.iter_mut().any(|side| side.give_back(LinkId(link), reason));
            }
            Op::Wait(long) => {
                bench.wait(ms(long));
                bench.check();
            }
            Op::Room(room) => bench.dialed.borrow_mut().room = room,
            Op::Step => {
                bench.step();
                bench.check();
            }
        }
    }
    if ring >= usize::from(LINKS) {
        bench.dialed.borrow_mut().room = None;
        bench.step();
        let end = bench.now + CONNECT_PAUSE_MAX + CONNECT_POLL;
        while bench.now < end {
            while !bench.dialed.borrow().under_way.is_empty() {
                bench.end_attempt_at(0, None);
            }
            bench.step();
            bench.check();
            bench.follow_plan(&wanted);
            bench.now = (bench.now + CONNECT_POLL).min(end);
        }
        for (link, (executor, target)) in &wanted.0 {
            let conn =
                bench.sides[*executor].has.get(link).unwrap_or_else(|| panic!("link {} is not connected", link.0));
            assert_eq!(&bench.dialed.borrow().open[&conn.0], &(*link, target.clone()));
        }
        assert_eq!(bench.open(), wanted.0.len());
        assert!(bench.notes.lock().unwrap().keys().eq(wanted.0.keys()));
    }
    bench.stop();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_closed_twice_or_forgotten(
        seed in any::<u64>(),
        ring in prop_oneof![Just(1_usize), Just(2), Just(16), Just(16)],
        ops in proptest::collection::vec(ops(), 0..120),
    ) {
        run(seed, ring, ops);
    }
}
