//! Names settings in messages about pictures as their user writes them, in a pipeline file or on a command line.

use std::path::Path;

use anyhow::Result;

use crate::error;
use crate::image::ImageShape;

/// The origin of the settings of pictures, for messages: a pipeline file or the options of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// This section of a pipeline file.
    Section(&'static str),
    /// Options of a command.
    Command,
}

impl Asker {
    /// The name of a setting as the user writes it.
    pub fn setting(self, name: &str) -> String {
        match self {
            Asker::Section(section) => format!("{section}.{name}"),
            Asker::Command => format!("--{name}"),
        }
    }
}

/// Checks that a picture has the shape of the first one.
///
/// # Errors
/// A picture of another shape, with advice.
pub fn check_fit(asker: Asker, path: &Path, found: ImageShape, first: &str, expected: ImageShape) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let kind = |shape: ImageShape| if shape.channels == 1 { "grey" } else { "RGB" };
    let (path, (height, width)) = (path.display(), (expected.height, expected.width));
    Err(error::data(if (found.height, found.width) != (height, width) {
        let sides = if asker == Asker::Command { String::new() } else { format!(" = [{height}, {width}]") };
        let [resize, crop] = ["resize", "crop"].map(|name| format!("{}{sides}", asker.setting(name)));
        let (rows, columns) = (found.height, found.width);
        format!(
            "{path} is {rows}×{columns}, but {first} is {height}×{width}; {resize} or {crop} accepts images of any size"
        )
    } else {
        let (found, expected, grey) = (kind(found), kind(expected), asker.setting("grey"));
        format!("{path} is {found}, but {first} is {expected}; {grey} = true makes all of them grey, false RGB")
    }))
}
