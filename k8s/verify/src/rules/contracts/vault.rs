//! Vault's agent injector: annotations that it reads, and files that fit their templates.

use std::sync::LazyLock;

use regex::Regex;

use crate::failure::Failure;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::schema::nearest;
use crate::world::World;

const PREFIX: &str = "vault.hashicorp.com/";

/// Annotations without a name of a secret at their end.
const READ: &[&str] = &[
    "agent-cache-enable",
    "agent-cache-exit-on-err",
    "agent-cache-listener-port",
    "agent-cache-use-auto-auth-token",
    "agent-configmap",
    "agent-copy-volume-mounts",
    "agent-disable-idle-connections",
    "agent-disable-keep-alives",
    "agent-enable-quit",
    "agent-extra-secret",
    "agent-image",
    "agent-init-first",
    "agent-init-json-patch",
    "agent-inject",
    "agent-inject-containers",
    "agent-inject-default-template",
    "agent-inject-status",
    "agent-inject-token",
    "agent-json-patch",
    "agent-limits-cpu",
    "agent-limits-ephemeral",
    "agent-limits-mem",
    "agent-max-idle-connections",
    "agent-metrics-listener-port",
    "agent-pre-populate",
    "agent-pre-populate-only",
    "agent-requests-cpu",
    "agent-requests-ephemeral",
    "agent-requests-mem",
    "agent-revoke-grace",
    "agent-revoke-on-shutdown",
    "agent-run-as-group",
    "agent-run-as-same-user",
    "agent-run-as-user",
    "agent-service-account-token-volume-name",
    "agent-set-security-context",
    "agent-share-process-namespace",
    "agent-telemetry",
    "agent-template-static-secret-render-interval",
    "agent-auto-auth-exit-on-err",
    "auth-config-path",
    "auth-min-backoff",
    "auth-max-backoff",
    "auth-path",
    "auth-type",
    "ca-cert",
    "ca-key",
    "client-cert",
    "client-key",
    "client-max-retries",
    "client-timeout",
    "error-on-missing-key",
    "go-max-procs",
    "log-format",
    "log-level",
    "namespace",
    "preserve-secret-case",
    "proxy-address",
    "role",
    "secret-volume-path",
    "service",
    "ssl-cert-file",
    "template-config-exit-on-retry-failure",
    "template-left-delim",
    "template-max-connections-per-host",
    "template-right-delim",
    "template-static-secret-render-interval",
    "tls-secret",
    "tls-server-name",
    "tls-skip-verify",
];

/// Those with a name of a secret at their end.
const NAMED: &[&str] = &[
    "agent-inject-secret-",
    "agent-inject-template-",
    "agent-inject-template-file-",
    "agent-inject-file-",
    "agent-inject-perms-",
    "agent-inject-containers-",
    "agent-inject-command-",
    "secret-volume-path-",
    "preserve-secret-case-",
    "error-on-missing-key-",
    "auth-config-",
    "template-left-delim-",
    "template-right-delim-",
];

/// Those that say whether.
const BOOLEANS: &[&str] = &[
    "agent-cache-enable",
    "agent-cache-exit-on-err",
    "agent-enable-quit",
    "agent-init-first",
    "agent-inject-token",
    "agent-pre-populate",
    "agent-pre-populate-only",
    "agent-revoke-on-shutdown",
    "agent-run-as-same-user",
    "agent-set-security-context",
    "agent-share-process-namespace",
    "error-on-missing-key",
    "preserve-secret-case",
    "template-config-exit-on-retry-failure",
    "tls-skip-verify",
];
const GO_BOOLEANS: &[&str] =
    &["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::all(world) {
        of_pod(&pod.metadata.at("annotations"), failures);
        let own = Field::root(pod.object).at("metadata").at("annotations");
        if pod.object.kind != "Pod" && !pod.is_partial {
            for (key, value) in own.map().into_iter().filter(|(key, _)| key.starts_with(PREFIX)) {
                value.fail(
                    failures,
                    format!("`{key}` is read on pods alone"),
                    "in spec.template.metadata.annotations",
                );
            }
        }
    }
}

fn of_pod(annotations: &Field<'_>, failures: &mut Vec<Failure>) {
    let all = annotations.map();
    let ours: Vec<_> =
        all.iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value))).collect();
    if ours.is_empty() {
        return;
    }
    let has = |name: &str| ours.iter().any(|(key, _)| *key == name);
    let value = |name: &str| annotations.at(&format!("{PREFIX}{name}"));
    let inject = value("agent-inject");
    if !has("agent-inject") {
        inject.fail(failures, "is missing: the injector leaves the pod as it is", "\"true\"");
    } else if inject.text().is_none_or(|text| !matches!(text, "true" | "false")) {
        inject.fail(failures, format!("is {}", inject.quoted()), "\"true\"");
    }
    if !has("role") && !has("agent-configmap") && !has("auth-config-path") && inject.text() == Some("true") {
        value("role").fail(
            failures,
            "is missing: the agent can't log in",
            "the role of Vault's Kubernetes auth",
        );
    }
    for (key, value) in &ours {
        if READ.contains(key) || NAMED.iter().any(|start| key.starts_with(start) && key.len() > start.len()) {
            continue;
        }
        let near = nearest(key, READ.iter().copied()).map(str::to_owned).or_else(|| near_start(key));
        let right = near
            .map_or("an annotation of the injector's".to_owned(), |near| format!("perhaps `{PREFIX}{near}`"));
        value.fail(failures, format!("the injector reads no `{PREFIX}{key}`"), right);
    }
    for start in
        ["agent-inject-template-", "agent-inject-file-", "agent-inject-perms-", "agent-inject-command-"]
    {
        for (key, field) in ours
            .iter()
            .filter(|(key, _)| key.starts_with(start) && !key.starts_with("agent-inject-template-file-"))
        {
            let secret = &key[start.len()..];
            if !has(&format!("agent-inject-secret-{secret}")) {
                let right = format!("{PREFIX}agent-inject-secret-{secret} with the secret's path");
                field.fail(failures, format!("no secret is named `{secret}`: this is never read"), right);
            }
        }
    }
    for (key, field) in ours.iter().filter(|(key, _)| {
        key.starts_with("agent-inject-template-") && !key.starts_with("agent-inject-template-file-")
    }) {
        let text = field.text().unwrap_or_default();
        let count = |word: &str| text.matches(word).count();
        if count("{{") != count("}}") {
            field.fail(
                failures,
                format!("`{key}` has {} of {{{{ and {} of }}}}", count("{{"), count("}}")),
                "each closed",
            );
        }
    }
    for (key, field) in ours.iter().filter(|(key, _)| {
        key.starts_with("agent-inject-template-") && !key.starts_with("agent-inject-template-file-")
    }) {
        let secret = value(&format!("agent-inject-secret-{}", &key["agent-inject-template-".len()..]));
        template(&secret, field, failures);
    }
    for (key, field) in &ours {
        if BOOLEANS.contains(key) && field.text().is_none_or(|text| !GO_BOOLEANS.contains(&text)) {
            field.fail(failures, format!("`{key}` is {}", field.quoted()), "\"true\" or \"false\"");
        }
        let amount = key.starts_with("agent-limits-") || key.starts_with("agent-requests-");
        // An empty one takes the bound away.
        if amount && field.text().is_some() && field.quantity().is_none() {
            field.fail(failures, format!("`{key}` is {}", field.quoted()), "an amount, as 100m or 64Mi");
        }
    }
    for (key, field) in ours.iter().filter(|(key, _)| key.starts_with("agent-inject-perms-")) {
        if field.text().is_some_and(|text| u32::from_str_radix(text, 8).is_err()) {
            field.fail(failures, format!("`{key}` is {}", field.quoted()), "octal digits, as 0440");
        }
    }
}

/// A template reads what its secret says, and of version 2 of a store what lies one deeper.
fn template(secret: &Field<'_>, field: &Field<'_>, failures: &mut Vec<Failure>) {
    static READ: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"secret\s+["`]([^"`]+)["`]"#).expect("a pattern of ours"));
    static DATA: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\.Data\.(\w+)").expect("a pattern of ours"));
    let text = field.text_or_empty();
    let read: Vec<&str> =
        READ.captures_iter(text).filter_map(|found| found.get(1)).map(|path| path.as_str()).collect();
    if secret.text().is_some_and(|path| !read.is_empty() && !read.contains(&path)) {
        secret.fail(
            failures,
            format!("{} is not what its template reads", secret.quoted()),
            format!("one of {}", read.join(", ")),
        );
    }
    let second = |path: &&str| path.split('/').nth(1) == Some("data");
    if !read.is_empty() && read.iter().all(second) {
        for name in DATA.captures_iter(text).filter_map(|found| found.get(1)).map(|name| name.as_str()) {
            if !matches!(name, "data" | "metadata") {
                field.fail(
                    failures,
                    format!("`.Data.{name}` is nothing: version 2 of a store has it one deeper"),
                    format!(".Data.data.{name}"),
                );
            }
        }
    }
}

/// A misspelt start of those with a name at their end.
fn near_start(key: &str) -> Option<String> {
    NAMED.iter().find_map(|start| {
        let words = start.trim_end_matches('-').matches('-').count() + 1;
        let said: Vec<&str> = key.splitn(words + 1, '-').collect();
        let (name, said) = said.split_last()?;
        (said.len() == words && nearest(&said.join("-"), [start.trim_end_matches('-')].into_iter()).is_some())
            .then(|| format!("{start}{name}"))
    })
}
