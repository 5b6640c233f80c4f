//! Scores of the model's images, and of the baselines', all together and by class, and the images with the lowest and highest error.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::baselines::{Baselines, Batch, Pairs, different};
use crate::image::ImageShape;
use crate::progress::Task;
use crate::quality::metrics::{ClassScores, ImageError, Omitted};
use crate::quality::{Baseline, ImageScore, Scorer, Scores, entropy, psnr};
use crate::table::{Images, Table, errors, ids};

/// Images among the best and among the worst.
const EXTREMES: usize = 10;
/// Most classes that are scored one by one.
const MOST_CLASSES: usize = 100;

/// The scores of some ways to make the images of a test split.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageScores {
    /// Mean entropy of a clean pixel; none without images.
    pub floor: Option<f64>,
    /// Of all images.
    pub all: Vec<Scores>,
    /// Of those of each class; none if there are too many.
    pub classes: Vec<ClassScores>,
}

impl ImageScores {
    /// These, and behind them those of other ways to make the same images.
    pub fn before(mut self, others: ImageScores) -> Self {
        self.all.extend(others.all);
        for (class, other) in self.classes.iter_mut().zip(others.classes) {
            debug_assert_eq!((class.class, class.images), (other.class, other.images));
            class.scores.extend(other.scores);
        }
        self
    }
}

/// The scores of a model's images, and those with the lowest and the highest error; none without clean images.
#[derive(Default)]
pub struct ImageResults {
    /// Its scores.
    pub scores: ImageScores,
    /// The lowest errors.
    pub best: Vec<ImageError>,
    /// The highest errors.
    pub worst: Vec<ImageError>,
    /// The error of each image as it was written, with its label.
    pub errors: Vec<(f32, Option<i64>)>,
}

/// Accumulates the scores of some images.
#[derive(Clone)]
struct Group {
    images: u64,
    pixels: u64,
    floor: f64,
    scorers: Vec<Scorer>,
}

impl Group {
    fn add(&mut self, entropy: f64, scores: &[ImageScore]) {
        self.images += 1;
        self.pixels += scores.first().map_or(0, |score| score.pixels as u64);
        self.floor += entropy;
        self.scorers.iter_mut().zip(scores).for_each(|(scorer, score)| scorer.add(score));
    }

    fn scores(&self, names: &[(String, Option<Baseline>)]) -> (f64, Vec<Scores>) {
        let floor = self.floor / self.pixels as f64;
        let scores = self.scorers.iter().zip(names);
        (floor, scores.map(|(scorer, (name, baseline))| scorer.scores(name, *baseline, floor)).collect())
    }
}

/// Accumulates the scores of all images, and of those of each class.
struct Tally {
    names: Vec<(String, Option<Baseline>)>,
    none: Group,
    all: Group,
    classes: BTreeMap<i64, Group>,
}

impl Tally {
    fn new(names: Vec<(String, Option<Baseline>)>) -> Self {
        let none = Group { images: 0, pixels: 0, floor: 0.0, scorers: vec![Scorer::default(); names.len()] };
        Self { names, all: none.clone(), none, classes: BTreeMap::new() }
    }

    /// Adds images, of which each of `sets` is a version, and returns the scores of each image, one for each version.
    fn add(&mut self, pairs: &Batch<'_>, sets: &[Vec<f32>]) -> Vec<Vec<ImageScore>> {
        let mut start = 0;
        let rows = pairs.shapes.split(pairs.clean).map(|(shape, clean)| {
            let range = start..start + clean.len();
            start = range.end;
            (shape, clean, range)
        });
        let rows: Vec<_> = rows.collect();
        let score = |(shape, clean, range): (ImageShape, &[f32], Range<usize>)| {
            let images = sets.iter().map(|set| &set[range.clone()]);
            (entropy(clean), images.map(|made| ImageScore::of(made, clean, shape)).collect())
        };
        let scored: Vec<(f64, Vec<ImageScore>)> = rows.into_par_iter().map(score).collect();
        for ((entropy, scores), label) in scored.iter().zip(pairs.labels) {
            self.all.add(*entropy, scores);
            if let Some(label) = label
                && self.classes.len() <= MOST_CLASSES
            {
                self.classes.entry(label).or_insert_with(|| self.none.clone()).add(*entropy, scores);
            }
        }
        scored.into_iter().map(|(_, scores)| scores).collect()
    }

    fn has_too_many_classes(&self) -> bool {
        self.classes.len() > MOST_CLASSES
    }

    fn scores(mut self) -> ImageScores {
        if self.has_too_many_classes() {
            self.classes.clear();
        }
        let (floor, all) = self.all.scores(&self.names);
        let classes = self.classes.into_iter().map(|(class, group)| ClassScores {
            class,
            images: group.images,
            scores: group.scores(&self.names).1,
        });
        ImageScores { floor: Some(floor), all, classes: classes.collect() }
    }
}

/// Scores the images that the model made of the test split, called `name`.
///
/// # Errors
/// Tables that are damaged or do not hold the same rows, interruption.
pub fn score(name: &str, test: &Pairs<'_>, made: &Table, task: &Task) -> Result<ImageResults> {
    let extent = test.clean.extent()?;
    let mut tally = Tally::new(vec![(name.to_owned(), None)]);
    let mut results = Vec::new();
    let mut written = Vec::new();
    let mut reader = made.all();
    test.each(test.clean.rows(), |pairs| {
        let batch = reader.next().transpose()?.ok_or_else(|| different(test.clean, made))?;
        if ids(&batch)?.values() != pairs.ids {
            return Err(different(test.clean, made));
        }
        let images = Images::of(&batch, extent)?;
        if images.shapes() != pairs.shapes {
            return Err(different(test.clean, made));
        }
        let scored = tally.add(pairs, &[images.numbers()]);
        for ((scores, label), &id) in scored.iter().zip(pairs.labels).zip(pairs.ids) {
            let mse = scores[0].squared / scores[0].pixels as f64;
            results.push(ImageError { id, label, mse, psnr: psnr(mse) });
        }
        written.extend(errors(&batch)?.values().iter().copied().zip(pairs.labels));
        task.advance(pairs.ids.len() as u64);
        Ok(())
    })?;
    // Ties are sorted by id.
    results.sort_by(|a, b| a.mse.total_cmp(&b.mse).then(a.id.cmp(&b.id)));
    let best = results.iter().take(EXTREMES).cloned().collect();
    results.sort_by(|a, b| b.mse.total_cmp(&a.mse).then(a.id.cmp(&b.id)));
    let worst = results.iter().take(EXTREMES).cloned().collect();
    Ok(ImageResults { scores: tally.scores(), best, worst, errors: written })
}

/// Scores the baselines' images of the test split.
///
/// # Errors
/// As [`score`].
pub fn score_baselines(test: &Pairs<'_>, baselines: &mut Baselines, task: &Task) -> Result<ImageScores> {
    let names = baselines.names().into_iter().map(|(name, baseline)| (name, Some(baseline)));
    let mut tally = Tally::new(names.collect());
    test.each(test.clean.rows(), |pairs| {
        tally.add(pairs, &baselines.images(pairs));
        task.advance(pairs.ids.len() as u64);
        Ok(())
    })?;
    if tally.has_too_many_classes() {
        baselines.omitted.push(Omitted::new("classes", format!("the labels have more than {MOST_CLASSES} values")));
    }
    let mut scores = tally.scores();
    // The wider median filter is kept only if it is better.
    let medians: Vec<_> = scores.all.iter().filter(|scores| scores.baseline == Some(Baseline::Median)).collect();
    if let [narrow, wide] = medians.as_slice()
        && narrow.mse <= wide.mse
    {
        let wide = wide.what.clone();
        scores.all.retain(|scores| scores.what != wide);
        scores.classes.iter_mut().for_each(|class| class.scores.retain(|scores| scores.what != wide));
    }
    Ok(scores)
}
