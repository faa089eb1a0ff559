//! The libraries of this process enter; whether one of them, beside NVIDIA's own, uses CUDA leaves. Asked before a GPU is reset.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use memchr::memmem;

use super::error::CudaError;

/// Libraries that do nothing of their own accord: the driver, TensorRT, and what TensorRT calls.
const NVIDIAS: [&str; 7] = [
    "libcublas",
    "libcuda.so",
    "libcudart",
    "libcudnn",
    "libnv",
    "libtensorrt_onnxparser_rtx",
    "libtensorrt_rtx",
];

/// Whoever uses CUDA has the driver's name in its file, or the name of CUDA's runtime: to be loaded with it, or to load it.
const NAME: &[u8] = b"libcuda";

/// What the system says this process has mapped.
const MAPS: &str = "/proc/self/maps";

/// # Errors
/// `NotAlone`: there is one, or it can't be told.
pub(super) fn check_alone() -> Result<(), CudaError> {
    let program = fs::read_link("/proc/self/exe").unwrap_or_default();
    let mut seen = BTreeSet::from([program]);
    // Others may be loaded while files are read: until a look finds none that is new.
    loop {
        let maps = fs::read_to_string(MAPS).map_err(|_| not_alone(Path::new(MAPS)))?;
        let new: Vec<&Path> = code(&maps).into_iter().filter(|file| !seen.contains(*file)).collect();
        if new.is_empty() {
            return Ok(());
        }
        if let Some(library) = new.iter().find(|file| !is_nvidias(file) && uses_cuda(file)) {
            return Err(not_alone(library));
        }
        seen.extend(new.into_iter().map(Path::to_owned));
    }
}

fn not_alone(library: &Path) -> CudaError {
    CudaError::NotAlone { library: library.display().to_string() }
}

/// One that can't be read, as after it was replaced on disk, may do so.
fn uses_cuda(file: &Path) -> bool {
    fs::read(file).map_or(true, |bytes| memmem::find(&bytes, NAME).is_some())
}

/// The files that code is mapped from: lines as `7f52e2a00000-7f52e2b00000 r-xp 00000000 08:01 1234   /usr/lib/libm.so.6`.
fn code(maps: &str) -> BTreeSet<&Path> {
    let file = |line: &'_ str| -> Option<(bool, usize)> {
        let permissions = line.split_whitespace().nth(1)?;
        Some((permissions.contains('x'), line.find('/')?))
    };
    let lines = maps.lines().filter_map(|line| file(line).map(|(runs, at)| (runs, &line[at..])));
    lines.filter(|(runs, _)| *runs).map(|(_, path)| Path::new(path)).collect()
}

fn is_nvidias(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    NVIDIAS.iter().any(|begins| name.starts_with(begins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_runs_and_has_a_file() {
        let maps = "55d0c0000000-55d0c0001000 r-xp 00000000 08:01 11  /opt/a program\n\
                    7f0000000000-7f0000001000 r--p 00000000 08:01 12  /usr/share/data\n\
                    7f0000002000-7f0000003000 r-xp 00000000 08:01 13  /usr/lib/libm.so.6\n\
                    7f0000004000-7f0000005000 r-xp 00001000 08:01 13  /usr/lib/libm.so.6\n\
                    7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0   [vdso]\n";
        let found: Vec<_> = code(maps).into_iter().collect();
        assert_eq!(found, [Path::new("/opt/a program"), Path::new("/usr/lib/libm.so.6")]);
    }

    #[test]
    fn nvidias_own_libraries_are_told_from_those_of_others() {
        let own = [
            "libcuda.so.1",
            "libnvinfer.so.11",
            "libtensorrt_rtx.so.1",
            "libcudart.so.13",
            "libnvonnxparser.so.11",
        ];
        for name in own {
            assert!(is_nvidias(&Path::new("/usr/lib").join(name)), "{name}");
        }
        for name in ["libonnxruntime_providers_cuda.so", "libtorch_cuda.so", "libc.so.6"] {
            assert!(!is_nvidias(&Path::new("/usr/lib").join(name)), "{name}");
        }
    }
}
