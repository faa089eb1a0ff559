//! Where Secrets come from: stores, accounts and tokens that External Secrets, certificates and Vault's classes name.

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::{Failure, Object};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    for object in &known.world.objects {
        let root = Field::root(object);
        match (object.group(), object.kind.as_str()) {
            ("external-secrets.io", "ExternalSecret") => external(known, &root.at("spec"), object, failures),
            ("external-secrets.io", "ClusterExternalSecret") => {
                external(known, &root.down("spec.externalSecretSpec"), object, failures);
            }
            ("external-secrets.io", "SecretStore" | "ClusterSecretStore") => store(known, object, failures),
            ("cert-manager.io", "Certificate") => {
                let issuer = root.down("spec.issuerRef");
                let kind = issuer.at("kind").text().unwrap_or("Issuer");
                if matches!(kind, "Issuer" | "ClusterIssuer") {
                    let namespace = object.namespace.as_deref().filter(|_| kind == "Issuer");
                    known.need(kind, &issuer.at("name"), namespace, failures);
                }
            }
            _ => {}
        }
    }
}

fn external(known: &Known<'_>, spec: &Field<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let one = |reference: &Field<'_>, failures: &mut Vec<Failure>| {
        let kind = reference.at("kind").text().unwrap_or("SecretStore");
        let namespace = object.namespace.as_deref().filter(|_| kind == "SecretStore");
        known.need(kind, &reference.at("name"), namespace, failures);
    };
    one(&spec.at("secretStoreRef"), failures);
    for entry in ["data", "dataFrom"].iter().flat_map(|list| spec.at(list).list()) {
        one(&entry.at("sourceRef").at("storeRef"), failures);
    }
    let mut seen = Vec::new();
    for entry in spec.at("data").list() {
        let key = entry.at("secretKey");
        if let Some(text) = key.text() {
            if seen.contains(&text) {
                key.fail(failures, format!("{} is taken twice", key.quoted()), "each key once");
            }
            seen.push(text);
        }
    }
}

/// What a store signs in with. A store of the cluster says its namespaces itself.
fn store(known: &Known<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let provider = Field::root(object).down("spec.provider");
    walk(known, &provider, object, failures);
}

fn walk(known: &Known<'_>, field: &Field<'_>, object: &Object, failures: &mut Vec<Failure>) {
    for (key, child) in field.map() {
        let namespace = child.at("namespace").text().or(object.namespace.as_deref());
        match key {
            "serviceAccountRef" => {
                known.need("ServiceAccount", &child.at("name"), namespace, failures);
            }
            "caProvider" => {
                let kind = child.at("type").text().unwrap_or("Secret");
                known.need_entry(kind, &child, namespace, failures);
            }
            _ if key.ends_with("SecretRef") || key == "secretRef" => {
                if child.at("name").is_said() {
                    known.need_entry("Secret", &child, namespace, failures);
                }
                walk(known, &child, object, failures);
            }
            _ => walk(known, &child, object, failures),
        }
    }
}
