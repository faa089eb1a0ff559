//! What a target and its headers make of a request: who is asked, and by what it is known.

use super::*;

const RAW: [(&str, &str); 1] = [("inference-header-content-length", "0")];

/// A whole request to that path.
fn asks_at(world: &mut World, path: &str, more: &[(&str, &str)], body: &[u8]) -> (Exchange, Acts) {
    world.next += 1;
    let mut exchange = Exchange::new(world.next);
    world.host.shows(Of::Request, &[&[(":method", "POST"), (":path", path)], more].concat(), b"");
    let acts = exchange.on_request_headers(&mut world.worker, &world.host, false);
    if acts.flow == Flow::Continue {
        return (exchange, acts);
    }
    let acts = world.sends_body(&mut exchange, body, true);
    (exchange, acts)
}

/// Asks there, and has the upstream answer.
fn stores(world: &mut World, path: &str, more: &[(&str, &str)], body: &[u8]) {
    let (mut exchange, acts) = asks_at(world, path, more, body);
    assert_eq!(hit(&acts), None, "{path}");
    world.answers(&mut exchange, &FRESH, ANSWER);
}

fn detail(acts: &Acts) -> Option<String> {
    hit(acts).map(|(status, _)| status.rsplit_once("detail=").unwrap().1.to_owned())
}

#[test]
fn a_name_is_the_same_however_it_is_escaped() {
    let mut world = World::new("");
    stores(&mut world, "/v2/models/m/infer", &[], BODY);
    for same in ["/v2/models/%6d/infer", "/v2/models/%6D/infer"] {
        assert_eq!(detail(&asks_at(&mut world, same, &[], BODY).1).as_deref(), Some("vm"), "{same}");
    }
    for other in ["/v2/models/%256d/infer", "/v2/models/m%2F/infer", "/v2/models/M/infer"] {
        stores(&mut world, other, &[], BODY);
    }
    for passes in [
        "/v2/models/m/%69nfer",
        "/v2/models/m%2Finfer",
        "/v2/models/%/infer",
        "/v2/models/%ff/infer",
        "/v2/models/m/infer/",
    ] {
        let (mut exchange, acts) = asks_at(&mut world, passes, &[], BODY);
        assert_eq!(acts, Acts::go(), "{passes}");
        assert_eq!(world.answers(&mut exchange, &FRESH, ANSWER), "", "{passes}");
    }
}

#[test]
fn with_a_query_only_the_very_same_target_is_answered() {
    let mut world = World::new("");
    stores(&mut world, "/v2/models/m/infer", &[], BODY);
    stores(&mut world, "/v2/models/m/infer?a", &[], BODY);
    stores(&mut world, "/v2/models/m/infer?b", &[], BODY);
    stores(&mut world, "/v2/models/m/infer?", &[], BODY);
    assert_eq!(detail(&asks_at(&mut world, "/v2/models/m/infer?a", &[], BODY).1).as_deref(), Some("raw"));
    assert_eq!(hit(&asks_at(&mut world, "/v2/models/m/infer?a", &[], SPACED).1), None);
}

#[test]
fn a_body_without_json_is_known_by_its_bytes_alone() {
    let mut world = World::new("");
    stores(&mut world, "/v2/models/m/infer", &[], BODY);
    // Bytes that would be JSON are none where the header says so.
    stores(&mut world, "/v2/models/m/infer", &RAW, BODY);
    stores(&mut world, "/v2/models/m/infer", &RAW, b"\x07\0\0\0");
    stores(&mut world, "/v2/models/m/infer", &RAW, b"\x08\0\0\0");
    stores(&mut world, "/v2/models/n/infer", &RAW, b"\x07\0\0\0");
    stores(&mut world, "/v2/models/m/versions/1/infer", &RAW, b"\x07\0\0\0");
    stores(&mut world, "/v2/models/m/infer", &[("inference-header-content-length", "00")], b"\x07\0\0\0");
    for body in [BODY, b"\x07\0\0\0", b"\x08\0\0\0"] {
        let again = asks_at(&mut world, "/v2/models/m/infer", &RAW, body).1;
        assert_eq!(detail(&again).as_deref(), Some("raw"), "{body:?}");
    }
}

#[test]
fn the_gate_is_not_asked_for_a_body_without_json_nor_for_a_name_that_no_header_carries() {
    let asks = |acts: &Acts| acts.list.iter().any(|act| matches!(act, Act::Call(_)));
    let mut world = World::new(r#", "gate": {"cluster": "g", "ask": "always"}"#);
    assert!(asks(&asks_at(&mut world, "/v2/models/m%20m/infer", &[], BODY).1));
    for (path, more) in [
        ("/v2/models/m/infer", &RAW[..]),
        ("/v2/models/m/infer?x", &[]),
        ("/v2/models/m%0D%0Ax-forebay-tenant:%20a/infer", &[]),
        ("/v2/models/%20m/infer", &[]),
        ("/v2/models/m/versions/1%00/infer", &[]),
        ("/v2/models/%C2%85/infer", &[]),
    ] {
        let (mut exchange, acts) = asks_at(&mut world, path, more, BODY);
        assert_eq!(acts, Acts::go(), "{path}");
        world.answers(&mut exchange, &[(":status", "404")], b"");
    }
}
