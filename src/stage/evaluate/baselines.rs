//! The baselines: images made without training, which the model's images are compared with.

use anyhow::Result;
use arrow_array::Int64Array;
use rayon::prelude::*;

use crate::error;
use crate::image::{Extent, ImageShape, Shapes};
use crate::interrupt;
use crate::progress::Progress;
use crate::quality::Baseline;
use crate::quality::linear::{Pca, Ridge};
use crate::quality::median::median;
use crate::quality::metrics::Omitted;
use crate::quality::moments::{Means, Moments};
use crate::table::{Images, Table, ids, labels};

/// Most numbers of an image for which covariances are computed: three matrices of this many squared doubles, 400 MB.
pub const MOST_PIXELS: usize = 4096;

/// Clean images and, if the task is denoising, the noisy ones, row by row.
pub struct Pairs<'a> {
    /// The clean images.
    pub clean: &'a Table,
    /// The noisy images, if the task is denoising.
    pub noisy: Option<&'a Table>,
}

/// Some rows of both tables.
pub struct Batch<'a> {
    /// The ids.
    pub ids: &'a [i64],
    /// The shapes of the images.
    pub shapes: &'a Shapes,
    /// The clean images, one after the other.
    pub clean: &'a [f32],
    /// The noisy ones.
    pub noisy: Option<&'a [f32]>,
    /// The labels.
    pub labels: &'a Int64Array,
}

impl Pairs<'_> {
    /// Hands the first `rows` rows to `take`, batch by batch.
    ///
    /// # Errors
    /// Tables that are damaged or do not hold the same rows, errors of `take`, interruption.
    pub fn each(&self, rows: u64, mut take: impl FnMut(&Batch<'_>) -> Result<()>) -> Result<()> {
        let extent = self.clean.extent()?;
        let mut beside = self.noisy.map(Table::all);
        self.clean.first(rows, |batch| {
            let clean = Images::of(batch, extent)?;
            let noisy = match (&mut beside, self.noisy) {
                (Some(reader), Some(table)) => {
                    let other =
                        reader.next().transpose()?.map(|other| other.slice(0, batch.num_rows().min(other.num_rows())));
                    let other =
                        other.filter(|other| ids(other).is_ok_and(|found| ids(batch).is_ok_and(|ids| found == ids)));
                    let other = other.ok_or_else(|| different(self.clean, table))?;
                    let noisy = Images::of(&other, extent)?;
                    if noisy.shapes() != clean.shapes() {
                        return Err(different(self.clean, table));
                    }
                    Some(noisy.numbers())
                }
                _ => None,
            };
            let (ids, labels) = (ids(batch)?.values(), labels(batch)?);
            let (shapes, clean, noisy) = (clean.shapes(), &clean.numbers(), noisy.as_deref());
            take(&Batch { ids, shapes, clean, noisy, labels })?;
            interrupt::check()
        })
    }
}

/// The error for two tables that do not hold the same rows.
pub fn different(left: &Table, right: &Table) -> anyhow::Error {
    let (left, right) = (left.path().display(), right.path().display());
    error::data(format!("{left} and {right} do not hold the same rows"))
}

/// The fitted baselines.
pub struct Baselines {
    /// Training images that they were fitted to.
    pub rows: u64,
    /// The mean of all pixels; of vectors, that of each number.
    constant: Vec<f32>,
    vectors: bool,
    denoising: bool,
    pca: Option<Pca>,
    ridge: Option<Ridge>,
    /// The leading components of clean images, for features.
    pub components: Option<Pca>,
    /// Baselines that were left out, with reasons.
    pub omitted: Vec<Omitted>,
}

impl Baselines {
    /// Fits them to the first `rows` rows of the training split. `code` is the size of the model's code, if it has one.
    ///
    /// # Errors
    /// Unreadable tables, interruption.
    pub fn fit(train: &Pairs<'_>, rows: u64, code: Option<usize>, progress: &Progress) -> Result<Self> {
        let extent = train.clean.extent()?;
        // Matrices are for images of one size.
        let (len, denoising) = (extent.fixed().map_or(0, ImageShape::len), train.noisy.is_some());
        let matrices = (1..=MOST_PIXELS).contains(&len);
        let moments = |wanted: bool| (matrices && wanted).then(|| Moments::of(len));
        let (mut mean, mut clean, mut noisy) = (Means::new(len), moments(code.is_some()), moments(denoising));
        let mut cross = (matrices && denoising).then(|| Moments::between(len, len));
        let (mut rows_seen, mut sum, mut count) = (0, 0.0, 0_u64);
        let task = progress.task("evaluate, baselines", train.clean.rows().min(rows), "images");
        train.each(rows, |batch| {
            let (clean_images, noisy_images) = (batch.clean, batch.noisy.unwrap_or(batch.clean));
            rows_seen += batch.ids.len() as u64;
            task.advance(batch.ids.len() as u64);
            if len > 0 {
                mean.add(clean_images);
            } else {
                count += clean_images.len() as u64;
                sum += clean_images.iter().map(|pixel| f64::from(*pixel)).sum::<f64>();
            }
            // The products of large images take seconds.
            if let Some(clean) = &mut clean {
                clean.add(clean_images);
                interrupt::check()?;
            }
            if let Some(noisy) = &mut noisy {
                noisy.add(noisy_images);
                interrupt::check()?;
            }
            if let Some(cross) = &mut cross {
                cross.add_pairs(noisy_images, clean_images);
                interrupt::check()?;
            }
            Ok(())
        })?;
        drop(task);
        let mut omitted = Vec::new();
        let mut leave_out = |what: &str, reason: String| omitted.push(Omitted::new(what, reason));
        let too_large = match extent {
            Extent::Fixed(shape) => format!("images of {shape} have more than {MOST_PIXELS} numbers"),
            Extent::Mixed { .. } => "the images have different sizes".to_owned(),
        };
        let fit = |(code, clean): (usize, &Moments)| {
            let task = progress.wait("evaluate, principal components");
            Pca::fit(clean, code, &|| task.advance(0))
        };
        let components = code.zip(clean.as_ref()).map(fit).transpose()?;
        match code {
            None => leave_out("pca", "the model has no code whose size it could have".to_owned()),
            Some(_) if !matrices => leave_out("pca", too_large.clone()),
            Some(_) => {}
        }
        let fit = |(noisy, cross): (&Moments, &Moments)| {
            let task = progress.wait("evaluate, best linear map");
            Ridge::fit(noisy, cross, &|| task.advance(0))
        };
        let ridge = noisy.as_ref().zip(cross.as_ref()).map(fit).transpose()?;
        if denoising && !matrices {
            leave_out("ridge", too_large);
        }
        let pca = components.clone().map(|pca| match &noisy {
            Some(noisy) => pca.with_input_mean(&noisy.left_means()),
            None => pca,
        });
        let vectors = extent.fixed().is_some_and(ImageShape::is_vector);
        let constant = match len {
            0 => vec![sum / count.max(1) as f64],
            _ if vectors => mean.means(),
            _ => vec![mean.means().iter().sum::<f64>() / len as f64],
        };
        let constant = constant.into_iter().map(|mean| mean as f32).collect();
        if vectors && denoising {
            leave_out("median", "numbers of different columns are no neighbours".to_owned());
        }
        Ok(Self { rows: rows_seen, constant, vectors, denoising, pca, ridge, components, omitted })
    }

    /// The baselines, in the order of [`Self::images`].
    pub fn names(&self) -> Vec<(String, Baseline)> {
        let means = if self.vectors { "column means" } else { "constant mean" };
        let mut names = vec![(means.to_owned(), Baseline::ConstantMean)];
        if self.denoising {
            names.insert(0, ("noisy input".to_owned(), Baseline::NoisyInput));
        }
        if self.denoising && !self.vectors {
            names.push(("median 3×3".to_owned(), Baseline::Median));
            names.push(("median 5×5".to_owned(), Baseline::Median));
        }
        if let Some(pca) = &self.pca {
            names.push((format!("PCA {}", pca.size()), Baseline::Pca));
        }
        if self.ridge.is_some() {
            names.push(("ridge".to_owned(), Baseline::Ridge));
        }
        names
    }

    /// The baselines' images for some inputs, one list for each baseline. Those that are fitted are clipped to [0, 1]; noise that
    /// was not clipped is scored as it is, as papers do.
    pub fn images(&self, Batch { shapes, clean, noisy, .. }: &Batch<'_>) -> Vec<Vec<f32>> {
        let input = noisy.unwrap_or(clean);
        let mut made = vec![self.constant.iter().copied().cycle().take(clean.len()).collect()];
        if self.denoising {
            made.insert(0, input.to_vec());
        }
        if self.denoising && !self.vectors {
            let filtered = |radius: usize| -> Vec<f32> {
                let images: Vec<_> = shapes.split(input).collect();
                images.into_par_iter().flat_map_iter(|(shape, image)| median(image, shape, radius)).collect()
            };
            made.extend([filtered(1), filtered(2)]);
        }
        let fitted = made.len();
        made.extend(self.pca.as_ref().map(|pca| pca.reconstruct(&pca.project(input))));
        made.extend(self.ridge.as_ref().map(|ridge| ridge.apply(input)));
        made[fitted..].iter_mut().flatten().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
        made
    }
}
