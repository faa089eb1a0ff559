//! Sealed Secrets and External Secrets: what is committed can be opened, and fits its scope.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use crate::failure::Failure;
use crate::object::Object;
use crate::rules::field::Field;
use crate::rules::span;
use crate::world::World;

/// Bytes before the text: length of the wrapped key, a key of 2048 bits or more, the tag of AES-GCM.
const KEY_SIZES: [usize; 4] = [256, 384, 512, 1024];
const TAG: usize = 16;

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("bitnami.com", "SealedSecret") {
        sealed(object, failures);
    }
    for object in world.of("external-secrets.io", "ExternalSecret") {
        external(object, failures);
    }
}

fn sealed(object: &Object, failures: &mut Vec<Failure>) {
    let root = Field::root(object);
    let data = root.down("spec.encryptedData");
    if data.is_empty() {
        data.fail(failures, "is missing: nothing is sealed", "keys with what kubeseal wrote");
    }
    for (_, value) in data.map() {
        if let Some(wrong) = value.text().and_then(unopenable) {
            value.fail(failures, wrong, "what `kubeseal` wrote, unchanged");
        }
    }
    let template = root.down("spec.template.metadata");
    for field in ["name", "namespace"] {
        let (own, made) = (root.at("metadata").at(field), template.at(field));
        if made.text().is_some() && own.text().is_some() && made.text() != own.text() {
            made.fail(
                failures,
                format!("{} is not the SealedSecret's {}", made.quoted(), own.quoted()),
                "the same",
            );
        }
    }
    let annotations = root.at("metadata").at("annotations");
    let wide =
        |scope: &str| annotations.at(&format!("sealedsecrets.bitnami.com/{scope}")).text() == Some("true");
    if wide("cluster-wide") && wide("namespace-wide") {
        annotations.fail(failures, "is cluster-wide and namespace-wide", "one scope");
    }
    if !root.down("spec.template.data").is_empty() || !root.down("spec.template.stringData").is_empty() {
        // A template's data may refer to sealed values; texts without any are in plain sight.
        for (_, value) in root.down("spec.template.data").map() {
            if value.text().is_some_and(|text| !text.contains("{{") && text.len() > 64) {
                value.fail(failures, "is not sealed", "encryptedData");
            }
        }
    }
}

/// What is wrong with a sealed value, as far as it shows without the key.
fn unopenable(text: &str) -> Option<String> {
    let Ok(bytes) = STANDARD.decode(text.trim()) else {
        return Some("is no base64".to_owned());
    };
    let [first, second, rest @ ..] = bytes.as_slice() else {
        return Some("is empty".to_owned());
    };
    let key = usize::from(u16::from_be_bytes([*first, *second]));
    if !KEY_SIZES.contains(&key) {
        return Some(format!("begins with a wrapped key of {key} bytes: it was not sealed, or was changed"));
    }
    (rest.len() < key + TAG).then(|| "is cut off".to_owned())
}

fn external(object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    if spec.at("data").is_empty() && spec.at("dataFrom").is_empty() {
        spec.fail(failures, "brings nothing", "data or dataFrom");
    }
    let mut keys = Vec::new();
    for entry in spec.at("data").list() {
        let key = entry.at("secretKey");
        if key.text().is_some_and(|key| keys.contains(&key)) {
            key.fail(failures, format!("a second {}", key.quoted()), "each key once");
        }
        keys.extend(key.text());
    }
    let every = spec.at("refreshInterval");
    if every.text().is_some_and(|text| span::millis(text).is_none()) {
        every.fail(failures, format!("{} is no time", every.quoted()), "as 1m or 1h30m");
    }
    if spec.at("dataFrom").is_empty() && spec.down("target.template.templateFrom").is_empty() {
        for (_, value) in spec.down("target.template.data").map() {
            for name in template_keys(value.text_or_empty()).filter(|name| !keys.contains(name)) {
                value.fail(
                    failures,
                    format!("`.{name}` is nothing that is brought"),
                    format!("one of {}", keys.join(", ")),
                );
            }
        }
    }
    let policy = spec.at("target").at("creationPolicy").text().unwrap_or("Owner");
    if policy != "Owner" && spec.at("target").at("deletionPolicy").text() == Some("Delete") {
        let right = "creationPolicy: Owner, or deletionPolicy: Retain";
        spec.at("target").at("deletionPolicy").fail(
            failures,
            format!("Delete with creationPolicy {policy}"),
            right,
        );
    }
}

/// Names at the beginning of a template's pieces; none where `.` may be another one's.
fn template_keys(text: &str) -> impl Iterator<Item = &str> {
    static KEY: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{\{-?\s*\.([A-Za-z_]\w*)").expect("a pattern of ours"));
    let moves = ["range", "with", "define"].iter().any(|word| text.contains(word));
    let text = if moves { "" } else { text };
    KEY.captures_iter(text).filter_map(|found| found.get(1)).map(|name| name.as_str())
}
