//! Claims, volumes and classes of storage: modes, sizes, one source each.

use crate::rules::field::Field;
use crate::rules::quantities;
use crate::rules::quantity::Quantity;
use crate::rules::{scheduling, selectors, text, volumes};
use crate::{Failure, World};

const MODES: &[&str] = &["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];
/// What a volume says beside its source.
const BESIDE: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeMode",
    "volumeAttributesClassName",
];

/// Says what is wrong with storage.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("", "PersistentVolumeClaim") {
        claim(&Field::root(object).at("spec"), failures);
    }
    for object in world.of("apps", "StatefulSet") {
        for template in Field::root(object).down("spec.volumeClaimTemplates").list() {
            template.down("metadata.name").require(failures, "the claim's name");
            template.down("metadata.name").form(failures, text::label);
            claim(&template.at("spec"), failures);
        }
    }
    for object in world.of("", "PersistentVolume") {
        volume(&Field::root(object).at("spec"), failures);
    }
    for object in world.of("storage.k8s.io", "StorageClass") {
        let root = Field::root(object);
        root.at("provisioner").require(failures, "who makes the volumes");
        root.at("provisioner").form(failures, |text| text::key(&text.to_lowercase()));
        root.at("reclaimPolicy").one_of(failures, &["Delete", "Retain"]);
        root.at("volumeBindingMode").one_of_said(failures, &["Immediate", "WaitForFirstConsumer"]);
    }
}

fn modes(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let modes = spec.at("accessModes");
    modes.require(failures, "one at least");
    for mode in modes.list() {
        mode.one_of_said(failures, MODES);
    }
    let is_once = |mode: &Field<'_>| mode.text() == Some("ReadWriteOncePod");
    let once = modes.list().iter().filter(|mode| is_once(mode)).count();
    if once > 0 && once < modes.list().len() {
        modes.fail(failures, "hold ReadWriteOncePod and another", "ReadWriteOncePod alone");
    }
    spec.at("volumeMode").one_of_said(failures, &["Filesystem", "Block"]);
    spec.at("storageClassName").form(failures, text::subdomain);
}

/// What a claim asks for.
pub(crate) fn claim(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    modes(spec, failures);
    let storage = spec.down("resources.requests.storage");
    if storage.require(failures, "how much storage is asked for")
        && quantities::amount(&storage, failures).is_some_and(|amount| amount <= Quantity::ZERO)
    {
        storage.fail(failures, "asks for nothing", "an amount above 0");
    }
    for (name, field) in spec.down("resources.requests").map() {
        if name != "storage" {
            field.fail(failures, format!("a claim has no resource \"{name}\""), "storage");
        }
    }
    let most = spec.down("resources.limits.storage");
    quantities::amount(&most, failures);
    selectors::form(&spec.at("selector"), failures);
    if storage.quantity().zip(most.quantity()).is_some_and(|(asked, most)| asked > most) {
        storage.fail(
            failures,
            format!("{} is above the limit of {}", storage.quoted(), most.quoted()),
            "at most the limit",
        );
    }
    for source in
        ["dataSource", "dataSourceRef"].map(|source| spec.at(source)).iter().filter(|source| source.is_said())
    {
        source.at("kind").require(failures, "the kind of what is copied");
        source.at("name").require(failures, "the name of what is copied");
    }
    let old = spec.at("dataSource");
    if old.is_said() && spec.at("dataSourceRef").is_said() && old.value() != spec.at("dataSourceRef").value()
    {
        old.fail(failures, "differs from dataSourceRef", "dataSourceRef alone");
    }
}

fn volume(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    modes(spec, failures);
    let storage = spec.down("capacity.storage");
    if storage.require(failures, "how much storage it has") {
        let amount = quantities::amount(&storage, failures);
        if amount.is_some_and(|amount| amount <= Quantity::ZERO) {
            storage.fail(failures, "holds nothing", "an amount above 0");
        }
    }
    spec.at("persistentVolumeReclaimPolicy").one_of(failures, &["Retain", "Delete", "Recycle"]);
    let sources: Vec<&str> =
        spec.map().into_iter().map(|(key, _)| key).filter(|key| !BESIDE.contains(key)).collect();
    if sources.len() != 1 {
        spec.fail(failures, format!("has {} sources", sources.len()), "one, as csi or nfs");
    }
    volumes::source(spec, failures);
    let terms = spec.down("nodeAffinity.required.nodeSelectorTerms");
    if spec.at("local").is_said() && terms.is_empty() {
        terms.fail(failures, "are missing: a local volume is on one node", "the node's name");
    }
    for term in terms.list() {
        scheduling::node_term(&term, failures);
    }
}
