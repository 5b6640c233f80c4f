//! Images as pictures: rows and sheets of them as PNG data URIs.
//!
//! Large images are shrunk, so that a browser opens the page at once.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::image::ImageShape;

/// Most pixels of a side of an image in a row.
const ROW_SIDE: usize = 64;
/// Most pixels of a side of an image in a sheet.
pub const SHEET_SIDE: usize = 32;
/// Empty columns between two images of a row.
const GAP: usize = 2;

/// Colours of pixels that are too bright and too dark in a difference.
const BRIGHTER: [u8; 3] = [214, 84, 48];
const DARKER: [u8; 3] = [46, 122, 196];

/// An image of a table.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its size.
    pub shape: ImageShape,
    /// Its pixels, row by row, channels last.
    pub bytes: Vec<u8>,
}

/// A picture: red, green, blue and opacity of each pixel.
#[derive(Debug, Clone)]
pub struct Picture {
    width: usize,
    height: usize,
    rgba: Vec<u8>,
}

impl Picture {
    /// An image as it is: grey and RGB; of other channel counts the first channel.
    pub fn of(Image { shape, bytes }: &Image) -> Self {
        let pixels = bytes.chunks_exact(shape.channels);
        let rgba = pixels.flat_map(|pixel| match *pixel {
            [red, green, blue] => [red, green, blue, 255],
            _ => [pixel[0], pixel[0], pixel[0], 255],
        });
        Self { width: shape.width, height: shape.height, rgba: rgba.collect() }
    }

    /// The difference of `made` from `clean`: one colour where it is brighter, another where it is darker, as opaque as it is
    /// large.
    pub fn difference(made: &Image, clean: &Image) -> Self {
        let shape = clean.shape;
        let pixels = made.bytes.chunks_exact(shape.channels).zip(clean.bytes.chunks_exact(shape.channels));
        let rgba = pixels.flat_map(|(made, clean)| {
            let sum: i32 = made.iter().zip(clean).map(|(&made, &clean)| i32::from(made) - i32::from(clean)).sum();
            let [red, green, blue] = if sum > 0 { BRIGHTER } else { DARKER };
            [red, green, blue, (sum.unsigned_abs() as usize / shape.channels) as u8]
        });
        Self { width: shape.width, height: shape.height, rgba: rgba.collect() }
    }

    /// The picture with sides of at most `most` pixels, each the mean of a square.
    pub fn shrunk(self, most: usize) -> Self {
        let factor = self.width.max(self.height).div_ceil(most);
        if factor == 1 {
            return self;
        }
        let (width, height) = (self.width.div_ceil(factor), self.height.div_ceil(factor));
        let mut rgba = Vec::with_capacity(width * height * 4);
        for row in 0..height {
            for column in 0..width {
                let rows = row * factor..((row + 1) * factor).min(self.height);
                let columns = column * factor..((column + 1) * factor).min(self.width);
                let count = rows.len() * columns.len();
                for channel in 0..4 {
                    let at =
                        |row: usize, column: usize| usize::from(self.rgba[(row * self.width + column) * 4 + channel]);
                    let sum: usize = rows
                        .clone()
                        .flat_map(|row| columns.clone().map(move |column| (row, column)))
                        .map(|(row, column)| at(row, column))
                        .sum();
                    rgba.push((sum / count) as u8);
                }
            }
        }
        Self { width, height, rgba }
    }
}

/// One PNG with the pictures side by side, as a data URI.
///
/// # Errors
/// None that content can cause.
pub fn row(pictures: Vec<Picture>) -> Result<String> {
    let pictures: Vec<_> = pictures.into_iter().map(|picture| picture.shrunk(ROW_SIDE)).collect();
    png(&pictures, pictures.len(), GAP)
}

/// One PNG with the pictures in rows of `columns` without gaps, as a data URI; and the width and height of one of them, the
/// largest.
///
/// # Errors
/// None that content can cause.
pub fn sheet(pictures: Vec<Picture>, columns: usize) -> Result<(String, [usize; 2])> {
    let pictures: Vec<_> = pictures.into_iter().map(|picture| picture.shrunk(SHEET_SIDE)).collect();
    Ok((png(&pictures, columns, 0)?, largest(&pictures)))
}

/// The greatest width and height.
fn largest(pictures: &[Picture]) -> [usize; 2] {
    let most = |side: fn(&Picture) -> usize| pictures.iter().map(side).max().unwrap_or(1);
    [most(|picture| picture.width), most(|picture| picture.height)]
}

fn png(pictures: &[Picture], columns: usize, gap: usize) -> Result<String> {
    let [cell_width, cell_height] = largest(pictures);
    let (width, height) = (columns * (cell_width + gap) - gap, pictures.len().div_ceil(columns) * cell_height);
    if pictures.is_empty() {
        anyhow::bail!("there is nothing to draw");
    }
    let mut canvas = vec![0; width * height * 4];
    for (index, picture) in pictures.iter().enumerate() {
        let (left, top) = (index % columns * (cell_width + gap), index / columns * cell_height);
        for (row, pixels) in picture.rgba.chunks_exact(picture.width * 4).enumerate() {
            let at = ((top + row) * width + left) * 4;
            canvas[at..at + pixels.len()].copy_from_slice(pixels);
        }
    }
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&canvas));
    written.context("cannot encode a picture")?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(uri: &str) -> (u32, u32, Vec<u8>) {
        let png = STANDARD.decode(uri.strip_prefix("data:image/png;base64,").expect("is a PNG")).expect("is base64");
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("is whole");
        let mut pixels = vec![0; reader.output_buffer_size().expect("is small")];
        let info = reader.next_frame(&mut pixels).expect("is whole");
        (info.width, info.height, pixels)
    }

    #[test]
    fn a_row_is_a_png_of_the_images() {
        let shape = ImageShape { height: 2, width: 3, channels: 1 };
        let image = |value: u8| Picture::of(&Image { shape, bytes: vec![value; 6] });
        let pictures = vec![image(7), image(9)];
        let (width, height, pixels) = decoded(&row(pictures).expect("encodes"));
        assert_eq!((width, height), (8, 2));
        assert_eq!(
            (&pixels[..4], &pixels[12..16], &pixels[20..24]),
            (&[7, 7, 7, 255][..], &[0; 4][..], &[9, 9, 9, 255][..])
        );
    }

    #[test]
    fn a_difference_is_as_opaque_as_it_is_large() {
        let shape = ImageShape { height: 1, width: 3, channels: 1 };
        let image = |bytes: [u8; 3]| Image { shape, bytes: bytes.to_vec() };
        let picture = Picture::difference(&image([10, 0, 7]), &image([0, 20, 7]));
        let [red, green, blue] = BRIGHTER;
        assert_eq!(picture.rgba[..4], [red, green, blue, 10]);
        assert_eq!((picture.rgba[7], picture.rgba[11]), (20, 0));
    }

    #[test]
    fn large_images_are_shrunk_and_sheets_have_rows() {
        let shape = ImageShape { height: 100, width: 50, channels: 3 };
        let pictures = vec![Picture::of(&Image { shape, bytes: vec![50; 15_000] }); 3];
        let (uri, size) = sheet(pictures, 2).expect("encodes");
        let (width, height, pixels) = decoded(&uri);
        assert_eq!((size, width, height), ([13, 25], 26, 50));
        assert_eq!(pixels[..4], [50, 50, 50, 255]);
    }
}
