//! Lists the image files below a folder, sorted by relative path.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::relative;
use crate::error;
use crate::progress::Progress;
use crate::source::Asker;
use crate::source::walk::{Walk, is_aside};
use crate::store::{self, PathKind, real};

/// Ends of the names of image files, in lower case.
const EXTENSIONS: [&str; 9] = ["png", "jpg", "jpeg", "jfif", "webp", "gif", "bmp", "tif", "tiff"];
/// Ends of the names of image files of unsupported formats.
const OTHER_EXTENSIONS: [&str; 22] = [
    "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "pbm", "pgm", "ppm", "pnm", "tga", "dds", "exr", "hdr", "ico",
    "psd", "svg", "dcm", "dng", "cr2", "nef",
];

/// Ends of the names of tables that may list files.
const TABLES: [&str; 3] = ["csv", "jsonl", "parquet"];

/// Files that are no images by their names.
#[derive(Default)]
struct NoImages {
    count: usize,
    /// The first of them.
    first: Option<PathBuf>,
    /// The first that may be a table of files.
    table: Option<PathBuf>,
}

impl NoImages {
    fn add(&mut self, path: &Path) {
        self.count += 1;
        let table = has_extension(path, &TABLES).then_some(&mut self.table);
        for first in [Some(&mut self.first), table].into_iter().flatten() {
            if first.as_ref().is_none_or(|first| path < first.as_path()) {
                *first = Some(path.to_owned());
            }
        }
    }
}

/// The files below a folder.
pub struct Listing {
    root: PathBuf,
    /// The relative paths of the images, sorted byte by byte.
    pub images: Vec<String>,
    /// Images of unsupported formats.
    others: Vec<PathBuf>,
    no_images: NoImages,
    walk: Walk,
}

impl Listing {
    /// Reports links that were skipped, since the user may count them as data.
    pub fn tell_links(&self, progress: &Progress) {
        self.walk.tell(progress);
    }

    /// Reports both to the user of a command.
    pub fn tell(&self, progress: &Progress) {
        self.tell_links(progress);
        self.tell_others(progress, Asker::Command);
    }

    /// Reports skipped files, likewise.
    pub fn tell_others(&self, progress: &Progress, asker: Asker) {
        if let Some(example) = self.others.iter().min() {
            progress.note(&format!(
                "passed over: {} images of formats that are not read ({}), such as {}; convert them to one that is: PNG, JPEG, WebP, \
                 GIF, BMP or TIFF",
                self.others.len(),
                self.formats(),
                example.display()
            ));
        }
        let NoImages { count, first, table } = &self.no_images;
        let Some(example) = table.as_ref().or(first.as_ref()) else { return };
        let advice = match table {
            Some(_) if asker != Asker::Command => {
                "; if it lists images with their labels or splits, source.folder.csv would read it"
            }
            _ => "",
        };
        let example = example.display();
        progress
            .note(&format!("passed over: {count} files that are no images by their names, such as {example}{advice}"));
    }

    /// How many images there are of each format that is not read, as `3 AVIF, 1 HEIC`.
    fn formats(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for end in self.others.iter().filter_map(|path| path.extension()) {
            *counts.entry(end.to_string_lossy().to_uppercase()).or_default() += 1;
        }
        let counts: Vec<_> = counts.iter().map(|(format, count)| format!("{count} {format}")).collect();
        counts.join(", ")
    }

    /// The error for a folder without images that are read.
    pub fn empty(&self) -> anyhow::Error {
        let root = self.root.display();
        error::data(match self.formats() {
            formats if formats.is_empty() => format!("{root} holds no images"),
            formats => format!("{root} holds no images that are read, but {formats}: convert them, as to PNG"),
        })
    }

    /// The images that another listing of a part of the same folder lacks.
    pub fn outside(&self, part: &Listing) -> Vec<&String> {
        let lacks = |path: &&String| part.images.binary_search(path).is_err();
        let outside: Vec<_> = self.images.iter().filter(lacks).collect();
        if !part.walk.has_links() || outside.is_empty() {
            return outside;
        }
        // What a link leads to has another path there.
        let place = |path: &String| real(&self.root.join(path));
        let read: HashSet<_> = part.images.iter().filter_map(place).collect();
        outside.into_iter().filter(|path| place(path).is_none_or(|place| !read.contains(&place))).collect()
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
    let kind = store::of(root).kind(root).with_context(|| format!("cannot read {}", root.display()))?;
    if kind != Some(PathKind::Folder) {
        let what = if kind.is_some() { "is not a folder" } else { "does not exist" };
        return Err(error::data(format!("{} {what}", root.display())));
    }
    let mut folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    if folders.is_empty() {
        folders.push(root.to_owned());
    }
    let no_images = RefCell::new(NoImages::default());
    let wanted = |path: &Path| {
        let wanted = names_picture(path);
        if !wanted && !is_aside(path) {
            no_images.borrow_mut().add(path);
        }
        wanted
    };
    let mut walk = Walk::new(&folders, false, &wanted)?;
    let files = std::mem::take(&mut walk.files);
    let (images, others): (Vec<_>, _) = files.into_iter().partition(|path| has_extension(path, &EXTENSIONS));
    let no_images = no_images.into_inner();
    let mut images = images.iter().map(|path| relative(path, root)).collect::<Result<Vec<_>>>()?;
    images.sort_unstable();
    Ok(Listing { root: root.to_owned(), images, others, no_images, walk })
}

/// Whether the name of a file says that it is a picture, of a format that is read or not.
pub fn names_picture(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS) || has_extension(path, &OTHER_EXTENSIONS)
}

/// Whether a file has one of these extensions, ignoring case.
fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
}
