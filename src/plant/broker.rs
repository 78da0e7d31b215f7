//! A small MQTT 3.1.1 broker on loopback, so that the demo shows the whole way from device to subscriber.
//!
//! It does QoS 0 and 1, subscriptions with wildcards, retained messages, last wills and keep alive. It keeps no
//! sessions: a subscriber that was away has missed what came meanwhile, and QoS 1 towards subscribers is not
//! repeated. QoS 2 ends the connection. Everything is bounded: a subscriber that does not keep up loses the
//! newest messages, counted. It is not made for anything but a demo and tests; it knows no users and no TLS.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, LastWill, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode,
    UnsubAck,
};
use rumqttc::mqttbytes::{Error as CodecError, Protocol, QoS, valid_filter, valid_topic};

use crate::limits::{
    BROKER_CLIENTS_MAX, BROKER_FILTERS_MAX, BROKER_PACKET_BYTES_MAX, BROKER_PATIENCE, BROKER_QUEUE_BYTES_MAX,
    BROKER_QUEUE_MESSAGES_MAX, BROKER_RETAINED_BYTES_MAX, BROKER_RETAINED_MAX,
};

/// Totals since the start, and who is connected now.
#[derive(Debug, Default)]
pub struct BrokerStats {
    /// Messages published to the broker.
    pub messages: AtomicU64,
    /// Payload bytes of those.
    pub bytes: AtomicU64,
    /// Clients connected now.
    pub clients: AtomicUsize,
    /// Copies given to subscribers.
    pub forwarded: AtomicU64,
    /// Copies that a subscriber lost because it did not keep up.
    pub dropped: AtomicU64,
    /// Connections refused or ended because of a limit or a broken packet.
    pub rejected: AtomicU64,
}

/// A running broker; it stops when dropped.
#[derive(Debug)]
pub struct Broker {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accept: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    stats: BrokerStats,
    /// Connections with a thread, before and after CONNECT.
    connections: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_key: u64,
    clients: HashMap<u64, Client>,
    /// By topic; QoS and payload as published.
    retained: HashMap<String, Publish>,
    retained_bytes: usize,
}

#[derive(Debug)]
struct Client {
    id: String,
    filters: Vec<(String, QoS)>,
    queue: Sender<Packet>,
    queued_bytes: Arc<AtomicUsize>,
    next_packet: u16,
    /// To end the connection from outside.
    stream: TcpStream,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock with the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// Listens on `addr` (port 0: one that is free).
    pub fn start(addr: SocketAddr) -> io::Result<Broker> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accept = thread::Builder::new().name("broker".into()).spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        })?;
        Ok(Broker { addr, shared, accept: Some(accept) })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn stats(&self) -> &BrokerStats {
        &self.shared.stats
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        // Wakes the accepting thread; when that fails it is gone already.
        let _ = TcpStream::connect_timeout(&self.addr, BROKER_PATIENCE);
        for client in self.shared.state().clients.values() {
            let _ = client.stream.shutdown(Shutdown::Both);
        }
        if let Some(accept) = self.accept.take() {
            let _ = accept.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Relaxed) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, say: a pause instead of a spin.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if shared.connections.load(Relaxed) >= BROKER_CLIENTS_MAX {
            shared.stats.rejected.fetch_add(1, Relaxed);
            continue;
        }
        shared.connections.fetch_add(1, Relaxed);
        let spawned = thread::Builder::new().name("broker-client".into()).spawn({
            let shared = shared.clone();
            move || {
                let served = serve(stream, &shared);
                shared.connections.fetch_sub(1, Relaxed);
                if served.is_err_and(|e| e.kind() == io::ErrorKind::InvalidData) {
                    shared.stats.rejected.fetch_add(1, Relaxed);
                }
            }
        });
        if spawned.is_err() {
            shared.connections.fetch_sub(1, Relaxed);
        }
    }
}

fn broken(detail: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail.to_string())
}

fn send(stream: &mut TcpStream, packet: &Packet) -> io::Result<()> {
    let mut bytes = Default::default();
    packet.write(&mut bytes, usize::MAX).map_err(broken)?;
    stream.write_all(&bytes)
}

/// Calls `each` with every packet until it says stop (`false`) or the connection ends.
fn read_packets(stream: &mut TcpStream, mut each: impl FnMut(Packet) -> io::Result<bool>) -> io::Result<()> {
    let mut chunk = vec![0u8; 64 << 10];
    let mut pending = Default::default();
    loop {
        match Packet::read(&mut pending, BROKER_PACKET_BYTES_MAX) {
            Ok(packet) => {
                if !each(packet)? {
                    return Ok(());
                }
            }
            Err(CodecError::InsufficientBytes(_)) => {
                let n = stream.read(&mut chunk)?;
                if n == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                pending.extend_from_slice(&chunk[..n]);
            }
            Err(other) => return Err(broken(other)),
        }
    }
}

/// One connection from CONNECT to its end.
fn serve(mut stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(BROKER_PATIENCE))?;
    stream.set_write_timeout(Some(BROKER_PATIENCE))?;
    let mut session: Option<Session> = None;
    let mut control = stream.try_clone()?;
    let ended = read_packets(&mut stream, |packet| match (&mut session, packet) {
        (None, Packet::Connect(connect)) => {
            session = Some(Session::begin(connect, &mut control, shared)?);
            Ok(true)
        }
        (None, other) => Err(broken(format!("{other:?} before CONNECT"))),
        (Some(session), packet) => session.handle(packet),
    });
    if let Some(session) = session {
        session.end(ended.is_ok());
    }
    ended
}

struct Session {
    key: u64,
    will: Option<LastWill>,
    queue: Sender<Packet>,
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

impl Session {
    fn begin(connect: Connect, stream: &mut TcpStream, shared: &Arc<Shared>) -> io::Result<Session> {
        if connect.protocol != Protocol::V4 {
            send(stream, &Packet::ConnAck(ConnAck::new(ConnectReturnCode::RefusedProtocolVersion, false)))?;
            return Err(broken("only MQTT 3.1.1 is supported"));
        }
        if connect.last_will.as_ref().is_some_and(|will| !publishable(&will.topic) || will.qos == QoS::ExactlyOnce) {
            return Err(broken("unusable last will"));
        }
        // MQTT 3.1.1, section 3.1.2.10: one and a half times the keep alive.
        let silence = Duration::from_millis(u64::from(connect.keep_alive) * 1500);
        stream.set_read_timeout((connect.keep_alive > 0).then_some(silence))?;
        send(stream, &Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)))?;

        let (queue, waiting) = bounded(BROKER_QUEUE_MESSAGES_MAX);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let writer = thread::Builder::new().name("broker-writer".into()).spawn({
            let stream = stream.try_clone()?;
            let queued_bytes = queued_bytes.clone();
            move || write_queue(stream, &waiting, &queued_bytes)
        })?;
        let stream = stream.try_clone()?;
        let mut state = shared.state();
        if !connect.client_id.is_empty() {
            // Section 3.1.4: a second client of the same name takes the first one's place.
            for other in state.clients.values().filter(|c| c.id == connect.client_id) {
                let _ = other.stream.shutdown(Shutdown::Both);
            }
        }
        let key = state.next_key;
        state.next_key += 1;
        let client = Client {
            id: connect.client_id,
            filters: Vec::new(),
            queue: queue.clone(),
            queued_bytes,
            next_packet: 0,
            stream,
        };
        state.clients.insert(key, client);
        shared.stats.clients.store(state.clients.len(), Relaxed);
        drop(state);
        // Whoever stops the broker ends the clients it finds; one that came after that ends itself.
        if shared.stop.load(Relaxed)
            && let Some(client) = shared.state().clients.get(&key)
        {
            let _ = client.stream.shutdown(Shutdown::Both);
        }
        Ok(Session { key, will: connect.last_will, queue, shared: shared.clone(), writer })
    }

    /// `false`: the client said good-bye.
    fn handle(&mut self, packet: Packet) -> io::Result<bool> {
        match packet {
            Packet::Publish(publish) => {
                if publish.qos == QoS::ExactlyOnce || !publishable(&publish.topic) {
                    return Err(broken("QoS 2, or a topic with wildcards"));
                }
                let reply = (publish.qos == QoS::AtLeastOnce).then(|| PubAck::new(publish.pkid));
                route(&self.shared, publish);
                if let Some(reply) = reply {
                    self.reply(Packet::PubAck(reply))?;
                }
            }
            Packet::Subscribe(subscribe) => self.subscribe(subscribe)?,
            Packet::Unsubscribe(unsubscribe) => {
                if let Some(client) = self.shared.state().clients.get_mut(&self.key) {
                    client.filters.retain(|(filter, _)| !unsubscribe.topics.contains(filter));
                }
                self.reply(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)))?;
            }
            Packet::PingReq => self.reply(Packet::PingResp)?,
            Packet::PubAck(_) => {}
            Packet::Disconnect => return Ok(false),
            other => return Err(broken(format!("unexpected {other:?}"))),
        }
        Ok(true)
    }

    /// Replies are never dropped: with a full queue this waits until the writer gets on, or gives up.
    fn reply(&self, packet: Packet) -> io::Result<()> {
        self.queue.send(packet).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn subscribe(&mut self, subscribe: Subscribe) -> io::Result<()> {
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut retained = Vec::new();
        let mut state = self.shared.state();
        let State { clients, retained: stored, .. } = &mut *state;
        let Some(client) = clients.get_mut(&self.key) else { return Ok(()) };
        for filter in subscribe.filters {
            client.filters.retain(|(known, _)| *known != filter.path);
            if !valid_filter(&filter.path) || client.filters.len() >= BROKER_FILTERS_MAX {
                codes.push(SubscribeReasonCode::Failure);
                continue;
            }
            let qos = if filter.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            codes.push(SubscribeReasonCode::Success(qos));
            retained.extend(stored.values().filter(|p| matches(&filter.path, &p.topic)).map(|p| (p.clone(), qos)));
            client.filters.push((filter.path, qos));
        }
        drop(state);
        self.reply(Packet::SubAck(SubAck::new(subscribe.pkid, codes)))?;
        let mut state = self.shared.state();
        if let Some(client) = state.clients.get_mut(&self.key) {
            for (publish, qos) in retained {
                forward(&self.shared.stats, client, &publish, qos, true);
            }
        }
        Ok(())
    }

    fn end(mut self, graceful: bool) {
        let mut state = self.shared.state();
        if let Some(client) = state.clients.remove(&self.key) {
            let _ = client.stream.shutdown(if graceful { Shutdown::Read } else { Shutdown::Both });
        }
        self.shared.stats.clients.store(state.clients.len(), Relaxed);
        drop(state);
        if let Some(will) = self.will.take().filter(|_| !graceful) {
            let mut publish = Publish::new(will.topic, will.qos, will.message);
            publish.retain = will.retain;
            route(&self.shared, publish);
        }
        drop(self.queue);
        let _ = self.writer.join();
    }
}

/// Sends what is queued until every sender is gone or the connection is.
fn write_queue(mut stream: TcpStream, waiting: &Receiver<Packet>, queued_bytes: &AtomicUsize) {
    let mut bytes = Default::default();
    while let Ok(first) = waiting.recv() {
        let mut next = Some(first);
        while let Some(packet) = next {
            if let Packet::Publish(publish) = &packet {
                queued_bytes.fetch_sub(publish.payload.len(), Relaxed);
            }
            if packet.write(&mut bytes, usize::MAX).is_err() || bytes.len() > BROKER_PACKET_BYTES_MAX {
                break;
            }
            next = waiting.try_recv().ok();
        }
        if stream.write_all(&bytes).is_err() {
            break;
        }
        bytes.clear();
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Keeps the message when it is retained, and copies it to whoever wants it.
fn route(shared: &Shared, publish: Publish) {
    shared.stats.messages.fetch_add(1, Relaxed);
    shared.stats.bytes.fetch_add(publish.payload.len() as u64, Relaxed);
    let mut state = shared.state();
    for client in state.clients.values_mut() {
        let wanted = client.filters.iter().filter(|(filter, _)| matches(filter, &publish.topic)).map(|(_, qos)| *qos);
        // Overlapping filters: one copy, at the best QoS (section 3.3.5).
        if let Some(qos) = wanted.reduce(|a, b| if a == QoS::AtLeastOnce { a } else { b }) {
            forward(&shared.stats, client, &publish, qos, false);
        }
    }
    if publish.retain {
        retain(&mut state, publish);
    }
}

/// Section 3.3.1.3: an empty payload removes, any other replaces.
fn retain(state: &mut State, publish: Publish) {
    if let Some(old) = state.retained.remove(&publish.topic) {
        state.retained_bytes -= old.payload.len();
    }
    let bytes = publish.payload.len();
    let fits = state.retained.len() < BROKER_RETAINED_MAX && state.retained_bytes + bytes <= BROKER_RETAINED_BYTES_MAX;
    if bytes > 0 && fits {
        state.retained_bytes += bytes;
        state.retained.insert(publish.topic.clone(), publish);
    }
}

fn forward(stats: &BrokerStats, client: &mut Client, publish: &Publish, qos: QoS, retain: bool) {
    let bytes = publish.payload.len();
    let mut copy = publish.clone();
    copy.dup = false;
    copy.retain = retain;
    copy.pkid = 0;
    copy.qos = if publish.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { qos };
    if copy.qos == QoS::AtLeastOnce {
        client.next_packet = client.next_packet.checked_add(1).unwrap_or(1);
        copy.pkid = client.next_packet;
    }
    let room = client.queued_bytes.load(Relaxed) + bytes <= BROKER_QUEUE_BYTES_MAX;
    client.queued_bytes.fetch_add(bytes, Relaxed);
    let sent =
        if room { client.queue.try_send(Packet::Publish(copy)) } else { Err(TrySendError::Full(Packet::PingResp)) };
    let count = match sent {
        Ok(()) => &stats.forwarded,
        Err(_) => {
            client.queued_bytes.fetch_sub(bytes, Relaxed);
            &stats.dropped
        }
    };
    count.fetch_add(1, Relaxed);
}

fn publishable(topic: &str) -> bool {
    !topic.is_empty() && valid_topic(topic) && !topic.contains('\0')
}

/// Whether a valid filter takes a topic (section 4.7).
fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for part in filter.split('/') {
        match (part, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (part, Some(level)) if part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests;
