//! `cargo xtask up` as a user runs it, with a repository of the user's own.

use std::path::Path;
use std::process::Command;

use rig::installed::{checkout, filter, folder};
use rig::process::{Process, printed, program};
use rig::repository::{add, generated};

/// Each of them is a free port.
const PORTS: [&str; 9] = [
    "envoy",
    "admin",
    "backend",
    "backend-grpc",
    "backend-metrics",
    "gate",
    "gate-metrics",
    "redis",
    "memcached",
];

/// `up` of that name with the server of this build and those models.
fn up(name: &str, repository: &Path) -> Command {
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let mut up = program(xtask);
    up.env("FOREBAY_DIR", folder());
    up.args(["up", "--name", name, "--pool", "memory", "--model-repository"]).arg(repository);
    up.arg("--forebay").arg(xtask.with_file_name("forebay"));
    up.arg("--filter").arg(filter());
    up.args(PORTS.map(|port| format!("--{port}-port=0"))).current_dir(checkout());
    up
}

const CACHED: &str = "platform: \"onnxruntime_onnx\"\nresponse_cache { enable: true }\n";

#[test]
fn a_users_own_models_are_served_and_the_line_of_each_works() {
    let repository = tempfile::tempdir().unwrap();
    let add = |name, model: &[u8], config| add(repository.path(), name, "model.onnx", model, config);
    add("texts", &generated("identity_bytes"), CACHED);
    add("halves", &generated("identity_fp16"), CACHED);
    add("scalar", &generated("scalar_fp32"), "platform: \"onnxruntime_onnx\"\n");
    add("broken", b"no model", CACHED);

    let mut up = Process::start("up", up("test-own", repository.path())).with_children();
    up.until_line(|line| line.starts_with("Ctrl-C stops it").then_some(()));
    let said = up.log();
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(said.contains("# broken can't be asked: "), "{said}");
    assert!(said.contains("# scalar is not cached: "), "{said}");
    for line in lines {
        let ask = || {
            let headers =
                printed(Command::new("sh").args(["-c", line]).current_dir(checkout())).to_lowercase();
            assert!(headers.starts_with("http/1.1 200"), "{line}\n{headers}");
            headers
        };
        let (first, second) = (ask(), ask());
        let cached = !line.contains("models/scalar/");
        assert!(!first.contains("forebay; hit"), "{line}\n{first}");
        assert_eq!(second.contains("forebay; hit"), cached, "{line}\n{second}");
    }
    assert!(up.terminate().success(), "{}", up.log());
}

#[test]
fn once_asks_every_model_and_ends_well() {
    let said = printed(up("test-once", &checkout().join("examples/repository")).arg("--once"));
    let line = |line: &&str| line.starts_with("  curl ") && line.contains("/v2/models/double/infer");
    assert_eq!(said.lines().filter(line).count(), 1, "{said}");
    for encoding in ["JSON", "binary", "gRPC"] {
        let asked = said.lines().filter(|line| line.starts_with("double ") && line.contains(encoding));
        assert_eq!(asked.count(), 3, "{encoding}: {said}");
    }
}
