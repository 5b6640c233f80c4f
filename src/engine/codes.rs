//! How images become codes: each as a whole, or cut into patches of the size that the model was trained on, so that pictures of any
//! size have codes of one size.
//!
//! Patches lie side by side; those of the last row and column end with the picture and overlap their neighbours. A side that is
//! shorter than a patch is continued by its mirror image. Codes are means over the patches of a picture, or stand by themselves
//! with the place of their patch.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::{ArrayRef, Float32Array, Int32Array, RecordBatch};
use arrow_select::take::take_record_batch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ensemble::mirrored;
use super::inference::Inference;
use super::mapping::Mapping;
use crate::error;
use crate::image::{Extent, ImageShape, Shapes};
use crate::table::{CodeColumns, Content, Images, carry_label_lists, pixels};

/// What has a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Codes {
    /// Each image as a whole; all have one size.
    #[default]
    Image,
    /// Each image: the mean over its patches, and over the places of a feature map.
    Pooled,
    /// Each patch, in a row of its own, with its place.
    Patches,
}

/// What is written of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coding {
    /// What has a code.
    pub codes: Codes,
    /// Whether each has the error of its reconstruction, for which the decoder is needed.
    pub error: bool,
}

impl Codes {
    /// Whether each image has one code.
    pub fn is_one_each(self) -> bool {
        self != Codes::Patches
    }
}

/// The mapping of images to their codes; `from` names the images in messages.
///
/// # Errors
/// A model without a code; images that it does not take, of another size or of different ones unless they are cut into patches.
pub fn encoding(model: &Inference, images: Content, coding: Coding, from: &Path) -> Result<Mapping<'static>> {
    // A model without a code is refused first.
    let whole = model.code_size()?;
    let extent = images.extent().ok_or_else(|| error::bug("features are no images"))?;
    let Coding { codes, error } = coding;
    let coder = Coder::new(model, codes, extent, from)?;
    let content = match codes {
        // The code of a model of any size has the size of the images that it is applied to, not of those it was trained on.
        Codes::Image => Content::Features(CodeColumns { size: coder.model.code_size()?, error }),
        Codes::Pooled => Content::Features(CodeColumns { size: coder.size()?, error }),
        Codes::Patches => Content::PatchFeatures(CodeColumns { size: whole, error }),
    };
    let map = move |batch: &RecordBatch, companion: Option<&RecordBatch>| {
        let images = Images::of(batch, extent)?;
        let numbers = coder.model.checked(batch, &images)?;
        let clean = companion.map(|companion| anyhow::Ok(Images::of(companion, extent)?.numbers())).transpose()?;
        let clean = error.then(|| clean.as_deref().unwrap_or(&numbers));
        let coded = coder.code(images.shapes(), &numbers, clean)?;
        coded.batch(&coder.model, batch, content)
    };
    Ok(Mapping { content, map: Box::new(map) })
}

/// A model that makes codes of images.
pub struct Coder {
    model: Inference,
    codes: Codes,
}

/// Codes, with the reconstruction error of each.
struct Coded {
    /// One after the other.
    codes: Vec<f32>,
    /// None if they were not asked for.
    errors: Vec<f32>,
    /// The row and the place of each patch, if they are those of patches.
    patches: Vec<Patch>,
}

/// A patch of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patch {
    /// Which of the images.
    image: usize,
    /// Its first row.
    top: usize,
    /// Its first column.
    left: usize,
}

impl Coder {
    /// The model as it makes codes of images of this extent; `from` names them in messages.
    ///
    /// # Errors
    /// Images that the model does not take.
    pub fn new(model: &Inference, codes: Codes, extent: Extent, from: &Path) -> Result<Self> {
        let model = match (codes, extent) {
            (Codes::Image, Extent::Fixed(image)) => model.for_images(image, from)?,
            (Codes::Image, Extent::Mixed { .. }) => {
                let advice = "codes = \"pooled\" gives each the mean over its patches, \"patches\" each patch its own";
                let message =
                    format!("{} has images of different sizes, of which none has the same code", from.display());
                return Err(error::data(format!("{message}; {advice}")));
            }
            _ => {
                model.check_channels(extent, from)?;
                model.clone()
            }
        };
        Ok(Self { model, codes })
    }

    /// Numbers of a code.
    ///
    /// # Errors
    /// The model has none.
    pub fn size(&self) -> Result<usize> {
        let size = self.model.code_size()?;
        Ok(if self.codes == Codes::Pooled { self.model.code_channels().unwrap_or(size) } else { size })
    }

    /// Codes of images, one after the other.
    ///
    /// # Errors
    /// The device fails; interruption.
    pub fn codes(&self, shapes: &Shapes, images: &[f32]) -> Result<Vec<f32>> {
        match self.codes {
            Codes::Image => self.model.codes(images),
            _ => Ok(self.code(shapes, images, None)?.codes),
        }
    }

    /// Codes of images, with their errors against the clean ones, if there are any.
    fn code(&self, shapes: &Shapes, images: &[f32], clean: Option<&[f32]>) -> Result<Coded> {
        if self.codes == Codes::Image {
            let (codes, errors) = self.model.coded(images, clean)?;
            return Ok(Coded { codes, errors, patches: Vec::new() });
        }
        let side = self.model.image();
        let patches = patches(shapes, side);
        let places = |pixels| shapes.split(pixels).collect::<Vec<_>>();
        let (images, clean) = (places(images), clean.map(places));
        let cut = |patches: &[Patch], from: &[(ImageShape, &[f32])]| {
            let mut pixels = Vec::with_capacity(patches.len() * side.len());
            for patch in patches {
                let (shape, image) = from[patch.image];
                cut(image, shape, *patch, side, &mut pixels);
            }
            pixels
        };
        let (codes, errors) = self.model.coded_in_parts(&patches, &|patches| {
            (cut(patches, &images), clean.as_deref().map(|clean| cut(patches, clean)))
        })?;
        if self.codes == Codes::Patches {
            return Ok(Coded { codes, errors, patches });
        }
        let (whole, size) = (self.model.code_size()?, self.size()?);
        let (mut means, mut mean_errors) = (Vec::with_capacity(shapes.count() * size), Vec::new());
        let (mut codes, mut errors) = (codes.as_slice(), errors.as_slice());
        for patches in patches.chunk_by(|one, next| one.image == next.image) {
            let count = patches.len();
            let mut sums = vec![0.0; size];
            for place in codes.split_off(..count * whole).unwrap_or_default().chunks_exact(size) {
                sums.iter_mut().zip(place).for_each(|(sum, number)| *sum += f64::from(*number));
            }
            means.extend(sums.iter().map(|sum| (sum / (count * (whole / size)) as f64) as f32));
            if let Some(errors) = errors.split_off(..count) {
                let sum: f64 = errors.iter().copied().map(f64::from).sum();
                mean_errors.push((sum / count as f64) as f32);
            }
        }
        Ok(Coded { codes: means, errors: mean_errors, patches: Vec::new() })
    }
}

impl Coded {
    /// A batch of the codes that the model made of the images of `input`.
    fn batch(self, model: &Inference, input: &RecordBatch, content: Content) -> Result<RecordBatch> {
        let Self { codes, errors, patches } = self;
        let size = content.width().ok_or_else(|| error::bug("codes have one size"))?;
        let codes = pixels::fixed_size_list(Arc::new(Float32Array::from(codes)), size);
        let Content::PatchFeatures(_) = content else {
            return model.batch(input, content, vec![codes], errors);
        };
        let column = |number: fn(&Patch) -> usize| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(patches.iter().map(|patch| number(patch) as i32)))
        };
        let rows = take_record_batch(input, &column(|patch| patch.image));
        let rows = rows.map_err(|cause| error::bug(format!("cannot repeat rows: {cause}")))?;
        let made = vec![column(|patch| patch.top), column(|patch| patch.left), codes];
        // The caller carries lists of labels of the rows that it knows, which are not repeated.
        carry_label_lists(&rows, model.batch(&rows, content, made, errors)?)
    }
}

/// The patches of this size of each image, row by row.
fn patches(shapes: &Shapes, side: ImageShape) -> Vec<Patch> {
    let starts = |length: usize, side: usize| {
        let last = length.saturating_sub(side);
        (0..length.div_ceil(side)).map(move |index| (index * side).min(last))
    };
    let of = |(image, shape): (usize, ImageShape)| {
        let lefts = move || starts(shape.width, side.width);
        starts(shape.height, side.height).flat_map(move |top| lefts().map(move |left| Patch { image, top, left }))
    };
    shapes.iter().enumerate().flat_map(of).collect()
}

/// Appends the pixels of a patch of an image.
fn cut(image: &[f32], shape: ImageShape, patch: Patch, side: ImageShape, pixels: &mut Vec<f32>) {
    let channels = shape.channels;
    for row in patch.top..patch.top + side.height {
        let line = &image[mirrored(row, shape.height) * shape.width * channels..][..shape.width * channels];
        let there = shape.width.min(patch.left + side.width);
        pixels.extend_from_slice(&line[patch.left * channels..there * channels]);
        for column in there..patch.left + side.width {
            pixels.extend_from_slice(&line[mirrored(column, shape.width) * channels..][..channels]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::inference::errors;
    use crate::image::Split;
    use crate::model::reach_tests::{any_size, drawn};
    use crate::random::Stream;

    const SIDE: ImageShape = ImageShape { height: 4, width: 3, channels: 2 };

    #[test]
    fn patches_cover_every_pixel_and_stay_inside() {
        for (height, width) in [(4, 3), (8, 6), (9, 7), (5, 3), (13, 20), (4, 1), (1, 1), (3, 5)] {
            let shape = ImageShape { height, width, channels: 2 };
            let found = patches(&Shapes::Each(vec![shape]), SIDE);
            let mut seen = vec![false; height * width];
            for patch in &found {
                let (end, right) = (patch.top + SIDE.height, patch.left + SIDE.width);
                assert!(end <= height.max(SIDE.height) && right <= width.max(SIDE.width), "{shape}: {patch:?}");
                for row in patch.top..end.min(height) {
                    seen[row * width..][patch.left..right.min(width)].fill(true);
                }
            }
            assert!(seen.iter().all(|seen| *seen), "{shape}: {found:?}");
            assert_eq!(found.len(), height.div_ceil(SIDE.height) * width.div_ceil(SIDE.width));
        }
    }

    #[test]
    fn codes_are_decoded_to_what_the_model_makes() {
        let image = ImageShape { height: 16, width: 16, channels: 1 };
        let mut decoded = 0;
        for architecture in any_size() {
            let model = drawn(&architecture, image);
            let model = Inference::of(architecture.clone(), image, model, burn::tensor::Device::flex());
            let mut images = vec![0.0; 3 * image.len()];
            Stream::new(3, "images", Split::Test).generator(0, 0).fill_uniform(&mut images);
            if !architecture.family().has_code() {
                assert!(model.decode(&[0.0]).is_err());
                continue;
            }
            let (codes, expected) = model.coded(&images, Some(&images)).expect("works");
            assert_eq!(model.coded(&images, None).expect("works"), (codes.clone(), Vec::new()));
            let made = model.decode(&codes).expect("has codes");
            assert_eq!(errors(&Shapes::Equal(image, 3), &made, &images), expected);
            assert!(model.decode(&[f32::NAN]).is_err() && model.clone().with_noise_level(0.1).decode(&codes).is_err());
            decoded += 1;
        }
        assert!(decoded > 0);
    }

    #[test]
    fn a_patch_is_what_is_there_and_its_mirror_image_beyond() {
        let shape = ImageShape { height: 3, width: 2, channels: 2 };
        let image: Vec<f32> = (0..12).map(|number| number as f32).collect();
        let mut pixels = Vec::new();
        cut(&image, shape, Patch { image: 0, top: 0, left: 0 }, SIDE, &mut pixels);
        let rows: Vec<&[f32]> = pixels.chunks_exact(6).collect();
        assert_eq!(rows[0], [0.0, 1.0, 2.0, 3.0, 0.0, 1.0]);
        assert_eq!(rows[3], rows[1], "the last row mirrors the last but one");
    }
}
