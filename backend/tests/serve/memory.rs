//! A container's limit of memory: sizes that nobody said follow it, and it is not met.

use std::fs::{create_dir, remove_dir, write};
use std::path::{Path, PathBuf};
use std::process::Command;

use rig::installed::onnxruntime;
use rig::process::{not_tested, started_by};
use serde_json::Value;

use crate::process::{Forebay, command, test_repository};

/// The smallest pod that is seen to serve.
const LIMIT_BYTES: usize = 256 << 20;
const PORTS: [&str; 10] = [
    "--http-port",
    "0",
    "--http-address",
    "127.0.0.1",
    "--gate-port",
    "0",
    "--metrics-port",
    "0",
    "--metrics-address",
    "127.0.0.1",
];

/// A control group with so much memory. It goes when nobody is in it.
struct Group(PathBuf);

impl Group {
    /// `None`, and a word about it, where groups can't be made.
    fn start(name: &str) -> Option<Self> {
        let name = format!("forebay-test-{name}-{}", std::process::id());
        let kinds = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (root, file) in kinds {
            // Without it, it is a folder of another kind.
            if Path::new(root).join("cgroup.procs").exists() {
                let group = Self(Path::new(root).join(&name));
                if create_dir(&group.0).is_ok() && write(group.0.join(file), LIMIT_BYTES.to_string()).is_ok()
                {
                    return Some(group);
                }
            }
        }
        not_tested("what a limit of memory does; that needs root, and control groups that can be written");
        None
    }

    /// That command in it.
    fn start_in(&self, command: &Command) -> Forebay {
        let mut starter = Command::new("sh");
        starter.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        Forebay::start(started_by(starter, command))
    }

    fn serve(&self, arguments: &[&str]) -> Forebay {
        let mut command = command(&[&["serve", "--grpc-port", "0"], &PORTS[..], arguments].concat());
        command.arg("--model-repository").arg(test_repository()).arg("--onnxruntime").arg(onnxruntime());
        self.start_in(&command)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = remove_dir(&self.0);
    }
}

/// The line that tells the sizes.
fn sizes(forebay: &Forebay) -> Value {
    let log = forebay.log();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line["message"] == "sizes").expect("a line that tells the sizes")
}

/// The status of each of six requests that come at once with so many bytes.
fn six_at_once(forebay: &Forebay, bytes: usize) -> Vec<u16> {
    let body = vec![7; bytes];
    let shape = [1, i64::try_from(bytes).unwrap()];
    let ask = || forebay.infer_binary("identity_uint8", "UINT8", &shape, &body).status;
    std::thread::scope(|scope| {
        let asking = [(); 6].map(|()| scope.spawn(ask));
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    })
}

#[test]
fn a_container_of_256_mib_refuses_what_would_end_it() {
    let Some(group) = Group::start("sizes") else { return };
    let forebay = group.serve(&[]);
    let said = sizes(&forebay);
    assert_eq!(said["memory_bytes"], LIMIT_BYTES);
    assert!(said["memory_by"].as_str().unwrap().starts_with(group.0.to_str().unwrap()), "{said}");
    let [body, budget] = ["max_body_bytes", "body_budget_bytes"].map(|name| said[name].as_u64().unwrap());
    assert!(body <= budget && budget < (LIMIT_BYTES / 8) as u64, "{said}");
    assert!(said["pool_bytes"].as_u64().is_some() && said["max_queue_bytes"].as_u64().is_some(), "{said}");
    // Six that are larger than one may be, and six that are too many together.
    assert_eq!(six_at_once(&forebay, 40_000_000), [413; 6]);
    let bytes = usize::try_from(body).unwrap() * 3 / 4;
    let answered = six_at_once(&forebay, bytes);
    assert!(
        answered.contains(&503) && answered.iter().all(|status| [200, 503].contains(status)),
        "{answered:?}"
    );
    let alone =
        forebay.infer_binary("identity_uint8", "UINT8", &[1, bytes.try_into().unwrap()], &vec![7; bytes]);
    assert_eq!(alone.status, 200);
    assert!(forebay.ended().contains("SIGTERM"));
}

#[test]
fn sizes_that_were_said_hold_and_more_than_there_is_gets_a_warning() {
    let Some(group) = Group::start("said") else { return };
    let forebay = group.serve(&["--body-budget-bytes", "1GiB", "--pool-bytes", "3MiB"]);
    let said = sizes(&forebay);
    assert_eq!((&said["body_budget_bytes"], &said["pool_bytes"]), (&(1_u64 << 30).into(), &(3 << 20).into()));
    assert_eq!(said["max_body_bytes"], 64 << 20);
    let log = forebay.ended();
    let warning = log.lines().find(|line| line.contains("\"WARN\"") && line.contains("--body-budget-bytes"));
    assert!(warning.is_some_and(|line| line.contains("268435456")), "{log}");
}

#[test]
fn a_gate_follows_the_limit_too() {
    let Some(group) = Group::start("gate") else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    write(&secret, "0123456789abcdef").unwrap();
    // A pool that isn't there is no reason not to start.
    let pool = ["--pool", "redis", "--redis-url", "redis://127.0.0.1:1", "--pool-secret-file"];
    let ports = &PORTS[4..];
    let arguments = [&["gate"], ports, &pool[..], &[secret.to_str().unwrap()]].concat();
    let gate = group.start_in(&command(&arguments));
    let said = sizes(&gate);
    assert_eq!(said["memory_bytes"], LIMIT_BYTES);
    assert!(said["pool_queue_bytes"].as_u64().unwrap() < (LIMIT_BYTES / 8) as u64, "{said}");
    assert_eq!((&said["pool_bytes"], &said["max_queue_bytes"]), (&Value::Null, &Value::Null));
}
