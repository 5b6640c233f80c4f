//! Functions shared by the families with 3×3 convolutions and 2×2 poolings: sizes of feature maps, limits, layers.
//!
//! Pooling rounds odd sides up (28 → 14 → 7 → 4, as TensorFlow's SAME padding does), and each upsampling restores the size
//! before its pooling.

use anyhow::Result;

use super::family::{Reach, check_widths};
use crate::error;
use crate::image::ImageShape;
use crate::kernel::Method;

/// A micro-batch has as many images, within limits, as give its largest layer this many numbers, which stay in the cache.
const ACTIVATIONS: usize = 640 << 10;
const IMAGES: [usize; 2] = [1, 25];

/// Smallest side of an image.
const LEAST_SIDE: usize = 8;
/// Most residual blocks after a layer.
const MOST_BLOCKS: usize = 64;

/// Rows and columns before the first pooling, after it, after the second, and so on.
fn sizes(image: ImageShape, poolings: usize) -> Vec<[usize; 2]> {
    let half = |size: &[usize; 2]| Some(size.map(|side| side.div_ceil(2)));
    std::iter::successors(Some([image.height, image.width]), half).take(poolings + 1).collect()
}

/// Rows and columns after the first upsampling of a decoder, after the second, and so on, up to those of the image.
pub fn upsampled(image: ImageShape, poolings: usize) -> Vec<[usize; 2]> {
    sizes(image, poolings).into_iter().rev().skip(1).collect()
}

/// The shape of the feature map after `poolings` poolings, with the last of `channels`.
pub fn feature_map(image: ImageShape, poolings: usize, channels: &[usize]) -> ImageShape {
    let [height, width] = sizes(image, poolings)[poolings];
    ImageShape { height, width, channels: channels.last().copied().unwrap_or(image.channels) }
}

/// Size of the largest convolution output before a pooling, in numbers of one image.
pub fn largest_before_pooling(image: ImageShape, channels: &[usize]) -> usize {
    let maps = channels.iter().enumerate();
    maps.map(|(level, channels)| feature_map(image, level, &[*channels]).len()).max().unwrap_or(1)
}

/// [`super::Family::micro_batch`]; `widest` is the most channels of a layer at the image's size, if there is one.
pub fn micro_batch(image: ImageShape, widest: Option<&usize>) -> usize {
    let largest = image.height * image.width * widest.copied().unwrap_or(1).max(image.channels);
    (ACTIVATIONS / largest).clamp(IMAGES[0], IMAGES[1])
}

/// [`super::Family::reach_by`] of a model with so many convolutions of the image's size before the first pooling. Each pooling follows a
/// convolution, each upsampling precedes one, and `blocks` residual blocks follow either; a last convolution gives the logits.
pub fn reach(first: usize, poolings: usize, blocks: usize, method: Method) -> Reach {
    // A block of pixels is missed whole.
    let block = method.block();
    let grown = |halo: usize, convolutions: usize| {
        (0..convolutions).fold(halo, |halo: usize, _| (halo / block).saturating_add(1).saturating_mul(block))
    };
    let down = (0..poolings).fold(grown(0, first), |halo, _| grown(grown(halo, 1).div_ceil(2), 2 * blocks));
    // What skips add was there when the halo was halved, and is less than twice the half and more.
    let up = |halo: usize, _| grown(halo.saturating_mul(2), 1 + 2 * blocks);
    let halo = grown((0..poolings).fold(down, up), 1);
    let power = |exponent: usize| u32::try_from(exponent).ok().and_then(|exponent| 1_usize.checked_shl(exponent));
    let multiple = power(poolings).unwrap_or(usize::MAX);
    Reach { halo, multiple: multiple.saturating_mul(block), least: least_side(multiple) }
}

/// The least side of an image that can be halved so often that the parts, which begin at multiples of `multiple`, have one pixel.
fn least_side(multiple: usize) -> usize {
    LEAST_SIDE.max(multiple / 2 + 1)
}

impl Reach {
    /// The reach of the same layers by this method if they see an image whose sides were halved, in pixels of that image.
    pub fn of_halves(self, method: Method) -> Self {
        let multiple = self.multiple.saturating_mul(2);
        Self { halo: self.halo.saturating_mul(2), multiple, least: least_side(multiple / method.block()) }
    }
}

/// Checks the layers of the model called `key`: at least `least` entries of `channels`, at most [`MOST_BLOCKS`] residual
/// blocks, and the widths.
///
/// # Errors
/// A number outside of these limits.
pub fn check_layers(key: &str, channels: &[usize], least: usize, blocks: usize, widths: &[usize]) -> Result<()> {
    if channels.len() < least {
        let s = if least == 1 { "y" } else { "ies" };
        return Err(error::settings(format!("model.{key}.channels needs at least {least} entr{s}")));
    }
    if blocks > MOST_BLOCKS {
        let message = format!("the model has {blocks} residual blocks in a row; use at most {MOST_BLOCKS}");
        return Err(error::settings(message));
    }
    check_widths(widths.iter().copied())
}

/// Checks that images of this shape can be halved by `poolings` poolings. Messages use `key`, the model, and `entries`, the
/// length of its `channels`.
///
/// # Errors
/// Images that are too small.
pub fn check_image(key: &str, image: ImageShape, poolings: usize, entries: usize) -> Result<()> {
    let least = image.height.min(image.width);
    if least < LEAST_SIDE {
        let message = format!("model.{key} takes images of at least {LEAST_SIDE}×{LEAST_SIDE}, not {image}");
        return Err(error::settings(format!("{message}; use model.dense")));
    }
    let halvings = least.next_power_of_two().trailing_zeros() as usize;
    if poolings > halvings {
        let s = if halvings == 1 { "" } else { "s" };
        let message = format!("model.{key}.channels has {entries} entries, but images of {image}");
        return Err(error::settings(format!("{message} can be halved only {halvings} time{s}")));
    }
    Ok(())
}

/// [`super::Family::layers`] of convolutions between consecutive `widths`, and of `count` residual blocks of each width in
/// `blocks`.
pub fn layers(widths: &[usize], blocks: &[usize], count: usize) -> impl Iterator<Item = [usize; 2]> {
    let layers: Vec<_> = widths.windows(2).map(|pair| [9 * pair[0], pair[1]]).collect();
    let blocks: Vec<_> = blocks.iter().flat_map(|&width| vec![[9 * width, width]; 2 * count]).collect();
    layers.into_iter().chain(blocks)
}
