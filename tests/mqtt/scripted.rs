//! A broker that does as the test says: just enough MQTT on a socket, one thread a connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One client of the scripted broker.
pub struct Client {
    stream: TcpStream,
    /// From 1.
    pub number: u64,
}

pub struct Scripted {
    pub port: u16,
    connections: Arc<AtomicU64>,
}

impl Scripted {
    /// CONNACK is sent already when `script` begins, and the connection ends with it.
    pub fn start(script: impl Fn(&mut Client) + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, connections) = (listener.local_addr().unwrap().port(), Arc::<AtomicU64>::default());
        let (script, counter) = (Arc::new(script), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = counter.fetch_add(1, Relaxed) + 1;
                let script = script.clone();
                std::thread::spawn(move || {
                    let mut client = Client { stream, number };
                    if let Some((0x10, connect)) = client.packet() {
                        // The protocol's level: 5 has properties.
                        let is_5 = connect.get(6) == Some(&5);
                        client.send(0x20, if is_5 { &[0, 0, 0] } else { &[0, 0] });
                        script(&mut client);
                    }
                    let _ = client.stream.shutdown(Shutdown::Both);
                });
            }
        });
        Scripted { port, connections }
    }

    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }
}

impl Client {
    /// The next packet: its first byte and its body. `None`: the client is gone.
    pub fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).ok()?;
        let first = byte[0];
        let (mut len, mut shift) = (0, 0);
        loop {
            self.stream.read_exact(&mut byte).ok()?;
            len |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).ok()?;
        Some((first, body))
    }

    /// False: the client is gone.
    pub fn send(&mut self, first: u8, body: &[u8]) -> bool {
        self.stream.write_all(&packet(first, body)).is_ok()
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Waits for SUBSCRIBE and grants QoS 1.
    pub fn subscribed(&mut self) {
        let Some((0x82, body)) = self.packet() else { panic!("a client of commands subscribes first") };
        assert!(self.send(0x90, &[body[0], body[1], 0, 1]));
    }

    /// Another handle of the same connection.
    pub fn second(&self) -> Client {
        Client { stream: self.stream.try_clone().unwrap(), number: self.number }
    }

    pub fn pause(&self) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let more = rest > 0x7f;
        bytes.push((rest & 0x7f) as u8 | if more { 0x80 } else { 0 });
        rest >>= 7;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// PUBLISH of MQTT 5 with QoS 1 on topic `c`: properties as bytes.
pub fn publish(identifier: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, b'c'];
    body.extend(identifier.to_be_bytes());
    assert!(properties.len() < 128 || properties.len() > 1_000);
    let mut rest = properties.len();
    loop {
        let more = rest > 0x7f;
        body.push((rest & 0x7f) as u8 | if more { 0x80 } else { 0 });
        rest >>= 7;
        if !more {
            break;
        }
    }
    body.extend(properties);
    body.extend(payload);
    packet(0x32, &body)
}

/// One property that is text or data.
pub fn property(id: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![id];
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
    out
}

/// The topic of a PUBLISH.
pub fn topic_of(body: &[u8]) -> String {
    let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
    String::from_utf8_lossy(&body[2..2 + len]).into_owned()
}

/// The identifier of a PUBLISH with QoS 1.
pub fn identifier_of(body: &[u8]) -> [u8; 2] {
    let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    [body[at], body[at + 1]]
}
