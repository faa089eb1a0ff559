//! `forebay optimize` in a pod: it ends, has its tools, and may write where it must.

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::pods::{Pod, mount_of};

/// The image that has the tools.
const IMAGE: &str = "optimize";
/// Where it works, as the image says.
const WORK: &str = "/work";
/// Flags with which nothing is installed.
const READS: [&str; 2] = ["--check", "--dry-run"];

/// Says what keeps it from its end, or from any.
pub(super) fn check(pod: &Pod<'_>, container: &Field<'_>, image: &str, failures: &mut Vec<Failure>) {
    let Some(words) = words(container, image) else { return };
    let has = |flags: &[&str]| words.iter().any(|word| flags.contains(&word.text_or_empty()));
    if image != IMAGE && !has(&["--undo"]) {
        let wrong = format!("forebay/{image} has no tools, and can't fetch them as it may not write");
        container.at("image").fail(failures, wrong, "forebay/optimize");
        return;
    }
    ends(pod, failures);
    let is_flag = |word: &&Field<'_>| word.text_or_empty().starts_with("--");
    if let Some(model) = words.iter().find(|word| !is_flag(word)).filter(|_| !has(&READS)) {
        writes(pod, container, model, failures);
    }
    let work =
        container.at("env").list().into_iter().find(|one| one.at("name").text() == Some("FOREBAY_WORK_DIR"));
    let work = work.and_then(|one| one.at("value").text()).unwrap_or(WORK);
    if container.at("securityContext").at("readOnlyRootFilesystem").is_true()
        && mount_of(container, work).is_none()
    {
        let wrong = format!("hold no folder for what is tried: nothing is mounted at {work}");
        container.at("volumeMounts").fail(failures, wrong, format!("an emptyDir at {work}"));
    }
}

/// Its arguments, if the container runs it.
fn words<'a>(container: &Field<'a>, image: &str) -> Option<Vec<Field<'a>>> {
    let (command, arguments) = (container.at("command").list(), container.at("args").list());
    if command.is_empty() {
        return (image == IMAGE).then_some(arguments);
    }
    let all: Vec<Field<'a>> = command.into_iter().chain(arguments).collect();
    let is_one = all.get(1).is_some_and(|word| word.text() == Some("optimize"));
    is_one.then(|| all.into_iter().skip(2).collect())
}

/// Whoever starts it again when it ends makes a variant after another; who never ends it, a Job for ever.
fn ends(pod: &Pod<'_>, failures: &mut Vec<Failure>) {
    let root = Field::root(pod.object);
    let deadline = match pod.object.kind.as_str() {
        "Job" | "Pod" => root.down("spec.activeDeadlineSeconds"),
        "CronJob" => root.down("spec.jobTemplate.spec.activeDeadlineSeconds"),
        kind => {
            let wrong = format!("a {kind} starts it again when it has ended");
            return pod.spec.at("containers").fail(failures, wrong, "a Job or a CronJob");
        }
    };
    deadline.require(failures, "seconds after which it is ended, whatever it waits for");
}

/// A variant is installed beside its original.
fn writes(pod: &Pod<'_>, container: &Field<'_>, model: &Field<'_>, failures: &mut Vec<Failure>) {
    let path = model.text_or_empty();
    let Some(mount) = mount_of(container, path) else {
        let wrong = format!("{} is in the image, and the variant would go with the pod", model.quoted());
        return model.fail(failures, wrong, "a folder of a volume, with the repository");
    };
    let right = "a claim that can be written to, as ReadWriteMany";
    if mount.at("readOnly").is_true() {
        let wrong = format!("{path} can't be written to, and its variant is to be installed there");
        return mount.at("readOnly").fail(failures, wrong, format!("{right}; or --dry-run"));
    }
    let Some(volume) = pod.volume_of(&mount) else { return };
    let only_read = ["configMap", "image", "secret"].iter().any(|source| volume.at(source).is_said());
    let claim = volume.at("persistentVolumeClaim");
    if only_read || claim.at("readOnly").is_true() {
        let wrong = format!("can't be written to, and the variant of {path} is to be installed there");
        volume.fail(failures, wrong, right);
    }
}
