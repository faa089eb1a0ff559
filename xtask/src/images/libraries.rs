//! Which libraries programs need: ELF files enter; the files that the loader will want, with the place where it looks for each and
//! the Debian package that each is of, leave. So an image holds the glibc that its program was linked against, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::machine::Machine;
use crate::command::{command, output};

/// A library of this system's.
#[derive(Debug)]
pub(super) struct Library {
    /// The file here.
    pub(super) file: PathBuf,
    /// Its place in the image.
    pub(super) place: PathBuf,
    /// The package it is of, where dpkg knows.
    pub(super) package: Option<Package>,
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) machine: String,
}

/// All that the programs need, by what those need in turn, but for what is among them.
///
/// # Errors
/// A file is no program, or a library is nowhere.
pub(super) fn needed_by(programs: &[PathBuf], machine: Machine) -> Result<Vec<Library>> {
    let mut found: BTreeMap<String, Library> = BTreeMap::new();
    let own: BTreeSet<&OsStr> = programs.iter().filter_map(|program| program.file_name()).collect();
    let mut todo = programs.to_vec();
    let loader = programs.iter().find_map(|program| loader(program).ok().flatten());
    let loader = loader.with_context(|| format!("none of {programs:?} names a loader"))?;
    while let Some(program) = todo.pop() {
        for name in needed(&program)? {
            if found.contains_key(&name) || own.contains(OsStr::new(&name)) {
                continue;
            }
            let file = find(&name, machine)?;
            let place = if loader.file_name().is_some_and(|loader| *loader == *name) {
                loader.clone()
            } else {
                folder(&file, machine).join(&name)
            };
            todo.push(file.clone());
            found.insert(name, Library { package: package(&file), file, place });
        }
    }
    Ok(found.into_values().collect())
}

/// Names that the file says it needs.
///
/// # Errors
/// It is no program.
pub(super) fn needed(program: &Path) -> Result<Vec<String>> {
    let said = read_elf("--dynamic", program)?;
    let named = said.lines().filter(|line| line.contains("(NEEDED)"));
    Ok(named.filter_map(bracketed).map(str::to_owned).collect())
}

/// The loader that the file names; libraries name none.
fn loader(program: &Path) -> Result<Option<PathBuf>> {
    let said = read_elf("--program-headers", program)?;
    let line = said.lines().find(|line| line.contains("program interpreter:"));
    Ok(line.and_then(|line| Some(bracketed(line)?.split_once(": ")?.1.into())))
}

fn read_elf(what: &str, program: &Path) -> Result<String> {
    let mut read_elf = command("readelf", ["--wide", what]);
    read_elf.arg(program).env("LC_ALL", "C");
    output(read_elf).context("readelf, of binutils, says what a program needs")
}

fn bracketed(line: &str) -> Option<&str> {
    Some(line.split_once('[')?.1.split_once(']')?.0)
}

/// Where the compiler finds the library.
fn find(name: &str, machine: Machine) -> Result<PathBuf> {
    let asked = format!("-print-file-name={name}");
    let said = output(command(machine.compiler(), [&asked]))?;
    let path = Path::new(said.trim());
    ensure!(path.is_absolute(), "{name} is nowhere that {} looks", machine.compiler().display());
    path.canonicalize().with_context(|| format!("can't find {}", path.display()))
}

/// The folder in the image: the same as here, for it is where this system's loader looks; of a cross compiler's library, where
/// Debian's loader looks on that machine.
fn folder(file: &Path, machine: Machine) -> PathBuf {
    let here = file.parent().filter(|_| Machine::here() == Some(machine));
    here.map_or_else(|| Path::new("/usr/lib").join(machine.gnu()), Path::to_owned)
}

fn package(file: &Path) -> Option<Package> {
    // Packages from before /lib became a link into /usr list their files under /lib.
    let names = [Some(file.to_owned()), file.strip_prefix("/usr").ok().map(|rest| Path::new("/").join(rest))];
    let owner = names
        .into_iter()
        .flatten()
        .find_map(|name| output(command("dpkg", [Path::new("-S"), &name])).ok())?;
    let owner = owner.split_once(": ")?.0.to_owned();
    let asked = "--showformat=${Package}\t${Version}\t${Architecture}";
    let said = output(command("dpkg-query", ["--show", asked, &owner])).ok()?;
    let mut fields = said.split('\t').map(str::to_owned);
    Some(Package { name: fields.next()?, version: fields.next()?, machine: fields.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_its_loader_where_it_names_it_and_the_c_library() {
        let machine = Machine::here().unwrap();
        let own = std::env::current_exe().unwrap();
        let needed = needed_by(std::slice::from_ref(&own), machine).unwrap();
        let loader = loader(&own).unwrap().unwrap();
        assert!(needed.iter().any(|library| library.place.ends_with("libc.so.6")), "{needed:?}");
        let interpreter = needed.iter().find(|library| library.place == loader);
        assert!(interpreter.is_some_and(|library| library.file.is_file()), "{loader:?} {needed:?}");
    }

    #[test]
    fn what_is_no_program_is_said_so() {
        let error = needed_by(&["/etc/passwd".into()], Machine::here().unwrap()).unwrap_err();
        assert!(error.to_string().contains("names a loader"), "{error:#}");
    }
}
