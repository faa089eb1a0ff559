//! What a test sends and sees: requests, what went upstream, what came back, callouts.

/// A header list in order; names lower-case, values any bytes.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A request's context in its VM. Never used twice.
pub type StreamId = u32;

/// The first value of header `name`, as text.
pub(crate) fn text<'a>(headers: &'a Headers, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| String::from_utf8_lossy(value))
}

/// A request to be.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    pub(crate) length: bool,
}

impl Request {
    /// `POST path`.
    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// Any method.
    pub fn new(method: &str, path: &str) -> Self {
        let pseudo = [(":method", method), (":path", path), (":authority", "test"), (":scheme", "http")];
        let headers = pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        Self { headers, body: Vec::new(), properties: Vec::new(), length: true }
    }

    /// Adds a header; the same name again makes a second line of it.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets a header, of any bytes, that is there already.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        self.headers
            .iter_mut()
            .filter(|(held, _)| held == name)
            .for_each(|(_, held)| held.clone_from(&value));
    }

    /// The body as it will be sent.
    pub fn sent(&self) -> &[u8] {
        &self.body
    }

    /// The body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sent chunked: without `content-length`.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.length = false;
        self
    }

    /// A property of the stream, by its path joined with dots.
    #[must_use]
    pub fn property(mut self, path: &str, value: &str) -> Self {
        self.properties.push((path.to_owned(), value.as_bytes().to_vec()));
        self
    }
}

/// What the upstream got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The headers when they went.
    pub headers: Headers,
    /// The body so far.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Headers,
    /// Nothing more comes.
    pub ended: bool,
}

impl Forwarded {
    /// The first value of header `name`.
    pub fn header(&self, name: &str) -> Option<String> {
        text(&self.headers, name).map(Into::into)
    }
}

/// What the client got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// The headers, without `:status`.
    pub headers: Headers,
    /// The body so far.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Headers,
    /// Nothing more comes.
    pub ended: bool,
    /// The proxy's own answer, not the upstream's.
    pub local: bool,
}

impl Response {
    /// The first value of header `name`.
    pub fn header(&self, name: &str) -> Option<String> {
        text(&self.headers, name).map(Into::into)
    }

    /// All `cache-status` lines, joined to one list.
    pub fn cache_status(&self) -> String {
        let lines = self.headers.iter().filter(|(name, _)| name == "cache-status");
        let lines: Vec<_> = lines.map(|(_, value)| String::from_utf8_lossy(value)).collect();
        lines.join(", ")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// An HTTP callout that waits for its answer.
#[derive(Clone, Debug)]
pub struct Call {
    /// Names it.
    pub token: u32,
    /// The context that made it: a root's, or a stream's, with which it dies.
    pub context: u32,
    /// Envoy cluster.
    pub cluster: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// Deadline in milliseconds.
    pub timeout_ms: u32,
}

impl Call {
    /// The first value of header `name`.
    pub fn header(&self, name: &str) -> Option<String> {
        text(&self.headers, name).map(Into::into)
    }
}

/// A stream as the proxy holds it.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one side of an HTTP stream, and they change apart"
)]
pub(crate) struct Stream {
    pub(crate) request_headers: Headers,
    /// The filter may reach the request's headers: from its headers callback until it lets them go.
    pub(crate) request_reachable: bool,
    pub(crate) request_trailers: Headers,
    pub(crate) request_buffer: Vec<u8>,
    pub(crate) request_ended: bool,
    /// The filter holds the request.
    pub(crate) held: bool,
    pub(crate) forwarded: Option<Forwarded>,
    pub(crate) response_headers: Headers,
    pub(crate) response_reachable: bool,
    pub(crate) response_trailers: Headers,
    pub(crate) response_chunk: Vec<u8>,
    pub(crate) response: Option<Response>,
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    /// What the filter has said for routes to match.
    pub(crate) filter_state: Vec<(String, Vec<u8>)>,
    /// The route is chosen again, by that.
    pub(crate) is_rerouted: bool,
    /// The filter has asked for a local reply: it may not ask twice.
    pub(crate) replying: bool,
    /// The stream has ended, and its context is gone.
    pub(crate) over: bool,
}
