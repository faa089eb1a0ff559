//! What pods may do on their node: contradictions between settings, ids and profiles that can't be.

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::{Failure, World};

const MOST_ID: i64 = i32::MAX as i64;

/// What Linux knows, and all of it.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// Says what is wrong with security contexts.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        let of_pod = pod.spec.at("securityContext");
        for id in ["fsGroup", "runAsUser", "runAsGroup"] {
            of_pod.at(id).between(failures, 0, MOST_ID);
        }
        for group in of_pod.at("supplementalGroups").list() {
            group.between(failures, 0, MOST_ID);
        }
        of_pod.at("fsGroupChangePolicy").one_of_said(failures, &["OnRootMismatch", "Always"]);
        of_pod.at("supplementalGroupsPolicy").one_of_said(failures, &["Merge", "Strict"]);
        profiles(&of_pod, failures);
        sysctls(&pod, &of_pod, failures);
        if pod.spec.at("shareProcessNamespace").is_true() && pod.spec.at("hostPID").is_true() {
            pod.spec.at("shareProcessNamespace").fail(failures, "stands beside hostPID", "one of the two");
        }
        for container in pod.all_containers() {
            of_container(&pod, &of_pod, &container.at("securityContext"), failures);
        }
    }
}

fn of_container(pod: &Pod<'_>, of_pod: &Field<'_>, context: &Field<'_>, failures: &mut Vec<Failure>) {
    for id in ["runAsUser", "runAsGroup"] {
        context.at(id).between(failures, 0, MOST_ID);
    }
    profiles(context, failures);
    let escalation = context.at("allowPrivilegeEscalation");
    if escalation.is_false() {
        let added = context.at("capabilities").at("add").list();
        if context.at("privileged").is_true() {
            escalation.fail(failures, "is false beside privileged: true", "one of the two");
        } else if added
            .iter()
            .any(|capability| matches!(capability.text(), Some("CAP_SYS_ADMIN" | "SYS_ADMIN")))
        {
            escalation.fail(failures, "is false beside the capability SYS_ADMIN", "one of the two");
        }
    }
    for capability in ["add", "drop"].iter().flat_map(|list| context.at("capabilities").at(list).list()) {
        let known = |text: &str| {
            let name = text.to_ascii_uppercase();
            CAPABILITIES.contains(&name.strip_prefix("CAP_").unwrap_or(&name))
        };
        if capability.text().is_some_and(|text| !known(text)) {
            capability.fail(
                failures,
                format!("{} is no capability", capability.quoted()),
                "capital letters, as NET_ADMIN or ALL",
            );
        } else if capability.text().is_some_and(|text| text.starts_with("CAP_"))
            && capability.path.contains("drop")
        {
            capability.fail(
                failures,
                format!("{} drops nothing", capability.quoted()),
                "the name without CAP_",
            );
        }
    }
    // The kubelet refuses to start it, once it is scheduled.
    let user =
        if context.at("runAsUser").is_said() { context.at("runAsUser") } else { of_pod.at("runAsUser") };
    let not_root = if context.at("runAsNonRoot").is_said() { context } else { of_pod };
    if user.number() == Some(0) && not_root.at("runAsNonRoot").is_true() {
        user.fail(
            failures,
            "is root's, and runAsNonRoot is true: the container would never start",
            "another id, or runAsNonRoot: false",
        );
    }
    context.at("procMount").one_of_said(failures, &["Default", "Unmasked"]);
    if context.at("procMount").text() == Some("Unmasked") && !pod.spec.at("hostUsers").is_false() {
        context.at("procMount").fail(
            failures,
            "is Unmasked in the host's user namespace",
            "hostUsers: false, or Default",
        );
    }
}

fn profiles(context: &Field<'_>, failures: &mut Vec<Failure>) {
    for profile in ["seccompProfile", "appArmorProfile"].map(|profile| context.at(profile)) {
        if !profile.is_said() {
            continue;
        }
        let (kind, local) = (profile.at("type"), profile.at("localhostProfile"));
        kind.require(failures, "RuntimeDefault, Localhost or Unconfined");
        kind.one_of(failures, &["RuntimeDefault", "Localhost", "Unconfined"]);
        match (kind.text(), local.text()) {
            (Some("Localhost"), None) => {
                local.fail(failures, "is missing", "the profile that Localhost means");
            }
            (Some("Localhost"), _) | (_, None) => {}
            (_, Some(_)) => local.fail(failures, "counts for Localhost alone", "type: Localhost, or without"),
        }
    }
}

fn sysctls(pod: &Pod<'_>, of_pod: &Field<'_>, failures: &mut Vec<Failure>) {
    let mut seen = Vec::new();
    for sysctl in of_pod.at("sysctls").list() {
        let name = sysctl.at("name");
        name.require(failures, "a name");
        let Some(text) = name.text() else { continue };
        if seen.contains(&text) {
            name.fail(failures, format!("{} is set twice", name.quoted()), "one of them");
        }
        seen.push(text);
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '/' | '_' | '-');
        if text.len() > 253 || !text.chars().all(plain) {
            name.fail(failures, format!("{} is no sysctl", name.quoted()), "as net.core.somaxconn");
        }
        if pod.spec.at("hostNetwork").is_true() && text.starts_with("net.") {
            name.fail(failures, "sets the host's own network", "no sysctl of net, or without hostNetwork");
        }
    }
}
