//! An image's archive, unpacked and run as a cluster would: what the image says of user, environment and program is what is run, by
//! runc, on a root that can't be written to, without capabilities, on this machine's own network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rig::installed::installed;
use rig::process::{Process, printed};
use rustix::process::{geteuid, getpid};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An image, unpacked.
pub(crate) struct Image {
    folder: TempDir,
    /// What it says of itself.
    pub(crate) config: Value,
    /// Media types of its layers.
    pub(crate) layers: Vec<String>,
}

impl Image {
    /// Reads and unpacks the archive.
    pub(crate) fn unpacked(archive: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        let root = folder.path().join("rootfs");
        let untar = |file: &Path, to: &Path| {
            fs::create_dir_all(to).unwrap();
            printed(Command::new("tar").arg("-xf").arg(file).arg("-C").arg(to));
        };
        untar(archive, &layout);
        let read = |file: PathBuf| -> Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
        let blob = |of: &Value| layout.join("blobs").join(of["digest"].as_str().unwrap().replace(':', "/"));
        let manifest = read(blob(&read(layout.join("index.json"))["manifests"][0]));
        let layers = manifest["layers"].as_array().unwrap();
        for layer in layers {
            untar(&blob(layer), &root);
        }
        let layers = layers.iter().map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect();
        Self { config: read(blob(&manifest["config"])), layers, folder }
    }

    /// Its files.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("rootfs")
    }

    fn words(&self, field: &str) -> Vec<String> {
        let words = self.config["config"][field].as_array().into_iter().flatten();
        words.map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    /// Starts it. `arguments` come behind its entrypoint, in place of its own; `mounts` are folders of here, and places of there.
    pub(crate) fn start(&self, name: &str, arguments: &[String], mounts: &[(&Path, &str)]) -> Container {
        let bound: Vec<Value> = mounts.iter().map(|mount| bind(mount, "ro")).collect();
        self.run(name, arguments, &bound, &["pid", "ipc", "uts", "mount"])
    }

    /// The same without a network, where it may write to the folders.
    pub(crate) fn start_alone(
        &self,
        name: &str,
        arguments: &[String],
        mounts: &[(&Path, &str)],
    ) -> Container {
        let bound: Vec<Value> = mounts.iter().map(|mount| bind(mount, "rw")).collect();
        self.run(name, arguments, &bound, &["pid", "ipc", "uts", "mount", "network"])
    }

    fn run(&self, name: &str, arguments: &[String], mounts: &[Value], own: &[&str]) -> Container {
        let arguments = if arguments.is_empty() { &self.words("Cmd") } else { arguments };
        let user = self.config["config"]["User"].as_str().expect("the image names a user");
        let (uid, gid) = user.split_once(':').expect("user and group, in numbers");
        let number = |text: &str| text.parse::<u32>().expect("a number");
        // What a container runtime does in a writable layer of its own, before the root is made read-only.
        let places = mounts.iter().map(|mount| mount["destination"].as_str().unwrap());
        for place in ["/proc", "/dev"].into_iter().chain(places) {
            fs::create_dir_all(self.root().join(&place[1..])).unwrap();
        }
        let namespaces: Vec<Value> = own.iter().map(|kind| json!({"type": kind})).collect();
        let all = [
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}),
        ];
        let mounts = [&all, mounts].concat();
        let program = [self.words("Entrypoint"), arguments.to_vec()].concat();
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": {
                "args": program,
                "env": self.words("Env"),
                "cwd": "/",
                "user": {"uid": number(uid), "gid": number(gid)},
                "capabilities": {},
                "noNewPrivileges": true,
            },
            "root": {"path": self.root(), "readonly": true},
            "mounts": mounts,
            "linux": {"namespaces": namespaces},
        });
        let bundle = tempfile::tempdir().unwrap();
        fs::write(bundle.path().join("config.json"), spec.to_string()).unwrap();
        let id = format!("forebay-test-{}-{name}", getpid().as_raw_nonzero());
        let state = bundle.path().join("state");
        let mut run = runc(&state);
        run.args(["run", "--bundle"]).arg(bundle.path()).arg(&id);
        let process = Process::start(name, run).with_children();
        Container { process, id, state, bundle }
    }
}

/// A folder of here at a place of there, `ro` or `rw`.
fn bind((folder, place): &(&Path, &str), mode: &str) -> Value {
    json!({"destination": place, "type": "bind", "source": folder, "options": ["bind", mode]})
}

fn runc(state: &Path) -> Command {
    let mut runc = Command::new(installed("bin/runc"));
    runc.arg("--root").arg(state);
    runc
}

/// A running image. Gone when it is dropped.
pub(crate) struct Container {
    pub(crate) process: Process,
    id: String,
    state: PathBuf,
    bundle: TempDir,
}

impl Container {
    /// The lines that the kernel says of the program: its user, its group, its rights.
    pub(crate) fn status(&self) -> String {
        let state: Value =
            serde_json::from_str(&printed(runc(&self.state).args(["state", &self.id]))).unwrap();
        fs::read_to_string(format!("/proc/{}/status", state["pid"])).unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Of one that ended, as all do that pass, nothing is left to delete.
        let _ = runc(&self.state).args(["delete", "--force", &self.id]).output();
        debug_assert!(self.bundle.path().exists());
    }
}

/// Can containers be run here? If not, that is said loudly.
pub(crate) fn can_run() -> bool {
    let mounts = || Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
    let can = geteuid().is_root() && mounts().is_ok_and(|tried| tried.status.success());
    if !can {
        eprintln!("SKIPPED: images are built, and not run: runc needs root that may make namespaces");
    }
    can
}
