//! A path or a name enters, a checked library leaves. Next: [`crate::Runtime`] runs plans with it, [`crate::Network`] builds them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cxx::UniquePtr;
use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};

use crate::bridge::ffi::{self, Symbols};
use crate::error::{Error, said};
use crate::flavour::{Flavour, Version};

/// The numbers that the headers of TensorRT give themselves, by bindgen.
#[allow(missing_docs, unreachable_pub)]
mod enterprise_version {
    include!(concat!(env!("OUT_DIR"), "/enterprise_version.rs"));
}
/// The same of TensorRT-RTX.
#[allow(missing_docs, unreachable_pub)]
mod rtx_version {
    include!(concat!(env!("OUT_DIR"), "/rtx_version.rs"));
}

/// Are the headers those of TensorRT 10? Otherwise they are of 11: the build takes no others.
const IS_10: bool = enterprise_version::NV_TENSORRT_MAJOR == 10;

/// What makes an ONNX parser.
const PARSER: &str = "createNvOnnxParser_INTERNAL";

impl Flavour {
    /// The name of its library, for the system's loader.
    pub fn library_name(self) -> &'static str {
        match self {
            Self::Enterprise if IS_10 => "libnvinfer.so.10",
            Self::Enterprise => "libnvinfer.so.11",
            Self::Lean if IS_10 => "libnvinfer_lean.so.10",
            Self::Lean => "libnvinfer_lean.so.11",
            Self::Rtx => "libtensorrt_rtx.so.1",
        }
    }

    /// The name of its ONNX parser's library.
    fn parser_name(self) -> Option<&'static str> {
        match self {
            Self::Enterprise if IS_10 => Some("libnvonnxparser.so.10"),
            Self::Enterprise => Some("libnvonnxparser.so.11"),
            Self::Lean => None,
            Self::Rtx => Some("libtensorrt_onnxparser_rtx.so.1"),
        }
    }

    /// The version of the headers that these bindings are built with: libraries of the same major version from it on will do.
    pub fn header_version(self) -> Version {
        let (major, minor, patch) = match self {
            Self::Enterprise | Self::Lean => (
                enterprise_version::NV_TENSORRT_MAJOR,
                enterprise_version::NV_TENSORRT_MINOR,
                enterprise_version::NV_TENSORRT_PATCH,
            ),
            Self::Rtx => (
                rtx_version::NV_TENSORRT_MAJOR,
                rtx_version::NV_TENSORRT_MINOR,
                rtx_version::NV_TENSORRT_PATCH,
            ),
        };
        Version { major, minor, patch }
    }
}

/// A loaded library of TensorRT. A handle: cheap to clone, used by any thread.
///
/// It is never unloaded, since TensorRT keeps threads and thread-local state: a library that was opened stays until the process
/// ends, whatever becomes of its handles.
#[derive(Clone)]
pub struct Library(Arc<Inner>);

struct Inner {
    flavour: Flavour,
    version: Version,
    path: PathBuf,
    /// Where the ONNX parser was looked for and why it can't be used, if it can't.
    no_parser: Option<(PathBuf, String)>,
    raw: UniquePtr<ffi::Library>,
}

// SAFETY: the C++ object holds addresses of functions and never changes.
unsafe impl Send for ffi::Library {}
// SAFETY: as for Send.
unsafe impl Sync for ffi::Library {}

impl Library {
    /// Loads the library at that path, or, if it is a mere name, the one that the system's loader finds by it. The ONNX parser's
    /// library is taken from the same place; without it nothing can be parsed, which is told when something shall be.
    ///
    /// # Errors
    /// It is not there, needs a library that is not there, is none of TensorRT, or has another major version than the headers or
    /// an older version.
    pub fn open(path: impl AsRef<Path>, flavour: Flavour) -> Result<Self, Error> {
        let path = path.as_ref();
        let library = load(path, flavour)?;
        let version = version(&library, path, flavour)?;
        let needed = flavour.header_version();
        if version.major != needed.major || version < needed {
            return Err(Error::Version { flavour, path: path.to_owned(), found: version, needed });
        }
        let parser = flavour.parser_name().map(|name| beside(path, name));
        let (parser, no_parser) = match parser.map(|path| (open_parser(&path), path)) {
            None => (None, None),
            Some((Ok(parser), _)) => (Some(parser), None),
            Some((Err(reason), path)) => (None, Some((path, reason))),
        };
        let in_parser = |symbol| parser.as_ref().map_or(0, |parser| address(parser, symbol));
        let symbols = Symbols {
            runtime: address(&library, "createInferRuntime_INTERNAL"),
            refitter: address(&library, "createInferRefitter_INTERNAL"),
            builder: address(&library, "createInferBuilder_INTERNAL"),
            parser: in_parser(PARSER),
            parser_refitter: in_parser("createNvOnnxParserRefitter_INTERNAL"),
        };
        if symbols.runtime == 0 {
            let symbol = "createInferRuntime_INTERNAL";
            return Err(Error::NotTensorRt { flavour, path: path.to_owned(), symbol });
        }
        let raw = match flavour {
            Flavour::Enterprise | Flavour::Lean => ffi::make_enterprise(&symbols)?,
            Flavour::Rtx => ffi::make_rtx(&symbols)?,
        };
        Ok(Self(Arc::new(Inner { flavour, version, path: path.to_owned(), no_parser, raw })))
    }

    /// As [`Library::open`] with the flavour's own name: what the system's loader finds (`LD_LIBRARY_PATH`, `ldconfig`).
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn find(flavour: Flavour) -> Result<Self, Error> {
        Self::open(flavour.library_name(), flavour)
    }

    /// The flavour.
    pub fn flavour(&self) -> Flavour {
        self.0.flavour
    }

    /// The version that the library tells.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// What it was opened by.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether models can be parsed, where the flavour has a parser.
    ///
    /// # Errors
    /// `Parser`: why they can't.
    pub(crate) fn check_parser(&self) -> Result<(), Error> {
        let Some((path, reason)) = &self.0.no_parser else { return Ok(()) };
        Err(Error::Parser { flavour: self.flavour(), path: path.clone(), reason: reason.clone() })
    }

    pub(crate) fn raw(&self) -> &ffi::Library {
        &self.0.raw
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} ({})", self.0.flavour, self.0.version, self.0.path.display())
    }
}

/// The library of that name in the folder of `path`, if it has one.
fn beside(path: &Path, name: &str) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.join(name),
        _ => name.into(),
    }
}

/// Loads a library and keeps it for ever.
fn load(path: &Path, flavour: Flavour) -> Result<std::mem::ManuallyDrop<Loaded>, Error> {
    open(path).map_err(|reason| Error::NotLoaded { flavour, path: path.to_owned(), reason })
}

/// The same, or what the loader says.
fn open(path: &Path) -> Result<std::mem::ManuallyDrop<Loaded>, String> {
    // SAFETY: what runs as the library is loaded is its own initialisation. That the file is what the operator wants to run is
    // the operator's word, as with every library and program.
    let loaded = unsafe { Loaded::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    Ok(std::mem::ManuallyDrop::new(loaded.map_err(|error| said(&error))?))
}

/// The library of a parser, or why it is none.
fn open_parser(path: &Path) -> Result<std::mem::ManuallyDrop<Loaded>, String> {
    let parser = open(path)?;
    if address(&parser, PARSER) == 0 { Err(format!("it has no {PARSER}")) } else { Ok(parser) }
}

/// The address of a function, or 0.
fn address(library: &Loaded, symbol: &str) -> usize {
    // SAFETY: the address is only looked up here, as a function of no arguments; the C++ side calls it by its true type, which
    // the header of this major version declares.
    unsafe { library.get::<unsafe extern "C" fn()>(symbol.as_bytes()) }
        .map_or(0, |function| *function as usize)
}

fn version(library: &Loaded, path: &Path, flavour: Flavour) -> Result<Version, Error> {
    let symbol = "getInferLibVersion";
    // SAFETY: every version of TensorRT declares it so: `int32_t getInferLibVersion() noexcept`.
    let told = unsafe { library.get::<unsafe extern "C" fn() -> i32>(symbol.as_bytes()) };
    let told = told.map_err(|_| Error::NotTensorRt { flavour, path: path.to_owned(), symbol })?;
    // SAFETY: it takes nothing and changes nothing.
    let number = unsafe { told() };
    Ok(Version::from_number(number.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_librarys_number_is_read_in_both_of_its_ways() {
        let told = |number| Version::from_number(number).to_string();
        assert_eq!(told(110_400), "11.4.0");
        assert_eq!(told(101_601), "10.16.1");
        assert_eq!(told(10_701), "1.7.1");
        assert_eq!(told(8_601), "8.6.1");
    }

    #[test]
    fn the_parser_is_looked_for_where_the_library_is() {
        assert_eq!(beside(Path::new("/opt/libnvinfer.so.11"), "p"), Path::new("/opt/p"));
        assert_eq!(beside(Path::new("libnvinfer.so.11"), "p"), Path::new("p"));
    }
}
