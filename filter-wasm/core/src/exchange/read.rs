//! Headers in: is it an inference request that can be answered without doubt? Then its body is read; if not, it passes.

use super::{Exchange, Flow, Incoming, State};
use crate::cache_status::Bypass;
use crate::config::{self, Mode};
use crate::host::{Headers, Host, first, values};
use crate::worker::{RouteSettings, Worker};
use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::path::InferPath;
use forebay_protocol::tenant::Tenant;
use forebay_protocol::{header, request};

impl Exchange {
    pub(super) fn read_headers(&mut self, worker: &mut Worker, host: &dyn Host, end_of_stream: bool) -> Flow {
        let headers = host.request_headers();
        for (name, _) in headers.iter().filter(|(name, _)| name.starts_with(header::FOREBAY_PREFIX)) {
            host.remove_request_header(name);
        }
        let Some(path) = infer_path(&headers) else {
            self.state = State::Passing(None);
            return Flow::Continue;
        };
        let route = worker.route(host);
        let tenant = tenant(&worker.config.tenant, host);
        if end_of_stream || route.mode == Mode::Off {
            worker.identify(host, tenant.flatten().as_ref());
            self.state = State::Passing(None);
            return Flow::Continue;
        }
        let Some(tenant) = tenant else {
            return self.bypass(worker, host, route.service, None, Bypass::NoTenant);
        };
        match incoming(&headers, route, path, worker.config.max_body_bytes) {
            Ok(incoming) => {
                self.state = State::Reading(Box::new(Incoming { tenant, ..incoming }));
                Flow::Pause
            }
            Err(why) => self.bypass(worker, host, route.service, tenant.as_ref(), why),
        }
    }
}

/// The scope's tenant, or `None` when one is needed and the stream does not have the property that says it.
fn tenant(setting: &config::Tenant, host: &dyn Host) -> Option<Option<Tenant>> {
    match setting {
        config::Tenant::Fixed(tenant) if tenant.is_empty() => Some(None),
        config::Tenant::Fixed(tenant) => Tenant::parse(tenant).ok().map(Some),
        config::Tenant::Property { property } => {
            let path: Vec<&str> = property.iter().map(String::as_str).collect();
            Tenant::parse(host.property(&path)?).ok().map(Some)
        }
    }
}

/// The path of a `POST` to an infer route in its plain form.
fn infer_path(headers: &Headers) -> Option<String> {
    if first(headers, ":method")? != b"POST" {
        return None;
    }
    let path = std::str::from_utf8(first(headers, ":path")?).ok()?;
    InferPath::parse(path)?;
    Some(path.to_owned())
}

fn incoming(
    headers: &Headers,
    route: RouteSettings,
    path: String,
    max_body_bytes: usize,
) -> Result<Incoming, Bypass> {
    let directives = RequestDirectives::parse(values(headers, "cache-control"));
    if directives.no_store {
        return Err(Bypass::NoStore);
    }
    if values(headers, "content-encoding").any(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Bypass::Encoded);
    }
    if values(headers, "content-type").nth(1).is_some() {
        return Err(Bypass::AmbiguousHeaders);
    }
    let length =
        first(headers, "content-length").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > max_body_bytes) {
        return Err(Bypass::BodyTooLarge);
    }
    let header_length = request::header_length(values(headers, header::INFERENCE_HEADER_CONTENT_LENGTH))
        .map_err(|_| Bypass::AmbiguousHeaders)?;
    let copy = |name| first(headers, name).unwrap_or_default().to_vec();
    Ok(Incoming {
        route,
        tenant: None,
        path,
        content_type: copy("content-type"),
        header_length_raw: copy(header::INFERENCE_HEADER_CONTENT_LENGTH),
        header_length,
        accept: values(headers, "accept").collect::<Vec<_>>().join(&b","[..]),
        accept_encoding: values(headers, "accept-encoding").collect::<Vec<_>>().join(&b","[..]),
        directives,
    })
}
