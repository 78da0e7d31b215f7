//! kill -9 in the middle of a write: the audit knows what was about to be sent, and nothing is sent later.

use std::time::Duration;

use serde_json::json;

use crate::peers::Server;
use crate::rig::wait_until;
use crate::site::{Mute, audit, register, run, site};

#[test]
fn an_order_under_way_stands_in_the_audit_and_is_never_sent_again() {
    let (server, mute) = (Server::pymodbus(), Mute::new());
    let site = site(&server, &mute, "");
    let running = run(&site);
    assert_eq!(site.command("write", &["setpoint", "77", "--id", "before"]).0, 0);
    let (code, _, err) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| site.command("write", &["mute.t", "777", "--timeout", "20000", "--id", "open"]));
        wait_until("it is sent", Duration::from_secs(20), || mute.writes_of(777) == 1);
        running.signal(libc::SIGKILL);
        asked.join().unwrap()
    });
    assert!(code == 3 && err.contains("fieldbeat audit"), "{err}");
    drop(running);
    let socket = site.path().join("journal/control.sock");
    assert!(socket.exists(), "left behind");
    let (_, out, _) = site.command("audit", &[]);
    assert!(out.contains("SENT, OUTCOME NOT RECORDED mute.t: - -> 777"), "{out}");
    let records = audit(&site);
    assert_eq!((records.len(), &records[1]["outcome"], &records[1]["id"]), (2, &json!("open"), &json!("open")));
    assert_eq!((&records[0]["outcome"], &records[0]["new"]), (&json!("done"), &json!(77)));

    // The next gateway takes the place of the dead one's socket, and knows the ids.
    let running = run(&site);
    let (code, out, _) = site.command("write", &["setpoint", "77", "--id", "before"]);
    assert!(code == 0 && out.contains("nothing was written now"), "{out}");
    let (code, _, err) = site.command("write", &["mute.t", "777", "--id", "open"]);
    assert!(code == 1 && err.contains("(old_id)"), "{err}");
    assert_eq!(site.command("write", &["setpoint", "78"]).0, 0);
    assert_eq!(register(&server, 30), 78);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(mute.writes_of(777), 1, "not sent again");
    running.stop().assert_clean();
}
