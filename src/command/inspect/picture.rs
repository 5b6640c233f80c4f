//! `limpid inspect` of a picture: its size and depth, and its numbers as they are in the file.

use std::path::Path;

use anyhow::{Context, Result};

use super::{draw, noise};
use crate::command::print::print;
use crate::error;
use crate::image::{Levels, Samples, to_bytes, to_unit};
use crate::source::settings::Fit;
use crate::source::{count_pages, decode, depth_of, picture_format, read_picture};
use crate::terminal::Drawing;

/// Numbers that no levels scale.
const AS_THEY_ARE: Levels = Levels::Percentile { percentile: [0.0, 100.0] };

/// Prints what is in a picture file.
///
/// # Errors
/// A file that cannot be read or decoded, output that cannot be written.
pub fn inspect_picture(path: &Path, drawing: Drawing) -> Result<()> {
    let file = read_picture(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (format, depth) = (picture_format(&file.bytes).unwrap_or("picture"), depth_of(&file.bytes));
    let fit = Fit { levels: depth.as_ref().map(|_| AS_THEY_ARE), ..Fit::default() };
    let picture = decode(&file.bytes, &fit).map_err(|cause| {
        let path = path.display();
        error::data(match &depth {
            Some((depth, _)) => format!(
                "{path} is a {format} picture of {depth}, which cannot be used: {cause}; on-error = \"skip\" leaves such \
                 pictures out"
            ),
            None => format!(
                "{path} starts as a {format} does, but cannot be decoded: {cause}; copy it again, or have it left out with \
                 on-error = \"skip\""
            ),
        })
    })?;
    let of_several = match (picture.frames, count_pages(&file.bytes)) {
        (2.., _) => format!(", the first of {} frames", picture.frames),
        (_, pages @ 2..) => format!(", the first of {pages} pages"),
        _ => String::new(),
    };
    let deep = depth.as_ref().map_or(String::new(), |(depth, _)| format!(", {depth}"));
    print(format!("{}: a picture of {} ({format}{deep}{of_several})", path.display(), picture.shape))?;
    let mut range = Range::default();
    let (unit, white) = match picture.samples {
        Samples::Bytes(bytes) => {
            range.see(&bytes);
            let mut unit = vec![0.0; bytes.len()];
            to_unit(&bytes, &mut unit);
            (unit, Some(255.0))
        }
        Samples::Floats(numbers) => {
            range.see(&numbers);
            let white = depth.and_then(|(_, white)| white);
            let (least, greatest) = (range.least as f32, range.greatest as f32);
            let is_unit = least >= 0.0 && greatest <= 1.0;
            // Where nothing says what is black and white, they are drawn from the least to the greatest.
            let [black, brightest] = match white {
                Some(white) => [0.0, white],
                None if is_unit => [0.0, 1.0],
                None => [least, greatest],
            };
            let scale = 1.0 / (brightest - black).max(f32::MIN_POSITIVE);
            let unit = numbers.iter().map(|number| (number - black) * scale).collect();
            (unit, white.map(f64::from).or(is_unit.then_some(255.0)))
        }
    };
    draw(&to_bytes(&unit), picture.shape, drawing)?;
    range.print()?;
    noise::print_of_picture(&unit, picture.shape, white, range.greatest - range.least)
}

/// The count, sum, least and greatest of some numbers.
pub struct Range {
    count: u64,
    sum: f64,
    least: f64,
    greatest: f64,
}

impl Default for Range {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, least: f64::INFINITY, greatest: f64::NEG_INFINITY }
    }
}

impl Range {
    /// Takes more of them into account.
    pub fn see<T: Copy + Into<f64>>(&mut self, numbers: &[T]) {
        self.count += numbers.len() as u64;
        for number in numbers.iter().map(|number| (*number).into()) {
            self.sum += number;
            self.least = self.least.min(number);
            self.greatest = self.greatest.max(number);
        }
    }

    /// Prints a line about them, if there are any.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub fn print(&self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let Self { count, sum, least, greatest } = self;
        let mean = sum / *count as f64;
        print(format!("\n{count} numbers, least {least}, mean {mean:.5}, greatest {greatest}"))
    }
}
