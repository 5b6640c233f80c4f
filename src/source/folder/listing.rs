//! Lists the image files below a folder, sorted by relative path.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::relative;
use crate::error;
use crate::progress::Progress;
use crate::source::walk::Walk;

/// Ends of the names of image files, in lower case.
const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "jfif", "webp", "bmp", "tif", "tiff"];
/// Ends of the names of image files of unsupported formats.
const OTHER_EXTENSIONS: [&str; 20] = [
    "gif", "heic", "heif", "avif", "jxl", "jp2", "pbm", "pgm", "ppm", "pnm", "tga", "dds", "exr", "hdr", "ico", "psd",
    "svg", "dcm", "dng", "cr2",
];

/// The files below a folder.
pub struct Listing {
    /// The relative paths of the images, sorted byte by byte.
    pub images: Vec<String>,
    /// Images of unsupported formats.
    others: Vec<PathBuf>,
    walk: Walk,
}

impl Listing {
    /// Reports skipped files, since the user may count them as data.
    pub fn tell(&self, progress: &Progress) {
        self.walk.tell(progress);
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
    list_in(root, &[])
}

/// Like [`list`], for these sub-folders, or for the whole folder if there are none.
///
/// # Errors
/// As [`list`].
pub fn list_in(root: &Path, folders: &[&str]) -> Result<Listing> {
    if !root.is_dir() {
        let what = if root.exists() { "is not a folder" } else { "does not exist" };
        return Err(error::data(format!("{} {what}", root.display())));
    }
    let mut folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    if folders.is_empty() {
        folders.push(root.to_owned());
    }
    let wanted = |path: &Path| has_extension(path, &EXTENSIONS) || has_extension(path, &OTHER_EXTENSIONS);
    let mut walk = Walk::new(&folders, false, &wanted)?;
    let files = std::mem::take(&mut walk.files);
    let (images, others): (Vec<_>, _) = files.into_iter().partition(|path| has_extension(path, &EXTENSIONS));
    let mut images = images.iter().map(|path| relative(path, root)).collect::<Result<Vec<_>>>()?;
    images.sort_unstable();
    Ok(Listing { images, others, walk })
}

/// Whether a file has one of these extensions, ignoring case.
fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
}
