//! A server that takes writes as InfluxDB does, and misbehaves as the test says. One thread a connection.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certs::Pair;

/// What the server does with one request.
pub struct Reply {
    pub status: u16,
    pub headers: &'static str,
    pub body: String,
    /// Which lines are stored.
    pub stores: Box<dyn Fn(&str) -> bool>,
    /// Before the answer.
    pub waits: Duration,
    /// No answer at all: the connection is closed.
    pub closes: bool,
}

impl Reply {
    pub fn taken() -> Reply {
        Reply {
            status: 204,
            headers: "",
            body: String::new(),
            stores: Box::new(|_| true),
            waits: Duration::ZERO,
            closes: false,
        }
    }

    pub fn refused(status: u16, body: &str) -> Reply {
        Reply { status, body: body.into(), stores: Box::new(|_| false), ..Reply::taken() }
    }
}

pub struct Request {
    /// From 1, over all connections.
    pub number: u64,
    pub head: String,
    pub lines: Vec<String>,
}

/// By series and time, the fields.
pub type Points = BTreeMap<(String, i64), BTreeMap<String, String>>;

pub struct Server {
    pub port: u16,
    pub requests: Arc<AtomicU64>,
    points: Arc<Mutex<Points>>,
}

impl Server {
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_with(None, script)
    }

    pub fn start_with(tls: Option<&Pair>, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, points) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Points>>::default());
        let tls = tls.map(|pair| {
            let certs = CertificateDer::pem_file_iter(&pair.cert).unwrap().map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = rustls::ServerConfig::builder_with_provider(provider);
            let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
            Arc::new(builder.with_single_cert(certs, key).unwrap())
        });
        let script = Arc::new(script);
        let server = Server { port, requests: requests.clone(), points: points.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, requests, points, tls) = (script.clone(), requests.clone(), points.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &*script, &requests, &points),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        serve(rustls::StreamOwned::new(connection, stream), &*script, &requests, &points);
                    }
                });
            }
        });
        server
    }

    pub fn points(&self) -> Points {
        self.points.lock().unwrap().clone()
    }

    /// How many points hold that field.
    pub fn count(&self, field: &str) -> u64 {
        self.points.lock().unwrap().values().filter(|fields| fields.contains_key(field)).count() as u64
    }
}

fn serve(
    mut stream: impl Read + Write,
    script: &(impl Fn(&Request) -> Reply + ?Sized),
    requests: &AtomicU64,
    points: &Mutex<Points>,
) {
    while let Some((head, body)) = request(&mut stream) {
        let text = if head.to_ascii_lowercase().contains("content-encoding: gzip") {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
            text
        } else {
            String::from_utf8(body).unwrap()
        };
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let request = Request { number: requests.fetch_add(1, Relaxed) + 1, head, lines };
        let reply = script(&request);
        for line in request.lines.iter().filter(|line| (reply.stores)(line)) {
            store(&mut points.lock().unwrap(), line);
        }
        std::thread::sleep(reply.waits);
        if reply.closes {
            return;
        }
        let Reply { status, headers, body, .. } = reply;
        let answer = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = if status == 204 { format!("HTTP/1.1 204 No Content\r\n{headers}\r\n") } else { answer };
        if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// Head and body of the next request; `None`: the client is gone.
fn request(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect("a body of known length")];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Lines of the test's tags: no name has a character that is escaped.
fn store(points: &mut Points, line: &str) {
    let mut parts = line.split(' ');
    let (series, fields, time) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let point = points.entry((series.to_owned(), time.parse().unwrap())).or_default();
    for field in fields.split(',') {
        let (name, value) = field.split_once('=').unwrap();
        let before = point.insert(name.to_owned(), value.to_owned());
        assert!(before.is_none_or(|before| before == value), "{line}: a point is overwritten with another value");
    }
}

/// Answers with what a real client of the test would not read: raw bytes.
pub fn raw(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = request(&mut TcpStream::try_clone(&stream).unwrap());
                let _ = stream.write_all(bytes);
            });
        }
    });
    port
}
