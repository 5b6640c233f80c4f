//! The image files below a folder, in the order of their relative paths.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::relative;
use crate::error;
use crate::progress::Progress;

/// Ends of the names of image files, in lower case.
const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "jfif", "webp", "bmp", "tif", "tiff"];
/// Those of images of other formats.
const OTHER_EXTENSIONS: [&str; 20] = [
    "gif", "heic", "heif", "avif", "jxl", "jp2", "pbm", "pgm", "ppm", "pnm", "tga", "dds", "exr", "hdr", "ico", "psd",
    "svg", "dcm", "dng", "cr2",
];
/// Most folders inside one another: more are a link that leads back.
const MAX_DEPTH: usize = 64;

/// The files below a folder.
#[derive(Default)]
pub struct Listing {
    /// The relative paths of the images, sorted byte by byte.
    pub images: Vec<String>,
    /// Images of formats that are not read.
    others: Vec<PathBuf>,
}

impl Listing {
    /// Says what is passed over: whoever put it there may take it for part of the data.
    pub fn tell(&self, progress: &Progress) {
        let Some(example) = self.others.iter().min() else { return };
        progress.note(&format!(
            "passed over: {} images of formats that are not read (PNG, JPEG, WebP, BMP and TIFF are), such as {}",
            self.others.len(),
            example.display()
        ));
    }
}

/// Lists the images below `root`. Hidden files and folders are left out, links are followed.
///
/// # Errors
/// No such folder, or one that cannot be read.
pub fn list(root: &Path) -> Result<Listing> {
    if !root.is_dir() {
        let what = if root.exists() { "is not a folder" } else { "does not exist" };
        return Err(error::data(format!("{} {what}", root.display())));
    }
    let mut listing = Listing::default();
    walk(root, root, 0, &mut listing)?;
    listing.images.sort_unstable();
    Ok(listing)
}

fn walk(root: &Path, folder: &Path, depth: usize, listing: &mut Listing) -> Result<()> {
    if depth > MAX_DEPTH {
        let message = format!("{} is more than {MAX_DEPTH} folders deep", folder.display());
        return Err(error::data(format!("{message}; does a link lead back to a folder above it?")));
    }
    let unreadable = || format!("cannot read the folder {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().with_context(unreadable)?;
        if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
            walk(root, &path, depth + 1, listing)?;
        } else if has_extension(&path, &EXTENSIONS) && path.metadata().map_or(true, |metadata| metadata.is_file()) {
            listing.images.push(relative(&path, root)?);
        } else if has_extension(&path, &OTHER_EXTENSIONS) {
            listing.others.push(path);
        }
    }
    crate::interrupt::check()
}

/// Whether a file's name ends in one of these, in capitals or not.
fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
}
