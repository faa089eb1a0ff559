//! In a repository with our k8s/argocd, promoted by our script, with an origin that somebody else pushes to as well.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::command::output;
use crate::forge::Forge;
use crate::layout::Layout;

/// A repository with an origin; v1 is what stage and prod run.
fn forge(folder: &TempDir) -> Forge {
    let forge = Forge::new(folder.path(), &Layout::find().unwrap().root).unwrap();
    for environment in ["stage", "prod"] {
        let file = format!("k8s/argocd/helm/{environment}.yaml");
        forge.change(&file, "targetRevision: v0.1.0", "targetRevision: v1").unwrap();
    }
    commit(&forge, "chart", "1");
    forge.tag("v1").unwrap();
    forge
}

/// Writes a file, and pushes it with all else; the commit.
fn commit(forge: &Forge, file: &str, text: &str) -> String {
    fs::write(forge.work().join(file), text).unwrap();
    forge.commit(file).unwrap()
}

fn fetched(forge: &Forge) -> Repository {
    Repository::fetched(&forge.work(), "origin/main").unwrap()
}

fn line(environment: &str) -> Line {
    let file = format!("k8s/argocd/helm/{environment}.yaml");
    let application = format!("forebay-{environment}");
    Line { environment: environment.to_owned(), application, file, paths: vec!["chart".to_owned()] }
}

fn taken(way: Way) -> Last {
    match way {
        Way::Take(last) => last,
        Way::Gone(last) => panic!("{last:?} is gone already"),
    }
}

#[test]
fn a_promotion_is_taken_back_once_and_then_promotion_pauses() {
    let folder = TempDir::new().unwrap();
    let forge = forge(&folder);
    let second = commit(&forge, "chart", "2");
    forge.promoted(&["stage"]).unwrap();
    let promotion = forge.promoted(&["prod"]).unwrap();
    // What nobody has committed is nobody's business.
    fs::write(forge.work().join("chart"), "half an idea").unwrap();

    let repository = fetched(&forge);
    let last = taken(repository.way(&line("prod")).unwrap());
    assert_eq!((&last.commit, &last.from, &last.to), (&promotion, &second, &"v1".to_owned()));
    let (branch, made) = repository.revert("prod", &last).unwrap();
    assert_eq!(repository.way(&line("prod")).unwrap(), Way::Take(last.clone()), "not merged yet");
    repository.push(&branch, &last).unwrap();

    let gone = Last { commit: made.clone(), from: second.clone(), ..last.clone() };
    assert_eq!(fetched(&forge).way(&line("prod")).unwrap(), Way::Gone(gone), "and it is not gone again");
    let message = forge.git(&["log", "-1", "--format=%B", &made]).unwrap();
    assert!(message.contains(&format!("This reverts commit {promotion}")), "{message}");
    assert_eq!(fs::read_to_string(forge.work().join("chart")).unwrap(), "half an idea");
    assert!(!forge.git(&["worktree", "list"]).unwrap().contains("forebay-back"), "the worktree is gone");

    let why = output(forge.promote(&["prod"])).unwrap_err().to_string();
    assert!(why.contains(&format!("went back from {second} to v1")), "{why}");
}

#[test]
fn who_follows_a_branch_goes_back_by_what_was_done_last_to_its_paths() {
    let folder = TempDir::new().unwrap();
    let forge = forge(&folder);
    let wrong = commit(&forge, "chart", "wrong");
    commit(&forge, "other", "a page");
    let repository = fetched(&forge);
    let last = taken(repository.way(&line("dev")).unwrap());
    assert!(last.follows());
    assert_eq!(last.commit, wrong);
    let (branch, made) = repository.revert("dev", &last).unwrap();
    repository.push(&branch, &last).unwrap();
    let repository = fetched(&forge);
    assert!(matches!(repository.way(&line("dev")).unwrap(), Way::Gone(last) if last.commit == made));
    // What comes after it is in the branch as well, and what was there before it is not it.
    forge.git(&["checkout", "--quiet", "--", "."]).unwrap();
    forge.pull().unwrap();
    let later = commit(&forge, "other", "another page");
    assert!(repository.has(&later, &made) && !repository.has(&wrong, &made));
}

#[test]
fn where_nothing_was_changed_yet_there_is_nothing_to_go_back_to() {
    let folder = TempDir::new().unwrap();
    let forge = forge(&folder);
    let repository = fetched(&forge);
    assert!(matches!(repository.way(&line("prod")), Err(Wrong::Nowhere { .. })));
    assert!(matches!(repository.way(&line("dev")), Err(Wrong::Nowhere { .. })));
    assert!(matches!(repository.way(&line("test")), Err(Wrong::NoLine { .. })));
    let another = Line { application: "forebay-stage".to_owned(), ..line("prod") };
    assert!(matches!(repository.way(&another), Err(Wrong::Another { .. })));
    assert!(matches!(Repository::fetched(&forge.work(), "main"), Err(Wrong::Main(_))));
}

#[test]
fn what_stands_in_the_way_of_a_revert_is_told_and_leaves_nothing_half_done() {
    let folder = TempDir::new().unwrap();
    let forge = forge(&folder);
    commit(&forge, "chart", "2");
    forge.promoted(&["stage"]).unwrap();
    let file = forge.work().join("k8s/argocd/helm/stage.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let path = text.lines().find(|line| line.starts_with("    path: ")).unwrap();
    commit(&forge, "k8s/argocd/helm/stage.yaml", &text.replace(path, "    path: elsewhere"));
    let repository = fetched(&forge);
    let last = taken(repository.way(&line("stage")).unwrap());
    let wrong = repository.revert("stage", &last).unwrap_err();
    assert!(matches!(&wrong, Wrong::Conflict { commit, .. } if *commit == last.commit), "{wrong}");
    assert!(!forge.git(&["worktree", "list"]).unwrap().contains("forebay-back"));
    assert_eq!(forge.git(&["status", "--porcelain"]).unwrap(), "");
}

#[test]
fn who_was_slower_is_told_to_call_again() {
    let folder = TempDir::new().unwrap();
    let forge = forge(&folder);
    commit(&forge, "chart", "2");
    let repository = fetched(&forge);
    let last = taken(repository.way(&line("dev")).unwrap());
    let (branch, _) = repository.revert("dev", &last).unwrap();
    commit(&forge, "other", "meanwhile");
    assert!(matches!(repository.push(&branch, &last), Err(Wrong::Push { .. })));
    let (branch, made) = fetched(&forge).revert("dev", &last).unwrap();
    repository.push(&branch, &last).unwrap();
    assert_eq!(forge.git(&["ls-remote", "origin", "main"]).unwrap().split('\t').next(), Some(made.as_str()));
}
