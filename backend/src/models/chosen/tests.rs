//! Which versions are chosen, from folders that hold a `variant.json` and nothing that could be loaded.

use super::*;
use crate::models::variant;
use crate::models::variant::tests::json;

/// A model with original 1 and variants of it, each judged on those flags.
fn model(variants: &[(u64, u64, &[&str])]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |version: u64, file: &str, bytes: &[u8]| {
        let folder = root.path().join("m").join(version.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), bytes).unwrap();
    };
    write(1, "model.onnx", b"model");
    for (version, original, cpu) in variants {
        let mut made = json();
        made["judged"]["cpu"] = serde_json::json!(cpu);
        made["original"]["version"] = (*original).into();
        write(*version, "model.onnx", b"lighter");
        write(*version, variant::FILE_NAME, made.to_string().as_bytes());
    }
    root
}

fn choose(root: &Path, elsewhere: Elsewhere, on: Device, versions: &[u64]) -> Result<Chosen, String> {
    choose_but(root, elsewhere, on, versions, &Outs::default())
}

fn choose_but(
    root: &Path,
    elsewhere: Elsewhere,
    on: Device,
    versions: &[u64],
    outs: &Outs,
) -> Result<Chosen, String> {
    let (config, devices) = (ModelConfig::default(), move |_| vec![on]);
    let chooser = Chooser { root, name: "m", config: &config, elsewhere, outs, devices: &devices };
    chooser.choose(versions.to_vec()).map_err(|error| error.to_string())
}

/// Flags of both architectures: no processor has them all.
const NOWHERE: &[&str] = &["avx512f", "avx512_vnni", "i8mm"];

fn here() -> Vec<String> {
    serde_json::from_value(serde_json::to_value(Cpu::here()).unwrap()).unwrap()
}

#[test]
fn a_variant_that_was_judged_here_is_served_and_so_is_one_that_no_setting_minds() {
    let flags = here();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let root = model(&[(2, 1, &flags), (3, 1, NOWHERE)]);
    for elsewhere in [Elsewhere::Refuse, Elsewhere::Original, Elsewhere::Serve] {
        let chosen = choose(root.path(), elsewhere, Device::Cpu, &[2]).unwrap();
        assert_eq!((chosen.versions, chosen.out.len()), ([2].into(), 0));
    }
    let chosen = choose(root.path(), Elsewhere::Serve, Device::Cpu, &[3]).unwrap();
    assert_eq!((chosen.versions, chosen.out.len()), ([3].into(), 0));
}

#[test]
fn one_that_was_judged_elsewhere_is_refused_or_its_original_answers() {
    let root = model(&[(2, 1, NOWHERE)]);
    let error = choose(root.path(), Elsewhere::Refuse, Device::Cpu, &[2]).err().unwrap();
    assert!(error.contains("version 2") && error.contains("--variant-elsewhere"), "{error}");
    for versions in [&[2][..], &[1, 2]] {
        let chosen = choose(root.path(), Elsewhere::Original, Device::Cpu, versions).unwrap();
        assert_eq!(chosen.versions, [1].into());
        assert!(chosen.out[&2].reason().contains("version 1, its original"), "{}", chosen.out[&2].reason());
        assert_eq!(chosen.expected[&1], Digest::of(b"model"));
    }
}

#[test]
fn the_original_of_a_variant_may_be_a_variant_that_is_out_too() {
    let root = model(&[(2, 1, NOWHERE), (3, 2, NOWHERE)]);
    let chosen = choose(root.path(), Elsewhere::Original, Device::Cpu, &[3]).unwrap();
    assert_eq!((chosen.versions, chosen.out.len()), ([1].into(), 2));
    let circle = model(&[(2, 3, NOWHERE), (3, 2, NOWHERE)]);
    assert!(
        choose(circle.path(), Elsewhere::Original, Device::Cpu, &[3]).err().unwrap().contains("of itself")
    );
}

#[test]
fn an_original_that_is_not_there_is_named() {
    let root = model(&[(2, 7, NOWHERE)]);
    let error = choose(root.path(), Elsewhere::Original, Device::Cpu, &[2]).err().unwrap();
    assert!(error.contains("version 7, is not there"), "{error}");
}

#[test]
fn flags_of_a_processor_say_nothing_of_a_gpu() {
    let root = model(&[(2, 1, NOWHERE)]);
    let chosen = choose(root.path(), Elsewhere::Refuse, Device::Gpu(0), &[2]).unwrap();
    assert_eq!((chosen.versions, chosen.out.len()), ([2].into(), 0));
}

#[test]
fn one_that_is_out_for_all_is_out_here_whatever_the_setting_says() {
    let flags = here();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let root = model(&[(2, 1, &flags)]);
    let known = repository::read_variant(root.path(), "m", 2).unwrap().unwrap();
    let outs = Outs::default();
    outs.broke(Which::of("m", 2, &known), "9 of 10".to_owned());
    for (elsewhere, on) in [(Elsewhere::Refuse, Device::Cpu), (Elsewhere::Serve, Device::Gpu(0))] {
        let chosen = choose_but(root.path(), elsewhere, on, &[2], &outs).unwrap();
        assert_eq!(chosen.versions, [1].into());
        assert!(chosen.out[&2].reason().contains("9 of 10"), "{}", chosen.out[&2].reason());
    }
    let another = Outs::default();
    another.broke(
        Which { digest: Digest::of(b"as it was judged before"), ..Which::of("m", 2, &known) },
        String::new(),
    );
    let chosen = choose_but(root.path(), Elsewhere::Refuse, Device::Cpu, &[2], &another).unwrap();
    assert_eq!(chosen.versions, [2].into());
}
