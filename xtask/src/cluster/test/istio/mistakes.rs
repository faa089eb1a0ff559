//! What must not happen: a module that can't be had, settings that are wrong, a body that is large, and a filter that traps cost the cache
//! and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::ask::{Told, moment, whole};
use super::mesh::{Mesh, PATIENCE};
use super::objects::Objects;
use super::proxy::Proxy;
use super::update::{module, with_module};
use crate::cluster::await_it::until;
use crate::cluster::test::bed::{Bed, Place};

/// A fresh proxy that may not wait longer than so for its module.
const FRESH: Duration = Duration::from_mins(1);

/// # Errors
/// A proxy that can't fetch the module is not ready, or refuses requests.
pub(super) fn registry_away(mesh: &Mesh<'_>) -> Result<String> {
    let mut found = Vec::new();
    for (how, target) in [("down", "REJECT --reject-with tcp-reset"), ("hanging", "DROP")] {
        let since = Instant::now();
        {
            let _away = Away::begin(&mesh.bed, target)?;
            mesh.new_clients()?;
            let took = since.elapsed();
            ensure!(took < FRESH, "{how}: the proxy was ready after {} s", took.as_secs());
            found.push(format!("{how}: ready after {} s", took.as_secs()));
            mesh.client("client")?.passes(5).context(how)?;
            Proxy::of(&mesh.clients, "client").has_refused_nothing()?;
        }
        // The agent does not ask again by itself.
        mesh.new_clients()?;
        mesh.has_filter(true)?;
    }
    Ok(format!("a fresh proxy, registry {}; all requests passed", found.join(", ")))
}

/// # Errors
/// A proxy that runs refuses requests, or does not heal.
pub(super) fn wrong_digest(mesh: &Mesh<'_>) -> Result<String> {
    let (client, proxy) = (mesh.client("client")?, Proxy::of(&mesh.clients, "client"));
    let wrong = mesh.objects.with("clients/filter.yaml", &mesh.digest, &"1".repeat(64))?;
    Objects::apply_text(&mesh.clients, &wrong)?;
    proxy.until_it("has what denies everything", |proxy| {
        Ok(proxy.extensions()?.contains("type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"))
    })?;
    client.passes(5)?;
    Objects::apply_text(&mesh.clients, &mesh.objects.text("clients/filter.yaml")?)?;
    mesh.has_filter(true)?;
    let seed = moment()?;
    client.ask("json", seed, &[])?.well()?;
    client.until_hit("json", seed)?;
    Ok("what the agent put in the module's place denied nobody; with the right digest hits again".to_owned())
}

/// # Errors
/// A policy that comes after wrong settings is not enforced.
pub(super) fn wrong_settings(mesh: &Mesh<'_>) -> Result<String> {
    let (outside, gateway) = (mesh.outside()?, mesh.gateway()?);
    let wrong = mesh.objects.with("clients/filter.yaml", "\"service\": \"default\"", "\"service\": \"\"")?;
    Objects::apply_text(&mesh.ingress, &wrong)?;
    gateway.until_it("has counted wrong settings", |proxy| {
        Ok(proxy.count("wasmcustom.forebay_config_errors")? > 0)
    })?;
    outside.passes(5)?;
    Objects::apply_text(&mesh.ingress, DENY)?;
    outside.until_told("json", moment()?, "the policy is enforced", |told| told.says("403"))?;
    gateway.has_refused_nothing()?;
    mesh.ingress.run("delete authorizationpolicy nobody")?;
    Objects::apply_text(&mesh.ingress, &mesh.objects.text("clients/filter.yaml")?)?;
    let seed = moment()?;
    outside.until_told("json", seed, "the policy is gone", |told| !told.says("403"))?.well()?;
    outside.until_hit("json", seed)?;
    Ok("all passed; a policy that came after was enforced".to_owned())
}

/// # Errors
/// It is refused.
pub(super) fn large_body(mesh: &Mesh<'_>) -> Result<String> {
    let mut found = Vec::new();
    for (who, client) in [("sidecar", mesh.client("client")?), ("gateway", mesh.outside()?)] {
        let body = whole(&mesh.bed, "large", 3_000_000)?;
        let ask = || client.ask("json", 0, &["--data", &body]);
        let told = ask()?.well().context(who)?;
        // It must be there as a whole before the filter can keep its answer, and know it again.
        ensure!(told.contains("forebay; fwd=miss"), "{who}: the filter did not look at it: {told}");
        until("the same is a hit", PATIENCE, || ask().ok().filter(Told::is_hit)).context(who)?;
        found.push(format!("{who}: a miss, then a hit"));
    }
    Ok(found.join("; "))
}

/// # Errors
/// More is lost than the request at which the filter traps.
pub(super) fn trap(mesh: &Mesh<'_>) -> Result<String> {
    let (client, proxy) = (mesh.client("client")?, Proxy::of(&mesh.clients, "client"));
    let first = module(&proxy)?;
    let traps = with_module(mesh, "traps", &wat::parse_str(TRAPS)?)?;
    Objects::apply_text(&mesh.clients, &traps)?;
    proxy.until_it("runs the module that traps", |proxy| Ok(module(proxy)? != first))?;
    let mut lost = 0;
    for seed in (moment()?..).take(3) {
        let told = client.ask("json", seed, &["--data", &whole(&mesh.bed, "traps", 200_000)?])?;
        ensure!(told.says("503"), "a request at which the filter traps was told {told:?}");
        lost += 1;
        client.until_told("binary", seed, "the next passes", |told| !told.says("503"))?.well()?;
    }
    proxy.has_refused_nothing()?;
    Objects::apply_text(&mesh.clients, &mesh.objects.text("clients/filter.yaml")?)?;
    proxy.until_it("runs the filter again", |proxy| Ok(module(proxy)? == first))?;
    let seed = moment()?;
    client.ask("json", seed, &[])?.well()?;
    client.until_hit("json", seed)?;
    Ok(format!("{lost} traps cost {lost} requests, and the proxy took the filter after it"))
}

/// A filter that traps at a body of more than a few kilobytes, and lets all else pass.
const TRAPS: &str = r#"
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_body") (param i32) (param $size i32) (param i32) (result i32)
    (if (i32.gt_u (local.get $size) (i32.const 8000)) (then unreachable))
    (i32.const 0)))
"#;

/// Nobody, in a gateway.
const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: nobody }
spec:
  selector: { matchLabels: { istio: ingress } }
  action: DENY
  rules: [{ to: [{ operation: { ports: [\"80\"], paths: [\"/v2/*\"] } }] }]
";

/// The cluster's registry is away for pods, until this is dropped. Nodes have the images of the pods that are made meanwhile.
struct Away<'a> {
    place: &'a Place<'a>,
    rule: String,
}

impl<'a> Away<'a> {
    fn begin(bed: &'a Bed<'a>, target: &str) -> Result<Self> {
        let place = bed.place.as_ref().context("the registry is a process of ours")?;
        let away = Self { place, rule: format!("INPUT -p tcp --dport 5000 -j {target}") };
        away.tell("-I")?;
        Ok(away)
    }

    fn tell(&self, what: &str) -> Result<()> {
        let control = self.place.instance.control();
        let words = format!("ip netns exec {control} iptables {what} {}", self.rule);
        self.place.parts.tools.run(&words)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.tell("-D") {
            println!("the registry stays away: {error:#}");
        }
    }
}
