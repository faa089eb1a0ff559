//! Headers in: is it an inference request that can be answered without doubt? Then its body is read; if not, it passes.

use super::{Exchange, State};
use crate::acts::{Act, Acts};
use crate::cache_status::Bypass;
use crate::config::{self, Mode};
use crate::host::{Headers, Host, Of, first, number, values};
use crate::wanted::{Incoming, ModelPath};
use crate::worker::{RouteSettings, Worker};
use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::tenant::Tenant;
use forebay_protocol::{header, request};

impl Exchange {
    pub(super) fn read_headers(&mut self, worker: &mut Worker, host: &dyn Host, end_of_stream: bool) -> Acts {
        let headers = host.headers(Of::Request);
        let acts = self.judge_headers(worker, host, &headers, end_of_stream);
        // What a client says in our name goes, before we speak.
        let mut forged =
            headers.into_iter().map(|(name, _)| name).filter(|name| name.starts_with(header::FOREBAY_PREFIX));
        let Some(first) = forged.next() else { return acts };
        let removals = std::iter::once(first).chain(forged).map(|name| Act::RemoveRequestHeader { name });
        Acts { list: removals.chain(acts.list).collect(), ..acts }
    }

    fn judge_headers(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        headers: &Headers,
        end_of_stream: bool,
    ) -> Acts {
        let Some(path) = infer_path(headers) else {
            self.state = State::Passing(None);
            return Acts::go();
        };
        let route = worker.route(host);
        let tenant = tenant(&worker.config.tenant, host);
        if end_of_stream || route.mode == Mode::Off {
            return self.pass(worker, tenant.unwrap_or_default().as_ref());
        }
        let tenant = match tenant {
            Ok(tenant) => tenant,
            Err(why) => return self.bypass_as(worker, route.service, None, why),
        };
        match incoming(headers, route, path, worker.config.max_body_bytes) {
            Ok(incoming) => {
                self.state = State::Reading(Box::new(Incoming { tenant, ..incoming }));
                Acts::hold()
            }
            Err(why) => self.bypass_as(worker, route.service, tenant.as_ref(), why),
        }
    }
}

/// The scope's tenant.
///
/// # Errors
/// [`Bypass::NoTenant`]: one is needed, and the stream does not have the property that says it.
fn tenant(setting: &config::Tenant, host: &dyn Host) -> Result<Option<Tenant>, Bypass> {
    let tenant = match setting {
        config::Tenant::Fixed(tenant) if tenant.is_empty() => return Ok(None),
        config::Tenant::Fixed(tenant) => Tenant::parse(tenant).ok(),
        config::Tenant::Property { property } => {
            let path: Vec<&str> = property.iter().map(String::as_str).collect();
            host.property(&path).and_then(|value| Tenant::parse(value).ok())
        }
    };
    tenant.map(Some).ok_or(Bypass::NoTenant)
}

/// The path of a `POST` to an infer route in its plain form.
fn infer_path(headers: &Headers) -> Option<ModelPath> {
    if first(headers, ":method")? != b"POST" {
        return None;
    }
    ModelPath::parse(std::str::from_utf8(first(headers, ":path")?).ok()?)
}

fn incoming(
    headers: &Headers,
    route: RouteSettings,
    path: ModelPath,
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
    if number(headers, "content-length").is_some_and(|length: usize| length > max_body_bytes) {
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
