//! Repositories of models for tests to serve: files enter, each where it belongs.

use std::fs;
use std::path::Path;

use crate::installed::installed;

/// Writes a file there, with the folders that it lies in.
///
/// # Panics
/// It can't be written.
pub fn put(root: &Path, file: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("its folder");
    fs::write(path, bytes).expect("the file");
}

/// Adds version 1 of a model, which is that file, with that configuration.
pub fn add(root: &Path, model: &str, file: &str, bytes: impl AsRef<[u8]>, config: &str) {
    put(root, format!("{model}/1/{file}"), bytes);
    put(root, format!("{model}/config.pbtxt"), config);
}

/// One of the models that set-up generates.
///
/// # Panics
/// There is none of that name.
pub fn generated(model: &str) -> Vec<u8> {
    fs::read(installed(&format!("test-repository/{model}/1/model.onnx"))).expect("the model")
}
