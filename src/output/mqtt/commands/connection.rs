//! One connection of commands, from its first packet to its end.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::super::wire::{self, ConnAck, Connect, Packet, Violation, decode, reason_name};
use super::line::{Line, Turn};
use super::senders::Pace;
use super::set_points::SetPoints;
use super::{Commands, Reply};
use crate::command::AnswerEnd;
use crate::config::MqttVersion;
use crate::limits::{
    COMMAND_ANSWER_SUSPECT, COMMAND_BROKER_PACKET_BYTES_MAX, COMMAND_FLOOD_LOG_PAUSE, COMMAND_IN_FLIGHT_MAX,
    COMMAND_MESSAGES_PER_S_MAX, COMMAND_PACKETS_PER_ROUND, COMMAND_READ_BYTES_PER_S_MAX, COMMAND_RECEIVE_MAX,
    COMMAND_SESSION_S, MQTT_CONNECT_TIMEOUT, MQTT_STALL_MIN, OUTPUT_POLL, OUTPUT_SETTLED, OUTPUT_STOP_FAREWELL,
};
use crate::peer as output;

/// Why a connection ended.
pub(super) struct Failure {
    pub(super) why: output::Failure,
    /// The broker ended it, and may have had a reason in what we published; with MQTT 5 perhaps the reason's code.
    pub(super) by_broker: Option<Option<u8>>,
}

impl From<output::Failure> for Failure {
    fn from(why: output::Failure) -> Failure {
        Failure { why, by_broker: None }
    }
}

/// An answer that is sent and not acknowledged.
pub(super) struct Sent {
    pub(super) packet: u16,
    pub(super) reply: Reply,
}

pub(super) struct Connection {
    pub(super) line: Line,
    pub(super) sent: VecDeque<Sent>,
    /// Topics of answers with QoS 0, which nobody acknowledges.
    pub(super) unconfirmed: VecDeque<(Instant, Reply)>,
    packet: u16,
    pub(super) in_flight_max: usize,
    pub(super) packet_bytes_max: usize,
    keep_alive: Duration,
    /// Of the last acknowledgement, or the first answer after a quiet time.
    pub(super) acknowledged: Instant,
    connected: Instant,
    heard: Instant,
    pub(super) wrote: Instant,
    pinged: Option<Instant>,
    messages: Pace,
    bytes: Pace,
    next_tick: Instant,
    /// Since when it is on its way out, and whether DISCONNECT is.
    leaving: Option<Instant>,
    pub(super) disconnecting: bool,
}

impl Connection {
    fn new(line: Line, keep_alive: Duration) -> Connection {
        let now = Instant::now();
        Connection {
            line,
            sent: VecDeque::new(),
            unconfirmed: VecDeque::new(),
            packet: 1,
            in_flight_max: COMMAND_IN_FLIGHT_MAX,
            packet_bytes_max: usize::MAX,
            keep_alive,
            acknowledged: now,
            connected: now,
            heard: now,
            wrote: now,
            pinged: None,
            messages: Pace::new(COMMAND_MESSAGES_PER_S_MAX, now.into_std()),
            bytes: Pace::new(COMMAND_READ_BYTES_PER_S_MAX, now.into_std()),
            next_tick: now,
            leaving: None,
            disconnecting: false,
        }
    }

    fn has_room(&self, waiting: usize) -> bool {
        self.sent.len() + waiting < self.in_flight_max && !self.disconnecting
    }

    /// An identifier that no answer on its way has.
    pub(super) fn next_packet(&mut self) -> u16 {
        loop {
            self.packet = self.packet.checked_add(1).unwrap_or(1);
            if self.sent.iter().all(|sent| sent.packet != self.packet) {
                return self.packet;
            }
        }
    }
}

impl Commands {
    /// One connection from its first packet to its end.
    pub(super) async fn connection(&mut self) -> Result<(), Failure> {
        let Some(mut connection) = self.connect().await? else { return Ok(()) };
        let ended = self.follow(&mut connection).await;
        self.settle(connection, ended.as_ref().err());
        ended
    }

    /// `None`: stopped meanwhile.
    async fn connect(&mut self) -> Result<Option<Connection>, Failure> {
        let tls = self.tls.renew(&self.name);
        let peer = self.settings.peer.clone();
        let until = Instant::now() + MQTT_CONNECT_TIMEOUT;
        let silent = || Failure::from(peer.silent(MQTT_CONNECT_TIMEOUT.as_secs()));
        let mut opening = std::pin::pin!(Line::open(&peer, tls));
        let line = loop {
            match tokio::time::timeout(OUTPUT_POLL, opening.as_mut()).await {
                Ok(line) => break line?,
                Err(_) if self.stop.load(Relaxed) => return Ok(None),
                Err(_) if Instant::now() >= until => return Err(silent()),
                Err(_) => {}
            }
        };
        let keep_alive_s = self.settings.keep_alive.as_secs().clamp(1, u64::from(u16::MAX)) as u16;
        let mut connection = Connection::new(line, Duration::from_secs(keep_alive_s.into()));
        let settings = &self.settings;
        wire::connect(
            &mut connection.line.out,
            &Connect {
                version: settings.version,
                client_id: &settings.peer.client_id,
                user: settings.user.as_deref(),
                password: settings.password.as_deref(),
                keep_alive_s,
                is_clean: !self.has_session,
                session_s: COMMAND_SESSION_S,
                receive_max: COMMAND_RECEIVE_MAX,
                packet_bytes_max: COMMAND_BROKER_PACKET_BYTES_MAX,
            },
        );
        loop {
            if let Some(frame) = connection.line.next().map_err(|violation| self.violation(&violation))? {
                let packet = decode(frame, self.settings.version).map_err(|violation| self.violation(&violation))?;
                let Packet::ConnAck(ack) = packet else { return Err(peer.garbage("no CONNACK").into()) };
                self.accepted(&mut connection, &ack)?;
                return Ok(Some(connection));
            }
            match connection
                .line
                .turn(Instant::now() + OUTPUT_POLL, true, None::<&mut tokio::sync::mpsc::Receiver<()>>)
                .await
            {
                Turn::Over if self.stop.load(Relaxed) => return Ok(None),
                Turn::Over if Instant::now() >= until => return Err(silent()),
                Turn::Over | Turn::Came(()) | Turn::Read(_) => {}
                Turn::Closed(error) => return Err(peer.describe(&error).into()),
            }
        }
    }

    fn accepted(&mut self, connection: &mut Connection, ack: &ConnAck) -> Result<(), Failure> {
        let peer = &self.settings.peer;
        match (ack.code, self.settings.version) {
            (0, _) => {}
            (1, MqttVersion::V311) => {
                return Err(peer.refused("it does not speak MQTT 3.1.1; set `version` to 5").into());
            }
            (1 | 0x84, _) => return Err(peer.refused("it does not speak MQTT 5; set `version` to 3.1.1").into()),
            (4 | 0x86, _) => return Err(peer.bad_login().into()),
            (5 | 0x87, _) => return Err(peer.not_authorised().into()),
            (2 | 0x85, _) => return Err(peer.refused("client identifier not valid").into()),
            (3, _) => return Err(peer.refused("server unavailable").into()),
            (code, _) => return Err(peer.refused(&reason_name(code)).into()),
        }
        if self.at_least_once && ack.qos_max == 0 {
            let text = format!("{} supports QoS 0 only; set `qos = 0`", peer.address());
            return Err(output::Failure::Refused(text).into());
        }
        connection.in_flight_max = COMMAND_IN_FLIGHT_MAX.min(usize::from(ack.in_flight_max).max(1));
        connection.packet_bytes_max = ack.packet_bytes_max;
        let had_session = std::mem::replace(&mut self.has_session, self.settings.version == MqttVersion::V5);
        if let Some(seconds) = ack.keep_alive_s {
            connection.keep_alive = Duration::from_secs(seconds.into());
        }
        wire::subscribe(&mut connection.line.out, self.settings.version, 1, &self.command_topic);
        if let Some(set_points) = &mut self.set_points {
            set_points.begin_connection(!had_session);
            wire::subscribe(&mut connection.line.out, self.settings.version, 2, &set_points.filter());
        }
        Ok(())
    }

    fn violation(&self, violation: &Violation) -> Failure {
        self.settings.peer.violation(&violation.0).into()
    }

    /// Takes requests and sends answers until the end.
    async fn follow(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        loop {
            let more = self.take_packets(connection)?;
            self.send(connection);
            let now = Instant::now();
            if now >= connection.next_tick {
                connection.next_tick = now + OUTPUT_POLL;
                if self.tick(connection, now)? {
                    return Ok(());
                }
            }
            let until = if more { now } else { connection.next_tick };
            let paced = connection.messages.has(now.into_std()) && connection.bytes.has(now.into_std());
            if !paced {
                self.tell_flood(now);
            }
            let channel = connection.has_room(self.waiting.len()).then_some(&mut self.replies);
            match connection.line.turn(until, paced && !more, channel).await {
                Turn::Over => {}
                Turn::Came(reply) => self.waiting.push_back(reply),
                Turn::Read(count) => {
                    connection.heard = Instant::now();
                    connection.bytes.spend(count);
                }
                Turn::Closed(error) => {
                    // What came before the end may say why.
                    while self.take_packets(connection)? {}
                    let why = self.settings.peer.describe(&error);
                    return Err(Failure { why, by_broker: Some(None) });
                }
            }
        }
    }

    /// A bounded number of packets. True: there are more that may be taken now.
    fn take_packets(&mut self, connection: &mut Connection) -> Result<bool, Failure> {
        for _ in 0..COMMAND_PACKETS_PER_ROUND {
            if !connection.messages.has(std::time::Instant::now()) {
                return Ok(false);
            }
            let frame = connection.line.next().map_err(|violation| self.violation(&violation))?;
            let Some(frame) = frame else { return Ok(false) };
            connection.messages.spend(1);
            let packet = decode(frame, self.settings.version).map_err(|violation| self.violation(&violation))?;
            self.handle(connection, packet)?;
        }
        Ok(true)
    }

    fn handle(&mut self, connection: &mut Connection, packet: Packet) -> Result<(), Failure> {
        let address = self.settings.peer.address();
        match packet {
            Packet::SubAck { packet, code } if code < 0x80 => {
                let topic = self.subscribed(packet);
                tracing::info!(output = %self.name, "output {}: writes are accepted on topic {topic} of {address}", self.name);
                self.told.clear();
                self.brokers.is_well();
            }
            Packet::SubAck { packet, code } => {
                let (topic, why) = (self.subscribed(packet), reason_name(code));
                let text =
                    format!("{address} refuses the subscription of {topic}: {why}; check the broker's access rights");
                return Err(output::Failure::Refused(text).into());
            }
            Packet::PubAck { packet, code } => {
                let Some(at) = connection.sent.iter().position(|sent| sent.packet == packet) else {
                    let text = format!("unexpected acknowledgement {packet}");
                    return Err(self.violation(&Violation(text)));
                };
                connection.acknowledged = Instant::now();
                let Some(Sent { reply, .. }) = connection.sent.remove(at) else { return Ok(()) };
                if code >= 0x80 {
                    self.answer_refused(reply, &reason_name(code));
                } else {
                    self.refused_topics.accepted(&reply.topic);
                    self.desk.count_answer(AnswerEnd::Sent);
                    self.backoff.reset();
                }
            }
            // Left to the broker, as what comes after DISCONNECT would be.
            Packet::Publish(_) | Packet::Unreadable(_) if connection.leaving.is_some() => {}
            Packet::Publish(publish) => {
                let packet = publish.packet;
                if self.take_any(publish) {
                    // A connection that was useful is a good one, however short.
                    self.backoff.reset();
                }
                if let Some(packet) = packet {
                    wire::puback(&mut connection.line.out, packet);
                }
            }
            Packet::Unreadable(unreadable) => {
                self.take_unreadable(&unreadable);
                if let Some(packet) = unreadable.packet {
                    wire::puback(&mut connection.line.out, packet);
                }
            }
            Packet::PingResp => connection.pinged = None,
            Packet::Disconnect { code, why } => {
                let text = format!("{address} ended the connection: {} {why}", reason_name(code));
                let why = output::Failure::Refused(text.trim_end().to_owned());
                return Err(Failure { why, by_broker: Some(Some(code)) });
            }
            Packet::ConnAck(_) => return Err(self.violation(&Violation("a second CONNACK".into()))),
        }
        Ok(())
    }

    /// What the subscription of that identifier is of.
    fn subscribed(&self, packet: u16) -> String {
        let set_points = self.set_points.as_ref().filter(|_| packet == 2);
        set_points.map_or_else(|| self.command_topic.clone(), SetPoints::filter)
    }

    /// Every [`OUTPUT_POLL`]: a stuck broker, pings, the way out. Whether the connection is at its end.
    fn tick(&mut self, connection: &mut Connection, now: Instant) -> Result<bool, Failure> {
        if now > connection.connected + OUTPUT_SETTLED {
            self.backoff.reset();
        }
        while connection.unconfirmed.front().is_some_and(|(at, _)| now > *at + COMMAND_ANSWER_SUSPECT) {
            if let Some((_, reply)) = connection.unconfirmed.pop_front() {
                self.refused_topics.accepted(&reply.topic);
            }
        }
        let patience = MQTT_STALL_MIN.max(self.settings.keep_alive * 2);
        if !connection.sent.is_empty() && now > connection.acknowledged + patience {
            let (address, seconds) = (self.settings.peer.address(), patience.as_secs());
            let text = format!("{address} has not acknowledged answers for {seconds} s; connection dropped");
            return Err(output::Failure::Silent(text).into());
        }
        self.keep_alive(connection, now)?;
        if connection.leaving.is_none() && !self.stop.load(Relaxed) && !self.brokers.wants_first() {
            return Ok(false);
        }
        let since = *connection.leaving.get_or_insert(now);
        if connection.disconnecting {
            return Ok(connection.line.is_written() || now > since + OUTPUT_STOP_FAREWELL * 2);
        }
        let done = connection.sent.is_empty() && self.waiting.is_empty() && self.replies.is_empty();
        if done || now > since + OUTPUT_STOP_FAREWELL {
            connection.disconnecting = true;
            wire::disconnect(&mut connection.line.out, self.settings.version);
        }
        Ok(false)
    }

    /// Pings after a quiet time; any packet is a sign of life, since a flood may hold PINGRESP up.
    fn keep_alive(&self, connection: &mut Connection, now: Instant) -> Result<(), Failure> {
        let interval = connection.keep_alive;
        if interval.is_zero() || connection.disconnecting {
            return Ok(());
        }
        if let Some(pinged) = connection.pinged {
            let quiet_since = pinged.max(connection.heard);
            if now > quiet_since + interval {
                return Err(self.settings.peer.keep_alive_lost().into());
            }
            if connection.heard > pinged {
                connection.pinged = None;
            }
        } else if now > connection.wrote + interval.mul_f32(0.75) {
            wire::ping(&mut connection.line.out);
            (connection.pinged, connection.wrote) = (Some(now), now);
        }
        Ok(())
    }

    fn tell_flood(&mut self, now: Instant) {
        if self.told_flood.is_some_and(|at| now < at + COMMAND_FLOOD_LOG_PAUSE) {
            return;
        }
        self.told_flood = Some(now);
        self.desk.count_flood();
        tracing::warn!(
            output = %self.name,
            "commands of output {}: {} sends more on topic {} than the limit ({COMMAND_MESSAGES_PER_S_MAX} messages, \
             {} MiB a second); reading is throttled and commands are delayed",
            self.name, self.settings.peer.address(), self.command_topic, COMMAND_READ_BYTES_PER_S_MAX >> 20
        );
    }
}
