//! What every object begins with: `apiVersion`, `kind`, `metadata.name`.

use serde_json::Value;

use crate::failure::Failure;
use crate::object::Object;
use crate::world::World;

/// Says which objects have no head.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in &world.objects {
        head(object, failures);
    }
}

fn head(object: &Object, failures: &mut Vec<Failure>) {
    if !object.value.is_object() {
        failures.push(object.failure("", "no object", "a mapping with apiVersion, kind and metadata"));
        return;
    }
    for (field, example) in [("apiVersion", "`apiVersion: apps/v1`"), ("kind", "`kind: Deployment`")] {
        match object.value.get(field) {
            None => failures.push(object.failure(field, "is missing", format!("text, as {example}"))),
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(other) => {
                failures.push(object.failure(field, format!("is {other}"), format!("text, as {example}")));
            }
        }
    }
}
