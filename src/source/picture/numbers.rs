//! TIFF of numbers that `image` has no pixels for, as microscopes, scanners and simulations write them: grey floats, signed
//! integers, integers of 32 bits, and all of 64.

use std::io::{Cursor, Read, Seek};

use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
use image::metadata::Orientation;
use image::{ImageBuffer, Luma, Pixel, Rgb};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{SampleFormat, Tag};

use super::room::Room;
use super::{MAX_ASIDE, MAX_BYTES, MAX_SIDE, Picture, deep, range, reason, scaling};
use crate::image::{ImageShape, Levels};
use crate::source::settings::Fit;

/// The first page of such a TIFF, of which no pixel is decoded yet.
pub struct Numbers<R: Read + Seek> {
    decoder: Decoder<R>,
    /// The shape as it is stored, before it is turned.
    shape: ImageShape,
    orientation: Orientation,
    bits: u8,
    format: SampleFormat,
}

impl<R: Read + Seek> Numbers<R> {
    /// None for any other file, a damaged one included.
    pub fn open(file: R) -> Option<Self> {
        let mut limits = Limits::default();
        (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (MAX_BYTES as usize, MAX_BYTES as usize);
        limits.ifd_value_size = MAX_ASIDE as usize;
        let mut decoder = Decoder::new(file).ok()?.with_limits(limits);
        let mut number = |tag| decoder.find_tag_unsigned_vec::<u16>(tag).ok()?.and_then(|found| found.first().copied());
        let format = number(Tag::SampleFormat).map_or(Some(SampleFormat::Uint), SampleFormat::from_u16)?;
        let orientation = number(Tag::Orientation).and_then(|orientation| u8::try_from(orientation).ok());
        let orientation = orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
        let (channels, bits) = match decoder.colortype().ok()? {
            ColorType::Gray(bits) => (1, bits),
            ColorType::RGB(bits) => (3, bits),
            _ => return None,
        };
        // Those of bytes, of 16 bits and of RGB floats are left to `image`.
        let is_other = match format {
            SampleFormat::Uint => bits > 16,
            SampleFormat::IEEEFP => (channels, bits) != (3, 32),
            SampleFormat::Int => true,
            _ => false,
        };
        let (width, height) = decoder.dimensions().ok().filter(|(width, height)| *width.max(height) <= MAX_SIDE)?;
        let shape = ImageShape::picture(height as usize, width as usize, channels).filter(|_| is_other)?;
        Some(Self { decoder, shape, orientation, bits, format })
    }

    /// What its numbers are, in words, and which of them is white if one is by itself.
    pub fn depth(&self) -> (String, Option<f32>) {
        let kind = match self.format {
            SampleFormat::IEEEFP => "floats",
            SampleFormat::Int => "signed integers",
            _ => "integers",
        };
        (format!("{kind} of {} bits", self.bits), None)
    }

    /// Its shape once it is turned and made grey or RGB.
    pub fn shape(&self, fit: &Fit) -> Option<ImageShape> {
        let ImageShape { height, width, channels } = self.shape;
        let grey = fit.grey.unwrap_or(channels == 1);
        let (height, width) = if swaps_sides(self.orientation) { (width, height) } else { (height, width) };
        ImageShape::picture(height, width, if grey { 1 } else { 3 })
    }
}

impl Numbers<Cursor<&[u8]>> {
    /// Decodes and fits it.
    ///
    /// # Errors
    /// The reason why it cannot be decoded, as text; integers without levels, since none of them is white by itself.
    pub fn decode(mut self, fit: &Fit) -> Result<Picture, String> {
        let (ImageShape { height, width, .. }, count) = (self.shape, self.shape.len() as u64);
        let levels = match (fit.levels, self.format) {
            (None, SampleFormat::IEEEFP) => Levels::Between([0.0, 1.0]),
            (None, format) => {
                let kind = if format == SampleFormat::Int { "signed " } else { "" };
                return Err(format!(
                    "it holds {kind}integers of {} bits; say which of them are black and white by `levels`, as [0, 4095]",
                    self.bits
                ));
            }
            (Some(levels), _) => levels,
        };
        let bytes = count * u64::from(self.bits.div_ceil(8));
        if bytes > MAX_BYTES {
            return Err(format!("it has pixels of {} MiB; at most {} MiB work", bytes >> 20, MAX_BYTES >> 20));
        }
        // The numbers, the floats that are made of them, and those turned, grey or in colour.
        let _room = Room::of(bytes + 20 * count + scaling((width as u32, height as u32), fit))?;
        let numbers = self.decoder.read_image().map_err(|cause| reason(&cause))?;
        let pixels = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| levels.pixel(number)).collect();
        let floats: Vec<f32> = match numbers {
            DecodingResult::F16(numbers) if fit.levels.is_none() => {
                range::checked(numbers.iter().map(|n| n.to_f32()).collect())
            }
            DecodingResult::F32(numbers) if fit.levels.is_none() => range::checked(numbers),
            DecodingResult::F64(numbers) if fit.levels.is_none() => {
                range::checked(numbers.iter().map(|n| *n as f32).collect())
            }
            DecodingResult::U8(numbers) => pixels(&mut numbers.into_iter().map(f64::from)),
            DecodingResult::U16(numbers) => pixels(&mut numbers.into_iter().map(f64::from)),
            DecodingResult::U32(numbers) => pixels(&mut numbers.into_iter().map(f64::from)),
            DecodingResult::U64(numbers) => pixels(&mut numbers.into_iter().map(|number| number as f64)),
            DecodingResult::I8(numbers) => pixels(&mut numbers.into_iter().map(f64::from)),
            DecodingResult::I16(numbers) => pixels(&mut numbers.into_iter().map(f64::from)),
            DecodingResult::I32(numbers) => pixels(&mut numbers.into_iter().map(f64::from)),
            DecodingResult::I64(numbers) => pixels(&mut numbers.into_iter().map(|number| number as f64)),
            DecodingResult::F16(numbers) => pixels(&mut numbers.into_iter().map(|number| number.to_f64())),
            DecodingResult::F32(numbers) => pixels(&mut numbers.into_iter().map(f64::from)),
            DecodingResult::F64(numbers) => pixels(&mut numbers.into_iter()),
        }?;
        if floats.len() as u64 != count {
            return Err(format!("it has {} numbers, but its size says {count}", floats.len()));
        }
        if self.orientation == Orientation::NoTransforms {
            return deep::of_floats(floats, self.shape, fit);
        }
        let turned = if self.shape.channels == 1 {
            turned::<Luma<f32>>(floats, self.shape, self.orientation)
        } else {
            turned::<Rgb<f32>>(floats, self.shape, self.orientation)
        };
        let (floats, shape) = turned.ok_or("its pixels have gone")?;
        deep::of_floats(floats, shape, fit)
    }
}

/// Whether rows become columns.
pub fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Turns pixels, as `DynamicImage::apply_orientation` does, which has no grey floats.
fn turned<P: Pixel<Subpixel = f32> + 'static>(
    floats: Vec<f32>,
    shape: ImageShape,
    orientation: Orientation,
) -> Option<(Vec<f32>, ImageShape)> {
    let image = ImageBuffer::<P, _>::from_raw(shape.width as u32, shape.height as u32, floats)?;
    let image = match orientation {
        Orientation::NoTransforms => image,
        Orientation::Rotate90 => rotate90(&image),
        Orientation::Rotate180 => rotate180(&image),
        Orientation::Rotate270 => rotate270(&image),
        Orientation::FlipHorizontal => flip_horizontal(&image),
        Orientation::FlipVertical => flip_vertical(&image),
        Orientation::Rotate90FlipH => flip_horizontal(&rotate90(&image)),
        Orientation::Rotate270FlipH => flip_horizontal(&rotate270(&image)),
    };
    let (width, height) = image.dimensions();
    Some((image.into_raw(), ImageShape { height: height as usize, width: width as usize, ..shape }))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tiff::encoder::{TiffEncoder, colortype};

    use super::*;
    use crate::image::{Pixels, Samples};
    use crate::source::picture::{decode, shape_of};

    fn file<C>(numbers: &[C::Inner], orientation: u16) -> Vec<u8>
    where
        C: colortype::ColorType,
        [C::Inner]: tiff::encoder::TiffValue,
    {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).expect("begins");
        let mut image = encoder.new_image::<C>(3, 2).expect("fits");
        image.encoder().write_tag(Tag::Orientation, orientation).expect("is written");
        image.write_data(numbers).expect("is written");
        file.into_inner()
    }

    fn floats(file: &[u8], fit: &Fit) -> Result<Vec<f32>, String> {
        let picture = decode(file, fit)?;
        let shape = shape_of(Cursor::new(file), fit).expect("has a header");
        assert_eq!(shape, (picture.shape, Pixels::F32), "the header says what decoding finds");
        match picture.samples {
            Samples::Floats(floats) => Ok(floats),
            Samples::Bytes(bytes) => panic!("are bytes: {bytes:?}"),
        }
    }

    fn levels(levels: [f64; 2]) -> Fit {
        Fit { levels: Some(Levels::Between(levels)), ..Fit::default() }
    }

    #[test]
    fn floats_are_what_they_are_and_integers_need_levels() {
        let numbers = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
        assert_eq!(floats(&file::<colortype::Gray32Float>(&numbers, 1), &Fit::default()), Ok(numbers.to_vec()));
        let doubles = numbers.map(f64::from);
        assert_eq!(floats(&file::<colortype::Gray64Float>(&doubles, 1), &Fit::default()), Ok(numbers.to_vec()));
        let hounsfield = [-1000_i16, -500, 0, 0, 500, 1000];
        let signed = file::<colortype::GrayI16>(&hounsfield, 1);
        assert_eq!(floats(&signed, &levels([-1000.0, 1000.0])), Ok(vec![0.0, 0.25, 0.5, 0.5, 0.75, 1.0]));
        let cause = decode(&signed, &Fit::default()).err().expect("has no white");
        assert!(cause.contains("signed integers of 16 bits") && cause.contains("`levels`"), "{cause}");
        let counts = file::<colortype::Gray32>(&[0, 1, 2, 4, 4, 4], 1);
        assert_eq!(floats(&counts, &levels([0.0, 4.0])), Ok(vec![0.0, 0.25, 0.5, 1.0, 1.0, 1.0]));
        let cause = decode(&counts, &levels([0.0, 3.0])).err().expect("is brighter");
        assert_eq!(cause, "it holds 4; `levels` says that numbers lie in [0, 3]");
    }

    #[test]
    fn numbers_that_are_no_brightness_are_refused() {
        for (number, range) in [(f32::NAN, "0 to 0 and NaN"), (47.0, "0 to 47"), (-1.0, "-1 to 0")] {
            let mut numbers = [0.0; 6];
            numbers[4] = number;
            let cause = decode(&file::<colortype::Gray32Float>(&numbers, 1), &Fit::default()).err().expect("is none");
            assert!(cause.contains(&format!("holds floats of {range}, but they must lie in [0, 1]")), "{cause}");
        }
        let cause = decode(&file::<colortype::Gray32Float>(&[f32::NAN; 6], 1), &levels([0.0, 1.0])).err();
        assert!(cause.expect("is none").contains("NaN"));
    }

    #[test]
    fn it_is_turned_as_pictures_are() {
        let numbers: Vec<f32> = (0..6).map(|number| number as f32 / 8.0).collect();
        for orientation in 1..=8 {
            let grey =
                floats(&file::<colortype::Gray32Float>(&numbers, orientation), &Fit::default()).expect("is read");
            // The same as words, which `image` turns.
            let words: Vec<u16> = (0..6).collect();
            let fit = levels([0.0, 8.0]);
            let words = floats(&file::<colortype::Gray16>(&words, orientation), &fit).expect("is read");
            assert_eq!(grey, words, "orientation {orientation}");
        }
    }

    #[test]
    fn cut_files_are_refused() {
        let whole = file::<colortype::Gray64Float>(&[0.5; 6], 1);
        let read = (0..whole.len()).filter(|&end| decode(&whole[..end], &Fit::default()).is_ok());
        // The place of the next page, none, may be cut off.
        assert!(read.min().is_none_or(|end| end + 8 > whole.len()));
    }
}
