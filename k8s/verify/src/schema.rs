//! What fields a kind has: Kubernetes' own schemas of several versions and those of `CustomResourceDefinitions` enter, the schema of
//! an object leaves; [`check`] holds one against the other, and [`cel`] against its rules.

pub mod cel;
pub mod check;
mod format;
mod logic;
mod nearest;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub use nearest::nearest;

use crate::object::Object;
use crate::read;

/// A kind in one version of its API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `apps`; empty for the core.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
}

impl Key {
    /// An object's.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        Self {
            group: object.group().to_owned(),
            version: object.version().to_owned(),
            kind: object.kind.clone(),
        }
    }

    /// `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// All that is known of kinds.
#[derive(Debug, Clone, Default)]
pub struct Schemas {
    /// Kubernetes' own, oldest first.
    pub kubernetes: Vec<Kubernetes>,
    /// Kinds of `CustomResourceDefinitions`.
    pub custom: BTreeMap<Key, Arc<Custom>>,
}

/// What one version of Kubernetes knows.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// `1.37`.
    pub version: String,
    /// All definitions, by name: `$ref` goes here.
    pub definitions: Arc<Value>,
    /// Names of the definitions of kinds.
    pub kinds: BTreeMap<Key, String>,
}

/// What a `CustomResourceDefinition` says of one version of a kind.
#[derive(Debug)]
pub struct Custom {
    /// Of the object as a whole; without one, anything goes.
    pub schema: Value,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether the API server takes objects of this version.
    pub served: bool,
}

impl Schemas {
    /// Reads Kubernetes' schemas: `1.37.json` and the like, each with its definitions.
    ///
    /// # Errors
    /// There are none, or one can't be read.
    pub fn read_kubernetes(&mut self, folder: &Path) -> Result<()> {
        let listed = fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
        for entry in listed {
            let file = entry?.path();
            let Some(version) = file.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else {
                continue;
            };
            let text = fs::read_to_string(&file)?;
            let definitions: Value =
                serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
            let kinds = kinds(&definitions);
            let version = version.to_owned();
            self.kubernetes.push(Kubernetes { version, definitions: Arc::new(definitions), kinds });
        }
        if self.kubernetes.is_empty() {
            bail!("{} holds no schema of Kubernetes (`1.37.json`)", folder.display());
        }
        self.kubernetes.sort_by_key(|one| number(&one.version));
        Ok(())
    }

    /// Takes the `CustomResourceDefinitions` of a text; other objects in it are left alone.
    ///
    /// # Errors
    /// It can't be read.
    pub fn take_crds(&mut self, file: &Path, text: &str) -> Result<()> {
        // Much of it is JSON, which needs no lines.
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            self.add_crd(&value);
            return Ok(());
        }
        let (documents, faults) = read::documents(text);
        if let Some(fault) = faults.first() {
            bail!("{}:{}: {}; {}", file.display(), fault.line, fault.wrong, fault.right);
        }
        for document in &documents {
            self.add_crd(&document.value);
        }
        Ok(())
    }

    /// Takes one object, if it is a `CustomResourceDefinition`.
    pub fn add_crd(&mut self, object: &Value) {
        if object.get("kind").and_then(Value::as_str) == Some("List") {
            for item in object.get("items").and_then(Value::as_array).into_iter().flatten() {
                self.add_crd(item);
            }
        }
        if object.get("kind").and_then(Value::as_str) != Some("CustomResourceDefinition") {
            return;
        }
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let versions = object.pointer("/spec/versions").and_then(Value::as_array);
        for version in versions.into_iter().flatten() {
            let Some(name) = version.get("name").and_then(Value::as_str) else { continue };
            let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or(Value::Bool(true));
            let key = Key {
                group: text("/spec/group").into(),
                version: name.into(),
                kind: text("/spec/names/kind").into(),
            };
            let served = version.get("served").and_then(Value::as_bool) != Some(false);
            let namespaced = text("/spec/scope") != "Cluster";
            self.custom.insert(key, Arc::new(Custom { schema, namespaced, served }));
        }
    }

    /// Whether objects of that kind are in namespaces; none where the kind is not known.
    #[must_use]
    pub fn namespaced(&self, object: &Object) -> Option<bool> {
        let key = Key::of(object);
        if let Some(custom) = self.custom.get(&key) {
            return Some(custom.namespaced);
        }
        let known = self.kubernetes.iter().any(|one| one.kinds.contains_key(&key));
        known.then(|| !OF_THE_CLUSTER.contains(&key.kind.as_str()))
    }

    /// API versions that have a kind of that name, newest Kubernetes first.
    #[must_use]
    pub fn elsewhere(&self, kind: &str) -> Vec<String> {
        let own = self.kubernetes.last().into_iter().flat_map(|one| one.kinds.keys());
        let custom = self.custom.iter().filter(|(_, custom)| custom.served).map(|(key, _)| key);
        own.chain(custom).filter(|key| key.kind == kind).map(Key::api_version).collect()
    }

    /// Groups that have a kind of that name.
    #[must_use]
    pub fn groups_of(&self, kind: &str) -> Vec<&str> {
        let own = self.kubernetes.iter().flat_map(|one| one.kinds.keys());
        let mut groups: Vec<&str> = own
            .chain(self.custom.keys())
            .filter(|key| key.kind == kind)
            .map(|key| key.group.as_str())
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Whether any kind is of that group, or was once.
    #[must_use]
    pub fn has_group(&self, group: &str) -> bool {
        let own = self.kubernetes.iter().flat_map(|one| one.kinds.keys());
        group == "extensions"
            || !group.contains('.')
            || own.chain(self.custom.keys()).any(|key| key.group == group)
    }

    /// Names of all kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        let own = self.kubernetes.iter().flat_map(|one| one.kinds.keys());
        own.chain(self.custom.keys()).map(|key| key.kind.as_str())
    }
}

/// Kubernetes' kinds that are in no namespace.
const OF_THE_CLUSTER: &[&str] = &[
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrustBundle",
    "ComponentStatus",
    "CustomResourceDefinition",
    "DeviceClass",
    "DeviceTaintRule",
    "FlowSchema",
    "IPAddress",
    "IngressClass",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "ResourceSlice",
    "RuntimeClass",
    "SelfSubjectAccessReview",
    "SelfSubjectReview",
    "SelfSubjectRulesReview",
    "ServiceCIDR",
    "StorageClass",
    "StorageVersion",
    "StorageVersionMigration",
    "SubjectAccessReview",
    "TokenReview",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
    "VolumeAttributesClass",
];

/// Definitions of kinds are those that name exactly one and have metadata.
fn kinds(definitions: &Value) -> BTreeMap<Key, String> {
    let mut kinds = BTreeMap::new();
    for (name, definition) in definitions.as_object().into_iter().flatten() {
        let stated = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        if let Some([one]) = stated.map(Vec::as_slice) {
            let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let key = Key { group: text("group"), version: text("version"), kind: text("kind") };
            kinds.insert(key, name.clone());
        }
    }
    kinds
}

/// `1.9` is before `1.10`.
fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}
