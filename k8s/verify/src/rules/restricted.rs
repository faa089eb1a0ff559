//! Pod security `restricted` and `baseline`, as Kubernetes' own admission decides them: for pods in namespaces that enforce one, and
//! `restricted` for our own pods wherever they are.

use serde_json::Value;

use crate::failure::Failure;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::world::World;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Baseline,
    Restricted,
}

/// Says which pods admission would refuse.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::all(world) {
        let Some(level) = level(world, &pod) else { continue };
        if pod.spec.at("os").at("name").text() != Some("windows") {
            judge(&pod, level, failures);
        }
    }
}

fn level(world: &World, pod: &Pod<'_>) -> Option<Level> {
    let namespace = pod.object.namespace.as_deref();
    let enforced = world.of("", "Namespace").find(|one| Some(one.name.as_str()) == namespace);
    let enforced = enforced.and_then(|one| {
        one.value
            .get("metadata")?
            .get("labels")?
            .get("pod-security.kubernetes.io/enforce")
            .and_then(Value::as_str)
    });
    match enforced {
        Some("restricted") => Some(Level::Restricted),
        Some("privileged") => None,
        Some("baseline") if !is_ours(pod) => Some(Level::Baseline),
        _ if is_ours(pod) => Some(Level::Restricted),
        _ => None,
    }
}

/// By the labels of the chart, or an image of ours.
fn is_ours(pod: &Pod<'_>) -> bool {
    let labels = pod.labels();
    let labelled = ["app.kubernetes.io/part-of", "app.kubernetes.io/name"]
        .iter()
        .any(|key| labels.get(key) == Some(&"forebay"));
    labelled
        || pod
            .containers()
            .iter()
            .any(|container| super::settings::is_our_image(container.at("image").text_or_empty()))
}

fn judge(pod: &Pod<'_>, level: Level, failures: &mut Vec<Failure>) {
    let spec = &pod.spec;
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec.at(field).is_true() {
            spec.at(field).fail(failures, "shares the node's", "false: pod security forbids it");
        }
    }
    for volume in spec.at("volumes").list() {
        volumes(&volume, level, failures);
    }
    let whole = spec.at("securityContext");
    context(&whole, level, failures);
    for container in pod.all_containers() {
        let own = container.at("securityContext");
        context(&own, level, failures);
        if own.at("privileged").is_true() {
            own.at("privileged").fail(
                failures,
                "may do anything on the node",
                "false: pod security forbids it",
            );
        }
        let mount = own.at("procMount");
        if mount.text().is_some_and(|mount| mount != "Default") {
            mount.fail(failures, format!("is {}", mount.quoted()), "Default");
        }
        for port in container.at("ports").list() {
            let port = port.at("hostPort");
            if port.number().is_some_and(|number| number != 0) {
                port.fail(failures, "takes a port of the node", "none: pod security forbids it");
            }
        }
        capabilities(&own, level, failures);
        if level == Level::Restricted && !pod.is_partial {
            restricted(&whole, &own, failures);
        }
    }
}

const VOLUMES: [&str; 9] = [
    "name",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
];

fn volumes(volume: &Field<'_>, level: Level, failures: &mut Vec<Failure>) {
    if volume.at("hostPath").is_said() {
        volume.at("hostPath").fail(
            failures,
            "mounts a folder of the node",
            "another kind of volume: pod security forbids it",
        );
    } else if level == Level::Restricted {
        for (kind, field) in
            volume.map().into_iter().filter(|(kind, _)| !VOLUMES.contains(kind) && *kind != "secret")
        {
            field.fail(
                failures,
                format!("pod security `restricted` allows no volume of {kind}"),
                format!("secret or one of {}", VOLUMES[1..].join(", ")),
            );
        }
    }
}

fn context(context: &Field<'_>, level: Level, failures: &mut Vec<Failure>) {
    let profile = context.at("seccompProfile").at("type");
    if profile.text() == Some("Unconfined") {
        profile.fail(failures, "is Unconfined", "RuntimeDefault");
    }
    let armor = context.at("appArmorProfile").at("type");
    if armor.text() == Some("Unconfined") {
        armor.fail(failures, "is Unconfined", "RuntimeDefault");
    }
    let linux = context.at("seLinuxOptions");
    let kind = linux.at("type");
    if kind.text().is_some_and(|kind| {
        !["container_t", "container_init_t", "container_kvm_t", "container_engine_t"].contains(&kind)
    }) {
        kind.fail(failures, format!("is {}", kind.quoted()), "container_t");
    }
    if context.at("windowsOptions").at("hostProcess").is_true() {
        context.at("windowsOptions").at("hostProcess").fail(failures, "runs on the node", "false");
    }
    if level == Level::Restricted {
        let user = context.at("runAsUser");
        if user.number() == Some(0) {
            user.fail(failures, "is root", "a user above 0");
        }
        let not_root = context.at("runAsNonRoot");
        if not_root.is_false() {
            not_root.fail(failures, "is false", "true");
        }
    }
}

const BASELINE: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(own: &Field<'_>, level: Level, failures: &mut Vec<Failure>) {
    let allowed: &[&str] = if level == Level::Restricted { &["NET_BIND_SERVICE"] } else { &BASELINE };
    for added in own.at("capabilities").at("add").list() {
        if added.text().is_some_and(|name| !allowed.contains(&name)) {
            added.fail(
                failures,
                format!("adds {}", added.quoted()),
                format!("at most {}", allowed.join(", ")),
            );
        }
    }
}

/// What must be said, by the pod or each container.
fn restricted(pod: &Field<'_>, own: &Field<'_>, failures: &mut Vec<Failure>) {
    if !own.at("allowPrivilegeEscalation").is_false() {
        own.at("allowPrivilegeEscalation").fail(failures, "is not false", "false");
    }
    let drops = own.at("capabilities").at("drop");
    if !drops.list().iter().any(|name| name.text() == Some("ALL")) {
        drops.fail(failures, "does not drop ALL", "[ALL]");
    }
    let said = |field: &str| own.at(field).is_said() || pod.at(field).is_said();
    if !said("runAsNonRoot") {
        own.at("runAsNonRoot").fail(failures, "is missing here and in the pod", "true");
    }
    if !own.at("seccompProfile").at("type").is_said() && !pod.at("seccompProfile").at("type").is_said() {
        own.at("seccompProfile").fail(failures, "is missing here and in the pod", "type: RuntimeDefault");
    }
}
