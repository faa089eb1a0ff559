use super::*;

fn repository(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        rig::repository::put(root.path(), file, file);
    }
    root
}

fn written(text: &str) -> Written {
    config::read(Path::new("config.pbtxt"), text.as_bytes(), "m").unwrap()
}

fn config(text: &str) -> ModelConfig {
    written(text).config
}

#[test]
fn models_are_folders_and_hidden_ones_are_not() {
    let root = repository(&["b/1/model.onnx", "a/1/model.onnx", ".git/x", "README.md"]);
    assert_eq!(model_names(root.path()).unwrap(), ["a", "b"]);
}

#[test]
fn the_policy_picks_the_versions() {
    let root = repository(&["m/1/x", "m/2/x", "m/10/x", "m/latest/x", "m/03/x", "m/config.pbtxt"]);
    let versions = |text: &str| versions(root.path(), "m", &written(text)).map_err(|error| error.to_string());
    assert_eq!(versions("").unwrap(), [10]);
    assert_eq!(versions("version_policy { all { } }").unwrap(), [1, 2, 10]);
    assert_eq!(versions("version_policy { latest { num_versions: 2 } }").unwrap(), [2, 10]);
    assert_eq!(versions("version_policy { specific { versions: [ 2, 1 ] } }").unwrap(), [1, 2]);
}

#[test]
fn versions_that_are_not_there_are_left_out() {
    let root = repository(&["m/1/x", "m/2/x", "m/10/x"]);
    let versions = |text: &str| versions(root.path(), "m", &written(text)).map_err(|error| error.to_string());
    assert_eq!(versions("version_policy { specific { versions: [ 3, 2, -1, 2, 1 ] } }").unwrap(), [1, 2]);
    let none = versions("version_policy {\nspecific { versions: [ 3,\n 4 ] } }").unwrap_err();
    assert!(none.starts_with("config.pbtxt:2: ") && none.contains("[1, 2, 10] are"), "{none}");
}

#[test]
fn files_are_read_with_their_paths_inside_the_version() {
    let root = repository(&["m/1/model.onnx", "m/1/data/weights.bin", "m/2/other.onnx"]);
    let files = read_files(root.path(), "m", 1, &config("")).unwrap().files;
    assert_eq!(files.files.keys().collect::<Vec<_>>(), ["data/weights.bin", "model.onnx"]);
    let error = read_files(root.path(), "m", 2, &config("")).unwrap_err().to_string();
    assert!(error.contains("no file model.onnx"), "{error}");
}

#[test]
fn a_fingerprint_changes_with_a_file_and_only_then() {
    let root = repository(&["m/1/model.onnx"]);
    let before = fingerprint(root.path(), "m").unwrap();
    assert_eq!(fingerprint(root.path(), "m").unwrap(), before);
    std::fs::write(root.path().join("m/1/model.onnx"), "another length").unwrap();
    assert_ne!(fingerprint(root.path(), "m").unwrap(), before);
}
