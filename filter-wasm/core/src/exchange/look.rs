//! The body is there: exact repeat? parse, digest, L1; else join, ask the gate, or go upstream.

use super::{Exchange, Flow, Incoming, Parsed, State, Wanted};
use crate::cache_status::{Bypass, CacheStatus};
use crate::config::Mode;
use crate::counters::{Event, Result as Counted};
use crate::host::Host;
use crate::join::{Entered, Outcome};
use crate::l1::{Answer, AnswerKey, Tier, answer_key};
use crate::live::Asked;
use crate::reply::{reply, reply_unsatisfiable};
use crate::worker::Worker;
use bytes::Bytes;
use forebay_protocol::digest::{RawKeyParts, Scope, Uncacheable, digest, raw_key};
use forebay_protocol::entry::Entry;
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;
use forebay_protocol::tenant::Tenant;
use forebay_protocol::wants::Wants;
use forebay_protocol::{gate, header, request, response};
use std::rc::Rc;

/// Why a stored answer can't be given.
#[derive(Clone, Copy)]
struct Unusable {
    fwd: &'static str,
    detail: Option<&'static str>,
}

/// A stored answer that may be given.
struct Hit {
    answer: Rc<Answer>,
    tier: Tier,
    ttl_s: u64,
    now_ms: u64,
}

impl Exchange {
    pub(super) fn look(&mut self, worker: &mut Worker, host: &dyn Host, size: usize) -> Flow {
        let State::Reading(incoming) = std::mem::replace(&mut self.state, State::Done) else {
            return Flow::Continue;
        };
        let Some(body) = host.request_body(size).filter(|body| body.len() == size) else {
            let (service, tenant) = (incoming.route.service, incoming.tenant.as_ref());
            return self.bypass(worker, host, service, tenant, Bypass::Malformed);
        };
        let raw_key = incoming.raw_key(worker, &body);
        let now_ms = host.now_ms();
        if incoming.looks_up()
            && incoming.route.mode == Mode::On
            && let Some(answer) = worker.l1.repeat(&raw_key)
            && let Ok(ttl_s) = usable(worker, &incoming, &answer, now_ms)
        {
            worker.counters.request(incoming.route.service, Counted::HitRaw);
            reply(host, self.context, &answer, "", CacheStatus::Hit { ttl_s, tier: "raw" }, now_ms);
            return Flow::Pause;
        }
        let (service, tenant) = (incoming.route.service, incoming.tenant.clone());
        match understand(worker, *incoming, raw_key, body) {
            Ok(wanted) => self.look_up(worker, host, Box::new(wanted), now_ms),
            Err(why) => self.bypass(worker, host, service, tenant.as_ref(), why),
        }
    }

    /// L1 by digest, then join.
    fn look_up(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut wanted: Box<Wanted>,
        now_ms: u64,
    ) -> Flow {
        if !wanted.incoming.looks_up() {
            wanted.fwd = "request";
            return self.forward(worker, host, wanted);
        }
        if let Some((answer, tier)) = worker.l1.find(host, &wanted.key) {
            match usable(worker, &wanted.incoming, &answer, now_ms) {
                Ok(ttl_s) if !Self::is_shadow(&wanted) => {
                    return self.answer(worker, host, &wanted, &Hit { answer, tier, ttl_s, now_ms });
                }
                Ok(_) => wanted.shadow = Some(answer),
                Err(Unusable { fwd, detail }) => (wanted.fwd, wanted.detail) = (fwd, detail),
            }
        }
        if !Self::is_shadow(&wanted) && !wanted.incoming.directives.only_if_cached {
            match worker.join.enter(wanted.key, self.context, wanted.id(), wanted.body_bytes, now_ms) {
                Entered::Leads => wanted.leads = true,
                Entered::Alone(why) => wanted.detail = Some(why),
                Entered::Waits => {
                    worker.identify(host, wanted.incoming.tenant.as_ref());
                    self.state = State::Waiting(wanted);
                    return Flow::Pause;
                }
            }
        }
        self.ask(worker, host, wanted, now_ms)
    }

    fn answer(&mut self, worker: &mut Worker, host: &dyn Host, wanted: &Wanted, hit: &Hit) -> Flow {
        let (counted, tier) = match hit.tier {
            Tier::Vm => (Counted::HitVm, "vm"),
            Tier::Shared => (Counted::HitShared, "shared"),
        };
        if let Some(raw_key) = wanted.raw_key {
            worker.l1.alias(raw_key, wanted.key);
        }
        worker.counters.request(wanted.incoming.route.service, counted);
        let status = CacheStatus::Hit { ttl_s: hit.ttl_s, tier };
        reply(host, self.context, &hit.answer, wanted.id(), status, hit.now_ms);
        Flow::Pause
    }

    /// The L2 callout, where there is a gate to ask and it is worth asking.
    fn ask(&mut self, worker: &mut Worker, host: &dyn Host, wanted: Box<Wanted>, now_ms: u64) -> Flow {
        let (Some(settings), Some(parsed)) = (&worker.config.gate, &wanted.parsed) else {
            return self.forward(worker, host, wanted);
        };
        let Some(path) = InferPath::parse(&wanted.incoming.path) else {
            return self.forward(worker, host, wanted);
        };
        if wanted.shadow.is_some() || settings.skip_models.iter().any(|model| model == path.model) {
            return self.forward(worker, host, wanted);
        }
        if !worker.breaker.admits(now_ms) {
            worker.counters.event(Event::GateSkipped);
            return self.forward(worker, host, wanted);
        }
        let digest = parsed.digest.to_string();
        let mut headers = vec![
            (header::X_FOREBAY_SERVICE, worker.service(wanted.incoming.route.service)),
            (header::X_FOREBAY_TENANT, wanted.incoming.tenant.as_ref().map_or("", Tenant::as_str)),
            (header::X_FOREBAY_MODEL, path.model),
            (header::X_FOREBAY_VERSION, path.version),
            (header::X_FOREBAY_DIGEST, &digest),
            (header::X_FOREBAY_TOKEN, &settings.token),
        ];
        headers.retain(|(_, value)| !value.is_empty());
        let Some(token) = host.call(&settings.cluster, gate::LOOKUP_PATH, &headers, settings.timeout_ms)
        else {
            worker.breaker.failed(now_ms);
            worker.counters.event(Event::GateFailed);
            return self.forward(worker, host, wanted);
        };
        self.state = State::Asking(wanted, token);
        Flow::Pause
    }

    /// The gate's answer: an entry to answer from, or on to the upstream.
    pub(super) fn looked_up(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut wanted: Box<Wanted>,
        body_size: Option<usize>,
    ) {
        let now_ms = host.now_ms();
        let status = body_size.and_then(|_| host.call_status());
        if matches!(status, Some(200 | 404)) {
            worker.breaker.succeeded();
        } else {
            worker.breaker.failed(now_ms);
            worker.counters.event(Event::GateFailed);
            wanted.detail = Some("gate-failed");
        }
        let entry = body_size.filter(|_| status == Some(200)).map(|size| host.call_body(size));
        let answer = entry.and_then(|entry| from_entry(&wanted, Bytes::from(entry), now_ms)).map(Rc::new);
        let usable =
            answer.and_then(|answer| Some((usable(worker, &wanted.incoming, &answer, now_ms).ok()?, answer)));
        let Some((ttl_s, answer)) = usable else {
            return self.go_on(worker, host, wanted);
        };
        if let Some(raw_key) = wanted.raw_key {
            worker.l1.alias(raw_key, wanted.key);
        }
        worker.l1.store(host, wanted.key, &answer);
        if Self::is_shadow(&wanted) {
            wanted.shadow = Some(answer);
            return self.go_on(worker, host, wanted);
        }
        worker.counters.request(wanted.incoming.route.service, Counted::HitL2);
        reply(host, self.context, &answer, wanted.id(), CacheStatus::Hit { ttl_s, tier: "l2" }, now_ms);
        if wanted.leads {
            worker.join.finish(&wanted.key, self.context, &Outcome::Answer(answer), now_ms);
            worker.release_soon(host);
        }
    }

    fn go_on(&mut self, worker: &mut Worker, host: &dyn Host, wanted: Box<Wanted>) {
        if self.forward(worker, host, wanted) == Flow::Continue {
            host.resume(self.context);
        }
    }

    /// On to the upstream, unless the client wants nothing but a cached answer.
    fn forward(&mut self, worker: &mut Worker, host: &dyn Host, wanted: Box<Wanted>) -> Flow {
        let service = wanted.incoming.route.service;
        if wanted.incoming.directives.only_if_cached && !Self::is_shadow(&wanted) {
            worker.counters.request(service, Counted::Unsatisfiable);
            let status = CacheStatus::Miss { fwd: wanted.fwd, stored: false, detail: Some("only-if-cached") };
            reply_unsatisfiable(host, self.context, status);
            return Flow::Pause;
        }
        worker.counters.request(service, Counted::Miss);
        worker.identify(host, wanted.incoming.tenant.as_ref());
        self.state = State::Forwarding(wanted);
        Flow::Continue
    }
}

impl Incoming {
    /// May a stored answer be given at all?
    fn looks_up(&self) -> bool {
        !self.directives.no_cache
    }

    fn scope<'a>(&'a self, worker: &'a Worker) -> Scope<'a> {
        Scope { service: worker.service(self.route.service), tenant: self.tenant.as_ref() }
    }

    fn raw_key(&self, worker: &Worker, body: &[u8]) -> AnswerKey {
        raw_key(&RawKeyParts {
            scope: self.scope(worker),
            path: &self.path,
            content_type: &self.content_type,
            header_length: &self.header_length_raw,
            accept: &self.accept,
            accept_encoding: &self.accept_encoding,
            body,
        })
    }
}

/// Parses and digests; JSON over the limit keeps its raw key as the only name of its answer.
fn understand(
    worker: &Worker,
    incoming: Incoming,
    raw_key: AnswerKey,
    body: Vec<u8>,
) -> Result<Wanted, Bypass> {
    let body_bytes = body.len();
    let json_bytes = incoming.header_length.unwrap_or(body_bytes);
    if json_bytes > body_bytes {
        return Err(Bypass::Malformed);
    }
    let (key, raw_key, parsed) = if json_bytes > worker.config.max_json_bytes {
        if memchr::memmem::find(&body, b"\"id\"").is_some() {
            return Err(Bypass::JsonTooLarge);
        }
        (raw_key, Some(raw_key), None)
    } else {
        let path = InferPath::parse(&incoming.path).ok_or(Bypass::Malformed)?;
        let limits = Limits { max_body_bytes: worker.config.max_body_bytes, ..Limits::default() };
        let request = request::decode(&path, incoming.header_length, &Bytes::from(body), &limits)
            .map_err(|_| Bypass::Malformed)?;
        let digest = digest(&incoming.scope(worker), &request).map_err(|why| match why {
            Uncacheable::SharedMemory => Bypass::SharedMemory,
            Uncacheable::Sequence => Bypass::Sequence,
            Uncacheable::NotCanonical { .. } => Bypass::Malformed,
        })?;
        let wants = Wants::of(&request);
        let raw_key = request.id.is_empty().then_some(raw_key);
        (answer_key(&digest, &wants), raw_key, Some(Parsed { digest, wants, id: request.id }))
    };
    Ok(Wanted {
        incoming,
        key,
        raw_key,
        body_bytes,
        parsed,
        fwd: "miss",
        detail: None,
        leads: false,
        shadow: None,
    })
}

/// How long `answer` may be given to this request, in seconds, or why it may not.
fn usable(worker: &Worker, incoming: &Incoming, answer: &Answer, now_ms: u64) -> Result<u64, Unusable> {
    let ttl_s = answer.ttl_s(now_ms).ok_or(Unusable { fwd: "stale", detail: None })?;
    if incoming.directives.max_age.is_some_and(|max| answer.age_s(now_ms) > u64::from(max)) {
        return Err(Unusable { fwd: "request", detail: None });
    }
    let Some(gate) = &worker.config.gate else { return Ok(ttl_s) };
    let gone = Unusable { fwd: "miss", detail: Some("generation-gone") };
    let path = InferPath::parse(&incoming.path).ok_or(gone)?;
    let asked =
        Asked { service: worker.service(incoming.route.service), model: path.model, version: path.version };
    let unverified_ms = worker.config.l1.unverified_max_age_ms;
    if worker.live.allows(answer, asked, now_ms, gate.stale_ms, unverified_ms) {
        Ok(ttl_s)
    } else {
        Err(gone)
    }
}

/// A pool entry, encoded as this request wants it.
fn from_entry(wanted: &Wanted, entry: Bytes, now_ms: u64) -> Option<Answer> {
    let entry = Entry::decode_plain(entry).ok()?;
    let parsed = wanted.parsed.as_ref()?;
    let encoded = response::encode(&entry.response?, &parsed.wants, "").ok()?;
    Some(Answer {
        generation: entry.generation.as_ref().try_into().ok().map(forebay_protocol::digest::Generation),
        created_ms: entry.created_ms,
        stored_ms: now_ms,
        max_age_s: entry.max_age_s,
        header_length: encoded.header_length,
        verbatim: false,
        body: encoded.body,
    })
}
