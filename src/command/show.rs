//! `limpid show`

use anyhow::Result;
use serde_json::{Value, json};

use super::print;
use crate::cli::ShowArgs;
use crate::pipeline::receipt::Receipt;
use crate::pipeline::workspace::Workspace;
use crate::stage::{METRICS, Metrics, STAGES};

/// Prints the stages, files, rows and scores of a run.
pub fn show(args: &ShowArgs) -> Result<()> {
    let workspace = Workspace::existing(&args.run)?;
    let pipeline = workspace.settings()?;
    let receipts: Vec<Receipt> = STAGES.iter().filter_map(|stage| workspace.receipt(stage.name())).collect();
    let metrics = metrics(&workspace);
    if args.json {
        let text = json!({ "settings": pipeline, "stages": receipts, "metrics": metrics });
        return print(serde_json::to_string_pretty(&text)?);
    }
    print(format!(
        "{}  (seed {}, {} {})",
        pipeline.name,
        pipeline.seed,
        pipeline.model.architecture.family(),
        "autoencoder"
    ))?;
    for stage in STAGES.iter().filter(|stage| stage.applies(&pipeline)) {
        let Some(receipt) = receipts.iter().find(|receipt| receipt.stage == stage.name()) else {
            print(format!("\n{}  has not run", stage.name()))?;
            continue;
        };
        print(format!("\n{}  {} in {:.1} s on {}", stage.name(), receipt.started, receipt.seconds, receipt.device))?;
        for output in &receipt.outputs {
            let rows = output.rows.map_or(String::new(), |rows| format!("{rows} rows"));
            let path = workspace.stage(stage.name()).join(&output.name);
            print(format!("  {:>12}  {:>10}  {}", size(output.bytes), rows, path.display()))?;
        }
        if let Some(damage) = receipt.damage(&workspace.stage(stage.name()), false) {
            print(format!("  damaged: {damage}"))?;
        }
    }
    if let Some(metrics) = metrics {
        print(format!("\n{} of {} {} images", metrics.task, metrics.images, metrics.split.name()))?;
        print(format!(
            "  {:16} {:>9} {:>12} {:>12} {:>7} {:>14}",
            "", "MSE", "PSNR pooled", "PSNR mean", "SSIM", "cross-entropy"
        ))?;
        for scores in &metrics.scores {
            let decibels = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2} dB"));
            let ssim = scores.ssim.map_or("–".to_owned(), |value| format!("{value:.4}"));
            let (pooled, mean) = (decibels(scores.psnr_pooled), decibels(scores.psnr_mean));
            print(format!(
                "  {:16} {:>9.5} {pooled:>12} {mean:>12} {ssim:>7} {:>14.5}",
                scores.what, scores.mse, scores.cross_entropy
            ))?;
        }
    }
    Ok(())
}

/// The scores of a run, if it has been evaluated.
pub fn metrics(workspace: &Workspace) -> Option<Metrics> {
    let text = std::fs::read_to_string(workspace.stage("evaluate").join(METRICS)).ok()?;
    serde_json::from_str::<Value>(&text).and_then(serde_json::from_value).ok()
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
