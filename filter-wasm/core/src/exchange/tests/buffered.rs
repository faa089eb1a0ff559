//! Requests that are held at their bodies, where Envoy can't hold them at their headers.

use super::*;

const BODY_ONLY: &str = r#", "hold": "body", "backends": {"on_demand": {"demo": ["m"]}, "hash": true}"#;

fn buffered() -> World {
    let world = World::new(BODY_ONLY);
    world.host.properties.borrow_mut().insert(BUFFERED.join("."), b"yes".to_vec());
    world
}

fn asks(world: &mut World, body: &[u8]) -> (Exchange, Acts) {
    let (mut exchange, acts) = world.opens(&[]);
    assert_eq!(acts.flow, Flow::Continue, "{acts:?}");
    let (half, _) = body.split_at(body.len() / 2);
    assert_eq!(world.sends_body(&mut exchange, half, false), Acts::hold());
    let acts = world.sends_body(&mut exchange, body, true);
    (exchange, acts)
}

#[test]
fn a_miss_is_stored_and_hit_though_headers_were_let_go() {
    let mut world = buffered();
    let (mut first, acts) = asks(&mut world, BODY);
    assert_eq!(acts, Acts::go(), "no header is touched any more");
    assert_eq!(world.answers(&mut first, &FRESH, ANSWER), "forebay; fwd=miss");
    assert!(hit(&asks(&mut world, BODY).1).is_some());
}

#[test]
fn what_no_buffer_holds_passes_uncached() {
    for said in [None, Some("no"), Some("")] {
        let mut world = World::new(BODY_ONLY);
        if let Some(said) = said {
            world.host.properties.borrow_mut().insert(BUFFERED.join("."), said.into());
        }
        for _ in 0..2 {
            let (mut exchange, acts) = world.opens(&[]);
            assert_eq!(acts.flow, Flow::Continue);
            assert_eq!(world.sends_body(&mut exchange, BODY, true), Acts::go());
            let told = world.answers(&mut exchange, &FRESH, ANSWER);
            assert_eq!(told, "forebay; fwd=bypass; detail=not-buffered");
        }
    }
}

#[test]
fn a_call_is_not_read_and_the_path_says_whose_a_model_is() {
    let mut world = buffered();
    let mut exchange = Exchange::new(1);
    let call = [(":method", "POST"), (":path", "/inference.GRPCInferenceService/ModelInfer")];
    world.host.shows(Of::Request, &call, b"");
    assert_eq!(exchange.on_request_headers(&mut world.worker, &world.host, false), Acts::go());
    let (_, acts) = world.opens(&[]);
    assert_eq!(acts.list.len(), 2, "{acts:?}");
}
