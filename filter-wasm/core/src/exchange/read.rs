//! Headers in: is it an inference request that can be answered without doubt? Then its body is read; if not, it passes.

use super::{Exchange, State};
use crate::acts::{Act, Acts};
use crate::cache_status::Bypass;
use crate::config::{Authorization, Config, Cookie, Grpc, Hold, Mode, Tenancy};
use crate::encoding;
use crate::host::{Headers, Host, Of};
use crate::wanted::{Deadline, Incoming, ModelPath};
use crate::worker::{RouteSettings, Worker};
use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::field_value::content_length;
use forebay_protocol::tenant::Tenant;
use forebay_protocol::{call, header, request};

/// A property that says `yes` where a `buffer` filter comes behind this one: filter state, which no client can set.
pub const BUFFERED: [&str; 2] = ["filter_state", "forebay.buffered"];

impl Exchange {
    pub(super) fn read_headers(&mut self, worker: &mut Worker, host: &dyn Host, end_of_stream: bool) -> Acts {
        let headers = host.headers(Of::Request);
        let acts = self.judge_headers(worker, host, &headers, end_of_stream);
        // What a client says in our name goes, before we speak.
        let names = headers.iter().map(|(name, _)| name);
        let mut forged = names.filter(|name| name.starts_with(header::FOREBAY_PREFIX.as_bytes())).peekable();
        if forged.peek().is_none() {
            return acts;
        }
        let text = |name| String::from_utf8_lossy(name).into_owned();
        let mut removals = Acts::go();
        forged.for_each(|name| removals.push(Act::RemoveRequestHeader { name: text(name) }));
        removals.before(acts)
    }

    fn judge_headers(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        headers: &Headers,
        end_of_stream: bool,
    ) -> Acts {
        let answers_calls = worker.config.grpc == Grpc::Answer && !worker.passes_calls;
        let path = infer_path(headers, answers_calls);
        // Without tenants and on-demand backends nothing is to be said of a request that is not for us.
        let says_nothing =
            worker.config.tenancy == Tenancy::None && worker.config.backends.on_demand.is_empty();
        if path.is_none() && says_nothing {
            self.state = State::Passing(None);
            return Acts::go();
        }
        let route = worker.route(host);
        let tenant = worker.tenant(route, host);
        let mut told = Acts::go();
        worker.identify(&mut told, tenant.as_ref().and_then(Option::as_ref));
        Self::tell_path(worker, route.service, headers, &mut told);
        let acts = match (path.filter(|_| !end_of_stream && route.mode != Mode::Off), tenant) {
            (None, _) => self.pass(),
            (Some(_), None) => self.bypass(worker, route.service, Bypass::NoTenant),
            (Some(path), Some(tenant)) => self.judge_infer(worker, host, headers, (route, tenant, path)),
        };
        let acts = if end_of_stream { acts } else { self.await_name(worker, route.service, headers, acts) };
        // Now, while its headers can be changed: it may be the tick that lets it go on.
        told.before(acts)
    }

    fn judge_infer(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        headers: &Headers,
        (route, tenant, path): (RouteSettings, Option<Tenant>, ModelPath),
    ) -> Acts {
        let at_headers = worker.config.hold == Hold::Headers;
        if !at_headers && host.property(&BUFFERED).is_none_or(|said| said != b"yes") {
            return self.bypass(worker, route.service, Bypass::NotBuffered);
        }
        let now_ms = host.now_ms();
        match incoming(headers, route, path, (worker, now_ms)) {
            Ok(incoming) => {
                let held = worker.memory.hold();
                let arriving = worker.arrivals.begin(self.context, route.service, held, now_ms);
                self.state = State::Reading(Box::new(Incoming { tenant, ..incoming }), arriving);
                if at_headers { Acts::hold() } else { Acts::go() }
            }
            Err(why) => self.bypass(worker, route.service, why),
        }
    }
}

/// The path of a `POST` to an infer route, or of a call for an inference where such are answered.
fn infer_path(headers: &Headers, answers_calls: bool) -> Option<ModelPath> {
    if headers.first(":method")? != b"POST" {
        return None;
    }
    let path = std::str::from_utf8(headers.first(":path")?).ok()?;
    if path != call::INFER {
        return ModelPath::parse(path);
    }
    let is_call = headers.first("content-type").is_some_and(call::is_content_type);
    (is_call && answers_calls).then(ModelPath::of_call)
}

/// Which trace the request is of (W3C Trace Context), in the one form that there is; what else it may be is not passed on.
fn traceparent(headers: &Headers) -> &[u8] {
    const FORM: &[u8] = b"00-00000000000000000000000000000000-0000000000000000-00";
    let is_one = |value: &&[u8]| {
        let fits = |(byte, form): (&u8, &u8)| match form {
            b'-' => byte == form,
            _ => byte.is_ascii_hexdigit(),
        };
        value.len() == FORM.len() && value.iter().zip(FORM).all(fits)
    };
    headers.first(header::TRACEPARENT).filter(is_one).unwrap_or_default()
}

fn incoming(
    headers: &Headers,
    route: RouteSettings,
    path: ModelPath,
    (worker, now_ms): (&Worker, u64),
) -> Result<Incoming, Bypass> {
    let config = &worker.config;
    let directives = RequestDirectives::parse(headers.values("cache-control"));
    if directives.no_store {
        return Err(Bypass::NoStore);
    }
    if headers.values("content-encoding").any(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Bypass::Encoded);
    }
    let is_gzip = |encoding: &[u8]| encoding == encoding::grpc::GZIP || encoding == b"identity";
    if path.is_call() && !headers.values(call::ENCODING).all(is_gzip) {
        return Err(Bypass::Encoded);
    }
    let timeout = headers.first(call::TIMEOUT).filter(|_| path.is_call());
    let timeout =
        timeout.map(|timeout| call::timeout(timeout).ok_or(Bypass::AmbiguousHeaders)).transpose()?;
    let passed_ms = worker.clock.without_leaps(now_ms);
    let deadline = timeout
        .map(|timeout| Deadline::after(passed_ms, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)));
    if headers.values("content-type").nth(1).is_some() || headers.values(call::ENCODING).nth(1).is_some() {
        return Err(Bypass::AmbiguousHeaders);
    }
    let length = content_length(headers.values("content-length"));
    if length.is_some_and(|length| length > config.max_body_bytes) {
        return Err(Bypass::BodyTooLarge);
    }
    let header_length = request::header_length(headers.values(header::INFERENCE_HEADER_CONTENT_LENGTH))
        .map_err(|_| Bypass::AmbiguousHeaders)?;
    let copy = |name| headers.first(name).unwrap_or_default().to_vec();
    // An answer to a call is as it is whatever the call says it accepts.
    let accepted = |name| if path.is_call() { Vec::new() } else { joined(headers, name) };
    let incoming = Incoming {
        route,
        tenant: None,
        restricted: restricted(headers, config),
        content_type: copy("content-type"),
        header_length_raw: copy(header::INFERENCE_HEADER_CONTENT_LENGTH),
        header_length,
        accept: accepted("accept"),
        accept_encoding: accepted("accept-encoding"),
        deadline,
        is_told: false,
        path,
        traceparent: traceparent(headers).to_vec(),
        directives,
        held: worker.memory.hold(),
    };
    if incoming.takes_room() { Ok(incoming) } else { Err(Bypass::OutOfMemory) }
}

/// Does the request carry what forbids shared caching, unless the answer allows it?
fn restricted(headers: &Headers, config: &Config) -> bool {
    let has = |name| headers.first(name).is_some();
    (config.authorization == Authorization::Forbids && has("authorization"))
        || (config.cookie == Cookie::Forbids && has("cookie"))
}

/// All values of a list.
fn joined(headers: &Headers, name: &str) -> Vec<u8> {
    let mut values = headers.values(name);
    let mut all = values.next().unwrap_or_default().to_vec();
    for value in values {
        all.push(b',');
        all.extend_from_slice(value);
    }
    all
}
