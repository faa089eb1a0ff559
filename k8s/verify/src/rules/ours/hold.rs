//! Gates that hold: what they wait for is the backends and not themselves, whoever sends requests there waits as long, and what they may
//! do in Kubernetes is to wake a backend. Who goes to zero has one. Whom Kubernetes asks for metrics: [`external`].

use serde_json::Value;

use crate::rules::field::Field;
use crate::rules::known::reaches;
use crate::rules::made;
use crate::rules::pods::{Pod, mount_of, selects_plainly};
use crate::{Failure, Object, World};

mod external;
mod routes;

const RBAC: &str = "rbac.authorization.k8s.io";
/// Where Kubernetes puts what a pod proves itself by, and where the gate looks for it.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// What `--hold-timeout-secs` is if nobody says it.
const LONGEST: f64 = 300.0;

/// A gate that holds.
struct Gate<'a> {
    pod: Pod<'a>,
    container: Field<'a>,
    /// Where it says for whom.
    held_for: Field<'a>,
}

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    let gates: Vec<Gate<'_>> = Pod::whole(world).filter_map(Gate::of).collect();
    for gate in &gates {
        backends(world, gate, failures);
        routes::check(world, gate, failures);
        wakes(world, gate, failures);
    }
    external::check(world, &gates, failures);
    zero(world, &gates, failures);
}

impl<'a> Gate<'a> {
    fn of(pod: Pod<'a>) -> Option<Self> {
        let is_gate = |container: &Field<'a>| {
            super::program(container.at("image").text()?).filter(|name| *name == "gate")
        };
        let container = pod.containers().into_iter().find(|container| is_gate(container).is_some())?;
        let held_for = said(&container, "FOREBAY_HOLD_FOR").filter(|value| value.text().is_some())?;
        Some(Self { pod, container, held_for })
    }

    fn namespace(&self) -> Option<&'a str> {
        self.pod.object.namespace.as_deref()
    }

    /// Seconds that a request waits at most.
    fn longest(&self) -> f64 {
        let said = said(&self.container, "FOREBAY_HOLD_TIMEOUT_SECS");
        said.and_then(|value| value.text()?.parse().ok()).unwrap_or(LONGEST)
    }

    /// The name that it looks for backends by.
    fn host(&self) -> &'a str {
        let text = self.held_for.text_or_empty();
        let host = text.split_once("://").map_or(text, |(_, rest)| rest);
        host.split([':', '.', '/']).next().unwrap_or_default()
    }

    /// Is it one of those that a Service stands for?
    fn is_behind(&self, service: &Object) -> bool {
        let selector = Field::root(service).down("spec.selector");
        reaches(service.namespace.as_deref(), self.namespace())
            && !selector.is_empty()
            && selects_plainly(&selector, &self.pod.labels())
    }
}

/// The value of a variable, where it is said.
fn said<'a>(container: &Field<'a>, name: &str) -> Option<Field<'a>> {
    container
        .at("env")
        .list()
        .into_iter()
        .find(|one| one.at("name").text() == Some(name))
        .map(|one| one.at("value"))
}

/// The name that it looks for backends by stands for each of them, and not for the gate.
fn backends(world: &World, gate: &Gate<'_>, failures: &mut Vec<Failure>) {
    let name = gate.host();
    let mut services =
        world.of("", "Service").filter(|service| reaches(service.namespace.as_deref(), gate.namespace()));
    let Some(service) = services.find(|service| service.name == name) else { return };
    let spec = Field::root(service).at("spec");
    if gate.is_behind(service) {
        let wrong = format!(
            "selects {} {} too, which holds for it: it would wait for itself",
            gate.pod.object.kind, gate.pod.object.name
        );
        spec.at("selector").fail(failures, wrong, "backends alone");
    } else if spec.at("clusterIP").text() != Some("None") {
        let wrong = format!("Service {name} is one address, and the gate looks for each backend's");
        gate.held_for.fail(failures, wrong, "a headless Service");
    }
}

/// It may do what it must, by what it proves itself with, and nothing else.
fn wakes(world: &World, gate: &Gate<'_>, failures: &mut Vec<Failure>) {
    let account = gate.pod.spec.at("serviceAccountName").text().unwrap_or("default");
    let roles: Vec<&Object> = bound(world, gate, account);
    let lines = || roles.iter().flat_map(|role| Field::root(role).at("rules").list());
    for rule in lines().filter(|rule| !is_of_one_scale(rule)) {
        rule.fail(
            failures,
            "lets a gate do more than wake a backend",
            "resources: [deployments/scale], resourceNames: [NAME], verbs: [get, patch]",
        );
    }
    let Some(scale) = said(&gate.container, "FOREBAY_HOLD_WAKE_SCALE") else { return };
    let name = scale.text_or_empty().trim_end_matches("/scale").rsplit('/').next().unwrap_or_default();
    let lets = |rule: &Field<'_>| {
        texts(&rule.at("resourceNames")).contains(&name) && texts(&rule.at("verbs")).len() == 2
    };
    woken(world, gate, &scale, name, failures);
    if !lines().any(|rule| lets(&rule)) {
        let right = format!(
            "a Role with get and patch of deployments/scale, resourceNames: [{name}], bound to {account}"
        );
        scale.fail(failures, format!("no Role lets ServiceAccount {account} wake {name}"), right);
    }
    token(gate, &scale, failures);
}

/// What wants Kubernetes' API has something to prove itself by.
fn token(gate: &Gate<'_>, wants: &Field<'_>, failures: &mut Vec<Failure>) {
    let is_none = gate.pod.spec.at("automountServiceAccountToken").is_false();
    if is_none && mount_of(&gate.container, TOKEN).is_none() {
        let right = format!("a projected serviceAccountToken at {TOKEN}");
        wants.fail(failures, "wants a token, and the pod has none", right);
    }
}

/// What it wakes is there, and stays awake.
fn woken(world: &World, gate: &Gate<'_>, scale: &Field<'_>, name: &str, failures: &mut Vec<Failure>) {
    let namespace = gate.namespace();
    let is_made = |object: &&Object| {
        reaches(namespace, object.namespace.as_deref())
            && (object.is("apps", "Deployment") && object.name == name
                || made::by(object).iter().any(|(kind, made, _)| *kind == "Deployment" && made == name))
    };
    let Some(maker) = world.objects.iter().find(is_made) else {
        if !world.outsiders.holds("Deployment", name, namespace) {
            let wrong = format!("wakes {name}, and nothing here is or makes a Deployment of that name");
            scale.fail(failures, wrong, "the backends' Deployment; NAME-predictor where KServe makes it");
        }
        return;
    };
    let class = Field::root(maker).down("metadata.annotations").at("serving.kserve.io/autoscalerClass");
    if class.text() == Some("none") {
        let wrong = format!("KServe sets {name} to minReplicas again, and the gate wakes it from zero");
        class.fail(failures, wrong, "external, or hpa");
    }
}

/// Roles that an account of the gate's namespace has there.
fn bound<'a>(world: &'a World, gate: &Gate<'_>, account: &str) -> Vec<&'a Object> {
    let here = |object: &&Object| reaches(object.namespace.as_deref(), gate.namespace());
    let bindings = world.of(RBAC, "RoleBinding").filter(here).filter(|binding| {
        Field::root(binding).at("subjects").list().iter().any(|subject| {
            subject.at("kind").text() == Some("ServiceAccount") && subject.at("name").text() == Some(account)
        })
    });
    let names: Vec<&str> =
        bindings.map(|binding| Field::root(binding).down("roleRef.name").text_or_empty()).collect();
    world.of(RBAC, "Role").filter(here).filter(|role| names.contains(&role.name.as_str())).collect()
}

fn is_of_one_scale(rule: &Field<'_>) -> bool {
    let resources = texts(&rule.at("resources"));
    resources.iter().all(|resource| resource.ends_with("/scale") && *resource != "*/scale")
        && texts(&rule.at("apiGroups")).iter().all(|group| *group != "*")
        && texts(&rule.at("resourceNames")).len() == 1
        && texts(&rule.at("verbs")).iter().all(|verb| ["get", "patch"].contains(verb))
}

fn texts<'a>(list: &Field<'a>) -> Vec<&'a str> {
    list.list().iter().map(Field::text_or_empty).collect()
}

/// What may go to zero has a gate that holds what comes then.
fn zero(world: &World, gates: &[Gate<'_>], failures: &mut Vec<Failure>) {
    let servers: Vec<Pod<'_>> = Pod::whole(world).filter(serves).collect();
    for object in &world.objects {
        let spec = Field::root(object).at("spec");
        let least = match (object.group(), object.kind.as_str()) {
            ("autoscaling", "HorizontalPodAutoscaler") => spec.at("minReplicas"),
            // KEDA's own default is 0.
            ("keda.sh", "ScaledObject") if spec.at("idleReplicaCount").number() == Some(0) => {
                spec.at("idleReplicaCount")
            }
            ("keda.sh", "ScaledObject") => spec.at("minReplicaCount"),
            _ => continue,
        };
        let goes = least.number().unwrap_or(i64::from(object.kind == "HorizontalPodAutoscaler")) == 0;
        let target = spec.down("scaleTargetRef.name").text_or_empty();
        let namespace = object.namespace.as_deref();
        let is_target =
            |pod: &&Pod<'_>| pod.object.name == target && reaches(namespace, pod.object.namespace.as_deref());
        let is_held = gates.iter().any(|gate| reaches(namespace, gate.namespace()));
        if goes && !is_held && servers.iter().any(|pod| is_target(&pod)) {
            least.fail(
                failures,
                "goes to zero, and no gate holds what comes then: it is answered 503",
                "1, or a gate with FOREBAY_HOLD_FOR",
            );
        }
    }
}

fn serves(pod: &Pod<'_>) -> bool {
    let is_server = |image: &str| super::program(image).is_some_and(|program| program.starts_with("serve"));
    pod.containers().iter().any(|container| container.at("image").text().is_some_and(is_server))
}

/// A number of seconds as Envoy writes them; 0 for no end.
fn seconds(value: Option<&Value>) -> Option<f64> {
    value?.as_str()?.strip_suffix('s')?.parse().ok()
}
