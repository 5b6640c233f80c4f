//! The image files below a folder, in the order of their relative paths.

use std::path::Path;

use anyhow::{Context, Result};

use super::relative;
use crate::error;

/// Ends of the names of image files, in lower case.
const EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"];
/// Most folders inside one another: more are a link that leads back.
const MAX_DEPTH: usize = 64;

/// The relative paths of the image files below `root`, sorted byte by byte. Hidden files and folders are left out, links are
/// followed.
///
/// # Errors
/// No such folder, or one that cannot be read.
pub fn list(root: &Path) -> Result<Vec<String>> {
    if !root.is_dir() {
        let what = if root.exists() { "is not a folder" } else { "does not exist" };
        return Err(error::data(format!("{} {what}", root.display())));
    }
    let mut files = Vec::new();
    walk(root, root, 0, &mut files)?;
    files.sort_unstable();
    Ok(files)
}

fn walk(root: &Path, folder: &Path, depth: usize, files: &mut Vec<String>) -> Result<()> {
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
            walk(root, &path, depth + 1, files)?;
        } else if is_image(&path) && path.metadata().map_or(true, |metadata| metadata.is_file()) {
            files.push(relative(&path, root)?);
        }
    }
    crate::interrupt::check()
}

/// Whether a file's name says that it is an image.
fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}
