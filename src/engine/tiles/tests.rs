//! Tiles are the whole picture, bit for bit.

use burn::tensor::Device;

use super::*;
use crate::image::Split;
use crate::model::reach_tests::{any_size, drawn};
use crate::random::{Generator, Stream};

fn models(channels: usize) -> Vec<Inference> {
    let image = ImageShape { height: 16, width: 16, channels };
    let model = |architecture: crate::model::Architecture| {
        let model = drawn(&architecture, image);
        Inference::of(architecture, image, model, Device::flex())
    };
    let mut models: Vec<_> = any_size().into_iter().map(model).collect();
    // One whose images are combined with their input.
    models.extend(any_size().pop().map(|architecture| model(architecture).with_noise_level(0.2)));
    models
}

fn picture(shape: ImageShape, id: u64) -> Vec<f32> {
    let mut pixels = vec![0.0; shape.len()];
    Stream::new(3, "picture", Split::Test).generator(id, 0).fill_uniform(&mut pixels);
    pixels
}

/// The picture at once: continued in the plainest way, through the model, cut.
fn whole(model: &Inference, pixels: &[f32], shape: ImageShape) -> Vec<f32> {
    let least = model.reach().expect("is for any size").least;
    let padded = ImageShape { height: shape.height.max(least), width: shape.width.max(least), ..shape };
    let there_and_back = |length: usize| (0..length).chain((1..length.max(2) - 1).rev()).cycle();
    let row = |y: usize| {
        let pixels =
            there_and_back(shape.width).take(padded.width).map(move |x| (y * shape.width + x) * shape.channels);
        pixels.flat_map(|at| at..at + shape.channels)
    };
    let all = there_and_back(shape.height).take(padded.height).flat_map(row);
    let all: Vec<f32> = all.map(|at| pixels[at]).collect();
    let made = if model.image().channels == shape.channels {
        model.apply_at_any_size(all, padded, Method::Direct).expect("works")
    } else {
        let plane = |channel: usize| {
            let plane = all.iter().skip(channel).step_by(shape.channels).copied().collect();
            model.apply_at_any_size(plane, ImageShape { channels: 1, ..padded }, Method::Direct).expect("works")
        };
        let planes: Vec<_> = (0..shape.channels).map(plane).collect();
        (0..all.len()).map(|at| planes[at % shape.channels][at / shape.channels]).collect()
    };
    let rows = made.chunks(padded.width * shape.channels).take(shape.height);
    rows.flat_map(|row| row[..shape.width * shape.channels].to_vec()).collect()
}

/// The picture in tiles, of which only the rows of each window are seen.
fn tiled(tiles: &Tiles<'_>, pixels: &[f32], shape: ImageShape) -> Vec<f32> {
    let stride = shape.width * shape.channels;
    let (mut made, mut next) = (vec![f32::NAN; shape.len()], 0);
    for band in tiles.bands() {
        assert_eq!(band.rows.start, next);
        next = band.rows.end;
        let read = |row: usize, columns: Range<usize>, to: &mut [f32]| {
            assert!(band.window.contains(&row), "{row} is outside of {:?}", band.window);
            let at = row * stride + columns.start * shape.channels;
            to.copy_from_slice(&pixels[at..at + columns.len() * shape.channels]);
            Ok(())
        };
        for Tile { rows, columns, made: part } in tiles.make(&band, &read, &|part| part).expect("works") {
            for (row, line) in rows.zip(part.chunks(columns.len() * shape.channels)) {
                let at = row * stride + columns.start * shape.channels;
                made[at..at + line.len()].copy_from_slice(line);
            }
        }
    }
    assert_eq!(next, shape.height);
    made
}

fn compare(model: &Inference, shape: ImageShape, side: usize, at_once: usize, id: u64) {
    let pixels = picture(shape, id);
    let tiles = Tiles::of_side(model, shape, side, at_once, Method::Direct).expect("is for any size");
    let (whole, tiled) = (whole(model, &pixels, shape), tiled(&tiles, &pixels, shape));
    let differ = whole.iter().zip(&tiled).position(|(whole, tiled)| whole.to_bits() != tiled.to_bits());
    assert_eq!(differ, None, "{shape} in tiles of {side}, {:?}", model.reach());
}

/// A random multiple of the model's, more often a small one.
fn side(generator: &mut Generator, model: &Inference, most: u32) -> usize {
    let most = generator.below(most) + 1;
    (1 + generator.below(most) as usize).next_multiple_of(model.reach().expect("is for any size").multiple)
}

#[test]
fn tiles_are_the_whole_at_chosen_sizes() {
    for channels in [1, 3] {
        for model in models(channels) {
            let multiple = model.reach().expect("is for any size").multiple;
            for (id, (height, width)) in
                (0..).zip([(1, 1), (1, 2), (2, 40), (9, 3), (7, 7), (8, 8), (9, 17), (33, 31), (64, 65), (90, 127)])
            {
                for side in [multiple, 4 * multiple, 16 * multiple] {
                    compare(&model, ImageShape { height, width, channels }, side, 3, id);
                }
            }
        }
    }
}

#[test]
fn tiles_are_the_whole_at_random_sizes() {
    let mut generator = Stream::new(11, "sizes", Split::Test).generator(0, 0);
    for channels in [1, 3] {
        for model in models(channels) {
            for id in 0..8 {
                let [height, width] = [0, 1].map(|_| 1 + generator.below(100) as usize);
                let at_once = 1 + generator.below(5) as usize;
                compare(&model, ImageShape { height, width, channels }, side(&mut generator, &model, 90), at_once, id);
            }
        }
    }
}

#[test]
fn tiles_are_the_whole_of_a_large_picture_and_of_each_channel() {
    for (model, channels) in models(1).iter().zip([1, 3].into_iter().cycle()) {
        let shape = ImageShape { height: 500, width: 700, channels };
        compare(model, shape, 160, 2, 1);
        compare(model, ImageShape { height: 37, width: 53, channels: 3 }, 16, 2, 1);
    }
    let colour = &models(3)[0];
    let grey = ImageShape { height: 20, width: 20, channels: 1 };
    let message = Tiles::new(colour, grey, 2).err().expect("is refused").to_string();
    assert!(message.starts_with("it has 1 channels, but the model takes 3; train a model"), "{message}");
}

#[test]
fn a_small_picture_is_one_tile_and_what_a_table_has() {
    for model in models(1) {
        for (id, (height, width)) in (0..).zip([(16, 16), (64, 65), (200, 131)]) {
            let shape = ImageShape { height, width, channels: 1 };
            let (pixels, tiles) = (picture(shape, id), Tiles::new(&model, shape, 4).expect("is for any size"));
            assert_eq!((tiles.rows.len(), tiles.columns.len()), (1, 1));
            let one = model.for_images(shape, std::path::Path::new("one")).expect("is for any size");
            let content = crate::table::Content::Images(shape.into(), crate::image::Pixels::F32);
            let shapes = crate::image::Shapes::Equal(shape, 1);
            let batch = crate::source::batch(Split::Test, &shapes, 0..1, vec![None], pixels.clone()).expect("fits");
            assert_eq!(*batch.schema(), *content.schema());
            let made = one.denoise(&batch, None, crate::image::Pixels::F32).expect("works");
            let made = crate::table::Images::of(&made, shape.into()).expect("are there").numbers();
            let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&tiled(&tiles, &pixels, shape)), bits(&made), "{shape}");
        }
    }
}

#[test]
fn large_pictures_are_never_one_tile() {
    let image = ImageShape { height: 32, width: 32, channels: 1 };
    for architecture in crate::model::reach_tests::wide() {
        let model = Inference::of(architecture.clone(), image, drawn(&architecture, image), Device::flex());
        let tiles =
            Tiles::new(&model, ImageShape { height: 4_000, width: 4_000, channels: 3 }, 2).expect("is for any size");
        assert!(tiles.rows.len() > 1 && tiles.columns.len() > 1 && tiles.method == Method::Direct);
    }
}

#[test]
fn tiles_suit_the_memory_and_the_threads() {
    for model in models(1) {
        let reach = model.reach().expect("is for any size");
        for (height, width) in [(1, 1), (100, 100), (700, 500), (20_000, 20_000), (3, 1_000_000)] {
            for threads in [1, 2, 7, 64] {
                let shape = ImageShape { height, width, channels: 1 };
                let tiles = Tiles::new(&model, shape, threads).expect("is for any size");
                assert!((1..=threads).contains(&tiles.tiles_at_once));
                for span in tiles.rows.iter().chain(&tiles.columns) {
                    assert_eq!(span.inner.start % reach.multiple, 0);
                    assert_eq!(span.outer.start % reach.multiple, 0);
                }
                let bands: Vec<_> = tiles.bands().collect();
                let next = bands.iter().fold(0, |next, band| {
                    assert_eq!(band.rows.start, next);
                    band.rows.end
                });
                assert_eq!(next, height);
            }
        }
        let large = ImageShape { height: 20_000, width: 20_000, channels: 1 };
        assert!(Tiles::new(&model, large, 2).expect("is for any size").rows.len() < 20_000 / 64);
    }
}

#[test]
fn tiles_are_the_whole_for_the_mean_over_the_orientations_too() {
    for model in models(1) {
        let model = model.with_ensemble(true).expect("takes any size");
        let multiple = model.reach().expect("is for any size").multiple;
        for (id, (height, width)) in (0..).zip([(1, 1), (9, 17), (33, 31), (64, 65)]) {
            for side in [multiple, 16 * multiple] {
                compare(&model, ImageShape { height, width, channels: 1 }, side, 3, id);
            }
        }
    }
}
