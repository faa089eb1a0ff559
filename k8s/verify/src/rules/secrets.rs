//! Secrets in plain text: in Git they are everybody's. A `Secret` says its values by a `SealedSecret` or an `ExternalSecret`, and no
//! variable, argument or configuration holds a token.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::Value;

use crate::failure::Failure;
use crate::object::Object;
use crate::path;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::world::World;

/// Says where a secret can be read.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in &world.objects {
        match (object.group(), object.kind.as_str()) {
            ("", "Secret") => secret(object, failures),
            // What is sealed looks like anything.
            ("bitnami.com", "SealedSecret") | ("apiextensions.k8s.io", _) => {}
            _ => tokens(object, &object.value, "", failures),
        }
    }
    for pod in Pod::all(world) {
        for container in pod.all_containers() {
            for variable in container.at("env").list() {
                let (name, value) = (variable.at("name").text_or_empty(), variable.at("value"));
                if value.text().is_some_and(|text| names_a_secret(name) && !is_reference(text)) {
                    let wrong = format!("`{name}` holds its secret in plain text");
                    value.fail(failures, wrong, "valueFrom.secretKeyRef, or a file out of a Secret");
                }
            }
        }
    }
}

const RIGHT: &str = "a SealedSecret or an ExternalSecret that makes it";

fn secret(object: &Object, failures: &mut Vec<Failure>) {
    let root = Field::root(object);
    let kind = root.at("type").text().unwrap_or("Opaque");
    if kind == "kubernetes.io/service-account-token" {
        return;
    }
    for (field, encoded) in [("data", true), ("stringData", false)] {
        for (key, value) in root.at(field).map() {
            let Some(text) = value.text() else { continue };
            let plain = if encoded { decoded(text) } else { text.to_owned() };
            if !is_harmless(key, &plain) {
                value.fail(failures, format!("`{key}` stands in plain text"), RIGHT);
            }
        }
    }
}

fn decoded(text: &str) -> String {
    let bytes = STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Keys of a Secret that tell nothing: certificates, names, addresses, switches, and what is filled in later.
fn is_harmless(key: &str, plain: &str) -> bool {
    let text = plain.trim();
    let certificate = text.starts_with("-----BEGIN CERTIFICATE-----") && !text.contains("PRIVATE KEY");
    let public = [
        "ca.crt",
        "ca-bundle.crt",
        "tls.crt",
        "username",
        "user",
        "url",
        "type",
        "name",
        "project",
        "server",
        "namespace",
        "enableOCI",
    ];
    let address = text.starts_with("http") && !text.contains('@');
    text.is_empty()
        || certificate
        || public.contains(&key)
        || address
        || matches!(text, "true" | "false")
        || is_reference(text)
}

/// A value that says where the secret is, or that it is filled in later.
fn is_reference(text: &str) -> bool {
    let text = text.trim();
    let placeholder = (text.starts_with('<') && text.ends_with('>'))
        || text.starts_with("$(")
        || text.starts_with("${")
        || text.contains("{{");
    let file = text.starts_with('/')
        || text.starts_with("vault:")
        || text.starts_with("ref+")
        || text.starts_with("secretkeyref:");
    let switch = text.len() < 2
        || text.parse::<f64>().is_ok()
        || matches!(text, "true" | "false" | "none" | "enabled" | "disabled" | "required" | "optional");
    text.is_empty() || placeholder || file || switch
}

/// By the last words of a variable's name.
fn names_a_secret(name: &str) -> bool {
    static NAMES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)(^|[_.-])(password|passwd|secret|token|api_?key|private_?key|secret_?key|access_?key|credentials?)$").expect("a pattern of ours")
    });
    // Where it is, what it is called and how long it lasts is no secret.
    NAMES.is_match(name)
}

/// Tokens that can't be mistaken for anything else.
const TOKENS: &[(&str, &str)] = &[
    (r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\s*[A-Za-z0-9+/=\s]{64}", "a private key"),
    (r"\bAKIA[0-9A-Z]{16}\b", "a key of AWS"),
    (r"\bgh[pousr]_[A-Za-z0-9]{36,}\b", "a token of GitHub"),
    (r"\bgithub_pat_[A-Za-z0-9_]{50,}\b", "a token of GitHub"),
    (r"\bglpat-[A-Za-z0-9_-]{20,}\b", "a token of GitLab"),
    (r"\bxox[abprs]-[A-Za-z0-9-]{20,}\b", "a token of Slack"),
    (r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}\b", "a token of Vault"),
    (r"\bsk_live_[A-Za-z0-9]{20,}\b", "a key of Stripe"),
    (r"\bAIza[A-Za-z0-9_-]{35}\b", "a key of Google"),
    (r"\bhf_[A-Za-z]{34}\b", "a token of Hugging Face"),
    (r"\bnvapi-[A-Za-z0-9_-]{40,}\b", "a key of NVIDIA"),
    (r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}\b", "a signed token (JWT)"),
    (r"\b[a-z][a-z0-9+]*://[^\s/:@$<{]*:[^\s/:@$<{*]+@[A-Za-z0-9]", "a password in an address"),
];

fn tokens(object: &Object, value: &Value, at: &str, failures: &mut Vec<Failure>) {
    static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        TOKENS
            .iter()
            .map(|(pattern, what)| (Regex::new(pattern).expect("a pattern of ours"), *what))
            .collect()
    });
    match value {
        Value::String(text) => {
            if let Some((_, what)) = PATTERNS.iter().find(|(pattern, _)| pattern.is_match(text)) {
                failures.push(object.failure(
                    at,
                    format!("holds {what} in plain text"),
                    "a reference to a Secret that is sealed or external",
                ));
            }
        }
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| tokens(object, value, &path::key(at, key), failures));
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| tokens(object, item, &path::item(at, index), failures)),
        _ => {}
    }
}
