//! Decodes a picture and fits it to the wanted size and channels.
//!
//! The format is detected by the first bytes and not by the name. A picture is rotated by its EXIF orientation, as viewers do;
//! transparent pixels are laid on white; colour becomes grey with the weights of ITU-R BT.601, as in Pillow and
//! OpenCV; scaling is linear, over the area that becomes a pixel.

mod alpha;
mod bmp;
mod deep;
mod frames;
mod header;
mod jpeg;
mod numbers;
pub mod pages;
mod range;
mod room;
mod whole;

use std::io::{self, Cursor, ErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use image::imageops::{FilterType, crop_imm, resize};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits, Pixel};

use crate::image::{ImageShape, Samples, luma};
use crate::source::settings::{Fit, Size};
use crate::store::{RangeReader, ReadAt, read_whole};
pub use frames::frames;
pub use header::{depth_of, shape_of, shape_of_file};
use numbers::Numbers;
use room::Room;
pub use whole::decode_whole;

/// Longest side of a picture that is decoded.
const MAX_SIDE: u32 = 1 << 15;
/// Most bytes of a picture's decoded pixels.
const MAX_BYTES: u64 = 512 << 20;
/// Most bytes of a PNG's metadata: a compressed colour profile or text of a megabyte can hold a gibibyte.
const MAX_ASIDE: u64 = 16 << 20;
/// Largest file of a picture.
pub const MAX_FILE: u64 = 256 << 20;
/// Size of a file above which only one is in memory at a time.
const LARGE_FILE: u64 = 32 << 20;

/// A decoded picture.
pub struct Picture {
    /// Its size.
    pub shape: ImageShape,
    /// Its pixels, row by row, channels last: bytes, or floats if the file has more than 8 bits or levels are given.
    pub samples: Samples,
    /// Frames of its file, of which it is the first.
    pub frames: usize,
}

/// The content of a picture file, not yet decoded.
pub struct PictureFile {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// Held for a large file, so that only one is in memory.
    _turn: Option<MutexGuard<'static, ()>>,
}

/// Waits until no other large file is in memory, if one of so many bytes is large; the next one waits for what is returned.
pub fn turn(len: u64) -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    (len > LARGE_FILE).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reads a picture file.
///
/// # Errors
/// A file that is too large or not a regular file (`FileTooLarge`, `InvalidData`), and the file system.
pub fn read(path: &Path) -> io::Result<PictureFile> {
    match read_whole(path, LARGE_FILE) {
        Err(cause) if cause.kind() == ErrorKind::FileTooLarge => {
            let turn = turn(MAX_FILE);
            Ok(PictureFile { bytes: read_whole(path, MAX_FILE)?, _turn: turn })
        }
        bytes => Ok(PictureFile { bytes: bytes?, _turn: None }),
    }
}

/// Reads a picture that is so many bytes of an archive, from a place on, or tells why it cannot be used.
///
/// # Errors
/// The store.
pub fn read_part(archive: Arc<dyn ReadAt>, at: u64, len: u64) -> io::Result<Result<PictureFile, String>> {
    if len > MAX_FILE {
        return Ok(Err(format!("it is larger than {} MiB", MAX_FILE >> 20)));
    }
    let turn = turn(len);
    let mut bytes = Vec::new();
    let is_whole = RangeReader::new(archive, at).take(len).read_to_end(&mut bytes)? as u64 == len;
    Ok(if is_whole { Ok(PictureFile { bytes, _turn: turn }) } else { Err("its archive breaks off in it".to_owned()) })
}

/// Decodes a picture and fits it.
///
/// # Errors
/// The reason why it cannot be decoded, as text.
pub fn decode(bytes: &[u8], fit: &Fit) -> Result<Picture, String> {
    if let Some(numbers) = Numbers::open(Cursor::new(bytes)) {
        return numbers.decode(fit);
    }
    let (image, _room) = if jpeg::is_jpeg(bytes) { jpeg::decode(bytes, fit)? } else { decode_other(bytes, fit)? };
    Ok(Picture { frames: frames(bytes), ..fitted(image, fit)? })
}

/// A picture from decoded pixels, grey or RGB, fitted. Without a fit, any number of channels works.
///
/// # Errors
/// As [`decode`].
pub fn of_pixels(shape: ImageShape, samples: Samples, fit: &Fit) -> Result<Picture, String> {
    if (fit.size, fit.grey) == (Size::Same, None) {
        return Ok(Picture { shape, samples, frames: 1 });
    }
    let (height, width) = (shape.height as u32, shape.width as u32);
    let _room = Room::of(scaling((width, height), fit))?;
    let bytes = match samples {
        Samples::Bytes(bytes) => bytes,
        Samples::Floats(floats) => return deep::of_floats(floats, shape, fit),
    };
    let image = match shape.channels {
        1 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        3 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        channels => return Err(format!("`resize`, `crop` and `grey` know images of 1 or 3 channels, not {channels}")),
    };
    // The numbers were scaled by the levels.
    fitted(image.ok_or("its pixels have gone")?, &Fit { levels: None, ..*fit })
}

/// The format that a file starts with, whether it is read or not.
pub fn guess_format(start: &[u8]) -> Option<ImageFormat> {
    // BigTIFF, which `image` decodes and does not recognise.
    let big = start.starts_with(b"II+\0") || start.starts_with(b"MM\0+");
    if big { Some(ImageFormat::Tiff) } else { image::guess_format(start).ok() }
}

/// Whether a file has the start of a supported format.
pub fn is_picture(start: &[u8]) -> bool {
    picture_format(start).is_some()
}

/// The name of the supported format that a file starts with.
pub fn picture_format(start: &[u8]) -> Option<&'static str> {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    Some(match guess_format(start)? {
        Png => "PNG",
        Jpeg => "JPEG",
        WebP => "WebP",
        Bmp => "BMP",
        Gif => "GIF",
        Tiff => "TIFF",
        _ => return None,
    })
}

/// Why a picture cannot be decoded, in words: of a file that breaks off, some decoders tell which call it was that failed.
pub fn reason(cause: &impl ToString) -> String {
    cause.to_string().replace("failed to fill whole buffer", "its end is missing")
}

/// Decodes a picture of a format other than JPEG.
fn decode_other(bytes: &[u8], fit: &Fit) -> Result<(DynamicImage, Room), String> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ASIDE);
    let format = guess_format(bytes).filter(|_| is_picture(bytes)).ok_or_else(|| {
        let what = super::format(bytes).map(|(what, advice)| format!(", but {what}; {advice}")).unwrap_or_default();
        format!("it is not a PNG, JPEG, WebP, GIF, BMP or TIFF picture{what}")
    })?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(|cause| reason(&cause))?;
    let pixels = decoder.total_bytes();
    // The working memory of the decoder, besides the decoded pixels.
    let besides = match format {
        // The frame and the canvas, and the luma and chroma planes of a lossy frame, by the size in its own header.
        ImageFormat::WebP => 3 * pixels + 2 * largest(bytes, lossy_frame),
        // A first frame of another size than the picture, as far as the limit below lets it be larger.
        ImageFormat::Gif => pixels * 4 / 3 + bytes.len() as u64 + MAX_ASIDE,
        // The same pixels, with a fourth channel for CMYK, and one strip, which may be a JPEG of any size.
        ImageFormat::Tiff => pixels * 4 / 3 + 12 * largest(bytes, jpeg::frame),
        _ => 0,
    };
    let orientation = decoder.orientation().map_err(|cause| reason(&cause))?;
    let plan = Plan { pixels, besides, size: decoder.dimensions(), colour: decoder.color_type(), orientation };
    let room = plan.room(fit)?;
    limits.max_alloc = Some(pixels * 4 / 3 + bytes.len() as u64 + MAX_ASIDE);
    decoder.set_limits(limits).map_err(|cause| reason(&cause))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|cause| reason(&cause))?;
    if fit.levels.is_none() {
        range::check(&image)?;
    }
    if format == ImageFormat::Tiff && image.color().has_alpha() && alpha::is_multiplied(bytes) {
        alpha::divide(&mut image);
    }
    if format == ImageFormat::Bmp && bmp::is_grey(bytes) {
        image = DynamicImage::ImageLuma8(image.into_luma8());
    }
    image.apply_orientation(orientation);
    Ok((image, room))
}

/// Pixels of the largest of the frames whose headers occur in some bytes; `frame` parses a header's first nine bytes. Bytes that
/// only look like a header reserve memory needlessly, and do no other harm.
fn largest(bytes: &[u8], frame: impl Fn(&[u8; 9]) -> Option<[u16; 2]>) -> u64 {
    let headers = bytes.windows(9).filter_map(|start| frame(start.first_chunk()?));
    headers.map(|[height, width]| u64::from(height) * u64::from(width)).max().unwrap_or(0)
}

/// Height and width in the header of a lossy frame of WebP.
fn lossy_frame(start: &[u8; 9]) -> Option<[u16; 2]> {
    let [0x9d, 0x01, 0x2a, low, high, narrow, wide, ..] = *start else { return None };
    // The two highest bits are a scaling factor.
    Some([[narrow, wide], [low, high]].map(|side| u16::from_le_bytes(side) & 0x3fff))
}

/// The properties of a picture that are known before its pixels are decoded.
struct Plan {
    /// Bytes of its pixels.
    pixels: u64,
    /// Bytes of the decoder's working memory.
    besides: u64,
    size: (u32, u32),
    colour: ColorType,
    orientation: Orientation,
}

impl Plan {
    /// Reserves memory for the largest of the steps from the file to the fitted image.
    fn room(&self, fit: &Fit) -> Result<Room, String> {
        let (columns, rows) = self.size;
        let (pixels, area) = (self.pixels, u64::from(columns) * u64::from(rows));
        if columns.max(rows) > MAX_SIDE {
            return Err(format!("it has {rows}×{columns} pixels; at most {MAX_SIDE} rows and columns work"));
        }
        if pixels > MAX_BYTES {
            return Err(format!("it has pixels of {} MiB; at most {} MiB work", pixels >> 20, MAX_BYTES >> 20));
        }
        let converted = match self.colour {
            // Copies with floats, with and without an alpha channel.
            colour if deep::is_deep(colour) || fit.levels.is_some() => 28 * area,
            // Copies with eight bits, likewise.
            ColorType::L8 => 3 * area,
            ColorType::Rgb8 => area,
            _ => 7 * area,
        };
        let turned = if self.orientation == Orientation::NoTransforms { 0 } else { pixels };
        let most = self.besides.max(turned).max(converted).saturating_add(pixels);
        Room::of(most.max(scaling(self.size, fit).saturating_add(6 * area)))
    }
}

/// Bytes of the intermediate image of scaling, however the picture is rotated.
fn scaling((width, height): (u32, u32), fit: &Fit) -> u64 {
    match fit.size {
        Size::Same => 0,
        Size::Resize([rows, _]) | Size::Crop([rows, _]) => 16 * rows as u64 * u64::from(width.max(height)),
    }
}

/// Converts to the wanted channels and size.
fn fitted(image: DynamicImage, fit: &Fit) -> Result<Picture, String> {
    if deep::is_deep(image.color()) || fit.levels.is_some() {
        return deep::fitted(&image, fit);
    }
    let colour = image.color().has_color();
    let image = if image.color().has_alpha() { alpha::on_white(&image) } else { image };
    if fit.grey.unwrap_or(!colour) {
        let grey = match image {
            DynamicImage::ImageLuma8(grey) => grey,
            image if colour => {
                let rgb = image.into_rgb8();
                let (width, height) = rgb.dimensions();
                let bytes = rgb.as_raw().chunks_exact(3).map(|pixel| luma([pixel[0], pixel[1], pixel[2]])).collect();
                ImageBuffer::from_raw(width, height, bytes).ok_or("its pixels have gone")?
            }
            image => image.into_luma8(),
        };
        sized(grey, fit.size)
    } else {
        sized(image.into_rgb8(), fit.size)
    }
}

/// Scales or crops to the wanted size.
fn sized<P>(image: ImageBuffer<P, Vec<P::Subpixel>>, size: Size) -> Result<Picture, String>
where
    P: Pixel + 'static,
    P::Subpixel: 'static,
    Vec<P::Subpixel>: Into<Samples>,
{
    let (width, height) = image.dimensions();
    let [rows, columns] = match size {
        Size::Same => [height as usize, width as usize],
        Size::Resize(wanted) | Size::Crop(wanted) => wanted,
    };
    let channels = usize::from(P::CHANNEL_COUNT);
    let shape = ImageShape::picture(rows, columns, channels).ok_or_else(|| {
        let most = ImageShape::MAX_PICTURE_LEN;
        format!("it has {rows}×{columns} pixels of {channels} numbers; at most {most} numbers work")
    })?;
    let scaled =
        |image: &ImageBuffer<P, Vec<P::Subpixel>>| resize(image, columns as u32, rows as u32, FilterType::Triangle);
    let image = match size {
        _ if [rows, columns] == [height as usize, width as usize] => image,
        Size::Same | Size::Resize(_) => scaled(&image),
        Size::Crop(_) => {
            // The largest centred part with the wanted aspect ratio.
            let (rows, columns) = (rows as u64, columns as u64);
            let part_width = (u64::from(height) * columns / rows).clamp(1, u64::from(width)) as u32;
            let part_height = (u64::from(width) * rows / columns).clamp(1, u64::from(height)) as u32;
            let (left, top) = ((width - part_width) / 2, (height - part_height) / 2);
            scaled(&crop_imm(&image, left, top, part_width, part_height).to_image())
        }
    };
    Ok(Picture { shape, samples: image.into_raw().into(), frames: 1 })
}

#[cfg(test)]
mod tests;
