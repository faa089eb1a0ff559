//! Volumes and where they are mounted: one source each, names that are there, paths that don't clash.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::containers;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::storage;
use crate::rules::text;
use crate::{Failure, World};

/// What a file can hold of a pod.
const POD_FIELDS: &[&str] =
    &["metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"];
const PROJECTED: &[&str] =
    &["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
const HOST_PATHS: &[&str] =
    &["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

/// Says what is wrong with volumes.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        let mut names = BTreeSet::new();
        for volume in pod.spec.at("volumes").list() {
            let name = volume.at("name");
            name.require(failures, "a volume's name");
            name.form(failures, text::label);
            if name.text().is_some_and(|name| !names.insert(name)) {
                name.fail(failures, format!("{} is there twice", name.quoted()), "another name");
            }
            one(&pod, &volume, failures);
        }
        for container in pod.all_containers() {
            mounts(&pod, &container, failures);
        }
    }
}

fn one(pod: &Pod<'_>, volume: &Field<'_>, failures: &mut Vec<Failure>) {
    let sources: Vec<&str> =
        volume.map().into_iter().map(|(key, _)| key).filter(|key| *key != "name").collect();
    match sources.len() {
        // An API server makes it an emptyDir without a word.
        0 => volume.fail(
            failures,
            "has no source: it becomes an empty folder",
            "a source, or emptyDir: {} where that is meant",
        ),
        1 => {}
        _ => volume.fail(failures, format!("has {} sources: {}", sources.len(), sources.join(", ")), "one"),
    }
    for (kind, name) in
        [("secret", "secretName"), ("configMap", "name"), ("persistentVolumeClaim", "claimName")]
    {
        let source = volume.at(kind);
        if source.is_said() {
            source.at(name).require(failures, "the name of what is mounted");
            source.at(name).form(failures, text::subdomain);
            items(&source, failures);
        }
    }
    for kind in ["secret", "configMap", "projected", "downwardAPI"] {
        mode(&volume.at(kind).at("defaultMode"), failures);
    }
    for item in volume.at("downwardAPI").at("items").list() {
        downward(pod, &item, failures);
    }
    source(volume, failures);
    projected(pod, &volume.at("projected"), failures);
}

/// Sources that a pod and a volume of the cluster have alike.
pub(crate) fn source(volume: &Field<'_>, failures: &mut Vec<Failure>) {
    let host = volume.at("hostPath");
    if host.is_said() {
        host.at("path").require(failures, "a path of the host");
        if let Some(wrong) = host.at("path").text().filter(|path| path.split('/').any(|part| part == "..")) {
            host.at("path").fail(failures, format!("\"{wrong}\" steps upwards"), "a path without '..'");
        }
        host.at("type").one_of(failures, HOST_PATHS);
    }
    volume
        .at("emptyDir")
        .at("medium")
        .one_of(failures, &["Memory", "HugePages", "HugePages-2Mi", "HugePages-1Gi"]);
    if volume.at("csi").is_said() {
        volume.at("csi").at("driver").require(failures, "the driver's name");
        volume.at("csi").at("driver").form(failures, |text| text::subdomain(&text.to_lowercase()));
        let secret = volume.at("csi").at("nodePublishSecretRef");
        if secret.is_said() {
            secret.at("name").require(failures, "the name of a Secret");
            secret.at("name").form(failures, text::subdomain);
        }
    }
    if volume.at("nfs").is_said() {
        volume.at("nfs").at("server").require(failures, "a server");
        if volume.at("nfs").at("path").text().is_none_or(|path| !path.starts_with('/')) {
            volume.at("nfs").at("path").fail(failures, "is no absolute path", "one that begins with '/'");
        }
    }
    if volume.at("image").is_said() {
        volume.at("image").at("reference").require(failures, "an image");
        volume.at("image").at("pullPolicy").one_of(failures, &["Always", "IfNotPresent", "Never"]);
    }
    if volume.at("ephemeral").is_said() {
        let template = volume.at("ephemeral").at("volumeClaimTemplate");
        if template.require(failures, "the claim that is made") {
            storage::claim(&template.at("spec"), failures);
        }
    }
}

fn mode(mode: &Field<'_>, failures: &mut Vec<Failure>) {
    if mode.number() == Some(0) {
        mode.fail(failures, "lets nobody read", "as 0440");
    }
    if let Some(number) = mode.number()
        && !(0..=0o777).contains(&number)
    {
        let right = "0 to 0777 with a leading zero, or 0 to 511 without";
        mode.fail(failures, format!("{number} is 0{number:o} in octal: above 0777"), right);
    }
}

fn items(source: &Field<'_>, failures: &mut Vec<Failure>) {
    let mut paths = BTreeSet::new();
    for item in source.at("items").list() {
        item.at("key").require(failures, "a key");
        item.at("path").require(failures, "the file's path in the volume");
        item.at("path").form(failures, text::inner_file);
        mode(&item.at("mode"), failures);
        if item.at("path").text().is_some_and(|path| !paths.insert(path)) {
            item.at("path").fail(
                failures,
                format!("{} is there twice", item.at("path").quoted()),
                "another path",
            );
        }
    }
}

fn downward(pod: &Pod<'_>, item: &Field<'_>, failures: &mut Vec<Failure>) {
    item.at("path").require(failures, "the file's path in the volume");
    item.at("path").form(failures, text::inner_file);
    mode(&item.at("mode"), failures);
    let (field, resource) = (item.at("fieldRef"), item.at("resourceFieldRef"));
    if field.is_said() == resource.is_said() {
        item.fail(failures, "takes its content from two places or none", "fieldRef or resourceFieldRef");
    }
    containers::field(&field.at("fieldPath"), POD_FIELDS, failures);
    if resource.is_said() {
        containers::resource(&resource, failures);
        let container = resource.at("containerName");
        container.require(failures, "the container's name");
        let names: Vec<&str> =
            pod.all_containers().iter().map(|container| container.at("name").text_or_empty()).collect();
        if container.text().is_some_and(|name| !names.contains(&name)) {
            container.fail(
                failures,
                format!("the pod has no container {}", container.quoted()),
                format!("one of {}", names.join(", ")),
            );
        }
    }
}

fn projected(pod: &Pod<'_>, projected: &Field<'_>, failures: &mut Vec<Failure>) {
    let mut paths = BTreeSet::new();
    for source in projected.at("sources").list() {
        let said: Vec<&str> = PROJECTED.iter().copied().filter(|kind| source.at(kind).is_said()).collect();
        if said.len() != 1 {
            source.fail(
                failures,
                format!("names {} sources", said.len()),
                format!("one of {}", PROJECTED.join(", ")),
            );
        }
        for kind in ["secret", "configMap"].map(|kind| source.at(kind)).iter().filter(|kind| kind.is_said()) {
            kind.at("name").require(failures, "the name of what is mounted");
            items(kind, failures);
        }
        for item in source.at("downwardAPI").at("items").list() {
            downward(pod, &item, failures);
        }
        let token = source.at("serviceAccountToken");
        if token.is_said() {
            token.at("path").require(failures, "the token's path in the volume");
            token.at("path").form(failures, text::inner_file);
            token.at("expirationSeconds").between(failures, 600, 1 << 32);
        }
        let by_items = ["secret", "configMap", "downwardAPI"].map(|kind| source.at(kind).at("items").list());
        let written = by_items.into_iter().flatten().map(|item| item.at("path")).chain([token.at("path")]);
        for path in written {
            if path.text().is_some_and(|text| !paths.insert(text)) {
                path.fail(
                    failures,
                    format!("{} is written twice in this volume", path.quoted()),
                    "another path",
                );
            }
        }
    }
}

fn mounts(pod: &Pod<'_>, container: &Field<'_>, failures: &mut Vec<Failure>) {
    let volumes = pod.volume_names();
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for mount in container.at("volumeMounts").list() {
        there(&mount.at("name"), &volumes, failures);
        let path = mount.at("mountPath");
        path.require(failures, "where the volume is mounted");
        if let Some(text) = path.text() {
            if !text.starts_with('/') && !text.contains(":\\") {
                path.fail(
                    failures,
                    format!("{} is no absolute path", path.quoted()),
                    "one that begins with '/'",
                );
            } else if text.contains(':') && !text.contains(":\\") {
                path.fail(failures, format!("{} holds ':'", path.quoted()), "a path without ':'");
            } else if text.trim_end_matches('/').is_empty() {
                path.fail(failures, "hides the whole image", "a folder below '/'");
            }
            if let Some(first) = paths.insert(text.trim_end_matches('/').to_owned(), mount.path.clone()) {
                path.fail(failures, format!("{} is taken by {first}", path.quoted()), "another path");
            }
        }
        mount.at("subPath").form(failures, text::inner_path);
        mount.at("subPathExpr").form(failures, text::inner_path);
        if mount.at("subPath").text().is_some() && mount.at("subPathExpr").text().is_some() {
            mount.at("subPathExpr").fail(failures, "stands beside subPath", "one of the two");
        }
        mount.at("recursiveReadOnly").one_of_said(failures, &["Disabled", "IfPossible", "Enabled"]);
        if matches!(mount.at("recursiveReadOnly").text(), Some("IfPossible" | "Enabled"))
            && !mount.at("readOnly").is_true()
        {
            mount.at("recursiveReadOnly").fail(
                failures,
                "stands beside no readOnly",
                "readOnly: true, or Disabled",
            );
        }
        mount.at("mountPropagation").one_of_said(failures, &["None", "HostToContainer", "Bidirectional"]);
        if mount.at("mountPropagation").text() == Some("Bidirectional")
            && !container.at("securityContext").at("privileged").is_true()
        {
            mount.at("mountPropagation").fail(
                failures,
                "Bidirectional is for privileged containers",
                "HostToContainer or None",
            );
        }
    }
    for device in container.at("volumeDevices").list() {
        there(&device.at("name"), &volumes, failures);
        device.at("devicePath").require(failures, "where the device is");
        if device.at("devicePath").text().is_some_and(|path| paths.contains_key(path)) {
            device.at("devicePath").fail(failures, "is mounted as a volume too", "another path");
        }
    }
}

fn there(name: &Field<'_>, volumes: &[&str], failures: &mut Vec<Failure>) {
    name.require(failures, "a volume's name");
    if name.text().is_some_and(|name| !volumes.contains(&name)) {
        let right = if volumes.is_empty() {
            "a volume in spec.volumes".to_owned()
        } else {
            format!("one of {}", volumes.join(", "))
        };
        name.fail(failures, format!("the pod has no volume {}", name.quoted()), right);
    }
}
