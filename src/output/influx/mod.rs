//! InfluxDB line protocol over HTTP(S), as InfluxDB 1 and 2, VictoriaMetrics and others take it.
//!
//! One request at a time, until it is taken. A repeat writes the same points: same series, same time, same fields; so
//! nothing doubles, whatever happened to the answer. The cursor moves over a batch when all of its lines are taken, or are
//! refused, counted and told.
//!
//! | file | subject |
//! |---|---|
//! | `line` | the protocol's text |
//! | `form` | what is written of a sample |
//! | `held` | at what time the status of a held sample is told |
//! | `parts` | a batch, and the search for its bad lines |
//! | `answer` | what a server's answer means |
//! | `token` | the file with the token |
//! | `worker` | connection, requests, the way out |

mod answer;
mod form;
#[doc(hidden)]
pub mod fuzz;
mod held;
mod line;
mod parts;
mod token;
mod worker;

use std::time::Duration;

use url::form_urlencoded::byte_serialize;

use super::engine::{self, Engine, Feed, GatherSettings};
use super::http::{Http, WORDS};
use super::peer::{Peer, roots_of};
use super::tls::{self, Renewed};
use super::{OutputError, OutputHandle};
use crate::config::{InfluxApi, InfluxConfig, Precision};
use crate::limits::{INFLUX_BODY_BYTES_MAX, INFLUX_LINES_MAX};

use form::InfluxForm;
use worker::{Credentials, Target, Worker};

/// Starts an output. Certificates, keys and the token's file are read and checked here; everything that only the network can
/// tell comes later, in the feed's `stats`. It ends when the feed's `stop` is set: what the journal holds is sent as far as a
/// bounded time allows, the cursor is saved.
///
/// # Errors
/// Files that cannot be used.
pub fn spawn(feed: Feed, config: &InfluxConfig) -> Result<OutputHandle, OutputError> {
    let (target, credentials) = target(config);
    if let Credentials::Token { file } = &credentials {
        token::read(file)?;
    }
    let tls = config.tls.as_ref().map(tls::client_config).transpose()?;
    let peer = Peer {
        words: WORDS,
        host: config.host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: config.port,
        roots: config.tls.as_ref().map(roots_of),
        has_certificate: config.tls.as_ref().is_some_and(|tls| tls.cert.is_some()),
        user: None,
        client_id: String::new(),
    };
    let timeout = Duration::from_nanos(config.timeout.0).max(Duration::from_secs(1));
    let http = Http::new(peer, Renewed::new(config.tls.clone(), tls), timeout);
    let lines_max = config.lines_max.clamp(1, INFLUX_LINES_MAX as u32);
    let settings = GatherSettings::new(config.batch, INFLUX_BODY_BYTES_MAX, lines_max);
    let form = InfluxForm::new(config, &feed.gateway);
    let worker = Worker::new(http, target, credentials, INFLUX_BODY_BYTES_MAX);
    engine::start(format!("influx-{}", feed.name), Engine::new(form, settings, feed), worker)
}

/// Checks certificates, keys and the token's file as [`spawn`] does, and starts nothing.
///
/// # Errors
/// What `spawn` would refuse.
pub fn check_files(config: &InfluxConfig) -> Result<(), OutputError> {
    if let InfluxApi::V2 { token_file, .. } = &config.api {
        token::read(token_file)?;
    }
    config.tls.as_ref().map(tls::client_config).transpose().map(|_| ())
}

fn target(config: &InfluxConfig) -> (Target, Credentials) {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let (path, query, store, credentials) = match &config.api {
        InfluxApi::V1 { database, user, password } => {
            let precision = match config.precision {
                Precision::Nanoseconds => "n",
                Precision::Microseconds => "u",
                Precision::Milliseconds => "ms",
                Precision::Seconds => "s",
            };
            let credentials = match user {
                Some(user) => Credentials::User { user: user.clone(), password: password.clone().unwrap_or_default() },
                None => Credentials::None,
            };
            let query = format!("db={}&precision={precision}", encoded(database));
            ("/write", query, format!("database {database:?}"), credentials)
        }
        InfluxApi::V2 { org, bucket, token_file } => {
            let precision = match config.precision {
                Precision::Nanoseconds => "ns",
                Precision::Microseconds => "us",
                Precision::Milliseconds => "ms",
                Precision::Seconds => "s",
            };
            let query = format!("org={}&bucket={}&precision={precision}", encoded(org), encoded(bucket));
            let store = format!("bucket {bucket:?} of organisation {org:?}");
            ("/api/v2/write", query, store, Credentials::Token { file: token_file.clone() })
        }
    };
    let path = format!("{}{path}", config.path);
    let target = Target { path_and_query: format!("{path}?{query}"), path, store, gzip: config.gzip };
    (target, credentials)
}
