//! What the settings of the source `folder` open.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::Folder;
use super::labels::{files, metadata};
use super::settings::{FolderPairs, FolderSettings};
use crate::image::Levels;
use crate::progress::Progress;
use crate::source::pairs::Pairs;
use crate::source::settings::of_pictures;
use crate::source::{Outside, Source, SourceKind};
use crate::store::real;

impl SourceKind for FolderSettings {
    fn decisive(&self, seed: u64) -> Value {
        // `outside` only decides whether a table is refused, not what the images are.
        let Self { path: _, pairs, labels, csv: _, label, outside: _, train, test, validation, test_fraction, .. } =
            self;
        let Self { validation_fraction, fit, faults, .. } = self;
        let mut settings =
            json!({ "labels": labels, "train": train, "test": test, "test-fraction": test_fraction, "seed": seed });
        if let Some(FolderPairs { noisy: _, noisy_name, clean_name }) = pairs {
            settings["noisy-name"] = json!(noisy_name);
            settings["clean-name"] = json!(clean_name);
        }
        if let Some(label) = label {
            settings["label"] = json!(label);
        }
        if let Some(validation) = validation {
            settings["validation"] = json!(validation);
        }
        if *validation_fraction > 0.0 {
            settings["validation-fraction"] = json!(validation_fraction);
        }
        of_pictures(settings, fit, faults)
    }

    fn places(&self) -> Vec<(&'static str, &Path)> {
        let csv = self.csv.as_deref().map(|csv| ("source.folder.csv", csv));
        // With a table of files elsewhere, there need be no folder.
        let name = if self.pairs.is_some() { "source.folder.clean" } else { "source.folder.path" };
        let path = (!self.outside).then_some((name, self.path.as_path()));
        let noisy = self.pairs.as_ref().map(|pairs| ("source.folder.noisy", pairs.noisy.as_path()));
        path.into_iter().chain(noisy.filter(|_| !self.outside)).chain(csv).collect()
    }

    fn levels(&self) -> Option<Levels> {
        self.fit.levels
    }

    fn with_levels(&self, levels: Levels, own_size: bool) -> Option<Box<dyn SourceKind>> {
        Some(Box::new(Self { fit: self.fit.with_levels(levels, own_size), ..self.clone() }))
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        let found = metadata(self)?.filter(|found| found.labelled);
        let mut images = files(self, found.as_ref())?;
        if let (Some(pairs), None) = (&self.pairs, &self.csv) {
            images = pairs.clean(images)?;
        }
        let listed = Outside::Files(self.path.clone(), images);
        let name = if self.pairs.is_some() { "source.folder.clean" } else { "source.folder.path" };
        let noisy = self.pairs.as_ref().map(|pairs| pairs.outside(self));
        let csv = self.csv.clone().map(|csv| ("source.folder.csv", Outside::File(csv)));
        let found = found.map(|found| (found.name, Outside::Files(self.path.clone(), found.paths)));
        Ok([(name, listed)].into_iter().chain(noisy.transpose()?).chain(csv).chain(found).collect())
    }

    // Sub-folders of this folder would be taken for splits or labels.
    fn folder_around(&self, place: &Path) -> Option<&Path> {
        let folders = [Some(&self.path), self.pairs.as_ref().map(|pairs| &pairs.noisy)];
        let place = real(place)?;
        folders.into_iter().flatten().find(|folder| real(folder).as_ref() == Some(&place)).map(PathBuf::as_path)
    }

    fn has_shards(&self) -> bool {
        true
    }

    fn is_paired(&self) -> bool {
        self.pairs.is_some()
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        Ok(match &self.pairs {
            None => Box::new(Folder::of_settings(self, seed, progress)?),
            Some(pairs) => {
                let [clean, noisy] = pairs.open(self, seed, progress)?;
                Box::new(Pairs::new(Box::new(clean), Box::new(noisy))?)
            }
        })
    }
}
