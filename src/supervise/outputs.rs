//! The outputs of a gateway: started, started again when their files were at fault, and stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::source::FollowJournal;
use crate::config::{OutputConfig, OutputKind};
use crate::output::{OutputError, OutputHandle, OutputStats, mqtt};
use crate::serve::{Health, Severity};
use crate::store::JournalReader;

/// Time between attempts to start an output whose certificate or key was refused: someone may mend the file.
const RETRY: Duration = Duration::from_secs(10);

/// All outputs.
pub struct Outputs {
    gateway: String,
    reader: JournalReader,
    health: Arc<Health>,
    stop: Arc<AtomicBool>,
    entries: Vec<Entry>,
}

struct Entry {
    config: OutputConfig,
    stats: Arc<OutputStats>,
    running: Option<OutputHandle>,
    retry_at: Instant,
    trouble: String,
}

impl Outputs {
    /// Starts what can be started. An output that can't is told in the log and in `health`, and tried again:
    /// the field goes on being read, and the journal keeps what the output owes.
    pub fn start(gateway: &str, configs: &[OutputConfig], reader: JournalReader, health: Arc<Health>) -> Outputs {
        let entries = configs
            .iter()
            .map(|config| Entry {
                config: config.clone(),
                stats: Arc::default(),
                running: None,
                retry_at: Instant::now(),
                trouble: String::new(),
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let mut outputs = Outputs { gateway: gateway.to_owned(), reader, health, stop, entries };
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
                tracing::error!("output \"{}\" has ended by itself; starting it again", entry.config.name);
                entry.running = None;
            }
            if entry.running.is_none() && now >= entry.retry_at {
                entry.retry_at = now + RETRY;
                entry.spawn(&self.gateway, &self.reader, &self.stop);
            }
            entry.tell(&self.health);
        }
    }

    /// Lets each deliver what it has, for a bounded time, and waits for their ends.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for entry in &mut self.entries {
            if let Some(handle) = entry.running.take() {
                handle.join();
            }
        }
    }
}

impl Entry {
    fn spawn(&mut self, gateway: &str, reader: &JournalReader, stop: &Arc<AtomicBool>) {
        let source = Box::new(FollowJournal(reader.clone()));
        match spawn(&self.config, gateway, source, self.stats.clone(), stop.clone()) {
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

    fn tell(&self, health: &Health) {
        let part = format!("output {}", self.config.name);
        let last_error = self.stats.last_error();
        if !self.trouble.is_empty() {
            health.set(&part, Severity::Degraded, self.trouble.clone());
        } else if self.stats.state() != crate::output::OutputState::Online && !last_error.is_empty() {
            health.set(&part, Severity::Degraded, last_error);
        } else {
            health.clear(&part);
        }
    }
}

fn spawn(
    config: &OutputConfig,
    gateway: &str,
    source: Box<FollowJournal>,
    stats: Arc<OutputStats>,
    stop: Arc<AtomicBool>,
) -> Result<OutputHandle, OutputError> {
    let OutputKind::Mqtt(mqtt) = &config.kind;
    mqtt::spawn(&config.name, gateway, mqtt, source, stats, stop)
}
