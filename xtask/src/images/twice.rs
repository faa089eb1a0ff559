//! That images are the same wherever they are built: those of this checkout enter; the same commit is cloned into another folder and
//! built there from nothing; a report, or which of them differ, leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use humantime::{format_duration, format_rfc3339_seconds};

use super::archive;
use super::make::{Made, Run};
use super::stage::sha256;
use crate::command::{command, output, shown};
use crate::layout::Layout;

/// A file of either checkout, by name and digest.
#[derive(Debug, PartialEq, Eq)]
struct Digest {
    what: String,
    digest: String,
}

/// Builds again in that folder and compares.
///
/// # Errors
/// Something here is not committed, the build fails there, or what it gives is another thing.
pub(super) fn check(run: &Run<'_>, made: &[Made], elsewhere: &Path) -> Result<()> {
    let revision = &run.commit.revision;
    ensure!(!revision.ends_with("-changed"), "a clone has what is committed, and here something is not");
    let checkout = std::path::absolute(elsewhere)?.join("checkout");
    clone(run.layout, &checkout, revision)?;
    println!("images: the same again in {}", checkout.display());
    let since = Instant::now();
    let folder = checkout.with_file_name("images");
    let mut again = command(std::env::current_exe()?, ["images", "--tag", &run.settings.tag]);
    for image in &run.settings.only {
        again.args(["--only", image.name()]);
    }
    again.arg("--output").arg(&folder).current_dir(&checkout);
    // What set-up installs is the same by its digests.
    again.env("CARGO_MANIFEST_DIR", &checkout).env("FOREBAY_DIR", &run.layout.dir);
    shown(again)?;
    println!(
        "images: that took {}",
        format_duration(std::time::Duration::from_secs(since.elapsed().as_secs()))
    );

    let (here, there) = (digests(&run.folder, made)?, digests(&folder, made)?);
    let report = report(run, made, &here, &there)?;
    let file = run.layout.root.join("tests/reports/images.md");
    fs::write(&file, report)?;
    let differ: Vec<&str> =
        here.iter().zip(&there).filter(|(here, there)| here != there).map(|(here, _)| &*here.what).collect();
    ensure!(differ.is_empty(), "built in another folder, these are others: {}", differ.join(", "));
    println!("images: the same in both folders; {}", Layout::shown(&file));
    Ok(())
}

fn clone(layout: &Layout, to: &Path, revision: &str) -> Result<()> {
    if !to.exists() {
        let mut clone = command("git", ["clone", "--quiet", "--no-checkout"]);
        clone.arg(&layout.root).arg(to);
        output(clone)?;
    }
    for words in [&["fetch", "--quiet", "origin"][..], &["checkout", "--quiet", "--detach", revision]] {
        let mut git = command("git", words);
        git.current_dir(to);
        output(git)?;
    }
    Ok(())
}

fn digests(folder: &Path, made: &[Made]) -> Result<Vec<Digest>> {
    let mut digests = Vec::new();
    let mut programs: Vec<PathBuf> = made
        .iter()
        .flat_map(|made| {
            let root = folder.join("contexts").join(&made.stem).join("root");
            ["usr/bin/forebay", "filter/plugin.wasm", "plugin.wasm"].map(|program| root.join(program))
        })
        .collect();
    programs.retain(|program| program.is_file());
    for program in programs {
        let what = program.strip_prefix(folder.join("contexts"))?.display().to_string();
        digests.push(Digest { what, digest: sha256(&fs::read(&program)?) });
    }
    for made in made {
        let file = folder.join(made.archive.file_name().unwrap_or_default());
        digests.push(Digest { what: format!("image {}", made.stem), digest: archive::digest(&file)? });
    }
    Ok(digests)
}

fn report(run: &Run<'_>, made: &[Made], here: &[Digest], there: &[Digest]) -> Result<String> {
    let rustc = output(command("rustc", ["--version"]))?;
    let compiler = output(command("cc", ["--version"]))?;
    let now = format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let mut report = format!(
        "# Images, built twice\n\n\
         By `cargo xtask images --check-reproducible FOLDER`, on {}, of commit {}: once in the checkout, once in a clone in another\n\
         folder, each with cargo's outputs of its own; what set-up installs was the same. {}, {}, {}.\n\n\
         | what | digest in the checkout | in the clone |\n|---|---|---|\n",
        now.split('T').next().unwrap_or_default(),
        run.commit.revision,
        rustc.trim(),
        compiler.lines().next().unwrap_or_default(),
        run.builder.version()?,
    );
    for (here, there) in here.iter().zip(there) {
        let verdict = if here == there { "the same" } else { &*there.digest };
        report.extend(["| ", &here.what, " | `", &here.digest, "` | ", verdict, " |\n"]);
    }
    report.push_str("\n| image | unpacked |\n|---|---|\n");
    for made in made {
        report.extend(["| ", &made.stem, " | ", &made.size.display().si().to_string(), " |\n"]);
    }
    Ok(report)
}
