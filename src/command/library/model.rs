//! A trained model that is applied to images again and again, from any number of threads.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::images::{Found, Images, Reading};
use crate::command::apply::misfit;
use crate::command::arguments::available;
use crate::command::checked_model::load_checked;
use crate::device::DeviceChoice;
use crate::engine::codes::{Codes, Coding};
use crate::engine::inference::Inference;
use crate::engine::making::{Direction, Making};
use crate::error;
use crate::image::{Pixels, Split};
use crate::interrupt;
use crate::progress::{Progress, Task};
use crate::source::Source;
use crate::store;
use crate::table::{RowGroup, batch_rows, with_metadata};

/// Row groups that are under way at a time, for each thread.
const GROUPS: usize = 4;

/// A trained model.
pub struct Model {
    inference: Inference,
    /// What tables say of it.
    named: BTreeMap<String, String>,
    threads: usize,
    workers: Mutex<Option<Arc<Workers>>>,
}

/// The threads of a model. They are not rayon's global ones, which a forked process lacks for ever.
struct Workers {
    /// The process that started them.
    process: u32,
    pool: ThreadPool,
    /// Locked while pictures are cut, which is the work of all threads: none may begin other pictures meanwhile.
    turn: Mutex<()>,
}

/// Rows in memory.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl Model {
    /// Loads the model of a run directory, or of the folder of its train stage, on a device; `threads` are all cores unless given.
    ///
    /// # Errors
    /// Missing or damaged files; a device that is not there.
    pub fn load(path: &Path, device: &str, threads: Option<usize>, progress: &Progress) -> Result<Self> {
        let threads = threads.unwrap_or_else(available);
        if !(1..=4096).contains(&threads) {
            return Err(error::settings(format!("threads = {threads}: 1 to 4096 work")));
        }
        let workers = Workers::start(threads)?;
        let device = device.parse::<DeviceChoice>().map_err(error::settings)?;
        let device = device.open(threads, |reason| progress.note(reason))?;
        if !store::exists(path) {
            return Err(error::settings(format!("{} does not exist", path.display())));
        }
        let (inference, named) = workers.pool.install(|| load_checked(path, &device))?;
        Ok(Self { inference, named, threads, workers: Mutex::new(Some(Arc::new(workers))) })
    }

    /// Rows, columns and channels of the images that the model was trained on.
    pub fn image(&self) -> [usize; 3] {
        let image = self.inference.image();
        [image.height, image.width, image.channels]
    }

    /// Numbers of a code; none if the model has no code.
    pub fn code_size(&self) -> Option<usize> {
        self.inference.code_size().ok()
    }

    /// The names of the columns of rows that the model takes, if it takes rows; the same one for each place of a list.
    pub fn columns(&self) -> Option<Vec<String>> {
        let columns = self.inference.columns()?.columns().iter();
        Some(columns.map(|column| column.column.clone()).collect())
    }

    /// Codes of images, as `limpid encode` writes them; `codes` says of what, as its option does, and `error` whether each has the
    /// error of its reconstruction, which takes most of the time.
    ///
    /// # Errors
    /// Images that the model does not take; interruption.
    pub fn encode(
        &self,
        images: Images,
        reading: &Reading,
        (codes, error): (&str, bool),
        progress: &Progress,
    ) -> Result<Rows> {
        let codes = <Codes as clap::ValueEnum>::from_str(codes, false)
            .map_err(|_| error::settings(format!("codes = {codes:?}: \"image\", \"pooled\" and \"patches\" work")))?;
        self.inference.code_size()?;
        self.apply(&self.inference, images, reading, Direction::Encode(Coding { codes, error }), progress)
    }

    /// What the model makes of images, as `limpid denoise` writes it: bytes of bytes, and floats of floats, or of all if `floats`.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn denoise(
        &self,
        images: Images,
        reading: &Reading,
        (ensemble, floats): (bool, bool),
        progress: &Progress,
    ) -> Result<Rows> {
        let model = self.inference.clone().with_ensemble(ensemble)?;
        let pixels = if floats { Pixels::F32 } else { Pixels::U8 };
        self.apply(&model, images, reading, Direction::Denoise(pixels), progress)
    }

    /// Images that codes stand for, one after the other, in [0, 1], or rows in the units of their columns.
    ///
    /// # Errors
    /// As [`Inference::decode`].
    pub fn decode(&self, codes: &[f32]) -> Result<Vec<f32>> {
        let workers = self.workers()?;
        let mut made = workers.pool.install(|| self.inference.decode(codes))?;
        if let Some(columns) = self.inference.columns() {
            for (number, column) in made.iter_mut().zip(columns.columns().iter().cycle()) {
                *number = column.original(*number);
            }
        }
        Ok(made)
    }

    fn apply(
        &self,
        model: &Inference,
        images: Images,
        reading: &Reading,
        direction: Direction,
        progress: &Progress,
    ) -> Result<Rows> {
        let workers = self.workers()?;
        let (name, pictures) = (images.name().to_owned(), images.are_pictures());
        let from = Path::new(&name);
        let source = match workers.pool.install(|| images.source(model, reading, progress))? {
            Found::Source(source) => source,
            Found::None(content) => {
                let schema = Making::new(model, content, (&None, None), direction, from)?.schema;
                return Ok(Rows { schema: with_metadata(&schema, &self.named), batches: Vec::new() });
            }
        };
        let content = source.content();
        let cuts =
            matches!(direction, Direction::Denoise(_)) && content.extent().is_some_and(|images| model.cuts(images));
        let _turn = cuts.then(|| workers.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let labels = (source.classes(), source.label_lists());
        let making = Making::new(model, content, (&labels.0, labels.1.as_ref()), direction, from);
        let advice = ["resize=True or crop=True makes pictures fit", "codes=\"pooled\" or \"patches\" cuts them"];
        let making = making.map_err(|cause| misfit(&cause, &*source, pictures, model, direction, advice))?;
        let task = progress.task(direction.verb(), source.count(Split::Test), "images");
        let batches = workers.pool.install(|| self.made(&*source, &making, &task, cuts))?;
        source.passed_over().iter().for_each(|line| progress.note(line));
        // Fails now if pictures could not be decoded.
        source.tables()?;
        Ok(Rows { schema: with_metadata(&making.schema, &self.named), batches })
    }

    /// What becomes of all images of a source, in their order; one row group after the other if all threads work on each.
    fn made(
        &self,
        source: &dyn Source,
        making: &Making<'_>,
        task: &Task,
        one_by_one: bool,
    ) -> Result<Vec<RecordBatch>> {
        // No row group is written, so that threads share the images as they like: no number depends on it.
        let share = source.count(Split::Test).div_ceil(self.threads as u64);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let mut groups = source.row_groups(Split::Test, batch_rows(source.content()).min(share).max(1))?;
        let make = |group: RowGroup<'_>| -> Result<Vec<RecordBatch>> {
            let mut made = Vec::new();
            group(&mut |batch| {
                interrupt::check()?;
                made.push((making.map)(&batch)?);
                task.advance(batch.num_rows() as u64);
                Ok(())
            })?;
            Ok(made)
        };
        let mut batches = Vec::new();
        loop {
            let next = groups.by_ref().take(GROUPS * self.threads).collect::<Result<Vec<_>>>()?;
            if next.is_empty() {
                return Ok(batches);
            }
            let made: Vec<_> = if one_by_one {
                next.into_iter().map(make).collect()
            } else {
                next.into_par_iter().map(make).collect()
            };
            for made in made {
                batches.extend(made?);
            }
        }
    }

    /// The threads of this process.
    fn workers(&self) -> Result<Arc<Workers>> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workers) = workers.as_ref().filter(|workers| workers.process == std::process::id()) {
            return Ok(workers.clone());
        }
        let started = Arc::new(Workers::start(self.threads)?);
        // Those of the process that this one was forked from cannot be ended here.
        std::mem::forget(workers.replace(started.clone()));
        Ok(started)
    }
}

impl Workers {
    fn start(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start the threads")?;
        Ok(Self { process: std::process::id(), pool, turn: Mutex::default() })
    }
}
