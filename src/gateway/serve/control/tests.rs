//! The socket against clients that are right, wrong, slow and many.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::*;
use crate::command::{Asked, Outcome, WriteStats};
use crate::limits::{COMMAND_BYTES_MAX, CONTROL_PATIENCE};
use crate::serve::tests::observed;

struct Rig {
    socket: Option<ControlSocket>,
    path: PathBuf,
    judged: Arc<AtomicUsize>,
    dir: tempfile::TempDir,
}

/// A socket behind which every request is done, that of the tag "never" excepted.
fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let (desk, asked) = Desk::new(Arc::<WriteStats>::default());
    let judged = Arc::<AtomicUsize>::default();
    let count = judged.clone();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for asked in asked {
            count.fetch_add(1, Relaxed);
            let Asked::Write { requester, request, reply, .. } = asked else { continue };
            if request.tag == "never" {
                kept.push(reply);
                continue;
            }
            let message = Some(format!("{} {}", requester.who, requester.from));
            let answer = Answer::of(request.id, Some(request.tag), Outcome::Done);
            reply(Answer { message, new: Some(request.value), ..answer });
        }
    });
    let config = ControlConfig { socket: Some(path.clone()), ..ControlConfig::default() };
    let socket = ControlSocket::start(&config, desk, observed()).unwrap();
    Rig { socket, path, judged, dir }
}

struct Talk {
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Rig {
    fn connect(&self) -> Talk {
        let to = UnixStream::connect(&self.path).unwrap();
        to.set_read_timeout(Some(CONTROL_PATIENCE * 4)).unwrap();
        let from = BufReader::new(to.try_clone().unwrap());
        Talk { to, from }
    }
}

impl Talk {
    fn send(&mut self, bytes: &[u8]) {
        self.to.write_all(bytes).unwrap();
    }

    /// The next answer; `None`: the connection is closed.
    fn answer(&mut self) -> Option<Json> {
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(0) => None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }

    fn ask(&mut self, request: Json) -> Json {
        self.send(format!("{request}\n").as_bytes());
        self.answer().unwrap()
    }
}

#[test]
fn each_line_gets_one_answer_and_the_asker_is_known() {
    let rig = rig();
    let mut talk = rig.connect();
    let answer = talk.ask(json!({"id": "1", "tag": "a", "value": 1.5}));
    assert_eq!((&answer["outcome"], &answer["id"], &answer["new"]), (&json!("done"), &json!("1"), &json!(1.5)));
    let told = answer["message"].as_str().unwrap();
    assert!(told.ends_with(&format!("process {}", std::process::id())), "{told}");
    assert!(told.contains("(uid "), "{told}");
    // Three in one piece, the last without an end.
    talk.send(b"{\"tag\":\"b\",\"value\":1}\r\n\n{\"tag\":\"c\",\"value\":2}\n{\"tag\":\"d\",\"value\":3}");
    talk.to.shutdown(Shutdown::Write).unwrap();
    let tags: Vec<Json> = std::iter::from_fn(|| talk.answer()).map(|answer| answer["tag"].clone()).collect();
    assert_eq!(tags, ["b", "c", "d"]);
}

#[test]
fn what_is_no_request_is_answered_and_the_next_line_counts() {
    let rig = rig();
    let mut talk = rig.connect();
    talk.send(b"hello\n");
    let answer = talk.answer().unwrap();
    assert_eq!((&answer["outcome"], &answer["reason"]), (&json!("refused"), &json!("malformed")));
    assert_eq!(talk.ask(json!({"id": 5, "tag": "a"}))["id"], "5");
    assert_eq!(talk.ask(json!({"tag": "a", "value": 1}))["outcome"], "done");
}

#[test]
fn a_line_without_end_is_refused_and_the_client_dropped() {
    let rig = rig();
    let mut talk = rig.connect();
    let mut line = vec![b'x'; COMMAND_BYTES_MAX + 20_000];
    line[..10].copy_from_slice(b"{\"tag\":\"a\"");
    // It may be dropped before all is sent.
    let _ = talk.to.write_all(&line);
    let answer = talk.answer().unwrap();
    assert!(answer["message"].as_str().unwrap().contains("longer than 32768 bytes"), "{answer}");
    assert!(talk.answer().is_none());
    assert_eq!(rig.connect().ask(json!({"tag": "a", "value": 1}))["outcome"], "done");
}

#[test]
fn ten_thousand_lines_of_random_bytes_do_no_harm() {
    let rig = rig();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut talk = rig.connect();
    let from = talk.to.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str::<Json>(&line).unwrap()).filter(|a| a["reason"] == "malformed").count()
    });
    let mut sent = 0;
    for _ in 0..10_000 {
        let length = random.usize(0..200);
        let pieces: &[u8] = br#"{}[]":,tagvlueid0123456789.eE+-\u "#;
        let mut line: Vec<u8> = (0..length)
            .map(|_| if random.bool() { random.u8(..) } else { pieces[random.usize(..pieces.len())] })
            .filter(|byte| *byte != b'\n')
            .collect();
        sent += usize::from(!line.trim_ascii().is_empty());
        line.push(b'\n');
        talk.send(&line);
    }
    talk.to.shutdown(Shutdown::Write).unwrap();
    assert_eq!(reader.join().unwrap(), sent, "each is answered");
    assert_eq!(rig.connect().ask(json!({"tag": "a", "value": 1}))["outcome"], "done");
}

#[test]
fn a_client_that_does_not_end_its_line_or_take_its_answers_is_dropped_and_others_are_served() {
    let rig = rig();
    let start = Instant::now();
    let mut half = rig.connect();
    half.send(b"{\"tag\"");
    // This one sends on and on, and reads nothing.
    let mut deaf = rig.connect();
    let sender = std::thread::spawn(move || {
        let line = format!("{}\n", json!({"tag": "a", "value": "x".repeat(8_000)}));
        deaf.to.set_write_timeout(Some(CONTROL_PATIENCE * 4)).unwrap();
        while deaf.to.write_all(line.as_bytes()).is_ok() {}
    });
    let mut served = 0;
    while start.elapsed() < CONTROL_PATIENCE / 2 {
        assert_eq!(rig.connect().ask(json!({"tag": "a", "value": 1}))["outcome"], "done");
        served += 1;
    }
    assert!(served > 100, "{served}");
    assert!(half.answer().is_none());
    assert!(start.elapsed() >= CONTROL_PATIENCE && start.elapsed() < CONTROL_PATIENCE * 2);
    sender.join().unwrap();
}

#[test]
fn one_client_too_many_pushes_out_the_idlest_and_never_one_that_waits() {
    let rig = rig();
    let mut waiting = rig.connect();
    waiting.send(b"{\"tag\":\"never\",\"value\":1}\n");
    while rig.judged.load(Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut idle: Vec<Talk> = Vec::new();
    for i in 0..CONTROL_CLIENTS_MAX {
        let mut talk = rig.connect();
        assert_eq!(talk.ask(json!({"tag": "a", "value": i}))["outcome"], "done");
        idle.push(talk);
    }
    assert!(idle[0].answer().is_none(), "the first had to go");
    assert_eq!(idle[1].ask(json!({"tag": "a", "value": 1}))["outcome"], "done");
    waiting.to.set_nonblocking(true).unwrap();
    let error = waiting.from.read_line(&mut String::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "it still waits");
}

#[test]
fn a_client_that_goes_away_while_its_request_is_under_way_leaves_its_place() {
    let rig = rig();
    for _ in 0..CONTROL_CLIENTS_MAX * 2 {
        rig.connect().send(b"{\"tag\":\"never\",\"value\":1}\n");
    }
    assert_eq!(rig.connect().ask(json!({"tag": "a", "value": 1}))["outcome"], "done");
}

#[test]
fn the_file_is_the_owners_alone_and_goes_with_the_gateway() {
    let mut rig = rig();
    assert_eq!(std::fs::metadata(&rig.path).unwrap().permissions().mode() & 0o777, 0o600);
    rig.socket = None;
    assert!(!rig.path.exists());
}

fn start(path: &Path, group: Option<&str>) -> Result<Option<ControlSocket>, ControlError> {
    let config =
        ControlConfig { socket: Some(path.into()), group: group.map(str::to_owned), ..ControlConfig::default() };
    ControlSocket::start(&config, Desk::new(Arc::default()).0, observed())
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_a_live_one_is_not_stolen() {
    let rig = rig();
    let Err(error) = start(&rig.path, None) else { panic!("stolen") };
    assert!(matches!(error, ControlError::Taken { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert_eq!(rig.connect().ask(json!({"tag": "a", "value": 1}))["outcome"], "done");
    let left = rig.dir.path().join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    assert!(left.exists());
    let socket = start(&left, None).unwrap().unwrap();
    UnixStream::connect(&left).unwrap();
    drop(socket);
}

#[test]
fn what_stands_in_the_way_is_told_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan.txt");
    std::fs::write(&file, "mine").unwrap();
    let told = |path: &Path, group| start(path, group).err().unwrap().to_string();
    assert!(told(&file, None).contains("another file has this name"), "{}", told(&file, None));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let free = dir.path().join("c.sock");
    assert!(told(&free, Some("no-such-group")).contains("no group \"no-such-group\""));
    assert!(told(&dir.path().join("x".repeat(120)), None).contains("no longer than 107 bytes"));
    assert!(told(Path::new("/proc/nowhere/c.sock"), None).contains("control.socket"));
    let socket = start(&free, Some("daemon")).unwrap().unwrap();
    let meta = std::fs::metadata(&free).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o660);
    drop(socket);
}

#[test]
fn a_socket_whose_file_was_removed_is_made_anew_and_those_who_are_connected_stay() {
    let rig = rig();
    let mut before = rig.connect();
    std::fs::remove_file(&rig.path).unwrap();
    std::fs::remove_file(rig.path.with_extension("sock.lock")).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !rig.path.exists() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    for talk in [&mut before, &mut rig.connect()] {
        assert_eq!(talk.ask(json!({"tag": "a", "value": 1}))["outcome"], "done");
    }
    assert!(start(&rig.path, None).is_err(), "the lock is there again, too");
}

#[test]
fn what_was_put_in_the_place_of_the_socket_stays_and_is_told_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.sock");
    let config = ControlConfig { socket: Some(path.clone()), ..ControlConfig::default() };
    let observed = observed();
    let health = observed.health.clone();
    let _socket = ControlSocket::start(&config, Desk::new(Arc::default()).0, observed).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    let until = |holds: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(&|| health.conditions().contains_key(PART));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    std::fs::remove_file(&path).unwrap();
    until(&|| !health.conditions().contains_key(PART) && path.exists());
}
