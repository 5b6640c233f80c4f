//! Charts as SVG and HTML: pure functions of their numbers, so that the page has the same bytes for the same run.

use std::fmt::Write;

use super::{MapPoint, escape};
use crate::quality::metrics::Metrics;
use crate::training::history::EpochRecord;

/// Size of the loss curve and the margin for labels, in SVG units, which are pixels on the page.
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    right: f64,
}

/// One of the losses of an epoch.
type Loss = fn(&EpochRecord) -> f64;

/// The losses that are drawn, by the name and the class of their line; that of validation is not finite where there is none.
const LOSSES: [(&str, Loss); 3] = [
    ("train", |record| record.train_loss),
    ("test", |record| record.test_loss),
    ("validation", |record| record.validation_loss.unwrap_or(f64::NAN)),
];

/// The style of the line of validation, which few pages have.
const VALIDATION: &str = "<style>svg .validation { stroke: var(--good); fill: none; stroke-width: 2; } \
     svg circle.validation { fill: var(--good); } svg text.validation { fill: var(--good); stroke: none; }</style>";

/// One for a wide page and one for a phone, since text cannot shrink with a drawing.
const FRAMES: [Frame; 2] = [
    Frame { class: "wide", width: 760.0, height: 320.0, right: 96.0 },
    Frame { class: "narrow", width: 360.0, height: 250.0, right: 84.0 },
];
/// Most epochs whose points are drawn: more could not be told apart.
const MOST_DOTS: usize = 200;
const LEFT: f64 = 52.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// The losses over the epochs, with the floor as a dashed line, once for each width of the page. Losses that are not finite
/// are left out; none if all are.
pub fn curve(history: &[EpochRecord], floor: Option<f64>, loss_name: &str) -> Option<String> {
    FRAMES.iter().map(|frame| framed(frame, history, floor, loss_name)).collect()
}

fn framed(frame: &Frame, history: &[EpochRecord], floor: Option<f64>, loss_name: &str) -> Option<String> {
    let finite = |value: &f64| value.is_finite();
    let values = history.iter().flat_map(|record| LOSSES.map(|(_, loss)| loss(record))).chain(floor);
    let values: Vec<f64> = values.filter(finite).collect();
    let (first, last) = (history.first()?.epoch as f64, history.last()?.epoch as f64);
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    let step = nice_step((high - low).max(high.abs() * 1e-3).max(1e-9) / 5.0);
    let (low, high) = ((low / step).floor() * step, (high / step).ceil().max((low / step).floor() + 1.0) * step);
    let (right, bottom) = (frame.width - frame.right, frame.height - BOTTOM);
    let x = |epoch: f64| match last > first {
        true => LEFT + (epoch - first) / (last - first) * (right - LEFT),
        false => (LEFT + right) / 2.0,
    };
    let y = |loss: f64| bottom - (loss - low) / (high - low) * (bottom - TOP);
    let mut svg = format!(
        "<svg class=\"chart {}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{} over the epochs\">",
        frame.class,
        frame.width,
        frame.height,
        escape(loss_name)
    );
    if history.iter().any(|record| record.validation_loss.is_some()) {
        svg.push_str(VALIDATION);
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 8.0) as usize;
    let ticks = ((high - low) / step).round() as usize;
    for tick in 0..=ticks {
        let loss = low + tick as f64 * step;
        let y = y(loss);
        _ = write!(svg, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{loss:.decimals$}</text>", LEFT - 8.0, y + 4.0);
    }
    let epoch_step = nice_step((last - first) / (frame.width / 90.0)).max(1.0);
    let mut epoch = first;
    while epoch <= last {
        _ = write!(svg, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{epoch}</text>", x(epoch), bottom + 18.0);
        epoch = (epoch / epoch_step).floor() * epoch_step + epoch_step;
    }
    _ = write!(svg, "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">epoch</text>", bottom + 34.0);
    let mut taken: Vec<f64> = Vec::new();
    // Labels of lines that end close together are moved up until they do not overlap.
    let mut place = |y: f64| {
        let mut label = y + 4.0;
        while let Some(other) = taken.iter().find(|other| (label - **other).abs() < 14.0) {
            label = other - 14.0;
        }
        taken.push(label);
        label
    };
    if let Some(floor) = floor.filter(finite) {
        let y = y(floor);
        _ = write!(svg, "<line class=\"floor\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\">floor {floor:.4}</text>", right + 8.0, place(y));
    }
    let mut lines = LOSSES;
    let end = |loss: Loss| history.iter().map(loss).rfind(finite).unwrap_or(f64::INFINITY);
    // The lowest is labelled first, so that the others move up.
    lines.sort_by(|a, b| end(a.1).total_cmp(&end(b.1)));
    for (class, loss) in lines {
        let points: Vec<&EpochRecord> = history.iter().filter(|point| loss(point).is_finite()).collect();
        let Some(end) = points.last() else { continue };
        let line: Vec<_> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.epoch as f64), y(loss(p)))).collect();
        _ = write!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "));
        // Dots with tooltips, unless there are too many epochs to tell them apart.
        for point in points.iter().filter(|_| points.len() <= MOST_DOTS) {
            let (x, y) = (x(point.epoch as f64), y(loss(point)));
            let title = format!("epoch {}: {class} {:.5}", point.epoch, loss(point));
            _ = write!(
                svg,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"><title>{title}</title></circle>"
            );
        }
        let (label_x, label) = (x(end.epoch as f64) + 8.0, place(y(loss(end))));
        _ = write!(svg, "<text class=\"{class}\" x=\"{label_x:.1}\" y=\"{label:.1}\">{class} {:.4}</text>", loss(end));
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(1e-12).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough).unwrap_or(10.0 * power)
}

/// For each class a line with the PSNR of the model's images and of every baseline as dots; empty without classes.
pub fn class_dots(metrics: &Metrics) -> String {
    let values = metrics.classes.iter().flat_map(|class| class.scores.iter().filter_map(|scores| scores.psnr_pooled));
    let values: Vec<f64> = values.collect();
    let (Some(low), Some(high)) = (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max))
    else {
        return String::new();
    };
    let step = nice_step((high - low).max(0.1) / 4.0);
    let (low, high) = ((low / step).floor() * step, (high / step).floor() * step + step);
    let at = |psnr: f64| (psnr - low) / (high - low) * 100.0;
    let mut html = "<ul class=\"legend\">".to_owned();
    for (index, scores) in metrics.scores.iter().enumerate() {
        _ = write!(html, "<li><i class=\"dot s{}\"></i>{}</li>", index.min(6), escape(&scores.what));
    }
    html.push_str("</ul><div class=\"dots\">");
    for class in &metrics.classes {
        let name = escape(&metrics.class_name(class.class));
        _ = write!(html, "<span>{name}</span><div class=\"track\">");
        // The model's dot is drawn last, over the others.
        for (index, scores) in class.scores.iter().enumerate().rev() {
            let Some(psnr) = scores.psnr_pooled else { continue };
            let title = format!("class {name}, {}: {psnr:.2} dB", escape(&scores.what));
            _ = write!(
                html,
                "<i class=\"dot s{}\" style=\"left:{:.2}%\" title=\"{title}\"></i>",
                index.min(6),
                at(psnr)
            );
        }
        html.push_str("</div>");
    }
    html.push_str("<span></span><div class=\"ticks\">");
    let decimals = (-step.log10().floor()).clamp(0.0, 4.0) as usize;
    for tick in 0..=((high - low) / step).round() as usize {
        let psnr = low + tick as f64 * step;
        _ = write!(html, "<b style=\"left:{:.2}%\">{psnr:.decimals$}</b>", at(psnr));
    }
    html.push_str("</div></div><p class=\"note\">Pooled PSNR in dB, class by class; more is better.</p>");
    html
}

/// Classes with a colour of their own.
const COLOURS: usize = 10;

/// Codes as points of a plane, with the names of their classes; `sheet` is the data URI of their images in rows of `columns`,
/// each of `size` (width, height) pixels.
pub fn feature_map(
    points: &[MapPoint],
    name: impl Fn(i64) -> String,
    sheet: &str,
    columns: usize,
    size: [usize; 2],
) -> String {
    let extent = |value: fn(&MapPoint) -> f32| {
        let least = points.iter().map(value).fold(f32::INFINITY, f32::min);
        let most = points.iter().map(value).fold(f32::NEG_INFINITY, f32::max);
        (least, (most - least).max(1e-9))
    };
    let ((left, width), (low, height)) = (extent(|point| point.x), extent(|point| point.y));
    let mut labels: Vec<i64> = points.iter().filter_map(|point| point.label).collect();
    labels.sort_unstable();
    labels.dedup();
    let class = |label: Option<i64>| match label.and_then(|label| labels.binary_search(&label).ok()) {
        Some(index) => format!("k{}", index % COLOURS),
        None => "k".to_owned(),
    };
    let mut html = format!(
        "<div class=\"map\" data-columns=\"{columns}\" data-rows=\"{}\" data-width=\"{}\" data-height=\"{}\">\
         <svg viewBox=\"0 0 760 520\" role=\"img\" aria-label=\"Codes in two dimensions\">",
        points.len().div_ceil(columns),
        size[0],
        size[1]
    );
    for point in points {
        let (x, y) = (10.0 + (point.x - left) / width * 740.0, 510.0 - (point.y - low) / height * 500.0);
        let label = point.label.map_or(String::new(), |label| escape(&name(label)));
        _ = write!(
            html,
            "<circle class=\"{}\" cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"4\" data-id=\"{}\" data-label=\"{label}\"/>",
            class(point.label),
            point.id
        );
    }
    _ = write!(
        html,
        "</svg><div class=\"tip\" hidden><i></i><b></b></div><img class=\"sheet\" src=\"{sheet}\" alt=\"\" hidden>"
    );
    html.push_str("</div>");
    if !labels.is_empty() && labels.len() <= 2 * COLOURS {
        html.push_str("<ul class=\"legend\">");
        for label in &labels {
            _ = write!(html, "<li><i class=\"dot {}\"></i>{}</li>", class(Some(*label)), escape(&name(*label)));
        }
        html.push_str("</ul>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(epoch: u64, train_loss: f64, test_loss: f64) -> EpochRecord {
        EpochRecord { epoch, train_loss, test_loss, validation_loss: None }
    }

    #[test]
    fn a_curve_has_a_point_for_every_finite_loss_and_no_other() {
        let history = [point(1, 0.3, 0.25), point(2, f64::NAN, 0.2), point(3, 0.15, f64::INFINITY)];
        let svg = curve(&history, Some(0.05), "cross-entropy").expect("has points");
        assert_eq!(svg.matches("<circle").count(), 4 * FRAMES.len());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains("floor 0.0500") && !svg.contains("validation"));
        let validated = history.map(|record| EpochRecord { validation_loss: Some(0.4), ..record });
        let svg = curve(&validated, None, "mse").expect("has points");
        assert_eq!(svg.matches("<circle").count(), 7 * FRAMES.len());
        assert!(svg.contains("validation 0.4000</text>") && svg.contains("<style>"), "{svg}");
    }

    #[test]
    fn one_epoch_is_a_curve_and_none_is_not() {
        assert!(curve(&[point(1, 0.3, 0.3)], None, "x").is_some_and(|svg| !svg.contains("NaN")));
        assert_eq!(curve(&[], Some(0.1), "x"), None);
    }

    #[test]
    fn a_map_has_every_point_and_a_colour_for_every_class() {
        let points: Vec<_> = [(0, Some(7)), (1, None), (2, Some(3))]
            .map(|(id, label)| MapPoint { id, label, x: 1.0, y: id as f32 })
            .into();
        let name = |label: i64| format!("<{label}>");
        let html = feature_map(&points, name, "data:x", 2, [4, 5]);
        assert!(html.contains("data-label=\"&lt;7&gt;\"") && html.contains("</i>&lt;3&gt;</li>"), "{html}");
        assert_eq!((html.matches("<circle").count(), html.matches("<li>").count()), (3, 2));
        assert!(html.contains("class=\"k1\" cx=\"10\" cy=\"510\"") && html.contains("data-rows=\"2\""), "{html}");
        assert!(!html.contains("NaN"));
    }
}
