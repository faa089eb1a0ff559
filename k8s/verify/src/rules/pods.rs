//! Every place where an object says what a pod is. A world enters; for each such place leave its fields, labels and containers, so that
//! rules about pods are written once for Pods, workloads and Jobs alike.

use std::collections::BTreeMap;

use crate::rules::field::Field;
use crate::{Object, World};

/// A pod that is, or that a workload makes.
pub(crate) struct Pod<'a> {
    /// The Pod or the workload.
    pub(crate) object: &'a Object,
    /// `metadata` of the pod.
    pub(crate) metadata: Field<'a>,
    /// `spec` of the pod.
    pub(crate) spec: Field<'a>,
    /// Only some fields are there, and a controller adds the rest: a serving runtime's or a predictor's.
    pub(crate) is_partial: bool,
}

impl<'a> Pod<'a> {
    /// All of a world.
    pub(crate) fn all(world: &'a World) -> Vec<Self> {
        world.objects.iter().filter_map(Self::of).collect()
    }

    /// That of one object, if it makes one.
    pub(crate) fn of(object: &'a Object) -> Option<Self> {
        let (group, kind) = (object.group(), object.kind.as_str());
        let (metadata, spec, is_partial) = match (group, kind) {
            ("", "Pod") => ("metadata", "spec", false),
            ("", "PodTemplate") => ("template.metadata", "template.spec", false),
            ("", "ReplicationController")
            | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "Job") => ("spec.template.metadata", "spec.template.spec", false),
            ("batch", "CronJob") => {
                ("spec.jobTemplate.spec.template.metadata", "spec.jobTemplate.spec.template.spec", false)
            }
            ("argoproj.io", "Rollout") => ("spec.template.metadata", "spec.template.spec", true),
            ("keda.sh", "ScaledJob") => {
                ("spec.jobTargetRef.template.metadata", "spec.jobTargetRef.template.spec", true)
            }
            ("serving.kserve.io", "ServingRuntime" | "ClusterServingRuntime") => ("spec", "spec", true),
            ("serving.kserve.io", "InferenceService") => ("spec.predictor", "spec.predictor", true),
            _ => return None,
        };
        let root = Field::root(object);
        let (metadata, spec) = (root.down(metadata), root.down(spec));
        // A template that says nothing is a mistake too.
        (spec.is_said() || !is_partial).then_some(Self { object, metadata, spec, is_partial })
    }

    /// Those whose fields an API server checks as a pod's.
    pub(crate) fn whole(world: &'a World) -> impl Iterator<Item = Self> {
        Self::all(world).into_iter().filter(|pod| !pod.is_partial)
    }

    /// The pod's labels.
    pub(crate) fn labels(&self) -> BTreeMap<&'a str, &'a str> {
        let mut labels = labels(&self.metadata.at("labels"));
        if self.object.is("serving.kserve.io", "InferenceService") {
            labels.insert("serving.kserve.io/inferenceservice", &self.object.name);
            labels.insert("component", "predictor");
        }
        labels
    }

    /// Containers that run beside each other.
    pub(crate) fn containers(&self) -> Vec<Field<'a>> {
        self.spec.at("containers").list()
    }

    /// Containers that run before them.
    pub(crate) fn init_containers(&self) -> Vec<Field<'a>> {
        self.spec.at("initContainers").list()
    }

    /// Containers of all three kinds.
    pub(crate) fn all_containers(&self) -> Vec<Field<'a>> {
        ["containers", "initContainers", "ephemeralContainers"]
            .iter()
            .flat_map(|of| self.spec.at(of).list())
            .collect()
    }

    /// Those that run while the pod serves: containers, and init containers that are sidecars.
    pub(crate) fn running(&self) -> Vec<Field<'a>> {
        let sidecars = self.init_containers().into_iter().filter(is_sidecar);
        self.containers().into_iter().chain(sidecars).collect()
    }

    /// The volume that a mount is of; a claim of a `StatefulSet`'s is none.
    pub(crate) fn volume_of(&self, mount: &Field<'_>) -> Option<Field<'a>> {
        let name = mount.at("name").text()?;
        self.spec.at("volumes").list().into_iter().find(|volume| volume.at("name").text() == Some(name))
    }

    /// Names of the volumes, those of a `StatefulSet`'s claims with them.
    pub(crate) fn volume_names(&self) -> Vec<&'a str> {
        let volumes =
            self.spec.at("volumes").list().into_iter().map(|volume| volume.at("name").text_or_empty());
        volumes.chain(self.claim_names()).collect()
    }

    /// Volumes as the pod gets them: a `StatefulSet`'s claim takes the place of one of its name.
    pub(crate) fn volumes(&self) -> Vec<Field<'a>> {
        let claims = self.claim_names();
        let mut volumes = self.spec.at("volumes").list();
        volumes.retain(|volume| !claims.contains(&volume.at("name").text_or_empty()));
        volumes
    }

    fn claim_names(&self) -> Vec<&'a str> {
        let claims = Field::root(self.object).down("spec.volumeClaimTemplates").list();
        claims.into_iter().map(|claim| claim.down("metadata.name").text_or_empty()).collect()
    }

    /// How many seconds it has to end.
    pub(crate) fn grace_seconds(&self) -> i64 {
        self.spec.at("terminationGracePeriodSeconds").number().unwrap_or(30)
    }

    /// How many of it there shall be, where its workload says so or leaves it at one.
    pub(crate) fn replicas(&self) -> Option<i64> {
        let replicas = Field::root(self.object).down("spec.replicas");
        matches!(
            self.object.kind.as_str(),
            "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController"
        )
        .then(|| replicas.number().unwrap_or(1))
    }
}

/// The innermost mount of a container that a path lies in.
pub(crate) fn mount_of<'a>(container: &Field<'a>, path: &str) -> Option<Field<'a>> {
    let holds = |mount: &Field<'_>| {
        let place = mount.at("mountPath").text_or_empty().trim_end_matches('/');
        path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mounts = container.at("volumeMounts").list().into_iter().filter(holds);
    mounts.max_by_key(|mount| mount.at("mountPath").text_or_empty().len())
}

/// An init container that goes on beside the others.
pub(crate) fn is_sidecar(container: &Field<'_>) -> bool {
    container.at("restartPolicy").text() == Some("Always")
}

/// Texts of a container that may name files.
pub(crate) fn said<'a>(container: &Field<'a>) -> Vec<Field<'a>> {
    let lists = ["command", "args"].map(|list| container.at(list).list());
    let variables = container.at("env").list().into_iter().map(|variable| variable.at("value"));
    lists.into_iter().flatten().chain(variables).collect()
}

/// A map of texts as labels are.
pub(crate) fn labels<'a>(field: &Field<'a>) -> BTreeMap<&'a str, &'a str> {
    field.map().into_iter().map(|(key, value)| (key, value.text_or_empty())).collect()
}

/// Labels that controllers add to the pods that they make, with values that nobody can write down.
const ADDED: [&str; 8] = [
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/controller-uid",
    "job-name",
];

/// Whether a label is one that a controller adds.
pub(crate) fn is_added(key: &str) -> bool {
    ADDED.contains(&key)
}

/// A label selector of the newer form: `matchLabels` and `matchExpressions`.
pub(crate) fn selects(selector: &Field<'_>, labels: &BTreeMap<&str, &str>) -> bool {
    let equal = selects_plainly(&selector.at("matchLabels"), labels);
    equal
        && selector.at("matchExpressions").list().iter().all(|expression| {
            let key = expression.at("key").text_or_empty();
            let said = labels.get(key);
            if ADDED.contains(&key) {
                return true;
            }
            let among = said.is_some_and(|said| {
                expression.at("values").list().iter().any(|value| value.text_or_empty() == *said)
            });
            match expression.at("operator").text_or_empty() {
                "In" => among,
                "NotIn" => !among,
                "Exists" => said.is_some(),
                "DoesNotExist" => said.is_none(),
                // What no operator is, another rule says.
                _ => true,
            }
        })
}

/// A selector of the older form: each label with its value.
pub(crate) fn selects_plainly(selector: &Field<'_>, labels: &BTreeMap<&str, &str>) -> bool {
    let pairs = selector.map();
    pairs.iter().all(|(key, value)| ADDED.contains(key) || labels.get(key) == Some(&value.text_or_empty()))
}
