//! The upstream's side: answers of forwarded requests, whole or piece by piece.

use super::super::stream::{Headers, Response, StreamId};
use super::Worker;

fn listed(status: u16, headers: &[(&str, &str)]) -> Headers {
    let mut list = vec![(":status".to_owned(), status.to_string().into_bytes())];
    list.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
    list
}

impl Worker {
    /// Answers a forwarded request whole, with a `content-length`.
    pub fn respond(&mut self, id: StreamId, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let length = body.len().to_string();
        let headers = [headers, &[("content-length", length.as_str())]].concat();
        self.respond_head(id, status, &headers, body.is_empty());
        if !body.is_empty() {
            self.respond_piece(id, body, true);
        }
    }

    /// Begins an answer.
    ///
    /// # Panics
    /// The request is not at the upstream.
    pub fn respond_head(&mut self, id: StreamId, status: u16, headers: &[(&str, &str)], ends: bool) {
        assert!(self.forwarded(id).is_some(), "request {id} is not at the upstream");
        if self.state().streams.get(&id).is_some_and(|stream| !stream.over) {
            self.response_begins(id, listed(status, headers), false, ends);
        }
    }

    /// A piece of the answer's body.
    pub fn respond_piece(&mut self, id: StreamId, piece: &[u8], ends: bool) {
        if self.state().streams.get(&id).is_some_and(|stream| !stream.over) {
            self.response_goes_on(id, piece.to_vec(), ends);
        }
    }

    /// Ends the answer with trailers.
    pub fn respond_trailers(&mut self, id: StreamId, trailers: &[(&str, &str)]) {
        let Some(stream) = self.state_mut().streams.get_mut(&id).filter(|stream| !stream.over) else {
            return;
        };
        stream.response_trailers =
            trailers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        stream.response_reachable = true;
        let count = u32::try_from(trailers.len()).unwrap_or(u32::MAX);
        let flow = self.request_callback(id, "proxy_on_response_trailers", (id, count));
        if let Some(stream) = self.state_mut().streams.get_mut(&id) {
            stream.response_reachable = false;
            let trailers = std::mem::take(&mut stream.response_trailers);
            if let Some(response) = &mut stream.response {
                response.trailers = trailers;
            }
        }
        self.response_passed(id, flow, true);
    }

    /// The route for hits, with the reverse bridge on it: a `direct_response` to a call, an empty message, and its status.
    pub(super) fn answer_by_route(&mut self, id: StreamId) {
        let Some(stream) = self.state_mut().streams.get_mut(&id) else { return };
        stream.request_reachable = false;
        stream.properties.push(("response.code_details".to_owned(), b"direct_response".to_vec()));
        let headers = [("content-type", "application/grpc"), ("grpc-status", "0"), ("content-length", "5")];
        self.response_begins(id, listed(200, &headers), true, false);
        self.response_goes_on(id, vec![0; 5], false);
        self.respond_trailers(id, &[("grpc-status", "0")]);
    }

    /// The upstream breaks the answer off: Envoy resets the client's stream.
    pub fn reset(&mut self, id: StreamId) {
        self.destroy(id);
    }

    pub(super) fn response_begins(&mut self, id: StreamId, headers: Headers, local: bool, ends: bool) {
        let count = u32::try_from(headers.len()).unwrap_or(u32::MAX);
        let Some(stream) = self.state_mut().streams.get_mut(&id) else { return };
        stream.response_headers = headers;
        stream.response_reachable = true;
        // It has begun: a second answer can't any more.
        stream.response = Some(Response { local, ..Response::default() });
        let flow = self.request_callback(id, "proxy_on_response_headers", (id, count, u32::from(ends)));
        if flow.is_none() {
            return self.fail_stream(id);
        }
        let Some(stream) = self.state_mut().streams.get_mut(&id) else { return };
        stream.response_reachable = false;
        let mut headers = std::mem::take(&mut stream.response_headers);
        let status = headers.iter().position(|(name, _)| name == ":status").map(|at| headers.remove(at).1);
        let status = status.and_then(|status| String::from_utf8(status).ok()?.parse().ok());
        if let Some(response) = &mut stream.response {
            response.status = status.unwrap_or(0);
            response.headers = headers;
        }
        self.response_passed(id, flow, ends);
    }

    pub(super) fn response_goes_on(&mut self, id: StreamId, piece: Vec<u8>, ends: bool) {
        let size = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        let Some(stream) = self.state_mut().streams.get_mut(&id) else { return };
        stream.response_chunk = piece;
        let flow = self.request_callback(id, "proxy_on_response_body", (id, size, u32::from(ends)));
        if flow.is_none() {
            return self.fail_stream(id);
        }
        let Some(stream) = self.state_mut().streams.get_mut(&id) else { return };
        let piece = std::mem::take(&mut stream.response_chunk);
        if let Some(response) = &mut stream.response {
            response.body.extend(piece);
        }
        self.response_passed(id, flow, ends);
    }

    /// A callback on the response's path has returned. To hold a response is to lose it (measured), so no filter may.
    fn response_passed(&mut self, id: StreamId, flow: Option<super::Flow>, ends: bool) {
        match flow {
            None => self.fail_stream(id),
            Some(super::Flow::Pause) => self.die(format!("the filter holds the response of stream {id}")),
            Some(super::Flow::Continue) if ends => {
                if let Some(response) =
                    self.state_mut().streams.get_mut(&id).and_then(|stream| stream.response.as_mut())
                {
                    response.ended = true;
                }
                self.destroy(id);
            }
            Some(super::Flow::Continue) => {}
        }
    }
}
