//! What objects make in their turn: a `SealedSecret` or an `ExternalSecret` its Secret, a certificate its Secret, a `StatefulSet` its claims. An
//! object enters, kinds, names and keys leave.

use std::collections::BTreeSet;

use crate::Object;
use crate::rules::field::Field;
use crate::rules::known::Keys;

/// All that an object makes in its own namespace.
pub(crate) fn by(object: &Object) -> Vec<(&'static str, String, Keys)> {
    let root = Field::root(object);
    let name = object.name.clone();
    let secret = |name: String, keys: Keys| vec![("Secret", name, keys)];
    match (object.group(), object.kind.as_str()) {
        ("bitnami.com", "SealedSecret") => secret(name, Some(sealed(&root.at("spec")))),
        ("external-secrets.io", "ExternalSecret") => {
            let target = root.down("spec.target.name").text().map_or(name, str::to_owned);
            secret(target, external(&root.at("spec")))
        }
        ("external-secrets.io", "ClusterExternalSecret") => {
            let inner = root.down("spec.externalSecretSpec.target.name").text();
            let outer = root.down("spec.externalSecretName").text();
            secret(
                inner.or(outer).map_or(name, str::to_owned),
                external(&root.down("spec.externalSecretSpec")),
            )
        }
        ("cert-manager.io", "Certificate") => {
            let target = root.down("spec.secretName").text_or_empty().to_owned();
            secret(target, Some(["ca.crt", "tls.crt", "tls.key"].map(str::to_owned).into()))
        }
        ("networking.k8s.io", "Ingress") => {
            let annotations = root.at("metadata").at("annotations").map();
            let issued = annotations.iter().any(|(key, _)| key.starts_with("cert-manager.io/"));
            let secrets = root.down("spec.tls").list().into_iter().filter(|_| issued);
            secrets
                .filter_map(|tls| tls.at("secretName").text())
                .map(|name| ("Secret", name.to_owned(), None))
                .collect()
        }
        ("secrets-store.csi.x-k8s.io", "SecretProviderClass") => {
            let of = |secret: Field<'_>| {
                let keys = secret
                    .at("data")
                    .list()
                    .iter()
                    .map(|one| one.at("key").text_or_empty().to_owned())
                    .collect();
                ("Secret", secret.at("secretName").text_or_empty().to_owned(), Some(keys))
            };
            root.down("spec.secretObjects").list().into_iter().map(of).collect()
        }
        ("secrets.hashicorp.com", _) => {
            secret(root.down("spec.destination.name").text_or_empty().to_owned(), None)
        }
        ("apps", "StatefulSet") => claims(object, &root),
        ("serving.kserve.io", "InferenceService") => vec![
            ("Service", format!("{name}-predictor"), None),
            ("Deployment", format!("{name}-predictor"), None),
            ("Service", name, None),
        ],
        _ => Vec::new(),
    }
}

fn sealed(spec: &Field<'_>) -> BTreeSet<String> {
    let parts = [spec.at("encryptedData"), spec.down("template.data")];
    parts.iter().flat_map(Field::map).map(|(key, _)| key.to_owned()).collect()
}

/// Keys that are taken one by one, and those of a template; any where all of a secret is taken.
fn external(spec: &Field<'_>) -> Keys {
    let template = spec.down("target.template");
    let from_template = template.at("data").map().into_iter().map(|(key, _)| key.to_owned());
    let merges = template.at("mergePolicy").text() == Some("Merge");
    if template.at("templateFrom").is_said() {
        return None;
    }
    if !template.at("data").is_empty() && !merges {
        return Some(from_template.collect());
    }
    if !spec.at("dataFrom").is_empty() {
        return None;
    }
    let taken = spec.at("data").list().into_iter().map(|one| one.at("secretKey").text_or_empty().to_owned());
    Some(taken.chain(from_template).collect())
}

fn claims(object: &Object, root: &Field<'_>) -> Vec<(&'static str, String, Keys)> {
    let replicas = root.down("spec.replicas").number().unwrap_or(1).clamp(0, 100);
    let templates = root.down("spec.volumeClaimTemplates").list();
    let names = templates.iter().map(|template| template.down("metadata.name").text_or_empty());
    names
        .flat_map(|name| (0..replicas).map(move |place| (name, place)))
        .map(|(name, place)| ("PersistentVolumeClaim", format!("{name}-{}-{place}", object.name), None))
        .collect()
}
