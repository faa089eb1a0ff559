//! A model and its data -> the data in three splits, and the workshop for just this. Next: `search` works there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;

use super::install;
use super::judge::Judge;
use super::loss::Measure;
use super::request::Request;
use super::samples::{Samples, Splits};
use super::tools::{Folders, Tools};
use super::verdict::{self, Terms};
use super::workshop::{Log, ORIGINAL, Workshop, size};
use crate::config::FILE_NAME;
use crate::engine::cpu::Cpu;
use crate::engine::entries::Entries;
use crate::models::variant::{self, Digest, Original, Shadow, Variant};
use crate::settings::{OptimizeSettings, ToolSettings};

/// All that a run works with.
pub(crate) struct Prepared<'a> {
    pub(crate) shop: Workshop<'a>,
    pub(crate) terms: Terms,
    /// Held while the workshop is used.
    pub(crate) lock: File,
}

impl Request {
    /// Sets the workshop up for this model, this data and this machine.
    ///
    /// # Errors
    /// The data are too few, the folder can't be written to, or another run works there.
    pub(crate) fn prepare<'a>(
        &'a self,
        settings: &'a OptimizeSettings,
        samples: Samples,
        tools: &'a Tools,
        stop: &'a AtomicBool,
    ) -> anyhow::Result<Prepared<'a>> {
        let splits = Splits::of(samples.items, settings.samples.seed)?;
        if settings.loss.guarantee {
            let checked = verdict::check_guarantee(&splits.report, settings.loss.max_loss);
            checked.map_err(anyhow::Error::msg)?;
        }
        let library = settings.tools.onnxruntime.clone().unwrap_or_else(|| tools.onnxruntime.clone());
        let work = folders(&settings.tools)?.work;
        let folder = work.join(format!("{}-{}", self.name, &self.key(settings, &library)[..16]));
        let repository = folder.join("repository");
        let original = repository.join(&self.name).join(ORIGINAL.to_string());
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))
            .with_context(|| format!("can't write to {}", folder.display()))?;
        lock.try_lock().map_err(|_| anyhow::anyhow!("another run works in {}", folder.display()))?;
        // It is of the folder's name that it is the same.
        if !original.exists() {
            let draft = original.with_extension("draft");
            install::copy(&self.model.join(self.version.to_string()), &draft)?;
            fs::rename(&draft, &original).with_context(|| format!("can't make {}", original.display()))?;
        }
        self.copy_config(settings, &repository.join(&self.name))?;
        let template = self.template(tools, version_of(&library));
        let judge = Judge {
            library,
            intra_op_threads: usize::from(settings.tools.intra_op_threads),
            root: repository,
            model: self.name.clone(),
            log: folder.join("judge.log"),
            stop,
        };
        let measure = Measure {
            metric: self.metric.clone(),
            settings: &settings.loss,
            signature: &self.signature,
            seed: settings.samples.seed,
        };
        let log = Log::open(&folder).with_context(|| format!("can't write to {}", folder.display()))?;
        let workshop = Workshop {
            folder,
            tools,
            judge,
            measure,
            splits,
            model_file: self.files.model_file.clone(),
            template,
            stop,
            log,
        };
        workshop.open()?;
        let terms = Terms {
            max_loss: settings.loss.max_loss,
            guarantee: settings.loss.guarantee,
            force: settings.force,
            is_made_up: self.is_made_up,
            batches: self.batches(settings),
            original_bytes: size(&original)?,
        };
        Ok(Prepared { shop: workshop, terms, lock })
    }

    /// Gives the workshop's model the settings that the original is served with; of one that a GPU serves, a processor needs its file's
    /// name alone.
    fn copy_config(&self, settings: &OptimizeSettings, to: &Path) -> anyhow::Result<()> {
        let (from, to) = (self.model.join(FILE_NAME), to.join(FILE_NAME));
        if settings.for_tensorrt.is_some() {
            let file = &self.files.model_file;
            let text = format!("platform: \"onnxruntime_onnx\"\ndefault_model_filename: {file:?}\n");
            return fs::write(&to, text).with_context(|| format!("can't write {}", to.display()));
        }
        if from.exists() {
            fs::copy(&from, to).with_context(|| format!("can't copy {}", from.display()))?;
        }
        Ok(())
    }

    /// What makes this run another than others: what was found is found again only where all of it is the same.
    fn key(&self, settings: &OptimizeSettings, library: &Path) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("forebay optimize workshop v1");
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for (name, bytes) in &self.files.files {
            field(name.as_bytes());
            field(bytes);
        }
        field(&fs::read(self.model.join(FILE_NAME)).unwrap_or_default());
        field(self.data.0.as_bytes());
        field(self.metric.to_string().as_bytes());
        field(settings.loss.output.as_deref().unwrap_or_default().as_bytes());
        field(&settings.samples.seed.to_le_bytes());
        field(&settings.tools.intra_op_threads.to_le_bytes());
        field(Cpu::here().to_string().as_bytes());
        field(library.as_os_str().as_encoded_bytes());
        field(&fs::metadata(library).map_or(0, |file| file.len()).to_le_bytes());
        field(super::tools::digest().as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    /// What a candidate's `variant.json` says before anything is known of it.
    fn template(&self, tools: &Tools, onnxruntime: String) -> Variant {
        let model = self.files.files.get(&self.files.model_file);
        Variant {
            format: variant::FORMAT,
            original: Original {
                version: self.version,
                blake3: Digest::of(model.map_or(&[], |bytes| bytes)),
            },
            recipe: serde_json::Value::Null,
            rewrites: Vec::new(),
            data: None,
            tools: tools.versions.clone(),
            judged: variant::Judged { onnxruntime, cpu: Cpu::here().clone(), date: String::new() },
            session: Entries::default(),
            loss: None,
            shadow: Shadow { outputs: BTreeMap::new(), budget: 0.0 },
        }
    }
}

/// The version in the name of the library that judges, or its name where it has none.
fn version_of(library: &Path) -> String {
    let library = library.canonicalize().unwrap_or_else(|_| library.to_owned());
    let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.strip_prefix("libonnxruntime.so.").map_or(name.clone(), str::to_owned)
}

/// Where workshops and tools lie, unless flags say.
fn cache() -> anyhow::Result<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
    Ok(home.context("there is no home folder: name --work-dir and --tools-dir")?.join("forebay/optimize"))
}

/// The folders of a run.
///
/// # Errors
/// There is no home folder, and no flag.
pub(crate) fn folders(settings: &ToolSettings) -> anyhow::Result<Folders> {
    let or_cache = |named: &Option<PathBuf>| named.clone().map_or_else(cache, Ok);
    Ok(Folders { tools: or_cache(&settings.tools_dir)?, work: or_cache(&settings.work_dir)? })
}
