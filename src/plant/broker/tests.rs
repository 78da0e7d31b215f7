//! The broker alone: filters, limits, hostile bytes.

use super::*;

#[test]
fn filters_match_as_the_specification_shows() {
    for (filter, topic) in [
        ("sport/tennis/player1/#", "sport/tennis/player1"),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
        ("sport/#", "sport"),
        ("#", "a/b"),
        ("+", "finance"),
        ("/+", "/finance"),
        ("+/+", "/finance"),
        ("$SYS/#", "$SYS/x"),
        ("ä/+", "ä/b"),
    ] {
        assert!(matches(filter, topic), "{filter} {topic}");
    }
    for (filter, topic) in [
        ("sport/+", "sport"),
        ("sport/+", "sport/a/b"),
        ("+", "/finance"),
        ("#", "$SYS/x"),
        ("+/x", "$SYS/x"),
        ("a", "a/b"),
        ("a/b", "a"),
    ] {
        assert!(!matches(filter, topic), "{filter} {topic}");
    }
}

#[test]
fn any_bytes_leave_the_broker_running() {
    let broker = Broker::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut random = fastrand::Rng::with_seed(4711);
    for round in 0..200 {
        let mut stream = TcpStream::connect(broker.addr()).unwrap();
        if round % 2 == 0 {
            let connect = Packet::Connect(Connect::new(format!("c{round}")));
            send(&mut stream, &connect).unwrap();
        }
        let len = random.usize(1..200);
        let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
    }
    // Refused while the others' threads are still going.
    let accepted = || {
        let mut stream = TcpStream::connect(broker.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut reply = [0u8; 4];
        let sent = send(&mut stream, &Packet::Connect(Connect::new("sound"))).is_ok();
        sent && stream.read_exact(&mut reply).is_ok() && reply == [0x20, 2, 0, 0]
    };
    let end = std::time::Instant::now() + Duration::from_secs(15);
    while !accepted() {
        assert!(std::time::Instant::now() < end, "a sound client is not accepted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_packet_above_the_bound_ends_the_connection() {
    let broker = Broker::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut stream = TcpStream::connect(broker.addr()).unwrap();
    send(&mut stream, &Packet::Connect(Connect::new("big"))).unwrap();
    stream.write_all(&[0x30, 0xff, 0xff, 0xff, 0x7f]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert_eq!(reply, [0x20, 2, 0, 0]);
}
