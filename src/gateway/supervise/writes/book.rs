//! The audit as the service keeps it: what becomes durable when, floods, and ids from before the start.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::command::{Answer, Bucket, Outcome, Reason, Requester, Seen};
use crate::limits::{COMMAND_EXPIRES_MAX, REFUSALS_RECORDED_PER_S, WRITES_SEEN_MAX};
use crate::store::{AuditLog, AuditOutcome, AuditRecord, JournalError, JournalReader};

/// How long refusals wait for a commit that happens anyway.
const REFUSALS_WAIT: Duration = Duration::from_secs(1);
/// Of a refused value, which may be anything.
const REFUSED_VALUE_BYTES_MAX: usize = 256;

/// See the module.
pub struct Book {
    log: AuditLog,
    /// Orders that ended, by the number of their record.
    ended: Vec<(u64, AuditRecord)>,
    refused: Vec<AuditRecord>,
    refused_since: Option<Instant>,
    allowed: Bucket,
    /// Refusals that are not recorded one by one.
    more: u64,
    /// The error that was last logged and is not over.
    told: Option<String>,
}

pub fn utc_now_ns() -> i64 {
    crate::hub::clock_pair().utc_ns
}

/// What is known of a request when it was judged.
pub fn record_of(requester: &Requester, answer: &Answer) -> AuditRecord {
    let json = |json: &Option<Json>| json.as_ref().map_or_else(String::new, Json::to_string);
    let mut new = json(&answer.new);
    if answer.outcome == Outcome::Refused && new.len() > REFUSED_VALUE_BYTES_MAX {
        new.truncate(new.floor_char_boundary(REFUSED_VALUE_BYTES_MAX));
        new.push('…');
    }
    let now_ns = utc_now_ns();
    AuditRecord {
        outcome: match answer.outcome {
            Outcome::Done => AuditOutcome::Done,
            Outcome::Refused => AuditOutcome::Refused,
            Outcome::Failed => AuditOutcome::Failed,
        },
        asked_utc_ns: now_ns,
        ended_utc_ns: now_ns,
        way: requester.way.name().to_owned(),
        who: requester.who.clone(),
        from: requester.from.clone(),
        request: answer.id.clone().unwrap_or_default(),
        tag: answer.tag.clone().unwrap_or_default(),
        old: json(&answer.old),
        old_status: None,
        new,
        back: json(&answer.read_back),
        reason: answer.reason.unwrap_or_default().to_owned(),
        message: answer.message.clone().unwrap_or_default(),
    }
}

impl Book {
    pub fn new(log: AuditLog, now: Instant) -> Book {
        Book {
            log,
            ended: Vec::new(),
            refused: Vec::new(),
            refused_since: None,
            allowed: Bucket::new(REFUSALS_RECORDED_PER_S, now),
            more: 0,
            told: None,
        }
    }

    /// A request was refused; it is recorded with what is recorded next.
    pub fn refused(&mut self, record: AuditRecord, now: Instant) {
        self.refused_since.get_or_insert(now);
        if self.allowed.take(now) {
            self.refused.push(record);
        } else {
            self.more += 1;
        }
    }

    /// So many were refused of which nothing more is known.
    pub fn refused_more(&mut self, count: u64, now: Instant) {
        if count > 0 {
            self.refused_since.get_or_insert(now);
            self.more += count;
        }
    }

    /// An order ended; [`Book::commit`] makes that durable.
    pub fn ended(&mut self, number: u64, record: AuditRecord) {
        self.ended.push((number, record));
    }

    /// Whether something waits for a commit, and should wait no longer.
    pub fn is_due(&self, now: Instant) -> bool {
        let waited = |since| now.saturating_duration_since(since) >= REFUSALS_WAIT;
        !self.ended.is_empty() || self.refused_since.is_some_and(waited)
    }

    /// When something will be due, at the latest.
    pub fn due_in(&self, now: Instant) -> Option<Duration> {
        self.refused_since.map(|since| (since + REFUSALS_WAIT).saturating_duration_since(now))
    }

    /// Makes everything that waits durable, and `begun` before all orders that it stands for. The number of the first
    /// of `begun`; the others follow.
    ///
    /// # Errors
    /// Nothing is durable. What waited is told in the log, and given up.
    pub fn commit(&mut self, begun: &[AuditRecord]) -> Result<u64, JournalError> {
        let mut new = begun.to_vec();
        new.append(&mut self.refused);
        let now_ns = utc_now_ns();
        if self.more > 0 {
            new.push(AuditRecord {
                outcome: AuditOutcome::Summary,
                asked_utc_ns: now_ns,
                ended_utc_ns: now_ns,
                request: self.more.to_string(),
                message: "more requests were refused than are recorded individually".to_owned(),
                ..AuditRecord::default()
            });
        }
        let ended = std::mem::take(&mut self.ended);
        self.refused_since = None;
        self.more = 0;
        let committed = self.log.commit(&new, &ended);
        match &committed {
            Ok(_) => {
                if self.told.take().is_some() {
                    tracing::info!("the audit log records writes again");
                }
            }
            Err(error) => {
                for (number, record) in &ended {
                    tracing::error!(
                        "the outcome of write {number} is not recorded: tag \"{}\", {}",
                        record.tag,
                        record.outcome.name()
                    );
                }
                let text = error.to_string();
                if self.told.as_ref() != Some(&text) {
                    tracing::error!("writes are refused because the audit log can't record them: {text}");
                    self.told = Some(text);
                }
            }
        }
        committed
    }
}

/// The ids that were used before the start, with their answers, as far back as a request can be alive.
pub fn seen_before(reader: &JournalReader) -> Result<Seen, JournalError> {
    let tail = reader.audit(WRITES_SEEN_MAX)?;
    let mut seen = Seen::default();
    if let Some((number, oldest)) = tail.records.first()
        && *number > 0
    {
        // Whatever was asked for before that has expired by then.
        seen.forget_until(oldest.asked_utc_ns.saturating_add(COMMAND_EXPIRES_MAX.as_nanos() as i64));
    }
    for (_, record) in tail.records {
        if record.request.is_empty() || record.outcome == AuditOutcome::Summary {
            continue;
        }
        let key = key(&record.way, &record.who);
        let answer = answer_of(&record);
        if record.outcome == AuditOutcome::Refused {
            answer.into_iter().for_each(|answer| seen.refuse(&key, &record.request, answer));
        } else {
            seen.begin(&key, &record.request, None);
            seen.end(&key, &record.request, answer);
        }
    }
    Ok(seen)
}

/// Under which ids are remembered.
pub fn key(way: &str, who: &str) -> String {
    format!("{way} {who}")
}

/// The answer that a record stands for; `None` while it is open.
fn answer_of(record: &AuditRecord) -> Option<Answer> {
    let json = |text: &str| serde_json::from_str::<Json>(text).ok();
    let outcome = match record.outcome {
        AuditOutcome::Done => Outcome::Done,
        AuditOutcome::Refused => Outcome::Refused,
        AuditOutcome::Failed => Outcome::Failed,
        AuditOutcome::Open | AuditOutcome::Summary => return None,
    };
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(Answer {
        reason: Reason::ALL.iter().map(|reason| reason.word()).find(|word| *word == record.reason),
        message: text(&record.message),
        old: json(&record.old),
        old_status: record.old_status.map(|status| status.name()),
        new: json(&record.new),
        read_back: json(&record.back),
        ..Answer::of(text(&record.request), text(&record.tag), outcome)
    })
}
