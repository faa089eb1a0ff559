//! A front among others: of a shared pool, behind restrictions, before a server that speaks TLS.

use rig::authority::Authority;

use super::*;
use crate::mesh::{Mesh, TIER_ALONE};

#[test]
fn fronts_before_servers_with_the_same_files_share_a_pool_and_a_gate_answers_from_it() {
    for mesh in Mesh::each() {
        let repository = test_repository();
        let upstreams = [(); 2].map(|()| upstream(&repository));
        let files = by_files(&repository);
        let arguments = mesh.arguments(&[&files[..], &TIER_ALONE].concat());
        let fronts = upstreams.each_ref().map(|upstream| before(upstream, &arguments));
        let gate = mesh.gate();
        let mut values = (1..60_000_u16).map(f32::from);
        // The pool takes its time until it is first written to.
        until("what one keeps the other and the gate find", || {
            let value = values.next().unwrap();
            let is_kept = ask_for(&fronts[0], value).header("cache-status").contains("stored");
            (is_kept && ask_for(&fronts[1], value).is_hit() && lookup(&gate, value).status == 200)
                .then_some(())
        });
        assert_eq!(computed(&upstreams[1]), fronts[1].metric("nv_inference_count", MODEL));
        for front in fronts {
            front.ended();
        }
    }
}

#[test]
fn what_is_restricted_is_so_for_hits_and_for_what_goes_on() {
    let (_upstream, front) = pair(&["--http-restricted-api", "inference,model-repository:key=word"]);
    let ask = |headers: &[(&str, &str)]| front.infer(MODEL, headers, &fp32(&[1.0]));
    let told = [("key", "word")];
    assert!(!ask(&told).is_hit() && ask(&told).is_hit());
    assert_eq!(ask(&[]).status, 403);
    let index =
        |headers: &[(&str, &str)]| send(front.http_port, "POST", "/v2/repository/index", headers, b"{}");
    assert_eq!((index(&[]).status, index(&told).status), (403, 200));
    assert_eq!(front.get("/v2").status, 200);
    assert_eq!(
        front.get("/v2/models/slow/generate").status,
        404,
        "of what belongs to no part nothing goes on"
    );
}

#[test]
fn a_server_that_speaks_tls_is_believed_by_the_ca_of_its_certificate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.sign(None).write(folder.path(), "server");
    let path = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let tls = ["--tls-cert-file", &path("server.pem"), "--tls-key-file", &path("server.key")];
    let upstream = Forebay::serve(&[&["--pool", "none"], &tls[..]].concat());
    let front_with = |ca: &str| {
        let mut command = forebay_command("front", &by_files(&test_repository()));
        at_ports(&mut command, (0, 0));
        command.arg("--to").arg(format!("https://localhost:{}", upstream.http_port));
        command.arg("--to-grpc").arg(format!("grpcs://localhost:{}", upstream.grpc_port));
        command.args(["--to-ca-file", ca]);
        command
    };
    let front = Forebay::start(front_with(&path("ca.pem")));
    assert!(!ask_for(&front, 1.0).is_hit() && ask_for(&front, 1.0).is_hit());
    assert_eq!(front.get("/v2").status, 200);
    Authority::new().write(folder.path());
    let stranger = Forebay::loading(front_with(&path("ca.pem")));
    let refused = stranger.get("/v2");
    assert!(refused.status == 503 && refused.error().contains("certificate"), "{refused:?}");
    assert_eq!(stranger.get("/v2/health/ready").status, 503);
}
