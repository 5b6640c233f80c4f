//! The quality gate: the scores that a run has to reach.
//!
//! It judges the published metrics, so that it gives the same answer whether or not a stage had to run, and a change of the
//! requirements recomputes no metrics.

use serde::{Deserialize, Serialize};

use super::Baseline;
use super::metrics::{DENOISING, FeatureKind, Metrics, SCORES};

/// The scores that are required.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Gate {
    /// The baselines that the model's images must beat in pooled PSNR.
    pub baselines: Vec<Baseline>,
    /// The margin in dB that must be exceeded.
    pub margin: f64,
    /// Least pooled PSNR of the model's images, in dB.
    pub least_psnr: Option<f64>,
    /// Least SSIM of the model's images.
    pub least_ssim: Option<f64>,
    /// The share by which the accuracies on codes must exceed those on principal components.
    pub probe_margin: Option<f64>,
}

/// A requirement of the gate, and whether it is met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// The requirement.
    pub asked: String,
    /// The value found.
    pub found: String,
    /// Whether the requirement is met.
    pub met: bool,
}

/// Judges `metrics` by every requirement of `gate`.
pub fn judge(gate: &Gate, metrics: &Metrics) -> Vec<Requirement> {
    let mut requirements = Vec::new();
    let mut require = |asked: String, found: String, met: bool| {
        requirements.push(Requirement { asked, met, found });
    };
    let (model, name) = (metrics.scores.first(), metrics.made());
    // None without clean images; infinite without any error.
    let quality = model.map(|model| model.psnr_pooled.unwrap_or(f64::INFINITY));
    for &baseline in &gate.baselines {
        let only_noisy = matches!(baseline, Baseline::NoisyInput | Baseline::Median | Baseline::Ridge);
        if only_noisy && metrics.task != DENOISING || model.is_none() {
            continue;
        }
        let scores = metrics.baseline(baseline);
        let what = scores.map_or_else(|| key(baseline), |scores| scores.what.clone());
        let over = scores.zip(quality).map(|(scores, quality)| quality - scores.psnr_pooled.unwrap_or(f64::INFINITY));
        let asked = match gate.margin {
            0.0 => format!("pooled PSNR of {name} above that of {what}"),
            margin => format!("pooled PSNR of {name} more than {margin} dB above that of {what}"),
        };
        let found = over.map_or_else(|| unknown(metrics, &what), |over| format!("{over:+.2} dB"));
        require(asked, found, over.is_some_and(|over| over > gate.margin));
    }
    if let Some(least) = gate.least_psnr {
        let found = quality.map_or_else(|| unknown(metrics, SCORES), |quality| format!("{quality:.2} dB"));
        let met = quality.is_some_and(|quality| quality >= least);
        require(format!("pooled PSNR of {name} at least {least} dB"), found, met);
    }
    if let Some(least) = gate.least_ssim {
        let ssim = model.and_then(|model| model.ssim);
        let missing = if model.is_some() { "ssim" } else { SCORES };
        let found = ssim.map_or_else(|| unknown(metrics, missing), |ssim| format!("{ssim:.4}"));
        require(format!("SSIM of {name} at least {least}"), found, ssim.is_some_and(|ssim| ssim >= least));
    }
    if let Some(margin) = gate.probe_margin {
        let pair = metrics.probe(FeatureKind::Codes).zip(metrics.probe(FeatureKind::Pca));
        let over =
            |accuracy: fn(&super::metrics::Probe) -> f64| pair.map(|(codes, pca)| accuracy(codes) - accuracy(pca));
        let kinds = [
            ("linear accuracy", over(|probe| probe.linear_accuracy)),
            ("nearest neighbours' accuracy", over(|probe| probe.neighbours_accuracy)),
        ];
        for (kind, over) in kinds {
            let asked = format!("{kind} on codes more than {} points above that on PCA", margin * 100.0);
            let missing = || unknown(metrics, if metrics.probes.is_some() { "pca" } else { "probes" });
            let found = over.map_or_else(missing, |over| format!("{:+.2} points", over * 100.0));
            require(asked, found, over.is_some_and(|over| over > margin));
        }
    }
    requirements
}

/// The missed requirements in one line; none if all are met.
pub fn missed(requirements: &[Requirement]) -> Option<String> {
    let missed = requirements.iter().filter(|requirement| !requirement.met);
    let lines: Vec<_> = missed.map(|Requirement { asked, found, .. }| format!("{asked} (found: {found})")).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// The text for a missing score, with the reason.
fn unknown(metrics: &Metrics, what: &str) -> String {
    let omitted = metrics.omitted.iter().find(|omitted| omitted.what == what);
    omitted.map_or("unknown".to_owned(), |omitted| format!("unknown, since {}", omitted.reason))
}

fn key(baseline: Baseline) -> String {
    serde_json::json!(baseline).as_str().unwrap_or_default().to_owned()
}
