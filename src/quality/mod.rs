//! Quality of a model: how close its images are to the clean ones, and how useful its features are.
//!
//! This file scores images; the others hold the baselines and the classifiers on features. The definition of each score is
//! written beside it into `metrics.json`. Sums are f64 and run in the order of the images, so that they do not depend on threads
//! or batches.

pub mod auroc;
pub mod code;
pub mod gate;
pub mod linear;
pub mod logistic;
pub mod map;
pub mod median;
pub mod metrics;
pub mod moments;
pub mod neighbours;
pub mod noise_level;
#[cfg(test)]
mod reference_tests;
pub mod rows;
mod ssim;

use serde::{Deserialize, Serialize};

pub use ssim::ssim;

use crate::image::ImageShape;

/// What a model's images are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Baseline {
    /// The corrupted images as they are.
    NoisyInput,
    /// The mean of all training pixels everywhere.
    ConstantMean,
    /// A median filter.
    Median,
    /// Projection on as many principal components as the code has numbers.
    Pca,
    /// The best linear map from corrupted to clean training images.
    Ridge,
}

/// Scores of a set of images against the clean ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scores {
    /// The name of what was scored.
    pub what: String,
    /// Which baseline it is; none for the model's images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Mean squared error over all pixels, which are in [0, 1]. 0 is perfect.
    pub mse: f64,
    /// Peak signal-to-noise ratio in dB of the MSE of all images together; none if that is 0.
    pub psnr_pooled: Option<f64>,
    /// Mean of the images' own PSNRs in dB, over those that have an error.
    pub psnr_mean: Option<f64>,
    /// Mean structural similarity, at most 1; none for images smaller than its window of 11×11.
    pub ssim: Option<f64>,
    /// Binary cross-entropy in nats per pixel.
    pub cross_entropy: f64,
    /// Cross-entropy less its floor: the part that a model could still remove.
    pub cross_entropy_over_floor: f64,
}

/// Definitions of the scores, for `metrics.json`.
pub const DEFINITIONS: [(&str, &str); 18] = [
    ("mse", "mean over pixels in [0, 1] of the squared difference from the clean image"),
    ("psnr-pooled", "10 log10(1 / MSE) in dB, of the MSE of all images together"),
    ("psnr-mean", "mean over images of 10 log10(1 / MSE) in dB; images without any error are left out"),
    (
        "ssim",
        "mean structural similarity: Gaussian window with sigma 1.5, 11x11, K1 0.01, K2 0.03, population covariance, \
         data range 1",
    ),
    (
        "cross-entropy",
        "mean over pixels of -x ln p - (1 - x) ln(1 - p) in nats, x clean and p the image as written, kept half a step of \
         1/255 away from 0 and 1",
    ),
    ("cross-entropy-over-floor", "cross-entropy less that of the clean images with themselves"),
    ("noisy-input", "the corrupted images as they are written"),
    ("constant-mean", "the mean of the training pixels in every pixel"),
    ("median", "median filter of 3x3 pixels, edges repeated; that of 5x5 too where its error is lower"),
    (
        "pca",
        "projection on as many principal components of the clean training images as the code has numbers, clipped to \
         [0, 1]; from noisy images the mean noisy training image is taken, and the mean clean one added",
    ),
    (
        "ridge",
        "the linear map from noisy to clean training images with the least squared error, in closed form, with 1e-4 added to \
         each pixel's variance, clipped to [0, 1]",
    ),
    (
        "linear-accuracy",
        "share of test images whose class a multinomial logistic regression finds: fitted to the training split's features, \
         standardised with their means and deviations, objective as scikit-learn's with C = 1, L-BFGS until no component of \
         the gradient exceeds 4e-4 of the objective, but at most 1e-4 and at least 1e-5, or 1000 steps",
    ),
    (
        "neighbours-accuracy",
        "share of test images whose class has most votes among the 5 nearest training images, by Euclidean distance of the \
         features as they are; of as many votes the lowest class wins",
    ),
    ("untrained encoder", "the codes of the same encoder with the weights that the training started from"),
    ("dead-units", "numbers of the code that are the same for every test image"),
    ("mean-activation", "mean over all numbers of the test codes; zeros: the share of those that are exactly 0"),
    (
        "effective-rank",
        "exponential of the entropy of the singular values of the centred test codes as shares of their sum \
         (Roy & Vetterli 2007)",
    ),
    (
        "anomaly-auroc",
        "chance that a test image of a class that was held out of the training split has a higher error than one of the other \
         classes, ties counting half",
    ),
];

/// The definition that scores of rows of numbers have besides.
pub const VECTORS: (&str, &str) = (
    "vectors",
    "a pixel is a number of a row, scaled to [0, 1] as its column is: mse, psnr and error are in these units, and constant-mean is the \
     mean of each column; columns have rmse in their own units, and r2, the share of the variance of the clean test rows that is \
     explained",
);

/// The name and the definition of the estimated noise, of runs that have it.
pub const NOISE_LEVEL: (&str, &str) = (
    "noise-level",
    "the standard deviation of white noise, median over the images, estimated from each image alone by the smallest \
         eigenvalues of the covariance of its patches (Chen, Zhu & Heng 2015); texture finer than a patch counts as noise",
);

/// PSNR in dB of an MSE of pixels in [0, 1].
pub fn psnr(mse: f64) -> Option<f64> {
    (mse > 0.0).then(|| -10.0 * mse.log10())
}

/// Half of a step of 1/255: the rounding error of a stored 0 or 1.
const HALF_STEP: f64 = 0.5 / 255.0;

/// Accumulates scores image by image.
#[derive(Debug, Clone)]
pub struct Scorer {
    images: u64,
    pixels: u64,
    squared: f64,
    psnr: f64,
    psnr_images: u64,
    ssim: Option<f64>,
    cross_entropy: f64,
}

/// The contribution of one image to the scores.
pub struct ImageScore {
    /// Numbers of the image.
    pub pixels: usize,
    /// Squared error, summed over pixels.
    pub squared: f64,
    ssim: Option<f64>,
    cross_entropy: f64,
}

impl ImageScore {
    /// Scores one image against the clean one.
    pub fn of(made: &[f32], clean: &[f32], shape: ImageShape) -> Self {
        let mut squared = 0.0;
        let mut entropy = 0.0;
        for (&made, &clean) in made.iter().zip(clean) {
            let (made, clean) = (f64::from(made), f64::from(clean));
            squared += (made - clean) * (made - clean);
            let p = made.clamp(HALF_STEP, 1.0 - HALF_STEP);
            entropy -= clean * p.ln() + (1.0 - clean) * (1.0 - p).ln();
        }
        Self { pixels: clean.len(), squared, ssim: ssim(made, clean, shape), cross_entropy: entropy }
    }
}

/// Cross-entropy of an image with itself, summed over pixels: the least that any model can reach.
pub fn entropy(clean: &[f32]) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    clean.iter().map(|&x| term(f64::from(x)) + term(1.0 - f64::from(x))).sum()
}

impl Default for Scorer {
    /// No images yet.
    fn default() -> Self {
        Self { images: 0, pixels: 0, squared: 0.0, psnr: 0.0, psnr_images: 0, ssim: Some(0.0), cross_entropy: 0.0 }
    }
}

impl Scorer {
    /// Adds an image.
    pub fn add(&mut self, score: &ImageScore) {
        self.images += 1;
        self.pixels += score.pixels as u64;
        self.squared += score.squared;
        if let Some(psnr) = psnr(score.squared / score.pixels as f64) {
            self.psnr += psnr;
            self.psnr_images += 1;
        }
        self.ssim = self.ssim.zip(score.ssim).map(|(sum, ssim)| sum + ssim);
        self.cross_entropy += score.cross_entropy;
    }

    /// The scores so far; `floor` is the mean entropy of a clean pixel.
    pub fn scores(&self, what: &str, baseline: Option<Baseline>, floor: f64) -> Scores {
        let pixels = self.pixels as f64;
        let mse = self.squared / pixels;
        let cross_entropy = self.cross_entropy / pixels;
        Scores {
            what: what.to_owned(),
            baseline,
            mse,
            psnr_pooled: psnr(mse),
            psnr_mean: (self.psnr_images > 0).then(|| self.psnr / self.psnr_images as f64),
            ssim: self.ssim.map(|sum| sum / self.images as f64),
            cross_entropy,
            cross_entropy_over_floor: cross_entropy - floor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { height: 1, width: 2, channels: 1 };

    #[test]
    fn scores_follow_their_definitions() {
        let mut scorer = Scorer::default();
        // Squared errors 0.02 and 0.5 over two pixels each.
        scorer.add(&ImageScore::of(&[0.1, 0.9], &[0.0, 1.0], SHAPE));
        scorer.add(&ImageScore::of(&[0.5, 0.5], &[0.0, 1.0], SHAPE));
        let scores = scorer.scores("x", None, 0.1);
        assert!((scores.mse - 0.13).abs() < 1e-6);
        assert!((scores.psnr_pooled.expect("has an error") - 8.860_566).abs() < 1e-4);
        assert!((scores.psnr_mean.expect("has an error") - (20.0 + 6.020_6) / 2.0).abs() < 1e-4);
        let entropy = (-(0.9_f64.ln()) * 2.0 - 0.5_f64.ln() * 2.0) / 4.0;
        assert!((scores.cross_entropy - entropy).abs() < 1e-6);
        assert!((scores.cross_entropy_over_floor - (entropy - 0.1)).abs() < 1e-6);
        assert_eq!(scores.ssim, None);
    }

    #[test]
    fn perfect_images_have_no_psnr_and_a_finite_cross_entropy() {
        let mut scorer = Scorer::default();
        scorer.add(&ImageScore::of(&[0.0, 1.0], &[0.0, 1.0], SHAPE));
        let scores = scorer.scores("x", None, 0.0);
        assert_eq!((scores.mse, scores.psnr_pooled, scores.psnr_mean), (0.0, None, None));
        assert!(scores.cross_entropy > 0.0 && scores.cross_entropy < 0.01);
        assert_eq!(entropy(&[0.0, 1.0]), 0.0);
        assert!((entropy(&[0.5]) - 2.0_f64.ln()).abs() < 1e-12);
    }
}
