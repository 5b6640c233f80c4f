//! `limpid denoise` from pictures to pictures: as large, as deep and of the same colours as they were. Of small pictures there are as
//! many under way as threads.

mod page;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{PoisonError, RwLock};

use anyhow::{Context, Result};

use super::output_place::{publish_beside, refuse_results, remove_old};
use super::path_kind::{self, kind};
use super::print::print;
use crate::engine::inference::Inference;
use crate::error::{self, Kind};
use crate::image::Split;
use crate::interrupt;
use crate::ordered::in_order;
use crate::picture::{Format, Reader, Shared, Writer, is_small};
use crate::progress::Progress;
use crate::source::settings::{Faults, Pages};
use crate::source::{Animated, Folder, REJECTED, Reject, Rejections, summary_of_rejected};
use crate::store;
use crate::store::watch::Watch;
use crate::table::write_batch;
use page::Turn;

/// Whether a path names a picture file, and not a folder.
pub fn is_picture_name(path: &Path) -> bool {
    Format::of_name(path).is_some() && !store::is_folder(path)
}

/// A picture and where it goes.
struct Job {
    /// Its name among the inputs.
    name: PathBuf,
    input: PathBuf,
    output: PathBuf,
    format: Format,
}

/// How pictures are cleaned.
pub struct Cleaner<'a> {
    /// The model, for any size.
    pub model: &'a Inference,
    /// As many pictures are under way at once, unless they are large.
    pub threads: usize,
    /// What is done with pictures that cannot be used.
    pub faults: Faults,
    /// Which pages of a TIFF are taken.
    pub pages: Pages,
    /// Where progress is told.
    pub progress: &'a Progress,
    /// Counts the frames that are passed over.
    pub animated: Animated,
}

impl Cleaner<'_> {
    /// Cleans pictures: one, to the file that `output` names, or with `all` each one of the inputs, to the folder. Their names are
    /// printed in the order of the inputs.
    ///
    /// # Errors
    /// A model or places that do not fit; the first picture that cannot be used, unless such are left out; the file system.
    pub fn denoise(&self, inputs: &[PathBuf], output: &Path, all: bool) -> Result<()> {
        self.model.reach()?;
        refuse_results(output)?;
        let jobs = if all { jobs(inputs, output, self.progress)? } else { vec![job(inputs, output)?] };
        for Job { input, output, .. } in &jobs {
            if store::real(output).is_some_and(|output| store::real(input) == Some(output)) {
                let advice = "name another place with -o";
                let message = format!("{} would be overwritten by its own result; {advice}", input.display());
                return Err(error::settings(message));
            }
        }
        let rejections = Rejections::of_command(self.faults);
        let task = (jobs.len() > 1).then(|| self.progress.task("denoise", jobs.len() as u64, "pictures"));
        // Small pictures are taken side by side, a large one by itself, on all threads.
        let turns = RwLock::new(());
        let work = |(id, job): (u64, &Job)| {
            interrupt::check()?;
            let written = if is_small(&job.input) {
                let _turn = turns.read().unwrap_or_else(PoisonError::into_inner);
                self.write(job, Turn::Beside(self.threads))
            } else {
                let _turn = turns.write().unwrap_or_else(PoisonError::into_inner);
                self.write(job, Turn::Alone(self.threads))
            };
            task.iter().for_each(|task| task.advance(1));
            // The fault of the picture, and of nothing else; a link may lead nowhere.
            let is_its_fault = |cause: &anyhow::Error| {
                matches!(error::kind(cause), Kind::Data | Kind::Settings)
                    || matches!(store::of(&job.input).kind(&job.input), Ok(None))
            };
            match written {
                Err(cause) if rejections.skips() && is_its_fault(&cause) => {
                    let (path, name) = (job.name.display().to_string(), job.input.display().to_string());
                    rejections.add(Reject { split: Split::Test, id, path, name, reason: format!("{cause:#}") })?;
                    Ok(None)
                }
                written => {
                    let notes = written.with_context(|| format!("cannot denoise {}", job.input.display()))?;
                    Ok(Some((job.output.clone(), notes)))
                }
            }
        };
        let told = |written: Option<(PathBuf, Vec<String>)>| {
            let Some((output, notes)) = written else { return Ok(()) };
            notes.iter().for_each(|note| self.progress.note(note));
            print(output.display())
        };
        in_order(self.threads, (0..).zip(&jobs).map(Ok), work, told).map_err(|cause| {
            let is_ended = interrupt::requested() && error::kind(&cause) == Kind::TryAgain;
            if is_ended { error::try_again("interrupted; the same command begins anew") } else { cause }
        })?;
        self.animated.line().iter().for_each(|line| self.progress.note(line));
        let rejected = rejections.listed();
        if rejected.len() == jobs.len() {
            return Err(rejections.failure(&rejected, ""));
        }
        if all {
            if !rejections.skips() {
                remove_old(&output.join(REJECTED))?;
            }
            for (name, table) in rejections.table()? {
                let place = output.join(name);
                let write =
                    |folder: &Path, temporary: &dyn Fn(&str) -> String| write_batch(folder, &temporary(name), &table);
                publish_beside(&place, &[], write, || Ok(()))?;
                summary_of_rejected(&table, &place).iter().for_each(|summary| self.progress.note(summary));
            }
        }
        Ok(())
    }

    /// Writes one picture beside its place and, if its input has not changed meanwhile, renames it into it. Returns what there is
    /// to tell about it.
    fn write(&self, job: &Job, turn: Turn) -> Result<Vec<String>> {
        let Job { input, output, format, .. } = job;
        let watch = Watch::new(|| Ok(vec![input.clone()]))?;
        let mut reader = error::held(Reader::open(input), || watch.check())?;
        format.check(reader.header())?;
        page::check(self.model, reader.header(), turn)?;
        if reader.has_more_pages() {
            match self.pages {
                Pages::All => format.check_pages()?,
                Pages::First => {}
                Pages::Error => return Err(error::data("it has several pages; --pages says which are taken")),
            }
        }
        let (frames, mut notes) = (reader.header().frames, Vec::new());
        if reader.header().profile.is_some() && !format.has_profile() {
            notes.push(format!("{} lacks the colour profile of {}", output.display(), input.display()));
        }
        store::of(output).create_folder(output.parent().unwrap_or(Path::new("")))?;
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let write = |folder: &Path, temporary: &dyn Fn(&str) -> String| {
            let temporary = folder.join(temporary(&name));
            let file = Rc::new(RefCell::new(store::of(&temporary).create(&temporary)?));
            let more = |reader: &Reader| self.pages == Pages::All && reader.has_more_pages();
            let mut writer = Writer::new(Box::new(Shared(file.clone())), *format, reader.header(), more(&reader))?;
            loop {
                let task = self.progress.task(&name, reader.header().height as u64, "rows");
                page::write(self.model, &mut reader, &mut writer, turn, &task)?;
                let Some(page) = more(&reader).then(|| reader.next_page()).transpose()?.flatten() else { break };
                reader = page;
                format.check(reader.header())?;
                writer.next_page(reader.header(), more(&reader))?;
            }
            writer.finish()?;
            let file = Rc::into_inner(file).ok_or_else(|| error::bug("an encoder keeps its file"))?;
            file.into_inner().finish()
        };
        publish_beside(output, &[], write, || watch.check())?;
        self.animated.saw(frames, || input.display().to_string());
        Ok(notes)
    }
}

/// The one picture that becomes a picture.
fn job(inputs: &[PathBuf], output: &Path) -> Result<Job> {
    let named = output.display();
    let [input] = inputs else {
        let advice = "name a folder with -o, and --pictures for pictures in it";
        return Err(error::settings(format!("{named} is one picture, but there are several inputs; {advice}")));
    };
    if !matches!(kind(input)?, path_kind::Kind::Picture) {
        let message = format!("{named} is a picture, but {} is none", input.display());
        return Err(error::settings(format!("{message}; name a folder with -o")));
    }
    let format = Format::of_name(output).ok_or_else(|| error::bug(format!("{named} is no picture")))?;
    Ok(Job { name: input.clone(), input: input.clone(), output: output.to_owned(), format })
}

/// All pictures of the inputs.
fn jobs(inputs: &[PathBuf], output: &Path, progress: &Progress) -> Result<Vec<Job>> {
    if is_picture_name(output) || store::is_file(output) {
        let message = format!("--pictures writes to a folder, but {} is a file", output.display());
        return Err(error::settings(format!("{message}; name a folder with -o, or leave --pictures out")));
    }
    let place = store::nearest_real(output);
    let mut jobs: Vec<Job> = Vec::new();
    for input in inputs {
        let pictures = match kind(input)? {
            path_kind::Kind::Folder => {
                if store::real(input).is_some_and(|input| place.as_ref().is_some_and(|place| place.starts_with(input)))
                {
                    let (output, input) = (output.display(), input.display());
                    let message = format!("{output} lies in {input}, whose pictures the next run would read too");
                    return Err(error::settings(format!("{message}; name a folder outside of it")));
                }
                let files = Folder::files(input, Some(progress))?;
                if files.is_empty() {
                    return Err(error::data(format!("{} holds no images", input.display())));
                }
                files
                    .into_iter()
                    .map(|file| (file.strip_prefix(input).unwrap_or(&file).to_owned(), file.clone()))
                    .collect()
            }
            path_kind::Kind::Picture => vec![(PathBuf::from(input.file_name().unwrap_or_default()), input.clone())],
            _ => {
                let message = format!("{} is neither a picture nor a folder", input.display());
                return Err(error::settings(format!("{message}; leave --pictures out to write a table")));
            }
        };
        for (name, input) in pictures {
            let (place, format) = Format::of_result(&name).ok_or_else(|| {
                let message = format!("the name of {} does not say its format", input.display());
                error::settings(format!("{message}; end it with .png, .tif, .jpg, .webp, .gif or .bmp"))
            })?;
            jobs.push(Job { input, output: output.join(place), name, format });
        }
    }
    let mut places: Vec<_> = jobs.iter().map(|job| (&job.output, &job.input)).collect();
    places.sort();
    if let Some([(output, first), (_, second)]) = places.array_windows().find(|[one, other]| one.0 == other.0) {
        let (output, first, second) = (output.display(), first.display(), second.display());
        return Err(error::settings(format!("{first} and {second} would both be written to {output}")));
    }
    Ok(jobs)
}
