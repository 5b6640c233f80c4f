//! Recognises data, and proposes the source that reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use arrow_schema::DataType;

use crate::command::path_kind::{Kind, recognised};
use crate::error;
use crate::image::{PerSplit, Split};
use crate::source::{Folder, IdxHeader, Role, describe_npy, look_at_folder, names_in_npz, role_of, table_source};
use crate::table;
use crate::text::few;

/// Names of a column of images.
const IMAGES: [&str; 5] = ["image", "img", "images", "pixels", "picture"];

/// A source for some data.
#[derive(Clone)]
pub struct Proposal {
    /// The kind of source.
    kind: &'static str,
    /// Its settings as TOML, in order.
    settings: Vec<(&'static str, String)>,
    /// Whether the test images are drawn by `test-fraction`.
    pub is_drawn: bool,
    /// What was seen.
    pub comments: Vec<String>,
}

impl Proposal {
    fn new(kind: &'static str, settings: &[(&'static str, &str)], is_drawn: bool, comment: String) -> Self {
        let settings = settings.iter().map(|(key, value)| (*key, quoted(value))).collect();
        Self { kind, settings, is_drawn, comments: vec![comment] }
    }

    /// Adds a setting, and a comment on what it does.
    pub fn add(&mut self, key: &'static str, value: String, comment: String) {
        self.settings.push((key, value));
        self.comments.push(comment);
    }

    /// Without labels, if they can be left out: those of a folder, which `cause` says cannot be used.
    pub fn without_labels(&self, cause: &anyhow::Error) -> Option<Self> {
        let is_of_data = error::kind(cause) == error::Kind::Data;
        if self.kind != "folder" || !is_of_data || self.settings.iter().any(|(key, _)| *key == "csv") {
            return None;
        }
        let mut without = self.clone();
        without.add("labels", quoted("none"), format!("Without labels: {}.", error::message(cause)));
        Some(without)
    }

    /// As a line of the section `source`.
    pub fn source(&self, test_fraction: Option<f64>) -> String {
        let mut entries: Vec<_> = self.settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        entries.extend(test_fraction.map(|fraction| format!("test-fraction = {fraction:?}")));
        format!("{} = {{ {} }}", self.kind, entries.join(", "))
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The settings of a source as TOML, by their keys.
type Settings = &'static [(&'static str, &'static str)];

/// Sources that need no data of the user's, their settings, and what they are.
const OWN: [(&str, Settings, &str); 4] = [
    ("mnist", &[], "The MNIST handwritten digits, from MNIST_DIR or where other programs keep them, or downloaded."),
    ("strokes", &[("train", "2000"), ("test", "500")], "Made-up digits, which need no data."),
    ("scenes", &[("train", "400"), ("test", "40")], "Made-up pictures of textured shapes, which need no data."),
    (
        "documents",
        &[("train", "400"), ("test", "40")],
        "Made-up pages of text, each stained and clean, which need no data.",
    ),
];

/// The source of this name that needs no data.
pub fn own(name: Option<&str>) -> Option<Proposal> {
    let (kind, settings, comment) = OWN.into_iter().find(|(kind, ..)| Some(*kind) == name)?;
    let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let comment = format!("{comment} limpid init FOLDER|FILE writes a pipeline for your data.");
    Some(Proposal { kind, settings, is_drawn: false, comments: vec![comment] })
}

/// Proposes a source for a folder or a file.
///
/// # Errors
/// Data that no source reads, with what they are and what to do.
pub fn propose(data: &Path) -> Result<Proposal> {
    match recognised(data)? {
        Ok(Kind::Folder) => of_folder(data),
        Ok(Kind::Picture) => {
            let folder = data.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let (data, folder) = (data.display(), folder.display());
            Err(error::settings(format!("{data} is one picture: name a folder of them, as limpid init {folder}")))
        }
        Ok(kind) => of_files(kind_of(data, &kind), &[data.to_owned()]),
        Err(_) if lists_pictures(data) => {
            let folder = data.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(listed(folder, data))
        }
        Err((what, advice)) => match by_name(data) {
            Some(kind) => of_files(kind, &[data.to_owned()]),
            None => Err(error::data(format!("{} is {what}; {advice}", data.display()))),
        },
    }
}

/// The kind of source for a file.
fn kind_of(path: &Path, kind: &Kind) -> &'static str {
    match kind {
        Kind::Parquet => of_table(path).unwrap_or("parquet"),
        Kind::Array => "npy",
        _ => "idx",
    }
}

/// The kind of source for a file that has no start of its own, or one of several uses.
fn by_name(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    Some(match () {
        () if ends(&[".csv", ".csv.gz", ".tsv", ".tsv.gz"]) => table_source(path).unwrap_or("columns"),
        () if ends(&[".npz"]) => "npz",
        () if ends(&[".tar"]) => "tar",
        () => return None,
    })
}

/// Whether a file is named as a table in text.
fn is_text_table(path: &Path) -> bool {
    matches!(by_name(path), Some("columns" | "vectors"))
}

/// The source of a Parquet table of numbers, rather than one with a column of images.
fn of_table(path: &Path) -> Option<&'static str> {
    let footer = table::footer(path).ok()?;
    let has_images = footer.schema().fields().iter().any(|field| {
        let is_named = IMAGES.contains(&field.name().as_str());
        is_named || matches!(field.data_type(), DataType::Binary | DataType::LargeBinary | DataType::Struct(_))
    });
    if has_images { None } else { table_source(path) }
}

/// A source for a folder, by the files in it.
fn of_folder(folder: &Path) -> Result<Proposal> {
    let unreadable = |cause| anyhow::Error::new(cause).context(format!("cannot read {}", folder.display()));
    let mut kinds: BTreeMap<&'static str, Vec<PathBuf>> = BTreeMap::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || !path.is_file() {
            continue;
        }
        let kind = match recognised(&path)? {
            Ok(Kind::Picture | Kind::Folder) => continue,
            Ok(kind) => Some(kind_of(&path, &kind)),
            // A table in text beside pictures lists them.
            Err(_) => by_name(&path),
        };
        kinds.entry(kind.unwrap_or("")).or_default().push(path);
    }
    kinds.values_mut().for_each(|files| files.sort());
    let pictures = Folder::files(folder, None)?.len();
    let shown = folder.display().to_string();
    let tables = ["columns", "vectors"].into_iter().filter_map(|kind| kinds.get(kind)).flatten();
    if let Some(table) = tables.into_iter().find(|path| lists_pictures(path)) {
        return Ok(listed(folder, table));
    }
    if pictures > 0 {
        let comment = format!("A folder of {pictures} pictures.");
        let layout = Proposal::new("folder", &[("path", &shown)], false, comment);
        return Ok(with_fraction(layout, folder));
    }
    let deep = |end: &str| {
        glob::glob(&format!("{}/**/*.{end}", glob::Pattern::escape(&shown)))
            .is_ok_and(|mut found| found.next().is_some())
    };
    for kind in ["idx", "npz", "npy", "columns", "vectors", "tar"] {
        if let Some(files) = kinds.get(kind) {
            return of_files(kind, files);
        }
    }
    if kinds.contains_key("parquet") || deep("parquet") {
        let names_splits = |role: Role| {
            let found =
                glob::glob(&format!("{}/**/*.parquet", glob::Pattern::escape(&shown))).into_iter().flatten().flatten();
            found
                .map(|path| path.strip_prefix(folder).map_or(path.clone(), Path::to_owned))
                .any(|path| crate::source::roles(&path.to_string_lossy()).contains(&role))
        };
        let has_test = names_splits(Role::Test) || names_splits(Role::Validation);
        let drawn = !(names_splits(Role::Train) && has_test);
        return Ok(Proposal::new("parquet", &[("path", &shown)], drawn, "A folder of Parquet files.".to_owned()));
    }
    Err(error::data(format!("{shown} holds no images that limpid reads: it is {}", look_at_folder(folder))))
}

/// Whether a table in text lists pictures that are there, by a column of files.
fn lists_pictures(path: &Path) -> bool {
    let first = || -> Option<bool> {
        let mut reader = csv::Reader::from_path(path).ok()?;
        let head = reader.headers().ok()?.clone();
        let record = reader.records().next()?.ok()?;
        let is_file = |name: &str| {
            let name = name.to_lowercase();
            ["file_name", "file", "filename", "path", "image", "name"].contains(&name.as_str())
        };
        let at = head.iter().position(is_file)?;
        Some(path.with_file_name(record.get(at)?).is_file())
    };
    is_text_table(path) && first().unwrap_or_default()
}

/// A source for the pictures that a table in their folder lists.
fn listed(folder: &Path, table: &Path) -> Proposal {
    let comment = "A table of pictures, with their labels and splits if it has columns for them.".to_owned();
    let (folder, table) = (folder.display().to_string(), table.display().to_string());
    Proposal::new("folder", &[("path", &folder), ("csv", &table)], true, comment)
}

/// A folder's source; its draw has a setting for the share only where there are no splits, so that it may always be given.
fn with_fraction(mut proposal: Proposal, folder: &Path) -> Proposal {
    let tables = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];
    if let Some(table) = tables.into_iter().find(|name| folder.join(name).is_file()) {
        proposal.comments.push(format!("{table} in it says the labels, if it has a column for them."));
    }
    proposal.is_drawn = true;
    proposal
}

/// A source for some files of a kind.
fn of_files(kind: &'static str, files: &[PathBuf]) -> Result<Proposal> {
    match kind {
        "npz" => of_archive(&files[0]),
        "idx" | "npy" => of_arrays(kind, files),
        _ => Ok(of_splits(kind, files)),
    }
}

/// The files of train and test by their names; all for training if none names a test split.
fn of_splits(kind: &'static str, files: &[PathBuf]) -> Proposal {
    let of = |wanted: Role| files.iter().find(|path| role_of(&stem(path)) == Some(wanted));
    let test = of(Role::Test).or(of(Role::Validation)).filter(|_| of(Role::Train).is_some());
    let validation = of(Role::Validation).filter(|validation| test.is_some_and(|test| test != *validation));
    let train = of(Role::Train).unwrap_or(&files[0]).display().to_string();
    let what = match kind {
        "columns" => "A table with a column for each pixel.",
        "vectors" => "A table of numbers, each column of which is scaled to [0, 1].",
        "tar" => "Pictures in tar archives.",
        _ => "A Parquet file.",
    };
    let comment = match files.len() {
        1 => what.to_owned(),
        count => format!(
            "{what} There are {count} such files: {}.",
            few(&files.iter().map(|file| stem(file)).collect::<Vec<_>>())
        ),
    };
    match test {
        // The test table of a competition has no labels, and is one all the same.
        Some(test) => {
            let test = test.display().to_string();
            let validation = validation.map(|validation| validation.display().to_string());
            let mut settings = vec![("train", train.as_str()), ("test", &test)];
            settings.extend(validation.as_deref().map(|validation| ("validation", validation)));
            Proposal::new(kind, &settings, false, comment)
        }
        None if kind == "tar" && files.len() > 1 => {
            let all = files[0].with_file_name("*.tar").display().to_string();
            Proposal::new(kind, &[("train", &all)], true, comment)
        }
        None => Proposal::new(kind, &[("train", &train)], true, comment),
    }
}

/// The name of a file without its folder and its ends.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// A source for an archive of arrays, by their names.
fn of_archive(path: &Path) -> Result<Proposal> {
    let names = names_in_npz(path)?;
    let found = roles_of(&names.iter().map(|name| (name.clone(), is_label(name))).collect::<Vec<_>>());
    let comment = format!("An archive of the arrays {}.", few(&names));
    let Some(train) = found.images(Split::Train).or(names.first()).cloned() else {
        return Err(error::data(format!("{} holds no arrays", path.display())));
    };
    let settings = [vec![("path", path.display().to_string())], found.settings(train)].concat();
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Ok(Proposal::new("npz", &settings, found.images(Split::Test).is_none(), comment))
}

/// A source for files of one array each: images have more dimensions than labels.
fn of_arrays(kind: &'static str, files: &[PathBuf]) -> Result<Proposal> {
    let is_label = |path: &PathBuf| match kind {
        "idx" => IdxHeader::read(path).is_ok_and(|header| header.sizes.len() < 3),
        _ => describe_npy(path).is_ok_and(|what| what.matches('×').count() < 2),
    };
    let named: Vec<_> = files.iter().map(|path| (path.display().to_string(), is_label(path))).collect();
    let found = roles_of(&named);
    let first = || named.iter().find(|(_, is_label)| !is_label).map(|(name, _)| name);
    let Some(train) = found.images(Split::Train).or_else(first).cloned() else {
        return Err(error::data(format!(
            "{} holds labels: name the file of the images, or their folder",
            files[0].display()
        )));
    };
    let settings = found.settings(train.clone());
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let what = if kind == "idx" { "IDX files" } else { "NumPy arrays" };
    let is_drawn = found.images(Split::Test).is_none();
    let mut proposal =
        Proposal::new(kind, &settings, is_drawn, format!("{what}, of images and labels by their sizes."));
    if kind == "idx" && stem(Path::new(&train)).starts_with("emnist") {
        proposal.settings.push(("transpose", "true".to_owned()));
        proposal.comments.push("The images of EMNIST lie on their side: rows and columns are exchanged.".to_owned());
    }
    Ok(proposal)
}

/// Whether a name is one of labels.
fn is_label(name: &str) -> bool {
    let name = name.to_lowercase();
    name.contains("label") || name.contains("target") || name.starts_with("y_") || name == "y"
}

/// The names of images and of labels of each split, where there are any.
struct Found(PerSplit<(Option<String>, Option<String>)>);

impl Found {
    /// Those of the images of a split.
    fn images(&self, split: Split) -> Option<&String> {
        self.0[split as usize].0.as_ref()
    }

    /// As settings, with these training images.
    fn settings(&self, train: String) -> Vec<(&'static str, String)> {
        const KEYS: PerSplit<[&str; 2]> =
            [["train", "train-labels"], ["test", "test-labels"], ["validation", "validation-labels"]];
        let mut settings = Vec::new();
        for (split, [images_key, labels_key]) in Split::ALL.into_iter().zip(KEYS) {
            let (images, labels) = &self.0[split as usize];
            let images = if split == Split::Train { Some(&train) } else { images.as_ref() };
            let Some(images) = images else { continue };
            settings.push((images_key, images.clone()));
            settings.extend(labels.clone().map(|labels| (labels_key, labels)));
        }
        settings
    }
}

/// What names are of which split, being those of labels or not. What names no split is for training, and what is for validation is
/// for testing where nothing else is.
fn roles_of(names: &[(String, bool)]) -> Found {
    let of = |wanted: Role, is_label: bool| {
        let role = |name: &str| {
            let name = Path::new(name).file_name().map_or(name.to_owned(), |name| name.to_string_lossy().into_owned());
            if name.starts_with("t10k") { Some(Role::Test) } else { role_of(&name) }
        };
        let fits = |found: Option<Role>| found == Some(wanted) || (found.is_none() && wanted == Role::Train);
        names.iter().find(|(name, label)| *label == is_label && fits(role(name))).map(|(name, _)| name.clone())
    };
    let both = |wanted: Role| (of(wanted, false), of(wanted, true));
    let (train, test, validation) = (both(Role::Train), both(Role::Test), both(Role::Validation));
    Found(if test.0.is_some() { [train, test, validation] } else { [train, validation, (None, None)] })
}
