//! The filter where filter.yaml does not put it: before the backends, with a tenant for each principal; and by Istio's own API.

use anyhow::{Result, ensure};

use super::ask::{Client, ENCODINGS, GRPC, Told, moment};
use super::mesh::{Mesh, PATIENCE};
use super::objects::Objects;
use super::proxy::Proxy;
use crate::cluster::await_it::until;
use crate::cluster::test::bed::RELEASE;

/// # Errors
/// A principal is answered with what another one asked, or with nothing of its own.
pub(super) fn inbound(mesh: &Mesh<'_>) -> Result<String> {
    mesh.filter(false)?;
    mesh.bed.run("delete secret forebay-credentials --ignore-not-found")?;
    let literal = format!("--from-literal=credentials.json={CREDENTIALS}");
    let mut secret =
        mesh.bed.kube.command(&format!("--namespace {RELEASE} create secret generic forebay-credentials"));
    secret.arg(literal);
    crate::command::output(secret)?;
    mesh.release(TENANTS)?;
    // Who may ask: both clients the backends, and the backends' proxies the gate.
    let principal = "cluster.local/ns/clients/sa/client";
    let all = format!(
        "{principal}, cluster.local/ns/clients/sa/stranger, cluster.local/ns/forebay/sa/forebay-backend"
    );
    Objects::apply_text(&mesh.bed, &mesh.objects.with("security.yaml", principal, &all)?)?;
    Objects::apply_text(&mesh.bed, &mesh.objects.text("examples/inbound.yaml")?)?;
    for proxy in Proxy::of_component(&mesh.bed, "backend")? {
        proxy.until_it("has the filter", |proxy| proxy.has_module("forebay-inbound"))?;
    }
    let (client, stranger) = (mesh.client("client")?, mesh.client("stranger")?);
    until("both may ask", PATIENCE, || {
        let may = |who: &Client<'_>| who.ask("json", moment().ok()?, &[]).ok()?.well().ok();
        may(&client).and(may(&stranger))
    })?;
    for (seed, encoding) in (moment()?..).zip(ENCODINGS) {
        client.ask(encoding, seed, &[])?.well()?;
        client.until_hit(encoding, seed)?;
        let foreign = stranger.ask(encoding, seed, &[])?;
        ensure!(
            !foreign.is_hit(),
            "{encoding}: what another principal asked is given to a stranger: {foreign:?}"
        );
        foreign.well()?;
        stranger.until_hit(encoding, seed)?;
    }
    of_no_other(&client, &stranger)?;
    mesh.bed.run("delete envoyfilter forebay-inbound")?;
    Objects::apply_text(&mesh.bed, &mesh.objects.text("security.yaml")?)?;
    mesh.release("")?;
    mesh.filter(true)?;
    Ok(format!("{}: each principal has hits of its own and none of another's", ENCODINGS.join(", ")))
}

/// Over gRPC too, and though he says himself whose tenant he is.
fn of_no_other(client: &Client<'_>, stranger: &Client<'_>) -> Result<()> {
    let seed = moment()?;
    client.ask(GRPC, seed, &[])?.well()?;
    client.until_hit(GRPC, seed)?;
    let forged = ["--header", "x-forebay-tenant: spiffe://cluster.local/ns/clients/sa/client"];
    let foreign = stranger.ask(GRPC, seed, &forged)?;
    ensure!(!foreign.is_hit(), "what another principal asked is given to who claims its name: {foreign:?}");
    foreign.well()?;
    stranger.until_hit(GRPC, seed).map(drop)
}

/// # Errors
/// A request is not answered, or no hit comes.
pub(super) fn extension(mesh: &Mesh<'_>) -> Result<String> {
    mesh.filter(false)?;
    let (client, proxy) = (mesh.client("client")?, Proxy::of(&mesh.clients, "client"));
    Objects::apply_text(&mesh.clients, &mesh.objects.text("examples/trafficextension.yaml")?)?;
    proxy.until_it("has a module", |proxy| Ok(proxy.extensions()?.contains("\"filename\"")))?;
    // It stands before HTTP alone: a buffer would hold gRPC's streams.
    let encodings = ["json", "binary"];
    for (seed, encoding) in (moment()?..).zip(encodings) {
        client.ask(encoding, seed, &[])?.well()?;
        client.until_hit(encoding, seed)?;
    }
    mesh.clients.run("delete envoyfilter forebay-buffer")?;
    let uncached = |told: &Told| told.says("not-buffered");
    client.until_told("json", moment()?, "without the buffer nothing is cached", uncached)?.well()?;
    mesh.clients.run("delete trafficextension forebay")?;
    proxy.until_it("has no module", |proxy| Ok(!proxy.extensions()?.contains("\"filename\"")))?;
    mesh.filter(true)?;
    Ok(format!("{}: a miss, a hit; without the buffer answers that are not cached", encodings.join(", ")))
}

/// What the page says of the chart's values for tenants by principal. A sidecar speaks to its pod from 127.0.0.6.
const TENANTS: &str = "--set trust.tenancy=required --set trust.trustedProxies=127.0.0.6 --set secrets.credentials.enabled=true";

/// Whose tenants: the backends' proxies look up for all, each client speaks for itself.
const CREDENTIALS: &str = r#"{"credentials": [
  {"name": "proxies", "san": "spiffe://cluster.local/ns/forebay/sa/forebay-backend", "service": "default", "tenants": ["*"]},
  {"name": "client", "san": "spiffe://cluster.local/ns/clients/sa/client", "service": "default", "tenants": ["spiffe://cluster.local/ns/clients/sa/client"]},
  {"name": "stranger", "san": "spiffe://cluster.local/ns/clients/sa/stranger", "service": "default", "tenants": ["spiffe://cluster.local/ns/clients/sa/stranger"]}
]}"#;
