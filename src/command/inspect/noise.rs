//! The estimated noise level of images, as `limpid inspect` prints it.

use anyhow::Result;

use crate::command::print::print;
use crate::image::ImageShape;
use crate::quality::noise_level::noise_level;
use crate::table::{Images, Table};

/// Images of a table whose noise is estimated: its first ones.
const IMAGES: u64 = 16;

/// Prints the estimate for a picture scaled to [0, 1], if it is large enough for one: beside that of a range up to `white`, or in the
/// unit of numbers that are so far apart.
pub fn print_of_picture(image: &[f32], shape: ImageShape, white: Option<f64>, apart: f64) -> Result<()> {
    let levels = noise_level(image, shape).into_iter();
    match white {
        Some(white) => print_levels(levels.collect(), Some(white)),
        None => print_levels(levels.map(|level| level * apart).collect(), None),
    }
}

/// Prints the estimate for the first images of a table, if they are large enough for one.
pub fn print_of_table(table: &Table) -> Result<()> {
    let Some(extent) = table.content().extent() else { return Ok(()) };
    let mut levels = Vec::new();
    table.first(IMAGES, |batch| {
        let images = Images::of(batch, extent)?;
        levels.extend(images.shapes().split(&images.numbers()).filter_map(|(shape, image)| noise_level(image, shape)));
        Ok(())
    })?;
    print_levels(levels, Some(255.0))
}

fn print_levels(mut levels: Vec<f64>, white: Option<f64>) -> Result<()> {
    levels.sort_by(f64::total_cmp);
    let Some(median) = levels.get(levels.len() / 2) else { return Ok(()) };
    let of = if levels.len() == 1 { String::new() } else { format!(", median of {} images", levels.len()) };
    let range = white.map_or(String::new(), |white| format!(" of a range of 1, {:.1} of {white}", white * median));
    print(format!("\nnoise\n  estimated standard deviation {median:.4}{range}{of}"))
}
