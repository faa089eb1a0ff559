//! Who is meant by a selector: pods of the world, or pods that are declared as outsiders.

use crate::World;
use crate::rules::field::Field;
use crate::rules::known::reaches;
use crate::rules::pods::{Pod, said, selects, selects_plainly};

/// Where a selector looks.
#[derive(Clone, Copy)]
pub(crate) enum Within<'a> {
    /// In one namespace; none for that of objects that say none.
    Namespace(Option<&'a str>),
    /// Everywhere.
    Everywhere,
}

/// A selector in one of its two forms.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// Each label with its value, as a Service's.
    Plain,
    /// `matchLabels` and `matchExpressions`.
    Full,
}

/// All pods of a world.
pub(crate) struct Targets<'a> {
    world: &'a World,
    pods: Vec<Pod<'a>>,
}

impl<'a> Targets<'a> {
    pub(crate) fn of(world: &'a World) -> Self {
        Self { world, pods: Pod::all(world) }
    }

    /// Pods that a selector takes.
    pub(crate) fn taken(&self, selector: &Field<'_>, form: Form, within: Within<'_>) -> Vec<&Pod<'a>> {
        let here = |pod: &&Pod<'a>| match within {
            Within::Everywhere => true,
            Within::Namespace(namespace) => {
                reaches(namespace, pod.object.namespace.as_deref()) || pod.object.kind.starts_with("Cluster")
            }
        };
        let takes = |pod: &&Pod<'a>| match form {
            Form::Plain => selects_plainly(selector, &pod.labels()),
            Form::Full => selects(selector, &pod.labels()),
        };
        self.pods.iter().filter(here).filter(takes).collect()
    }

    /// Ports of pods, with what else they are told.
    pub(crate) fn ports(&self, pods: &[&Pod<'a>]) -> Ports<'a> {
        let told = pods.iter().flat_map(|pod| self.told(pod)).collect();
        Ports { told, ..Ports::of(pods) }
    }

    /// What a pod's programs are told: by words, by variables, and by files that it mounts.
    fn told(&self, pod: &Pod<'a>) -> Vec<&'a str> {
        let mut told: Vec<&str> =
            pod.running().iter().flat_map(said).filter_map(|text| text.text()).collect();
        let volumes = pod.spec.at("volumes").list();
        let names: Vec<&str> =
            volumes.iter().filter_map(|volume| volume.at("configMap").at("name").text()).collect();
        let theirs = self.world.of("", "ConfigMap").filter(|map| {
            names.contains(&map.name.as_str())
                && reaches(map.namespace.as_deref(), pod.object.namespace.as_deref())
        });
        for map in theirs {
            told.extend(Field::root(map).at("data").map().into_iter().filter_map(|(_, text)| text.text()));
        }
        told
    }

    /// Whether pods are declared that a selector takes: an outsider of kind Pod, whose keys are its labels as `key=value`.
    pub(crate) fn are_declared(&self, selector: &Field<'_>, form: Form, within: Within<'_>) -> bool {
        let pairs = match form {
            Form::Plain => selector.map(),
            Form::Full => selector.at("matchLabels").map(),
        };
        self.world.outsiders.list.iter().filter(|outsider| outsider.kind == "Pod").any(|outsider| {
            let here = match (within, &outsider.namespace) {
                (Within::Namespace(Some(asked)), Some(namespace)) => asked == namespace,
                _ => true,
            };
            let has = |key: &str, value: &str| {
                let keys = outsider.keys.as_ref();
                keys.is_none_or(|keys| keys.iter().any(|label| label.split_once('=') == Some((key, value))))
            };
            here && pairs.iter().all(|(key, value)| has(key, value.text_or_empty()))
        })
    }
}

/// How to declare pods that a selector takes.
pub(crate) fn declared(selector: &Field<'_>, form: Form, namespace: Option<&str>) -> String {
    let pairs = match form {
        Form::Plain => selector.map(),
        Form::Full => selector.at("matchLabels").map(),
    };
    let labels: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key}={}", value.text_or_empty())).collect();
    let place = namespace.map_or_else(String::new, |namespace| format!(", namespace: {namespace}"));
    format!(
        "labels that pods have, or declare such pods in --outsiders: - {{kind: Pod, name: any{place}, keys: [{}], why: …}}",
        labels.join(", ")
    )
}

/// Ports that pods say they have. A port need not be said, so that a number that is missing means something only where all others are
/// there, or where the image is ours.
pub(crate) struct Ports<'a> {
    /// By name.
    pub(crate) names: Vec<&'a str>,
    /// By number.
    pub(crate) numbers: Vec<i64>,
    /// Whether all pods say theirs.
    pub(crate) are_all_said: bool,
    /// Whether all pods are of our own images, which say what they listen on.
    are_ours: bool,
    /// Texts that others' programs are told, and may listen by.
    told: Vec<&'a str>,
}

impl<'a> Ports<'a> {
    fn of(pods: &[&Pod<'a>]) -> Self {
        let mut ports = Ports {
            names: Vec::new(),
            numbers: Vec::new(),
            are_all_said: true,
            are_ours: true,
            told: Vec::new(),
        };
        for pod in pods {
            let said: Vec<Field<'a>> =
                pod.running().into_iter().flat_map(|container| container.at("ports").list()).collect();
            let images: Vec<&str> =
                pod.containers().iter().map(|one| one.at("image").text_or_empty()).collect();
            // Istio puts the image in, and its ports with it.
            ports.are_all_said &= !said.is_empty() && !pod.is_partial && !images.contains(&"auto");
            ports.are_ours &= images.iter().any(|image| image.contains("forebay"));
            ports.names.extend(said.iter().filter_map(|port| port.at("name").text()));
            ports.numbers.extend(said.iter().filter_map(|port| port.at("containerPort").number()));
        }
        ports
    }

    /// Fails for each port that none of the pods has.
    pub(crate) fn need_all(&self, ports: &[Field<'_>], what: &str, failures: &mut Vec<crate::Failure>) {
        let has = |port: &Field<'_>| port.number().is_some_and(|number| self.numbers.contains(&number));
        let numbers_count = self.are_ours || !ports.iter().any(has);
        for port in ports {
            if port.text().is_some() || numbers_count {
                self.need(port, what, failures);
            }
        }
    }

    /// Fails for each named port that one of the pods has not: to such a pod no request ever comes.
    pub(crate) fn need_everywhere(
        pods: &[&Pod<'a>],
        ports: &[Field<'_>],
        failures: &mut Vec<crate::Failure>,
    ) {
        for port in ports {
            let Some(name) = port.text() else { continue };
            let has = |pod: &&&Pod<'a>| {
                let own = Ports::of(&[**pod]);
                !own.are_all_said || own.names.contains(&name)
            };
            if let (Some(_), Some(without)) = (pods.iter().find(has), pods.iter().find(|pod| !has(pod))) {
                let wrong = format!(
                    "pods of {} {} are selected too, and have no port {name}",
                    without.object.kind, without.object.name
                );
                port.fail(failures, wrong, "a selector that takes only pods with it");
            }
        }
    }

    /// Fails where none of the pods has a port.
    fn need(&self, port: &Field<'_>, what: &str, failures: &mut Vec<crate::Failure>) {
        if !self.are_all_said {
            return;
        }
        if let Some(name) = port.text() {
            if !self.names.contains(&name) {
                port.fail(failures, format!("{what} have no port {name}"), self.right());
            }
        } else if let Some(number) = port.number()
            && !self.numbers.contains(&number)
            && (self.are_ours || !self.told.iter().any(|text| names_number(text, number)))
        {
            port.fail(failures, format!("{what} say no port {number}"), self.right());
        }
    }

    fn right(&self) -> String {
        let numbers = self.numbers.iter().map(i64::to_string);
        let mut all: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).chain(numbers).collect();
        all.dedup();
        if all.is_empty() {
            "a port that a container says".to_owned()
        } else {
            format!("one of {}", all.join(", "))
        }
    }
}

/// Whether a number stands in a text by itself.
fn names_number(text: &str, number: i64) -> bool {
    let number = number.to_string();
    text.split(|c: char| !c.is_ascii_digit()).any(|part| part == number)
}
