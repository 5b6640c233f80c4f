//! Names settings in messages about pictures as their user writes them, in a pipeline file, on a command line or in a call.

use anyhow::Result;

use crate::error;
use crate::image::ImageShape;

/// The origin of the settings of pictures, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// This section of a pipeline file.
    Section(&'static str),
    /// Options of a command.
    Command,
    /// Arguments of a function of another language.
    Call,
}

impl Asker {
    /// The name of a setting as the user writes it.
    pub fn setting(self, name: &str) -> String {
        match self {
            Asker::Section(section) => format!("{section}.{name}"),
            Asker::Command => format!("--{name}"),
            Asker::Call if name == "image" => "column".to_owned(),
            Asker::Call => format!("{name}=True"),
        }
    }

    /// Whether it is a section of a pipeline file.
    pub fn is_section(self) -> bool {
        matches!(self, Asker::Section(_))
    }
}

/// Checks that a picture has the shape of the first one.
///
/// # Errors
/// A picture of another shape, with advice.
pub fn check_fit(asker: Asker, name: &str, found: ImageShape, first: &str, expected: ImageShape) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let kind = |shape: ImageShape| if shape.channels == 1 { "grey" } else { "RGB" };
    let (height, width) = (expected.height, expected.width);
    Err(error::data(if (found.height, found.width) != (height, width) {
        let sides = if asker.is_section() { format!(" = [{height}, {width}]") } else { String::new() };
        let [resize, crop] = ["resize", "crop"].map(|name| format!("{}{sides}", asker.setting(name)));
        let (rows, columns) = (found.height, found.width);
        format!(
            "{name} is {rows}×{columns}, but {first} is {height}×{width}; {resize} or {crop} accepts images of any size"
        )
    } else {
        let (found, expected, grey) = (kind(found), kind(expected), asker.setting("grey"));
        format!("{name} is {found}, but {first} is {expected}; {grey} = true makes all of them grey, false RGB")
    }))
}
