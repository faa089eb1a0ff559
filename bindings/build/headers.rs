//! Where NVIDIA's headers are, and of which version: the environment, the checkout, what set-up made and the system enter; a folder
//! leaves, or what would be right. Build scripts alone use this, those of the bindings and of the double; a test of the bindings checks it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Headers that are found together.
pub(crate) struct Headers {
    /// Whose they are, as messages name it.
    pub(crate) name: &'static str,
    /// The environment variables that say where they are: the first that is set.
    variables: &'static [&'static str],
    /// Where they are if no variable is set.
    place: Place,
    /// The one by which they are found.
    header: &'static str,
}

enum Place {
    /// In the repository: a folder of `bindings/headers`.
    Kept(&'static str),
    /// Nobody but NVIDIA may give them on.
    Installed {
        /// Their folder below `.forebay`, made by set-up.
        folder: &'static str,
        /// What set-up calls them.
        part: &'static str,
        /// Where packages of NVIDIA's put them.
        system: &'static [&'static str],
    },
}

pub(crate) const TENSORRT: Headers = Headers {
    name: "TensorRT",
    variables: &["FOREBAY_TENSORRT_INCLUDE", "TENSORRT_INCLUDE"],
    place: Place::Kept("tensorrt-11.4"),
    header: VERSION,
};

pub(crate) const RTX: Headers = Headers {
    name: "TensorRT-RTX",
    variables: &["FOREBAY_TENSORRT_RTX_INCLUDE"],
    place: Place::Kept("tensorrt-rtx-1.7"),
    header: VERSION,
};

pub(crate) const CUDA: Headers = Headers {
    name: "CUDA",
    variables: &["FOREBAY_CUDA_INCLUDE"],
    place: Place::Installed {
        folder: "cuda/include",
        part: "cuda-headers",
        system: &["/usr/local/cuda/include", "/usr/include"],
    },
    header: "cuda.h",
};

/// The header in which both flavours of TensorRT tell their version.
const VERSION: &str = "NvInferVersion.h";

/// The oldest versions of each major that can be compiled with: before 10.11, TensorRT's profiles have no values of 64 bits.
const OLDEST_TENSORRT: &[(u32, u32)] = &[(10, 11), (11, 0)];
const OLDEST_RTX: &[(u32, u32)] = &[(1, 3)];

/// `.forebay` in the checkout, or where `FOREBAY_DIR` says, from there on. Not watched: what is found there is.
pub(crate) fn installed(checkout: &Path) -> PathBuf {
    checkout.join(env::var_os("FOREBAY_DIR").unwrap_or(".forebay".into()))
}

impl Headers {
    /// Their folder: what a variable says; else the repository's, or what set-up made, or the system's.
    pub(crate) fn find(&self, checkout: &Path) -> Result<PathBuf, String> {
        let Self { name, header, .. } = self;
        for variable in self.variables {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        let named = |variable: &&'static str| Some((*variable, PathBuf::from(env::var_os(variable)?)));
        let found = if let Some((variable, folder)) = self.variables.iter().find_map(named) {
            let wrong = || format!("{variable} is {}, which holds no {header}", folder.display());
            Some(folder.clone()).filter(|folder| folder.join(header).is_file()).ok_or_else(wrong)?
        } else {
            match &self.place {
                Place::Kept(folder) => checkout.join("bindings/headers").join(folder),
                Place::Installed { folder, part, system } => {
                    let system = system.iter().map(PathBuf::from);
                    let mut folders = [installed(checkout).join(folder)].into_iter().chain(system);
                    folders.find(|folder| folder.join(header).is_file()).ok_or_else(|| {
                        format!(
                            "the headers of {name} are missing: run `cargo xtask setup --only {part}`, or set {} to the folder \
                             that holds {header}",
                            self.variables[0]
                        )
                    })?
                }
            }
        };
        println!("cargo::rerun-if-changed={}", found.join(header).display());
        Ok(found)
    }
}

/// Major and minor version of a flavour's headers.
///
/// # Errors
/// They tell none, or the bindings can't be compiled with it.
pub(crate) fn version(headers: &Headers, folder: &Path) -> Result<(u32, u32), String> {
    let header = folder.join(VERSION);
    let text = fs::read_to_string(&header).map_err(|error| format!("{}: {error}", header.display()))?;
    let rtx = headers.name == RTX.name;
    let part = |part: &str| {
        let names =
            [format!("TRT_{part}_{}", if rtx { "RTX" } else { "ENTERPRISE" }), format!("NV_TENSORRT_{part}")];
        names.iter().find_map(|name| number(&text, name))
    };
    let (name, folder) = (headers.name, folder.display());
    let (Some(major), Some(minor)) = (part("MAJOR"), part("MINOR")) else {
        return Err(format!("{} tells no version of {name}", header.display()));
    };
    let oldest = if rtx { OLDEST_RTX } else { OLDEST_TENSORRT };
    if oldest.iter().any(|(of_major, least)| major == *of_major && minor >= *least) {
        return Ok((major, minor));
    }
    let oldest: Vec<String> = oldest.iter().map(|(major, minor)| format!("{major}.{minor}")).collect();
    Err(format!(
        "the headers in {folder} are of {name} {major}.{minor}; the bindings are compiled with {} and newer of each major version",
        oldest.join(" or ")
    ))
}

/// The number that a macro stands for: lines as `#define TRT_MAJOR_ENTERPRISE 11`, and in old headers `#define NV_TENSORRT_MAJOR 8`.
fn number(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.strip_prefix("#define ")?.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
    })
}
