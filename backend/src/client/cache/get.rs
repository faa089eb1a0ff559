//! `forebay cache get`: a request, or its digest -> what is kept of it, as a filter's lookup finds it.

use std::fmt::{Display, Write as _};

use forebay_protocol::digest::{self, Digest, Scope};
use forebay_protocol::entry::Entry;
use forebay_protocol::gate::LOOKUP_PATH;
use forebay_protocol::header::{
    X_FOREBAY_DIGEST, X_FOREBAY_MODEL, X_FOREBAY_SERVICE, X_FOREBAY_TENANT, X_FOREBAY_VERSION,
};
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;
use forebay_protocol::request;
use forebay_protocol::tenant::Tenant;

use super::{Gate, GateError, Status, error};
use crate::client::request::Request;
use crate::settings::{GetSettings, Header};
use crate::time::clock::now_ms;

pub(super) async fn get(settings: &GetSettings) -> Result<String, GateError> {
    let digest = wanted(settings)?;
    let hex = digest.to_string();
    let said = [
        (X_FOREBAY_SERVICE, Some(settings.service.as_str())),
        (X_FOREBAY_MODEL, Some(settings.model.as_str())),
        (X_FOREBAY_VERSION, Some(settings.version.as_str()).filter(|version| !version.is_empty())),
        (X_FOREBAY_TENANT, settings.tenant.as_deref()),
        (X_FOREBAY_DIGEST, Some(hex.as_str())),
    ];
    let said = said.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let header =
        |(name, value): (&str, &str)| format!("{name}: {value}").parse::<Header>().map_err(GateError::Data);
    let mut gate = Gate::open(&settings.gate, said.map(header).collect::<Result<_, _>>()?).await?;
    let request = Request::get(&gate.server, LOOKUP_PATH);
    match gate.ask(request).await? {
        (Status::Http(200), body) => {
            let entry = Entry::decode_plain(body.into());
            let entry = entry.map_err(|error| GateError::Strange(error.to_string()))?;
            Ok(text(&digest, &entry))
        }
        (Status::Http(404), _) => Err(GateError::Nothing),
        (status, body) => Err(GateError::Refused { status: status.to_string(), said: error(&body) }),
    }
}

/// The digest that was said, or that of the request in the file.
fn wanted(settings: &GetSettings) -> Result<Digest, GateError> {
    let Some(path) = &settings.data else {
        return settings.digest.ok_or_else(|| GateError::Data("a file or --digest is expected".to_owned()));
    };
    let wrong = |error: &dyn Display| GateError::Data(format!("{}: {error}", path.display()));
    let json = std::fs::read(path).map_err(|error| wrong(&error))?;
    let of = InferPath { model: &settings.model, version: &settings.version };
    let decoded =
        request::decode(&of, None, &json.into(), &Limits::default()).map_err(|error| wrong(&error))?;
    let tenant = settings.tenant.as_ref().map(Tenant::parse).transpose().map_err(|error| wrong(&error))?;
    let scope = Scope { service: &settings.service, tenant: tenant.as_ref() };
    digest::digest(&scope, &decoded).map_err(|error| wrong(&error))
}

fn text(digest: &Digest, entry: &Entry) -> String {
    let age_s = now_ms().saturating_sub(entry.created_ms) / 1000;
    let generation = entry.generation().map(|generation| generation.to_string()).unwrap_or_default();
    let mut text = format!("digest      {digest}\ngeneration  {generation}\n");
    let stale = if age_s < entry.max_age_s.into() { "" } else { ", stale" };
    let _ = writeln!(text, "age         {age_s} s of {} s{stale}", entry.max_age_s);
    let _ = write!(text, "cost        {} us", entry.cost_us);
    for output in entry.response.iter().flat_map(|response| &response.outputs) {
        let _ = write!(text, "\noutput      {} {} {:?}", output.name, output.datatype, output.shape);
    }
    text
}
