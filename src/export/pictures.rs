//! The images of a run as PNG files: under the names that the pictures had, or in folders of their labels.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path};
use std::rc::Rc;

use anyhow::Result;
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use rayon::prelude::*;

use super::Source;
use crate::image::{Classes, ImageShape, Split};
use crate::picture::{Depth, Format, Header, Shared, Writer, of_numbers};
use crate::progress::Progress;
use crate::store;
use crate::table::layout::PictureDepth;
use crate::table::{self, FileRecord, Images, Table, ids, labels, write_file, write_file_once};
use crate::{error, interrupt};

/// Longest name of a label that becomes a folder, and of a picture without its page and its end, in bytes: a file has at most 255, and
/// needs some more while it is written.
const MOST_NAME: usize = 200;

/// The names that images have as files, without their end.
#[derive(Debug, Default)]
pub struct Names(HashMap<(Split, i64), String>);

impl Names {
    /// Those in a table of files that ingest has written; none if there is no table.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        if !store::exists(path) {
            return Ok(Self::default());
        }
        let metadata = table::footer(path)?;
        let bad = |cause: String| error::data(format!("{}: {cause}", path.display()));
        let fields = metadata.schema().fields().len();
        let all: Vec<_> = (0..fields).collect();
        let mut files = Vec::new();
        for batch in table::columns(path, &metadata, &all, 4 << 20, 1 << 13)? {
            let batch = batch.map_err(bad)?;
            let numbers = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>();
            let texts = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
            let (Some(ids), Some(splits), Some(paths)) = (numbers("id"), texts("split"), texts("path")) else {
                return Err(bad("it is no table of files".to_owned()));
            };
            let pages = numbers("page");
            for row in 0..batch.num_rows() {
                let split = Split::ALL.into_iter().find(|split| split.name() == splits.value(row));
                let split = split.ok_or_else(|| bad(format!("no split is called {}", splits.value(row))))?;
                files.push((split, ids.value(row), paths.value(row).to_owned(), pages.map(|pages| pages.value(row))));
            }
        }
        Ok(Self::of(files))
    }

    /// Names that are distinct in each split: without the end of the file's own name, and with it where two differ in nothing else.
    fn of(files: Vec<(Split, i64, String, Option<i64>)>) -> Self {
        let name = |(split, _, path, page): &(Split, i64, String, Option<i64>), whole: bool| {
            // Nothing leads out of the folder that is written to.
            let parts = Path::new(path).components().filter_map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            });
            let mut parts: Vec<_> = parts.collect();
            if parts.len() > 1 && parts[0] == split.name() {
                parts.remove(0);
            }
            let last = parts.pop().unwrap_or_default();
            let stem = if whole { last } else { last.rsplit_once('.').map_or(last, |(stem, _)| stem) };
            let page = page.map_or(String::new(), |page| format!("-{page:04}"));
            let stem = format!("{}{page}", &stem[..stem.floor_char_boundary(MOST_NAME)]);
            parts.push(&stem);
            parts.join("/")
        };
        let mut taken: BTreeMap<(Split, String), usize> = BTreeMap::new();
        let both = files.iter().map(|file| [name(file, false), name(file, true)]).collect::<Vec<_>>();
        for (file, names) in files.iter().zip(&both) {
            for name in BTreeSet::from_iter(names) {
                *taken.entry((file.0, name.clone())).or_default() += 1;
            }
        }
        let named = files.iter().zip(both).filter_map(|((split, id, ..), names)| {
            let name = names.into_iter().find(|name| taken.get(&(*split, name.clone())) == Some(&1))?;
            Some(((*split, *id), name))
        });
        Self(named.collect())
    }

    /// The name of an image below the folder of its split: that of its file, or its id in the folder of its label.
    fn name(&self, split: Split, id: i64, label: Option<i64>, folders: &Folders) -> String {
        let name = match (self.0.get(&(split, id)), label) {
            (Some(name), _) => name.clone(),
            (None, Some(label)) => format!("{}/{id:06}", folders.name(label)),
            (None, None) => format!("{id:06}"),
        };
        format!("{}/{name}.png", split.name())
    }
}

/// The folders of labels.
struct Folders(Classes);

impl Folders {
    /// The names of the classes, or numbers if not all can be names of folders.
    fn of(classes: Classes) -> Self {
        let usable = |name: &String| {
            let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
            (1..=MOST_NAME).contains(&name.len()) && !name.starts_with('.') && !name.contains(odd)
        };
        Self(classes.filter(|names| names.iter().all(usable)))
    }

    fn name(&self, label: i64) -> String {
        let named = self.0.as_ref().and_then(|names| names.get(usize::try_from(label).ok()?));
        named.cloned().unwrap_or_else(|| label.to_string())
    }
}

/// How pictures are written.
pub struct Pictures<'a> {
    /// Their names.
    pub names: &'a Names,
    /// Their depth.
    pub depth: PictureDepth,
    /// Whether several processes may write the same ones.
    pub at_once: bool,
}

impl Pictures<'_> {
    /// Writes the images in `tables` to `folder`, in a folder for each set of tables with one for each split. All that it makes is
    /// synced, `folder` itself is not.
    ///
    /// # Errors
    /// Unreadable tables, images that PNG cannot hold, the file system, interruption.
    pub fn write_all(&self, tables: &[Source], folder: &Path, progress: &Progress) -> Result<()> {
        let of_images = tables.iter().filter(|source| source.table.content().extent().is_some());
        let total = of_images.clone().map(|source| source.table.rows()).sum();
        let task = progress.task("pictures", total, "pictures");
        for Source { set, split, table } in of_images {
            self.write(set.name(), *split, table, folder, &|rows| task.advance(rows))?;
        }
        Ok(())
    }

    /// Writes the images of a table, likewise.
    ///
    /// # Errors
    /// As [`Self::write_all`]; a table without images.
    pub fn write(
        &self,
        set: &str,
        split: Split,
        table: &Table,
        folder: &Path,
        rows_done: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<FileRecord>> {
        let (extent, folders) = (table.extent()?, Folders::of(table.classes()));
        let (mut files, mut made) = (Vec::new(), BTreeSet::new());
        self.depth.check(extent.channels())?;
        let write_picture = if self.at_once { write_file_once } else { write_file };
        for batch in table.all() {
            interrupt::check()?;
            let batch = batch?;
            let (ids, labels) = (ids(&batch)?, labels(&batch)?);
            let images = Images::of(&batch, extent)?;
            let numbers = images.numbers();
            let name = |row: usize| {
                let label = labels.is_valid(row).then(|| labels.value(row));
                format!("{set}/{}", self.names.name(split, ids.value(row), label, &folders))
            };
            let names: Vec<_> = (0..batch.num_rows()).map(name).collect();
            for parent in names.iter().flat_map(|name| Path::new(name).ancestors().skip(1)) {
                if !made.contains(parent) {
                    store::of(folder).create_folder(&folder.join(parent))?;
                    made.insert(parent.to_owned());
                }
            }
            let write = |(name, (shape, image)): (&String, (ImageShape, &[f32]))| {
                write_picture(folder, name, &png(image, shape, self.depth)?)
            };
            let pictures: Vec<_> = names.iter().zip(images.shapes().split(&numbers)).collect();
            files.extend(pictures.into_par_iter().map(write).collect::<Result<Vec<_>>>()?);
            rows_done(batch.num_rows() as u64);
        }
        for inside in made.iter().filter(|inside| !inside.as_os_str().is_empty()) {
            store::of(folder).sync_folder(&folder.join(inside))?;
        }
        Ok(files)
    }
}

/// An image of numbers in [0, 1] as the bytes of a PNG file.
fn png(image: &[f32], shape: ImageShape, depth: PictureDepth) -> Result<Vec<u8>> {
    let depth = match depth {
        PictureDepth::U8 => Depth::U8,
        PictureDepth::U16 => Depth::U16,
    };
    let ImageShape { height, width, channels } = shape;
    let header = Header::new(height, width, channels, depth);
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let mut writer = Writer::new(Box::new(Shared(bytes.clone())), Format::Png, &header, false)?;
    writer.write(&of_numbers(depth, None, image))?;
    writer.finish()?;
    Ok(bytes.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_stay_inside() {
        let files = ["test/cat/a.jpg", "cat/a.png", "b.tif", "../../etc/b.png", "/etc/b.png", "dog/.x", "train/c.png"];
        let file = |(id, path): (usize, &&str)| (Split::Test, id as i64, (*path).to_owned(), None);
        let names = Names::of(files.iter().enumerate().map(file).collect());
        let name = |id: i64| names.name(Split::Test, id, Some(1), &Folders::of(None));
        let found: Vec<_> = (0..8).map(name).collect();
        let expected = [
            "test/cat/a.jpg.png",
            "test/cat/a.png.png",
            "test/b.png",
            // Both would be etc/b.
            "test/1/000003.png",
            "test/1/000004.png",
            "test/dog/.png",
            "test/train/c.png",
            "test/1/000007.png",
        ];
        assert_eq!(found, expected);
        let pages = (0..2).map(|page| (Split::Train, page, "x.tif".to_owned(), Some(page))).collect();
        assert_eq!(Names::of(pages).name(Split::Train, 1, None, &Folders::of(None)), "train/x-0001.png");
        // Long names are cut, and two that are equal then are ids.
        let long = |last: &str| format!("{}é{last}.tif", "a".repeat(MOST_NAME - 1));
        let file = |(id, path): (usize, String)| (Split::Train, id as i64, path, None);
        let [one, two] = [vec![long("b")], vec![long("b"), long("c")]];
        let name = |paths: Vec<String>| {
            let names = Names::of(paths.into_iter().enumerate().map(file).collect());
            names.name(Split::Train, 0, None, &Folders::of(None))
        };
        assert_eq!(name(one), format!("train/{}.png", "a".repeat(MOST_NAME - 1)));
        assert_eq!(name(two), "train/000000.png");
    }

    #[test]
    fn labels_that_are_no_names_of_folders_are_numbers() {
        let folders =
            |names: &[&str]| Folders::of(Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into()));
        assert_eq!(folders(&["cat", "a dog"]).name(1), "a dog");
        assert_eq!(folders(&["cat", "a dog"]).name(2), "2");
        for bad in ["", "..", "a/b", "a\\b", "a\nb", ".git"] {
            assert_eq!(folders(&["cat", bad]).name(0), "0", "{bad:?}");
        }
    }
}
