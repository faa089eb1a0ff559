//! Which misses are looked up.

use super::*;

/// A request that none before was equal to.
fn body(number: u32) -> Vec<u8> {
    format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"INT32","data":[{number}]}}]}}"#).into_bytes()
}

impl World {
    /// A miss: whether it was looked up, and what it is told. The pool has nothing, and the upstream answers so.
    fn misses(&mut self, more: &[(&str, &str)], upstream: &[(&str, &str)]) -> (bool, String) {
        let number = self.next;
        let (mut exchange, acts) = self.asks_with(more, &body(number));
        let is_asked = call(&acts).is_some();
        if is_asked {
            self.gate_says(&mut exchange, "404", b"");
        }
        let told = self.answers(&mut exchange, upstream, ANSWER);
        self.leaves(exchange);
        (is_asked, told)
    }

    fn asked_of(&mut self, misses: usize, upstream: &[(&str, &str)]) -> usize {
        (0..misses).filter(|_| self.misses(&[], upstream).0).count()
    }

    /// One that has learned that nothing is found.
    fn knows_better() -> Self {
        let mut world = Self::new(GATE);
        assert_eq!(world.asked_of(32, &FRESH), 32);
        assert_eq!(world.asked_of(320, &FRESH), 10);
        world
    }
}

#[test]
fn where_lookups_find_nothing_few_are_made_and_it_is_told() {
    let mut world = World::knows_better();
    assert_eq!(world.misses(&[], &FRESH), (false, "forebay; fwd=miss; detail=not-asked".into()));
    let always = r#", "gate": {"cluster": "gate", "ask": "always"}"#;
    assert_eq!(World::new(always).asked_of(320, &FRESH), 320);
}

#[test]
fn what_the_backend_finds_in_the_pool_is_looked_up_from_then_on() {
    let mut world = World::knows_better();
    let found =
        [&FRESH[..], &[("cache-status", "forebay-serve; hit"), ("x-forebay-cost-us", "100000")]].concat();
    assert_eq!(world.asked_of(1, &found), 0);
    assert_eq!(world.asked_of(20, &FRESH), 20);
}

#[test]
fn where_no_backend_is_there_all_are_looked_up() {
    let mut world = World::knows_better();
    let refused = [(":status", "503")];
    world.host.properties.borrow_mut().insert("response.flags".into(), 2_i64.to_le_bytes().to_vec());
    assert_eq!(world.asked_of(1, &refused), 0);
    assert_eq!(world.asked_of(20, &refused), 20);
    let mut other = World::knows_better();
    other.host.properties.borrow_mut().insert("response.flags".into(), 4_i64.to_le_bytes().to_vec());
    assert_eq!(other.asked_of(20, &refused), 0, "one was there, and took too long");
    // The gate says so before anybody finds out.
    for (away, asked) in [("others,demo", 20), ("demonstration", 0)] {
        other.hears(&[(":status", "204"), ("x-forebay-epoch", "1"), ("x-forebay-away", away)], b"");
        assert_eq!(other.asked_of(20, &FRESH), asked, "{away}");
    }
}

#[test]
fn who_wants_nothing_else_is_looked_up_and_who_asks_for_an_unknown_model_is_not() {
    let mut world = World::knows_better();
    let (mut exchange, acts) = world.asks_with(&[("cache-control", "only-if-cached")], BODY);
    assert!(call(&acts).is_some());
    world.gate_says(&mut exchange, "404", b"");
    let mut world = World::new(GATE);
    let mut exchange = Exchange::new(7);
    let unknown = [(":method", "POST"), (":path", "/v2/models/unknown/infer")];
    world.host.shows(Of::Request, &unknown, b"");
    exchange.on_request_headers(&mut world.worker, &world.host, false);
    assert_eq!(world.sends_body(&mut exchange, BODY, true), Acts::go());
}
