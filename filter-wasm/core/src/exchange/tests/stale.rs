//! What is not fresh any more, and what is made of it.

use super::*;

pub(super) const REFRESH: &str =
    r#", "grpc": "answer", "refresh": {"cluster": "b", "grpc_cluster": "c", "headers": {"x-route": "r"}}"#;
pub(super) const LASTS: [(&str, &str); 2] =
    [(":status", "200"), ("cache-control", "max-age=60, stale-while-revalidate=30, stale-if-error=600")];

impl World {
    /// One that has an answer of so many seconds ago.
    fn aged(settings: &str, age_s: u64) -> Self {
        let mut world = Self::new(settings);
        let (mut first, _) = world.asks(BODY);
        world.answers(&mut first, &LASTS, ANSWER);
        world.passes(age_s);
        world
    }

    pub(super) fn passes(&mut self, seconds: u64) {
        self.host.now_ms.set(self.host.now_ms.get() + 1000 * seconds);
    }

    /// How a request with these headers is answered, if it is.
    fn told(&mut self, more: &[(&str, &str)]) -> Option<String> {
        let (_, acts) = self.asks_with(more, WITH_ID);
        acts.list.iter().find_map(|act| match act {
            Act::Answer { reply: Reply::Kept { status, id, .. }, .. } if id == "mine" => {
                Some(status.to_string())
            }
            _ => None,
        })
    }

    /// The callouts that the root context makes when it is woken, until it sleeps again.
    pub(super) fn refreshes(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        loop {
            let acts = self.worker.on_wake(&self.host);
            let is_over = !acts.list.contains(&Act::Wake);
            calls.extend(acts.list.into_iter().filter_map(|act| match act {
                Act::Call(call) => Some(*call),
                _ => None,
            }));
            if is_over {
                return calls;
            }
        }
    }

    fn ends_refresh(&mut self, call: &Call, headers: &[(&str, &str)], body: Option<&[u8]>) {
        self.host.shows(Of::Call, headers, body.unwrap_or_default());
        self.worker.on_call_response(&self.host, call.ticket, body.map(<[u8]>::len));
    }
}

const REVALIDATED: &str = "forebay; hit; ttl=-5; detail=stale-while-revalidate";

#[test]
fn a_stale_answer_goes_out_and_one_new_one_is_made_behind_it() {
    let mut world = World::aged(REFRESH, 65);
    for _ in 0..3 {
        assert_eq!(world.told(&[]).as_deref(), Some(REVALIDATED));
    }
    let calls = world.refreshes();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((call.cluster.as_str(), call.method, &*call.path), ("b", "POST", "/v2/models/m/infer"));
    assert_eq!(call.body, WITH_ID);
    assert!(call.headers.contains(&("x-route".into(), "r".into())), "{call:?}");
    assert_eq!(world.told(&[]).as_deref(), Some(REVALIDATED));
    assert!(world.refreshes().is_empty(), "it is under way");
    world.ends_refresh(call, &LASTS, Some(ANSWER));
    assert_eq!(world.told(&[]).as_deref(), Some("forebay; hit; ttl=60; detail=raw"));
    assert_eq!(world.worker.memory.held(), 0);
    world.passes(90);
    assert_eq!(world.told(&[]), None, "it is too old");
}

#[test]
fn a_refresh_that_fails_is_not_tried_again_at_once_and_the_answer_stays() {
    let mut world = World::aged(REFRESH, 65);
    for (headers, body) in [
        (&LASTS[..], None),
        (&[(":status", "503")], Some(&b"{}"[..])),
        (&[(":status", "200"), ("cache-control", "no-store")], Some(ANSWER)),
    ] {
        assert!(world.told(&[]).is_some());
        let calls = world.refreshes();
        assert_eq!(calls.len(), 1);
        world.ends_refresh(&calls[0], headers, body);
        assert!(world.told(&[]).is_some());
        assert!(world.refreshes().is_empty());
        world.passes(1);
    }
}

#[test]
fn without_a_cluster_to_refresh_by_or_where_the_request_says_so_the_upstream_is_asked() {
    assert_eq!(World::aged("", 65).told(&[]), None);
    for says in ["no-cache", "max-age=60", "min-fresh=1"] {
        assert_eq!(World::aged(REFRESH, 65).told(&[("cache-control", says)]), None, "{says}");
    }
    let mut world = World::aged("", 65);
    let said = world.told(&[("cache-control", "max-stale=5")]);
    assert_eq!(said.as_deref(), Some("forebay; hit; ttl=-5; detail=max-stale"));
    assert_eq!(world.told(&[("cache-control", "max-stale=4")]), None);
    let all = [("cache-control", "only-if-cached, max-stale")];
    assert!(world.told(&all).is_some());
}

#[test]
fn instead_of_an_error_the_stale_answer_is_given() {
    for (status, is_given) in [
        ("500", true),
        ("502", true),
        ("503", true),
        ("504", true),
        ("400", false),
        ("501", false),
        ("429", false),
    ] {
        let mut world = World::aged("", 600);
        let (mut exchange, _) = world.asks(WITH_ID);
        world.host.shows(Of::Response, &[(":status", status)], b"");
        let acts = exchange.on_response_headers(&mut world.worker, &world.host, false);
        let given = hit(&acts).map(|(status, id)| (status, id.to_owned()));
        let told = ("forebay; fwd=stale; detail=stale-if-error".to_owned(), "mine".to_owned());
        assert_eq!(given, is_given.then_some(told), "{status}");
    }
    let mut late = World::aged("", 660);
    let (mut exchange, _) = late.asks(WITH_ID);
    assert_eq!(late.begins(&mut exchange, &[(":status", "503")]).0, "forebay; fwd=stale; detail=status");
}

#[test]
fn where_no_backend_is_there_the_stale_answer_is_given_and_none_is_woken() {
    let settings = format!(r#"{REFRESH}, "gate": {{"cluster": "gate", "stale_ms": 600000}}"#);
    let mut world = World::new(&settings);
    let (mut first, _) = world.asks(BODY);
    world.gate_says(&mut first, "404", b"");
    let lasts = [&LASTS[..], &[("x-forebay-generation", GENERATION)]].concat();
    world.answers(&mut first, &lasts, ANSWER);
    world.hears(&[(":status", "204"), ("x-forebay-epoch", "1"), ("x-forebay-away", "demo")], b"");
    for passed in [65, 100] {
        world.passes(passed);
        assert_eq!(world.told(&[]).as_deref(), Some("forebay; fwd=stale; detail=no-backend"));
        assert!(world.refreshes().is_empty());
    }
}
