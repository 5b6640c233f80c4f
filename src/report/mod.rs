//! The page about a run.

use crate::table::ImageShape;

/// Everything that the page shows.
pub struct Report<'a> {
    /// Name of the run.
    pub name: &'a str,
    /// What was done.
    pub title: &'a str,
    /// What training minimised.
    pub loss_name: &'a str,
    /// Size of the images.
    pub image: ImageShape,
    /// The figure, row by row.
    pub rows: Vec<FigureRow>,
    /// The loss curve.
    pub history: &'a [EpochPoint],
    /// The least loss that any model can reach.
    pub loss_floor: Option<f64>,
    /// The content of `metrics.json`.
    pub metrics: &'a serde_json::Value,
    /// Dotted keys and values.
    pub settings: Vec<(String, String)>,
    /// Names and values.
    pub provenance: Vec<(String, String)>,
}
/// A row of images.
pub struct FigureRow {
    /// What they are.
    pub label: String,
    /// Their bytes.
    pub images: Vec<Vec<u8>>,
}
/// Losses of an epoch.
pub struct EpochPoint {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean over the epoch.
    pub train_loss: f64,
    /// At its end.
    pub test_loss: f64,
}
/// The page as HTML.
pub fn render(report: &Report<'_>) -> anyhow::Result<String> {
    Ok(format!("{} {}", report.title, report.metrics))
}
