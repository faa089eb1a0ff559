//! Our filter in an `EnvoyExtensionPolicy` of Envoy Gateway's: settings that it takes, a gateway that passes requests while the module can't
//! be had, and an `EnvoyPatchPolicy` for what the policy can't say.

use serde_json::Value;

use super::{GATEWAY, filter, hits, text};
use crate::failure::Failure;
use crate::object::Object;
use crate::world::World;

/// Says what it would do otherwise than meant.
pub(super) fn check(world: &World, object: &Object, failures: &mut Vec<Failure>) {
    let modules = object.at("/spec/wasm").and_then(Value::as_array);
    for (index, wasm) in modules.into_iter().flatten().enumerate() {
        let is_ours = |source: &str| text(wasm, &format!("/code/{source}/url")).contains("forebay");
        let Some(source) = ["image", "http"].into_iter().find(|source| is_ours(source)) else { continue };
        let at = format!("spec.wasm[{index}]");
        filter::digest(object, &wasm["code"][source], &format!("{at}.code.{source}.sha256"), failures);
        let settings = wasm.get("config").map_or_else(|| "{}".to_owned(), Value::to_string);
        filter::settings(object, &settings, &format!("{at}.config"), failures);
        let told: Vec<&Value> = patches(world, object).map(|policy| &policy.value).collect();
        hits::judge(object, &wasm["config"], &format!("{at}.config"), &told, failures);
        if wasm.get("failOpen") != Some(&Value::Bool(true)) {
            let wrong = "is not true: every request is answered 500 while the module can't be had";
            failures.push(object.failure(&format!("{at}.failOpen"), wrong, "true"));
        }
        if text(wasm, "/config/hold") != "body" && !is_allowed(world, object, index) {
            let wrong = "holds requests at their headers, which Envoy is not told to allow: every POST hangs";
            let right = "an EnvoyPatchPolicy that sets allow_on_headers_stop_iteration for it, or `hold: body` in its config";
            failures.push(object.failure(&at, wrong, right));
        }
    }
}

/// What is told to the same proxies beside.
fn patches<'a>(world: &'a World, object: &'a Object) -> impl Iterator<Item = &'a Object> {
    world.of(GATEWAY, "EnvoyPatchPolicy").filter(|policy| policy.namespace == object.namespace)
}

/// Whether a patch sets the flag for that module, by the name that Envoy Gateway gives its filter.
fn is_allowed(world: &World, object: &Object, index: usize) -> bool {
    let name = format!("/{}/wasm/{index}'", object.name);
    let patches = patches(world, object).filter_map(|policy| policy.at("/spec/jsonPatches")?.as_array());
    let mut operations = patches.flatten().filter_map(|patch| patch.get("operation"));
    operations.any(|operation| {
        text(operation, "/path").trim_start_matches('/') == "allow_on_headers_stop_iteration"
            && operation.get("value") == Some(&Value::Bool(true))
            && text(operation, "/jsonPath").contains(&name)
            // Beside the configuration Envoy Gateway knows no such field, and refuses the policy.
            && text(operation, "/jsonPath").ends_with(".typed_config.config")
    })
}
