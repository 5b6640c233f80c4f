//! `limpid encode` and `limpid denoise`: apply a trained model to other data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use clap::Args;

use super::Execute;
use super::arguments::{DeviceArgs, WorkArgs, progress, threads};
use super::checked_model::of_checked_model;
use super::output_name::{name_beside, output_name};
use super::output_place::{hidden, publish_beside, refuse_results};
use super::path_kind::{Kind, kind};
use super::pictures::{Cleaner, is_picture_name};
use super::print::print;
use crate::engine::inference::Inference;
use crate::engine::operation::{Mapping, denoising, encoding};
use crate::engine::threads::{MapInput, map_table};
use crate::error;
use crate::image::{Extent, Pixels, Split};
use crate::interrupt;
use crate::progress::{LogMode, Progress, Task};
use crate::source::settings::{Faults, Fit, OnError, Pages, Size};
use crate::source::{Animated, FILES, Folder, Idx, Numpy, REJECTED, Source, Tables, summary_of_rejected};
use crate::store::local;
use crate::store::watch::Watch;
use crate::table::{
    Content, RowGroup, TableFile, WriteOptions, carry_label_lists, row_group_rows, write_batch, write_table,
};

/// Arguments of `encode` and `denoise`.
#[derive(Debug, Args)]
struct ApplyArgs {
    /// The model: a run directory, or the folder of its train stage.
    model: PathBuf,
    /// Parquet files with a column of images, pictures, folders of pictures, IDX files (raw or gzip), or NumPy arrays (.npy).
    #[arg(required = true)]
    input: Vec<PathBuf>,
    /// The folder to write to: one Parquet file for each input, under its name without the format. `denoise` also takes the name of
    /// a picture, for a single one.
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Scale every picture to the size of the model's images.
    #[arg(long)]
    resize: bool,
    /// Scale every picture until it covers that size, and keep the middle.
    #[arg(long, conflicts_with = "resize")]
    crop: bool,
    /// The column of images in the Parquet files of others; `image` or another usual name unless given.
    #[arg(long, value_name = "COLUMN")]
    image: Option<String>,
    /// What is done with a picture that cannot be used: end, or leave it out and list it in a table beside the output.
    #[arg(long, value_enum, default_value = "fail")]
    on_error: OnError,
    /// How many may be left out.
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_rejected: u64,
    /// Which pages of a TIFF are read: the first, all (each as an image), or, with "error", none but the only one. Unless given,
    /// "all" from TIFF to TIFF, and else "error".
    #[arg(long, value_enum)]
    pages: Option<Pages>,
    /// The device.
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads and progress.
    #[command(flatten)]
    work: WorkArgs,
}

impl ApplyArgs {
    fn faults(&self) -> Faults {
        Faults { on_error: self.on_error, most: self.max_rejected }
    }
}

/// Arguments of `encode`.
#[derive(Debug, Args)]
pub struct EncodeArgs {
    /// Arguments that `encode` and `denoise` share.
    #[command(flatten)]
    apply: ApplyArgs,
}

impl Execute for EncodeArgs {
    fn execute(&self) -> Result<()> {
        apply(&self.apply, Direction::Encode, false)
    }

    fn log_mode(&self) -> LogMode {
        self.apply.work.log
    }
}

/// Arguments of `denoise`.
#[derive(Debug, Args)]
pub struct DenoiseArgs {
    /// Arguments that `encode` and `denoise` share.
    #[command(flatten)]
    apply: ApplyArgs,
    /// Write each picture as a picture of the same name and format, with the sub-folders of a folder, and not a table.
    #[arg(long, conflicts_with_all = ["resize", "crop", "image"])]
    pictures: bool,
    /// Take the mean of what the model makes of the eight orientations of every image: eight times the work, and a little less error.
    #[arg(long)]
    ensemble: bool,
}

impl Execute for DenoiseArgs {
    fn execute(&self) -> Result<()> {
        let ApplyArgs { input, output, resize, crop, image, .. } = &self.apply;
        if output.extension().is_some_and(|end| end.eq_ignore_ascii_case("gif")) && !output.is_dir() {
            let message = format!("{} would be a GIF, which holds few of the colours", output.display());
            return Err(error::settings(format!("{message}; name a .png")));
        }
        if !self.pictures && !is_picture_name(output) {
            return apply(&self.apply, Direction::Denoise, self.ensemble);
        }
        if *resize || *crop || image.is_some() {
            let message = format!("--resize, --crop and --image are for tables, but {} is a picture", output.display());
            return Err(error::settings(format!("{message}; name a folder with -o")));
        }
        let (model, threads, progress) = prepare(&self.apply, self.ensemble)?;
        let (faults, pages) = (self.apply.faults(), self.apply.pages.unwrap_or(Pages::All));
        let cleaner =
            Cleaner { model: &model, threads, faults, pages, progress: &progress, animated: Animated::default() };
        cleaner.denoise(input, output, self.pictures)
    }

    fn log_mode(&self) -> LogMode {
        self.apply.work.log
    }
}

/// The output of the model that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// The code.
    Encode,
    /// The image.
    Denoise,
}

impl Direction {
    fn verb(self) -> &'static str {
        match self {
            Direction::Encode => "encode",
            Direction::Denoise => "denoise",
        }
    }
}

/// An input that fits the model.
enum Input {
    /// A table of limpid's, whose ids, splits and labels are kept.
    Table(TableFile),
    /// Anything else, with all images in the test split.
    Source(Box<dyn Source>),
}

/// The model, which makes the mean over orientations if `ensemble`, the number of threads, and where progress is told.
fn prepare(args: &ApplyArgs, ensemble: bool) -> Result<(Inference, usize, Progress)> {
    interrupt::install()?;
    let threads = threads(args.work.threads)?;
    let progress = progress(&args.work);
    let folder = if args.model.join("model.json").is_file() { args.model.clone() } else { args.model.join("train") };
    let folder = if folder.join("model.json").is_file() { folder } else { args.model.clone() };
    let device = args.device.device.open(threads, |reason| progress.note(reason))?;
    let model = of_checked_model(&folder, || Inference::load(&folder, device.inference()))?;
    Ok((model.with_ensemble(ensemble)?, threads, progress))
}

/// Applies the model to every input. All are checked before anything is written; each is open only while it is looked at,
/// so that their number is not limited by that of open files.
fn apply(args: &ApplyArgs, direction: Direction, ensemble: bool) -> Result<()> {
    let (model, threads, progress) = prepare(args, ensemble)?;
    // A source and a table say themselves whether they are in order.
    let options = WriteOptions { compression_level: 3, threads, sorted: true, classes: None, label_lists: None };
    if direction == Direction::Encode {
        model.features()?;
    }
    refuse_results(&args.output)?;
    let mut outputs: Vec<(PathBuf, Vec<String>)> = Vec::new();
    let mut taken: BTreeMap<String, &Path> = BTreeMap::new();
    for path in &args.input {
        let name = output_name(path)?;
        let tables = [(FILES, path.is_dir()), (REJECTED, args.on_error == OnError::Skip)];
        let tables = tables.into_iter().filter_map(|(table, wanted)| wanted.then_some(table));
        let besides: Vec<_> = tables.map(|table| name_beside(&name, table)).collect();
        for name in besides.iter().chain([&name]) {
            if let Some(first) = taken.insert(name.clone(), path) {
                let (first, second) = (first.display(), path.display());
                return Err(error::settings(format!("{first} and {second} would both be written to {name}")));
            }
        }
        let output = args.output.join(&name);
        if output.canonicalize().is_ok_and(|output| path.canonicalize().is_ok_and(|path| path == output)) {
            let advice = "name another folder with -o";
            return Err(error::settings(format!(
                "{} would be overwritten by its own result; {advice}",
                path.display()
            )));
        }
        open(path, args, &model, direction, None)?;
        outputs.push((output, besides));
    }
    local::create_folder(&args.output)?;
    for (path, (output, besides)) in args.input.iter().zip(outputs) {
        let written = Watch::new(|| files(path)).and_then(|watch| {
            let input = open(path, args, &model, direction, Some(&progress))?;
            // A table with checksums detects damage itself, and may be replaced by a run while it is read.
            let guarded = matches!(&input, Input::Table(table) if table.is_guarded());
            let check = || if guarded { Ok(()) } else { watch.check() };
            let pass = Pass { direction, model: &model, options: &options, progress: &progress };
            pass.write(path, (&output, &besides), input, check)
        });
        written.with_context(|| format!("cannot {} {}", direction.verb(), path.display()))?;
        print(output.display())?;
    }
    Ok(())
}

/// The files of an input.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() { Folder::files(path, None) } else { Ok(vec![path.to_owned()]) }
}

/// Opens an input, and tells what is passed over.
///
/// # Errors
/// An input that cannot be read, or images that the model does not take.
fn open(
    path: &Path,
    args: &ApplyArgs,
    model: &Inference,
    direction: Direction,
    progress: Option<&Progress>,
) -> Result<Input> {
    let image = model.image();
    let sides = [image.height, image.width];
    let size = match (args.resize, args.crop) {
        (true, _) => Size::Resize(sides),
        (_, true) => Size::Crop(sides),
        _ => Size::Same,
    };
    // The model's channels decide between grey and RGB.
    let grey = match image.channels {
        1 => Some(true),
        3 => Some(false),
        _ => None,
    };
    let fit = Fit { size, grey, pages: args.pages.unwrap_or_default(), levels: model.levels() };
    // Only pictures can be resized or cropped.
    let (source, pictures): (Box<dyn Source>, bool) = match kind(path)? {
        Kind::Parquet => {
            // Only tables of others have their images in a column of another name.
            let column = args.image.as_deref().filter(|column| *column != "image");
            let own = if column.is_none() { TableFile::open_rewritten(path, image) } else { TableFile::open_own(path) };
            if let Some(table) = own? {
                table.extent()?;
                mapping(model, table.content(), direction, path)?;
                return Ok(Input::Table(table));
            }
            let note = |line: &str| progress.iter().for_each(|progress| progress.note(line));
            (Box::new(Tables::of_file(path, column, fit, image, args.faults(), &note)?), true)
        }
        Kind::Folder | Kind::Picture => (Box::new(Folder::of_command(path, fit, args.faults(), progress)?), true),
        Kind::Array => (Box::new(Numpy::unlabelled(path, model.levels())?), false),
        Kind::Idx => (Box::new(Idx::unlabelled(path)?), false),
    };
    let content = source.content();
    if let Err(cause) = mapping(model, content, direction, path) {
        let same_size = content
            .extent()
            .and_then(Extent::fixed)
            .is_some_and(|found| (found.height, found.width) == (image.height, image.width));
        let differing = source.differing().map_or(String::new(), |differing| format!("{differing}; "));
        let advice = if same_size || !pictures { "" } else { "; --resize or --crop makes pictures fit" };
        return Err(error::data(format!("{differing}{cause}{advice}")));
    }
    Ok(Input::Source(source))
}

/// What becomes of images of this content; `from` names them in messages.
///
/// # Errors
/// Images that the model does not take.
fn mapping<'a>(model: &'a Inference, images: Content, direction: Direction, from: &Path) -> Result<Mapping<'a>> {
    match direction {
        Direction::Encode => encoding(model, images, from),
        Direction::Denoise => denoising(model, images, Pixels::U8, from),
    }
}

/// How an input becomes an output.
struct Pass<'a> {
    direction: Direction,
    model: &'a Inference,
    options: &'a WriteOptions,
    progress: &'a Progress,
}

impl Pass<'_> {
    /// Writes one result under a temporary name, and renames it into place if `check` succeeds after the input was read, with
    /// those tables about its pictures that are called as in `besides`. `from` is the place of the input.
    fn write(
        &self,
        from: &Path,
        (output, besides): (&Path, &[String]),
        input: Input,
        check: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let Self { direction, model, options, progress } = *self;
        let name = output.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let write = |folder: &Path, temporary: &str| match input {
            Input::Table(table) => {
                let task = progress.task(name, table.rows(), "images");
                let input = MapInput { table: &table, row_groups: 0..table.row_groups(), companion: None };
                let mapping = mapping(model, table.content(), direction, from)?;
                map_table(input, (folder, temporary), options.clone(), mapping, &|rows| task.advance(rows)).map(|_| ())
            }
            Input::Source(source) => {
                let task = progress.task(name, source.count(Split::Test), "images");
                let content = source.content();
                let rows = row_group_rows(content, source.count(Split::Test));
                let Mapping { content, map } = mapping(model, content, direction, from)?;
                let map = |batch: &RecordBatch| carry_label_lists(batch, map(batch, None)?);
                let groups = mapped(source.row_groups(Split::Test, rows)?, &map, task);
                let (classes, label_lists, sorted) = (source.classes(), source.label_lists(), source.is_sorted());
                let options = WriteOptions { classes, label_lists, sorted, ..options.clone() };
                write_table(folder, temporary, content, options, groups)?;
                source.passed_over().iter().for_each(|line| progress.note(line));
                // Fails now if pictures could not be decoded.
                for (table, rows) in source.tables()? {
                    let beside = name_beside(name, table);
                    if !besides.contains(&beside) {
                        continue;
                    }
                    write_batch(folder, &hidden(&beside), &rows)?;
                    let summary = summary_of_rejected(&rows, &folder.join(beside)).filter(|_| table == REJECTED);
                    summary.iter().for_each(|summary| progress.note(summary));
                }
                Ok(())
            }
        };
        publish_beside(output, besides, write, check)
    }
}

/// Row groups with `map` applied to each batch.
fn mapped<'a, 'b: 'a>(
    groups: impl Iterator<Item = Result<RowGroup<'b>>> + Send,
    map: &'a (impl Fn(&RecordBatch) -> Result<RecordBatch> + Sync),
    task: Task,
) -> impl Iterator<Item = Result<RowGroup<'a>>> + Send {
    groups.map(move |group| {
        let (group, task) = (group?, task.clone());
        let group: RowGroup<'a> = Box::new(move |emit| {
            group(&mut |batch| {
                let rows = batch.num_rows() as u64;
                emit(map(&batch)?)?;
                task.advance(rows);
                Ok(())
            })
        });
        Ok(group)
    })
}
