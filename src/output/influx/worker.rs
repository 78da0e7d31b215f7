//! One output to InfluxDB: a batch is sent, and retried, until it is accepted.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::answer::{self, Failure, Names, Verdict};
use super::form::InfluxForm;
use super::parts::{Bad, NoneTaken, Parts};
use super::token;
use crate::engine::{self, Ended, First, first_of};
use crate::http::{Http, basic};
use crate::limits::{INFLUX_BAD_SERIES_TOLD_MAX, OUTPUT_POLL};
use crate::{OutputError, OutputState};

type Engine = engine::Engine<InfluxForm>;

/// Who writes.
pub(super) enum Credentials {
    None,
    User {
        user: String,
        password: String,
    },
    /// Read anew for each connection and after each refusal: tokens are renewed while a gateway runs.
    Token {
        file: PathBuf,
    },
}

impl Credentials {
    fn header(&self) -> Result<Option<HeaderValue>, OutputError> {
        let text = match self {
            Credentials::None => return Ok(None),
            Credentials::User { user, password } => basic(user, password),
            Credentials::Token { file } => format!("Token {}", token::read(file)?),
        };
        // Neither base64 nor what `token::read` lets through has a character that a header cannot hold.
        let mut value = HeaderValue::from_str(&text).map_err(|error| OutputError::Tls(error.to_string()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What to do when the server refuses them.
    fn help(&self) -> String {
        match self {
            Credentials::None => "it may require `user` and `password`, or `token_file`".to_owned(),
            Credentials::User { user, .. } => {
                format!("check user {user:?}, its password and its right to write")
            }
            Credentials::Token { file } => {
                format!("check the token in {} and its right to write", file.display())
            }
        }
    }
}

/// What stays the same over all requests.
pub(super) struct Target {
    /// Path and query.
    pub(super) path_and_query: String,
    pub(super) path: String,
    /// As messages name it.
    pub(super) store: String,
    pub(super) gzip: bool,
}

pub(super) struct Worker {
    pub(super) http: Http,
    pub(super) target: Target,
    pub(super) credentials: Credentials,
    /// Bytes of lines in one request; less after a 413.
    pub(super) body_bytes_max: usize,
    begun: bool,
    /// What is not taken yet: it outlives the connection.
    parts: Option<Parts>,
    /// Series whose bad lines stand in the log.
    told: HashSet<String>,
}

impl Worker {
    pub(super) fn new(http: Http, target: Target, credentials: Credentials, body_bytes_max: usize) -> Worker {
        Worker { http, target, credentials, body_bytes_max, begun: false, parts: None, told: HashSet::new() }
    }
}

impl engine::Client<InfluxForm> for Worker {
    type Failure = Failure;

    async fn connection(&mut self, engine: &mut Engine) -> Result<Ended, Failure> {
        if !self.begun {
            engine.gather.restart(engine.cursor(), self.body_bytes_max);
            self.begun = true;
        }
        let headers = self.headers()?;
        let Some(()) = ticking(engine, Instant::now(), false, self.http.connect(&engine_name(engine))).await? else {
            return Ok(Ended::Stopped);
        };
        let connected = Instant::now();
        engine.stats.connects.fetch_add(1, Relaxed);
        tracing::info!(
            output = %engine.name, "output {}: connected to {}", engine.name, self.http.peer.address()
        );
        if self.parts.is_none() {
            // A batch that was not taken yet has to be taken before all is well.
            engine.stats.set_state(OutputState::Online);
        }
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + OUTPUT_POLL;
                engine.tick(connected, self.parts.is_none());
            }
            if engine.is_done(self.parts.is_none()) {
                return Ok(Ended::Stopped);
            }
            if self.parts.is_none() {
                match engine.next_message() {
                    Some(gathered) => {
                        engine.stats.messages_published.fetch_add(1, Relaxed);
                        self.parts = Some(Parts::new(gathered.message, gathered.covers));
                    }
                    None => {
                        tokio::time::sleep_until(next_tick).await;
                        continue;
                    }
                }
            }
            engine.stats.in_flight.store(1, Relaxed);
            if !self.deliver(engine, connected, &headers).await? {
                return Ok(Ended::Stopped);
            }
            engine.stats.in_flight.store(0, Relaxed);
        }
    }
}

fn engine_name(engine: &Engine) -> String {
    engine.name.clone()
}

impl Worker {
    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))];
        if self.target.gzip {
            headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
        }
        headers.extend(self.credentials.header()?.map(|value| (AUTHORIZATION, value)));
        Ok(headers)
    }

    /// Sends what is left of the batch. False: the time for it is over.
    async fn deliver(
        &mut self,
        engine: &mut Engine,
        connected: Instant,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<bool, Failure> {
        let Some(mut parts) = self.parts.take() else { return Ok(true) };
        let sent = self.send(engine, connected, headers, &mut parts).await;
        if !matches!(sent, Ok(true)) {
            self.parts = Some(parts);
            return sent;
        }
        engine.stats.values_untold.fetch_add(parts.untold, Relaxed);
        engine.taken(1, parts.covers, parts.refused);
        engine.stats.set_state(OutputState::Online);
        engine.is_well();
        Ok(true)
    }

    async fn send(
        &mut self,
        engine: &mut Engine,
        connected: Instant,
        headers: &[(HeaderName, HeaderValue)],
        parts: &mut Parts,
    ) -> Result<bool, Failure> {
        let name = engine_name(engine);
        let address = self.http.peer.address();
        while let Some(lines) = parts.next() {
            let body = if self.target.gzip { packed(&lines) } else { lines.clone() };
            engine.stats.bytes_published.fetch_add(body.len() as u64, Relaxed);
            let request = self.http.post(&name, &self.target.path_and_query, headers, &body);
            let Some(answer) = ticking(engine, connected, true, request).await? else { return Ok(false) };
            let names = Names {
                address: &address,
                credentials: &self.credentials.help(),
                store: &self.target.store,
                path: &self.target.path,
            };
            let verdict = answer::verdict(&answer, &names)?;
            if verdict == Verdict::TooLarge {
                self.shrink(engine, lines.len());
            }
            let told = &mut self.told;
            let settled = parts.settle(verdict, |bad| tell(&name, told, &bad));
            if let Err(NoneTaken(text)) = settled {
                return Err(Failure::Refused(format!(
                    "{address} rejects every line: {text}; check {} and `url`",
                    self.target.store
                )));
            }
        }
        Ok(true)
    }

    /// The server, or a proxy before it, takes no requests of that size.
    fn shrink(&mut self, engine: &mut Engine, bytes: usize) {
        if bytes / 2 < self.body_bytes_max {
            self.body_bytes_max = bytes / 2;
            engine.gather.set_message_bytes_max(self.body_bytes_max);
            tracing::warn!(
                output = %engine.name,
                "output {}: {} rejects requests with {bytes} bytes of lines (413); from now on requests are half as \
                 large",
                engine.name, self.http.peer.address()
            );
        }
    }
}

/// Waits for `work`, and does in the meantime what is to be done every [`OUTPUT_POLL`]. `None`: stopped; `is_sending`: not at
/// once, but when the time for the last batch is over.
async fn ticking<T, E>(
    engine: &mut Engine,
    connected: Instant,
    is_sending: bool,
    work: impl Future<Output = Result<T, E>>,
) -> Result<Option<T>, E> {
    let mut work = pin!(work);
    loop {
        match first_of(pin!(tokio::time::sleep(OUTPUT_POLL)), work.as_mut()).await {
            First::Right(done) => return done.map(Some),
            First::Left(()) if is_sending => {
                engine.tick(connected, false);
                if engine.is_done(false) {
                    return Ok(None);
                }
            }
            First::Left(()) if engine.is_stopping() => return Ok(None),
            First::Left(()) => engine.update_lag(),
        }
    }
}

fn packed(lines: &Bytes) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 8), Compression::fast());
    // Into memory: it does not fail, and were it so, the server would refuse the rest as no gzip.
    let _ = encoder.write_all(lines);
    encoder.finish().unwrap_or_default().into()
}

/// Each series once: what does not fit in the database comes again with every sample.
fn tell(output: &str, told: &mut HashSet<String>, bad: &Bad) {
    let line = answer::cut(&bad.line);
    let series = series_of(&line).to_owned();
    if told.len() >= INFLUX_BAD_SERIES_TOLD_MAX || !told.insert(series) {
        return;
    }
    let more =
        if bad.lines > 1 { format!(" (and {} more lines with this error)", bad.lines - 1) } else { String::new() };
    tracing::warn!(
        output = %output,
        "output {output}: the server rejects a line, which is skipped{more}: {}: {line}", bad.text
    );
}

/// Measurement and tag set: up to the first space that is not escaped.
fn series_of(line: &str) -> &str {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if c == ' ' && !escaped {
            return &line[..at];
        }
        escaped = c == '\\' && !escaped;
    }
    line
}
