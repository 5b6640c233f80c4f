//! Classifiers on the codes, and on features that need no training.
//!
//! One kind of features is in memory at a time, limited by `evaluate.fit-rows` and [`MOST_BYTES`], besides the working memory of
//! a classifier.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use arrow_array::RecordBatch;
use serde_json::{Value, json};

use super::baselines::{MOST_PIXELS, different};
use crate::engine::codes::Coder;
use crate::image::{Extent, ImageShape, Pixels};
use crate::interrupt;
use crate::progress::Progress;
use crate::quality::code::{CodeHealth, CodeScan};
use crate::quality::linear::Pca;
use crate::quality::logistic::Logistic;
use crate::quality::metrics::{FeatureKind, Omitted, Probe, Probes};
use crate::quality::neighbours;
use crate::quality::rows::{Rows, Values};
use crate::table::{Images, Table, ids, labels, lists, pixels};

/// Most memory for one kind of features of a split.
const MOST_BYTES: usize = 512 << 20;
/// Most classes that classifiers are fitted for.
const MOST_CLASSES: usize = 100;
/// Most weights of a classifier; L-BFGS stores some twenty times as many numbers.
const MOST_WEIGHTS: usize = 4 << 20;

/// The tables that features come from, of the training and the test split each.
pub struct FeatureTables {
    /// The tables of encode.
    pub codes: [Table; 2],
    /// The images that encode read.
    pub images: [Table; 2],
}

/// The images of a split that classifiers see: their rows, and the class of each.
struct Labelled {
    rows: Vec<usize>,
    classes: Vec<u32>,
}

impl FeatureTables {
    /// Statistics of the test codes.
    ///
    /// # Errors
    /// A table that is damaged, interruption.
    pub fn health(&self, progress: &Progress) -> Result<CodeHealth> {
        let table = &self.codes[1];
        let size = table.code_size()?;
        let mut scan = CodeScan::new(size, size <= MOST_PIXELS);
        for batch in table.all() {
            scan.add(&pixels::values(lists(&batch?, "code")?));
            interrupt::check()?;
        }
        let task = progress.wait("evaluate, rank of the codes");
        scan.health(&|| task.advance(0))
    }

    /// What fits and tests classifiers on features of the same images, at most `limit` of each split; none if there is nothing to
    /// tell apart.
    ///
    /// # Errors
    /// Tables that are damaged or do not hold the same rows, interruption.
    pub fn prober<'a>(&'a self, limit: u64, progress: &'a Progress) -> Result<Result<Prober<'a>, Omitted>> {
        let size = self.codes[0].code_size()?;
        let extent = self.images[0].extent()?;
        let pixel_count = extent.fixed().map(ImageShape::len).filter(|&count| count <= MOST_PIXELS);
        // The codes are the widest features but for the pixels: there are at most as many components.
        let floats = size * size_of::<f32>();
        let pixel_bytes = match self.images[0].content().pixels() {
            Pixels::U8 => pixel_count.unwrap_or(0),
            Pixels::F32 | Pixels::Unclipped => pixel_count.unwrap_or(0) * size_of::<f32>(),
        };
        let limit = (limit as usize).min(MOST_BYTES / floats.max(pixel_bytes)).max(1);
        let [train, test] = self.labelled(limit)?;
        let classes = train.classes.iter().max().map_or(0, |&most| most as usize + 1);
        let omitted = |reason: String| Ok(Err(Omitted::new("probes", reason)));
        if !(2..=MOST_CLASSES).contains(&classes) || test.rows.is_empty() {
            let found = if test.rows.is_empty() && classes > 1 {
                "none of those of training is in test"
            } else {
                &classes.to_string()
            };
            return omitted(format!(
                "classifiers need 2 to {MOST_CLASSES} classes of labelled images in both splits, found {found}"
            ));
        }
        if classes * size > MOST_WEIGHTS {
            return omitted(format!("{classes} classes of {size} features need more than {MOST_WEIGHTS} weights"));
        }
        let seconds = serde_json::Map::new();
        Ok(Ok(Prober { tables: self, size, extent, pixel_count, train, test, classes, progress, seconds }))
    }

    /// The labelled images among the first `limit` of each split; of the test split those of classes that training has.
    fn labelled(&self, limit: usize) -> Result<[Labelled; 2]> {
        let read = |split: usize| -> Result<Vec<Option<i64>>> {
            let (table, images) = (&self.codes[split], &self.images[split]);
            let (mut keys, mut found) = (Vec::new(), Vec::new());
            table.first(limit as u64, |batch| {
                keys.extend_from_slice(ids(batch)?.values());
                found.extend(labels(batch)?);
                Ok(())
            })?;
            let mut at = 0;
            images.first(limit as u64, |batch| {
                let here = ids(batch)?.values();
                let same = keys.get(at..at + here.len()).is_some_and(|keys| keys == &here[..]);
                at += here.len();
                if same { Ok(()) } else { Err(different(table, images)) }
            })?;
            if at == keys.len() { Ok(found) } else { Err(different(table, images)) }
        };
        let (train, test) = (read(0)?, read(1)?);
        let mut classes: BTreeMap<i64, u32> = train.iter().flatten().map(|&label| (label, 0)).collect();
        classes.values_mut().enumerate().for_each(|(index, class)| *class = index as u32);
        let keep = |labels: Vec<Option<i64>>| {
            let known = labels.into_iter().enumerate();
            let known = known.filter_map(|(row, label)| Some((row, *classes.get(&label?)?)));
            let (rows, classes) = known.unzip();
            Labelled { rows, classes }
        };
        Ok([keep(train), keep(test)])
    }
}

/// Fits and tests classifiers on features of the labelled images.
pub struct Prober<'a> {
    tables: &'a FeatureTables,
    size: usize,
    extent: Extent,
    /// None if the images have different sizes, or too many pixels.
    pixel_count: Option<usize>,
    train: Labelled,
    test: Labelled,
    classes: usize,
    progress: &'a Progress,
    /// The time that each kind of features took.
    seconds: serde_json::Map<String, Value>,
}

impl Prober<'_> {
    /// The codes.
    ///
    /// # Errors
    /// Tables that are damaged, interruption; so do the others.
    pub fn codes(&mut self) -> Result<Probe> {
        let (tables, size) = (self.tables, self.size);
        self.probe("codes".to_owned(), FeatureKind::Codes, &|split, rows| {
            gather(&tables.codes[split], size, rows, |batch| Ok(pixels::values(lists(batch, "code")?)))
        })
    }

    /// The codes of the model before training.
    pub fn untrained(&mut self, coder: &Coder) -> Result<Probe> {
        let (tables, size, extent) = (self.tables, self.size, self.extent);
        self.probe("untrained encoder".to_owned(), FeatureKind::Untrained, &|split, rows| {
            gather(&tables.images[split], size, rows, |batch| {
                let images = Images::of(batch, extent)?;
                coder.codes(images.shapes(), &images.numbers())
            })
        })
    }

    /// Principal components.
    pub fn components(&mut self, pca: &Pca) -> Result<Probe> {
        let (tables, extent) = (self.tables, self.extent);
        self.probe(format!("PCA {}", pca.size()), FeatureKind::Pca, &|split, rows| {
            let projected = |batch: &RecordBatch| Ok(pca.project(&Images::of(batch, extent)?.numbers()));
            gather(&tables.images[split], pca.size(), rows, projected)
        })
    }

    /// The pixels, unless they are too many.
    pub fn pixels(&mut self) -> Result<Result<Probe, Omitted>> {
        let Some(count) = self.pixel_count else {
            let reason = match self.extent {
                Extent::Fixed(_) => format!("images have more than {MOST_PIXELS} numbers"),
                Extent::Mixed { .. } => "images have different sizes".to_owned(),
            };
            return Ok(Err(Omitted::new("probes on pixels", reason)));
        };
        let tables = self.tables;
        let what = if self.extent.fixed().is_some_and(ImageShape::is_vector) { "columns" } else { "pixels" };
        let raw = |split: usize, rows: &[usize]| gather_pixels(&tables.images[split], count, rows);
        self.probe(what.to_owned(), FeatureKind::Pixels, &raw).map(Ok)
    }

    /// The results on these features, and the seconds that each took which was tried here.
    pub fn results(self, features: Vec<Probe>) -> (Probes, Value) {
        let Self { train, test, classes, seconds, .. } = self;
        let probes = Probes { train_images: train.rows.len(), test_images: test.rows.len(), classes, features };
        (probes, Value::Object(seconds))
    }

    /// Features called `what`, of which `make` gives some rows of a split.
    fn probe(
        &mut self,
        what: String,
        kind: FeatureKind,
        make: &dyn Fn(usize, &[usize]) -> Result<Rows>,
    ) -> Result<Probe> {
        let Self { train, test, classes, progress, .. } = self;
        let start = Instant::now();
        let task = progress.task(&format!("evaluate, linear classifier of {what}"), 0, "steps");
        let [train_rows, test_rows] = [make(0, &train.rows)?, make(1, &test.rows)?];
        let made = start.elapsed().as_secs_f64();
        let linear = Logistic::fit(&train_rows, &train.classes, *classes, &|steps| task.advance(steps))?;
        let linear_accuracy = linear.accuracy(&test_rows, &test.classes);
        let fitted = start.elapsed().as_secs_f64();
        drop(task);
        let task = progress.wait(&format!("evaluate, neighbours of {what}"));
        let waiting = || task.advance(0);
        let neighbours_accuracy =
            neighbours::accuracy(&train_rows, &train.classes, &test_rows, &test.classes, &waiting)?;
        let took = json!({
            "features": round(made), "linear": round(fitted - made),
            "neighbours": round(start.elapsed().as_secs_f64() - fitted),
        });
        self.seconds.insert(what.clone(), took);
        Ok(Probe {
            what,
            kind,
            size: train_rows.width(),
            bytes_per_row: train_rows.bytes_per_row(),
            linear_accuracy,
            linear_converged: linear.converged,
            neighbours_accuracy,
        })
    }
}

/// Applies `make` to the batches of a table that have wanted rows, which ascend; it returns `width` numbers for each row.
fn gather(
    table: &Table,
    width: usize,
    wanted: &[usize],
    make: impl Fn(&RecordBatch) -> Result<Vec<f32>>,
) -> Result<Rows> {
    let mut values = Vec::with_capacity(wanted.len() * width);
    each_wanted(table, wanted, |batch, rows| {
        let made = make(batch)?;
        rows.iter().for_each(|row| values.extend_from_slice(&made[row * width..][..width]));
        Ok(())
    })?;
    Ok(Rows::new(width, Values::Floats(values)))
}

/// The pixels of the wanted rows, as they are stored.
fn gather_pixels(table: &Table, width: usize, wanted: &[usize]) -> Result<Rows> {
    let (mut bytes, mut floats) = (Vec::new(), Vec::new());
    let extent = table.extent()?;
    each_wanted(table, wanted, |batch, rows| {
        let images = Images::of(batch, extent)?;
        let range = |row: &usize| row * width..(row + 1) * width;
        if let Some(values) = images.bytes() {
            rows.iter().for_each(|row| bytes.extend_from_slice(&values[range(row)]));
        } else {
            let values = images.numbers();
            rows.iter().for_each(|row| floats.extend_from_slice(&values[range(row)]));
        }
        Ok(())
    })?;
    let values = if floats.is_empty() { Values::Bytes(bytes) } else { Values::Floats(floats) };
    Ok(Rows::new(width, values))
}

/// Calls `take` with each batch and the wanted rows in it.
fn each_wanted(
    table: &Table,
    wanted: &[usize],
    mut take: impl FnMut(&RecordBatch, &[usize]) -> Result<()>,
) -> Result<()> {
    let (mut start, mut left) = (0, wanted);
    table.first(wanted.last().map_or(0, |last| *last as u64 + 1), |batch| {
        interrupt::check()?;
        let end = start + batch.num_rows();
        let (here, later) = left.split_at(left.partition_point(|&row| row < end));
        let here: Vec<usize> = here.iter().map(|row| row - start).collect();
        (start, left) = (end, later);
        if here.is_empty() { Ok(()) } else { take(batch, &here) }
    })
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
