//! The outputs of a gateway: started, started again when their files were at fault, and stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::command::Desk;
use crate::config::{OutputConfig, OutputKind};
use crate::output::mqtt::MetaBoard;
use crate::output::{Feed, OutputError, OutputHandle, OutputStats, influx, mqtt};
use crate::serve::{Health, Severity};
use crate::store::JournalReader;

/// Time between attempts to start an output whose certificate or key was refused: someone may mend the file.
const RETRY: Duration = Duration::from_secs(10);

/// All outputs.
pub struct Outputs {
    gateway: String,
    reader: JournalReader,
    health: Arc<Health>,
    desk: Desk,
    meta: Arc<MetaBoard>,
    stop: Arc<AtomicBool>,
    entries: Vec<Entry>,
}

struct Entry {
    config: OutputConfig,
    stats: Arc<OutputStats>,
    running: Option<OutputHandle>,
    /// Hears requests to write, where that is switched on.
    commands: Option<OutputHandle>,
    retry_at: Instant,
    trouble: String,
}

impl Outputs {
    /// Starts what can be started. An output that can't is told in the log and in `health`, and tried again:
    /// the field goes on being read, and the journal keeps what the output owes.
    pub fn start(
        gateway: &str,
        configs: &[OutputConfig],
        reader: JournalReader,
        health: Arc<Health>,
        desk: Desk,
        meta: Arc<MetaBoard>,
    ) -> Outputs {
        let entries = configs
            .iter()
            .map(|config| Entry {
                config: config.clone(),
                stats: Arc::default(),
                running: None,
                commands: None,
                retry_at: Instant::now(),
                trouble: String::new(),
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let mut outputs = Outputs { gateway: gateway.to_owned(), reader, health, desk, meta, stop, entries };
        outputs.tend();
        outputs
    }

    /// With their names.
    pub fn stats(&self) -> Vec<(String, Arc<OutputStats>)> {
        self.entries.iter().map(|e| (e.config.name.clone(), e.stats.clone())).collect()
    }

    /// Starts what is not running, when it is due, and tells `health` how each is.
    pub fn tend(&mut self) {
        let now = Instant::now();
        for entry in &mut self.entries {
            if entry.running.as_ref().is_some_and(OutputHandle::is_finished) {
                tracing::error!("output \"{}\" has ended unexpectedly; restarting it", entry.config.name);
                entry.running = None;
            }
            if entry.commands.as_ref().is_some_and(OutputHandle::is_finished) {
                tracing::error!(
                    "the commands of output \"{}\" have ended unexpectedly; restarting them",
                    entry.config.name
                );
                entry.commands = None;
            }
            if (entry.running.is_none() || entry.wants_commands()) && now >= entry.retry_at {
                entry.retry_at = now + RETRY;
                if entry.running.is_none() {
                    entry.spawn(&self.gateway, &self.reader, &self.meta, &self.stop);
                }
                if entry.running.is_some() && entry.wants_commands() {
                    entry.spawn_commands(&self.gateway, &self.desk, &self.stop);
                }
            }
            entry.tell(&self.health);
        }
    }

    /// Lets each deliver what it has, for a bounded time, and waits for their ends.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for entry in &mut self.entries {
            for handle in [entry.running.take(), entry.commands.take()].into_iter().flatten() {
                handle.join();
            }
        }
    }
}

impl Entry {
    fn spawn(&mut self, gateway: &str, reader: &JournalReader, meta: &Arc<MetaBoard>, stop: &Arc<AtomicBool>) {
        let (source, stats) = (Box::new(reader.clone()), self.stats.clone());
        match spawn(&self.config, gateway, source, stats, meta.clone(), stop.clone()) {
            Ok(handle) => {
                self.running = Some(handle);
                self.trouble.clear();
            }
            Err(error) => {
                let trouble = error.to_string();
                if trouble != self.trouble {
                    tracing::error!("output \"{}\": {trouble}", self.config.name);
                    self.trouble = trouble;
                }
            }
        }
    }

    fn wants_commands(&self) -> bool {
        self.config.kind.mqtt().is_some_and(|mqtt| mqtt.commands.is_some()) && self.commands.is_none()
    }

    fn spawn_commands(&mut self, gateway: &str, desk: &Desk, stop: &Arc<AtomicBool>) {
        let Some(mqtt) = self.config.kind.mqtt() else { return };
        match mqtt::spawn_commands(&self.config.name, gateway, mqtt, desk.clone(), stop.clone()) {
            Ok(handle) => self.commands = handle,
            Err(error) => tracing::error!("the commands of output \"{}\": {error}", self.config.name),
        }
    }

    fn tell(&self, health: &Health) {
        let part = format!("output {}", self.config.name);
        let last_error = self.stats.last_error();
        if !self.trouble.is_empty() {
            health.set(&part, Severity::Degraded, self.trouble.clone());
        } else if self.stats.state() != crate::output::OutputState::Online && !last_error.is_empty() {
            health.set(&part, Severity::Degraded, last_error);
        } else if self.stats.server.load(Ordering::Relaxed) > 0 {
            let number = self.stats.server.load(Ordering::Relaxed) + 1;
            health.set(&part, Severity::Degraded, format!("it uses its broker {number}, since: {last_error}"));
        } else {
            health.clear(&part);
        }
    }
}

fn spawn(
    config: &OutputConfig,
    gateway: &str,
    source: Box<JournalReader>,
    stats: Arc<OutputStats>,
    meta: Arc<MetaBoard>,
    stop: Arc<AtomicBool>,
) -> Result<OutputHandle, OutputError> {
    let (name, gateway, choice) = (config.name.clone(), gateway.to_owned(), config.choice.clone());
    let feed = Feed { name, gateway, choice, source, stats, stop };
    match &config.kind {
        OutputKind::Mqtt(mqtt) => mqtt::spawn_with(feed, mqtt, meta),
        OutputKind::Influx(influx) => influx::spawn(feed, influx),
    }
}
