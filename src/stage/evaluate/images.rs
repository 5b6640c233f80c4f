//! Scores of the model's images and the baselines', all together and by class, and the images with the lowest and highest error.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use rayon::prelude::*;

use super::baselines::{Baselines, Pairs, different};
use crate::image::ImageShape;
use crate::progress::Task;
use crate::quality::metrics::{ClassScores, ImageError, Omitted};
use crate::quality::{Baseline, ImageScore, Scorer, Scores, entropy, psnr};
use crate::table::{Images, Table, errors, ids, labels};

/// Images among the best and among the worst.
const EXTREMES: usize = 10;
/// Most classes that are scored one by one.
const MOST_CLASSES: usize = 100;

/// The scores of a test split; none without clean images.
#[derive(Default)]
pub struct ImageResults {
    /// Mean entropy of a clean pixel.
    pub floor: Option<f64>,
    /// The model's images, then the baselines.
    pub scores: Vec<Scores>,
    /// The same for each class.
    pub classes: Vec<ClassScores>,
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

/// Scores the images that the model made of the test split, called `name`, beside the baselines'.
///
/// # Errors
/// Tables that are damaged or do not hold the same rows, interruption.
pub fn score(
    name: &str,
    test: &Pairs<'_>,
    made: &Table,
    baselines: &mut Baselines,
    task: &Task,
) -> Result<ImageResults> {
    let extent = test.clean.extent()?;
    let mut names = vec![(name.to_owned(), None)];
    names.extend(baselines.names().into_iter().map(|(name, baseline)| (name, Some(baseline))));
    let none = Group { images: 0, pixels: 0, floor: 0.0, scorers: vec![Scorer::default(); names.len()] };
    let (mut all, mut classes) = (none.clone(), BTreeMap::<i64, Group>::new());
    let mut results = Vec::new();
    let mut written = Vec::new();
    let mut reader = made.all();
    test.each(test.clean.rows(), |pairs| {
        let (keys, shapes) = (pairs.ids, pairs.shapes);
        let batch = reader.next().transpose()?.ok_or_else(|| different(test.clean, made))?;
        if ids(&batch)?.values() != keys {
            return Err(different(test.clean, made));
        }
        let images = Images::of(&batch, extent)?;
        if images.shapes() != shapes {
            return Err(different(test.clean, made));
        }
        let mut sets = vec![images.numbers()];
        sets.extend(baselines.images(pairs));
        let mut start = 0;
        let rows = shapes.split(pairs.clean).map(|(shape, clean)| {
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
        let (labels, errors) = (labels(&batch)?, errors(&batch)?);
        for (((entropy, scores), label), &id) in scored.iter().zip(labels).zip(keys) {
            all.add(*entropy, scores);
            if let Some(label) = label
                && classes.len() <= MOST_CLASSES
            {
                classes.entry(label).or_insert_with(|| none.clone()).add(*entropy, scores);
            }
            let mse = scores[0].squared / scores[0].pixels as f64;
            results.push(ImageError { id, label, mse, psnr: psnr(mse) });
        }
        written.extend(errors.values().iter().copied().zip(labels));
        task.advance(keys.len() as u64);
        Ok(())
    })?;
    if classes.len() > MOST_CLASSES {
        classes.clear();
        baselines.omitted.push(Omitted::new("classes", format!("the labels have more than {MOST_CLASSES} values")));
    }
    // Ties are sorted by id.
    results.sort_by(|a, b| a.mse.total_cmp(&b.mse).then(a.id.cmp(&b.id)));
    let best = results.iter().take(EXTREMES).cloned().collect();
    results.sort_by(|a, b| b.mse.total_cmp(&a.mse).then(a.id.cmp(&b.id)));
    let worst = results.iter().take(EXTREMES).cloned().collect();
    let (floor, mut scores) = all.scores(&names);
    let mut classes: Vec<_> = classes
        .into_iter()
        .map(|(class, group)| ClassScores { class, images: group.images, scores: group.scores(&names).1 })
        .collect();
    // The wider median filter is kept only if it is better.
    let medians: Vec<_> = scores.iter().filter(|scores| scores.baseline == Some(Baseline::Median)).collect();
    if let [narrow, wide] = medians.as_slice()
        && narrow.mse <= wide.mse
    {
        let wide = wide.what.clone();
        scores.retain(|scores| scores.what != wide);
        classes.iter_mut().for_each(|class| class.scores.retain(|scores| scores.what != wide));
    }
    Ok(ImageResults { floor: Some(floor), scores, classes, best, worst, errors: written })
}
