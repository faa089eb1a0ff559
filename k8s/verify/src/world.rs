//! Files and folders enter, the world of their objects leaves: what the rules look at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use walkdir::WalkDir;

use crate::failure::Failure;
use crate::object::{Object, Source};
use crate::outsiders::Outsiders;
use crate::project::render;
use crate::read::{self, Document, Fault};
use crate::schema::Schemas;
use crate::skips::Skips;
use crate::tools::Tools;

/// All objects that are judged together, and what is known of the world around them.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Objects of all files, `List`s unpacked.
    pub objects: Vec<Object>,
    /// What they may refer to although nobody here makes it.
    pub outsiders: Outsiders,
    /// What they may do although pod security forbids it.
    pub skips: Skips,
    /// What could not be read.
    pub faults: Vec<Failure>,
    /// What fields kinds have.
    pub schemas: Schemas,
    /// Programs for the checks that run one.
    pub tools: Tools,
}

impl World {
    /// Reads a file, or all YAML and JSON files of a folder; of a folder with a `kustomization.yaml`, what it builds.
    ///
    /// # Errors
    /// There is no such file or folder, or no manifest in it.
    pub fn read(&mut self, path: &Path) -> Result<()> {
        // What Kustomize builds is applied, and not the parts that it is built of.
        let kustomize = self.tools.kustomize.clone().filter(|_| path.join("kustomization.yaml").is_file());
        if let Some(kustomize) = kustomize {
            let file = path.join("kustomization.yaml");
            match render::kustomize(&kustomize, path) {
                Ok(text) => self.take(&file, &text),
                Err(said) => self.faults.push(unread(
                    &file,
                    &format!("Kustomize refuses it: {said}"),
                    "what it says, mended",
                )),
            }
            return Ok(());
        }
        if path.is_dir() {
            let files = manifests(path)?;
            if files.is_empty() {
                bail!("{} holds no .yaml, .yml or .json file", path.display());
            }
            for file in files {
                self.read_file(&file)?;
            }
            return Ok(());
        }
        self.read_file(path)
    }

    /// Adds `CustomResourceDefinitions` of a file or folder.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_crds(&mut self, path: &Path) -> Result<()> {
        for file in if path.is_dir() { manifests(path)? } else { vec![path.to_owned()] } {
            let text = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
            self.schemas.take_crds(&file, &text)?;
        }
        Ok(())
    }

    fn read_file(&mut self, file: &Path) -> Result<()> {
        let bytes = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
        match String::from_utf8(bytes) {
            Ok(text) => self.take(file, &text),
            Err(_) => self.faults.push(unread(file, "can't be read: not UTF-8", "UTF-8")),
        }
        Ok(())
    }

    /// Takes a text as if it stood in that file.
    pub fn take(&mut self, file: &Path, text: &str) {
        let (documents, faults) = read::documents(text);
        for document in &documents {
            self.schemas.add_crd(&document.value);
            self.add(file, document);
        }
        let of = |fault: &Fault| documents.iter().rev().find(|document| document.line <= fault.line);
        for fault in faults {
            let head = of(&fault).filter(|_| !fault.path.is_empty()).map(|document| object(file, document));
            self.faults.push(Failure {
                file: file.to_owned(),
                line: fault.line,
                kind: head.as_ref().map_or_else(String::new, |object| object.kind.clone()),
                name: head.map_or_else(String::new, |object| object.name),
                path: fault.path,
                wrong: fault.wrong,
                right: fault.right,
            });
        }
    }

    fn add(&mut self, file: &Path, document: &Document) {
        let Some(items) = list(&document.value) else {
            self.objects.push(object(file, document));
            return;
        };
        for (index, item) in items.iter().enumerate() {
            if !item.is_null() {
                self.add(file, &read::part(document, &format!("items[{index}]"), item));
            }
        }
    }

    /// Objects of a group and kind, in any version.
    pub fn of<'a>(&'a self, group: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.iter().filter(move |object| object.is(group, kind))
    }
}

/// The items of what `kubectl` takes for a list: `kind: List`, or any `…List` of the core without a name.
fn list(value: &Value) -> Option<&Vec<Value>> {
    let kind = value.get("kind")?.as_str()?;
    (kind.ends_with("List") && value.pointer("/metadata/name").is_none())
        .then(|| value.get("items")?.as_array())?
}

fn object(file: &Path, document: &Document) -> Object {
    let text = |pointer: &str| document.value.pointer(pointer).and_then(Value::as_str);
    Object {
        api_version: text("/apiVersion").unwrap_or_default().to_owned(),
        kind: text("/kind").unwrap_or_default().to_owned(),
        name: text("/metadata/name").or(text("/metadata/generateName")).unwrap_or_default().to_owned(),
        namespace: text("/metadata/namespace").map(str::to_owned),
        value: document.value.clone(),
        source: Source { file: file.to_owned(), line: document.line, lines: document.lines.clone() },
    }
}

fn unread(file: &Path, wrong: &str, right: &str) -> Failure {
    Failure {
        file: file.to_owned(),
        line: 1,
        kind: String::new(),
        name: String::new(),
        path: String::new(),
        wrong: wrong.to_owned(),
        right: right.to_owned(),
    }
}

/// Files of a folder that `kubectl apply -R -f` would take.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.with_context(|| format!("can't read {}", folder.display()))?;
        let kind = entry.path().extension().and_then(|ending| ending.to_str());
        if entry.file_type().is_file() && matches!(kind, Some("yaml" | "yml" | "json")) {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}
