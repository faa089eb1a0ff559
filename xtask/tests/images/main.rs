//! `cargo xtask images` as a user runs it, with the programs of this build; and what it makes, run as a cluster would.

mod container;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rig::forebay::Ports;
use rig::http::{get, post, send};
use rig::installed::{checkout, filter, folder, forebay};
use rig::onnx::{FLOAT, Graph, model, node, value, weights};
use rig::process::{free_port, printed, program};
use rig::repository::{add, generated, put};
use rig::v2::{JSON, fp32};
use serde_json::Value;
use walkdir::WalkDir;

use container::{Image, can_run};

/// Where their labels say that the source is.
const SOURCE: &str = "https://git.example.com/forebay";

/// Makes images into a folder of the tests' own.
fn make(into: &str, only: &str) -> (PathBuf, String) {
    let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join(into);
    let mut images = program(env!("CARGO_BIN_EXE_xtask"));
    images.env("FOREBAY_DIR", folder()).current_dir(checkout());
    images.args(["images", "--only", only, "--arch", machine(), "--forebay"]).arg(forebay());
    images.args(["--source", SOURCE]).arg("--filter").arg(filter()).arg("--output").arg(&into);
    let said = printed(&mut images);
    // The archives are what is looked at.
    for folder in ["storage", "contexts"] {
        fs::remove_dir_all(into.join(folder)).unwrap();
    }
    (into, said)
}

fn machine() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// All images, made once, and what was said of it.
fn made() -> &'static (PathBuf, String) {
    static MADE: OnceLock<(PathBuf, String)> = OnceLock::new();
    MADE.get_or_init(|| make("images", "serve,serve-gpu,gate,front,filter,optimize"))
}

/// The archive of an image.
fn archive(image: &str) -> PathBuf {
    made().0.join(format!("{image}-{}.tar", machine()))
}

const CACHED: &str = "platform: \"onnxruntime_onnx\"\nresponse_cache { enable: true }\n";

/// A repository with one model, which the image's user can read.
fn repository() -> tempfile::TempDir {
    let repository = tempfile::tempdir().unwrap();
    add(repository.path(), "same", "model.onnx", generated("identity_fp32"), CACHED);
    fs::set_permissions(repository.path(), fs::Permissions::from_mode(0o755)).unwrap();
    repository
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

const SERVE: &str = "--model-repository /models --pool memory --service demo --http-address 127.0.0.1 --http-port 0 \
                     --grpc-address 127.0.0.1 --grpc-port 0 --metrics-address 127.0.0.1 --metrics-port 0 --gate-port 0";

#[test]
fn the_server_answers_from_a_root_that_it_cant_write_as_a_user_without_rights_and_ends_well() {
    if !can_run() {
        return;
    }
    let (image, models) = (Image::unpacked(&archive("serve")), repository());
    let mut serve = image.start("serve", &words(SERVE), &[(models.path(), "/models")]);
    let ports = serve.process.until_line(Ports::of);
    let answer =
        send(ports.http, &post("/v2/models/same/infer", &JSON, &fp32(&[1.0, 2.0, 3.0, 4.0]))).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let status = serve.status();
    for line in
        ["Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000"]
    {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(serve.process.terminate().success(), "{}", serve.process.log());
}

#[test]
fn the_gate_is_ready_and_ends_well() {
    if !can_run() {
        return;
    }
    let (image, redis) = (Image::unpacked(&archive("gate")), free_port());
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("pool"), "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Nothing listens there: the gate starts and says so, as it must when Redis comes later.
    let line = format!(
        "--pool redis --redis-url redis://127.0.0.1:{redis} --pool-secret-file /secret/pool --gate-port 0 \
         --metrics-address 127.0.0.1 --metrics-port 0"
    );
    let mut gate = image.start("gate", &words(&line), &[(secret.path(), "/secret")]);
    let ports = gate.process.until_line(Ports::of);
    assert_eq!(send(ports.metrics, &get("/metrics")).unwrap().status, 200);
    assert!(gate.process.terminate().success(), "{}", gate.process.log());
}

/// Runs Envoy of the front's image before the server's, with the module at `module`, and asks twice.
fn a_hit_through(module: &str, mounts: &[(&Path, &str)]) {
    let (image, models) = (Image::unpacked(&archive("serve")), repository());
    let mut serve = image.start(
        &format!("serve{}", module.replace('/', "-")),
        &words(SERVE),
        &[(models.path(), "/models")],
    );
    let ports = serve.process.until_line(Ports::of);
    let (envoy_port, admin_port) = (free_port(), free_port());
    let template = fs::read_to_string(checkout().join("envoy/forebay.yaml")).unwrap();
    let values = [
        ("envoy_port", envoy_port.to_string()),
        ("admin_port", admin_port.to_string()),
        ("backend_port", ports.http.to_string()),
        ("backend_grpc_port", ports.grpc.unwrap().to_string()),
        ("gate_port", ports.gate.unwrap().to_string()),
        ("filter", format!("\"{module}\"")),
        ("service", "\"demo\"".to_owned()),
    ];
    let config = tempfile::tempdir().unwrap();
    fs::write(config.path().join("envoy.yaml"), rig::envoy::fill(&template, &values).unwrap()).unwrap();
    fs::set_permissions(config.path(), fs::Permissions::from_mode(0o755)).unwrap();

    let front = Image::unpacked(&archive("front"));
    let mounts = [&[(config.path(), "/etc/envoy")][..], mounts].concat();
    let mut envoy = front.start(&format!("front{}", module.replace('/', "-")), &[], &mounts);
    envoy.process.until("Envoy is ready", || {
        send(admin_port, &get("/ready")).ok().filter(|answer| answer.status == 200)
    });
    let request = post("/v2/models/same/infer", &JSON, &fp32(&[1.0, 2.0, 3.0, 4.0]));
    // The filter learns of the server's models soon after it is ready; until then it passes requests on.
    envoy.process.until("a hit", || {
        let answer = send(envoy_port, &request).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.is_filters_hit().then_some(())
    });
    assert!(envoy.process.terminate().success(), "{}", envoy.process.log());
}

#[test]
fn envoy_of_the_fronts_image_answers_a_repeat_by_the_filter_inside() {
    if can_run() {
        a_hit_through("/filter/plugin.wasm", &[]);
    }
}

#[test]
fn envoy_loads_the_module_out_of_the_filters_image() {
    let image = Image::unpacked(&archive("filter"));
    assert_eq!(
        image.layers,
        ["application/vnd.oci.image.layer.v1.tar+gzip"],
        "as the agents of proxies want it"
    );
    let files: Vec<PathBuf> =
        fs::read_dir(image.root()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files, [image.root().join("plugin.wasm")]);
    assert!(
        fs::read(&files[0]).unwrap() == fs::read(filter()).unwrap(),
        "the module is another one than was built"
    );
    if can_run() {
        a_hit_through("/module/plugin.wasm", &[(&image.root(), "/module")]);
    }
}

/// A product with 256 KB of weights.
fn product() -> Vec<u8> {
    const WIDTH: u16 = 256;
    let size = i64::from(WIDTH);
    let mixed = |at: u32| u16::try_from((at.wrapping_mul(40_503) >> 7) & 0xffff).unwrap();
    let values = (0..u32::from(WIDTH).pow(2)).map(|at| f32::from(mixed(at)) / 65_536.0 - 0.5);
    model(Graph {
        node: vec![node("MatMul", &["x", "w"], &["y"])],
        name: "product".to_owned(),
        initializer: vec![weights("w", &[size, size], &values.collect::<Vec<f32>>())],
        input: vec![value("x", FLOAT, &[-1, size])],
        output: vec![value("y", FLOAT, &[-1, size])],
    })
}

/// A folder that is the images' user's.
fn writable() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(65532), Some(65532)).unwrap();
    folder
}

#[test]
fn models_are_made_lighter_by_the_tools_inside_without_a_network_on_a_root_that_cant_be_written() {
    if !can_run() {
        return;
    }
    let (image, models, work) = (Image::unpacked(&archive("optimize")), writable(), writable());
    put(models.path(), "product/1/model.onnx", product());
    for entry in WalkDir::new(models.path()) {
        chown(entry.unwrap().path(), Some(65532), Some(65532)).unwrap();
    }
    let mounts = [(models.path(), "/models"), (work.path(), "/work")];
    let line = "/models/product --force --time 30s --max-loss 100 --prefer size";
    let mut optimize = image.start_alone("optimize", &words(line), &mounts);
    let ended = optimize.process.wait();
    let said = optimize.process.log();
    // Rewritten, calibrated and quantized by the tools, and run by their engine.
    assert!(said.contains("tried   static INT8 of MatMul"), "{said}");
    // Whether one may be installed is for the machine to say.
    let installed = models.path().join("product/2/variant.json").exists();
    assert_eq!(ended.code(), Some(if installed { 0 } else { 3 }), "{said}");
}

#[test]
fn no_image_holds_a_shell_or_a_file_that_gives_rights_and_each_says_what_it_is() {
    for name in ["serve", "gate", "front", "optimize"] {
        let image = Image::unpacked(&archive(name));
        for entry in WalkDir::new(image.root()) {
            let entry = entry.unwrap();
            let (place, mode) = (entry.path().display(), entry.metadata().unwrap().permissions().mode());
            assert_eq!(mode & 0o7022, 0, "{place}: {mode:o}");
            assert!(!["sh", "bash", "busybox"].contains(&&*entry.file_name().to_string_lossy()), "{place}");
        }
        let labels = &image.config["config"]["Labels"];
        assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"), "{name}");
        assert_eq!(labels["org.opencontainers.image.source"], SOURCE, "{name}");
        let licences = labels["org.opencontainers.image.licenses"].as_str().unwrap();
        assert!(licences.starts_with("Apache-2.0"), "{name}: {licences}");

        let sbom = fs::read(image.root().join(format!("usr/share/sbom/{name}.cdx.json"))).unwrap();
        let beside = archive(name).with_extension("cdx.json");
        assert!(sbom == fs::read(beside).unwrap(), "{name}: the SBOM beside the archive is another one");
        let sbom: Value = serde_json::from_slice(&sbom).unwrap();
        let parts: Vec<&str> = sbom["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part["name"].as_str().unwrap())
            .collect();
        let wanted = if name == "front" { ["envoy", "proxy-wasm"] } else { ["tokio", "rust-std"] };
        assert!(wanted.iter().all(|part| parts.contains(part)), "{name}: {parts:?}");
        assert_eq!(parts.contains(&"onnxruntime"), ["serve", "optimize"].contains(&name));
        assert_eq!(parts.contains(&"numpy"), name == "optimize");
    }
}

#[test]
fn the_same_programs_give_the_same_digest_in_another_folder() {
    let digests = |said: &str| -> Vec<String> {
        said.lines().filter(|line| line.contains(": sha256:")).map(str::to_owned).collect()
    };
    let (first, second) = (digests(&made().1), make("images-twice", "gate,filter,optimize").1);
    let again = digests(&second);
    assert_eq!(again.len(), 3, "{second}");
    assert!(again.iter().all(|digest| first.contains(digest)), "{first:?}\n{again:?}");
}

#[test]
fn an_image_of_nvidias_without_its_digest_is_refused() {
    let mut images = Command::new(env!("CARGO_BIN_EXE_xtask"));
    images.args(["images", "--only", "serve-gpu", "--tensorrt-base", "nvcr.io/nvidia/tensorrt:1"]);
    let refused = images.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("@sha256:"));
}
