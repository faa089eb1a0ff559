//! What is measured through Envoy, and against what.

use super::bodies::Body;
use super::envoy::Listener;
use super::floor::Floor;

/// Requests a second where the rate is fixed: less than Envoy could take.
const RATE: u32 = 4_000;

/// What is measured against what.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) base: &'static str,
    pub(super) connections: u32,
    /// Requests a second, whatever becomes of others; none: each connection asks again when it is answered.
    pub(super) rate: Option<u32>,
    /// Envoy's.
    pub(super) workers: u32,
    /// What is asked of what is measured.
    pub(super) body: Body,
    pub(super) measured: Listener,
    /// Its base, and what that is asked.
    pub(super) against: (Listener, Body),
    pub(super) floor: Option<Listener>,
    pub(super) target: Option<f64>,
    /// The backend's CPU time counts too; it is the gate.
    pub(super) with_backend: bool,
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let hit = |how: &str, (body, answered): (Body, Body), connections, target| Case {
        name: format!("hit, {how}"),
        base: "direct_response",
        connections,
        rate: None,
        workers: 1,
        body,
        measured: Listener::Gate,
        against: (Listener::Direct(answered), body),
        floor: Some(Listener::answers(answered)),
        target,
        with_backend: false,
    };
    let mut cases = Vec::new();
    for (body, how, target) in
        [(Body::Json1k, "exact repeat, 1 KB", 1.7), (Body::Binary64k, "exact repeat, 64 KB", 3.5)]
    {
        cases.extend([1, 16, 64].map(|connections| hit(how, (body, body), connections, Some(target))));
    }
    for (workers, how) in
        [(1, "exact repeat, 1 KB, at a fixed rate"), (2, "exact repeat, 1 KB, at a fixed rate, two workers")]
    {
        let all = hit(how, (Body::Json1k, Body::Json1k), 16, None);
        cases.push(Case { workers, rate: Some(RATE), ..all });
    }
    for (body, answered, how) in [
        (Body::Json1kNewId, Body::Json1k, "another id, 1 KB JSON"),
        (Body::Json64kNewId, Body::Json64k, "another id, 64 KB JSON"),
        (Body::Binary64kNewId, Body::Binary64k, "another id, 64 KB binary"),
    ] {
        cases.push(hit(how, (body, answered), 16, None));
    }
    for (body, answered, how, base) in [
        (Body::Grpc1k, Body::Json1k, "gRPC, 1 KB", "the same in JSON"),
        (Body::Grpc64k, Body::Binary64k, "gRPC, 64 KB", "the same in binary"),
    ] {
        let all = hit(how, (body, answered), 16, Some(1.3));
        cases.push(Case { base, against: (Listener::Gate, answered), floor: None, ..all });
    }
    for (body, what) in [(Body::Json1kNew, "1 KB JSON"), (Body::Binary64kNew, "64 KB binary")] {
        for (measured, floor, how, target) in [
            (Listener::NoGate, Floor::Passes, "no L2", 1.25),
            (Listener::Gate, Floor::Asks, "with L2 callout", 1.8),
        ] {
            cases.push(Case {
                name: format!("miss, {what}, {how}"),
                base: "plain proxying",
                connections: 16,
                rate: None,
                workers: 1,
                body,
                measured,
                against: (Listener::Plain, body),
                floor: Some(Listener::Floor(floor)),
                target: Some(target),
                with_backend: false,
            });
        }
        let all = hit(&format!("{what}, of a model that the pool never has"), (body, body), 16, Some(1.03));
        let name = all.name.replacen("hit", "miss", 1);
        let against = (Listener::NoGate, body);
        cases.push(Case { name, base: "no L2", measured: Listener::Learned, against, floor: None, ..all });
    }
    for (body, what) in [(Body::Json1k, "1 KB JSON"), (Body::Binary64k, "64 KB binary")] {
        let all = hit(&format!("from the pool, {what}, with the gate"), (body, body), 1, Some(3.0));
        let (base, against) = ("hit of L1", (Listener::Gate, body));
        cases.push(Case { base, measured: Listener::Pool, against, floor: None, with_backend: true, ..all });
    }
    for (body, what, measured, alone) in [
        (Body::Json1kNew, "miss, 1 KB JSON, with its lookup", Listener::Gate, Listener::GateAlone),
        (Body::Json1kNewId, "from the pool, 1 KB JSON", Listener::Pool, Listener::PoolAlone),
    ] {
        for connections in [16, 64] {
            let all = hit("", (body, body), connections, Some(1.0));
            let (name, base) = (format!("{what} among others"), "each lookup by itself");
            let against = (alone, body);
            cases.push(Case { name, base, measured, against, floor: None, with_backend: true, ..all });
        }
    }
    // What a lookup costs, and what it spares: the filter weighs them (its `worth`).
    for (new, kept, what) in
        [(Body::Json1kNew, Body::Json1k, "1 KB JSON"), (Body::Binary64kNew, Body::Binary64k, "64 KB binary")]
    {
        let lookup = hit("", (new, new), 16, None);
        let (name, against) = (format!("miss, {what}, with L2 callout and gate"), (Listener::NoGate, new));
        let floor = None;
        cases.push(Case {
            name,
            base: "no L2",
            measured: Listener::Gate,
            against,
            floor,
            with_backend: true,
            ..lookup
        });
        let way = hit("", (kept, kept), 16, None);
        let name = format!("way to a backend that has it, {what}");
        cases.push(Case { name, measured: Listener::Plain, floor, with_backend: true, ..way });
    }
    cases
}
