//! The model that is to be made lighter: a folder of a repository and `--data` enter; what is wrong with either is said here, before
//! anything takes long. Next: `prepare` sets a workshop up for it; at the end it says what the installed variant is.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail, ensure};
use forebay_protocol::datatype::DataType;

use super::install;
use super::loss::bounds;
use super::samples::Samples;
use super::verdict::Judged;
use super::workshop::Workshop;
use crate::config::{ModelConfig, Platform, Written};
use crate::engine::ModelFiles;
use crate::engine::signature::Signature;
use crate::models::repository;
use crate::models::variant::{self, Compare, Data, Digest, Loss, Shadow, Variant};
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
    pub(super) files: ModelFiles,
    pub(crate) signature: Signature,
    pub(crate) metric: Metric,
    /// BLAKE3 of all items, and how many there are.
    pub(crate) data: (blake3::Hash, usize),
    pub(crate) is_made_up: bool,
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
        check_platform(settings, name, &files, &written.config)?;
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

    /// Whether the first dimension of each input is free.
    pub(crate) fn takes_batches(&self) -> bool {
        let mut inputs = self.signature.inputs.iter().filter(|spec| !spec.is_optional);
        inputs.all(|spec| spec.shape.first() == Some(&-1))
    }

    /// 1, 8, what the configuration prefers and what the flags say, as far as the model takes batches.
    pub(super) fn batches(&self, settings: &OptimizeSettings) -> Vec<usize> {
        if !self.takes_batches() {
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

    /// What the installed variant says of itself.
    pub(crate) fn described(&self, shop: &Workshop<'_>, good: &Judged) -> Variant {
        let loss = &good.loss;
        let disagreeing = loss.disagreements.map(|count| bounds::share(count, loss.items));
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

/// A plan can't be changed, and what a processor says of a model is nothing of how it fares on a GPU.
fn check_platform(
    settings: &OptimizeSettings,
    name: &str,
    files: &ModelFiles,
    config: &ModelConfig,
) -> anyhow::Result<()> {
    const INSTEAD: &str = "--for-tensorrt FOLDER writes files for TensorRT";
    ensure!(
        files.is_onnx(),
        "{name} is a plan of TensorRT's, which can't be changed: give the ONNX model that it was built of; {INSTEAD}"
    );
    let on_gpu = files.platform == Platform::TensorRt
        || config.accelerators().is_some_and(|all| !all.gpu_execution_accelerator.is_empty())
        || config.instances(files.platform, 1).iter().any(|device| device.gpu().is_some());
    ensure!(
        !on_gpu || settings.for_tensorrt.is_some(),
        "{name} is served on a GPU, as its config.pbtxt says, and variants are judged on processors: {INSTEAD}"
    );
    Ok(())
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
