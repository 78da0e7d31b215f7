//! Whether a request is allowed, now.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::book::key;
use super::field::{Field, Reading, Target};
use crate::command::{
    Again, Answer, Bucket, Reason, Refusal, Request, Requester, Seen, TagRates, allowed, json_of, within_step,
};
use crate::config::{WriteConfig, quoted};
use crate::limits::COMMAND_EXPIRES_MAX;
use crate::tag::{Nanos, TagId, Value, utc_text};

/// What is remembered between requests.
pub struct Judge {
    seen: Seen,
    gateway_rate: Bucket,
    writes_per_s: u32,
    tag_rates: TagRates,
    /// Of tags with a largest step: the last write that may have changed the device, until the tag is read again.
    changed: HashMap<TagId, Changed>,
}

struct Changed {
    at: Nanos,
    /// `None`: it is not known what the device took.
    value: Option<Value>,
}

/// A request that is allowed.
#[derive(Debug)]
pub struct Allowed {
    pub target: Target,
    pub limits: WriteConfig,
    pub value: Value,
    pub read_back: bool,
    pub timeout: Duration,
    pub old: Reading,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    Allowed(Box<Allowed>),
    Refused(Answer),
    /// The id was answered before.
    Again(Answer),
    /// The same request is under way.
    UnderWay,
}

impl Judge {
    pub fn new(seen: Seen, writes_per_s: u32, now: Instant) -> Judge {
        Judge {
            seen,
            gateway_rate: Bucket::new(writes_per_s, now),
            writes_per_s,
            tag_rates: TagRates::default(),
            changed: HashMap::new(),
        }
    }

    /// Judges a request. `tag_is_open`: whether a write to that tag is under way.
    pub fn judge(
        &mut self,
        requester: &Requester,
        request: &Request,
        field: &mut impl Field,
        tag_is_open: impl Fn(TagId) -> bool,
        (now, utc_now_ns): (Instant, i64),
    ) -> Verdict {
        match self.again(requester, request, utc_now_ns) {
            None => {}
            Some(Verdict::Refused(answer)) => return Verdict::Refused(answer),
            Some(verdict) => return verdict,
        }
        let mut answer = Answer::of(request.id.clone(), Some(request.tag.clone()), crate::command::Outcome::Refused);
        answer.new = Some(request.value.clone());
        match self.allow(request, field, tag_is_open, now, &mut answer) {
            Ok(allowed) => Verdict::Allowed(Box::new(allowed)),
            Err(Refusal { reason, message }) => {
                let answer = answer.with_reason(reason, message);
                if let Some(id) = &request.id {
                    self.seen.refuse(&key(requester.way.name(), &requester.who), id, answer.clone());
                }
                Verdict::Refused(answer)
            }
        }
    }

    /// Requests that come too late, or again.
    fn again(&self, requester: &Requester, request: &Request, utc_now_ns: i64) -> Option<Verdict> {
        let refused = |reason, message: String| {
            let answer = Answer::refused(request.id.clone(), Some(request.tag.clone()), reason, message);
            Some(Verdict::Refused(Answer { new: Some(request.value.clone()), ..answer }))
        };
        let key = key(requester.way.name(), &requester.who);
        let again = request.id.as_ref().and_then(|id| self.seen.look(&key, id, request.expires_utc_ns));
        let id = request.id.as_deref().unwrap_or_default();
        match again {
            None => {}
            Some(Again::Open) => return Some(Verdict::UnderWay),
            Some(Again::Answered(answer)) if is_same(&answer, request) => {
                return Some(Verdict::Again(Answer { repeated: true, ..*answer }));
            }
            Some(Again::Answered(answer)) => {
                let tag = quoted(answer.tag.as_deref().unwrap_or_default());
                let message = format!("the id {} was used for another write, of tag {tag}", quoted(id));
                return refused(Reason::OldId, message + "; allowed: a unique id for each request");
            }
            Some(Again::Used) => {
                let message = format!("the id {} was used before, and its outcome is no longer known", quoted(id));
                return refused(Reason::OldId, message + "; see `fieldbeat audit`");
            }
            Some(Again::MaybeOlder) => {
                let message = "the request expires as early as others whose ids are no longer stored; it may already \
                               have been executed; allowed: a new id and a later expires";
                return refused(Reason::OldId, message.to_owned());
            }
        }
        let expires = request.expires_utc_ns?;
        let clock = || format!("the gateway's clock is at {}", utc_text(utc_now_ns));
        if expires <= utc_now_ns {
            return refused(Reason::Expired, format!("the request expired at {}; {}", utc_text(expires), clock()));
        }
        let most = COMMAND_EXPIRES_MAX;
        if expires > utc_now_ns.saturating_add(most.as_nanos() as i64) {
            let message = format!("the request expires at {}; {}", utc_text(expires), clock());
            return refused(Reason::Expired, format!("{message}; allowed: up to {} s ahead", most.as_secs()));
        }
        None
    }

    /// What is found on the way goes into `answer`.
    fn allow(
        &mut self,
        request: &Request,
        field: &mut impl Field,
        tag_is_open: impl Fn(TagId) -> bool,
        now: Instant,
        answer: &mut Answer,
    ) -> Result<Allowed, Refusal> {
        let refuse = |reason, message: String| Err(Refusal { reason, message });
        if field.is_changing() {
            return refuse(Reason::Reloading, "a new configuration is being adopted; allowed: retry".to_owned());
        }
        let tag = quoted(&request.tag);
        let Some(target) = field.find(&request.tag) else {
            let guess = field.guess(&request.tag);
            return refuse(Reason::UnknownTag, format!("there is no tag {tag}{guess}"));
        };
        let Some(limits) = target.limits.clone() else {
            let message = format!("the tag {tag} is not writable; allowed: tags with \"write\" in their file");
            return refuse(Reason::ReadOnly, message);
        };
        let old = field.newest(&target);
        answer.old = old.value.as_ref().map(json_of);
        answer.old_status = Some(old.status.name());
        let value = allowed(target.ty, &limits, &request.value)?;
        if tag_is_open(target.id) {
            return refuse(Reason::TooFast, "a write to the tag is in progress; allowed: one at a time".to_owned());
        }
        self.check_step(&limits, &target, &old, &value)?;
        if let Some(wait) = self.tag_rates.wait(&request.tag, now) {
            let message = format!(
                "the tag was written recently; allowed: one write every {} ms, the next in {} ms",
                limits.interval_min.0 / 1_000_000,
                wait.as_millis() + 1
            );
            return refuse(Reason::TooFast, message);
        }
        if !self.gateway_rate.has(now) {
            let message = format!("too many writes to this gateway; allowed: {} a second", self.writes_per_s);
            return refuse(Reason::TooFast, message);
        }
        let tag_timeout = Duration::from_nanos(limits.timeout.0);
        let timeout = request.timeout.unwrap_or(tag_timeout);
        let read_back = request.read_back || limits.read_back;
        Ok(Allowed { target, limits, value, read_back, timeout, old })
    }

    /// Measured from the newest good value: what was read, or what was written since.
    fn check_step(
        &mut self,
        limits: &WriteConfig,
        target: &Target,
        old: &Reading,
        value: &Value,
    ) -> Result<(), Refusal> {
        if limits.step_max.is_none() {
            return Ok(());
        }
        if self.changed.get(&target.id).is_some_and(|changed| changed.at < old.at) {
            self.changed.remove(&target.id);
        }
        match self.changed.get(&target.id) {
            None => within_step(limits, old.value.as_ref().filter(|_| old.status.is_good()), value),
            Some(Changed { value: written, .. }) => within_step(limits, written.as_ref(), value),
        }
    }

    /// The request will be given as an order: it counts for the rates, and its id is used.
    pub fn begin(&mut self, requester: &Requester, request: &Request, limits: &WriteConfig, now: Instant) {
        self.gateway_rate.take(now);
        self.tag_rates.written(&request.tag, now, Duration::from_nanos(limits.interval_min.0));
        if let Some(id) = &request.id {
            self.seen.begin(&key(requester.way.name(), &requester.who), id, request.expires_utc_ns);
        }
    }

    /// It was not given after all.
    pub fn take_back(&mut self, requester: &Requester, answer: &Answer) {
        if let Some(id) = &answer.id {
            self.seen.refuse_begun(&key(requester.way.name(), &requester.who), id, answer.clone());
        }
    }

    /// The order has ended. `written`: what the device took; `None`: nothing, or it is not known (`is_unknown`).
    pub fn end(&mut self, requester: &Requester, answer: &Answer) {
        if let Some(id) = &answer.id {
            self.seen.end(&key(requester.way.name(), &requester.who), id, Some(answer.clone()));
        }
    }

    /// A tag with a largest step has another value in the device than was read; `None`: it is not known which.
    pub fn changed(&mut self, tag: TagId, value: Option<Value>, at: Nanos) {
        self.changed.insert(tag, Changed { at, value });
    }
}

/// Whether an answer is that to such a request.
fn is_same(answer: &Answer, request: &Request) -> bool {
    let same_value = match (&answer.new, &request.value) {
        (Some(Json::Number(a)), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Some(Json::Bool(a)), Json::Number(b)) => b.as_u64() == Some(u64::from(*a)),
        (Some(Json::Number(_)), _) => false,
        // Lists of numbers that were written in another way, and refused values that were cut, are told by their tag.
        (Some(Json::Array(a)), Json::Array(b)) => a.len() == b.len(),
        (Some(a), b) => a == b,
        (None, _) => true,
    };
    same_value && answer.tag.as_ref() == Some(&request.tag)
}
