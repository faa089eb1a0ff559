//! Secrets and configuration: keys, sizes, and what a Secret's type promises.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::rules::field::Field;
use crate::rules::text;
use crate::{Failure, World};

/// All of an object's data together, in bytes.
const MOST: usize = 1 << 20;
/// Types, with the keys that each must have.
const TYPES: &[(&str, &[&str])] = &[
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/basic-auth", &[]),
    ("kubernetes.io/service-account-token", &[]),
];

/// Says what is wrong with Secrets and configuration.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("", "Secret") {
        secret(&Field::root(object), failures);
    }
    for object in world.of("", "ConfigMap") {
        let root = Field::root(object);
        let (data, binary) = (root.at("data"), root.at("binaryData"));
        let mut size = 0;
        for (key, value) in data.map() {
            size += value.text_or_empty().len();
            named(key, &value, failures);
            if binary.at(key).is_said() {
                value.fail(failures, format!("\"{key}\" is in binaryData too"), "one of the two");
            }
        }
        for (key, value) in binary.map() {
            size += decoded(&value, failures).map_or(0, |bytes| bytes.len());
            named(key, &value, failures);
        }
        if size > MOST {
            data.fail(failures, format!("hold {size} bytes"), format!("{MOST} at most all together"));
        }
    }
}

fn named(key: &str, value: &Field<'_>, failures: &mut Vec<Failure>) {
    if let Some((wrong, right)) = text::file_key(key) {
        value.fail(failures, wrong, right);
    }
}

fn decoded(value: &Field<'_>, failures: &mut Vec<Failure>) -> Option<Vec<u8>> {
    // An API server takes line breaks.
    let text: String = value.text_or_empty().split_whitespace().collect();
    let bytes = STANDARD.decode(&text);
    if bytes.is_err() {
        value.fail(failures, "is no base64", "base64, or plain text in stringData");
    }
    bytes.ok()
}

fn secret(root: &Field<'_>, failures: &mut Vec<Failure>) {
    let (data, plain, kind) = (root.at("data"), root.at("stringData"), root.at("type"));
    let mut size = 0;
    for (key, value) in data.map() {
        named(key, &value, failures);
        size += decoded(&value, failures).map_or(0, |bytes| bytes.len());
    }
    for (key, value) in plain.map() {
        named(key, &value, failures);
        size += value.text_or_empty().len();
    }
    if size > MOST {
        data.fail(failures, format!("hold {size} bytes"), format!("{MOST} at most all together"));
    }
    let known = TYPES.iter().find(|(of, _)| Some(*of) == kind.text()).map(|(_, keys)| *keys);
    let needed = known.unwrap_or_default();
    for key in needed {
        if !data.at(key).is_said() && !plain.at(key).is_said() {
            data.at(key).fail(failures, "is missing", format!("a key that {} has", kind.text_or_empty()));
        }
    }
    match kind.text_or_empty() {
        "kubernetes.io/dockerconfigjson" | "kubernetes.io/dockercfg" => {
            let key = needed.first().copied().unwrap_or_default();
            let bytes = STANDARD.decode(data.at(key).text_or_empty()).ok();
            let written = plain
                .at(key)
                .value()
                .and_then(serde_json::Value::as_str)
                .map(|text| text.as_bytes().to_vec());
            let read = written.or(bytes.filter(|bytes| !bytes.is_empty()));
            if read.is_some_and(|json| {
                !serde_json::from_slice::<serde_json::Value>(&json).is_ok_and(|json| json.is_object())
            }) {
                let field = if plain.at(key).is_said() { plain.at(key) } else { data.at(key) };
                field.fail(failures, "is no JSON object", "{\"auths\": {…}}");
            }
        }
        "kubernetes.io/basic-auth"
            if ["username", "password"]
                .iter()
                .all(|key| !data.at(key).is_said() && !plain.at(key).is_said()) =>
        {
            data.fail(failures, "has no username and no password", "one at least");
        }
        "kubernetes.io/ssh-auth" if data.at("ssh-privatekey").is_said() && plain.is_empty() => {
            data.at("ssh-privatekey").require(failures, "a key");
        }
        "kubernetes.io/service-account-token" => {
            let account = root.at("metadata").at("annotations").at("kubernetes.io/service-account.name");
            account.require(failures, "the account's name");
        }
        "Opaque" | "" => {}
        other if other.starts_with("kubernetes.io/") && known.is_none() => {
            kind.fail(
                failures,
                format!("Kubernetes has no type \"{other}\""),
                "as Opaque or kubernetes.io/tls",
            );
        }
        _ => {}
    }
}
