//! Certificates of the mesh for all, and who may ask whom; and the gate, which stands in while no backend is there.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::ask::{Client, ENCODINGS, GRPC, Told, moment, whole};
use super::mesh::{Mesh, PATIENCE};
use super::proxy::Proxy;
use crate::cluster::await_it::until;
use crate::cluster::test::bed::{MODEL, RELEASE};

/// # Errors
/// One who shows no certificate is answered, or one who may not ask.
pub(super) fn strict(mesh: &Mesh<'_>) -> Result<String> {
    let seed = moment()?;
    mesh.client("client")?.ask("json", seed, &[])?.well().context("who may ask")?;
    // A process of a node, and no proxy before it.
    for component in ["backend", "gate"] {
        let (pod, _) = mesh.bed.pods(component)?.into_iter().next().context("no pod of that component")?;
        let address = mesh.bed.json(&format!("get pod {pod}"))?["status"]["podIP"].clone();
        let address = address.as_str().context("the pod has no address")?;
        let (url, grpc_url) = (format!("http://{address}:8000"), format!("grpc://{address}:8001"));
        let plain =
            Client { bed: &mesh.bed, pod: None, url, grpc_url, name: format!("{RELEASE}-{component}") };
        for encoding in ["json", GRPC] {
            let told = plain.ask(encoding, seed, &[])?;
            let refused = matches!(told, Told::Failed(_));
            ensure!(refused, "{component}, {encoding}: answers who shows no certificate: {told:?}");
        }
    }
    // What gRPC calls PERMISSION_DENIED.
    for (encoding, says) in [("json", "403"), (GRPC, "RBAC: access denied")] {
        let told = mesh.client("stranger")?.ask(encoding, seed, &[])?;
        ensure!(told.says(says), "{encoding}: one whom security.yaml does not name was told {told:?}");
    }
    Ok("without a certificate no connection, a principal that is not named 403".to_owned())
}

/// # Errors
/// A hit is none at zero, a held request is not answered when a backend comes, or requests go on through the gate.
pub(super) fn over_and_back(mesh: &Mesh<'_>) -> Result<String> {
    let (client, bed) = (mesh.client("client")?, &mesh.bed);
    let kept = whole(bed, "kept", 0)?;
    client.ask("json", 0, &["--data", &kept])?.well()?;
    let hit_of_kept = || client.ask("json", 0, &["--data", &kept]).ok().filter(Told::is_hit);
    until("it is kept", PATIENCE, hit_of_kept)?;
    bed.run(&format!("scale deployment/{RELEASE}-backend --replicas=0"))?;
    // One that drains answers still.
    bed.run("wait --for=delete pod --selector app.kubernetes.io/component=backend --timeout=120s")?;
    until("it is given at zero", PATIENCE, hit_of_kept)?;

    let (gate, _) = bed.pods("gate")?.into_iter().next().context("no gate")?;
    let gate = Proxy::of(bed, &gate);
    let mut held = Vec::new();
    for encoding in ENCODINGS {
        let new = whole(bed, encoding, 0)?;
        let mut one = client.command(&[
            "infer",
            MODEL,
            "--timeout-secs=280",
            "--encoding",
            encoding,
            "--data",
            &new,
        ])?;
        let one = one.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("can't run forebay")?;
        held.push((encoding, one));
    }
    let count = u64::try_from(held.len())?;
    until("the gate holds them", PATIENCE, || (gate.passed().ok()?.0 == count).then_some(()))?;
    bed.run(&format!("scale deployment/{RELEASE}-backend --replicas=1"))?;
    for (encoding, one) in held {
        let done = one.wait_with_output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "the held request in {encoding}: {}", said.trim());
    }
    bed.run(&format!("rollout status deployment/{RELEASE}-backend --timeout=240s"))?;

    let direct = || -> Result<bool> {
        let before = gate.passed()?.1;
        for encoding in ["json", GRPC] {
            client.ask(encoding, moment()?, &[])?.well()?;
        }
        Ok(gate.passed()?.1 == before)
    };
    until("requests go to the backend again", PATIENCE, || direct().ok().filter(|direct| *direct))?;
    for _ in 0..5 {
        ensure!(direct()?, "a request went through the gate though a backend is ready");
    }
    Ok("at zero hits go on, and misses in each encoding wait at the gate; a backend that comes answers them; then the way is direct".to_owned())
}
