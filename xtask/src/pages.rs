//! That the pages say what is there: each `cargo xtask` command of theirs is read as the command line would be, and each file that
//! they link to is looked for.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use walkdir::WalkDir;

use crate::Arguments;

/// Folders of which nothing is a page of ours.
const SKIPPED: [&str; 3] = ["target", ".git", ".forebay"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The pages, and their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let ours = |entry: &walkdir::DirEntry| SKIPPED.iter().all(|name| entry.file_name() != *name);
    let files = WalkDir::new(root()).into_iter().filter_entry(ours).map(|entry| entry.unwrap().into_path());
    let pages = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    pages.map(|page| (page.clone(), fs::read_to_string(page).unwrap())).collect()
}

/// What stands between backticks, and the lines of blocks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.lines().filter_map(|line| line.strip_prefix("    "));
    // A span may go over the end of a line.
    text.split('`').skip(1).step_by(2).chain(blocks)
}

/// The words of its `cargo xtask` command, if it is one; `k8s/release` is `cargo xtask release`.
fn xtask(code: &str) -> Option<Vec<&str>> {
    let command = code.split(['#', ';', '&', '|']).next()?;
    if let Some(arguments) = command.trim().strip_prefix("k8s/release ") {
        // ENV stands for one of them.
        let words = arguments.split_whitespace().map(|word| if word == "ENV" { "prod" } else { word });
        return Some(std::iter::once("release").chain(words).collect());
    }
    let (before, arguments) = command.split_once("cargo xtask")?;
    before.trim().is_empty().then(|| arguments.split_whitespace().collect())
}

#[test]
fn every_command_of_a_page_is_one_that_the_command_line_takes() {
    let mut tried = 0;
    for (page, text) in pages() {
        for words in code(&text).filter_map(xtask) {
            tried += 1;
            let command = [&["cargo xtask"], &*words].concat();
            let Err(error) = Arguments::try_parse_from(&command) else { continue };
            // A page may speak of a command without saying what to do with it.
            let spoken_of = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            assert!(spoken_of, "{}: {}\n{error}", page.display(), command.join(" "));
        }
    }
    assert!(tried > 20, "only {tried} commands were found: are they still written so?");
    Arguments::command().debug_assert();
}

#[test]
fn every_file_that_a_page_links_to_is_there() {
    let mut tried = 0;
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let target = link.0.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            tried += 1;
            let file = page.parent().unwrap().join(target);
            assert!(file.exists(), "{} links to {target}, which is not there", page.display());
        }
    }
    assert!(tried > 20, "only {tried} links were found");
}

#[test]
fn programs_and_files_that_a_page_runs_are_there() {
    for (page, text) in pages() {
        for line in text.lines().filter_map(|line| line.strip_prefix("    ")) {
            for word in line.split_whitespace().filter(|word| word.starts_with("examples/")) {
                assert!(root().join(word).exists(), "{}: {word} is not there", page.display());
            }
        }
    }
}
