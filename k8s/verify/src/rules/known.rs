//! Everything that a name can mean. A world enters: its objects, what they make in their turn, what Kubernetes makes itself and what is
//! declared as an outsider. Whether a name means something, with which keys, leaves.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::field::Field;
use crate::rules::made;
use crate::rules::names::is_of_the_cluster;
use crate::{Failure, Object, World};

/// Keys of a Secret or a `ConfigMap`; none where they can't be known.
pub(crate) type Keys = Option<BTreeSet<String>>;

/// What is there under a name.
pub(crate) struct Made<'a> {
    /// Its namespace, where one is said.
    pub(crate) namespace: Option<&'a str>,
    /// Its keys.
    pub(crate) keys: Keys,
    /// The object itself, where it is no other's product.
    pub(crate) object: Option<&'a Object>,
}

/// An index of the world by kind and name.
pub(crate) struct Known<'a> {
    /// The world.
    pub(crate) world: &'a World,
    made: BTreeMap<(&'a str, String), Vec<Made<'a>>>,
}

/// What a reference came to.
pub(crate) enum Found {
    /// It means nothing.
    Nowhere,
    /// It means something that has these keys.
    There(Keys),
}

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

impl<'a> Known<'a> {
    pub(crate) fn of(world: &'a World) -> Self {
        let mut known = Self { world, made: BTreeMap::new() };
        for object in &world.objects {
            let namespace = object.namespace.as_deref();
            let itself = Made { namespace, keys: keys(object), object: Some(object) };
            known.made.entry((&object.kind, object.name.clone())).or_default().push(itself);
            for (kind, name, keys) in made::by(object) {
                known.made.entry((kind, name)).or_default().push(Made { namespace, keys, object: None });
            }
        }
        known
    }

    /// All of a kind and name that can be meant from a namespace; none for what lives in no namespace.
    fn all(&self, kind: &str, name: &str, namespace: Option<&str>) -> impl Iterator<Item = &Made<'a>> {
        let of = self.made.iter().filter(move |((one, called), _)| *one == kind && called == name);
        let namespace = namespace.map(str::to_owned);
        let cluster = is_cluster_kind(kind);
        of.flat_map(|(_, made)| made)
            .filter(move |made| cluster || reaches(namespace.as_deref(), made.namespace))
    }

    /// The object of that kind and name.
    pub(crate) fn object(&self, kind: &str, name: &str, namespace: Option<&str>) -> Option<&'a Object> {
        self.all(kind, name, namespace).find_map(|made| made.object)
    }

    /// What a name means from a namespace.
    pub(crate) fn find(&self, kind: &str, name: &str, namespace: Option<&str>) -> Found {
        let mut made = self.all(kind, name, namespace).peekable();
        if made.peek().is_some() {
            // Of several that make one, any may give a key.
            let keys = made.map(|made| made.keys.clone());
            return Found::There(
                keys.reduce(|all, more| Some(all?.into_iter().chain(more?).collect())).flatten(),
            );
        }
        if self.world.outsiders.holds(kind, name, namespace) {
            return Found::There(None);
        }
        built_in(kind, name, namespace)
    }

    /// Whether a name means something.
    pub(crate) fn has(&self, kind: &str, name: &str, namespace: Option<&str>) -> bool {
        matches!(self.find(kind, name, namespace), Found::There(_))
    }

    /// Whether something there has a key.
    pub(crate) fn has_key(&self, kind: &str, name: &str, namespace: Option<&str>, key: &str) -> bool {
        match self.find(kind, name, namespace) {
            Found::Nowhere => false,
            Found::There(Some(keys)) => keys.contains(key),
            Found::There(None) => {
                let outsiders = &self.world.outsiders;
                !outsiders.holds(kind, name, namespace)
                    || self.all(kind, name, namespace).next().is_some()
                    || outsiders.holds_key(kind, name, namespace, key)
            }
        }
    }

    /// Whether a namespace is there: made, lived in, declared, or every cluster's.
    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        NAMESPACES.contains(&name)
            || self.made.contains_key(&("Namespace", name.to_owned()))
            || self.world.objects.iter().any(|object| object.namespace.as_deref() == Some(name))
            || self.world.outsiders.holds("Namespace", name, None)
            || self.world.outsiders.list.iter().any(|outsider| outsider.namespace.as_deref() == Some(name))
    }

    /// Fails where a name means nothing; else whether it does.
    pub(crate) fn need(
        &self,
        kind: &str,
        name: &Field<'_>,
        namespace: Option<&str>,
        failures: &mut Vec<Failure>,
    ) -> bool {
        let Some(text) = name.text() else { return false };
        let there = self.has(kind, text, namespace);
        if !there {
            self.missing(kind, text, namespace, name, failures);
        }
        there
    }

    /// Says that a name means nothing.
    pub(crate) fn missing(
        &self,
        kind: &str,
        name: &str,
        namespace: Option<&str>,
        said: &Field<'_>,
        failures: &mut Vec<Failure>,
    ) {
        let place = namespace.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        said.fail(
            failures,
            format!("there is no {kind} {name}{place}"),
            self.right(kind, name, namespace, None),
        );
    }

    /// Fails where a reference's `name` or its `key` in that means nothing.
    pub(crate) fn need_entry(
        &self,
        kind: &str,
        reference: &Field<'_>,
        namespace: Option<&str>,
        failures: &mut Vec<Failure>,
    ) {
        let name = reference.at("name");
        if self.need(kind, &name, namespace, failures) {
            self.need_key(kind, name.text_or_empty(), &reference.at("key"), namespace, failures);
        }
    }

    /// Fails where something has not a key.
    pub(crate) fn need_key(
        &self,
        kind: &str,
        name: &str,
        key: &Field<'_>,
        namespace: Option<&str>,
        failures: &mut Vec<Failure>,
    ) {
        let Some(text) = key.text() else { return };
        if self.has(kind, name, namespace) && !self.has_key(kind, name, namespace, text) {
            let right = match self.find(kind, name, namespace) {
                Found::There(Some(keys)) if !keys.is_empty() => {
                    format!("one of {}", keys.into_iter().collect::<Vec<_>>().join(", "))
                }
                _ => self.right(kind, name, namespace, Some(text)),
            };
            key.fail(failures, format!("{kind} {name} has no key {text}"), right);
        }
    }

    fn near(&self, kind: &str, name: &str) -> impl Iterator<Item = &str> {
        let near = self
            .made
            .keys()
            .filter(move |(one, other)| *one == kind && other != name && is_near(other, name));
        near.map(|(_, other)| other.as_str())
    }

    /// Whether a name is another's with a letter or two changed.
    pub(crate) fn is_almost(&self, kind: &str, name: &str) -> bool {
        name.len() > 5 && self.near(kind, name).next().is_some()
    }

    /// What would be right: a name almost the same, or how to declare it.
    fn right(&self, kind: &str, name: &str, namespace: Option<&str>, key: Option<&str>) -> String {
        let near = self
            .made
            .iter()
            .filter(|((one, other), _)| *one == kind && other != name && is_near(other, name));
        let near: Vec<&str> = near.map(|((_, other), _)| other.as_str()).collect();
        if key.is_none() && !near.is_empty() {
            return format!("{}, which is there", near.join(" or "));
        }
        let place = namespace.map_or_else(String::new, |namespace| format!(", namespace: {namespace}"));
        let keys = key.map_or_else(String::new, |key| format!(", keys: [{key}]"));
        format!(
            "make it, or declare it in --outsiders: - {{kind: {kind}, name: {name}{place}{keys}, why: …}}"
        )
    }
}

fn is_cluster_kind(kind: &str) -> bool {
    let groups = [
        "",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
        "scheduling.k8s.io",
        "node.k8s.io",
        "networking.k8s.io",
        "external-secrets.io",
        "keda.sh",
        "serving.kserve.io",
        "cert-manager.io",
        "gateway.networking.k8s.io",
        "resource.k8s.io",
    ];
    groups.iter().any(|group| is_of_the_cluster(group, kind))
}

/// Whether what is in one namespace is meant from another. Objects that say none land where the command says, which may be any that
/// another object names; and an object that says none means none of a namespace that is said, unless that is the default one.
pub(crate) fn reaches(from: Option<&str>, to: Option<&str>) -> bool {
    match (from, to) {
        (_, None) => true,
        (None, Some(to)) => to == "default",
        (Some(from), Some(to)) => from == to,
    }
}

/// Two names that differ by two letters at most.
pub(crate) fn is_near(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > 2 {
        return false;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, a) in one.iter().enumerate() {
        let mut before = row[0];
        row[0] = place + 1;
        for (column, b) in other.iter().enumerate() {
            let changed = before + usize::from(a != b);
            before = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(before + 1);
        }
    }
    row[other.len()] <= 2
}

/// Keys of an object that has some.
fn keys(object: &Object) -> Keys {
    let root = Field::root(object);
    let lists: &[&str] = match object.kind.as_str() {
        "Secret" if root.at("type").text() == Some("kubernetes.io/service-account-token") => return None,
        "Secret" => &["data", "stringData"],
        "ConfigMap" => &["data", "binaryData"],
        _ => return None,
    };
    Some(lists.iter().flat_map(|list| root.at(list).map()).map(|(key, _)| key.to_owned()).collect())
}

/// What Kubernetes makes itself.
fn built_in(kind: &str, name: &str, namespace: Option<&str>) -> Found {
    let system = namespace == Some("kube-system");
    match (kind, name) {
        ("ConfigMap", "kube-root-ca.crt") => Found::There(Some(["ca.crt".to_owned()].into())),
        ("ServiceAccount", "default")
        | ("PriorityClass", "system-cluster-critical" | "system-node-critical")
        | ("ClusterRole", "cluster-admin" | "admin" | "edit" | "view") => Found::There(None),
        ("ConfigMap", "extension-apiserver-authentication")
        | ("Role", "extension-apiserver-authentication-reader")
        | ("Service", "kube-dns")
            if system =>
        {
            Found::There(None)
        }
        ("ClusterRole" | "Role", name) if name.starts_with("system:") => Found::There(None),
        ("Service", "kubernetes") if namespace.is_none_or(|namespace| namespace == "default") => {
            Found::There(None)
        }
        ("Namespace", name) if NAMESPACES.contains(&name) => Found::There(None),
        _ => Found::Nowhere,
    }
}
