//! Each object against the schema of its kind: Kubernetes' own in each known version, or its `CustomResourceDefinition`'s with the
//! rules (CEL) in it. A kind that nobody has is a failure, with where it went.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::failure::Failure;
use crate::object::Object;
use crate::schema::cel::Rules;
use crate::schema::check::{Misfit, Scope, check as fit};
use crate::schema::{Custom, Key, Schemas, nearest};
use crate::world::World;

/// Says what doesn't fit.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    let rules = Rules::default();
    for object in
        world.objects.iter().filter(|object| !object.kind.is_empty() && !object.api_version.is_empty())
    {
        let key = Key::of(object);
        if let Some(custom) = world.schemas.custom.get(&key) {
            custom_object(&world.schemas, custom, object, failures);
            own_rules(&rules, custom, object, failures);
        } else if !world.schemas.kubernetes.is_empty() {
            own_object(&world.schemas, &key, object, failures);
        }
    }
}

fn own_object(schemas: &Schemas, key: &Key, object: &Object, failures: &mut Vec<Failure>) {
    let mut found: BTreeMap<Misfit, Vec<&str>> = BTreeMap::new();
    let mut lacking = Vec::new();
    for one in &schemas.kubernetes {
        let Some(name) = one.kinds.get(key) else {
            lacking.push(one.version.as_str());
            continue;
        };
        let scope = Scope { definitions: &one.definitions, structural: false };
        let mut misfits = Vec::new();
        fit(scope, &one.definitions[name], &object.value, "", &mut misfits);
        for misfit in misfits {
            found.entry(misfit).or_default().push(&one.version);
        }
    }
    if !lacking.is_empty() {
        failures.push(no_such_kind(schemas, key, object, &lacking));
    }
    let asked = schemas.kubernetes.len() - lacking.len();
    for (misfit, versions) in found {
        let where_ = if versions.len() < asked {
            format!(" in Kubernetes {}", versions.join(", "))
        } else {
            String::new()
        };
        failures.push(object.failure(&misfit.path, misfit.wrong + &where_, misfit.right));
    }
}

fn custom_object(schemas: &Schemas, custom: &Custom, object: &Object, failures: &mut Vec<Failure>) {
    if !custom.served {
        let others = schemas.elsewhere(&object.kind).join(", ");
        failures.push(object.failure(
            "apiVersion",
            format!("{} is not served any more", object.api_version),
            others,
        ));
    }
    let mut misfits = Vec::new();
    let scope = Scope { definitions: &Value::Null, structural: true };
    let Value::Object(members) = &object.value else { return };
    // The head is the API server's own, whatever the definition says of it.
    let mut body = members.clone();
    for head in ["apiVersion", "kind", "metadata"] {
        body.remove(head);
    }
    fit(scope, &custom.schema, &Value::Object(body), "", &mut misfits);
    misfits.retain(|misfit| !matches!(misfit.path.as_str(), "apiVersion" | "kind" | "metadata"));
    if let Some(newest) = schemas.kubernetes.last() {
        let scope = Scope { definitions: &newest.definitions, structural: false };
        let meta = &newest.definitions[OBJECT_META];
        if let Some(value) = members.get("metadata") {
            fit(scope, meta, value, "metadata", &mut misfits);
        }
    }
    failures
        .extend(misfits.into_iter().map(|misfit| object.failure(&misfit.path, misfit.wrong, misfit.right)));
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

fn no_such_kind(schemas: &Schemas, key: &Key, object: &Object, lacking: &[&str]) -> Failure {
    let wrong = format!("no kind {} in {} of Kubernetes {}", key.kind, key.api_version(), lacking.join(", "));
    if key.group == "kustomize.config.k8s.io" {
        return object.failure(
            "kind",
            "is no object: Kustomize builds objects by it",
            "the folder it is in, by --manifests",
        );
    }
    // A group that nobody here knows is another's, whose kinds may have names like ours.
    let elsewhere = if schemas.has_group(&key.group) { schemas.elsewhere(&key.kind) } else { Vec::new() };
    let right = if let Some((_, instead)) = REMOVED.iter().find(|(kind, _)| *kind == key.kind) {
        (*instead).to_owned()
    } else if !elsewhere.is_empty() {
        format!("{} is in {}", key.kind, elsewhere.join(", "))
    } else if let Some(near) = nearest(&key.kind, schemas.kinds()) {
        format!("perhaps `{near}`; a kind of a CustomResourceDefinition needs its definition by --crds")
    } else {
        "a kind of a CustomResourceDefinition needs its definition by --crds".to_owned()
    };
    object.failure(if elsewhere.is_empty() { "kind" } else { "apiVersion" }, wrong, right)
}

/// Kinds that are gone from Kubernetes without another API version.
const REMOVED: &[(&str, &str)] = &[
    (
        "PodSecurityPolicy",
        "removed in 1.25: labels pod-security.kubernetes.io/enforce on the Namespace instead",
    ),
    ("ClusterTrustBundleList", "no object of its own"),
];

fn own_rules(rules: &Rules, custom: &Custom, object: &Object, failures: &mut Vec<Failure>) {
    let value = kube_cel::apply_defaults(&custom.schema, &object.value);
    for broken in rules.broken(&custom.schema, &value) {
        let right = format!("what the rule asks for: {}", broken.rule);
        failures.push(object.failure(&broken.path, broken.message, right));
    }
}
