//! What an image says of itself: its parts enter; a `CycloneDX` SBOM, and the texts of licences, each once, leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::parts::Part;
use super::stage::Stage;

/// The SBOM, without time or chance in it: the same parts give the same bytes.
///
/// # Errors
/// It can't be written as JSON.
pub(super) fn sbom(image: &str, version: &str, parts: &[Part]) -> Result<Vec<u8>> {
    let components: Vec<Value> = parts.iter().map(component).collect();
    let sbom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": image,
                "version": version,
                "licenses": [{ "expression": "Apache-2.0" }],
            },
        },
        "components": components,
    });
    Ok([serde_json::to_vec_pretty(&sbom)?, vec![b'\n']].concat())
}

fn component(part: &Part) -> Value {
    let mut component =
        json!({ "type": "library", "name": part.name, "bom-ref": part.purl, "purl": part.purl });
    if !part.is_crate {
        // Several files of one package.
        component["bom-ref"] = format!("{}#{}", part.purl, part.name).into();
    }
    if !part.version.is_empty() {
        component["version"] = (*part.version).into();
    }
    if !part.licence.is_empty() {
        component["licenses"] = json!([{ "expression": part.licence }]);
    }
    if let Some(sha256) = &part.sha256 {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
    }
    component
}

/// The licence of the whole, for the image's label: ours, and those of the parts that are files of their own.
pub(super) fn licence(parts: &[Part]) -> String {
    let others = parts.iter().filter(|part| !part.is_crate && !part.licence.is_empty());
    let all: BTreeSet<&str> = others.map(|part| &*part.licence).chain(["Apache-2.0"]).collect();
    let alone = |licence: &str| {
        if licence.contains(" OR ") { format!("({licence})") } else { licence.to_owned() }
    };
    all.into_iter().map(alone).collect::<Vec<_>>().join(" AND ")
}

/// Puts the texts of all licences under `/usr/share/licenses`: those of crates in one file, each text once.
///
/// # Errors
/// One can't be read.
pub(super) fn write_licences(stage: &Stage, ours: &Path, parts: &[Part]) -> Result<()> {
    stage.file(ours, "/usr/share/licenses/forebay/LICENSE")?;
    let crates = parts.iter().filter(|part| part.is_crate);
    let crates = of_crates(crates)?;
    if !crates.is_empty() {
        stage.write(crates.as_bytes(), Path::new("/usr/share/licenses/forebay/crates.txt"), 0o644)?;
    }
    let mut placed = BTreeSet::new();
    for part in parts.iter().filter(|part| !part.is_crate) {
        let folder = part.name.split(':').next().unwrap_or(&part.name);
        for text in &part.texts {
            let name = text.file_name().context("a licence without a name")?;
            let place = Path::new("/usr/share/licenses").join(folder).join(name);
            if placed.insert(place.clone()) {
                stage.file(text, place)?;
            }
        }
    }
    Ok(())
}

fn of_crates<'a>(crates: impl Iterator<Item = &'a Part>) -> Result<String> {
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lines = String::new();
    for part in crates {
        let named = format!("{} {}", part.name, part.version);
        lines.extend([&*named, ": ", &part.licence, "\n"]);
        for text in &part.texts {
            let text = fs::read(text).with_context(|| format!("can't read {}", text.display()))?;
            by_text.entry(String::from_utf8_lossy(&text).into_owned()).or_default().push(named.clone());
        }
    }
    for (text, named) in &by_text {
        lines.extend(["\n---- ", &named.join(", "), "\n\n", text.trim_end(), "\n"]);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, licence: &str, is_crate: bool) -> Part {
        Part { name: name.into(), licence: licence.into(), is_crate, ..Part::unknown() }
    }

    #[test]
    fn the_label_names_each_licence_of_files_once_and_leaves_crates_to_the_sbom() {
        let parts = [part("a", "MIT", false), part("b", "MIT", false), part("c", "BSD-3-Clause", true)];
        assert_eq!(licence(&parts), "Apache-2.0 AND MIT");
        assert_eq!(licence(&[part("a", "MIT OR Zlib", false)]), "Apache-2.0 AND (MIT OR Zlib)");
    }

    #[test]
    fn the_same_parts_give_the_same_sbom() {
        let parts = [part("a", "MIT", false), part("c", "BSD-3-Clause", true)];
        let first = sbom("forebay/x", "1", &parts).unwrap();
        assert_eq!(first, sbom("forebay/x", "1", &parts).unwrap());
        let read: Value = serde_json::from_slice(&first).unwrap();
        assert_eq!(read["components"].as_array().unwrap().len(), 2);
    }
}
