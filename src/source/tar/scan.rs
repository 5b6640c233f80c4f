//! Reads a tar archive once: where each picture is, what its header tells, and the labels beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result};

use super::list::Sample;
use crate::source::picture::{MAX_FILE, shape_of, turn};
use crate::source::settings::Fit;
use crate::source::split_name::{Role, roles};
use crate::source::{explained, gzip};
use crate::{error, interrupt, store};

/// Ends of the names of pictures, in lower case.
const PICTURES: [&str; 9] = ["png", "jpg", "jpeg", "jfif", "webp", "gif", "bmp", "tif", "tiff"];
/// Largest file of a label.
const MOST_LABEL: u64 = 1 << 10;
/// Most pictures in an archive.
const MOST_PICTURES: usize = 1 << 26;

/// What an archive holds.
#[derive(Default)]
pub struct Found {
    /// Its pictures with the texts of their labels, in the order of the archive.
    pub pictures: Vec<(Sample, Option<String>)>,
    /// The numbers of other files, by the ends of their names.
    pub others: BTreeMap<String, usize>,
    /// The splits that the names of the archive and of its folders say.
    pub roles: BTreeSet<Role>,
}

/// Reads an archive, the `number`th, with pictures that are converted by `fit`; `label` is the end of the names of files with labels.
///
/// # Errors
/// A file that cannot be read, is no tar archive or is compressed.
pub fn scan(path: &Path, number: u32, fit: &Fit, label: Option<&str>) -> Result<Found> {
    let file = store::reader(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let bad = |what: String| error::data(format!("{}: {what}", path.display()));
    if std::io::BufRead::fill_buf(&mut reader).is_ok_and(gzip::is_gzip) {
        let advice = "unpack it with gunzip: pictures of an archive are read at their places";
        return Err(bad(format!("it is compressed; {advice}")));
    }
    let mut found = Found::default();
    if let Some(name) = path.file_stem() {
        found.roles.extend(roles(&name.to_string_lossy()));
    }
    // The labels of the samples whose pictures are yet to come, or have come, by their keys.
    let (mut labels, mut keys) = (BTreeMap::new(), BTreeMap::new());
    let mut archive = tar::Archive::new(reader);
    let damaged =
        |cause: std::io::Error| explained(path, "a tar archive", bad(format!("it is no whole tar archive: {cause}")));
    let mut entries = 0;
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        entries += 1;
        if entries % 1024 == 0 {
            interrupt::check()?;
        }
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            // A link, perhaps to a picture; folders hold nothing themselves.
            *found.others.entry("(links)".to_owned()).or_default() += usize::from(!kind.is_dir());
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| bad("it has a name that is not UTF-8".to_owned()))?;
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", &name));
        let Some((stem, end)) = file.split_once('.').filter(|(stem, _)| !stem.is_empty()) else {
            *found.others.entry("(none)".to_owned()).or_default() += 1;
            continue;
        };
        let (key, end) = (format!("{folder}/{stem}"), end.to_lowercase());
        let last = end.rsplit('.').next().unwrap_or_default();
        if PICTURES.contains(&last) && !keys.contains_key(&key) {
            if found.pictures.len() == MOST_PICTURES {
                return Err(bad(format!("it has more than {MOST_PICTURES} pictures")));
            }
            keys.insert(key, found.pictures.len());
            found.roles.extend(roles(folder));
            let (at, len) = (entry.raw_file_position(), entry.size());
            let mut bytes = Vec::new();
            let _turn = turn(len);
            if len <= MAX_FILE {
                entry.read_to_end(&mut bytes).map_err(damaged)?;
            }
            let header = shape_of(Cursor::new(&bytes), fit);
            let sample = Sample { archive: number, at, len, name: name.clone(), label: None, header };
            found.pictures.push((sample, None));
        } else if label.is_some_and(|label| label == end) {
            let mut text = String::new();
            (&mut entry).take(MOST_LABEL).read_to_string(&mut text).map_err(damaged)?;
            if entry.size() > MOST_LABEL {
                return Err(bad(format!("its file {name} has {} bytes, too many for a label", entry.size())));
            }
            labels.insert(key, text.trim().to_owned());
        } else {
            *found.others.entry(end).or_default() += 1;
        }
    }
    if entries == 0 {
        return Err(explained(path, "a tar archive", bad("it holds no files".to_owned())));
    }
    for (key, at) in keys {
        found.pictures[at].1 = labels.remove(&key).filter(|label| !label.is_empty());
    }
    Ok(found)
}
