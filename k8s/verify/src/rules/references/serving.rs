//! What `KServe`'s objects say of others: runtimes, the formats that these serve, claims.

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::{Failure, Object};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    for object in known.world.of("serving.kserve.io", "InferenceService") {
        let predictor = Field::root(object).down("spec.predictor");
        model(known, object, &predictor.at("model"), failures);
        let (least, most) = (predictor.at("minReplicas"), predictor.at("maxReplicas"));
        if least.number().zip(most.number()).is_some_and(|(least, most)| most > 0 && least > most) {
            least.fail(
                failures,
                format!("{} is above maxReplicas of {}", least.quoted(), most.quoted()),
                "at most maxReplicas",
            );
        }
    }
}

fn model(known: &Known<'_>, object: &Object, model: &Field<'_>, failures: &mut Vec<Failure>) {
    let namespace = object.namespace.as_deref();
    let location = model.at("storageUri");
    if let Some(claim) = location.text().and_then(|uri| uri.strip_prefix("pvc://")) {
        let name = claim.split('/').next().unwrap_or_default();
        if !known.has("PersistentVolumeClaim", name, namespace) {
            known.missing("PersistentVolumeClaim", name, namespace, &location, failures);
        }
    }
    let runtime = model.at("runtime");
    let Some(name) = runtime.text() else { return };
    let found = known
        .object("ServingRuntime", name, namespace)
        .or_else(|| known.object("ClusterServingRuntime", name, None));
    let Some(found) = found else {
        if !known.has("ServingRuntime", name, namespace) && !known.has("ClusterServingRuntime", name, None) {
            known.missing("ServingRuntime", name, namespace, &runtime, failures);
        }
        return;
    };
    let format = model.at("modelFormat").at("name");
    let formats = Field::root(found).down("spec.supportedModelFormats").list();
    let names: Vec<&str> = formats.iter().filter_map(|format| format.at("name").text()).collect();
    if format.text().is_some_and(|format| !names.contains(&format)) {
        format.fail(
            failures,
            format!("runtime {name} serves no {}", format.quoted()),
            format!("one of {}", names.join(", ")),
        );
    }
    let protocol = model.at("protocolVersion");
    let protocols = Field::root(found).down("spec.protocolVersions").list();
    let names: Vec<&str> = protocols.iter().filter_map(Field::text).collect();
    if !names.is_empty() && protocol.text().is_some_and(|protocol| !names.contains(&protocol)) {
        protocol.fail(
            failures,
            format!("runtime {name} does not speak {}", protocol.quoted()),
            format!("one of {}", names.join(", ")),
        );
    }
}
