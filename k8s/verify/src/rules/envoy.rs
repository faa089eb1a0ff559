//! What Envoy is told by Kubernetes objects, held against Envoy itself: patches of `EnvoyFilter`s ([`patch`]) and whole
//! configurations in `ConfigMap`s and `Secret`s ([`bootstrap`]) go through `envoy --mode validate` ([`run`]); the settings of our own
//! filter in them through the filter's own parser ([`filter`]), the ports that it stands before ([`encodings`]), what it needs to answer
//! calls ([`hits`]) and to have equal requests meet ([`hashing`]), and what Envoy Gateway makes of
//! an `EnvoyExtensionPolicy` by what the filter needs ([`extension`]) and of a fallback ([`fallback`]).

mod bootstrap;
mod encodings;
mod extension;
mod fallback;
mod filter;
mod hashing;
mod hits;
mod matching;
mod names;
mod patch;
mod run;

use serde_json::Value;

use crate::failure::Failure;
use crate::object::Object;
use crate::world::World;

/// Group of Envoy Gateway's kinds.
const GATEWAY: &str = "gateway.envoyproxy.io";

/// Says what Envoy or the filter would refuse, or do otherwise than meant.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("networking.istio.io", "EnvoyFilter") {
        matching::check(world, object, failures);
        patch::check(world, object, failures);
        filter::check(object, &object.value, "", failures);
        encodings::check(object, failures);
        let all = world
            .of("networking.istio.io", "EnvoyFilter")
            .filter(|other| other.namespace == object.namespace);
        let told: Vec<&Value> = all.map(|other| &other.value).collect();
        hits::check(object, &object.value, &told, failures);
    }
    for object in world
        .of("extensions.istio.io", "WasmPlugin")
        .chain(world.of("extensions.istio.io", "TrafficExtension"))
    {
        filter::check_plugin(object, failures);
    }
    for object in world.of(GATEWAY, "EnvoyExtensionPolicy") {
        extension::check(world, object, failures);
    }
    for kind in ["HTTPRoute", "GRPCRoute"] {
        for object in world.of("gateway.networking.k8s.io", kind) {
            fallback::check(world, object, failures);
        }
    }
    for object in world.of("", "ConfigMap").chain(world.of("", "Secret")) {
        bootstrap::check(world, object, failures);
    }
}

/// Patches of an `EnvoyFilter` with their paths.
fn patches(object: &Object) -> impl Iterator<Item = (String, &Value)> {
    let patches = object.at("/spec/configPatches").and_then(Value::as_array);
    let numbered = patches.into_iter().flatten().enumerate();
    numbered.map(|(index, patch)| (format!("spec.configPatches[{index}]"), patch))
}

/// A text by pointer.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
