//! A bus that falls silent, a controller that leaves it, an interface that goes: and back again.

use super::*;
use crate::protocol;
use crate::protocol::can::model::CanAddress;

fn good_frame(bench: &mut Bench, after_ms: u64) {
    bench.frame(after_ms, 0x100, &[0x90, 0x01, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_message_that_comes_no_more_is_doubted_then_given_up() {
    let mut bench = bench("", &[("Motor.Speed", ""), ("0x300:0:8", "")]);
    bench.frame(2, 0x300, &[7]);
    for n in 0..10 {
        good_frame(&mut bench, 3 + n * 10);
    }
    bench.run_ms(100);
    assert_eq!(bench.status(0), Status::GOOD);
    // The last one came at 93 ms; its cycle time is 10 ms, so that three of them are over at 123 ms.
    bench.run_ms(22);
    assert_eq!(bench.status(0), Status::GOOD);
    bench.run_ms(8);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE);
    bench.run_ms(50);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE);
    bench.run_ms(10);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    let held = bench.image.read(0).unwrap();
    assert_eq!((held.t, f64::from_bits(held.value)), (93 * MS, 0.0), "the old value with its old time");
    assert_eq!(bench.status(1), Status::GOOD, "of its message no cycle time is known");
    good_frame(&mut bench, 0);
    bench.run_ms(2);
    assert_eq!(bench.status(0), Status::GOOD);
}

#[test]
fn one_case_of_a_multiplexed_message_can_fall_silent_alone() {
    let mut bench = bench("", &[("Muxed.A", ""), ("Muxed.B", "")]);
    for n in 0..50u64 {
        // Two values of the switch in turn, later the second one only.
        let select = if n < 10 && n % 2 == 0 { 1 } else { 2 };
        bench.frame(2 + n * 10, 0x101, &[select, n as u8, 0, 0, 0, 0, 0, 0]);
    }
    bench.run_ms(130);
    assert_eq!([bench.status(0), bench.status(1)], [Status::GOOD; 2]);
    bench.run_ms(370);
    assert_eq!([bench.status(0), bench.status(1)], [Status::BAD_NO_COMMUNICATION, Status::GOOD]);
}

#[test]
fn silent_after_ms_holds_for_every_message() {
    let mut bench = bench(r#", "silent_after_ms": 200"#, &[("0x300:0:8", "")]);
    bench.run_ms(1_000);
    assert_eq!(bench.status(0), Status::BAD_WAITING_FOR_INITIAL_DATA, "nothing came yet");
    bench.frame(0, 0x300, &[7]);
    bench.run_ms(150);
    assert_eq!(bench.status(0), Status::GOOD);
    bench.run_ms(100);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE);
}

#[test]
fn bus_off_is_a_state_and_ends_with_a_restart_or_a_frame() {
    let mut bench = bench("", &[("0x300:0:8", "")]);
    bench.frame(2, 0x300, &[7]);
    bench.trouble(3, 0x04, 0x20);
    bench.trouble(4, 0x40, 0);
    bench.run_ms(10);
    assert_eq!(bench.link().state(), LinkState::BusOff);
    assert_eq!((bench.link().can.passives.get(), bench.link().can.bus_offs.get()), (1, 1));
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE);
    bench.run_ms(1_000);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    bench.trouble(0, 0x100, 0);
    bench.run_ms(5);
    assert_eq!((bench.link().state(), bench.status(0)), (LinkState::Up, Status::BAD_NO_COMMUNICATION));
    bench.frame(0, 0x300, &[8]);
    bench.run_ms(5);
    assert_eq!(bench.status(0), Status::GOOD);
    bench.trouble(0, 0x40, 0);
    bench.frame(1, 0x300, &[9]);
    bench.run_ms(5);
    assert_eq!(
        (bench.link().state(), bench.status(0), bench.image.read(0).unwrap().value),
        (LinkState::Up, Status::GOOD, 9)
    );
}

#[test]
fn errors_of_the_bus_are_counted_by_kind() {
    let mut bench = bench("", &[("0x300:0:8", "")]);
    for (classes, controller) in [(0x02, 0), (0x20, 0), (0x88, 0), (0x04, 0x01), (0x04, 0x08)] {
        bench.trouble(1, classes, controller);
    }
    bench.run_ms(10);
    let can = &bench.link().can;
    let counts = [&can.lost_arbitrations, &can.unacknowledged, &can.bus_errors, &can.overflows, &can.passives];
    assert_eq!(counts.map(Count::get), [1, 1, 1, 1, 0]);
    assert_eq!((bench.link().state(), can.received.get()), (LinkState::Up, 0));
}

#[test]
fn an_interface_that_goes_is_given_back_and_its_successor_taken() {
    let mut bench = bench("", &[("0x300:0:8", ""), ("Motor.Gear", r#", "data_type": "string""#)]);
    bench.frame(2, 0x300, &[7]);
    bench.run_ms(20);
    bench.drain();
    bench.world().closed = true;
    bench.run_ms(10);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Lost);
    assert_eq!((bench.link().state(), bench.link().disconnects.get()), (LinkState::Down, 1));
    assert_eq!(
        [bench.status(0), bench.status(1)],
        [Status::UNCERTAIN_LAST_USABLE, Status::BAD_WAITING_FOR_INITIAL_DATA]
    );
    bench.run_ms(1_100);
    assert_eq!([bench.status(0), bench.status(1)], [Status::BAD_NO_COMMUNICATION; 2]);
    let told = bench.drain();
    assert!(told.iter().all(|s| s.flags & flags::HELD != 0) && told.len() == 3, "{told:?}");
    bench.world().closed = false;
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(8), target: 0 }).unwrap();
    bench.frame(5, 0x300, &[8]);
    bench.run_ms(20);
    assert_eq!((bench.link().state(), bench.status(0)), (LinkState::Up, Status::GOOD));
    assert_eq!(bench.status(1), Status::BAD_NO_COMMUNICATION, "not read yet");
}

#[test]
fn an_interface_that_never_comes_gives_its_tags_up() {
    let mut bench = bench("", &[("0x300:0:8", "")]);
    let taken = bench.executor.take_connection_for_test();
    assert!(taken.is_some());
    bench.run_ms(1_900);
    assert_eq!(bench.status(0), Status::BAD_WAITING_FOR_INITIAL_DATA);
    bench.run_ms(300);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
}

/// Changes over to another configuration; its plan, and where samples go from then on.
fn adopt(bench: &mut Bench, config: &Config) -> (Arc<Plan>, Consumer<Sample>) {
    let old = bench.plan.clone();
    let image = bench.image.clone();
    let long_fits = move |tag: TagId, bytes: usize| image.long_fits(tag.index(), bytes);
    let base = plan::Base { plan: &old, resting: &[], long_fits: &long_fits };
    let new = Arc::new(protocol::rebuild_with(config, &base, &COSTS).unwrap().plan);
    let (Some(before), Some(own)) = (old.links[LinkId(0)].protocol.get(), new.links[LinkId(0)].protocol.get()) else {
        panic!("CAN links")
    };
    bench.counters.prepare(&new, &old);
    for (id, _) in new.tags.iter().filter(|(id, _)| !old.tags.contains(*id)) {
        bench.image.prepare(id.index(), 0, Status::BAD_WAITING_FOR_INITIAL_DATA.0);
    }
    let link = Some(Box::new(CanLink::following(LinkId(0), own, &new, before)));
    let change = LinkChange { id: LinkId(0), link, takes_over: true, target: 0 };
    let (ring, samples) = RingBuffer::new(1 << 10);
    let adoption = Adoption::new(LaneId(0), &old, &new, vec![change], ring);
    bench.adoptions.push(Box::new(adoption)).ok().unwrap();
    bench.run_ms(10);
    assert!(bench.adopted.pop().is_ok());
    (new, samples)
}

#[test]
fn a_tag_that_another_plan_reads_elsewhere_is_in_doubt_until_it_is_read_there() {
    let mut bench = bench("", &[("0x300:0:8", ""), ("0x300:8:8", "")]);
    bench.frame(2, 0x300, &[7, 8]);
    bench.run_ms(5);
    let mut config = bench.config.clone();
    let Some(address) = config.tags[1].address.get_mut::<CanAddress>() else { panic!() };
    address.frames =
        crate::protocol::can::model::CanFrames::Id(crate::protocol::can::model::CanId { id: 0x301, extended: false });
    let (_, mut samples) = adopt(&mut bench, &config);
    assert_eq!([bench.status(0), bench.status(1)], [Status::GOOD, Status::UNCERTAIN_LAST_USABLE]);
    let told: Vec<Sample> = std::iter::from_fn(|| samples.pop().ok()).collect();
    assert!(told.iter().all(|s| s.tag != 1 || !s.status().is_good()), "read at its former place: {told:?}");
    bench.frame(0, 0x301, &[1, 2]);
    bench.run_ms(2);
    assert_eq!(bench.status(1), Status::GOOD);
}

#[test]
fn another_plan_goes_on_with_what_is_known() {
    let mut bench = bench("", &[("Motor.Speed", ""), ("Motor.Torque", "")]);
    good_frame(&mut bench, 2);
    bench.run_ms(15);
    // Just before the change: a value that waits for its beat.
    bench.frame(0, 0x100, &[0x94, 0x01, 0, 5, 0, 0, 0, 0]);
    bench.run_ms(1);
    let mut config = bench.config.clone();
    config.tags[1].scale = 2.0;
    let (new, mut samples) = adopt(&mut bench, &config);
    let torque = new.tags.iter().find(|(_, tag)| &*tag.name == "t1").unwrap().0;
    let told: Vec<Sample> = std::iter::from_fn(|| samples.pop().ok()).collect();
    let speed: Vec<f64> = told.iter().filter(|s| s.tag == 0).map(|s| f64::from_bits(s.value)).collect();
    assert_eq!(speed, [1.0], "told by the new plan");
    bench.run_ms(60);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE, "its silence is still watched");
    bench.frame(0, 0x100, &[0x94, 0x01, 0, 5, 0, 0, 0, 0]);
    bench.run_ms(5);
    assert_eq!((bench.status(0), bench.float(torque.index())), (Status::GOOD, 10.0));
}
