//! Tests of every family: shapes, determinism, writing to disk and reading back.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::layer::Residual;
use super::*;
use crate::device::tests::{devices, tolerance};
use crate::image::Split;
use crate::model::settings::CodeActivation;
use crate::random::Stream;

fn architectures() -> Vec<Architecture> {
    let conv = |channels: &[usize], decoder: &[usize], residual_blocks, code| {
        Architecture::Conv(Conv {
            channels: channels.to_vec(),
            decoder_channels: decoder.to_vec(),
            residual_blocks,
            code,
            code_activation: CodeActivation::Linear,
        })
    };
    vec![
        Architecture::Dense(Dense { hidden: vec![], code: 3, code_activation: CodeActivation::Relu }),
        Architecture::Dense(Dense { hidden: vec![20, 10], code: 4, code_activation: CodeActivation::Linear }),
        conv(&[4, 3, 2], &[2, 3, 4], 0, None),
        conv(&[4, 3], &[5, 6], 2, Some(7)),
        Architecture::Unet(Unet { channels: vec![4, 3, 5], residual_blocks: 1, unshuffle: false }),
        Architecture::Unet(Unet { channels: vec![2, 2], residual_blocks: 0, unshuffle: false }),
        Architecture::Unet(Unet { channels: vec![4, 3], residual_blocks: 1, unshuffle: true }),
        Architecture::Unet(Unet { channels: vec![5], residual_blocks: 2, unshuffle: true }),
    ]
}

#[test]
fn every_family_maps_any_image_to_its_code_and_to_an_image() {
    let device = Device::flex();
    for (height, width, channels) in [(8, 8, 1), (11, 9, 3), (28, 28, 1)] {
        let image = ImageShape::new(height, width, channels).expect("is a shape");
        for architecture in architectures() {
            let model = architecture.init(image, Predict::Image, 1, &device).expect("fits");
            let Made { codes, logits } = model.forward(Tensor::ones([2, image.len()], &device));
            let code_size = codes.as_ref().map(|codes| codes.dims()[1]);
            assert_eq!(code_size, architecture.family().code_size(image), "{architecture:?}");
            assert_eq!(code_size.is_some(), architecture.family().has_code(), "{architecture:?}");
            assert_eq!(logits.dims(), [2, image.len()], "{architecture:?}");
            let encoded = model.encode(Tensor::ones([2, image.len()], &device));
            assert_eq!(encoded.map(Tensor::into_data), codes.map(Tensor::into_data), "{architecture:?}");
            assert_eq!(model.num_params(), architecture.parameters(image), "{architecture:?}");
        }
    }
}

fn nearly(found: Option<Tensor<2>>, expected: Option<Tensor<2>>, tolerance: f32, what: &str) {
    let numbers = |tensor: Option<Tensor<2>>| -> Vec<f32> {
        tensor.map_or_else(Vec::new, |tensor| tensor.into_data().try_into_vec().expect("are f32"))
    };
    let (found, expected) = (numbers(found), numbers(expected));
    let greatest = expected.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    let most = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.len() == expected.len() && most <= tolerance * greatest, "{what}: {most} of {greatest}");
}

#[test]
fn the_same_weights_give_the_same_on_every_device() {
    for device in devices() {
        for (height, width, channels) in [(8, 8, 1), (11, 9, 3), (28, 28, 1)] {
            let image = ImageShape::new(height, width, channels).expect("is a shape");
            for architecture in architectures() {
                let made = |device: &Device| {
                    let mut images = vec![0.0; 5 * image.len()];
                    Stream::new(2, "images", Split::Test).generator(0, 0).fill_uniform(&mut images);
                    let images = Tensor::from_data(TensorData::new(images, [5, image.len()]), device);
                    architecture.init(image, Predict::Image, 1, device).expect("fits").forward(images)
                };
                let (expected, found) = (made(&Device::flex()), made(&device.inference()));
                let tolerance = tolerance(&device);
                nearly(found.codes, expected.codes, tolerance, &format!("{device}: codes of {architecture:?}"));
                let [found, expected] = [found.logits, expected.logits].map(Some);
                nearly(found, expected, tolerance, &format!("{device}: logits of {architecture:?}"));
            }
        }
    }
}

#[test]
fn the_chapter_models_have_the_chapter_sizes() {
    let image = ImageShape::new(28, 28, 1).expect("is a shape");
    let dense = &Architecture::Dense(Dense { hidden: vec![], code: 32, code_activation: CodeActivation::Relu });
    let parameters = |architecture: &Architecture| {
        architecture.init(image, Predict::Image, 1, &Device::flex()).expect("fits").num_params()
    };
    assert_eq!(parameters(dense), 784 * 32 + 32 + 32 * 784 + 784);
    let conv = &Architecture::Conv(Conv {
        channels: vec![16, 8, 8],
        decoder_channels: vec![16, 8, 16],
        residual_blocks: 0,
        code: None,
        code_activation: CodeActivation::Linear,
    });
    assert_eq!(conv.family().code_size(image), Some(128));
    let layers = [(1, 16), (16, 8), (8, 8), (8, 16), (16, 8), (8, 16), (16, 1)];
    assert_eq!(parameters(conv), layers.iter().map(|(i, o)| i * o * 9 + o).sum::<usize>());
}

#[test]
fn a_residual_block_starts_as_the_identity_and_skips_carry_the_image() {
    let (image, device) = (ImageShape::new(8, 8, 1).expect("is a shape"), Device::flex());
    let x = Tensor::from_data(TensorData::new((0..64).map(|i| i as f32 / 64.0).collect(), [1, 64]), &device);
    let blocks = Residual::blocks(2, 3, &mut Initializer::new(1, Predict::Image, &device));
    let map = x.clone().reshape([1, 8, 4, 2]);
    assert_eq!(
        steps::run(steps::level(Step::Keep, &blocks), map.clone(), &mut Vec::new()).into_data(),
        map.into_data()
    );
    // With the smallest feature map cut off, the output depends on the image through the skip alone.
    let model = Architecture::Unet(Unet { channels: vec![3, 5], residual_blocks: 1, unshuffle: false })
        .init(image, Predict::Image, 1, &device)
        .expect("fits");
    let mut tensors: BTreeMap<String, NamedTensor> =
        named_tensors(&model).into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    tensors.get_mut("down.0.convolution.weight").expect("is there").values.fill(0.0);
    let cut = load_weights(model, &tensors, "").expect("fits");
    let of = |x: Tensor<2>| cut.forward(x).logits.into_data();
    assert_ne!(of(x.clone()), of(x * 0.5));
}

#[test]
fn a_model_that_predicts_noise_starts_as_the_identity() {
    let (image, device) = (ImageShape::new(11, 9, 3).expect("is a shape"), Device::flex());
    let mut pixels = vec![0.0; 2 * image.len()];
    Stream::new(2, "images", Split::Test).generator(0, 0).fill_uniform(&mut pixels);
    let images = Tensor::from_data(TensorData::new(pixels, [2, image.len()]), &device);
    for architecture in architectures() {
        let fits = Predict::Noise.check(&architecture, Loss::Mse).is_ok();
        assert_eq!(fits, architecture.family().reach().is_some(), "{architecture:?}");
        assert!(Predict::Noise.check(&architecture, Loss::CrossEntropy).is_err());
        if fits {
            let model = architecture.init(image, Predict::Noise, 1, &device).expect("fits");
            let made = Predict::Noise.images(model.forward(images.clone()).logits, images.clone());
            assert_eq!(made.into_data(), images.clone().into_data(), "{architecture:?}");
            // All other layers start as those of a model that predicts the image.
            let other = architecture.init(image, Predict::Image, 1, &device).expect("fits");
            let tensors = named_tensors(&model).into_iter().zip(named_tensors(&other));
            let differing: Vec<_> = tensors.filter(|(noise, image)| noise != image).map(|(noise, _)| noise).collect();
            assert_eq!(differing.len(), 1, "{architecture:?}");
            assert!(differing[0].values.iter().all(|weight| *weight == 0.0));
        }
    }
    let outside = Tensor::<2>::from_floats([[-3.0, 0.25, 3.0]], &device);
    let made = Predict::Noise.images(outside.clone(), outside * 0.0 + 0.5);
    assert_eq!(made.into_data(), TensorData::from([[0.0_f32, 0.75, 1.0]]));
}

#[test]
fn convolutions_take_images_of_another_shape_with_the_same_weights() {
    let device = Device::flex();
    let [small, large] =
        [(8, 8), (21, 13)].map(|(height, width)| ImageShape::new(height, width, 3).expect("is a shape"));
    for architecture in architectures() {
        let made = |model: &Autoencoder| {
            let images = Tensor::<2>::ones([2, large.len()], &device) * 0.25;
            let Made { codes, logits } = model.forward(images);
            (codes.map(Tensor::into_data), logits.into_data())
        };
        // A smaller model has the same initial weights, except for those of a dense code.
        let [model, expected] =
            [small, large].map(|image| architecture.init(image, Predict::Image, 1, &device).expect("fits"));
        let found = model.resized(large);
        assert_eq!(found.is_some(), architecture.family().reach().is_some(), "{architecture:?}");
        assert!(found.is_none_or(|found| made(&found) == made(&expected)), "{architecture:?}");
    }
}

#[test]
fn initial_weights_follow_the_seed_and_glorot() {
    let image = ImageShape::new(28, 28, 1).expect("is a shape");
    let weights =
        |seed| named_tensors(&architectures()[0].init(image, Predict::Image, seed, &Device::flex()).expect("fits"));
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
    let first = &weights(1)[0];
    assert_eq!((first.name.as_str(), first.shape.as_slice()), ("encoder.0.weight", &[3, 784][..]));
    let limit = (6.0_f32 / 787.0).sqrt();
    assert!(first.values.iter().all(|value| value.abs() <= limit));
    let variance = first.values.iter().map(|value| value * value).sum::<f32>() / first.values.len() as f32;
    assert!((variance / (limit * limit / 3.0) - 1.0).abs() < 0.1);
    assert!(weights(1)[1].values.iter().all(|&bias| bias == 0.0));
}

#[test]
fn weights_survive_the_way_to_disk_and_must_fit() {
    let image = ImageShape::new(8, 8, 1).expect("is a shape");
    let device = Device::flex();
    for architecture in architectures() {
        let tensors = named_tensors(&architecture.init(image, Predict::Image, 5, &device).expect("fits"));
        let bytes = write_tensors(&tensors, BTreeMap::new()).expect("serialises");
        let read = read_tensors(std::path::Path::new("x"), &bytes).expect("reads").0;
        let fresh = || architecture.init(image, Predict::Image, 6, &device).expect("fits");
        assert_eq!(named_tensors(&load_weights(fresh(), &read, "").expect("fits")), tensors);

        let problem = |change: &dyn Fn(&mut BTreeMap<String, NamedTensor>)| {
            let mut changed = read.clone();
            change(&mut changed);
            load_weights(fresh(), &changed, "").expect_err("does not fit").to_string()
        };
        let first = tensors[0].name.clone();
        assert!(problem(&|all| _ = all.remove(&first)).contains("is missing"));
        let extra = NamedTensor { name: "x".to_owned(), shape: vec![1], values: vec![0.0] };
        assert!(problem(&|all| _ = all.insert("x".to_owned(), extra.clone())).contains("holds x, which the model"));
        let reshaped = NamedTensor { shape: vec![1], ..tensors[0].clone() };
        assert!(problem(&|all| _ = all.insert(first.clone(), reshaped.clone())).contains("has shape [1], expected"));
    }
}

#[test]
fn models_that_do_not_fit_the_images_are_refused() {
    let message = |architecture: &Architecture, side| {
        let image = ImageShape::new(side, side, 1).expect("is a shape");
        architecture.check(image).expect_err("does not fit").to_string()
    };
    assert!(message(&architectures()[2], 7).contains("at least 8×8, not 7×7"));
    let deep = Architecture::Conv(Conv {
        channels: vec![2; 4],
        decoder_channels: vec![2; 4],
        residual_blocks: 0,
        code: None,
        code_activation: CodeActivation::Linear,
    });
    assert!(message(&deep, 8).contains("has 4 entries, but images of 8×8 can be halved only 3 times"));
    let huge =
        Architecture::Dense(Dense { hidden: vec![65_536; 2], code: 65_536, code_activation: CodeActivation::Relu });
    assert!(message(&huge, 8).contains("4294967296 weights"));
    let conv = |channels: &[usize], decoder: &[usize], code| {
        Architecture::Conv(Conv {
            channels: channels.to_vec(),
            decoder_channels: decoder.to_vec(),
            residual_blocks: 0,
            code,
            code_activation: CodeActivation::Linear,
        })
    };
    assert!(message(&conv(&[4, 2], &[4], None), 8).contains("decoder-channels has 1 entries, but the encoder has 2"));
    assert!(message(&conv(&[], &[], None), 8).contains("channels needs at least 1 entry"));
    assert!(message(&conv(&[4, 0], &[2, 2], None), 8).contains("the width 0"));
    assert!(message(&conv(&[4], &[usize::MAX], None), 8).contains("the width 18446744073709551615"));
    assert!(message(&conv(&[4], &[4], Some(0)), 8).contains("the width 0"));
    let unet = |channels: &[usize], residual_blocks| {
        Architecture::Unet(Unet { channels: channels.to_vec(), residual_blocks, unshuffle: false })
    };
    assert!(message(&unet(&[4, 4], 1), 7).contains("model.unet takes images of at least 8×8"));
    assert!(message(&unet(&[4; 5], 1), 8).contains("can be halved only 3 times"));
    assert!(message(&unet(&[], 1), 8).contains("model.unet.channels needs at least 1 entry"));
    let unshuffled = Architecture::Unet(Unet { channels: vec![4; 4], residual_blocks: 0, unshuffle: true });
    assert!(message(&unshuffled, 8).contains("has 4 entries, but images of 8×8 can be halved only 3 times"));
    assert!(message(&unet(&[4, 0], 1), 8).contains("the width 0"));
    assert!(message(&unet(&[4, 4], usize::MAX), 8).contains("residual blocks in a row"));
    for (hidden, code) in [(vec![], 0), (vec![0], 4)] {
        let dense = Architecture::Dense(Dense { hidden, code, code_activation: CodeActivation::Relu });
        assert!(message(&dense, 8).contains("the width 0"));
    }
}

#[test]
fn the_largest_layer_need_not_be_the_outermost() {
    let image = ImageShape::new(28, 28, 1).expect("is a shape");
    let conv = |channels: &[usize], decoder_channels: &[usize]| {
        Architecture::Conv(Conv {
            channels: channels.to_vec(),
            decoder_channels: decoder_channels.to_vec(),
            residual_blocks: 0,
            code: None,
            code_activation: CodeActivation::Relu,
        })
    };
    let largest = |architecture: Architecture| architecture.family().largest_layer(image);
    assert_eq!(largest(conv(&[16, 8], &[8, 16])), 28 * 28 * 16);
    assert_eq!(largest(conv(&[4, 64], &[8, 4])), 14 * 14 * 64);
    // The largest output is that of an upsampling, before its convolution.
    assert_eq!(largest(conv(&[4, 4], &[40, 2])), 28 * 28 * 40);
    let unet = |channels: &[usize]| {
        Architecture::Unet(Unet { channels: channels.to_vec(), residual_blocks: 0, unshuffle: false })
    };
    assert_eq!(largest(unet(&[8, 16])), 28 * 28 * 16);
    assert_eq!(largest(unet(&[2, 4, 90])), 14 * 14 * 90);
    let dense = |hidden: &[usize]| {
        Architecture::Dense(Dense { hidden: hidden.to_vec(), code: 4, code_activation: CodeActivation::Relu })
    };
    assert_eq!((largest(dense(&[])), largest(dense(&[900]))), (784, 900));
}
