//! Opens the source of a pipeline: as a file that all processes read which make shards, or as a whole.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;

use super::NAME;
use super::job::changed;
use super::judging::held_out_of_nothing;
use crate::config::Pipeline;
use crate::engine::codes::Codes;
use crate::engine::ensemble;
use crate::error;
use crate::image::Levels;
use crate::progress::{Listener, Progress};
use crate::record::digest::{FileStamp, is_unchanged, look};
use crate::source::{OpenedSource, Source, level_table};
use crate::stage::ResultToMake;
use crate::store;
use crate::store::url::is_url;

/// A source that was opened.
pub enum Opened {
    /// For shards.
    Shards(Box<OpenedFile>),
    /// To be read as a whole, with the levels that were measured for it.
    Whole(Box<dyn Source>, Option<Levels>),
}

/// The file of an opened source.
pub struct OpenedFile {
    /// Its path.
    pub path: PathBuf,
    /// Its digest.
    pub digest: String,
    /// Its content.
    pub source: OpenedSource,
}

/// The opened source of a result, if a process has opened it before by the same settings.
///
/// # Errors
/// The store.
pub fn found(result: &ResultToMake<'_>) -> Result<Option<OpenedFile>> {
    let folder = result.shard_folder().receipts();
    let names = match store::of(&folder).list(&folder) {
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
        names => names.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let read = |name: &String| {
        let (path, digest) = (folder.join(name), OpenedSource::digest_in(name)?.to_owned());
        // One that is damaged is written again.
        let source = OpenedSource::read(&path, &digest).ok()?;
        // With other paths, the same images may be elsewhere.
        (source.settings == result.pipeline.source).then_some(OpenedFile { path, digest, source })
    };
    Ok(names.iter().find_map(read))
}

/// Opens the source of a result, or finds what a process has found out that has opened it before, and checks that the settings fit it.
///
/// # Errors
/// Missing, damaged or inconsistent files; images that the model, the corruption or the export does not take; files that change
/// meanwhile; no network, the store, interruption.
pub fn open(result: &ResultToMake<'_>, data: &Path, threads: usize, progress: &Progress) -> Result<Opened> {
    let pipeline = result.pipeline;
    check_places(pipeline)?;
    let kind = pipeline.source.kind();
    if kind.has_shards()
        && let Some(file) = found(result)?
    {
        file.source.notes.iter().for_each(|note| progress.note(note));
        check(pipeline, &*file.source.source()?)?;
        result.workspace.note(NAME, result.files);
        return Ok(Opened::Shards(Box::new(file)));
    }
    let levels = level_table::measured(kind, pipeline.seed, data, threads)?;
    let with_levels = levels.and_then(|levels| kind.with_levels(levels, false));
    let notes = Arc::new(Notes { progress: progress.clone(), notes: Mutex::default() });
    let told = if kind.has_shards() { Progress::heard(Arc::clone(&notes) as _) } else { progress.clone() };
    let source = with_levels.as_deref().unwrap_or(kind).open(pipeline.seed, data, &told)?;
    check(pipeline, &*source)?;
    let images = source.opened().filter(|_| kind.has_shards());
    let noisy = source.noisy().map(Source::opened);
    let (Some(images), Some(noisy)) = (images, noisy.map_or(Some(None), |noisy| noisy.map(Some))) else {
        return Ok(Opened::Whole(source, levels));
    };
    let notes = notes.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let source = OpenedSource { settings: pipeline.source.clone(), levels, notes, images, noisy };
    // What was found out has to be that of the images of the fingerprint.
    result.files.values().map(|stamp| Path::new(&stamp.path)).for_each(|path| store::of(path).look_again());
    check_unchanged(result)?;
    let folder = result.shard_folder();
    folder.create()?;
    let (path, digest) = source.write(&folder.receipts())?;
    result.workspace.note(NAME, result.files);
    Ok(Opened::Shards(Box::new(OpenedFile { path, digest, source })))
}

/// Checks that the files of the source are as they were when they were digested for the fingerprint.
///
/// # Errors
/// They have changed; a folder that cannot be listed.
pub fn check_unchanged(result: &ResultToMake<'_>) -> Result<()> {
    for (setting, files) in result.pipeline.source.kind().files()? {
        let is_same = |before: &FileStamp| is_unchanged(&files, before, &look(&files)?, false);
        if !result.files.get(setting).map_or(Ok(false), is_same)? {
            return Err(changed(&files));
        }
    }
    Ok(())
}

/// Passes on what is told, and keeps the notes.
struct Notes {
    progress: Progress,
    notes: Mutex<Vec<String>>,
}

impl Listener for Notes {
    fn event(&self, event: &str, message: &str, fields: Value) {
        self.progress.event(event, message, fields);
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
    }

    fn task(&self, _name: &str, _done: Option<u64>, _total: u64, _unit: &'static str) {}
}

/// Checks that the other settings of a pipeline fit its images.
fn check(pipeline: &Pipeline, source: &dyn Source) -> Result<()> {
    let extent = source.content().extent().ok_or_else(|| error::bug("a source gives images"))?;
    let model_image = pipeline.training.patches.model_image(&pipeline.model.architecture, extent);
    let model_image = model_image.map_err(|cause| match source.differing() {
        Some(differing) => error::data(format!("{differing}; {cause}")),
        None => cause,
    })?;
    if pipeline.denoise.ensemble {
        ensemble::check(&pipeline.model.architecture, model_image)?;
    }
    if extent.fixed().is_none()
        && pipeline.model.architecture.family().has_code()
        && pipeline.encode.codes == Codes::Image
    {
        let advice =
            "set encode.codes to \"pooled\", for the mean over the patches of each, or to \"patches\", for each patch";
        return Err(error::data(format!("images of different sizes have no codes of one size; {advice}")));
    }
    if let Some((name, shape)) = source.narrowest() {
        let fits = pipeline.training.patches.shape(shape);
        fits.map_err(|cause| error::data(format!("{name}: {cause}")))?;
    }
    if let (Some(corruption), Some(shape)) = (&pipeline.corruption, extent.fixed()) {
        corruption.kind().check(shape)?;
    }
    if let Some(layout) = pipeline.export {
        layout.check(extent.channels())?;
    }
    if let Some(depth) = pipeline.pictures {
        depth.check(extent.channels())?;
    }
    let names = source.classes();
    let unknown: Vec<_> = pipeline.held_out.iter().filter(|class| class.label(&names).is_none()).collect();
    if !unknown.is_empty() {
        return Err(held_out_of_nothing(&unknown, &names));
    }
    if let Some(noisy) = source.noisy()
        && noisy.content().pixels() != source.content().pixels()
    {
        let advice = "the images of a pair need files of the same depth, all of 8 bits or all of more";
        return Err(error::data(format!("the noisy images are of another depth than the clean ones: {advice}")));
    }
    Ok(())
}

/// Refuses settings of files and folders that are not there, with their lines in the pipeline file.
pub fn check_places(pipeline: &Pipeline) -> Result<()> {
    let places = pipeline.source.kind().places();
    let Some((setting, path)) = places.into_iter().find(|(_, path)| !store::exists(path)) else { return Ok(()) };
    if is_url(path) {
        // What a store does not tell is an error of its own.
        store::of(path).kind(path).with_context(|| format!("{setting}: cannot read {}", path.display()))?;
    }
    let other = path.to_string_lossy().contains(":/") && !is_url(path);
    let url = if other { " (of URLs, limpid reads s3://, gs://, az:// and https://)" } else { "" };
    let missing = format!("{setting}: {} does not exist{url}", path.display());
    Err(error::data(pipeline.places.of(setting).map_or(missing.clone(), |place| format!("{place}: {missing}"))))
}
