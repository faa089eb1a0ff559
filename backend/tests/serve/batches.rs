//! Lookups that come together: each is told what it would be told by itself.

use bytes::Bytes;
use forebay_protocol::digest::{Digest, Scope, digest};
use forebay_protocol::entry::Entry;
use forebay_protocol::gate::{LOOKUP_PATH, LOOKUPS_PATH};
use forebay_protocol::limits::Limits;
use forebay_protocol::lookups::{LATER, Lookup, Lookups, MAX_LOOKUPS, Outcome, Outcomes};
use forebay_protocol::path::InferPath;
use forebay_protocol::tenant::Tenant;
use prost::Message as _;
use rig::http::Answer;
use rig::process::until;

use crate::cache::{TOKEN, credentials};
use crate::client::{fp32, send};
use crate::mesh::{Mesh, ask};
use crate::process::Forebay;

const MODEL: &str = "identity_fp32";

/// What asks for that value.
fn lookup_of(tenant: &str, values: &[f32]) -> Lookup {
    let path = InferPath { model: MODEL, version: "" };
    let body = Bytes::from(fp32(values).to_string());
    let asked = forebay_protocol::request::decode(&path, None, &body, &Limits::default()).unwrap();
    let tenant_name = Tenant::parse(tenant).ok();
    let Digest(digest) = digest(&Scope { service: "default", tenant: tenant_name.as_ref() }, &asked).unwrap();
    Lookup {
        service: "default".into(),
        tenant: tenant.into(),
        model: MODEL.into(),
        version: String::new(),
        digest: digest.to_vec().into(),
        traceparent: String::new(),
    }
}

fn together(gate: &Forebay, headers: &[(&str, &str)], lookups: &[Lookup]) -> Vec<Outcome> {
    let body = Lookups { lookups: lookups.to_vec() }.encode_to_vec();
    let answer = send(gate.gate_port, "POST", LOOKUPS_PATH, headers, &body);
    assert_eq!((answer.status, answer.header("x-forebay-format")), (200, "2"), "{answer:?}");
    Outcomes::parse(answer.body.into(), lookups.len()).expect("an outcome of each")
}

/// What it is told by itself.
fn alone(gate: &Forebay, headers: &[(&str, &str)], lookup: &Lookup) -> Answer {
    let digest = <[u8; 32]>::try_from(&*lookup.digest).map(|digest| Digest(digest).to_string());
    let digest = digest.unwrap_or_else(|_| "short".to_owned());
    let said = [
        ("x-forebay-service", lookup.service.as_str()),
        ("x-forebay-tenant", &lookup.tenant),
        ("x-forebay-model", &lookup.model),
        ("x-forebay-version", &lookup.version),
        ("x-forebay-digest", &digest),
    ];
    let said: Vec<_> = said.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    send(gate.gate_port, "GET", LOOKUP_PATH, &[&said[..], headers].concat(), b"")
}

#[track_caller]
fn are_told_the_same(gate: &Forebay, headers: &[(&str, &str)], lookups: &[Lookup]) -> Vec<u32> {
    let outcomes = together(gate, headers, lookups);
    for (lookup, outcome) in lookups.iter().zip(&outcomes) {
        let alone = alone(gate, headers, lookup);
        assert_eq!(outcome.status, u32::from(alone.status), "{lookup:?}");
        let entry = if alone.status == 200 { alone.body } else { Vec::new() };
        assert_eq!(outcome.entry, entry, "{lookup:?}");
    }
    outcomes.into_iter().map(|outcome| outcome.status).collect()
}

#[test]
fn each_is_told_what_it_would_be_told_by_itself() {
    let meshes = Mesh::each();
    let shared = meshes.iter().map(|mesh| (mesh.serve(), Some(mesh.gate())));
    let in_memory = (Forebay::serve(&["--instances", "1"]), None);
    for (one, gate) in shared.chain([in_memory]) {
        let gate = gate.as_ref().unwrap_or(&one);
        for value in [1.0, 3.0] {
            ask(&one, value);
            until("it is kept", || (alone(gate, &[], &lookup_of("", &[value])).status == 200).then_some(()));
        }
        let mut lookups: Vec<_> = [1.0, 2.0, 3.0].map(|value| lookup_of("", &[value])).to_vec();
        let like = |change: fn(&mut Lookup)| {
            let mut lookup = lookup_of("", &[1.0]);
            change(&mut lookup);
            lookup
        };
        lookups.extend([
            like(|lookup| lookup.model = "nobody's".into()),
            like(|lookup| lookup.version = "7".into()),
            like(|lookup| lookup.service = "another".into()),
            like(|lookup| lookup.model = String::new()),
            like(|lookup| lookup.service = String::new()),
            like(|lookup| lookup.digest = Bytes::from_static(b"short")),
            like(|lookup| lookup.tenant = "a".into()),
        ]);
        let statuses = are_told_the_same(gate, &[], &lookups);
        assert_eq!(statuses, [200, 404, 200, 404, 404, 404, 400, 400, 400, 403]);
        let entry = together(gate, &[], &lookups[2..3]).remove(0).entry;
        let response = Entry::decode_plain(entry).unwrap().response.unwrap();
        assert_eq!(response.raw_output_contents, [&3.0_f32.to_le_bytes()[..]]);
    }
}

#[test]
fn who_asks_for_others_is_told_of_those_for_whom_it_may_speak() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = credentials(folder.path(), TOKEN);
    let arguments = ["--instances", "1", "--tenancy", "required", "--credentials-file"];
    let forebay = Forebay::serve(&[&arguments[..], &[credentials.to_str().unwrap()]].concat());
    let proven = |tenant| [("x-forebay-token", TOKEN), ("x-forebay-tenant", tenant)];
    for (tenant, value) in [("a", 1.0), ("b", 2.0)] {
        assert_eq!(forebay.infer(MODEL, &proven(tenant), &fp32(&[value])).status, 200);
    }
    let mut lookups: Vec<_> = [("a", 1.0), ("b", 2.0), ("b", 1.0), ("", 1.0), ("a,b", 1.0)]
        .map(|(of, value)| lookup_of(of, &[value]))
        .into();
    lookups.push(Lookup { service: "another".into(), ..lookups[0].clone() });
    let token = [("x-forebay-token", TOKEN)];
    assert_eq!(are_told_the_same(&forebay, &token, &lookups), [200, 200, 404, 403, 403, 401]);
    let body = Lookups { lookups }.encode_to_vec();
    assert_eq!(send(forebay.gate_port, "POST", LOOKUPS_PATH, &[], &body).status, 401, "nobody is let in");
}

#[test]
fn what_an_answer_has_no_room_for_is_left_for_another() {
    let mesh = Mesh::redis();
    let (one, gate) = (mesh.serve(), mesh.gate());
    let large = |first: f32| vec![first; 150_000];
    let lookups: Vec<_> = [1.0, 2.0, 3.0].map(|first| lookup_of("", &large(first))).to_vec();
    for (first, lookup) in [1.0, 2.0, 3.0].into_iter().zip(&lookups) {
        assert_eq!(one.infer(MODEL, &[], &fp32(&large(first))).status, 200);
        until("it is kept", || (alone(&gate, &[], lookup).status == 200).then_some(()));
    }
    let asked = [&lookups[..], &[lookup_of("", &[5.0])]].concat();
    let statuses = together(&gate, &[], &asked).into_iter().map(|outcome| outcome.status);
    assert_eq!(statuses.collect::<Vec<_>>(), [200, 200, LATER, 404]);
    assert_eq!(together(&gate, &[], &lookups[2..])[0].status, 200);
}

#[test]
fn what_are_no_lookups_is_refused_by_a_sentence() {
    let one = Forebay::serve(&["--instances", "1"]);
    let send = |body: &[u8]| send(one.gate_port, "POST", LOOKUPS_PATH, &[], body);
    let many = Lookups { lookups: vec![Lookup::default(); MAX_LOOKUPS + 1] }.encode_to_vec();
    for (body, named) in [
        (&b""[..], "0 lookups: 1 to 32"),
        (&many, "33 lookups: 1 to 32"),
        (b"{\"lookups\":[]}", "protobuf"),
        (b"\xff\xff\xff", "protobuf"),
    ] {
        let answer = send(body);
        assert_eq!((answer.status, answer.error().contains(named)), (400, true), "{answer:?}");
    }
    assert_eq!(send(&vec![b' '; 300 << 10]).status, 413);
    assert_eq!(one.get_of_gate(LOOKUPS_PATH).status, 405);
}
