//! A Secret's files, as a kubelet mounts them: each is a link into a hidden folder, and all turn at once when that is another one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

/// The link that turns.
const DATA: &str = "..data";

/// Puts files with those names and texts there, in place of those that were there before.
///
/// # Panics
/// They can't be written.
pub fn mount(folder: &Path, files: &[(&str, String)]) {
    let new = TempDir::with_prefix_in("..", folder).expect("a folder").keep();
    for (name, text) in files {
        fs::write(new.join(name), text).expect("a file");
        let link = folder.join(name);
        if !link.is_symlink() {
            symlink(Path::new(DATA).join(name), link).expect("a link");
        }
    }
    let (data, turned) = (folder.join(DATA), folder.join("..data_tmp"));
    let old = fs::read_link(&data);
    symlink(new.file_name().expect("its name"), &turned).expect("a link");
    fs::rename(turned, data).expect("the link turns");
    if let Ok(old) = old {
        fs::remove_dir_all(folder.join(old)).expect("the old files go");
    }
}
