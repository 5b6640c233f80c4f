//! evaluate: scores the images of the test split as they were written, and the usefulness of the features, beside baselines that
//! need no training.

mod baselines;
mod columns;
mod features;
mod images;
mod kept;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Outputs, Stage, StageContext, denoise, encode, image_stages, images as image_tables, ingest, noisy_images, train,
};
use crate::config::Pipeline;
use crate::engine::codes::Coder;
use crate::engine::inference::Inference;
use crate::image::{Class, Split};
use crate::quality::auroc::auroc;
use crate::quality::metrics::{
    Anomaly, DENOISING, FORMAT, METRICS, METRICS_TABLE, Metrics, NoiseLevels, Omitted, RECONSTRUCTION, SCORES,
    WITHOUT_CLEAN_IMAGES,
};
use crate::quality::noise_level::median_level;
use crate::quality::{DEFINITIONS, NOISE_LEVEL, VECTORS};
use crate::record::{StageName, TableSet};
use crate::source::read_scaler;
use crate::table::{Table, write_batch};
use crate::training::history;
use baselines::{Baselines, Pairs};
use features::FeatureTables;
use images::ImageResults;
use kept::Kept;

/// Its name.
pub const NAME: StageName = StageName::new("evaluate");

/// Why small images have no SSIM.
const SHORT_SIDE: &str = "a side of the images is shorter than the window of 11 pixels";

/// The stage.
pub struct Evaluate;

impl Stage for Evaluate {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        11
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName> {
        let encode = pipeline.has_codes_of_images().then_some(encode::NAME);
        image_stages(noisy_images(pipeline)).chain([train::NAME]).chain(encode).chain([denoise::NAME]).collect()
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let mut settings = json!({
            "source": { "hold-out": pipeline.held_out },
            "encode": pipeline.encode,
            "evaluate": pipeline.evaluate,
        });
        if pipeline.has_codes_of_images() {
            // It decides the weights of the untrained encoder.
            settings["seed"] = json!(pipeline.seed);
        }
        if pipeline.training.blind_spot.is_some() {
            settings["training"] = json!({ "target": pipeline.training.target });
        }
        if let Some(patience) = pipeline.training.patience {
            // It decides whether there is a course of the training to tell.
            settings["training"]["patience"] = json!(patience);
        }
        settings
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let pipeline = context.pipeline;
        let denoising = pipeline.has_noisy_images();
        let limit = pipeline.evaluate.fit_rows;
        let tables = |tables: TableSet| -> Result<_> {
            Ok([context.table(tables, Split::Train)?, context.table(tables, Split::Test)?])
        };
        let clean = tables(ingest::NAME.into())?;
        let noisy = noisy_images(pipeline).map(tables).transpose()?;
        let pairs = |split: usize| Pairs { clean: &clean[split], noisy: noisy.as_ref().map(|noisy| &noisy[split]) };
        let features = pipeline.has_codes_of_images().then(|| -> Result<_> {
            let images = tables(image_tables(pipeline, pipeline.encode.input))?;
            Ok(FeatureTables { codes: tables(encode::NAME.into())?, images })
        });
        let features = features.transpose()?;
        let size = features.as_ref().map(|features| features.codes[0].code_size()).transpose()?;

        let vectors = pipeline.source.kind().has_vectors();
        let has_clean_images = pipeline.has_clean_images();
        let prober = features.as_ref().map(|features| features.prober(limit, context.progress)).transpose()?;
        let (mut prober, no_probes) = match prober {
            Some(Ok(prober)) => (Some(prober), None),
            Some(Err(omitted)) => (None, Some(omitted)),
            None => (None, Some(Omitted::new("probes", without_codes(pipeline)))),
        };
        let clock = Instant::now();
        let key = Kept::key(context, size);
        let kept = match Kept::find(context, &key) {
            Some(kept) => {
                context.progress.note("evaluate: the baselines are those of the last evaluation of the same images");
                kept
            }
            None => {
                let baselines = Baselines::fit(&pairs(0), limit, size, context.progress)?;
                Kept::new(key, baselines, has_clean_images.then(|| pairs(1)), prober.as_mut(), context.progress)?
            }
        };
        let record = kept.write(context)?;
        let fitted = clock.elapsed().as_secs_f64();
        let (task_name, name) = match (has_clean_images, denoising) {
            (false, _) => (WITHOUT_CLEAN_IMAGES, "denoised"),
            (true, true) => (DENOISING, "denoised"),
            (true, false) => (RECONSTRUCTION, "reconstruction"),
        };
        let made = context.table(denoise::NAME, Split::Test)?;
        let images = if has_clean_images {
            let task = context.progress.task("evaluate", clean[1].rows(), "images");
            images::score(name, &pairs(1), &made, &task)?
        } else {
            ImageResults::default()
        };
        let scores = images.scores.before(kept.scores);
        let columns = match vectors {
            true => columns::score(&pairs(1), &made, &read_scaler(&context.folder(ingest::NAME))?)?,
            false => Vec::new(),
        };
        let noise_levels = match pipeline.training.blind_spot {
            Some(_) => {
                let before = median_level(noisy.as_ref().map_or(&clean[1], |noisy| &noisy[1]), u64::MAX)?;
                before.zip(median_level(&made, u64::MAX)?).map(|(noisy, made)| NoiseLevels { noisy, made })
            }
            None => None,
        };
        let scored = clock.elapsed().as_secs_f64();

        let mut omitted = kept.omitted;
        if !has_clean_images {
            omitted.push(Omitted::new(SCORES, "there are no clean images to compare with"));
        }
        if pipeline.training.blind_spot.is_some() && noise_levels.is_none() {
            omitted.push(Omitted::new("noise-level", "the images are too small to estimate it"));
        }
        if scores.all.first().is_some_and(|scores| scores.ssim.is_none()) {
            let reason = if vectors { "rows of numbers are no pictures" } else { SHORT_SIDE };
            omitted.push(Omitted::new("ssim", reason));
        }
        let (probes, seconds) = match prober {
            Some(mut prober) => {
                let untrained =
                    Inference::untrained(&context.folder(train::NAME), pipeline.seed, context.device.inference())?;
                let untrained = Coder::new(&untrained, pipeline.encode.codes, clean[1].extent()?, clean[1].path())?;
                let codes = prober.codes()?;
                let untrained = prober.untrained(&untrained)?;
                let (probes, seconds) = prober.results([vec![codes], kept.probes, vec![untrained]].concat());
                (Some(probes), seconds)
            }
            None => (None, Value::Null),
        };
        omitted.extend(no_probes);
        let anomaly = anomaly(unseen(&pipeline.held_out, &clean[0], &images.errors)?, &images.errors);
        if anomaly.is_none() && !pipeline.held_out.is_empty() && has_clean_images {
            omitted.push(Omitted::new("anomaly", "the test split needs images of held-out classes and of others"));
        }
        let metrics = Metrics {
            format: FORMAT,
            task: task_name.to_owned(),
            split: Split::Test,
            images: clean[1].rows(),
            fit_rows: kept.fit_rows,
            cross_entropy_floor: scores.floor,
            noise_levels,
            scores: scores.all,
            classes: scores.classes,
            class_names: clean[1].classes().map(|names| names.to_vec()),
            columns,
            best: images.best,
            worst: images.worst,
            code: features.as_ref().map(|features| features.health(context.progress)).transpose()?,
            probes,
            anomaly,
            training: train::course(pipeline, &history::read(&context.folder(train::NAME))?),
            omitted,
            definitions: (DEFINITIONS.into_iter().chain(noise_levels.map(|_| NOISE_LEVEL)))
                .chain(vectors.then_some(VECTORS))
                .map(|(name, meaning)| (name.to_owned(), meaning.to_owned()))
                .collect(),
        };
        let mut text = serde_json::to_string_pretty(&metrics)?;
        text.push('\n');
        let table = metrics.table()?;
        let metrics = [context.write(METRICS, text.as_bytes())?, write_batch(&context.scratch, METRICS_TABLE, &table)?];
        let files = metrics.into_iter().chain([record]).collect();
        // Times depend on the machine and are written to the receipt only.
        let details = json!({ "seconds": { "baselines": fitted, "images": scored - fitted, "probes": seconds } });
        Ok(Outputs { files, details, device: None })
    }
}

/// Why there are no codes of images.
fn without_codes(pipeline: &Pipeline) -> &'static str {
    let has_code = pipeline.model.architecture.family().has_code();
    if has_code { "codes are those of patches, not of images" } else { "the model has no code" }
}

/// The classes that training has not seen: those that were held out, and those of test images of which no training image is, where
/// training images have classes.
fn unseen(held_out: &[Class], train: &Table, errors: &[(f32, Option<i64>)]) -> Result<BTreeSet<i64>> {
    let mut unseen = Class::labels(held_out, &train.classes());
    let tested: BTreeSet<_> = errors.iter().filter_map(|(_, label)| *label).collect();
    if !tested.is_empty() {
        let trained = train.labels()?;
        unseen.extend(tested.difference(&trained).filter(|_| !trained.is_empty()));
    }
    Ok(unseen)
}

/// The AUROC of the error for images of unseen classes against others; images without a label are left out.
fn anomaly(unseen: BTreeSet<i64>, errors: &[(f32, Option<i64>)]) -> Option<Anomaly> {
    let scores = errors.iter().filter_map(|(error, label)| Some((*error, unseen.contains(&(*label)?))));
    let scores: Vec<_> = scores.collect();
    let images = scores.iter().filter(|(_, sought)| *sought).count() as u64;
    auroc(&scores).map(|auroc| Anomaly { classes: unseen.into_iter().collect(), images, auroc })
}
