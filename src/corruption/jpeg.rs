//! JPEG artefacts: an image is encoded as JPEG and decoded again, by the libraries that read pictures. The encoder takes the example
//! tables of ITU-T T.81, annex K, scaled by the quality as libjpeg does it, and keeps colours at full resolution.
//!
//! There is no JPEG among a device's operations: its images come to the host for it and go back, which a training on a GPU waits for.

use anyhow::Result;
use burn::tensor::{Tensor, TensorData};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::CorruptionKind;
use super::on_device::Numbers;
use super::strength::{Limited, Limits, PURPOSE, Strength};
use crate::error;
use crate::image::{ImageShape, to_bytes, to_unit};
use crate::random::Generator;
use crate::setting::{Choice, Section};

/// Most rows and columns, which a file counts in 16 bits.
const MOST_SIDE: usize = u16::MAX as usize;

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Jpeg {
    /// 1 to 100.
    pub quality: Strength<u8>,
}

/// JPEG artefacts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawJpeg {
    /// Quality of the encoder; or a range, `[10, 80]`, of which every image draws its own.
    #[schemars(with = "Option<Limited<Jpeg>>")]
    quality: Option<Strength<u8>>,
}

impl Limits for Jpeg {
    const KIND: &'static str = "integer";
    const LEAST: f64 = 1.0;
    const MOST: f64 = 100.0;
}

impl Choice for Jpeg {
    type Written = RawJpeg;

    fn resolve(RawJpeg { quality }: RawJpeg, section: &mut Section<'_>) -> Option<Self> {
        Some(Self { quality: section.required("quality", quality)?.checked("quality", section) })
    }
}

impl CorruptionKind for Jpeg {
    fn is_fixed(&self) -> bool {
        matches!(self.quality, Strength::Same(_))
    }

    fn check(&self, image: ImageShape) -> Result<()> {
        if !matches!(image.channels, 1 | 3) {
            let message = format!("corruption.jpeg takes grey or RGB images, of 1 or 3 channels, not {image}");
            return Err(error::settings(message));
        }
        if image.height.max(image.width) > MOST_SIDE {
            let message = format!("corruption.jpeg takes images of at most {MOST_SIDE} rows and columns, not {image}");
            return Err(error::settings(message));
        }
        Ok(())
    }

    fn apply(&self, pixels: &[f32], image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        let quality = match self.quality {
            Strength::Same(quality) => quality,
            Strength::Drawn(range) => between(range, generator.apart(PURPOSE).uniform()),
        };
        through_jpeg(pixels, image, quality, out);
    }

    fn apply_on_device(&self, images: Tensor<2>, image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2> {
        let (device, [count, len]) = (images.device(), images.dims());
        let host = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().expect("pixels are 32-bit floats");
        let qualities: Vec<u8> = match self.quality {
            Strength::Same(quality) => vec![quality; count],
            Strength::Drawn(range) => {
                host(numbers.one_each(PURPOSE)).into_iter().map(|number| between(range, number)).collect()
            }
        };
        let (clean, mut out) = (host(images), vec![0.0; count * len]);
        let pairs = clean.par_chunks(len).zip(out.par_chunks_mut(len));
        pairs.zip(qualities).for_each(|((clean, out), quality)| through_jpeg(clean, image, quality, out));
        Tensor::from_data(TensorData::new(out, [count, len]), &device)
    }
}

/// The quality that a uniform number in [0, 1) stands for, each as likely.
fn between([least, most]: [u8; 2], number: f32) -> u8 {
    least + ((f32::from(most - least) + 1.0) * number) as u8
}

/// The image as it comes back from a file, which holds bytes.
fn through_jpeg(pixels: &[f32], image: ImageShape, quality: u8, out: &mut [f32]) {
    let (colour, space) = if image.channels == 1 {
        (ExtendedColorType::L8, ColorSpace::Luma)
    } else {
        (ExtendedColorType::Rgb8, ColorSpace::RGB)
    };
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(&to_bytes(pixels), image.width as u32, image.height as u32, colour)
        .expect("an image that was checked can be encoded");
    let options = DecoderOptions::default().set_max_width(MOST_SIDE).set_max_height(MOST_SIDE);
    let options = options.jpeg_set_out_colorspace(space);
    let decoded = JpegDecoder::new_with_options(ZCursor::new(&file), options).decode();
    to_unit(&decoded.expect("what was encoded can be decoded"), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    /// A smooth picture with an edge.
    fn picture(image: ImageShape) -> Vec<f32> {
        let value = |at: usize| {
            let (pixel, channel) = (at / image.channels, at % image.channels);
            let (row, column) = (pixel / image.width, pixel % image.width);
            let edge = if row > column { 90 } else { 0 };
            ((row * 5 + column * 3 + channel * 40 + edge) % 256) as f32 / 255.0
        };
        (0..image.len()).map(value).collect()
    }

    fn applied(quality: Strength<u8>, image: ImageShape, id: u64) -> Vec<f32> {
        let mut out = vec![0.0; image.len()];
        let mut generator = Stream::new(1, "noise", Split::Test).generator(id, 0);
        Jpeg { quality }.apply(&picture(image), image, &mut generator, &mut out);
        out
    }

    #[test]
    fn artefacts_are_those_of_a_file_that_the_image_crate_writes_and_reads() {
        for (height, width, channels) in [(17, 23, 1), (16, 16, 3), (9, 31, 3), (1, 1, 1)] {
            let image = ImageShape { height, width, channels };
            let mut errors = Vec::new();
            for quality in [5, 30, 90] {
                let mut file = Vec::new();
                let colour = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
                JpegEncoder::new_with_quality(&mut file, quality)
                    .encode(&to_bytes(&picture(image)), width as u32, height as u32, colour)
                    .expect("encodes");
                let decoded = image::load_from_memory_with_format(&file, image::ImageFormat::Jpeg).expect("decodes");
                let found = applied(Strength::Same(quality), image, 0);
                assert_eq!(to_bytes(&found), decoded.into_bytes(), "{image} at {quality}");
                errors.push(found.iter().zip(picture(image)).map(|(a, b)| (a - b).powi(2)).sum::<f32>());
            }
            assert!(image.len() == 1 || errors[0] > errors[1] && errors[1] > errors[2], "{image}: {errors:?}");
        }
    }

    #[test]
    fn every_image_draws_its_quality() {
        let image = ImageShape { height: 16, width: 16, channels: 1 };
        let of = |quality| applied(Strength::Same(quality), image, 0);
        let (low, high) = (of(10), of(11));
        assert_ne!(low, high);
        let drawn = (0..200).map(|id| applied(Strength::Drawn([10, 11]), image, id) == low);
        let lower = drawn.filter(|lower| *lower).count();
        assert!((60..140).contains(&lower), "{lower} of 200");
        let last = 1.0 - 1.0 / (1 << 24) as f32;
        assert_eq!((between([1, 100], 0.0), between([1, 100], last), between([7, 7], last)), (1, 100, 7));
    }

    #[test]
    fn other_images_are_refused() {
        let refused = |height, width, channels| {
            let checked = Jpeg { quality: Strength::Same(30) }.check(ImageShape { height, width, channels });
            checked.expect_err("is refused").to_string()
        };
        assert!(refused(8, 8, 2).contains("grey or RGB images"));
        assert!(refused(1, 65_536, 1).contains("at most 65535 rows and columns"));
    }
}
