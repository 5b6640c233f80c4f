//! Strips are the whole picture, bit for bit.

use burn::tensor::Device;

use super::*;
use crate::image::Split;
use crate::kernel::Method;
use crate::model::Architecture;
use crate::model::reach_tests::{any_size, drawn, wide};
use crate::random::{Generator, Stream};

fn model(architecture: Architecture, channels: usize) -> Inference {
    let image = ImageShape { height: 32, width: 32, channels };
    let model = drawn(&architecture, image);
    Inference::of(architecture, image, model, Device::flex())
}

fn models(channels: usize) -> impl Iterator<Item = Inference> {
    any_size().into_iter().chain(wide()).map(move |architecture| model(architecture, channels))
}

fn reach(model: &Inference) -> Reach {
    let large = ImageShape { height: 20_000, width: 2_000, ..model.image() };
    model.takes_strips(large, 1).expect("is for any size").0
}

fn picture(shape: ImageShape, id: u64) -> Vec<f32> {
    let mut pixels = vec![0.0; shape.len()];
    Stream::new(3, "picture", Split::Test).generator(id, 0).fill_uniform(&mut pixels);
    pixels
}

/// The picture at once; each channel of several by itself, if the model is for grey ones.
fn whole(model: &Inference, pixels: &[f32], shape: ImageShape) -> Vec<f32> {
    if model.image().channels == shape.channels {
        return model.apply_at_any_size(pixels.to_vec(), shape, Method::Fastest).expect("works");
    }
    let plane = |channel: usize| {
        let plane = pixels.iter().skip(channel).step_by(shape.channels).copied().collect();
        model.apply_at_any_size(plane, ImageShape { channels: 1, ..shape }, Method::Fastest).expect("works")
    };
    let planes: Vec<_> = (0..shape.channels).map(plane).collect();
    (0..pixels.len()).map(|at| planes[at % shape.channels][at / shape.channels]).collect()
}

/// Gives the picture in parts of so many rows, in turn.
fn compare(model: &Inference, shape: ImageShape, width: usize, given: &[usize], id: u64) {
    let pixels = picture(shape, id);
    let reach = reach(model);
    let width = width.next_multiple_of(reach.multiple);
    let mut strips = Strips::of_width(model, shape, reach, width, 64);
    let (mut made, mut rest) = (Vec::new(), pixels.as_slice());
    for rows in given.iter().cycle() {
        let (rows, after) = rest.split_at((rows * shape.width * shape.channels).min(rest.len()));
        made.extend(strips.push(rows).expect("works"));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let whole = whole(model, &pixels, shape);
    assert_eq!(made.len(), whole.len(), "{shape} in strips of {width}");
    let differ = whole.iter().zip(&made).position(|(whole, made)| whole.to_bits() != made.to_bits());
    assert_eq!(differ, None, "{shape} in strips of {width} by {given:?} rows, {reach:?}");
}

#[test]
fn strips_are_the_whole_at_chosen_sizes() {
    for channels in [1, 3] {
        for model in models(channels) {
            for (id, (height, width)) in (0..).zip([(16, 16), (17, 9), (33, 31), (64, 65), (90, 127)]) {
                for given in [&[64][..], &[1], &[7, 2]] {
                    compare(&model, ImageShape { height, width, channels }, 32, given, id);
                }
            }
        }
    }
}

#[test]
fn strips_are_the_whole_at_random_sizes() {
    let mut generator = Stream::new(12, "sizes", Split::Test).generator(0, 0);
    let below = |generator: &mut Generator, most: u32| 1 + generator.below(most) as usize;
    for model in models(1) {
        for id in 0..6 {
            let [height, width] = [0, 1].map(|_| 15 + below(&mut generator, 150));
            let given = [0, 1, 2].map(|_| below(&mut generator, 70));
            let channels = [1, 3][id as usize % 2];
            compare(&model, ImageShape { height, width, channels }, below(&mut generator, 90), &given, id);
        }
    }
}

#[test]
fn large_pictures_alone_are_cut_and_few_rows_wait() {
    let model = model(wide().swap_remove(0), 1);
    let shape = |height, width| ImageShape { height, width, channels: 1 };
    assert!(Strips::new(&model, shape(64, 64), 2).expect("fits").is_none());
    assert!(Strips::new(&model, shape(4, 10_000_000), 2).expect("fits").is_none());
    let large = Strips::new(&model, shape(20_000, 10_000), 3).expect("fits").expect("is cut");
    let reach = reach(&model);
    assert_eq!(large.strips.len(), 3);
    assert!(Strips::new(&model, shape(1_000, 1_000_000), 2).expect("fits").is_none());
    // A colour picture, each channel by itself, is cut too.
    let colour = ImageShape { height: 3_000, width: 4_000, channels: 3 };
    assert!(Strips::new(&model, colour, 2).expect("fits").is_some());
    let mut strips = Strips::of_width(&model, shape(400, 40), reach, 64, 64);
    let (mut given, mut made) = (0, 0);
    while given < 400 {
        let rows = 20.min(400 - given);
        made += strips.push(&vec![0.5; rows * 40]).expect("works").len() / 40;
        given += rows;
        assert!(given - made <= 2 * reach.halo + 20 || given == 400, "{given} given, {made} made");
    }
    assert_eq!(made, 400);
    let message = Strips::new(&self::model(wide().swap_remove(0), 3), shape(9000, 9000), 2).err().expect("is refused");
    assert!(message.to_string().starts_with("it has 1 channels, but the model takes 3"), "{message}");
}
