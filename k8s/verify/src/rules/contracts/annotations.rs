//! Annotations and labels by which controllers are told something: a name that nobody reads is a misspelt one, and a value has the
//! form that its reader knows.

use crate::failure::Failure;
use crate::object::Object;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::schema::nearest;
use crate::world::World;

/// What a value may be.
enum Form {
    Any,
    Flag,
    Number,
    OneOf(&'static [&'static str]),
}

use Form::{Any, Flag, Number, OneOf};

/// Prefixes whose owners read these names and no others.
const READ: &[(&str, &[(&str, Form)])] = &[
    (
        "sidecar.istio.io/",
        &[
            ("inject", Flag),
            ("agentLogLevel", Any),
            ("bootstrapOverride", Any),
            ("componentLogLevel", Any),
            ("controlPlaneAuthPolicy", Any),
            ("discoveryAddress", Any),
            ("enableCoreDump", Flag),
            ("extraStatTags", Any),
            ("interceptionMode", OneOf(&["REDIRECT", "TPROXY", "NONE"])),
            ("logLevel", OneOf(&["trace", "debug", "info", "warning", "warn", "error", "critical", "off"])),
            ("nativeSidecar", Flag),
            ("proxyCPU", Any),
            ("proxyCPULimit", Any),
            ("proxyImage", Any),
            ("proxyImageType", Any),
            ("proxyMemory", Any),
            ("proxyMemoryLimit", Any),
            ("rewriteAppHTTPProbers", Flag),
            ("statsHistogramBuckets", Any),
            ("statsCompression", Flag),
            ("statsEvictionInterval", Any),
            ("statsInclusionPrefixes", Any),
            ("statsInclusionRegexps", Any),
            ("statsInclusionSuffixes", Any),
            ("status", Any),
            ("userVolume", Any),
            ("userVolumeMount", Any),
        ],
    ),
    (
        "traffic.sidecar.istio.io/",
        &[
            ("excludeInboundPorts", Any),
            ("excludeInterfaces", Any),
            ("excludeOutboundIPRanges", Any),
            ("excludeOutboundPorts", Any),
            ("includeInboundPorts", Any),
            ("includeOutboundIPRanges", Any),
            ("includeOutboundPorts", Any),
            ("kubevirtInterfaces", Any),
        ],
    ),
    (
        "prometheus.io/",
        &[
            ("scrape", Any),
            ("port", Any),
            ("path", Any),
            ("scheme", OneOf(&["http", "https"])),
            ("interval", Any),
            ("timeout", Any),
            ("scrape_slow", Any),
            ("probe", Any),
            ("param", Any),
            ("module", Any),
            ("label", Any),
        ],
    ),
    (
        "pod-security.kubernetes.io/",
        &[
            ("enforce", OneOf(&["privileged", "baseline", "restricted"])),
            ("audit", OneOf(&["privileged", "baseline", "restricted"])),
            ("warn", OneOf(&["privileged", "baseline", "restricted"])),
            ("enforce-version", Any),
            ("audit-version", Any),
            ("warn-version", Any),
        ],
    ),
    (
        "autoscaling.keda.sh/",
        &[
            ("paused", Flag),
            ("paused-replicas", Number),
            ("paused-scale-in", Flag),
            ("paused-scale-out", Flag),
        ],
    ),
    (
        "argocd.argoproj.io/",
        &[
            ("sync-wave", Number),
            ("hook", Any),
            ("hook-delete-policy", Any),
            ("sync-options", Any),
            ("compare-options", Any),
            ("refresh", OneOf(&["normal", "hard"])),
            ("hydrate", Any),
            ("tracking-id", Any),
            ("instance", Any),
            ("installation-id", Any),
            ("manifest-generate-paths", Any),
            ("skip-reconcile", Flag),
            ("managed-by-url", Any),
            ("managed-by", Any),
            (
                "secret-type",
                OneOf(&[
                    "cluster",
                    "repository",
                    "repo-creds",
                    "repository-write",
                    "repo-write-creds",
                    "scm-creds",
                ]),
            ),
            ("application-name", Any),
            ("application-namespace", Any),
            ("ignore-healthcheck", Flag),
            ("ignore-default-links", Any),
            ("ignore-resource-updates", Flag),
            ("client-side-apply-migration-manager", Any),
            ("cluster-ca-cert", Any),
            ("auto-label-cluster-info", Flag),
            ("kubernetes-version", Any),
        ],
    ),
    (
        "helm.sh/",
        &[
            ("chart", Any),
            ("hook", Any),
            ("hook-weight", Number),
            ("hook-delete-policy", Any),
            ("hook-output-log-policy", Any),
            ("resource-policy", OneOf(&["keep"])),
            ("readiness-success", Any),
            ("readiness-failure", Any),
            ("depends-on/resource-groups", Any),
            ("resource-group", Any),
        ],
    ),
    (
        "cluster-autoscaler.kubernetes.io/",
        &[
            ("safe-to-evict", Flag),
            ("safe-to-evict-local-volumes", Any),
            ("enable-ds-eviction", Flag),
            ("daemonset-pod", Flag),
            ("scale-down-disabled", Flag),
        ],
    ),
    (
        "sealedsecrets.bitnami.com/",
        &[
            ("cluster-wide", Flag),
            ("namespace-wide", Flag),
            ("managed", Flag),
            ("patch", Flag),
            ("skip-set-owner-references", Flag),
            ("immutable", Flag),
            ("sealed-secrets-key", Any),
        ],
    ),
];

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in &world.objects {
        let root = Field::root(object);
        both(&root.at("metadata"), failures);
        if let Some(pod) = Pod::of(object).filter(|_| object.kind != "Pod") {
            both(&pod.metadata, failures);
        }
        for path in ["spec.template.metadata", "spec.target.template.metadata"] {
            if matches!(object.kind.as_str(), "SealedSecret" | "ExternalSecret" | "ApplicationSet") {
                both(&root.down(path), failures);
            }
        }
        hooks(object, failures);
    }
}

fn both(metadata: &Field<'_>, failures: &mut Vec<Failure>) {
    for place in ["annotations", "labels"] {
        for (key, value) in metadata.at(place).map() {
            let found =
                READ.iter().find_map(|(prefix, names)| Some((prefix, *names, key.strip_prefix(prefix)?)));
            if let Some((prefix, names, name)) = found {
                one(prefix, names, name, &value, failures);
            } else if let Some(near) = misspelt_prefix(key) {
                value.fail(failures, format!("nobody reads `{key}`"), format!("perhaps `{near}`"));
            }
        }
    }
}

fn one(prefix: &str, names: &[(&str, Form)], name: &str, value: &Field<'_>, failures: &mut Vec<Failure>) {
    let Some((_, form)) = names.iter().find(|(known, _)| *known == name) else {
        // What is near to none may be newer than this list.
        if let Some(near) = nearest(name, names.iter().map(|(known, _)| *known)) {
            value.fail(
                failures,
                format!("nobody reads `{prefix}{name}`"),
                format!("perhaps `{prefix}{near}`"),
            );
        }
        return;
    };
    let Some(text) = value.text() else { return };
    let right = match form {
        Any => return,
        Flag if matches!(text, "true" | "false") => return,
        Flag => "\"true\" or \"false\"".to_owned(),
        Number if text.parse::<i64>().is_ok() => return,
        Number => "a whole number in quotes".to_owned(),
        OneOf(words) if words.contains(&text) => return,
        OneOf(words) => format!("one of {}", words.join(", ")),
    };
    value.fail(failures, format!("is {}", value.quoted()), right);
}

/// A key whose prefix is nearly one that somebody reads: `sidecars.istio.io/inject`.
fn misspelt_prefix(key: &str) -> Option<String> {
    let (domain, name) = key.split_once('/')?;
    let known = || READ.iter().map(|(prefix, _)| prefix.trim_end_matches('/'));
    let near = nearest(domain, known().filter(|one| one.len() > 10))?;
    let names = READ.iter().find(|(prefix, _)| prefix.trim_end_matches('/') == near)?.1;
    names.iter().any(|(one, _)| *one == name).then(|| format!("{near}/{name}"))
}

const HELM_HOOKS: [&str; 10] = [
    "pre-install",
    "post-install",
    "pre-delete",
    "post-delete",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "test",
    "test-success",
];
const ARGO_HOOKS: [&str; 7] = ["PreSync", "Sync", "PostSync", "SyncFail", "PostDelete", "PreDelete", "Skip"];

/// Lists of words with commas.
fn hooks(object: &Object, failures: &mut Vec<Failure>) {
    let annotations = Field::root(object).at("metadata").at("annotations");
    let lists: [(&str, &[&str]); 4] = [
        ("helm.sh/hook", &HELM_HOOKS),
        ("helm.sh/hook-delete-policy", &["before-hook-creation", "hook-succeeded", "hook-failed"]),
        ("argocd.argoproj.io/hook", &ARGO_HOOKS),
        ("argocd.argoproj.io/hook-delete-policy", &["HookSucceeded", "HookFailed", "BeforeHookCreation"]),
    ];
    for (key, words) in lists {
        let value = annotations.at(key);
        // `crd-install` is of Helm 2, which charts still carry for it.
        let strange = value.text().into_iter().flat_map(|text| text.split(',')).map(str::trim);
        for word in
            strange.filter(|word| !words.contains(word) && *word != "crd-install" && *word != "test-failure")
        {
            value.fail(failures, format!("there is no {word:?}"), format!("one of {}", words.join(", ")));
        }
    }
}
