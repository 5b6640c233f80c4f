//! What the settings of the source `parquet` open.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::settings::ParquetSettings;
use super::{Tables, files};
use crate::image::Levels;
use crate::progress::Progress;
use crate::source::pairs::Pairs;
use crate::source::settings::{OnError, drawn, of_pictures};
use crate::source::{Outside, Source, SourceKind};
use crate::store::{nearest_real, real};

impl SourceKind for ParquetSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { path: _, train: _, test: _, validation: _, test_fraction, validation_fraction, .. } = self;
        let Self { image, noisy, label, shape, fit, faults, .. } = self;
        let mut settings = json!({ "image": image, "label": label, "shape": shape });
        if let Some(noisy) = noisy {
            settings["noisy"] = json!(noisy);
        }
        drawn(of_pictures(settings, fit, faults), *test_fraction, *validation_fraction, seed)
    }

    fn places(&self) -> Vec<(&'static str, &Path)> {
        self.path.iter().map(|path| ("source.parquet.path", path.as_path())).collect()
    }

    fn levels(&self) -> Option<Levels> {
        self.fit.levels
    }

    fn with_levels(&self, levels: Levels, own_size: bool) -> Option<Box<dyn SourceKind>> {
        Some(Box::new(Self { fit: self.fit.with_levels(levels, own_size), ..self.clone() }))
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        files::files(self)
    }

    // All Parquet files below the folder, or below the fixed part of a pattern with `**`, are read as images.
    fn folder_around(&self, place: &Path) -> Option<&Path> {
        if let Some(path) = &self.path {
            let near = nearest_real(place)?;
            return real(path).is_some_and(|folder| near.starts_with(folder)).then_some(path);
        }
        let patterns = [&self.train, &self.test, &self.validation];
        files::folder_around(patterns.into_iter().flatten().map(PathBuf::as_path), place)
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        let clean = Tables::open(self, seed, progress)?;
        Ok(match &self.noisy {
            None => Box::new(clean),
            Some(noisy) => {
                let noisy = Self { image: Some(noisy.clone()), ..self.clone() };
                Box::new(Pairs::new(Box::new(clean), Box::new(Tables::open(&noisy, seed, progress)?))?)
            }
        })
    }

    // Where bad pictures are left out, a row group begins where those before it end.
    fn has_shards(&self) -> bool {
        self.faults.on_error == OnError::Fail
    }

    fn is_paired(&self) -> bool {
        self.noisy.is_some()
    }
}
