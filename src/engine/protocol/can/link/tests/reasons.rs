//! Why signals have no good value: what the bus leaves beside their tags' statuses.

use super::*;

fn cause(bench: &Bench, tag: usize) -> Option<Cause> {
    if bench.status(tag).is_good() {
        return None;
    }
    Cause::of_code(bench.image.cause(tag))
}

#[test]
fn messages_that_stay_away_a_controller_off_the_bus_and_a_lost_interface_are_told_apart() {
    let mut bench = bench(r#", "silent_after_ms": 50"#, &[("0x300:0:8", ""), ("0x301:0:16", "")]);
    bench.frame(2, 0x300, &[7]);
    bench.frame(2, 0x301, &[7]);
    bench.run_ms(20);
    assert_eq!((bench.status(0), cause(&bench, 0)), (Status::GOOD, None));
    assert_eq!(cause(&bench, 1), Some(Cause::Can(CanFault::Short)), "one byte of two");
    bench.run_ms(500);
    assert_eq!((bench.status(0), cause(&bench, 0)), (Status::BAD_NO_COMMUNICATION, Some(Cause::Can(CanFault::Silent))));
    bench.frame(0, 0x300, &[8]);
    bench.trouble(2, 0x40, 0);
    bench.run_ms(10);
    assert_eq!(
        (bench.status(0), cause(&bench, 0)),
        (Status::UNCERTAIN_LAST_USABLE, Some(Cause::Can(CanFault::BusOff)))
    );
    bench.world().closed = true;
    bench.run_ms(2_000);
    assert_eq!((bench.status(0), cause(&bench, 0)), (Status::BAD_NO_COMMUNICATION, Some(Cause::NotConnected)));
}
