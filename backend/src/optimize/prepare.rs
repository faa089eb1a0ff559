//! Settings -> what a run works with: the model as it is served (`Request`), its data in three splits, the workshop for just this
//! (`Prepared`). Whatever is wrong with model or data is said here, before anything takes long.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use anyhow::{Context as _, bail, ensure};
use forebay_protocol::datatype::DataType;

use super::install;
use super::judge::Judge;
use super::loss::Measure;
use super::samples::{Samples, Splits};
use super::tools::Tools;
use super::verdict::{self, Judged, Terms};
use super::workshop::{ORIGINAL, Workshop, size};
use crate::config::{FILE_NAME, Platform, Written};
use crate::engine::ModelFiles;
use crate::engine::cpu::Cpu;
use crate::engine::entries::Entries;
use crate::engine::signature::Signature;
use crate::models::repository;
use crate::models::variant::{self, Compare, Data, Digest, Loss, Original, Shadow, Variant};
use crate::proto::model_config::SchedulingChoice;
use crate::settings::{Metric, OptimizeSettings};

/// Batch sizes at which no variant may be slower.
const BATCHES: [usize; 2] = [1, 8];
/// What differs by less than this part of a value's size is no disagreement, of outputs that are no classes.
const RELATIVE: f64 = 0.05;
/// What is near nothing may differ by this.
const ABSOLUTE: f64 = 0.01;
/// Requests that may disagree, where no flips were counted.
const DISAGREEING: f64 = 0.01;

/// The model that is to be made lighter.
pub(crate) struct Request {
    /// Its folder.
    pub(crate) model: PathBuf,
    root: PathBuf,
    pub(crate) name: String,
    /// The version that is the original.
    pub(crate) version: u64,
    written: Written,
    files: ModelFiles,
    pub(crate) signature: Signature,
    pub(crate) metric: Metric,
    /// BLAKE3 of all items, and how many there are.
    pub(crate) data: (blake3::Hash, usize),
    pub(crate) is_made_up: bool,
}

/// All that a run works with.
pub(crate) struct Prepared<'a> {
    pub(crate) shop: Workshop<'a>,
    pub(crate) terms: Terms,
    /// Held while the workshop is used.
    pub(crate) lock: File,
}

impl Request {
    /// Reads the model and its data.
    ///
    /// # Errors
    /// What is wrong with either.
    pub(crate) fn read(settings: &OptimizeSettings, model: &Path) -> anyhow::Result<(Self, Samples)> {
        let (root, name) = (model.parent(), model.file_name().and_then(|name| name.to_str()));
        let (Some(root), Some(name)) = (root, name) else {
            bail!("MODEL: {} is no model's folder", model.display())
        };
        let written = repository::read_config(root, name)?;
        let originals = install::versions(model)?.into_iter().rev();
        let mut originals =
            originals.filter(|version| !model.join(version.to_string()).join(variant::FILE_NAME).exists());
        let version = originals.next().context("every version is a variant: there is no original")?;
        let files = repository::read_files(root, name, version, &written.config)?.files;
        ensure!(
            files.platform == Platform::OnnxRuntime,
            "{name} is a plan of TensorRT's: only ONNX models can be made lighter"
        );
        let reshapes = written.config.input.iter().any(|input| input.reshape.is_some());
        ensure!(
            !reshapes,
            "{name}: config.pbtxt reshapes inputs, which is not supported here: give the model the shapes that clients send"
        );
        let signature = files
            .promised()
            .with_context(|| format!("{name} version {version} is no ONNX model that can be read"))?;
        if let Some(spec) = signature.inputs.iter().find(|spec| spec.datatype == DataType::Bytes) {
            bail!("input '{}' is of BYTES: models of strings can't be made lighter", spec.name);
        }
        let samples = Samples::read(name, &signature, &settings.samples)?;
        let labelled = samples.items.iter().all(|item| item.label.is_some());
        let by_default = if labelled { Metric::Top1 } else { Metric::Error };
        let request = Self {
            model: model.to_owned(),
            root: root.to_owned(),
            name: name.to_owned(),
            version,
            metric: settings.loss.metric.clone().unwrap_or(by_default),
            data: (samples.digest, samples.items.len()),
            is_made_up: samples.is_made_up,
            written,
            files,
            signature,
        };
        Ok((request, samples))
    }

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
        let folder =
            work_folder(settings)?.join(format!("{}-{}", self.name, &self.key(settings, &library)[..16]));
        let repository = folder.join("repository");
        let original = repository.join(&self.name).join(ORIGINAL.to_string());
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))
            .with_context(|| format!("can't write to {}", folder.display()))?;
        lock.try_lock().map_err(|_| anyhow::anyhow!("another run works in {}", folder.display()))?;
        install::copy(&self.model.join(self.version.to_string()), &original)?;
        let config = self.model.join(FILE_NAME);
        if config.exists() {
            fs::copy(&config, repository.join(&self.name).join(FILE_NAME))
                .with_context(|| format!("can't copy {}", config.display()))?;
        }
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
        let mut workshop = Workshop {
            folder,
            tools,
            judge,
            measure,
            splits,
            model_file: self.files.model_file.clone(),
            template,
            stop,
            done: BTreeMap::new(),
            last: ORIGINAL,
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

    /// 1, 8, what the configuration prefers and what the flags say, as far as the model takes batches.
    fn batches(&self, settings: &OptimizeSettings) -> Vec<usize> {
        let takes_batches = self
            .signature
            .inputs
            .iter()
            .filter(|spec| !spec.is_optional)
            .all(|spec| spec.shape.first() == Some(&-1));
        if !takes_batches {
            return vec![1];
        }
        let config = &self.written.config;
        let preferred = match &config.scheduling_choice {
            Some(SchedulingChoice::DynamicBatching(batching)) => batching.preferred_batch_size.as_slice(),
            _ => &[],
        };
        let preferred = preferred.iter().filter_map(|size| usize::try_from(*size).ok());
        let most = usize::try_from(config.max_batch_size).unwrap_or(0);
        let mut batches: Vec<usize> = BATCHES.into_iter().chain(preferred).chain([most]).collect();
        batches.extend(settings.batch.iter().map(|batch| usize::from(*batch)));
        batches.retain(|batch| {
            *batch > 0
                && (most == 0
                    || *batch <= most
                    || settings.batch.iter().any(|asked| usize::from(*asked) == *batch))
        });
        batches.sort_unstable();
        batches.dedup();
        batches
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

    /// What the installed variant says of itself.
    pub(crate) fn described(&self, shop: &Workshop<'_>, good: &Judged) -> Variant {
        let loss = &good.loss;
        let disagreeing = loss.disagreements.map(|count| super::loss::bounds::share(count, loss.items));
        let is_float = |datatype: DataType| {
            matches!(datatype, DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64)
        };
        let compare = |datatype: DataType| match self.metric {
            Metric::Top1 => Compare::Top1 {},
            _ if is_float(datatype) => Compare::Tolerance { absolute: ABSOLUTE, relative: RELATIVE },
            _ => Compare::Tolerance { absolute: 0.0, relative: 0.0 },
        };
        let compared = self.signature.outputs.iter().filter(|spec| spec.datatype != DataType::Bytes);
        let compared = compared.filter(|spec| self.metric != Metric::Top1 || is_float(spec.datatype));
        Variant {
            data: (!self.is_made_up)
                .then(|| Data { blake3: Digest::from(self.data.0), items: self.data.1 as u64 }),
            judged: variant::Judged { date: today(), ..shop.template.judged.clone() },
            loss: (!self.is_made_up).then(|| Loss {
                metric: self.metric.to_string(),
                points: loss.points,
                bound: loss.bound,
                items: loss.items as u64,
                disagreements: loss.disagreements.map(|count| count as u64),
            }),
            shadow: Shadow {
                outputs: compared.map(|spec| (spec.name.clone(), compare(spec.datatype))).collect(),
                budget: disagreeing.unwrap_or(DISAGREEING).min(0.99),
            },
            ..shop.template.clone()
        }
    }

    /// What is said of an installation.
    pub(crate) fn installed(&self, version: u64) -> String {
        let served = repository::versions(&self.root, &self.name, &self.written);
        let report = self.model.join(install::REPORTS).join(version.to_string());
        let mut said = format!("installed as version {version}; the report lies in {}", report.display());
        if !served.is_ok_and(|served| served.contains(&version)) {
            said += "\nserve does not serve it yet: version_policy of config.pbtxt names others";
        }
        said
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

fn work_folder(settings: &OptimizeSettings) -> anyhow::Result<PathBuf> {
    settings.tools.work_dir.clone().map_or_else(cache, Ok)
}

/// The tools' folder.
///
/// # Errors
/// There is no home folder, and no flag.
pub(crate) fn tools_folder(settings: &OptimizeSettings) -> anyhow::Result<PathBuf> {
    settings.tools.tools_dir.clone().map_or_else(cache, Ok)
}

/// Year-month-day, in UTC.
fn today() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now())
        .to_string()
        .split('T')
        .next()
        .unwrap_or_default()
        .to_owned()
}
