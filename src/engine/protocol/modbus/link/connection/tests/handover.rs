//! Links and executors that change over to another plan while requests are under way.

use super::*;
use crate::config::Pace;
use crate::limits::PACK_STEP;
use crate::plan::{Base, Change};
use crate::protocol;
use crate::protocol::modbus::{HostPort, ModbusConfig, ModbusTransport};

impl Bench {
    /// Plans the bench's configuration anew and hands it to the executor; the samples that come after it go to the
    /// ring that is returned.
    pub(super) fn change(&mut self, target: u32) -> Consumer<Sample> {
        let image = self.image.clone();
        let long_fits = |tag: TagId, bytes| image.long_fits(tag.index(), bytes);
        let base = Base { plan: &self.plan, resting: &[], long_fits: &long_fits };
        let new = Arc::new(protocol::rebuild_with(&self.config, &base, &COSTS).unwrap().plan);
        self.counters.prepare(&new, &self.plan);
        for (id, _) in new.tags.iter().filter(|(id, _)| !self.plan.tags.contains(*id)) {
            self.image.prepare(id.index(), 0, Status::BAD_WAITING_FOR_INITIAL_DATA.0);
        }
        let links = plan::changes(&self.plan, &new).into_iter().map(|(id, change)| LinkChange {
            id,
            link: match change {
                Change::Work => Some(Box::new({
                    let [own, before] = [&new, &self.plan].map(|plan| plan.links[id].protocol.get().unwrap());
                    ModbusLink::following(id, own, &new, before)
                })),
                Change::Target | Change::New => Some(Box::new(link_of(id, &new))),
                Change::Gone => None,
            },
            takes_over: change == Change::Work,
            target,
        });
        let (ring, samples) = RingBuffer::new(1 << 16);
        let adoption = Adoption::new(LaneId(0), &self.plan, &new, links.collect(), ring);
        assert!(self.adoptions.push(Box::new(adoption)).is_ok());
        self.plan = new;
        samples
    }

    /// Runs on until the executor has given back what the new plan replaced.
    pub(super) fn adopted(&mut self) -> Box<Adoption<ModbusLink>> {
        for _ in 0..400 {
            self.run_ms(1);
            if let Ok(back) = self.adopted.pop() {
                return back;
            }
        }
        panic!("the executor did not adopt");
    }

    fn connect(&mut self, link: u16, conn: i32, script: Script, target: u32) {
        let device = Device { script: Some(script), ..Device::default() };
        self.executor.floor_for_test().world.devices.insert(conn, device);
        self.connected.push(Connected { link: LinkId(link), conn: Conn(conn), target }).unwrap();
    }

    pub(super) fn id_of(&self, name: &str) -> usize {
        self.plan.tags.iter().find(|(_, tag)| &*tag.name == name).unwrap().0.index()
    }

    /// The nominal times of the releases that were reported since the last look.
    fn beats(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.reports.pop().ok())
            .filter_map(|report| match report {
                Report::Released { nominal, .. } => Some(nominal.0),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_tag_more_on_a_link_keeps_connection_beat_counts_and_values() {
    let mut bench = bench(vec![(vec![1, 2], good()), (vec![7], good())], None);
    bench.run_ms(100);
    let before = bench.drain();
    let connects = bench.counters.link(LinkId(0)).connects.get();
    let cycles = bench.counters.scans[0].cycles.get();
    bench.config.tags.push(tag(0, 3));
    let mut later = bench.change(1);
    let back = bench.adopted();
    assert_eq!(back.links().count(), 1, "the old link comes back, to be freed outside");
    drop(back);
    bench.run_ms(100);
    assert!(bench.closed.pop().is_err(), "the connection stays");
    assert_eq!(bench.counters.link(LinkId(0)).connects.get(), connects);
    assert!(bench.counters.scans[0].cycles.get() >= cycles + 10);
    assert_eq!(bench.counters.scans[0].deadline_misses.get() + bench.counters.scans[1].deadline_misses.get(), 0);
    let new_tag = bench.id_of("plc0.r3");
    assert_eq!(bench.image.read(new_tag).unwrap().value, 3);
    let beats = bench.beats();
    for link_beat in [beats[0], beats[1]] {
        let own: Vec<u64> =
            beats.iter().filter(|b| (**b).abs_diff(link_beat).is_multiple_of(PERIOD_MS * MS)).copied().collect();
        assert!(own.windows(2).all(|w| w[1] - w[0] == PERIOD_MS * MS), "not one cycle is lost: {own:?}");
    }
    // Every sample is in one of the two rings, in order, and the new tag only in the second.
    let mut all = before;
    all.extend(bench.drain());
    assert!(all.iter().all(|s| s.tag != new_tag as u32));
    let second: Vec<Sample> = std::iter::from_fn(|| later.pop().ok()).collect();
    assert!(second.iter().any(|s| s.tag == new_tag as u32));
    assert_eq!(bench.counters.produced(), (all.len() + second.len()) as u64);
    let cycles_of_r1: Vec<u32> = all.iter().chain(&second).filter(|s| s.tag == 0).map(|s| s.cycle).collect();
    assert!(cycles_of_r1.windows(2).all(|w| w[1] == w[0] + 1), "{cycles_of_r1:?}");
}

#[test]
fn what_was_refused_by_itself_and_is_read_in_a_block_is_read_by_itself_again() {
    let refuses = std::rc::Rc::new(std::cell::Cell::new(true));
    let is_refused = refuses.clone();
    let script: Script = Box::new(move |request| {
        vec![(100_000, if is_refused.get() { exception(request, 2) } else { honest(request) })]
    });
    let mut bench = bench(vec![(vec![1], script)], None);
    bench.run_ms(50);
    assert_eq!(bench.status(0), Status::BAD_CONFIGURATION_ERROR);
    refuses.set(false);
    bench.config.tags.push(tag(0, 2));
    let _second = bench.change(1);
    bench.adopted();
    bench.run_ms(50);
    let tag = bench.id_of("plc0.r1");
    assert_eq!(bench.status(tag), Status::GOOD);
    bench.config.tags.pop();
    let _third = bench.change(1);
    bench.adopted();
    bench.run_ms(100);
    let now = bench.executor.floor_for_test().world.now;
    assert!(bench.image.read(tag).unwrap().t + 3 * PERIOD_MS * MS > now, "it is still read");
}

#[test]
fn a_request_that_both_plans_know_is_answered_across_the_change() {
    // Slow answers: the link is never idle at a release, so the change comes while a request is in flight.
    let slow: Script = Box::new(|request| vec![(9_990_000, honest(request))]);
    let mut bench = bench(vec![(vec![1], slow)], None);
    bench.run_ms(50);
    let mut other = tag(0, 500);
    other.group = 0;
    bench.config.tags.push(other);
    let mut later = bench.change(1);
    drop(bench.adopted());
    bench.run_ms(200);
    let link = bench.counters.link(LinkId(0));
    assert_eq!((link.aborted.get(), link.foreign.get(), link.late.get(), link.timeouts.get()), (0, 0, 0, 0));
    assert!(std::iter::from_fn(|| later.pop().ok()).any(|s| s.tag == 0 && s.status().is_good()));
    assert_eq!(bench.image.read(bench.id_of("plc0.r500")).unwrap().value, 500);
}

#[test]
fn a_reply_that_nobody_wants_any_more_is_counted_and_its_place_on_the_line_kept() {
    // No reply in time: the change has to come while the request is in flight.
    let replies: Script = Box::new(|request| vec![(29_990_000, honest(request))]);
    let mut bench = bench(vec![(vec![1, 60], replies)], None);
    bench.run_ms(20);
    bench.config.tags[1] = tag(0, 61);
    bench.change(1);
    drop(bench.adopted());
    bench.run_ms(300);
    let link = bench.counters.link(LinkId(0));
    assert_eq!(link.aborted.get(), 1, "its cycle lost the request");
    assert_eq!((link.late.get(), link.foreign.get(), link.timeouts.get()), (1, 0, 0));
    let sent: Vec<u64> = bench.requests.borrow().iter().map(|(t, _)| *t).collect();
    assert!(sent.windows(2).all(|w| w[1] - w[0] >= 29 * MS), "never two requests outstanding: {sent:?}");
    let open = link.requests.get() - link.replies.get() - link.aborted.get();
    assert!(open <= 1, "{open}");
}

#[test]
fn a_link_that_leaves_gives_its_connection_back_and_the_other_does_not_notice() {
    let mut bench = bench(vec![(vec![1], good()), (vec![7], good())], None);
    bench.run_ms(55);
    bench.config.links.remove(0);
    bench.config.tags.remove(0);
    bench.config.tags[0].link = 0;
    let mut later = bench.change(1);
    drop(bench.adopted());
    let closed = bench.closed.pop().unwrap();
    assert_eq!((closed.conn, closed.reason), (Conn(0), CloseReason::Removed));
    bench.run_ms(100);
    assert_eq!(bench.plan.links.ids().collect::<Vec<_>>(), [LinkId(1)]);
    let samples: Vec<Sample> = std::iter::from_fn(|| later.pop().ok()).collect();
    assert!(!samples.is_empty() && samples.iter().all(|s| s.tag == 1 && s.value == 7));
    assert_eq!(bench.counters.link(LinkId(1)).connects.get(), 1);
    assert_eq!(bench.counters.scans[1].deadline_misses.get(), 0);
}

#[test]
fn a_link_that_joins_shares_a_wake_up() {
    let mut bench = bench(vec![(vec![1], good())], None);
    bench.run_ms(50);
    let mut modbus = bench.config.links[0].protocol.get::<ModbusConfig>().unwrap().clone();
    modbus.transport = ModbusTransport::Tcp(HostPort { host: "other".into(), port: 502 });
    bench.config.links.push(LinkConfig { name: "joins".into(), source: Source::default(), protocol: Box::new(modbus) });
    bench.config.tags.push(tag(1, 9));
    bench.change(3);
    drop(bench.adopted());
    bench.connect(1, 5, good(), 3);
    bench.run_ms(100);
    let phases: Vec<u64> = bench.plan.lanes[0].releases.iter().map(|r| r.phase.0).collect();
    assert_eq!(phases[0].abs_diff(phases[1]), PACK_STEP.0);
    assert_eq!(bench.image.read(bench.id_of("plc1.r9")).unwrap().value, 9);
    assert!(bench.counters.scans[1].cycles.get() >= 10);
}

#[test]
fn a_connection_to_where_the_device_was_is_not_taken_for_the_new_place() {
    let mut bench = bench(vec![(vec![1], good())], None);
    bench.run_ms(50);
    let modbus = bench.config.links[0].protocol.get_mut::<ModbusConfig>().unwrap();
    modbus.transport = ModbusTransport::Tcp(HostPort { host: "elsewhere".into(), port: 502 });
    bench.change(1);
    // Made for the new place before the executor knows of it: it waits.
    bench.connect(0, 9, good(), 1);
    drop(bench.adopted());
    bench.run_ms(50);
    assert_eq!(bench.counters.link(LinkId(0)).state(), LinkState::Up);
    // Made for the old place, and late.
    bench.connect(0, 8, good(), 0);
    bench.run_ms(50);
    let closed: Vec<(i32, CloseReason)> =
        std::iter::from_fn(|| bench.closed.pop().ok()).map(|c| (c.conn.0, c.reason)).collect();
    assert!(closed.contains(&(0, CloseReason::Removed)), "{closed:?}");
    assert!(closed.contains(&(8, CloseReason::Removed)), "{closed:?}");
    assert_eq!(bench.counters.link(LinkId(0)).state(), LinkState::Up);
}

#[test]
fn new_tags_of_a_silent_unit_and_of_a_dead_link_do_not_wait_for_data_for_ever() {
    let mut bench = bench(vec![(vec![1], silent()), (vec![7], good())], None);
    bench.run_ms(1_000);
    bench.device(1).closed = true;
    bench.run_ms(1_000);
    bench.config.tags.push(tag(0, 2));
    bench.config.tags.push(tag(1, 8));
    bench.change(1);
    drop(bench.adopted());
    bench.run_ms(50);
    for name in ["plc0.r2", "plc1.r8"] {
        assert_eq!(bench.status(bench.id_of(name)), Status::BAD_NO_COMMUNICATION, "{name}");
    }
}

#[test]
fn an_address_that_was_refused_stays_apart_across_the_change() {
    let refuses_5: Script = Box::new(|request| {
        let first = u16::from_be_bytes([request[8], request[9]]);
        let count = u16::from_be_bytes([request[10], request[11]]);
        vec![(100_000, if (first..first + count).contains(&5) { exception(request, 2) } else { honest(request) })]
    });
    let mut bench = bench(vec![(vec![4, 5, 6], refuses_5)], None);
    bench.run_ms(200);
    let exceptions = bench.counters.link(LinkId(0)).exceptions.get();
    bench.config.tags[0].description = "only words".into();
    let mut far = tag(0, 300);
    far.name = "far".into();
    bench.config.tags.push(far);
    bench.change(1);
    drop(bench.adopted());
    bench.run_ms(200);
    assert_eq!(bench.counters.link(LinkId(0)).exceptions.get(), exceptions, "the refused address is not asked again");
    assert_eq!(bench.status(bench.id_of("plc0.r6")), Status::GOOD);
    assert_eq!(bench.image.read(bench.id_of("far")).unwrap().value, 300);
}

#[test]
fn a_pipeline_that_shrinks_counts_what_is_still_out() {
    let slow: Script = Box::new(|request| vec![(29_990_000, honest(request))]);
    let mut bench = bench(vec![(vec![1, 300, 600], slow)], None);
    let pipeline = |bench: &mut Bench, n: u8| {
        let modbus = bench.config.links[0].protocol.get_mut::<ModbusConfig>().unwrap();
        modbus.pipeline = n;
    };
    pipeline(&mut bench, 3);
    bench.change(1);
    drop(bench.adopted());
    bench.run_ms(300);
    pipeline(&mut bench, 1);
    bench.change(2);
    drop(bench.adopted());
    let adopted = bench.world_end;
    bench.run_ms(300);
    let sent: Vec<u64> = bench.requests.borrow().iter().map(|(t, _)| *t).collect();
    let out = |n: usize| sent[..n].iter().filter(|t| sent[n] < **t + 29_900_000).count();
    assert!((0..sent.len()).any(|n| sent[n] < adopted && out(n) == 2), "three were out before");
    let after: Vec<usize> = (0..sent.len()).filter(|n| sent[*n] > adopted).map(out).collect();
    assert!(after.len() > 5 && after.iter().all(|out| *out == 0), "{after:?}");
}

#[test]
fn a_value_of_the_device_at_the_old_place_is_in_doubt_at_once() {
    let mut bench = bench(vec![(vec![1], good())], None);
    bench.run_ms(50);
    assert_eq!(bench.status(0), Status::GOOD);
    let modbus = bench.config.links[0].protocol.get_mut::<ModbusConfig>().unwrap();
    modbus.transport = ModbusTransport::Tcp(HostPort { host: "elsewhere".into(), port: 502 });
    bench.change(1);
    drop(bench.adopted());
    bench.run_ms(5);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE);
}

#[test]
fn a_device_that_is_slower_than_its_fastest_scan_is_still_asked_for_the_others() {
    // 17 ms each, where the fastest scan asks for two blocks each 10 ms.
    let slow: Script = Box::new(|request| vec![(17 * MS, honest(request))]);
    let mut bench = bench(vec![(vec![1, 2000], slow)], None);
    for (group, period_ms) in [(1, 200), (2, 700)] {
        let pace = Pace::Every(Nanos::from_millis(period_ms));
        bench.config.groups.push(GroupConfig { name: format!("g{group}"), pace, ..bench.config.groups[0].clone() });
        bench.config.tags.push(TagConfig { group, ..tag(0, 300 * group as u16) });
    }
    let _samples = bench.change(1);
    drop(bench.adopted());
    bench.run_ms(5_000);
    let now = bench.executor.floor_for_test().world.now;
    for (name, age_ms_max) in [("plc0.r1", 150), ("plc0.r300", 500), ("plc0.r600", 1_500)] {
        let reading = bench.image.read(bench.id_of(name)).unwrap();
        assert!(Status(reading.status).is_good() && reading.t + age_ms_max * MS > now, "{name}: {reading:?}");
    }
    let sent = bench.requests.borrow().len();
    assert!(sent > 280, "{sent}: and the line is never idle");
}

#[test]
fn what_the_socket_has_not_taken_before_a_change_does_not_go_out_after_it() {
    let config = ModbusConfig { timeout: Nanos::from_millis(300), ..tcp_config() };
    let mut bench = bench_of(&config, vec![(vec![tag(0, 5)], good())], None);
    bench.run_ms(100);
    bench.device(0).takes = Some(0);
    bench.run_ms(15);
    bench.config.tags = vec![tag(0, 40)];
    let mut later = bench.change(1);
    drop(bench.adopted());
    bench.requests.borrow_mut().clear();
    bench.device(0).takes = None;
    bench.run_ms(100);
    let asked: Vec<u8> = bench.requests.borrow().iter().map(|(_, request)| request[9]).collect();
    assert!(asked.len() >= 5 && asked.iter().all(|first| *first == 40), "{asked:?}");
    assert!(bench.closed.pop().is_err(), "the connection stays");
    let told: Vec<Sample> = std::iter::from_fn(|| later.pop().ok()).collect();
    assert!(told.iter().any(|sample| sample.value == 40 && sample.status().is_good()));
    let counts = bench.counters.link(LinkId(0));
    assert_eq!(counts.requests.get(), counts.replies.get() + counts.aborted.get() + counts.timeouts.get());
}
