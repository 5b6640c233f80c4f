//! A model on disk: `model.json`, enough to rebuild it, beside safetensors with its weights.
//!
//! Both are read as untrusted input: the description is checked, and the tensors must be exactly those of the model, by name
//! and shape.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::predict::Predict;
use super::{Architecture, Autoencoder, Model};
use crate::error;
use crate::image::{ImageShape, Levels};
use crate::model::settings::Loss;
use crate::scaler::Scaler;
use crate::store::{MOST_TEXT, read_text, read_whole};

/// The format of `model.json`: raised when an older limpid would misread a newer file.
const FORMAT: u32 = 1;
/// Models of up to this many parameters are built whatever the file holds, so that an error can name the tensor that does not
/// fit.
const SMALL: usize = 1 << 20;
/// Largest file of weights, in bytes, whatever its description says.
const MOST_WEIGHTS: u64 = 64 << 30;

/// Most bytes of a file that holds a model's weights `times` times, with its metadata.
pub fn most_bytes(parameters: usize, times: u64) -> u64 {
    let bytes = (parameters.max(SMALL) as u64).saturating_mul(4 * times).saturating_mul(2).saturating_add(MOST_TEXT);
    bytes.min(MOST_WEIGHTS)
}

/// The content of `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelDescription {
    /// Version of this file's format.
    pub format: u32,
    /// Size of the images that the model takes.
    pub image: ImageShape,
    /// Its layers.
    pub architecture: Architecture,
    /// What it was trained to minimise.
    pub loss: Loss,
    /// What the output of its network stands for.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub predict: Predict,
    /// Standard deviation of the noise in the images, if it learnt from noisy ones alone: its images are then combined with these.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub noise_level: Option<f64>,
    /// The numbers of black and white in the source that it was trained on, if they are not those of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Levels>,
    /// The columns of the rows that it takes, and how they are scaled, if it was trained on rows of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Scaler>,
    /// The name of the file with the weights, in the same folder.
    pub weights: String,
    /// Number of weights.
    pub parameters: usize,
}

impl ModelDescription {
    /// Describes a model whose weights are in the file `weights`.
    pub fn new(image: ImageShape, model: &Model, weights: &str, parameters: usize) -> Self {
        let Model { architecture, loss, predict, sparsity: _ } = model.clone();
        let weights = weights.to_owned();
        Self {
            format: FORMAT,
            image,
            architecture,
            loss,
            predict,
            noise_level: None,
            levels: None,
            columns: None,
            weights,
            parameters,
        }
    }

    /// Reads the description of the model in `folder`.
    ///
    /// # Errors
    /// A missing or damaged file, another format.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("model.json");
        let text = read_text(&path, MOST_TEXT).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                let advice = "name a run, or the folder of its train stage";
                error::settings(format!("{} holds no model: model.json is missing; {advice}", folder.display()))
            }
            _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
        })?;
        let bad = |what: String| error::data(format!("cannot use {}: {what}", path.display()));
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|cause| bad(format!("not JSON: {cause}")))?;
        if value["format"] != FORMAT {
            let found = &value["format"];
            return Err(bad(format!("its format is {found}, this limpid reads {FORMAT}: train the model again")));
        }
        let description: Self = serde_json::from_value(value).map_err(|cause| bad(cause.to_string()))?;
        let ImageShape { height, width, channels } = description.image;
        if ImageShape::new(height, width, channels).is_none() {
            return Err(bad(format!("no image has {height}×{width}×{channels}")));
        }
        if Path::new(&description.weights).components().count() != 1 || description.weights.starts_with('.') {
            return Err(bad(format!("its weights {:?} are not the name of a file beside it", description.weights)));
        }
        if description.noise_level.is_some_and(|level| !(0.0..=1e6).contains(&level)) {
            return Err(bad("its noise-level is no standard deviation".to_owned()));
        }
        if description.levels.is_some_and(|levels| levels.numbers().is_none() || !levels.are_possible()) {
            return Err(bad("its levels are no two numbers, the first the smaller".to_owned()));
        }
        if let Some(columns) = description.columns.as_ref().filter(|columns| columns.shape() != description.image) {
            let (found, image) = (columns.columns().len(), description.image);
            return Err(bad(format!("it has {found} columns for images of {image}")));
        }
        // An impossible architecture is bad data here, not bad settings.
        let Self { architecture, image, loss, predict, .. } = &description;
        architecture.check(*image).map_err(|cause| bad(cause.to_string()))?;
        predict.check(architecture, *loss).map_err(|cause| bad(cause.to_string()))?;
        Ok(description)
    }

    /// Reads the description and the weights of the model in `folder`.
    ///
    /// # Errors
    /// As [`Self::read`]; weights that are missing, damaged, or do not fit.
    pub fn load(folder: &Path, device: &Device) -> Result<(Self, Autoencoder)> {
        let description = Self::read(folder)?;
        let path = folder.join(&description.weights);
        let expected = description.architecture.parameters(description.image);
        let bytes = read_whole(&path, most_bytes(expected, 1)).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::NotFound => error::data(format!("{} is missing: model.json names it", path.display())),
            _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
        })?;
        let tensors = read_tensors(&path, &bytes)?.0;
        let misfit =
            |cause: String| error::data(format!("{} does not fit the model of model.json: {cause}", path.display()));
        // A short description may ask for more memory than there is: the model is built only if the file holds as many numbers.
        let found: usize = tensors.values().map(|tensor| tensor.values.len()).sum();
        if expected > found.max(SMALL) {
            return Err(misfit(format!("it holds {found} numbers, the model has {expected}")));
        }
        let model = description.architecture.init(description.image, description.predict, 0, device)?;
        let model = load_weights(model, &tensors, "").map_err(|cause| misfit(cause.to_string()))?;
        Ok((description, model))
    }
}

/// A tensor on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Its path in the model, as PyTorch would name it: `encoder.0.weight`.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

/// The weights of a model, in the order of its layers.
pub fn named_tensors(model: &Autoencoder) -> Vec<NamedTensor> {
    struct Visitor {
        path: Vec<String>,
        tensors: Vec<NamedTensor>,
    }
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().into_data();
            let shape = data.shape().to_vec();
            let values = data.try_into_vec_as::<f32>().expect("floats convert to f32");
            self.tensors.push(NamedTensor { name: name(&self.path), shape, values });
        }
    }
    let mut visitor = Visitor { path: Vec::new(), tensors: Vec::new() };
    model.visit(&mut visitor);
    visitor.tensors
}

/// Replaces the weights of a model by the tensors named `prefix` + their path.
///
/// # Errors
/// A tensor that is missing or has another shape, and, without a prefix, one that the model lacks.
pub fn load_weights(model: Autoencoder, tensors: &BTreeMap<String, NamedTensor>, prefix: &str) -> Result<Autoencoder> {
    struct Mapper<'a> {
        path: Vec<String>,
        prefix: &'a str,
        tensors: &'a BTreeMap<String, NamedTensor>,
        used: usize,
        problem: Option<String>,
    }
    impl ModuleMapper for Mapper<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = format!("{}{}", self.prefix, name(&self.path));
            let expected = param.lazy_shape().to_vec();
            match self.tensors.get(&name) {
                Some(tensor) if tensor.shape == expected => {
                    self.used += 1;
                    param.map(|old| {
                        let data = TensorData::new(tensor.values.clone(), expected);
                        let new = Tensor::from_data(data, &old.device());
                        if old.is_require_grad() { new.require_grad() } else { new }
                    })
                }
                found => {
                    self.problem.get_or_insert(match found {
                        Some(tensor) => format!("{name} has shape {:?}, expected {expected:?}", tensor.shape),
                        None => format!("{name} is missing"),
                    });
                    param
                }
            }
        }
    }
    let mut mapper = Mapper { path: Vec::new(), prefix, tensors, used: 0, problem: None };
    let model = model.map(&mut mapper);
    if let Some(problem) = mapper.problem {
        return Err(error::data(problem));
    }
    if prefix.is_empty() && mapper.used < tensors.len() {
        let known: Vec<_> = named_tensors(&model).into_iter().map(|tensor| tensor.name).collect();
        let extra = tensors.keys().find(|name| !known.contains(name));
        return Err(error::data(format!("it holds {}, which the model lacks", extra.map_or("", String::as_str))));
    }
    Ok(model)
}

/// The path of a tensor without the name of the family, which Burn puts first.
fn name(path: &[String]) -> String {
    path.get(1..).unwrap_or_default().join(".")
}

/// Serialises tensors and metadata as safetensors; the same content gives the same bytes.
///
/// # Errors
/// A shape that does not fit its values, which is a bug.
pub fn write_tensors(tensors: &[NamedTensor], metadata: BTreeMap<String, String>) -> Result<Vec<u8>> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map(|view| (tensor.name.clone(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().context("cannot serialise the weights")?;
    // One entry at most: safetensors keeps metadata in an unordered map, whose order would change the bytes.
    debug_assert!(metadata.len() <= 1);
    let metadata = (!metadata.is_empty()).then(|| metadata.into_iter().collect::<HashMap<_, _>>());
    safetensors::serialize(views, metadata).context("cannot serialise the weights")
}

/// Tensors by name, and the metadata of the file.
pub type TensorsAndText = (BTreeMap<String, NamedTensor>, HashMap<String, String>);

/// Reads safetensors of 32-bit floats; `path` is for messages.
///
/// # Errors
/// Damaged content, or numbers of another type.
pub fn read_tensors(path: &Path, bytes: &[u8]) -> Result<TensorsAndText> {
    let bad = |what: String| error::data(format!("cannot use {}: {what}", path.display()));
    let file = SafeTensors::deserialize(bytes).map_err(|cause| bad(format!("not whole safetensors ({cause})")))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|cause| bad(cause.to_string()))?;
    let tensors = file.iter().map(|(name, view)| {
        if view.dtype() != Dtype::F32 {
            return Err(bad(format!("{name} has numbers of type {:?}, expected F32", view.dtype())));
        }
        let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let values = view.data().chunks_exact(4).map(number).collect();
        Ok((name.to_owned(), NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), values }))
    });
    Ok((tensors.collect::<Result<_>>()?, metadata.metadata().clone().unwrap_or_default()))
}
