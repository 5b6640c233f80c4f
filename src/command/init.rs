//! `limpid init`: looks at data and writes a pipeline for them that runs, with comments on what it saw and chose.
//!
//! What the data are is recognised by [`propose`]; whether they can be read is not guessed: the source is opened as ingest does it, and
//! the model is chosen by the images that it has.

mod propose;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::Execute;
use super::arguments::{WorkArgs, progress};
use super::print::print;
use crate::config::{self, Pipeline};
use crate::error;
use crate::image::{Extent, Split};
use crate::progress::{LogMode, Progress};
use crate::source::{Source, left_none};
use crate::table::Content;
use propose::{Proposal, own, propose};

/// Shares of the images that are tried for testing, where there are no others: the first that leaves some for both splits.
const FRACTIONS: [f64; 4] = [0.1, 0.2, 0.35, 0.5];
/// Longest side of images that are trained on as a whole.
const LONGEST_WHOLE: usize = 64;
/// Side of the parts of larger images that are trained on.
const PATCH: usize = 32;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// A folder or a file with images, or a source that needs none: mnist, strokes, scenes or documents; strokes unless given.
    data: Option<PathBuf>,
    /// The pipeline file; NAME.toml of the data's name unless given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// Threads and progress.
    #[command(flatten)]
    work: WorkArgs,
}

impl Execute for InitArgs {
    /// Writes a pipeline and prints its path and how to run it.
    fn execute(&self) -> Result<()> {
        let progress = progress(&self.work);
        let name = self.data.as_deref().map_or("digits".to_owned(), name);
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(error::settings(format!("the folder {} of the pipeline does not exist", folder.display())));
        }
        if output.exists() && !self.force {
            return Err(error::settings(format!("{} exists; --force writes over it", output.display())));
        }
        // Paths in a pipeline start at its folder.
        let inside = folder == Path::new(".");
        let place = |path: &Path| if inside { Ok(path.to_owned()) } else { std::path::absolute(path) };
        let data = self.data.as_deref().map(place).transpose()?;
        // What is there comes first, whatever it is called.
        let name_of = self.data.as_deref().filter(|data| !data.exists()).and_then(Path::to_str);
        let own = own(if data.is_none() { Some("strokes") } else { name_of });
        let proposal = own.map_or_else(|| propose(&data.unwrap_or_default()), Ok)?;
        let usable = usable(proposal, folder, &progress)?;
        let text = pipeline(&name, &usable);
        config::parse(&output.display().to_string(), &text, &[], &name, folder)?;
        std::fs::write(&output, text)
            .map_err(|cause| anyhow::Error::new(cause).context(format!("cannot write {}", output.display())))?;
        let output = output.display();
        print(format!("{output}\nlimpid run {output}"))
    }

    fn log_mode(&self) -> LogMode {
        self.work.log
    }
}

/// A name for a run, after that of the data.
fn name(data: &Path) -> String {
    let stem = if data.is_dir() { data.file_name() } else { data.file_stem() };
    let stem = stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let usable = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    let name: String = stem.chars().map(usable).collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() { "images".to_owned() } else { name }
}

/// A source that can be read.
struct Usable {
    proposal: Proposal,
    /// The section of the source.
    section: String,
    opened: Box<dyn Source>,
}

/// Opens the proposed source, with the settings that its images turn out to need.
fn usable(mut proposal: Proposal, folder: &Path, progress: &Progress) -> Result<Usable> {
    let (mut section, mut opened) = match opened_as(&proposal, folder, progress) {
        Ok(found) => found,
        Err(cause) => {
            let Some(without) = proposal.without_labels(&cause) else { return Err(cause) };
            let Ok(found) = opened_as(&without, folder, progress) else { return Err(cause) };
            proposal = without;
            found
        }
    };
    if let Some(both) = opened.grey_and_colour() {
        proposal.add(
            "grey",
            "false".to_owned(),
            format!("{both}: grey = false makes all of them RGB, true makes all grey."),
        );
        (section, opened) = opened_as(&proposal, folder, progress)?;
    }
    Ok(Usable { proposal, section, opened })
}

/// The section of the source, and what it opens; a share for testing is added if there are no test images.
fn opened_as(proposal: &Proposal, folder: &Path, progress: &Progress) -> Result<(String, Box<dyn Source>)> {
    let open = |source: &str, progress: &Progress| -> Result<Box<dyn Source>> {
        let text = format!("[source]\n{source}\n[model]\ndense = {{}}\n");
        let pipeline: Pipeline = config::parse("init", &text, &[], "init", folder)?;
        pipeline.source.kind().open(pipeline.seed, &folder.join("data"), progress)
    };
    if !proposal.is_drawn {
        let source = proposal.source(None);
        return open(&source, progress).map(|opened| (source, opened));
    }
    let mut last = error::bug("no share of images for testing was tried");
    for fraction in FRACTIONS {
        let source = proposal.source(Some(fraction));
        match open(&source, progress) {
            Ok(opened) => return Ok((source, opened)),
            // Another share helps only then.
            Err(cause) if left_none(&cause) => last = cause,
            Err(cause) => return Err(cause),
        }
    }
    Err(last)
}

/// The text of the pipeline.
fn pipeline(name: &str, usable: &Usable) -> String {
    let Usable { proposal, section, opened } = usable;
    let [train, test, validation] = Split::ALL.map(|split| opened.count(split));
    let (validated, chosen) = match validation {
        0 => (String::new(), ""),
        count => (
            format!(", {count} to choose weights by"),
            "# Of the epoch with the lowest loss of the validation images.\nweights = \"best\"\n",
        ),
    };
    let Content::Images(extent, _) = opened.content() else { return String::new() };
    let images = match extent {
        Extent::Fixed(shape) if shape.is_vector() => format!("rows of {} numbers", shape.len()),
        Extent::Fixed(shape) => format!("images of {shape}"),
        Extent::Mixed { channels: 1 } => "grey images of different sizes".to_owned(),
        Extent::Mixed { .. } => "colour images of different sizes".to_owned(),
    };
    let classes = match opened.classes() {
        Some(names) => format!("; {} classes, {}", names.len(), crate::text::few(&names)),
        None => String::new(),
    };
    let fixed = match extent {
        Extent::Fixed(shape) => Some(shape),
        Extent::Mixed { .. } => None,
    };
    let whole = fixed.filter(|shape| shape.height.max(shape.width) <= LONGEST_WHOLE);
    let shortest = fixed.map_or(PATCH, |shape| shape.height.min(shape.width));
    let noise = |std: &str| match opened.noisy() {
        Some(_) => String::new(),
        None => format!(
            "# The noise is made up: put in its place what your data suffer from.\n[corruption]\ngaussian = {{ std = {std} }}\n\n"
        ),
    };
    let (why, model, training) = match whole {
        Some(shape) if shape.is_vector() => (
            "Their code has a quarter as many numbers.".to_owned(),
            noise("0.05")
                + &format!(
                    "[model]\ndense = {{ hidden = [{}], code = {}, code-activation = \"linear\" }}\nloss = \"mse\"",
                    (2 * shape.len()).clamp(16, 512),
                    shape.len().div_ceil(4).clamp(2, 64),
                ),
            "epochs = 30",
        ),
        Some(_) if shortest < 8 => (
            "They are tiny: a dense autoencoder.".to_owned(),
            noise("0.2") + "[model]\ndense = { hidden = [64], code = 16 }",
            "epochs = 10",
        ),
        Some(_) => {
            let channels = if shortest < 16 { "[16, 8]" } else { "[16, 8, 8]" };
            (
                "They are small: a convolutional autoencoder of whole images, whose code is made of features."
                    .to_owned(),
                noise("0.3") + &format!("[model]\nconv = {{ channels = {channels} }}"),
                "epochs = 10",
            )
        }
        None => {
            let patch = shortest.min(PATCH);
            let more = if fixed.is_none() {
                format!(" Pictures below {patch}×{patch} need a smaller `patch`.")
            } else {
                String::new()
            };
            (
                format!(
                    "They are large: a denoiser that is trained on parts of {patch}×{patch}. It has no features; `conv` has some.{more}"
                ),
                noise("0.1") + "[model]\nunet = { channels = [16, 32] }\nloss = \"mse\"\npredict = \"noise\"",
                if shortest < PATCH { "epochs = 4\npatch = 16" } else { "epochs = 4\npatch = 32" },
            )
        }
    };
    let comments: String =
        proposal.comments.iter().flat_map(|comment| comment.lines()).map(|line| format!("# {line}\n")).collect();
    format!(
        "# Written by limpid init: a start, made to be changed. limpid schema --defaults lists all settings.\n\
         name = \"{name}\"\n\n\
         {comments}# {train} {images} to train on, {test} to test on{validated}{classes}.\n\
         [source]\n{section}\n\n\
         # {why}\n\
         {model}\n\n\
         [training]\ninput = \"noisy\"\nbatch-size = {batch}\n{training}\n{chosen}\n\
         # Scores that the run must reach, or it ends with exit code 3: none until you know what is possible.\n\
         [gate]\nbaselines = []\n",
        batch = (train / 10).clamp(1, if whole.is_some() { 100 } else { 16 }),
    )
}
