//! A small HTTP/1.1 client: a request enters; status, the headers asked for, and the body leave.

use std::time::Duration;

use anyhow::{Context, Result};

/// Long enough for the first inference of a large model on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client that keeps its connections.
pub(crate) struct Client(ureq::Agent);

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// All `Cache-Status` lines, joined to one list.
    pub(crate) cache_status: String,
    /// Bytes of JSON before binary tensors, if there are any.
    pub(crate) json_length: Option<usize>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// What the cache nearest to the client says: it comes last (RFC 9211).
    pub(crate) fn nearest_cache(&self) -> &str {
        self.cache_status.rsplit(',').next().unwrap_or_default().trim()
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        // The environment may name a proxy for the set-up's downloads; our own ports are never behind it.
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        Self(config.timeout_global(Some(TIMEOUT)).build().into())
    }

    /// # Errors
    /// Nothing answers there.
    pub(crate) fn get(&self, url: &str) -> Result<Answer> {
        answer(self.0.get(url).call().with_context(|| format!("GET {url}"))?)
    }

    /// # Errors
    /// Nothing answers there.
    pub(crate) fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let request =
            headers.iter().fold(self.0.post(url), |request, (name, value)| request.header(*name, *value));
        answer(request.send(body).with_context(|| format!("POST {url}"))?)
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer> {
    let lines = response.headers().get_all("cache-status").iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let (status, cache_status) = (response.status().as_u16(), lines.join(", "));
    let json_length = response.headers().get("inference-header-content-length");
    let json_length = json_length.and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(Answer { status, cache_status, json_length, body: response.body_mut().read_to_vec()? })
}
