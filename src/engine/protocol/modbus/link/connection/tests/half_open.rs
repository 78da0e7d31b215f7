//! Half-open connections where little is asked: one unit is silent, the other refuses all that it is asked.

use super::line::unit_tag;
use super::*;
use crate::protocol::modbus::ModbusConfig;

const SILENT: u8 = 1;
const REFUSING: u8 = 2;

/// Until `mute_from`, unit 2 refuses each address; unit 1 never answers.
fn one_silent_one_refusing(mute_from_ms: u64) -> Bench {
    let refusing =
        Box::new(|request: &[u8]| if request[6] == REFUSING { vec![(MS / 10, exception(request, 2))] } else { vec![] });
    let tags = vec![unit_tag(SILENT, 5), unit_tag(REFUSING, 9), unit_tag(REFUSING, 10)];
    let mut bench = bench_of(&tcp_config(), vec![(tags, refusing as Script)], None);
    bench.run_ms(mute_from_ms);
    bench.drain();
    assert!(bench.closed.pop().is_err(), "nothing is wrong with the connection yet");
    bench
}

fn asked_of(bench: &Bench, unit: u8) -> usize {
    bench.requests.borrow().iter().filter(|(_, request)| request[6] == unit).count()
}

#[test]
fn a_half_open_connection_is_found_by_the_next_probe_though_all_else_is_refused() {
    // The probes of the silent unit are 8 s apart by then; what is refused would be asked again after 30 s.
    let mut bench = one_silent_one_refusing(10_000);
    bench.device(0).script = Some(silent());
    bench.run_ms(6_500);
    assert_eq!(bench.closed.pop().map(|closed| closed.reason), Ok(CloseReason::Silent));
    assert_eq!(bench.status(1), Status::BAD_NO_COMMUNICATION);
}

#[test]
fn a_connection_that_lives_stays_and_the_unit_that_refuses_is_hardly_asked_more() {
    let mut bench = one_silent_one_refusing(200_000);
    let (probes, refused) = (asked_of(&bench, SILENT), asked_of(&bench, REFUSING));
    assert!((15..25).contains(&probes), "{probes}");
    // The block and two single values of it: with growing pauses to 30 s, and with each probe.
    assert!(refused <= 3 * (11 + probes), "{refused}");
    assert_eq!(bench.status(1), Status::BAD_CONFIGURATION_ERROR);
    assert_eq!(bench.counters.links[0].state(), LinkState::Up);
    // Back with a new program: within a probe and a cycle.
    bench.device(0).script =
        Some(Box::new(|request| if request[6] == REFUSING { vec![(MS / 10, honest(request))] } else { vec![] }));
    bench.run_ms(31_000);
    assert_eq!((bench.status(1), bench.status(2)), (Status::GOOD, Status::GOOD));
}

#[test]
fn a_connection_that_takes_nothing_any_more_is_given_up_with_the_first_request_that_is_overdue() {
    let tags = vec![unit_tag(1, 5), unit_tag(2, 9), unit_tag(3, 9)];
    let config = ModbusConfig { pipeline: 4, ..tcp_config() };
    let mut bench = bench_of_period(&config, vec![(tags, good())], Nanos::from_millis(1_000));
    bench.run_ms(2_000);
    assert_eq!([0, 1, 2].map(|tag| bench.status(tag)), [Status::GOOD; 3]);
    for taken in [0, 5] {
        bench.device(0).takes = Some(taken);
        bench.run_ms(1_100);
        assert_eq!(bench.closed.pop().map(|closed| closed.reason), Ok(CloseReason::Silent), "{taken} bytes");
        assert!((0..3).all(|tag| !bench.status(tag).is_good()), "{taken} bytes");
        bench.device(0).takes = None;
        bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
        bench.run_ms(2_000);
        assert_eq!([0, 1, 2].map(|tag| bench.status(tag)), [Status::GOOD; 3]);
    }
}
