//! Checks the settings of a pipeline whose source has pairs of noisy and clean images.

use crate::corruption::Corruption;
use crate::setting::Problems;
use crate::training::settings::{Noise, TargetImages, Training};

/// Checks that no setting asks for other noise than that of a source of pairs.
pub fn check_pairs(corruption: Option<&Corruption>, training: Option<&Training>, problems: &mut Problems) {
    if let Some(corruption) = corruption {
        let message =
            "the source has noisy images of its own: leave [corruption] out, or name only clean images in [source]";
        problems.add(&format!("corruption.{}", corruption.key()), message);
    }
    let Some(Training { target, noise, .. }) = training else { return };
    if *target == TargetImages::BlindSpot {
        let advice = "to learn from the noisy images alone, name these alone in [source]";
        problems.add("training.target", format!("\"blind-spot\" needs no pairs: {advice}"));
    }
    if *target == TargetImages::Noisy {
        let advice =
            "to learn from pairs of noisy images, have the source take the other noisy ones for the clean ones";
        problems.add("training.target", format!("\"noisy\" needs a corruption, which is drawn again: {advice}"));
    }
    if *noise == Noise::Fixed {
        let message =
            "\"fixed\" is about the noise of a corruption; that of pairs is always the source's: leave it out";
        problems.add("training.noise", message);
    }
}
