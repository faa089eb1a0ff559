//! Roles and who has them: rules that grant something, bindings that an API server takes.

use crate::rules::field::Field;
use crate::rules::{selectors, text};
use crate::{Failure, World};

const GROUP: &str = "rbac.authorization.k8s.io";
/// Verbs that an API server knows; others are a resource's own, and then hold no capital and no dot.
const VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "bind",
    "escalate",
    "impersonate",
    "use",
    "approve",
    "sign",
    "attest",
    "proxy",
    "head",
    "post",
    "put",
    "options",
    "*",
];
/// Groups of resources that are often named without their group.
const GROUPS: &[(&str, &[&str])] = &[
    ("apps", &["deployments", "statefulsets", "daemonsets", "replicasets", "controllerrevisions"]),
    ("batch", &["jobs", "cronjobs"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies", "ingressclasses"]),
    ("policy", &["poddisruptionbudgets"]),
    ("autoscaling", &["horizontalpodautoscalers"]),
    (GROUP, &["roles", "rolebindings", "clusterroles", "clusterrolebindings"]),
    (
        "",
        &[
            "pods",
            "services",
            "configmaps",
            "secrets",
            "serviceaccounts",
            "namespaces",
            "nodes",
            "persistentvolumeclaims",
        ],
    ),
    ("coordination.k8s.io", &["leases"]),
];

/// Says what is wrong with roles and bindings.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.objects.iter().filter(|object| object.group() == GROUP) {
        let root = Field::root(object);
        match object.kind.as_str() {
            "Role" | "ClusterRole" => {
                for rule in root.at("rules").list() {
                    one_rule(object.kind == "Role", &rule, failures);
                }
                let aggregation = root.at("aggregationRule");
                if aggregation.is_said() {
                    aggregation.at("clusterRoleSelectors").require(failures, "one selector at least");
                    for selector in aggregation.at("clusterRoleSelectors").list() {
                        selectors::form(&selector, failures);
                    }
                }
            }
            "RoleBinding" | "ClusterRoleBinding" => binding(object.kind == "RoleBinding", &root, failures),
            _ => {}
        }
    }
}

fn one_rule(in_namespace: bool, rule: &Field<'_>, failures: &mut Vec<Failure>) {
    let [verbs, groups, resources, urls, names] =
        ["verbs", "apiGroups", "resources", "nonResourceURLs", "resourceNames"].map(|of| rule.at(of));
    verbs.require(failures, "one at least");
    for verb in verbs.list() {
        let own = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !near(text);
        if verb.text().is_some_and(|text| !VERBS.contains(&text) && !own(text)) {
            verb.fail(
                failures,
                format!("there is no verb {}", verb.quoted()),
                "as get, list, watch, create, update, patch or delete",
            );
        }
    }
    if !urls.is_empty() {
        if in_namespace {
            urls.fail(failures, "a Role grants no URLs", "a ClusterRole");
        } else if !groups.is_empty() || !resources.is_empty() || !names.is_empty() {
            urls.fail(failures, "stand beside resources", "a rule of their own");
        }
        return;
    }
    groups.require(failures, "one at least: [\"\"] for the core's");
    resources.require(failures, "one at least");
    let said: Vec<&str> = groups.list().iter().map(Field::text_or_empty).collect();
    let group_of = |resource: &Field<'_>| {
        let plain = resource.text_or_empty().split('/').next().unwrap_or_default();
        GROUPS.iter().find(|(_, resources)| resources.contains(&plain)).map(|(group, _)| *group)
    };
    // Rules of old name a resource in a group that it has left, beside others that are still there.
    let is_other = |resource: &Field<'_>| group_of(resource).is_some_and(|group| !said.contains(&group));
    let are_all_others = !said.contains(&"*")
        && said.iter().all(|group| is_own(group))
        && resources.list().iter().all(is_other);
    for resource in resources.list() {
        let plain = resource.text_or_empty().split('/').next().unwrap_or_default();
        if plain.chars().any(|c| c.is_ascii_uppercase()) {
            resource.fail(
                failures,
                format!("{} holds capitals", resource.quoted()),
                "the plural in lower case, as deployments",
            );
            continue;
        }
        if are_all_others {
            let group = group_of(&resource).unwrap_or_default();
            resource.fail(
                failures,
                format!("{} is in no group of this rule", resource.quoted()),
                format!("\"{group}\" among apiGroups"),
            );
        }
        let singular = GROUPS
            .iter()
            .any(|(_, resources)| resources.iter().any(|many| many.strip_suffix('s') == Some(plain)));
        if singular {
            resource.fail(
                failures,
                format!("{} is singular: nothing is granted", resource.quoted()),
                format!("{plain}s"),
            );
        }
    }
    let alone = |verb: &&str| matches!(*verb, "create" | "deletecollection");
    let said: Vec<&str> = verbs.list().iter().map(Field::text_or_empty).collect();
    if !names.is_empty() && !said.is_empty() && said.iter().all(alone) {
        names.fail(
            failures,
            format!("{} knows no name yet: nothing is granted", said.join(" and ")),
            "a rule without resourceNames",
        );
    }
}

/// Almost a known verb: a letter too many, too few or another.
fn near(text: &str) -> bool {
    VERBS.iter().any(|verb| {
        let (short, long) = if verb.len() <= text.len() { (*verb, text) } else { (text, *verb) };
        long.len() - short.len() <= 1 && verb.len() > 2 && {
            let same = short.bytes().zip(long.bytes()).take_while(|(a, b)| a == b).count();
            let (a, b) = (&short.as_bytes()[same..], &long.as_bytes()[same..]);
            if a.len() == b.len() {
                a.len() <= 1
                    || a[1..] == b[1..]
                    || a.len() >= 2 && a[0] == b[1] && a[1] == b[0] && a[2..] == b[2..]
            } else {
                a == &b[1..]
            }
        }
    })
}

/// A group of Kubernetes' own: others may have resources of the same names.
fn is_own(group: &str) -> bool {
    GROUPS.iter().any(|(known, _)| *known == group)
}

fn binding(in_namespace: bool, root: &Field<'_>, failures: &mut Vec<Failure>) {
    let role = root.at("roleRef");
    let [group, kind, name] = ["apiGroup", "kind", "name"].map(|of| role.at(of));
    if group.text() != Some(GROUP) && group.is_said() && !group.is_empty() {
        group.fail(failures, format!("roles are not in {}", group.quoted()), GROUP);
    }
    kind.require(failures, "Role or ClusterRole");
    if in_namespace {
        kind.one_of(failures, &["Role", "ClusterRole"]);
    } else {
        kind.one_of(failures, &["ClusterRole"]);
    }
    name.require(failures, "the role's name");
    name.form(failures, text::segment);
    for subject in root.at("subjects").list() {
        let [kind, group, name, namespace] =
            ["kind", "apiGroup", "name", "namespace"].map(|of| subject.at(of));
        kind.require(failures, "ServiceAccount, User or Group");
        kind.one_of(failures, &["ServiceAccount", "User", "Group"]);
        name.require(failures, "a name");
        match kind.text() {
            Some("ServiceAccount") => {
                name.form(failures, text::subdomain);
                if group.text().is_some() {
                    group.fail(
                        failures,
                        format!("a ServiceAccount is not in {}", group.quoted()),
                        "leave it out",
                    );
                }
                if !in_namespace {
                    namespace.require(failures, "the account's namespace");
                }
                namespace.form(failures, text::label);
            }
            Some("User" | "Group") if group.text().is_some_and(|group| group != GROUP) => {
                group.fail(failures, format!("users are not in {}", group.quoted()), GROUP);
            }
            _ => {}
        }
    }
}
