//! The reach of a family against what its networks look at.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::image::Split;
use crate::kernel::Method;
use crate::model::predict::Predict;
use crate::model::settings::CodeActivation;
use crate::random::Stream;

/// Families of each depth, with and without residual blocks, with few channels and with more than the kernels treat apart.
pub fn any_size() -> Vec<Architecture> {
    let conv = |channels: &[usize], decoder: &[usize], residual_blocks| {
        Architecture::Conv(Conv {
            channels: channels.to_vec(),
            decoder_channels: decoder.to_vec(),
            residual_blocks,
            code: None,
            code_activation: CodeActivation::Linear,
        })
    };
    let unet = |channels: &[usize], residual_blocks| {
        Architecture::Unet(Unet { channels: channels.to_vec(), residual_blocks, unshuffle: false })
    };
    vec![
        conv(&[3], &[2], 0),
        conv(&[2, 5, 3], &[3, 2, 4], 0),
        conv(&[4, 2], &[9, 3], 1),
        unet(&[3, 2], 0),
        unet(&[2, 6, 3], 1),
        unet(&[5, 2], 2),
        unet(&[1, 2, 1, 2, 1], 0),
        unet(&[3], 1),
        Architecture::Unet(Unet { channels: vec![4], residual_blocks: 2, unshuffle: true }),
        Architecture::Unet(Unet { channels: vec![3, 2], residual_blocks: 1, unshuffle: true }),
    ]
}

/// Families whose convolutions have so many channels that blocks of pixels are computed together.
pub fn wide() -> Vec<Architecture> {
    let unet = |channels: &[usize], residual_blocks, unshuffle| {
        Architecture::Unet(Unet { channels: channels.to_vec(), residual_blocks, unshuffle })
    };
    let conv = Conv {
        channels: vec![16, 24],
        decoder_channels: vec![16, 16],
        residual_blocks: 1,
        code: None,
        code_activation: CodeActivation::Linear,
    };
    vec![unet(&[16, 24, 16], 1, false), unet(&[16, 24], 2, true), unet(&[16], 1, false), Architecture::Conv(conv)]
}

/// A model whose weights are drawn anew, those that start as zeros among them.
pub fn drawn(architecture: &Architecture, image: ImageShape) -> Autoencoder {
    with_weights(architecture, image, |_, number| 2.0 * number - 1.0)
}

/// A model with weights that `weight` makes of their places in a row of a kernel and of uniform numbers.
fn with_weights(architecture: &Architecture, image: ImageShape, weight: impl Fn(usize, f32) -> f32) -> Autoencoder {
    let model = architecture.init(image, Predict::Image, 1, &Device::flex()).expect("fits");
    let mut tensors = named_tensors(&model);
    for (id, tensor) in (0..).zip(&mut tensors) {
        Stream::new(5, "drawn", Split::Test).generator(id, 0).fill_uniform(&mut tensor.values);
        let fan_in = tensor.shape.iter().skip(1).product::<usize>() as f32;
        for (place, value) in tensor.values.iter_mut().enumerate() {
            *value = weight(place % 3, *value) * (3.0 / fan_in).sqrt();
        }
    }
    let tensors: BTreeMap<_, _> = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    load_weights(model, &tensors, "").expect("fits")
}

/// The logits of one image.
pub fn logits(model: &Autoencoder, image: ImageShape, pixels: &[f32]) -> Vec<f32> {
    let ImageShape { height, width, channels } = image;
    let images = TensorData::new(pixels.to_vec(), [1, height, width, channels]);
    let steps = model.steps().expect("is for any size").into_iter().map(|step| step.with(Method::Direct.into()));
    let logits = steps::run(steps, Tensor::from_data(images, &Device::flex()), &mut Vec::new());
    logits.into_data().try_into_vec().expect("are f32")
}

#[test]
fn a_part_differs_from_the_whole_exactly_as_far_as_the_halo() {
    for architecture in any_size() {
        let Reach { halo, multiple, least } = architecture.family().reach().expect("is for any size");
        // One side is cut off; the other is that of the image, which may be odd.
        for (cut, rest) in [(multiple, halo + 2 * multiple), (2 * multiple, halo + 2 * multiple + 1)] {
            let rest = rest.max(least);
            let image = ImageShape { height: least, width: cut + rest, channels: 1 };
            let part = ImageShape { width: rest, ..image };
            // Every pixel matters, and most to its right: what is far has an effect that rounding does not hide.
            let model = with_weights(&architecture, image, |place, number| [1.0, 0.02, 0.02][place] * (number + 0.5));
            // Which pixel a pooling takes depends on the image.
            let differing = (0..8).filter_map(|id| {
                let mut pixels = vec![0.0; image.len()];
                Stream::new(6, "pixels", Split::Test).generator(id, 0).fill_uniform(&mut pixels);
                let kept: Vec<f32> = pixels.chunks(cut + rest).flat_map(|row| row[cut..].to_vec()).collect();
                let (whole, part) = (logits(&model, image, &pixels), logits(&model, part, &kept));
                let rows = || whole.chunks(cut + rest).zip(part.chunks(rest));
                (0..rest).rfind(|&column| rows().any(|(whole, part)| whole[cut + column] != part[column]))
            });
            assert_eq!(differing.max(), Some(halo - 1), "{architecture:?}");
        }
    }
}

#[test]
fn the_reach_follows_from_the_layers() {
    let reach = |architecture: &Architecture| {
        let Reach { halo, multiple, least } = architecture.family().reach()?;
        Some([halo, multiple, least])
    };
    let found: Vec<_> = any_size().iter().map(|architecture| reach(architecture).expect("is for any size")).collect();
    // By hand, for the first: 1 pixel after the convolution, 1 after the pooling, 2 after the upsampling, 3, 4.
    let expected = [
        [4, 2, 8],
        [16, 8, 8],
        [26, 4, 8],
        [4, 2, 8],
        [30, 4, 8],
        [20, 2, 8],
        [32, 16, 9],
        [4, 1, 8],
        [12, 2, 8],
        [24, 4, 8],
    ];
    assert_eq!(found, expected);
    let dense = Architecture::Dense(Dense { hidden: vec![], code: 3, code_activation: CodeActivation::Relu });
    let coded = Architecture::Conv(Conv {
        channels: vec![4],
        decoder_channels: vec![4],
        residual_blocks: 0,
        code: Some(3),
        code_activation: CodeActivation::Relu,
    });
    let image = ImageShape { height: 8, width: 8, channels: 1 };
    for architecture in [dense, coded] {
        assert_eq!(reach(&architecture), None);
        let model = architecture.init(image, Predict::Image, 1, &Device::flex()).expect("fits");
        assert!(model.resized(ImageShape { height: 9, ..image }).is_none());
    }
}

#[test]
fn the_least_side_is_the_least_that_a_model_takes() {
    for architecture in any_size() {
        let least = architecture.family().reach().expect("is for any size").least;
        let takes = |side| architecture.check(ImageShape { height: side, width: 40, channels: 1 }).is_ok();
        assert!(takes(least) && !takes(least - 1), "{architecture:?}");
    }
}
