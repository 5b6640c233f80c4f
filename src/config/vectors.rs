//! Checks the settings of a pipeline whose source has rows of numbers in place of images.

use crate::corruption::Corruption;
use crate::model::{Architecture, Model};
use crate::setting::Problems;
use crate::table::layout::{Layout, PictureDepth, StoredPixels};
use crate::training::settings::{TargetImages, Training};

/// Checks that no setting is about pictures.
pub fn check_vectors(
    model: Option<&Model>,
    corruption: Option<&Corruption>,
    training: Option<&Training>,
    ensemble: bool,
    (export, pictures): (Option<&Layout>, Option<PictureDepth>),
    problems: &mut Problems,
) {
    let mut refuse =
        |key: &str, what: &str| problems.add(key, format!("{what}, and source.vectors has rows of numbers"));
    if let Some(architecture) = model.map(|model| &model.architecture)
        && !matches!(architecture, Architecture::Dense(_))
    {
        let key = architecture.key();
        refuse(&format!("model.{key}"), "is for pictures: take `dense`; neighbours are alike there");
    }
    if let Some(corruption) = corruption.filter(|corruption| !corruption.kind().suits_vectors()) {
        let what = "is what pictures suffer: take gaussian, masking or salt-and-pepper";
        refuse(&format!("corruption.{}", corruption.key()), what);
    }
    if let Some(Training { patches, target, .. }) = training {
        if patches.patch.is_some() {
            refuse("training.patch", "cuts parts out of pictures");
        }
        if !patches.augment.is_empty() {
            refuse("training.augment", "mirrors and turns pictures");
        }
        if *target == TargetImages::BlindSpot {
            refuse("training.target", "\"blind-spot\" hides a pixel behind its neighbours");
        }
    }
    if ensemble {
        refuse("denoise.ensemble", "turns pictures");
    }
    if export.is_some_and(|layout| layout.pixels == StoredPixels::Png) {
        refuse("output.profile", "\"hf\" and pixels = \"png\" store pictures: take \"default\" or \"spark\"");
    }
    if pictures.is_some() {
        refuse("output.pictures", "writes pictures");
    }
}
