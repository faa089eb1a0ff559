//! Shapes given in `config.pbtxt`, or what it says of batches and dims -> ranges of the model's free dimensions. Next: `compile`
//! builds the plan with them.
//!
//! Shapes are written as for `trtexec`: `x:1x4,y:1x3x8`. An input that is named again begins the next profile, as in ONNX
//! Runtime's provider. An input without free dimensions takes the values of a shape instead, if its values decide shapes.

use std::collections::BTreeMap;

use forebay_bindings::{Profile, Range};

use super::build_options::wrong;
use crate::config::{ModelConfig, SchedulingChoice};
use crate::engine::EngineError;
use crate::engine::onnx::Input;

/// Shapes by input, for each profile.
type Shapes = Vec<BTreeMap<String, Vec<i64>>>;

/// TensorRT counts a dimension in 32 bits.
const LARGEST: i64 = i32::MAX as i64;

/// What `minShapes`, `optShapes` and `maxShapes` say. `opt` is `max` if it isn't there.
#[derive(Default)]
pub(super) struct Given {
    pub(super) min: Shapes,
    pub(super) opt: Shapes,
    pub(super) max: Shapes,
}

/// Reads shapes.
///
/// # Errors
/// `Option`.
pub(super) fn shapes(key: &str, text: &str) -> Result<Shapes, EngineError> {
    let mut profiles = Shapes::new();
    for part in text.split(',') {
        let shape = part.rsplit_once(':').and_then(|(input, dims)| {
            let dims = dims.split('x').map(|dim| dim.trim().parse().ok()).collect::<Option<Vec<i64>>>()?;
            Some((input.trim().to_owned(), dims))
        });
        let Some((input, dims)) = shape else {
            return Err(wrong(
                key,
                format!("has {part:?}, must be of inputs and shapes, such as x:1x4,y:1x3"),
            ));
        };
        match profiles.last_mut() {
            Some(profile) if !profile.contains_key(&input) => _ = profile.insert(input, dims),
            _ => profiles.push(BTreeMap::from([(input, dims)])),
        }
    }
    Ok(profiles)
}

/// The profiles; none if nothing is free.
///
/// # Errors
/// `Option`: shapes that don't fit the model or one another, or a free dimension without a range.
pub(super) fn of(config: &ModelConfig, inputs: &[Input], given: &Given) -> Result<Vec<Profile>, EngineError> {
    given.check(inputs)?;
    let profile = |number: usize| {
        let mut ranges = Vec::new();
        for input in inputs {
            match given.range(number, input)? {
                Some(range) => ranges.push(range),
                None if input.is_free() => ranges.push(derived(config, input)?),
                None => {}
            }
        }
        Ok(Profile { inputs: ranges })
    };
    let profiles = (0..given.max.len().max(1)).map(profile).collect::<Result<Vec<_>, EngineError>>()?;
    Ok(if profiles.iter().all(|profile| profile.inputs.is_empty()) { Vec::new() } else { profiles })
}

impl Given {
    fn check(&self, inputs: &[Input]) -> Result<(), EngineError> {
        let all = [("minShapes", &self.min), ("optShapes", &self.opt), ("maxShapes", &self.max)];
        for (key, shapes) in all {
            let may_lack = key == "optShapes" && shapes.is_empty();
            if shapes.len() != self.max.len() && !may_lack {
                let (count, most) = (shapes.len(), self.max.len());
                return Err(wrong(key, format!("has {count} profiles, maxShapes {most}; they go together")));
            }
            for name in shapes.iter().flat_map(BTreeMap::keys) {
                if !inputs.iter().any(|input| input.name == *name) {
                    let has = inputs.iter().map(|input| format!("{:?}", input.name)).collect::<Vec<_>>();
                    let has = has.join(", ");
                    return Err(wrong(key, format!("names {name:?}, the model's inputs are {has}")));
                }
            }
        }
        Ok(())
    }

    fn range(&self, profile: usize, input: &Input) -> Result<Option<Range>, EngineError> {
        let of = |shapes: &Shapes| shapes.get(profile).and_then(|shapes| shapes.get(&input.name)).cloned();
        let (min, opt, max) = match (of(&self.min), of(&self.opt), of(&self.max)) {
            (None, None, None) => return Ok(None),
            (Some(min), opt, Some(max)) => (min, opt.unwrap_or_else(|| max.clone()), max),
            (min, ..) => {
                let lacks = if min.is_none() { "minShapes" } else { "maxShapes" };
                return Err(wrong(lacks, format!("lacks {:?} in profile {profile}", input.name)));
            }
        };
        if !input.is_free() && [&min, &opt, &max].iter().all(|shape| **shape == input.shape) {
            return Ok(None);
        }
        for (key, shape) in [("minShapes", &min), ("maxShapes", &max), ("optShapes", &opt)] {
            check_shape(key, shape, input)?;
        }
        let rises = |(low, high): (&i64, &i64)| low <= high;
        if !min.iter().zip(&opt).chain(opt.iter().zip(&max)).all(rises) {
            let reason = format!("of {:?} must not be below minShapes, optShapes between them", input.name);
            return Err(wrong("maxShapes", reason));
        }
        Ok(Some(Range { input: input.name.clone(), values: !input.is_free(), min, opt, max }))
    }
}

/// Dimensions fit the model's; values, of an input without free dimensions, fit any.
fn check_shape(key: &str, shape: &[i64], input: &Input) -> Result<(), EngineError> {
    let agree = |(given, has): (&i64, &i64)| *has == -1 || given == has;
    let fits = shape.len() == input.shape.len() && shape.iter().zip(&input.shape).all(agree);
    let name = &input.name;
    if input.is_free() && !fits {
        return Err(wrong(key, format!("gives {name:?} {shape:?}, the model has {:?}", input.shape)));
    }
    if let Some(absurd) = shape.iter().find(|size| !(0..=LARGEST).contains(*size)) {
        return Err(wrong(key, format!("gives {name:?} {absurd}, must be from 0 to {LARGEST}")));
    }
    Ok(())
}

/// From `max_batch_size`, and from dims that `config.pbtxt` fixes, as the model gets them, where the model leaves them free.
fn derived(config: &ModelConfig, input: &Input) -> Result<Range, EngineError> {
    let batch = i64::from(config.max_batch_size);
    let declared = config.input.iter().find(|declared| declared.name == input.name);
    let declared = declared.map_or(&[][..], |declared| match &declared.reshape {
        Some(reshape) => &reshape.shape,
        None => &declared.dims,
    });
    let before = usize::from(batch > 0);
    let mut range = Range { input: input.name.clone(), values: false, min: vec![], opt: vec![], max: vec![] };
    for (axis, &size) in input.shape.iter().enumerate() {
        let fixed = axis.checked_sub(before).and_then(|axis| declared.get(axis)).copied().unwrap_or(-1);
        let (min, opt, max) = match size {
            -1 if axis < before => (1, preferred(config), batch),
            -1 if fixed >= 0 => (fixed, fixed, fixed),
            -1 => return Err(lacking(input)),
            size => (size, size, size),
        };
        range.min.push(min);
        range.opt.push(opt);
        range.max.push(max);
    }
    Ok(range)
}

/// The batch that the plan shall be fastest at.
fn preferred(config: &ModelConfig) -> i64 {
    let sizes = match &config.scheduling_choice {
        Some(SchedulingChoice::DynamicBatching(batching)) => &batching.preferred_batch_size[..],
        _ => &[],
    };
    let fits = sizes.iter().copied().filter(|size| (1..=config.max_batch_size).contains(size));
    i64::from(fits.max().unwrap_or(config.max_batch_size))
}

/// With a range that can be copied.
fn lacking(input: &Input) -> EngineError {
    let shape = |free: i64| {
        let sizes = input.shape.iter().map(|&size| if size == -1 { free } else { size }.to_string());
        sizes.collect::<Vec<_>>().join("x")
    };
    let name = &input.name;
    let reason = format!(
        "of the accelerator tensorrt must give {name:?} {:?} a range, such as optimization {{ execution_accelerators {{ \
         gpu_execution_accelerator {{ name: \"tensorrt\" parameters {{ key: \"minShapes\" value: \"{name}:{}\" }} \
         parameters {{ key: \"maxShapes\" value: \"{name}:{}\" }} }} }} }}; max_batch_size gives one to a first dimension, \
         dims of the input to others",
        input.shape,
        shape(1),
        shape(8),
    );
    wrong("minShapes, maxShapes", reason)
}
