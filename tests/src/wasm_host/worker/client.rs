//! The client's side: requests begin, go on, end, or are broken off; answers are looked at.

use super::super::stream::{Forwarded, Headers, Request, Response, Stream, StreamId};
use super::{Flow, ROOT, Worker};

/// Envoy's bound on a held request's body, as in envoy/forebay.yaml.
const BUFFER_LIMIT_BYTES: usize = 8_388_608;

impl Worker {
    /// Sends a request whole: headers, and the body in one piece.
    pub fn send(&mut self, request: Request) -> StreamId {
        let body = request.body.clone();
        let id = self.open(request);
        if !body.is_empty() {
            self.body(id, body, true);
        }
        id
    }

    /// Sends a request's headers; its body only says how long it will be.
    ///
    /// # Panics
    /// The VM is dead and can't be made anew, or it is the main thread's.
    pub fn open(&mut self, request: Request) -> StreamId {
        assert!(self.has_streams, "the main thread has no streams");
        if matches!(self.machine, super::Machine::Dead(_)) {
            self.reload().expect("a VM that started once starts again");
        }
        let id = self.next_context;
        self.next_context += 1;
        let Request { mut headers, body, properties, length } = request;
        if length && !body.is_empty() {
            headers.push(("content-length".into(), body.len().to_string().into_bytes()));
        }
        let (count, ends) = (u32::try_from(headers.len()).unwrap_or(u32::MAX), length && body.is_empty());
        let stream = Stream {
            request_headers: headers,
            request_reachable: true,
            request_ended: ends,
            held: true,
            properties,
            ..Stream::default()
        };
        self.state_mut().streams.insert(id, stream);
        self.state_mut().contexts.insert(id);
        if self.callback::<_, ()>(id, "proxy_on_context_create", (id, ROOT)).is_none() {
            self.fail_stream(id);
            return id;
        }
        let flow = self.request_callback(id, "proxy_on_request_headers", (id, count, u32::from(ends)));
        self.decided(id, flow);
        id
    }

    /// Sends a piece of a request's body.
    pub fn body(&mut self, id: StreamId, piece: impl Into<Vec<u8>>, ends: bool) {
        let piece = piece.into();
        let Some(stream) = self.live(id) else { return };
        stream.request_ended = ends;
        if stream.held {
            stream.request_buffer.extend(piece);
        } else {
            stream.request_buffer = piece;
        }
        let size = u32::try_from(stream.request_buffer.len()).unwrap_or(u32::MAX);
        let flow = self.request_callback(id, "proxy_on_request_body", (id, size, u32::from(ends)));
        self.decided(id, flow);
        let too_large = |stream: &mut Stream| stream.held && stream.request_buffer.len() > BUFFER_LIMIT_BYTES;
        if self.live(id).is_some_and(too_large) {
            self.local_reply(id, 413, Headers::new(), b"Payload Too Large".to_vec());
        }
    }

    /// Ends a request with trailers.
    pub fn trailers(&mut self, id: StreamId, trailers: &[(&str, &str)]) {
        let Some(stream) = self.live(id) else { return };
        stream.request_ended = true;
        stream.request_trailers =
            trailers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let count = u32::try_from(trailers.len()).unwrap_or(u32::MAX);
        let flow = self.request_callback(id, "proxy_on_request_trailers", (id, count));
        self.decided(id, flow);
    }

    /// Nothing has happened on the stream for the route's `idle_timeout`: Envoy's own answer. The filter of a live VM sees it
    /// pass.
    pub fn idle(&mut self, id: StreamId) {
        self.local_reply(id, 504, Headers::new(), b"stream timeout".to_vec());
    }

    /// The client goes away.
    pub fn abort(&mut self, id: StreamId) {
        self.destroy(id);
    }

    /// Does the filter hold the request?
    pub fn is_held(&self, id: StreamId) -> bool {
        self.state().streams.get(&id).is_some_and(|stream| stream.held && !stream.over)
    }

    /// What the upstream got of it, if anything.
    pub fn forwarded(&self, id: StreamId) -> Option<&Forwarded> {
        self.state().streams.get(&id)?.forwarded.as_ref()
    }

    /// What the client got.
    ///
    /// # Panics
    /// Nothing yet.
    pub fn response(&self, id: StreamId) -> &Response {
        self.answer(id).expect("the client has an answer")
    }

    /// What the client got, if anything.
    pub fn answer(&self, id: StreamId) -> Option<&Response> {
        self.state().streams.get(&id)?.response.as_ref()
    }

    fn live(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.state_mut().streams.get_mut(&id).filter(|stream| !stream.over)
    }

    /// A callback on the request's path has returned, and what it asked for is done.
    fn decided(&mut self, id: StreamId, flow: Option<Flow>) {
        match flow {
            None => self.fail_stream(id),
            Some(Flow::Pause) => {
                if let Some(stream) = self.live(id)
                    && !stream.held
                {
                    stream.held = true;
                }
            }
            Some(Flow::Continue) => self.let_go(id),
        }
    }

    /// The filter resumes the request. One that it does not hold goes its way already.
    pub(super) fn continue_request(&mut self, id: StreamId) {
        if self.live(id).is_some_and(|stream| stream.held) {
            self.let_go(id);
        }
    }

    /// What is there of the request goes on to the upstream.
    fn let_go(&mut self, id: StreamId) {
        let Some(stream) = self.live(id).filter(|stream| !stream.replying) else { return };
        stream.held = false;
        let is_hit = |(name, value): &(String, Vec<u8>)| name == "forebay.hit" && value == b"yes";
        if stream.is_rerouted && stream.filter_state.iter().any(is_hit) {
            return self.answer_by_route(id);
        }
        let headers = &stream.request_headers;
        let forwarded = stream
            .forwarded
            .get_or_insert_with(|| Forwarded { headers: headers.clone(), ..Forwarded::default() });
        forwarded.body.append(&mut stream.request_buffer);
        forwarded.trailers.clone_from(&stream.request_trailers);
        forwarded.ended = stream.request_ended;
        // Reached only from callbacks on the request's path; those that come later have pieces of the body, no headers.
        stream.request_reachable = false;
    }
}
