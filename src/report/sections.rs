//! The sections of the report as HTML; empty where there is nothing to show.

use std::fmt::Write;

use anyhow::Result;

use super::pictures::{Image, Picture, row, sheet};
use super::{Figure, Report, charts};
use crate::quality::Scores;
use crate::quality::gate::Requirement;
use crate::quality::metrics::{ColumnScore, FeatureKind, ImageError, Metrics, NoiseLevels, Probe};
use crate::text::{escaped, shortened};

/// A column of the table of scores: heading, decimals, whether higher is better, and the score.
type Column = (&'static str, usize, bool, fn(&Scores) -> Option<f64>);
const COLUMNS: [Column; 6] = [
    ("MSE", 5, false, |scores| Some(scores.mse)),
    ("PSNR, pooled (dB)", 2, true, |scores| scores.psnr_pooled),
    ("PSNR, mean (dB)", 2, true, |scores| scores.psnr_mean),
    ("SSIM", 4, true, |scores| scores.ssim),
    ("cross-entropy (nats)", 5, false, |scores| Some(scores.cross_entropy)),
    ("over its floor (nats)", 5, false, |scores| Some(scores.cross_entropy_over_floor)),
];

/// Most columns of a table of numbers that are listed.
const MOST_COLUMNS: usize = 100;
/// Most characters of the name of one.
const LONGEST_NAME: usize = 60;

/// Images in a row of the sheet of the map.
const SHEET_COLUMNS: usize = 40;

/// The result in one sentence, which says so if the gate is met without what it tells.
pub fn summary(metrics: &Metrics, gate: &[Requirement]) -> String {
    let images = metrics.images;
    let Some(model) = metrics.scores.first() else { return noise_summary(metrics) };
    let Some(psnr) = model.psnr_pooled else {
        return format!("The {} of {images} test images is without any error.", model.what);
    };
    let baselines = metrics.scores[1..].iter().filter_map(|scores| Some((scores, scores.psnr_pooled?)));
    let beside = baselines.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(String::new(), |(best, other)| {
        let (way, by) = if psnr >= other { ("above", psnr - other) } else { ("below", other - psnr) };
        let is_met = !gate.is_empty() && gate.iter().all(|requirement| requirement.met);
        let aside = if psnr < other && is_met { ", which the gate does not ask it to reach" } else { "" };
        format!(", {by:.2} dB {way} the best of the other ways ({}, {other:.2} dB){aside}", best.what)
    });
    format!("On {images} test images: {} at {psnr:.2} dB pooled PSNR against the clean images{beside}.", model.what)
}

/// The result without clean images in one sentence.
fn noise_summary(metrics: &Metrics) -> String {
    let images = metrics.images;
    let Some(NoiseLevels { noisy, made }) = metrics.noise_levels else {
        return format!("{images} test images were denoised; there are no clean images to compare with.");
    };
    let of_bytes = |level: f64| format!("{:.1}", 255.0 * level);
    format!(
        "On {images} test images: noise of standard deviation {} of 255 before, {} after, as estimated from the images; there are no \
         clean images to compare with.",
        of_bytes(noisy),
        of_bytes(made)
    )
}

/// The main scores, as tiles.
pub fn tiles(metrics: &Metrics, gate: &[Requirement]) -> String {
    let mut tiles = Vec::new();
    if let Some(model) = metrics.scores.first() {
        let psnr = model.psnr_pooled.map_or("–".to_owned(), |psnr| format!("{psnr:.2}<small> dB</small>"));
        tiles.push(("PSNR, pooled", psnr, ""));
        tiles.extend(model.ssim.map(|ssim| ("SSIM", format!("{ssim:.3}"), "")));
    }
    if let Some(NoiseLevels { noisy, made }) = metrics.noise_levels {
        let of_bytes = |level: f64| format!("{:.1}<small> of 255</small>", 255.0 * level);
        tiles.push(("noise before, estimated", of_bytes(noisy), ""));
        tiles.push(("noise after", of_bytes(made), ""));
    }
    if let Some(codes) = metrics.probe(FeatureKind::Codes) {
        let percent = |share: f64| format!("{:.1}<small> %</small>", share * 100.0);
        tiles.push(("class found from the code, linearly", percent(codes.linear_accuracy), ""));
        tiles.push(("class found by the 5 nearest codes", percent(codes.neighbours_accuracy), ""));
    }
    if let Some(code) = &metrics.code {
        tiles.push(("numbers in the code of an image", code.size.to_string(), ""));
    }
    if let Some(anomaly) = &metrics.anomaly {
        tiles.push(("anomaly AUROC", format!("{:.3}", anomaly.auroc), ""));
    }
    if !gate.is_empty() {
        let missed = gate.iter().filter(|requirement| !requirement.met).count();
        let (text, class) = if missed == 0 { ("met".to_owned(), "good") } else { (format!("{missed} missed"), "bad") };
        tiles.push(("gate", text, class));
    }
    tiles.into_iter().fold(String::new(), |mut html, (name, value, class)| {
        _ = write!(html, "<div class=\"tile {class}\"><b>{value}</b><span>{name}</span></div>");
        html
    })
}

/// The requirements of the gate, and whether each is met.
pub fn gate(gate: &[Requirement]) -> String {
    if gate.is_empty() {
        return String::new();
    }
    let lines = gate.iter().fold(String::new(), |mut html, Requirement { asked, found, met }| {
        let (class, sign) = if *met { ("good", "✓") } else { ("bad", "✗") };
        let (asked, found) = (escape(asked), escape(found));
        _ = write!(html, "<li class=\"{class}\"><i>{sign}</i> {asked} <span>{found}</span></li>");
        html
    });
    section("Gate", &format!("<ul class=\"gate\">{lines}</ul>"))
}

/// The first, the best and the worst images.
pub fn figures(report: &Report) -> Result<String> {
    let metrics = &report.metrics;
    if report.first.made.is_empty() {
        return Ok(String::new());
    }
    let first = strip(&report.first, metrics, &[])?;
    let other = if metrics.has_clean_images() { "clean" } else { "noisy" };
    let key = format!(
        "<p class=\"note\">In differences, what is <i class=\"dot brighter\"></i> brighter and what is \
         <i class=\"dot darker\"></i> darker than the {other} image.</p>"
    );
    let mut html = section("The first images of the test split", &format!("{first}{key}"));
    for (title, figure, known) in [("Best", &report.best, &metrics.best), ("Worst", &report.worst, &metrics.worst)] {
        if metrics.has_clean_images() {
            html += &section(title, &strip(figure, metrics, known)?);
        }
    }
    Ok(html)
}

/// Rows of images, with the scores of each under them, if known.
fn strip(figure: &Figure, metrics: &Metrics, known: &[ImageError]) -> Result<String> {
    let images = |images: &[Image]| images.iter().map(Picture::of).collect::<Vec<_>>();
    let others = if metrics.has_clean_images() { &figure.clean } else { &figure.noisy };
    let pairs = figure.made.iter().zip(others);
    let difference = pairs.map(|(made, clean)| Picture::difference(made, clean)).collect();
    let rows = [
        ("clean", images(&figure.clean)),
        ("noisy", images(&figure.noisy)),
        (metrics.made(), images(&figure.made)),
        ("difference", difference),
    ];
    let mut html = "<figure class=\"strip\">".to_owned();
    for (label, pictures) in rows.into_iter().filter(|(_, pictures)| !pictures.is_empty()) {
        let (label, count) = (escape(label), pictures.len());
        let class = if label == "difference" { "plain" } else { "" };
        _ = write!(
            html,
            "<span>{label}</span><img class=\"{class}\" src=\"{}\" alt=\"{count} images: {label}\">",
            row(pictures)?
        );
    }
    if !known.is_empty() {
        html.push_str("<span>PSNR (dB), id</span><div class=\"captions\">");
        for ImageError { id, label, psnr, .. } in known {
            let psnr = psnr.map_or("∞".to_owned(), |psnr| format!("{psnr:.1}"));
            let label =
                label.map_or(String::new(), |label| format!(" title=\"label {}\"", escape(&metrics.class_name(label))));
            _ = write!(html, "<span{label}><b>{psnr}</b><br>{id}</span>");
        }
        html.push_str("</div>");
    }
    Ok(html + "</figure>")
}

/// The loss curve.
pub fn curve(report: &Report) -> String {
    let svg = charts::curve(&report.history, report.loss_floor, &report.loss_name);
    svg.map_or(String::new(), |svg| {
        let note = match report.loss_floor {
            Some(_) => {
                "<p class=\"note\">Pixels are not binary, so that even perfect images have a loss: the floor.</p>"
            }
            None if report.metrics.noise_levels.is_some() => {
                "<p class=\"note\">Of hidden pixels, against their noisy values: even perfect images have a loss, that of the noise.</p>"
            }
            None => "",
        };
        let course = report.metrics.training.as_ref();
        let course = course.map_or(String::new(), |course| format!("<p class=\"note\">The model was {course}.</p>"));
        section(&format!("Loss: {}", report.loss_name), &format!("{svg}{course}{note}"))
    })
}

/// The table of scores, the best of each column emphasised.
pub fn scores(metrics: &Metrics) -> String {
    let mut html = if metrics.scores.is_empty() { String::new() } else { table_of_scores(metrics) };
    if metrics.noise_levels.is_some() {
        html.push_str("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">images</th>");
        html.push_str(
            "<th scope=\"col\" class=\"number\">estimated noise</th><th scope=\"col\" class=\"number\">of 255</th>",
        );
        html.push_str("</tr></thead><tbody>");
        for (what, level) in metrics.noise() {
            let (what, of_bytes) = (escape(what), 255.0 * level);
            _ = write!(html, "<tr><th scope=\"row\">{what}</th><td class=\"number\">{level:.4}</td>");
            _ = write!(html, "<td class=\"number\">{of_bytes:.1}</td></tr>");
        }
        html.push_str("</tbody></table></div>");
    }
    for omitted in &metrics.omitted {
        let (what, reason) = (escape(&omitted.what), escape(&omitted.reason));
        _ = write!(html, "<p class=\"note\">Without {what}: {reason}.</p>");
    }
    html
}

fn table_of_scores(metrics: &Metrics) -> String {
    let mut table = "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">images</th>".to_owned();
    for (head, ..) in COLUMNS {
        _ = write!(table, "<th scope=\"col\" class=\"number\">{head}</th>");
    }
    table.push_str("</tr></thead><tbody>");
    for row in &metrics.scores {
        _ = write!(table, "<tr><th scope=\"row\">{}</th>", escape(&row.what));
        for (_, decimals, more_is_better, value) in COLUMNS {
            let Some(this) = value(row) else {
                table.push_str("<td class=\"number\">–</td>");
                continue;
            };
            let better = |other: f64| if more_is_better { other > this } else { other < this };
            let best = !metrics.scores.iter().filter_map(value).any(better);
            let class = if best { "number best" } else { "number" };
            _ = write!(table, "<td class=\"{class}\">{this:.decimals$}</td>");
        }
        table.push_str("</tr>");
    }
    table + "</tbody></table></div>"
}

/// The scores of each class.
pub fn classes(metrics: &Metrics) -> String {
    let dots = charts::class_dots(metrics);
    if dots.is_empty() { dots } else { section("Class by class", &dots) }
}

/// The scores of each column of a table of numbers, the worst first.
pub fn columns(metrics: &Metrics) -> String {
    if metrics.columns.is_empty() {
        return String::new();
    }
    let mut columns: Vec<_> = metrics.columns.iter().collect();
    columns.sort_by(|a, b| a.r2.unwrap_or(f64::INFINITY).total_cmp(&b.r2.unwrap_or(f64::INFINITY)));
    let mut html = "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">column</th><th scope=\"col\" class=\"number\">R²</th>\
                    <th scope=\"col\" class=\"number\">RMSE, in its unit</th></tr></thead><tbody>"
        .to_owned();
    for ColumnScore { column, rmse, r2 } in columns.iter().take(MOST_COLUMNS) {
        let (column, r2) =
            (escape(&shortened(column, LONGEST_NAME)), r2.map_or("–".to_owned(), |r2| format!("{r2:.4}")));
        _ = write!(
            html,
            "<tr><th scope=\"row\">{column}</th><td class=\"number\">{r2}</td><td class=\"number\">{rmse:.4e}</td></tr>"
        );
    }
    html.push_str("</tbody></table></div>");
    if columns.len() > MOST_COLUMNS {
        _ = write!(html, "<p class=\"note\">The {MOST_COLUMNS} worst of {} columns.</p>", columns.len());
    }
    section("Column by column", &html)
}

/// The classifiers on features, the statistics of the code, and its map.
pub fn features(report: &Report) -> Result<String> {
    let metrics = &report.metrics;
    let mut html = String::new();
    if let Some(probes) = &metrics.probes {
        let (train, test, classes) = (probes.train_images, probes.test_images, probes.classes);
        html.push_str("<div class=\"scroll\"><table class=\"probes\"><thead><tr><th scope=\"col\">classifiers on</th>");
        html.push_str("<th scope=\"col\" class=\"number\">numbers</th><th scope=\"col\" class=\"number\">bytes</th>");
        html.push_str("<th scope=\"col\">linear</th><th scope=\"col\">5 nearest neighbours</th></tr></thead><tbody>");
        for probe in &probes.features {
            let Probe { what, size, bytes_per_row, linear_accuracy, neighbours_accuracy, .. } = probe;
            let bar = |share: f64| {
                let percent = share * 100.0;
                format!("<td class=\"bar\"><i style=\"width:{percent:.2}%\"></i><b>{percent:.2} %</b></td>")
            };
            let (linear, neighbours) = (bar(*linear_accuracy), bar(*neighbours_accuracy));
            let class = if probe.kind == FeatureKind::Codes { " class=\"ours\"" } else { "" };
            _ = write!(html, "<tr{class}><th scope=\"row\">{}</th><td class=\"number\">{size}</td>", escape(what));
            _ = write!(html, "<td class=\"number\">{bytes_per_row}</td>{linear}{neighbours}</tr>");
        }
        html.push_str("</tbody></table></div>");
        _ = write!(
            html,
            "<p class=\"note\">Share of {test} test images whose class, one of {classes}, is found after fitting to {train} \
             training images. Guessing finds about {:.0} %.</p>",
            100.0 / classes as f64
        );
    }
    if let Some(code) = &metrics.code {
        let rank = code.effective_rank.map_or("–".to_owned(), |rank| format!("{rank:.1}"));
        let facts = [
            ("numbers", code.size.to_string()),
            ("dead", code.dead_units.to_string()),
            ("effective rank", rank),
            ("mean", format!("{:.3}", code.mean_activation)),
            ("zeros", format!("{:.1} %", code.zeros * 100.0)),
        ];
        html.push_str("<dl class=\"facts\">");
        for (name, value) in facts {
            _ = write!(html, "<div><dt>{name}</dt><dd>{value}</dd></div>");
        }
        html.push_str("</dl>");
    }
    if !report.map.is_empty() {
        let (sheet, size) = match report.map_images.is_empty() {
            true => ("data:,".to_owned(), [0, 0]),
            false => sheet(report.map_images.clone(), SHEET_COLUMNS)?,
        };
        html.push_str(&charts::feature_map(
            &report.map,
            |label| metrics.class_name(label),
            &sheet,
            SHEET_COLUMNS,
            size,
        ));
        _ = write!(
            html,
            "<p class=\"note\">The codes of the first {} test images, placed so that images with near codes lie near each other (t-SNE; of up to \
             90 images, their principal components). How far groups are from each other says little.</p>",
            report.map.len()
        );
    }
    if let Some(anomaly) = &metrics.anomaly {
        let classes: Vec<_> = anomaly.classes.iter().map(|label| escape(&metrics.class_name(*label))).collect();
        _ = write!(
            html,
            "<p>The error of an image betrays the {} test images of class {}, which training has not seen, with an AUROC of \
             <b>{:.4}</b> (0.5 is guessing).</p>",
            anomaly.images,
            classes.join(", "),
            anomaly.auroc
        );
    }
    Ok(if html.is_empty() { html } else { section("Features", &html) })
}

/// The definitions of the scores.
pub fn definitions(metrics: &Metrics) -> String {
    metrics.definitions.iter().fold(String::new(), |mut list, (name, meaning)| {
        _ = write!(list, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(meaning));
        list
    })
}

/// The table of differences between two runs.
pub fn differences(rows: &[(String, [String; 2])]) -> String {
    let rows = rows.iter().fold(String::new(), |mut rows, (name, [left, right])| {
        let (name, left, right) = (escape(name), escape(left), escape(right));
        _ = write!(
            rows,
            "<tr><th scope=\"row\">{name}</th><td class=\"mono\">{left}</td><td class=\"mono\">{right}</td></tr>"
        );
        rows
    });
    format!(
        "<details open><summary>Settings that differ, and all scores</summary><div class=\"scroll\">\
         <table class=\"differences\"><tbody>{rows}</tbody></table></div></details>"
    )
}

/// Rows of names and values.
pub fn pairs(pairs: &[(String, String)]) -> String {
    pairs.iter().fold(String::new(), |mut rows, (name, value)| {
        let (name, value) = (escape(name), escape(value));
        _ = write!(rows, "<tr><th scope=\"row\">{name}</th><td class=\"mono\">{value}</td></tr>");
        rows
    })
}

fn section(title: &str, content: &str) -> String {
    let title = escape(title);
    format!("<section aria-label=\"{title}\"><h2>{title}</h2>{content}</section>")
}

/// Escapes text for HTML, in content and in quoted attributes.
pub fn escape(text: &str) -> String {
    escaped(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
