//! What k8s/argocd does in Git: promotion as a change of one line, its pause after somebody went back, and rendered manifests that the project
//! allows. Argo CD itself runs in `cargo xtask cluster test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rig::installed::{checkout, installed};
use rig::process::printed;
use tempfile::TempDir;

/// A clone with an origin, which has our k8s/ on main.
struct Repository {
    folder: TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { folder: TempDir::new().expect("a folder") };
        let origin = repository.folder.path().join("origin");
        printed(
            Command::new("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&origin),
        );
        printed(Command::new("git").args(["clone", "--quiet"]).arg(&origin).arg(repository.work()));
        repository.git(&["switch", "--quiet", "--create", "main"]);
        printed(Command::new("cp").arg("-r").arg(checkout().join("k8s")).arg(repository.work()));
        for environment in ["stage", "prod"] {
            repository.run_revision(environment, "v1");
        }
        repository.commit("the first");
        repository.git(&["tag", "v1"]);
        repository
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn application(&self, environment: &str) -> PathBuf {
        self.work().join(format!("k8s/argocd/helm/{environment}.yaml"))
    }

    fn run_revision(&self, environment: &str, revision: &str) {
        let path = self.application(environment);
        let text = fs::read_to_string(&path).expect("an Application");
        let line =
            text.lines().find(|line| line.starts_with("    targetRevision: ")).expect("its line").to_owned();
        fs::write(path, text.replace(&line, &format!("    targetRevision: {revision}")))
            .expect("an Application");
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.work());
        for (name, value) in [("NAME", "a"), ("EMAIL", "a@b")] {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        command
    }

    fn git(&self, arguments: &[&str]) -> String {
        printed(self.command("git").args(arguments)).trim().to_owned()
    }

    /// All as it is, on main and its origin; the commit.
    fn commit(&self, why: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", why]);
        self.git(&["push", "--quiet", "origin", "main"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn promote(&self, arguments: &[&str]) -> Output {
        self.command(self.work().join("k8s/argocd/promote")).args(arguments).output().expect("promote runs")
    }

    /// Promotes, and merges as the pull request would; what the commit changed.
    fn promoted(&self, arguments: &[&str]) -> String {
        let done = self.promote(arguments);
        assert!(done.status.success(), "{done:?}");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let branch =
            said.split("the branch ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a branch");
        let changed = self.git(&["diff", "--numstat", "main", branch]);
        self.git(&["merge", "--quiet", "--ff-only", branch]);
        self.git(&["push", "--quiet", "origin", "main"]);
        changed
    }
}

#[test]
fn promotion_changes_one_line_and_pauses_after_somebody_went_back() {
    let repository = Repository::new();
    let runs = |environment: &str, commit: &str| {
        let text = fs::read_to_string(repository.application(environment)).expect("an Application");
        text.contains(&format!("    targetRevision: {commit}\n"))
    };
    fs::write(repository.work().join("model"), "new").expect("a file");
    let second = repository.commit("a new model");
    assert_eq!(repository.promoted(&["stage"]), "1\t1\tk8s/argocd/helm/stage.yaml");
    assert!(runs("stage", &second) && runs("prod", "v1"), "prod waits for its own");
    assert_eq!(repository.promoted(&["prod"]), "1\t1\tk8s/argocd/helm/prod.yaml");
    assert!(runs("prod", &second));

    repository.git(&["revert", "--no-edit", "HEAD"]);
    repository.git(&["push", "--quiet", "origin", "main"]);
    let refused = repository.promote(&["prod"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains(&format!("went back from {second} to v1")), "{why}");
    repository.promoted(&["prod", "--resume"]);
    assert!(runs("prod", &second));

    // A change of something else leaves nobody paused, and what is there already is no promotion.
    let again = repository.promote(&["prod"]);
    assert!(again.status.success() && again.stdout.is_empty(), "{again:?}");
}

#[test]
fn what_is_rendered_stands_on_a_branch_and_has_no_kind_that_the_project_forbids() {
    let repository = Repository::new();
    let project = fs::read_to_string(checkout().join("k8s/argocd/project.yaml")).expect("the project");
    for how in [&[][..], &["--kustomize"]] {
        for environment in ["dev", "stage", "prod"] {
            let render = || {
                let mut render = repository.command(repository.work().join("k8s/argocd/render"));
                render.env("HELM", installed("bin/helm4")).env("KUSTOMIZE", installed("bin/kustomize"));
                printed(render.arg(environment).args(how))
            };
            render();
            assert!(render().contains("has these objects already"), "the same commit renders the same");
            let text = repository.git(&["show", &format!("rendered/{environment}:forebay.yaml")]);
            let kinds: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
            assert!(kinds.len() > 10, "{environment}: {kinds:?}");
            for kind in kinds {
                assert!(project.contains(&format!("kind: {kind} }}")), "{environment} has a {kind}");
            }
        }
    }
    let log = repository.git(&["log", "--format=%s", "rendered/prod"]);
    assert_eq!(log.lines().count(), 2, "one of the chart, one of the overlay: {log}");
}

#[test]
fn the_repository_is_named_in_all_files_at_once() {
    let repository = Repository::new();
    let name = |arguments: &[&str]| {
        let mut name = repository.command(repository.work().join("k8s/argocd/repository"));
        printed(name.args(arguments)).trim().to_owned()
    };
    let was = name(&[]);
    assert_eq!(name(&["file:///a/b.git"]), "file:///a/b.git");
    let changed = repository.git(&["diff", "--numstat"]);
    let (one, two) = (changed.matches("1\t1\t").count(), changed.lines().count());
    assert_eq!((one, two), (9, 9), "a line in each of nine files: {changed}");
    let left = repository.command("grep").args(["-rl", &was, "k8s/argocd"]).output().expect("grep runs");
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    assert_eq!(left, "k8s/argocd/README.md\n", "a page alone still speaks of it");
}
