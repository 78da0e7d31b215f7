//! The connector's thread with real sockets on loopback.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn listener() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Target { place: Place::Tcp { host: "127.0.0.1".into(), port }, timeout: ms(5_000), number: 0 })
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn accepted(listener: &TcpListener) -> TcpStream {
    let stream = until("the device is called", || listener.accept().ok()).0;
    stream.set_nonblocking(true).unwrap();
    stream
}

fn is_closed(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0; 8]), Ok(0))
}

fn handed(side: &mut Side, link: u16) {
    until("the executor gets the connection", || {
        side.adopt();
        side.has.contains_key(&LinkId(link)).then_some(())
    });
}

#[test]
fn a_running_connector_takes_links_moves_them_and_lets_them_go() {
    let (first, to_first) = listener();
    let (second, to_second) = listener();
    let (connected_in, connected) = RingBuffer::new(8);
    let (closed, closed_out) = RingBuffer::new(8);
    let mut side = Side { connected, closed, has: BTreeMap::new() };
    let notes = LinkNotes::default();
    let stop = Arc::new(AtomicBool::new(false));
    let ports = vec![ExecutorPort { connected: connected_in, closed: closed_out, waker: None }];
    let connector = Connector::start_with(None, ports, Waker::new().unwrap(), notes.clone(), stop.clone());
    let (link, name, executor) = (LinkId(3), Arc::from("l3"), LaneId(0));

    connector.tell(Command::Add { link, name, executor, target: to_first }).unwrap();
    let at_first = accepted(&first);
    handed(&mut side, 3);
    assert!(!is_closed(&at_first));

    connector.tell(Command::Retarget { link, target: to_second.clone() }).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert!(!is_closed(&at_first) && second.accept().is_err(), "the old connection is not taken from the executor");
    side.give_back(link, CloseReason::Removed);
    let at_second = accepted(&second);
    until("the old connection is closed", || is_closed(&at_first).then_some(()));
    handed(&mut side, 3);

    connector.tell(Command::Remove { link }).unwrap();
    until("what was told is done", || notes.lock().unwrap().is_empty().then_some(()));
    assert!(!is_closed(&at_second));
    side.give_back(link, CloseReason::Removed);
    until("the last connection is closed", || is_closed(&at_second).then_some(()));
    assert!(first.accept().is_err() && second.accept().is_err(), "nobody calls again");

    // Never taken out of the ring by the executor, and closed at the end all the same.
    let add = Command::Add { link: LinkId(9), name: "l9".into(), executor, target: to_second };
    connector.tell(add).unwrap();
    let in_ring = accepted(&second);
    until("it is in the ring", || (side.connected.slots() == 1).then_some(()));
    stop.store(true, Ordering::Relaxed);
    thread::sleep(Duration::from_millis(100));
    assert!(!is_closed(&in_ring), "the executor is still there");
    drop(side);
    connector.join();
    until("closed at the end", || is_closed(&in_ring).then_some(()));
}
