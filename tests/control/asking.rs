//! A running gateway is asked: `status`, `get`, `list`, `tail --live`, and `read` of what it holds.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fieldbeat::tag::utc_of_text;
use serde_json::{Value as Json, json};

use crate::peers::Killed;
use crate::rig::{PROGRAM, Running, Site, wait_until};

/// A device whose registers all count its replies, and that counts its connections.
struct Counting {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Counting {
    fn new() -> Counting {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, connections) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let count = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Relaxed);
                std::thread::spawn(move || serve(stream));
            }
        });
        Counting { port, connections }
    }
}

fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut request = [0; 12];
    let mut replies = 0u16;
    while stream.read_exact(&mut request).is_ok() {
        let registers = u16::from_be_bytes([request[10], request[11]]);
        replies = replies.wrapping_add(1);
        let mut reply = request[..8].to_vec();
        reply[5] = 3 + 2 * registers as u8;
        reply.push(2 * registers as u8);
        (0..registers).for_each(|_| reply.extend(replies.to_be_bytes()));
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

/// Three tags of the device, one of a device that is away.
fn site(device: &Counting) -> Site {
    let toml = "[gateway]\nid = \"line-4\"\n[journal]\npath = \"journal\"\nmax_bytes = \"16MiB\"\n[metrics]\n\
                listen = \"127.0.0.1:0\"\n";
    let link = |name: &str, port: u16| json!({"name": name, "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "addressing": "raw"});
    let tag = |name: &str, address: &str, more: Json| {
        let mut tag = json!({"name": name, "address": address, "data_type": "uint16", "scan_rate_ms": 10});
        tag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tag
    };
    let tags = json!({
        "links": [link("plc1", device.port), link("gone", 1)],
        "tags": [
            tag("boiler.count", "plc1:1:3:0", json!({"unit": "x"})),
            tag("boiler.setpoint", "plc1:1:3:1", json!({"write": {"min": 0, "max": 10}})),
            tag("slow.steady", "plc1:1:3:2", json!({"scan_rate_ms": 60_000, "unit": "a,b"})),
            tag("gone.t", "gone:1:3:0", json!({})),
        ],
    });
    Site::with_tags(toml, &tags)
}

fn run(site: &Site) -> Running {
    let mut running = site.run(&[]);
    running.wait_for("writes are accepted at");
    wait_until("values are there", Duration::from_secs(20), || {
        let (_, out, _) = site.command("get", &["boiler.*", "slow*"]);
        out.matches("  Good  ").count() == 3
    });
    running
}

fn rows(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_running_gateway_tells_how_it_is_and_what_its_tags_hold() {
    let device = Counting::new();
    let site = site(&device);
    let running = run(&site);
    let (code, out, err) = site.command("get", &["boiler.*", "gone.t"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with("boiler.count     ") && lines[0].contains(" x  Good  ") && lines[0].ends_with(" ms ago"),
        "{out}"
    );
    assert!(lines[1].starts_with("boiler.setpoint  "), "{out}");
    assert!(
        lines[2].starts_with("gone.t           -  Bad") && lines[2].contains("  never read: cannot connect to "),
        "{out}"
    );
    let (code, out, _) = site.command("get", &["boiler.count", "--json"]);
    let found = rows(&out);
    assert_eq!((code, found.len(), &found[0]["status"], &found[0]["unit"]), (0, 1, &json!("Good"), &json!("x")));
    assert!(
        found[0]["age_ms"].as_f64().is_some() && found[0]["value"].as_u64().is_some_and(|count| count > 0),
        "{out}"
    );
    let (_, out, _) = site.command("get", &["slow*", "--csv"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "tag,value,unit,status,time,age_ms,text,reason");
    assert!(lines[1].starts_with("slow.steady,") && lines[1].contains(",\"a,b\",Good,20"), "{out}");

    let (code, out, _) = site.command("list", &[]);
    let expected = "boiler.count     plc1  default  uint16  x    read only\nboiler.setpoint  plc1  default  uint16  -    writable\n";
    assert!(code == 0 && out.starts_with(expected) && out.lines().count() == 4, "{out}");
    let (_, out, _) = site.command("list", &["*setpoint", "--csv"]);
    assert_eq!(out, "tag,link,group,type,unit,writable,description\nboiler.setpoint,plc1,default,uint16,,true,\n");

    let (code, out, _) = site.command("status", &[]);
    assert_eq!(code, 0);
    for told in [
        "gateway line-4, version ",
        "health  degraded",
        "links   2: 1 up",
        "tags    4: 3 good, 0 uncertain, ",
        "link gone is down",
    ] {
        assert!(out.contains(told), "{told}: {out}");
    }
    let (_, out, _) = site.command("status", &["--json"]);
    let status: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&status["gateway"], &status["tags"]["total"], &status["pid"]),
        (&json!("line-4"), &json!(4), &json!(running.pid()))
    );
    assert!(
        status["journal"]["stored"].as_u64().unwrap() > 0 && status["groups"][0]["cycles"].as_u64().unwrap() > 0,
        "{out}"
    );

    // What is not there is named, what is there is shown.
    let (code, out, err) = site.command("get", &["boiler.count", "boilr*", "x"]);
    assert_eq!((code, out.lines().count()), (1, 1));
    assert!(err.contains("no tag that fits \"boilr*\"") && err.contains("no tag \"x\""), "{err}");
    // Files that are wrong by now are no reason not to answer.
    std::fs::write(site.path().join("tags/broken.json"), "{").unwrap();
    assert_eq!(site.command("status", &[]).0, 0);
    std::fs::remove_file(site.path().join("tags/broken.json")).unwrap();
    running.stop().assert_clean();
}

#[test]
fn where_no_gateway_runs_it_is_said_with_what_to_do() {
    let site = site(&Counting::new());
    for (command, more) in [("status", &[][..]), ("get", &["x"]), ("list", &[]), ("tail", &["--live"])] {
        let (code, out, err) = site.command(command, more);
        assert_eq!((code, out.as_str()), (3, ""), "{command}: {err}");
        assert!(
            err.contains("no gateway answers at ") && err.contains("control.sock") && err.contains("fieldbeat run"),
            "{err}"
        );
    }
    std::fs::write(site.path().join("fieldbeat.toml"), "[gateway]\nid = \"g\"\n[control]\nsocket = \"off\"\n").unwrap();
    let (code, _, err) = site.command("status", &[]);
    assert!(code == 2 && err.contains("control.socket is \"off\""), "{err}");
    std::fs::write(site.path().join("fieldbeat.toml"), "[gateway]\n").unwrap();
    assert_eq!(site.command("status", &[]).0, 2);
}

#[test]
fn reading_what_a_running_gateway_holds_opens_no_second_connection() {
    let device = Counting::new();
    let site = site(&device);
    let running = run(&site);
    assert_eq!(device.connections.load(Relaxed), 1);
    let (code, out, err) = site.command("read", &["boiler.*"]);
    assert_eq!((code, out.lines().count()), (0, 2), "{err}");
    assert!(out.starts_with("boiler.count     ") && out.contains(" x  Good  "), "{out}");
    assert!(err.contains("values are from its process image") && err.contains("--direct"), "{err}");
    assert_eq!(site.command("read", &["gone.t"]).0, 1, "a tag that is not good");
    assert_eq!(device.connections.load(Relaxed), 1);
    let (code, out, err) = site.command("read", &["boiler.count", "--direct"]);
    assert!(code == 0 && out.contains("1 x  Good") && err.is_empty(), "{out}{err}");
    assert_eq!(device.connections.load(Relaxed), 2, "asked for");
    // A tag that the gateway does not have is read of the device, the others are not.
    let more = json!({"tags": [{"name": "new", "address": "plc1:1:3:7", "data_type": "uint16", "scan_rate_ms": 10}]});
    let text = format!(
        "[gateway]\nid = \"other\"\n[control]\nsocket = \"{}\"\n",
        site.path().join("journal/control.sock").display()
    );
    let other = Site::with_tags(
        &text,
        &serde_json::from_str(&std::fs::read_to_string(site.path().join("tags/all.json")).unwrap()).unwrap(),
    );
    std::fs::write(other.path().join("tags/more.json"), more.to_string()).unwrap();
    let (code, out, err) = other.command("read", &["new", "boiler.count"]);
    assert_eq!((code, out.lines().count()), (0, 2), "{out}{err}");
    assert!(err.contains("reads some of the devices"), "{err}");
    assert_eq!(device.connections.load(Relaxed), 3);
    running.stop().assert_clean();
    let (code, _, err) = site.command("read", &["boiler.count"]);
    assert_eq!((code, err.as_str()), (0, ""), "without a gateway the device is asked");
}

fn live(site: &Site, more: &[&str]) -> (Killed, BufReader<std::process::ChildStdout>) {
    let mut child: Child = Command::new(PROGRAM)
        .args(["tail", "--live", "--config"])
        .arg(site.path())
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (Killed(child), out)
}

#[test]
fn live_values_are_those_of_the_journal_and_there_before_it_has_them() {
    let device = Counting::new();
    let site = site(&device);
    let running = run(&site);
    let (mut child, mut out) = live(&site, &["boiler.count"]);
    let (mut delays_us, mut last) = (Vec::new(), None);
    for _ in 0..500 {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((words[1], words[3], words[4]), ("boiler.count", "x", "Good"), "{line}");
        let count: u64 = words[2].parse().unwrap();
        assert!(last.is_none_or(|last| count > last), "in their order: {line}");
        last = Some(count);
        delays_us.push((now - utc_of_text(words[0]).unwrap()) / 1000);
    }
    delays_us.sort_unstable();
    println!("from the reading to the line: p50 {} µs, p99 {} µs", delays_us[250], delays_us[495]);
    child.0.kill().unwrap();
    // The same lines, out of the journal.
    let seen = format!(" boiler.count {} x Good", last.unwrap());
    wait_until("the journal has it", Duration::from_secs(20), || {
        site.command("tail", &["boiler.count", "--from-start", "--lines", "500"]).1.contains(&seen)
            || site.command("tail", &["boiler.count", "--from-start", "--lines", "2000"]).1.contains(&seen)
    });
    // It ends by itself, and says what it waits for in vain.
    let (_, out, err) = site.command("tail", &["--live", "boiler.count", "x*", "--lines", "3"]);
    assert_eq!(out.lines().count(), 3);
    assert!(err.contains("no tag \"x*\""), "{err}");
    let readers = || {
        let status: Json = serde_json::from_str(&site.command("status", &["--json"]).1).unwrap();
        status["live"].as_array().unwrap().len()
    };
    wait_until("those before it are gone", Duration::from_secs(20), || readers() == 0);
    let (mut child, mut out) = live(&site, &["gone.t"]);
    wait_until("it is there", Duration::from_secs(20), || readers() == 1);
    running.stop().assert_clean();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((child.0.wait().unwrap().code(), rest.as_str()), (Some(0), ""), "it ends with the gateway");
}

#[test]
fn a_reader_that_stands_still_holds_nobody_up_and_is_told_what_it_lost() {
    let device = Counting::new();
    let site = site(&device);
    let running = run(&site);
    let mut stuck = UnixStream::connect(site.path().join("journal/control.sock")).unwrap();
    stuck.write_all(b"{\"ask\":\"live\"}\n").unwrap();
    // The smallest buffer, so that it is soon full.
    let (fd, bytes) = (std::os::fd::AsRawFd::as_raw_fd(&stuck), 4096i32);
    // SAFETY: the descriptor is open, and the value lives through the call.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const bytes).cast(), 4) };
    assert_eq!(set, 0);
    let lost = || {
        let status: Json = serde_json::from_str(&site.command("status", &["--json"]).1).unwrap();
        status["live"][0]["lost"].as_u64().unwrap_or(0)
    };
    let start = Instant::now();
    while lost() == 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "a queue of half a second is full some time");
        let (code, _, err) = site.command("get", &["boiler.count"]);
        assert_eq!(code, 0, "{err}");
    }
    // It reads on, and is told.
    stuck.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = BufReader::new(stuck).lines().map_while(Result::ok).find(|line| line.starts_with("{\"lost\":"));
    assert!(told.is_some());
    running.stop().assert_clean();
}

#[test]
fn a_tail_whose_journal_is_gone_says_so_once() {
    let device = Counting::new();
    let site = site(&device);
    run(&site).stop().assert_clean();
    let mut program = Command::new(PROGRAM);
    program.args(["tail", "boiler.count", "--config"]).arg(site.path()).stdin(Stdio::null());
    let mut tail = Killed(program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_dir_all(site.journal()).unwrap();
    // It looks every 5 s.
    std::thread::sleep(Duration::from_secs(17));
    tail.0.kill().unwrap();
    let mut err = String::new();
    tail.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err.matches("there is no new journal yet").count(), 1, "{err}");
}
