//! Tenants by certificates, on every hop: clients show theirs to Envoy, which tells the filter whose request it is; Envoy shows its
//! own to gate and backend, and may speak for all tenants.

use super::{HIT, is};
use e2e::stack::{Running, Stack};
use rig::authority::Authority;
use rig::http::{Answer, head, post};
use rig::mtls::send;
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use rustls::ClientConfig;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const MODEL: &str = "identity_fp32";
const INFER: &str = "/v2/models/identity_fp32/infer";
const A: &str = "spiffe://mesh/team-a";
const B: &str = "spiffe://mesh/team-b";
const ENVOY: &str = "spiffe://mesh/envoy";
const STORED: &str = "forebay; fwd=miss; stored";

/// A stack whose every connection is mutual TLS, and its authority.
fn stack(folder: &Path) -> (Running, Authority) {
    let authority = Authority::new();
    authority.write(folder);
    authority.sign(Some(ENVOY)).write(folder, "envoy");
    authority.sign(Some("spiffe://mesh/serve")).write(folder, "serve");
    let credentials = json!({"credentials": [
        {"name": "envoy", "san": ENVOY, "service": "demo", "tenants": ["*"]},
        {"name": "b", "san": B, "service": "demo", "tenants": [B]},
    ]});
    std::fs::write(folder.join("san.json"), credentials.to_string()).expect("the credentials");
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let context = |kind: &str, more: &str| {
        let (certificate, key, ca) = (file("envoy.pem"), file("envoy.key"), file("ca.pem"));
        format!(
            r#"transport_socket: {{ name: tls, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}, {more} common_tls_context: {{ tls_certificates: [{{ certificate_chain: {{ filename: "{certificate}" }}, private_key: {{ filename: "{key}" }} }}], validation_context: {{ trusted_ca: {{ filename: "{ca}" }} }} }} }} }}"#
        )
    };
    let downstream = context("DownstreamTlsContext", "require_client_certificate: true,");
    let upstream = context("UpstreamTlsContext", "sni: localhost,");
    let cluster = |name: &str| format!("    - name: {name}\n      type: STATIC\n");
    let chain = "      filter_chains:\n        - filters:\n";
    let tls = ["--tls-cert-file", &file("serve.pem"), "--tls-key-file", &file("serve.key")];
    let trust = ["--tls-client-ca-file", &file("ca.pem"), "--credentials-file", &file("san.json")];
    let stack = Stack::new()
        .filter(json!({
            "tenancy": "required",
            "tenant": {"property": ["connection", "uri_san_peer_certificate"]},
        }))
        .serve(&[&tls[..], &trust, &["--tenancy", "required"]].concat())
        .with(chain, &format!("      filter_chains:\n        - {downstream}\n          filters:\n"))
        .with(&cluster("forebay-backend"), &format!("{}      {upstream}\n", cluster("forebay-backend")))
        .with(&cluster("forebay-gate"), &format!("{}      {upstream}\n", cluster("forebay-gate")))
        .start();
    (stack, authority)
}

/// `value` asked for through Envoy, in JSON or in binary, which L1 keeps apart from JSON.
fn infer(
    stack: &Running,
    client: &Arc<ClientConfig>,
    value: f32,
    as_binary: bool,
    more: &[(&str, &str)],
) -> Answer {
    let (length, body) = fp32_binary(&[value]);
    let (own, body) =
        if as_binary { (binary(&length).to_vec(), body) } else { (JSON.to_vec(), fp32(&[value])) };
    send(client, stack.port, &post(INFER, &[&own[..], more].concat(), &body)).expect("an answer")
}

#[test]
fn who_shows_a_certificate_gets_its_own_tenants_results_and_no_others() {
    let folder = TempDir::new().expect("a folder");
    let (stack, authority) = stack(folder.path());
    let [a, b] = [A, B].map(|uri| authority.client(Some(authority.sign(Some(uri)))));
    is(&infer(&stack, &a, 1.0, false, &[]), STORED);
    is(&infer(&stack, &a, 1.0, false, &[]), HIT);
    // In the other encoding only the gate has it.
    until("the pool has what a asked", || {
        infer(&stack, &a, 1.0, true, &[]).nearest_cache().ends_with("detail=l2").then_some(())
    });
    let computed = stack.inferences(MODEL);

    // Neither L1 nor the pool gives it to b, whatever b says; what b stores is b's alone.
    let spoofed = [("x-forebay-tenant", A), ("x-forebay-service", "demo")];
    is(&infer(&stack, &b, 1.0, true, &spoofed), STORED);
    assert_eq!(stack.inferences(MODEL), computed + 1);
    is(&infer(&stack, &b, 1.0, true, &[]), HIT);
    stack.sound();
}

#[test]
fn who_proves_no_tenant_is_served_uncached_and_who_proves_nothing_not_at_all() {
    let folder = TempDir::new().expect("a folder");
    let (stack, authority) = stack(folder.path());
    let nameless = authority.client(Some(authority.sign(None)));
    for _ in 0..2 {
        let answer = infer(&stack, &nameless, 1.0, false, &[("x-forebay-tenant", A)]);
        is(&answer, "forebay; fwd=bypass; detail=no-tenant");
        assert!(answer.cache_status().starts_with("forebay-serve; fwd=bypass; detail=no-tenant"));
    }
    assert_eq!(stack.inferences(MODEL), 2);

    let others = Authority::new().sign(Some(A));
    for client in [authority.client(None), authority.client(Some(others))] {
        let answer = send(&client, stack.port, &post(INFER, &JSON, &fp32(&[1.0])));
        assert!(answer.is_err(), "{:?}", answer.map(|answer| answer.status));
    }
    stack.sound();
}

#[test]
fn a_certificate_speaks_to_gate_and_backend_for_its_own_tenants_alone() {
    let folder = TempDir::new().expect("a folder");
    let (stack, authority) = stack(folder.path());
    let [a, b] = [A, B].map(|uri| authority.client(Some(authority.sign(Some(uri)))));
    is(&infer(&stack, &a, 1.0, false, &[]), STORED);

    let request = |tenant: &'static str| {
        let headers = [JSON[0], ("x-forebay-service", "demo"), ("x-forebay-tenant", tenant)];
        post(INFER, &headers, &fp32(&[1.0]))
    };
    let (backend, gate) = stack.first_backend_ports();
    let direct =
        |client: &Arc<ClientConfig>, tenant| send(client, backend, &request(tenant)).expect("an answer");
    let foreign = direct(&b, A);
    assert_eq!(foreign.cache_status(), "forebay-serve; fwd=bypass; detail=no-tenant");
    assert_eq!(direct(&b, B).cache_status(), "forebay-serve; fwd=uri-miss; stored");
    assert_eq!(direct(&b, B).cache_status(), "forebay-serve; hit");
    // A certificate without a credential speaks for nobody, its own name neither.
    assert_eq!(direct(&a, A).cache_status(), "forebay-serve; fwd=bypass; detail=no-tenant");

    for (client, tenant, status) in [(&b, A, 403), (&b, B, 404), (&a, A, 401)] {
        let digest = "0".repeat(64);
        let names = [
            ("x-forebay-service", "demo"),
            ("x-forebay-tenant", tenant),
            ("x-forebay-tenancy", "required"),
            ("x-forebay-model", MODEL),
            ("x-forebay-digest", &digest),
        ];
        let answer = send(client, gate, &head("GET", "/forebay/v2/lookup", &names)).expect("an answer");
        assert_eq!(answer.status, status, "{tenant}: {}", answer.error());
    }
    stack.sound();
}
