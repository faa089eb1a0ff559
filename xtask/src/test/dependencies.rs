//! What `deny.toml` says of dependencies: the lock file enters, a verdict leaves. Advisories are checked where their database can be
//! reached; all else needs no network.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{last_lines, shown};
use crate::layout::Layout;

/// What cargo-deny says when it gets no database.
const UNREACHED: &str = "failed to fetch advisory database";

/// Checks licences, bans, sources, duplicates, and advisories.
///
/// # Errors
/// Something is not as `deny.toml` has it.
pub(super) fn check(layout: &Layout) -> Result<()> {
    println!("test: licences, bans, sources and duplicates of dependencies");
    shown(deny(layout, &["licenses", "bans", "sources"])).context("deny.toml")?;
    println!("test: advisories about dependencies");
    let checked =
        deny(layout, &["advisories"]).stdin(Stdio::null()).output().context("can't run cargo-deny")?;
    let said = String::from_utf8_lossy(&checked.stderr);
    if checked.status.success() {
        println!("{}", String::from_utf8_lossy(&checked.stdout).trim());
    } else if said.contains(UNREACHED) {
        println!("test: advisories: skipped, their database can't be reached");
    } else {
        bail!("advisories about dependencies:\n{}", last_lines(&said));
    }
    Ok(())
}

fn deny(layout: &Layout, checks: &[&str]) -> Command {
    let mut deny = Command::new(layout.bin("cargo-deny"));
    deny.args(["--all-features", "check", "--hide-inclusion-graph"]).args(checks).current_dir(&layout.root);
    deny
}
