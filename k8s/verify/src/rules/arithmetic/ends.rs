//! Ends of pods: what runs before SIGTERM, and what a program does after it, fit into the grace period.

use crate::Failure;
use crate::World;
use crate::rules::field::Field;
use crate::rules::pods::Pod;

/// `forebay serve` and `gate` end by themselves after so many seconds, unless they are told otherwise.
const EXIT_SECONDS: i64 = 25;
/// What is left to a program that ends when it is told: a kubelet counts from before the hook.
const LEAST_LEFT: i64 = 1;

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        let grace = pod.grace_seconds();
        let field = pod.spec.at("terminationGracePeriodSeconds");
        for container in pod.running() {
            let hook = container.at("lifecycle").at("preStop");
            let before = hook_seconds(&hook);
            if grace == 0 && hook.is_said() {
                field.fail(
                    failures,
                    "is 0: the hook of before the end never runs",
                    "the seconds that it takes, and more",
                );
            }
            let after = exit_seconds(&container);
            if let Some((after, said)) = after
                && before + after > grace
            {
                let at = said.unwrap_or_else(|| field.clone());
                let wrong = if before > 0 {
                    format!(
                        "ends within {before} s of preStop and {after} s more, and the pod is killed after {grace} s"
                    )
                } else {
                    format!("ends within {after} s, and the pod is killed after {grace} s")
                };
                at.fail(
                    failures,
                    wrong,
                    format!("terminationGracePeriodSeconds of {} at least", before + after),
                );
            } else if before > 0
                && before + LEAST_LEFT > grace
                && hook.at("sleep").at("seconds").number() != Some(before)
            {
                hook.fail(
                    failures,
                    format!("sleeps {before} s, and the pod is killed after {grace} s"),
                    "time left to end in",
                );
            } else if before == grace && before > 0 {
                hook.fail(
                    failures,
                    format!("takes all of the {grace} s that the pod has to end"),
                    "time left to end in",
                );
            }
        }
        for container in pod.running() {
            for probe in ["livenessProbe", "startupProbe"] {
                let own = container.at(probe).at("terminationGracePeriodSeconds");
                if let (Some(seconds), Some((after, _))) = (own.number(), exit_seconds(&container))
                    && seconds < after
                {
                    own.fail(
                        failures,
                        format!("the program ends within {after} s, and is killed after {seconds} s"),
                        format!("{after} at least"),
                    );
                }
            }
        }
    }
}

/// How long a hook takes, as far as it says.
fn hook_seconds(hook: &Field<'_>) -> i64 {
    if let Some(seconds) = hook.at("sleep").at("seconds").number() {
        return seconds;
    }
    let words: Vec<&str> = hook
        .at("exec")
        .at("command")
        .list()
        .iter()
        .filter_map(Field::text)
        .flat_map(str::split_whitespace)
        .collect();
    let sleeps = words.windows(2).filter(|pair| pair[0].rsplit('/').next() == Some("sleep"));
    sleeps.filter_map(|pair| pair[1].trim_end_matches(['s', ';']).parse::<i64>().ok()).sum()
}

/// How long our own programs take to end at most, and where that is said.
fn exit_seconds<'a>(container: &Field<'a>) -> Option<(i64, Option<Field<'a>>)> {
    let image = container.at("image").text_or_empty();
    let name = image.split('@').next().unwrap_or_default();
    let path = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(path, _)| path);
    if !(path.ends_with("forebay/serve")
        || path.ends_with("forebay/serve-gpu")
        || path.ends_with("forebay/gate"))
    {
        return None;
    }
    let args = container.at("args").list();
    for (place, arg) in args.iter().enumerate() {
        let text = arg.text_or_empty();
        if let Some(seconds) =
            text.strip_prefix("--exit-timeout-secs=").and_then(|seconds| seconds.parse().ok())
        {
            return Some((seconds, Some(arg.clone())));
        }
        if text == "--exit-timeout-secs"
            && let Some(value) = args.get(place + 1)
        {
            let seconds = value.number().or_else(|| value.text().and_then(|seconds| seconds.parse().ok()))?;
            return Some((seconds, Some(value.clone())));
        }
    }
    for variable in container.at("env").list() {
        if variable.at("name").text() == Some("FOREBAY_EXIT_TIMEOUT_SECS") {
            let value = variable.at("value");
            return Some((value.text()?.parse().ok()?, Some(value)));
        }
    }
    Some((EXIT_SECONDS, None))
}
