//! The scores of a run as tables for a terminal.

use crate::quality::gate::Requirement;
use crate::quality::metrics::{ImageError, Metrics};
use crate::text::{cell, shortened, width};

/// Columns of a table of numbers that are named.
const LEAST_COLUMNS: usize = 5;
/// Characters of a class's name that are printed in a table.
const LONGEST_NAME: usize = 12;

/// The lines with all results of evaluate and the requirements of the gate.
pub fn lines(metrics: &Metrics, requirements: &[Requirement]) -> Vec<String> {
    let decibels = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2} dB"));
    let mut lines = Vec::new();
    if metrics.has_clean_images() {
        lines.push(format!(
            "  {:18} {:>9} {:>12} {:>12} {:>7} {:>14} {:>11}",
            "", "MSE", "PSNR pooled", "PSNR mean", "SSIM", "cross-entropy", "over floor"
        ));
    }
    for scores in &metrics.scores {
        let ssim = scores.ssim.map_or("–".to_owned(), |ssim| format!("{ssim:.4}"));
        let (pooled, mean) = (decibels(scores.psnr_pooled), decibels(scores.psnr_mean));
        lines.push(format!(
            "  {:18} {:>9.5} {pooled:>12} {mean:>12} {ssim:>7} {:>14.5} {:>11.5}",
            cell(&scores.what),
            scores.mse,
            scores.cross_entropy,
            scores.cross_entropy_over_floor
        ));
    }
    for (what, level) in metrics.noise() {
        let of_bytes = 255.0 * level;
        lines.push(format!("  {:18} estimated noise {level:.4}, {of_bytes:.1} of 255", cell(what)));
    }
    if !metrics.classes.is_empty() {
        let shown = metrics.classes.iter().take(20);
        let names: Vec<_> = shown.map(|class| shortened(&metrics.class_name(class.class), LONGEST_NAME)).collect();
        let width = width(names.iter().map(String::as_str)).max(6);
        let classes: Vec<_> = names.iter().map(|name| format!("{name:>width$}")).collect();
        lines.push(format!("\n  {:18} {}", "PSNR by class, dB", classes.join(" ")));
        for (index, scores) in metrics.scores.iter().enumerate() {
            let of_class = metrics.classes.iter().take(20).map(|class| class.scores[index].psnr_pooled);
            let cells: Vec<_> = of_class
                .map(|psnr| format!("{:>width$}", psnr.map_or("–".to_owned(), |psnr| format!("{psnr:.2}"))))
                .collect();
            lines.push(format!("  {:18} {}", cell(&scores.what), cells.join(" ")));
        }
    }
    let mut explained: Vec<_> = metrics.columns.iter().filter_map(|score| Some((score.r2?, &score.column))).collect();
    explained.sort_by(|a, b| a.0.total_cmp(&b.0));
    let least = explained.iter().take(LEAST_COLUMNS);
    let least: Vec<_> = least.map(|(r2, name)| format!("{} {r2:.3}", shortened(name, LONGEST_NAME))).collect();
    if !least.is_empty() {
        lines.push(format!("\n  columns explained least, R²: {}", least.join(", ")));
    }
    if let Some(probes) = &metrics.probes {
        let (train, test) = (probes.train_images, probes.test_images);
        lines.push(format!("\n  features: classifiers fitted on {train} images, tried on {test}"));
        lines.push(format!("  {:18} {:>7} {:>10} {:>10} {:>14}", "", "numbers", "bytes/row", "linear", "5 neighbours"));
        for probe in &probes.features {
            let (linear, neighbours) = (probe.linear_accuracy * 100.0, probe.neighbours_accuracy * 100.0);
            lines.push(format!(
                "  {:18} {:>7} {:>10} {linear:>8.2} % {neighbours:>12.2} %",
                cell(&probe.what),
                probe.size,
                probe.bytes_per_row
            ));
        }
    }
    if let Some(code) = &metrics.code {
        let rank = code.effective_rank.map_or(String::new(), |rank| format!(", effective rank {rank:.1}"));
        lines.push(format!(
            "\n  code: {} numbers, {} dead, mean {:.3}, {:.1} % zeros{rank}",
            code.size,
            code.dead_units,
            code.mean_activation,
            code.zeros * 100.0
        ));
    }
    if let Some(anomaly) = &metrics.anomaly {
        let classes: Vec<_> = anomaly.classes.iter().map(|label| cell(&metrics.class_name(*label))).collect();
        lines.push(format!(
            "  anomaly: AUROC {:.4} for {} images of class {}, which training has not seen",
            anomaly.auroc,
            anomaly.images,
            classes.join(", ")
        ));
    }
    lines.extend(metrics.training.iter().map(|course| format!("\n  {course}")));
    let ids = |images: &[ImageError]| images.iter().map(|image| image.id.to_string()).collect::<Vec<_>>().join(" ");
    if metrics.has_clean_images() {
        lines.push(format!("\n  best ids: {}", ids(&metrics.best)));
        lines.push(format!("  worst ids: {}", ids(&metrics.worst)));
    }
    lines.extend(metrics.omitted.iter().map(|omitted| format!("  without {}: {}", omitted.what, omitted.reason)));
    for Requirement { asked, found, met } in requirements {
        lines.push(format!("  gate, {}: {asked} (found: {found})", if *met { "met" } else { "missed" }));
    }
    lines
}

/// The numbers by which two runs are compared, each with its name.
pub fn numbers(metrics: &Metrics) -> Vec<(String, f64)> {
    let mut numbers = Vec::new();
    for scores in &metrics.scores {
        let mut add = |name: &str, value: Option<f64>| {
            numbers.extend(value.map(|value| (format!("{}: {name}", scores.what), value)));
        };
        add("mse", Some(scores.mse));
        add("psnr-pooled", scores.psnr_pooled);
        add("psnr-mean", scores.psnr_mean);
        add("ssim", scores.ssim);
        add("cross-entropy", Some(scores.cross_entropy));
        add("cross-entropy-over-floor", Some(scores.cross_entropy_over_floor));
    }
    numbers.extend(metrics.noise().map(|(what, level)| (format!("{what}: noise-level"), level)));
    for class in &metrics.classes {
        let scores = &class.scores[0];
        numbers.extend(
            scores
                .psnr_pooled
                .map(|psnr| (format!("{}, class {}: psnr-pooled", scores.what, metrics.class_name(class.class)), psnr)),
        );
    }
    for probe in metrics.probes.iter().flat_map(|probes| &probes.features) {
        numbers.push((format!("{}: linear-accuracy", probe.what), probe.linear_accuracy));
        numbers.push((format!("{}: neighbours-accuracy", probe.what), probe.neighbours_accuracy));
    }
    if let Some(code) = &metrics.code {
        numbers.push(("code: size".to_owned(), code.size as f64));
        numbers.push(("code: dead-units".to_owned(), code.dead_units as f64));
        numbers.push(("code: mean-activation".to_owned(), code.mean_activation));
        numbers.push(("code: zeros".to_owned(), code.zeros));
        numbers.extend(code.effective_rank.map(|rank| ("code: effective-rank".to_owned(), rank)));
    }
    numbers.extend(metrics.anomaly.as_ref().map(|anomaly| ("anomaly-auroc".to_owned(), anomaly.auroc)));
    numbers
}
