//! The formats of picture files, and what each can hold.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Depth, Header, MOST_BYTES, MOST_SIDE, tiff_writer};
use crate::{error, source};

/// A format of picture files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 8 or 16 bits, alpha.
    Png,
    /// 8 or 16 bits or floats, alpha.
    Tiff,
    /// 8 bits.
    Jpeg,
    /// 8 bits, alpha; written without loss.
    WebP,
    /// 8 bits, alpha with colours alone, no profile.
    Bmp,
}

impl Format {
    /// The format that the name of a file says.
    pub fn of_name(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "png" => Format::Png,
            "tif" | "tiff" => Format::Tiff,
            "jpg" | "jpeg" | "jfif" => Format::Jpeg,
            "webp" => Format::WebP,
            "bmp" => Format::Bmp,
            _ => return None,
        })
    }

    /// Whether the name of a file says that it is a picture of a format that is not written.
    pub fn is_other(path: &Path) -> bool {
        source::names_picture(path) && Self::of_name(path).is_none()
    }

    /// Where a picture of this name is written below another folder, and its format: those of the name but for a GIF, whose palette holds
    /// few of the colours that a model makes.
    pub fn of_result(name: &Path) -> Option<(PathBuf, Self)> {
        let is_gif = name.extension().is_some_and(|end| end.eq_ignore_ascii_case("gif"));
        let name = if is_gif { name.with_extension("png") } else { name.to_owned() };
        Self::of_name(&name).map(|format| (name, format))
    }

    fn name(self) -> &'static str {
        match self {
            Format::Png => "PNG",
            Format::Tiff => "TIFF",
            Format::Jpeg => "JPEG",
            Format::WebP => "WebP",
            Format::Bmp => "BMP",
        }
    }

    /// Checks that a file of this format can hold such a picture.
    ///
    /// # Errors
    /// It cannot, with a format that can.
    pub fn check(self, header: &Header) -> Result<()> {
        let refused = |what: String, advice: &str| {
            Err(error::settings(format!("a {} file cannot hold {what}; name {advice}", self.name())))
        };
        let deep = match self {
            Format::Tiff => true,
            Format::Png => header.depth != Depth::F32,
            Format::Jpeg | Format::WebP | Format::Bmp => header.depth == Depth::U8,
        };
        if !deep {
            let advice = if header.depth == Depth::F32 { "a .tif" } else { "a .png or a .tif" };
            return refused(format!("numbers of {}", header.depth.name()), advice);
        }
        if header.has_alpha() && (self == Format::Jpeg || self == Format::Bmp && header.channels == 2) {
            return refused("transparency".to_owned(), "a .png, .tif or .webp");
        }
        if header.premultiplied && self != Format::Tiff {
            return refused("colours that are multiplied by their transparency".to_owned(), "a .tif");
        }
        let most = match self {
            Format::Png | Format::Tiff => MOST_SIDE as usize,
            Format::Jpeg => (1 << 16) - 1,
            Format::WebP => 1 << 14,
            Format::Bmp => 1 << 15,
        };
        if header.height.max(header.width) > most {
            let what = format!("a picture of {}×{} pixels, only up to {most}×{most}", header.height, header.width);
            return refused(what, "a .png or a .tif");
        }
        if !matches!(self, Format::Png | Format::Tiff) && header.row_bytes().saturating_mul(header.height) > MOST_BYTES
        {
            let what = format!("pixels of more than {} MiB", MOST_BYTES >> 20);
            return refused(what, "a .png or a .tif");
        }
        if self == Format::Tiff && !tiff_writer::fits(header) {
            return refused("pixels of 4 GiB".to_owned(), "a .png");
        }
        Ok(())
    }

    /// Checks that a file of this format can hold several pages.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_pages(self) -> Result<()> {
        if self == Format::Tiff {
            return Ok(());
        }
        let name = self.name();
        let message = format!("it has several pages, which a {name} file cannot hold; name a .tif");
        Err(error::settings(format!("{message}, or take the first with --pages first")))
    }

    /// Whether it holds a colour profile.
    pub fn has_profile(self) -> bool {
        self != Format::Bmp
    }
}
