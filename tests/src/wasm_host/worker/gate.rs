//! The other side of callouts: the test answers them, breaks them off, or lets them time out.

use super::super::state::Answered;
use super::super::stream::{Call, Headers};
use super::Worker;

impl Worker {
    /// Callouts that wait for an answer, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.values().cloned().collect()
    }

    /// The one callout to that path that waits.
    ///
    /// # Panics
    /// There is none, or more than one.
    pub fn call_to(&self, path: &str) -> Call {
        let mut calls = self.calls();
        calls.retain(|call| call.header(":path").as_deref() == Some(path));
        assert_eq!(calls.len(), 1, "callouts to {path}: {calls:?}");
        calls.remove(0)
    }

    /// Answers a callout.
    pub fn answer_call(&mut self, token: u32, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let mut list = vec![(":status".to_owned(), status.to_string().into_bytes())];
        list.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
        self.call_ends(token, Some(list), body.to_vec());
    }

    /// Answers a callout with headers of any bytes.
    pub fn answer_call_raw(&mut self, token: u32, headers: Headers, body: &[u8]) {
        self.call_ends(token, Some(headers), body.to_vec());
    }

    /// A callout runs into its deadline: Envoy's own 504 is its answer.
    pub fn time_out(&mut self, token: u32) {
        self.answer_call(token, 504, &[], b"upstream request timeout");
    }

    /// A callout's answer is broken off: there is none at all, not even headers.
    pub fn fail(&mut self, token: u32) {
        self.call_ends(token, None, Vec::new());
    }

    /// Callouts to that cluster are refused when they are made.
    pub fn forget_cluster(&mut self, cluster: &str) {
        self.state_mut().unknown_clusters.insert(cluster.to_owned());
    }

    fn call_ends(&mut self, token: u32, headers: Option<Headers>, body: Vec<u8>) {
        let Some(call) = self.state_mut().calls.remove(&token) else { return };
        let count = headers.as_ref().map_or(0, |headers| u32::try_from(headers.len()).unwrap_or(u32::MAX));
        let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.state_mut().answered = Answered { headers, body };
        let told = (call.context, token, count, size, 0_u32);
        if self.callback::<_, ()>(call.context, "proxy_on_http_call_response", told).is_none() {
            self.fail_stream(call.context);
        }
        self.state_mut().answered = Answered::default();
    }
}
