//! Which versions of TensorRT's headers the bindings are compiled with, as the build scripts decide it; what they don't take is refused
//! by a line that says what would do.

#[allow(dead_code)]
#[path = "../build/headers.rs"]
mod headers;

use std::fs;

use headers::{Headers, RTX, TENSORRT, version};

fn told(headers: &Headers, text: &str) -> Result<(u32, u32), String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("NvInferVersion.h"), text).unwrap();
    version(headers, folder.path()).map_err(|error| error.replace(folder.path().to_str().unwrap(), "FOLDER"))
}

fn of(flavour: &str, major: u32, minor: u32) -> String {
    format!(
        "// Versions\n#define TRT_MAJOR_{flavour} {major} //!< major\n#define TRT_MINOR_{flavour} {minor}\n\
         #define NV_TENSORRT_MAJOR TRT_MAJOR_{flavour}\n#define NV_TENSORRT_MINOR TRT_MINOR_{flavour}\n"
    )
}

#[test]
fn versions_that_can_be_compiled_with_are_taken() {
    for taken in [(10, 11), (10, 13), (10, 16), (11, 0), (11, 4), (11, 9)] {
        assert_eq!(told(&TENSORRT, &of("ENTERPRISE", taken.0, taken.1)), Ok(taken));
    }
    for taken in [(1, 3), (1, 7)] {
        assert_eq!(told(&RTX, &of("RTX", taken.0, taken.1)), Ok(taken));
    }
}

#[test]
fn other_versions_are_refused_with_those_that_would_do() {
    for (major, minor) in [(9, 3), (10, 0), (10, 10), (12, 0)] {
        let expected = format!(
            "the headers in FOLDER are of TensorRT {major}.{minor}; the bindings are compiled with 10.11 or 11.0 and newer of each \
             major version"
        );
        assert_eq!(told(&TENSORRT, &of("ENTERPRISE", major, minor)), Err(expected));
    }
    let old = told(&TENSORRT, "#define NV_TENSORRT_MAJOR 8\n#define NV_TENSORRT_MINOR 6\n").unwrap_err();
    assert!(old.starts_with("the headers in FOLDER are of TensorRT 8.6; "), "{old}");
    let rtx = told(&RTX, &of("RTX", 1, 2)).unwrap_err();
    assert!(rtx.starts_with("the headers in FOLDER are of TensorRT-RTX 1.2; "), "{rtx}");
}

#[test]
fn headers_of_the_other_flavour_are_refused() {
    for (headers, flavour, name) in [(&RTX, "ENTERPRISE", "TensorRT-RTX"), (&TENSORRT, "RTX", "TensorRT")] {
        let refused = told(headers, &of(flavour, 11, 4)).unwrap_err();
        assert_eq!(refused, format!("FOLDER/NvInferVersion.h tells no version of {name}"));
    }
}
