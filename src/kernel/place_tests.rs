//! A pixel has the same bits however wide its image is and wherever in it the pixel lies: tiles of a picture depend on it.

use burn::tensor::{Device, Tensor};

use super::tests::{CHANNELS, random, twice};
use super::*;

/// The columns of an image `[1, height, width, channels]` from one to another.
fn columns(image: &Tensor<4>, from: usize, to: usize) -> Vec<u32> {
    let [_, height, _, channels] = image.dims();
    let numbers = image.clone().slice([0..1, 0..height, from..to, 0..channels]).into_data();
    numbers.iter::<f32>().map(f32::to_bits).collect()
}

#[test]
fn a_pixel_does_not_depend_on_the_width_of_its_image() {
    let (device, height, width) = (Device::flex(), 5, 46);
    for (inputs, outputs) in CHANNELS {
        let x: Tensor<4> = random(1, [1, height, width, inputs], &device);
        let (weight, bias) = (random(2, [outputs, inputs, 3, 3], &device), random(3, [outputs], &device));
        let layers = |x: Tensor<4>| {
            let (size, (w, b)) = (twice(&x, 0), (&weight, &bias));
            [
                convolution(x.clone(), w.clone(), b.clone(), Activation::Relu, Method::Direct),
                upsample_convolution(x.clone(), size, w.clone(), b.clone(), Activation::Identity, Method::Direct),
                convolution_max_pool(x, w.clone(), b.clone(), Activation::Identity, Method::Direct),
            ]
        };
        let whole = layers(x.clone());
        for from in (0..8).step_by(2) {
            for to in (from + 6..=width).step_by(2) {
                let part = layers(x.clone().slice([0..1, 0..height, from..to, 0..inputs]));
                for (which, (whole, part)) in whole.iter().zip(&part).enumerate() {
                    // Those at the sides of the part have other neighbours than in the whole.
                    let scale = |column: usize| [column, 2 * column, column / 2][which];
                    let (first, last) = (scale(from + 2), scale(to - 2));
                    let same = columns(whole, first, last) == columns(part, first - scale(from), last - scale(from));
                    assert!(same, "layer {which}, {inputs} to {outputs} channels, columns {from} to {to}");
                }
            }
        }
    }
}

#[test]
fn rows_that_see_what_is_around_them_are_those_of_the_whole() {
    let (device, height, width) = (Device::flex(), 21, 9);
    for (inputs, outputs) in CHANNELS.into_iter().chain([(16, 24), (32, 16)]) {
        let x: Tensor<4> = random(1, [2, height, width, inputs], &device);
        let (weight, bias) = (random(2, [outputs, inputs, 3, 3], &device), random(3, [outputs], &device));
        let layers = |x: Tensor<4>, around: [usize; 2]| {
            let (how, (w, b)) = (How { method: Method::Fastest, around }, (&weight, &bias));
            let rows = x.dims()[1] - around[0] - around[1];
            [
                convolution(x.clone(), w.clone(), b.clone(), Activation::Relu, how),
                upsample_convolution(x.clone(), [2 * rows, 2 * width], w.clone(), b.clone(), Activation::Relu, how),
                convolution_max_pool(x, w.clone(), b.clone(), Activation::Relu, how),
            ]
        };
        let whole = layers(x.clone(), [0, 0]);
        // Blocks of four rows, of which the last may be cut.
        for (from, to) in [(0, 8), (4, 12), (8, height), (0, height), (16, height)] {
            let around = [usize::from(from > 0), usize::from(to < height)];
            let part = layers(x.clone().slice([0..2, from - around[0]..to + around[1]]), around);
            for (which, (whole, part)) in whole.iter().zip(part).enumerate() {
                let [first, last] = [[from, to], [2 * from, 2 * to], [from / 2, to.div_ceil(2)]][which];
                let expected = whole.clone().slice([0..2, first..last]).into_data();
                assert_eq!(part.into_data(), expected, "layer {which}, {inputs} to {outputs}, rows {from} to {to}");
            }
        }
    }
}
