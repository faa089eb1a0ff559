//! Containers: names, images, variables, hooks, and what init and ephemeral containers may not have.

use std::collections::BTreeSet;

use crate::rules::field::Field;
use crate::rules::pods::{Pod, is_sidecar};
use crate::rules::text;
use crate::{Failure, World};

/// What a variable can be taken of a pod.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const SOURCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// Says what is wrong with containers.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        let containers = pod.spec.at("containers");
        if containers.is_empty() {
            containers.fail(failures, "there is no container", "one at least");
        }
        let mut names = BTreeSet::new();
        for container in pod.all_containers() {
            let name = container.at("name");
            name.require(failures, "a container's name");
            name.form(failures, text::label);
            if !names.insert(name.text_or_empty()) && name.text().is_some() {
                name.fail(failures, format!("{} is there twice in one pod", name.quoted()), "another name");
            }
            one(&container, failures);
        }
        for init in pod.init_containers().iter().filter(|init| !is_sidecar(init)) {
            for only in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if init.at(only).is_said() {
                    init.at(only).fail(
                        failures,
                        "an init container ends before it could matter",
                        "restartPolicy: Always beside it, or without",
                    );
                }
            }
        }
        for ephemeral in pod.spec.at("ephemeralContainers").list() {
            for never in
                ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources"]
            {
                if ephemeral.at(never).is_said() {
                    ephemeral.at(never).fail(failures, "an ephemeral container has none", "leave it out");
                }
            }
        }
        hooks(&pod, failures);
    }
}

fn one(container: &Field<'_>, failures: &mut Vec<Failure>) {
    image(&container.at("image"), failures);
    container.at("imagePullPolicy").one_of(failures, &["Always", "IfNotPresent", "Never"]);
    container.at("terminationMessagePolicy").one_of(failures, &["File", "FallbackToLogsOnError"]);
    container.at("restartPolicy").one_of(failures, &["Always", "OnFailure", "Never"]);
    for policy in container.at("resizePolicy").list() {
        policy.at("resourceName").one_of_said(failures, &["cpu", "memory"]);
        policy.at("restartPolicy").one_of_said(failures, &["NotRequired", "RestartContainer"]);
    }
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for variable in container.at("env").list() {
        let name = variable.at("name");
        name.require(failures, "a variable's name");
        name.form(failures, text::variable);
        if name.text().is_some_and(|name| !names.insert(name)) {
            name.fail(failures, format!("{} is set twice: the last wins", name.quoted()), "one of them");
        }
        source(&variable, failures);
    }
    for from in container.at("envFrom").list() {
        from.at("prefix").form(failures, text::variable);
        let sources = ["configMapRef", "secretRef"].map(|source| from.at(source));
        match sources.iter().filter(|source| source.is_said()).count() {
            1 => {}
            0 => from.fail(failures, "takes variables from nothing", "configMapRef or secretRef"),
            _ => from.fail(
                failures,
                "takes variables from two",
                "configMapRef or secretRef, and an entry each",
            ),
        }
        for source in sources.iter().filter(|source| source.is_said()) {
            source.at("name").require(failures, "the name of what variables are taken from");
            source.at("name").form(failures, text::subdomain);
        }
    }
}

/// What can't be an image, beyond what an API server checks: it takes any text, and the pod then waits for ever.
fn image(image: &Field<'_>, failures: &mut Vec<Failure>) {
    image.require(failures, "an image");
    let Some(text) = image.text() else { return };
    let right = "[registry/]name[:tag][@sha256:digest], in lower case";
    if text.trim() != text || text.contains(char::is_whitespace) {
        image.fail(failures, format!("{} holds white space", image.quoted()), right);
        return;
    }
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match name[slash..].find(':') {
        Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
        None => (name, None),
    };
    let is_tag = |tag: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || matches!(c, '.' | '-'))
    };
    // A registry may have capitals and a port; the rest may not.
    let rest = path.split_once('/').filter(|(first, _)| first.contains(['.', ':']) || *first == "localhost");
    let rest = rest.map_or(path, |(_, rest)| rest);
    let is_part = |part: &str| {
        let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(end)
            && part.ends_with(end)
            && part.chars().all(|c| end(c) || matches!(c, '.' | '_' | '-'))
    };
    let is_digest = |digest: &str| {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        digest.strip_prefix("sha256:").is_none_or(|hash| hash.len() == 64 && hash.chars().all(hex))
            && digest.contains(':')
    };
    if tag.is_some_and(|tag| !is_tag(tag)) || !rest.split('/').all(is_part) {
        image.fail(failures, format!("{} is no image", image.quoted()), right);
    } else if digest.is_some_and(|digest| !is_digest(digest)) {
        image.fail(
            failures,
            format!("{} has no whole digest", image.quoted()),
            "@sha256: and 64 hexadecimal digits",
        );
    }
}

/// One value, from one place.
fn source(variable: &Field<'_>, failures: &mut Vec<Failure>) {
    let from = variable.at("valueFrom");
    if !from.is_said() {
        return;
    }
    let sources = SOURCES.iter().filter(|source| from.at(source).is_said()).count();
    if !variable.at("value").is_empty() {
        from.fail(failures, "stands beside a value", "value or valueFrom");
    } else if sources != 1 {
        from.fail(failures, format!("names {sources} places"), format!("one of {}", SOURCES.join(", ")));
    }
    for by_key in ["configMapKeyRef", "secretKeyRef"].map(|by| from.at(by)).iter().filter(|by| by.is_said()) {
        by_key.at("name").require(failures, "a name");
        by_key.at("name").form(failures, text::subdomain);
        by_key.at("key").require(failures, "a key");
        by_key.at("key").form(failures, text::file_key);
    }
    field(&from.at("fieldRef").at("fieldPath"), POD_FIELDS, failures);
    from.at("fieldRef").at("apiVersion").one_of(failures, &["v1"]);
    resource(&from.at("resourceFieldRef"), failures);
}

/// A field of the pod, by path.
pub(crate) fn field(path: &Field<'_>, allowed: &[&str], failures: &mut Vec<Failure>) {
    let Some(text) = path.text() else { return };
    let by_key =
        ["metadata.labels['", "metadata.annotations['"].iter().find_map(|start| text.strip_prefix(start));
    match by_key.and_then(|rest| rest.strip_suffix("']")) {
        Some(key) => {
            if let Some((wrong, right)) = text::key(&key.to_lowercase()) {
                path.fail(failures, wrong, right);
            }
        }
        None if !allowed.contains(&text) => {
            let right =
                format!("one of {}, metadata.labels['KEY'], metadata.annotations['KEY']", allowed.join(", "));
            path.fail(failures, format!("{} can't be taken of a pod here", path.quoted()), right);
        }
        None => {}
    }
}

/// What a divisor can be, beside `1m` of the CPU.
const DIVISORS: &[&str] =
    &["0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A resource of a container, by name.
pub(crate) fn resource(reference: &Field<'_>, failures: &mut Vec<Failure>) {
    let name = reference.at("resource");
    let Some(text) = name.text() else { return };
    let divisor = reference.at("divisor");
    if let Some(said) = divisor.value() {
        let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
        let of_cpu = matches!(text, "limits.cpu" | "requests.cpu");
        let right = if of_cpu {
            matches!(said.as_str(), "1" | "1m" | "0")
        } else {
            DIVISORS.contains(&said.as_str())
        };
        if !right {
            let may =
                if of_cpu { "1 or 1m".to_owned() } else { format!("one of {}", DIVISORS[1..].join(", ")) };
            divisor.fail(failures, format!("{} divides no {text}", divisor.quoted()), may);
        }
    }
    let known = ["cpu", "memory", "ephemeral-storage"];
    let of = text.strip_prefix("limits.").or_else(|| text.strip_prefix("requests."));
    if !of.is_some_and(|of| known.contains(&of) || of.starts_with("hugepages-")) {
        name.fail(
            failures,
            format!("there is no {}", name.quoted()),
            "limits. or requests. with cpu, memory or ephemeral-storage",
        );
    }
}

/// What runs after the start and before the end.
fn hooks(pod: &Pod<'_>, failures: &mut Vec<Failure>) {
    for container in pod.running() {
        for hook in ["postStart", "preStop"].map(|hook| container.at("lifecycle").at(hook)) {
            if !hook.is_said() {
                continue;
            }
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            let said = kinds.iter().filter(|kind| hook.at(kind).is_said()).count();
            if said != 1 {
                hook.fail(failures, format!("names {said} handlers"), format!("one of {}", kinds.join(", ")));
            }
            let seconds = hook.at("sleep").at("seconds");
            let grace = pod.grace_seconds();
            if seconds.number().is_some_and(|seconds| seconds < 0 || seconds > grace) {
                let wrong = format!("sleeps {} s, and the pod is killed after {grace} s", seconds.quoted());
                seconds.fail(failures, wrong, "0 to terminationGracePeriodSeconds, with time left to end in");
            }
            if hook.at("exec").is_said() {
                hook.at("exec").at("command").require(failures, "a command");
            }
        }
    }
}
