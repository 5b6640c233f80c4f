//! `limpid encode` and `limpid denoise`: apply a trained model to other data.

mod pass;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::Execute;
use super::arguments::{DeviceArgs, WorkArgs, progress, threads};
use super::checked_model::load_checked;
use super::output_name::{name_beside, output_name};
use super::output_place::refuse_results;
use super::path_kind::{Kind, kind, recognised};
use super::pictures::{Cleaner, is_picture_name};
use super::print::print;
use crate::engine::codes::{Codes, Coding};
use crate::engine::inference::Inference;
use crate::engine::making::Direction;
use crate::error;
use crate::image::{Extent, ImageShape, Pixels};
use crate::interrupt;
use crate::picture::Format;
use crate::progress::{LogMode, Progress};
use crate::scaler::Scaler;
use crate::source::settings::{Faults, Fit, OnError, Pages, Size};
use crate::source::{Animated, FILES, Folder, Idx, Numpy, REJECTED, Source, Tables, Vectors};
use crate::store;
use crate::store::watch::Watch;
use crate::table::{TableFile, WriteOptions};
use pass::Pass;

/// Arguments of `encode` and `denoise`.
#[derive(Debug, Args)]
struct ApplyArgs {
    /// The model: a run directory, or the folder of its train stage. This, inputs and output may be URLs (s3://, gs://, az://, and
    /// https:// to read).
    model: PathBuf,
    /// Tables with the model's columns of numbers, CSV or Parquet, for a model of vectors; for any other, Parquet files with a column of
    /// images, pictures, folders of pictures, IDX files (raw or gzip), or NumPy arrays (.npy).
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
    /// What has a code: each image, all of one size; each image of any size, by the mean over its patches of the size that the model was
    /// trained on; or each patch, with its place.
    #[arg(long, value_enum, default_value = "image")]
    codes: Codes,
    /// Write codes without the column `error`, for which the decoder is needed.
    #[arg(long)]
    no_error: bool,
}

impl Execute for EncodeArgs {
    fn execute(&self) -> Result<()> {
        apply(&self.apply, Direction::Encode(Coding { codes: self.codes, error: !self.no_error }), false)
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
        if Format::is_other(output) && !store::is_folder(output) {
            let message = format!("{} names a picture of a format that is not written", output.display());
            return Err(error::settings(format!("{message}: name a .png, .tif, .jpg, .webp or .bmp, or a folder")));
        }
        if !self.pictures && !is_picture_name(output) {
            return apply(&self.apply, Direction::Denoise(Pixels::U8), self.ensemble);
        }
        if *resize || *crop || image.is_some() {
            let message = format!("--resize, --crop and --image are for tables, but {} is a picture", output.display());
            return Err(error::settings(format!("{message}; name a folder with -o")));
        }
        let Prepared { model, threads, progress, .. } = prepare(&self.apply, self.ensemble)?;
        let (faults, pages) = (self.apply.faults(), self.apply.pages.unwrap_or(Pages::All));
        let cleaner =
            Cleaner { model: &model, threads, faults, pages, progress: &progress, animated: Animated::default() };
        cleaner.denoise(input, output, self.pictures)
    }

    fn log_mode(&self) -> LogMode {
        self.apply.work.log
    }
}

/// An input that fits the model.
enum Input {
    /// A table of limpid's, whose ids, splits and labels are kept.
    Table(TableFile),
    /// Anything else, with all images in the test split.
    Source(Box<dyn Source>),
}

/// How much the tables are compressed: as those of a pipeline that does not say.
const COMPRESSION_LEVEL: i32 = 1;

/// What applies a model.
struct Prepared {
    model: Inference,
    /// What tables say of the model.
    named: BTreeMap<String, String>,
    threads: usize,
    progress: Progress,
}

/// Loads the model, which makes the mean over orientations if `ensemble`.
fn prepare(args: &ApplyArgs, ensemble: bool) -> Result<Prepared> {
    interrupt::install()?;
    let threads = threads(args.work.threads)?;
    let progress = progress(&args.work);
    let device = args.device.device.open(threads, |reason| progress.note(reason))?;
    let (model, named) = load_checked(&args.model, &device)?;
    Ok(Prepared { model: model.with_ensemble(ensemble)?, named, threads, progress })
}

/// Applies the model to every input. All are checked before anything is written; each is open only while it is looked at,
/// so that their number is not limited by that of open files.
fn apply(args: &ApplyArgs, direction: Direction, ensemble: bool) -> Result<()> {
    let Prepared { model, named, threads, progress } = prepare(args, ensemble)?;
    // A source and a table say themselves whether they are in order.
    let options = WriteOptions { metadata: named, ..WriteOptions::new(COMPRESSION_LEVEL, threads) };
    if let Direction::Encode(_) = direction {
        model.code_size()?;
    }
    refuse_results(&args.output)?;
    let mut outputs: Vec<(PathBuf, Vec<String>)> = Vec::new();
    let mut taken: BTreeMap<String, &Path> = BTreeMap::new();
    for path in &args.input {
        let name = output_name(path)?;
        let tables = [(FILES, store::is_folder(path)), (REJECTED, args.on_error == OnError::Skip)];
        let tables = tables.into_iter().filter_map(|(table, wanted)| wanted.then_some(table));
        let besides: Vec<_> = tables.map(|table| name_beside(&name, table)).collect();
        for name in besides.iter().chain([&name]) {
            if let Some(first) = taken.insert(name.clone(), path) {
                let (first, second) = (first.display(), path.display());
                return Err(error::settings(format!("{first} and {second} would both be written to {name}")));
            }
        }
        let output = args.output.join(&name);
        if store::real(&output).is_some_and(|output| store::real(path) == Some(output)) {
            let advice = "name another folder with -o";
            return Err(error::settings(format!(
                "{} would be overwritten by its own result; {advice}",
                path.display()
            )));
        }
        open(path, args, &model, direction, (&progress, false))?;
        outputs.push((output, besides));
    }
    store::of(&args.output).create_folder(&args.output)?;
    for (path, (output, besides)) in args.input.iter().zip(outputs) {
        let written = Watch::new(|| files(path)).and_then(|watch| {
            let input = open(path, args, &model, direction, (&progress, true))?;
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
    if store::is_folder(path) { Folder::files(path, None) } else { Ok(vec![path.to_owned()]) }
}

/// Opens an input, and tells what is passed over, if it `tells`.
///
/// # Errors
/// An input that cannot be read, or images that the model does not take.
fn open(
    path: &Path,
    args: &ApplyArgs,
    model: &Inference,
    direction: Direction,
    (progress, tells): (&Progress, bool),
) -> Result<Input> {
    if let Some(columns) = model.columns() {
        let input = open_rows(path, args, columns, progress)?;
        if let Input::Table(table) = &input {
            direction.mapping(model, table.content(), path)?;
        }
        return Ok(input);
    }
    let image = model.image();
    let fit = fit(model, args.resize, args.crop, args.pages.unwrap_or_default());
    // Only pictures can be resized or cropped.
    let (source, pictures): (Box<dyn Source>, bool) = match kind(path)? {
        Kind::Parquet => {
            // Only tables of others have their images in a column of another name.
            let column = args.image.as_deref().filter(|column| *column != "image");
            let own = if column.is_none() { TableFile::open_rewritten(path, image) } else { TableFile::open_own(path) };
            if let Some(table) = own? {
                table.extent()?;
                direction.mapping(model, table.content(), path)?;
                return Ok(Input::Table(table));
            }
            let note = |line: &str| {
                if tells {
                    progress.note(line)
                }
            };
            (Box::new(Tables::of_file(path, column, fit, image, args.faults(), &note)?), true)
        }
        Kind::Folder | Kind::Picture => {
            (Box::new(Folder::of_command(path, fit, args.faults(), tells.then_some(progress))?), true)
        }
        Kind::Array => (Box::new(Numpy::unlabelled(path, model.levels())?), false),
        Kind::Idx => (Box::new(Idx::unlabelled(path)?), false),
    };
    let content = source.content();
    if let Err(cause) = direction.mapping(model, content, path) {
        let advice = ["--resize or --crop makes pictures fit", "--codes pooled or patches cuts them"];
        return Err(misfit(&cause, &*source, pictures, model, direction, advice));
    }
    Ok(Input::Source(source))
}

/// The error for images that a model does not take, with advice: what makes pictures fit, and what cuts them to be encoded.
pub fn misfit(
    cause: &anyhow::Error,
    source: &dyn Source,
    pictures: bool,
    model: &Inference,
    direction: Direction,
    [fits, cuts]: [&str; 2],
) -> anyhow::Error {
    let sides = |image: ImageShape| (image.height, image.width);
    let found = source.content().extent().and_then(Extent::fixed);
    let differing = source.differing().map_or(String::new(), |differing| format!("{differing}; "));
    let advice = match direction {
        _ if !pictures || found.is_some_and(|found| sides(found) == sides(model.image())) => String::new(),
        Direction::Encode(Coding { codes: Codes::Image, .. }) => format!("; {fits}; {cuts}"),
        _ => format!("; {fits}"),
    };
    error::data(format!("{differing}{cause}{advice}"))
}

/// How pictures are read for a model, scaled to its size if they are to be. Its channels decide between grey and RGB.
pub fn fit(model: &Inference, resize: bool, crop: bool, pages: Pages) -> Fit {
    let image = model.image();
    let sides = [image.height, image.width];
    let size = match (resize, crop) {
        (true, _) => Size::Resize(sides),
        (_, true) => Size::Crop(sides),
        _ => Size::Same,
    };
    let grey = match image.channels {
        1 => Some(true),
        3 => Some(false),
        _ => None,
    };
    Fit { size, grey, pages, levels: model.levels() }
}

/// Opens a table of rows of these columns: one of limpid's own has them scaled.
fn open_rows(path: &Path, args: &ApplyArgs, columns: &Scaler, progress: &Progress) -> Result<Input> {
    if args.resize || args.crop || args.image.is_some() || args.pages.is_some() || args.on_error == OnError::Skip {
        let advice = "the model takes rows of tables, by the names of their columns";
        return Err(error::settings(format!(
            "--resize, --crop, --image, --pages and --on-error are for images, but {advice}"
        )));
    }
    if store::is_folder(path) {
        return Err(error::settings(format!("{} is a folder: name the tables in it", path.display())));
    }
    let is_parquet = matches!(recognised(path)?, Ok(Kind::Parquet));
    match if is_parquet { TableFile::open_own(path)? } else { None } {
        Some(table) => {
            table.extent()?;
            Ok(Input::Table(table))
        }
        None => Ok(Input::Source(Box::new(Vectors::of_file(path, columns, progress)?))),
    }
}
