//! Our own images: which there are, what they answer on which path, and what they need to start and end well. Of others none of it is
//! known.

mod folders;
mod hold;
mod keys;
mod lighter;
mod mesh;
mod replays;

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::{Failure, World};

/// Programs, with the paths of their health: ready, live.
const IMAGES: [(&str, Option<(&str, &str)>); 6] = [
    ("serve", Some(("/v2/health/ready", "/v2/health/live"))),
    ("serve-gpu", Some(("/v2/health/ready", "/v2/health/live"))),
    ("gate", Some(("/v2/health/ready", "/v2/health/live"))),
    ("front", None),
    ("filter", None),
    ("optimize", None),
];
/// The least that a model is given to load in: the smallest take seconds, and an engine of TensorRT minutes.
const LEAST_START: i64 = 30;

/// Says what is wrong with our own images.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    hold::check(world, failures);
    mesh::check(world, failures);
    for pod in Pod::whole(world) {
        for container in pod.all_containers() {
            let image = container.at("image");
            let Some(program) = image.text().and_then(program) else { continue };
            let Some((_, health)) = IMAGES.iter().find(|(known, _)| *known == program) else {
                let known = IMAGES.map(|(known, _)| format!("forebay/{known}")).join(", ");
                image.fail(failures, format!("Forebay has no image {program}"), format!("one of {known}"));
                continue;
            };
            programs(&container, program, failures);
            keys::check(&pod, &container, failures);
            folders::check(&pod, &container, failures);
            lighter::check(&pod, &container, program, failures);
            replays::check(&pod, &container, failures);
            if let Some((ready, live)) = health {
                paths(&container, ready, live, failures);
            }
            if program.starts_with("serve")
                && matches!(pod.object.kind.as_str(), "Deployment" | "StatefulSet")
            {
                starts(&container, failures);
            }
        }
    }
}

/// The program of an image of ours: what stands behind `forebay/` at the end of its path.
fn program(image: &str) -> Option<&str> {
    let name = image.split('@').next().unwrap_or_default();
    let path = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(path, _)| path);
    let (before, program) = path.rsplit_once('/')?;
    (before == "forebay" || before.ends_with("/forebay")).then_some(program)
}

/// What is started is there: the images hold their program and no shell. That for GPUs stands on another, which has one.
fn programs(container: &Field<'_>, image: &str, failures: &mut Vec<Failure>) {
    let only = match image {
        "serve" | "gate" | "optimize" => "/usr/bin/forebay",
        "front" => "/usr/bin/envoy",
        _ => return,
    };
    let hooks = ["postStart", "preStop"].map(|hook| container.at("lifecycle").at(hook));
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"].map(|probe| container.at(probe));
    let asked = hooks.into_iter().chain(probes).map(|handler| handler.at("exec").at("command"));
    for command in asked.chain([container.at("command")]) {
        if let Some(first) = command.list().first().filter(|first| first.text() != Some(only)) {
            first.fail(failures, format!("the image holds no {}: it has no shell", first.quoted()), only);
        }
    }
}

fn paths(container: &Field<'_>, ready: &str, live: &str, failures: &mut Vec<Failure>) {
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let http = container.at(probe).at("httpGet");
        let path = http.at("path");
        if !http.is_said() {
            continue;
        }
        let text = path.text().unwrap_or("/");
        if text != ready && text != live {
            path.fail(failures, format!("the server has no health at {text}"), format!("{ready} or {live}"));
        } else if probe == "livenessProbe" && text == ready {
            // A server that drains or loads is not ready, and would be killed for it.
            path.fail(failures, "asks whether it is ready, and kills it when it is not", live);
        } else if probe == "readinessProbe" && text == live {
            path.fail(
                failures,
                "asks whether it lives, and sends it requests before its models are loaded",
                ready,
            );
        }
    }
}

fn starts(container: &Field<'_>, failures: &mut Vec<Failure>) {
    let [startup, readiness, liveness] =
        ["startupProbe", "readinessProbe", "livenessProbe"].map(|probe| container.at(probe));
    if !readiness.is_said() {
        readiness.fail(
            failures,
            "is missing: requests come before models are loaded",
            "httpGet on /v2/health/ready",
        );
    }
    if liveness.is_said() && !startup.is_said() {
        startup.fail(
            failures,
            "is missing: liveness kills a server that still loads its models",
            "httpGet on /v2/health/ready with time for that",
        );
    }
    if startup.is_said() {
        let number = |field: &str, default: i64| startup.at(field).number().unwrap_or(default);
        let allowed =
            number("initialDelaySeconds", 0) + number("periodSeconds", 10) * number("failureThreshold", 3);
        if allowed < LEAST_START {
            let wrong = format!("gives up after {allowed} s, before models are loaded");
            startup.fail(
                failures,
                wrong,
                format!("periodSeconds and failureThreshold for {LEAST_START} s at least"),
            );
        }
    }
}
