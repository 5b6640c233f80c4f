//! Pictures as text: rows of images as PNG data URIs, the loss curve as SVG.
//!
//! Both are pure functions of their numbers, so that the page has the same bytes for the same run.

use std::fmt::Write;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{EpochPoint, escape};
use crate::table::ImageShape;

/// Empty columns between two images of a row.
const GAP: usize = 2;

/// One PNG with the images side by side on a transparent ground, as a data URI. Grey and RGB are shown as they are; of
/// other channel counts the first channel is shown.
pub fn strip(images: &[Vec<u8>], shape: ImageShape) -> Result<String> {
    let ImageShape { height, width, channels } = shape;
    let sheet_width = images.len() * (width + GAP) - GAP;
    let mut sheet = vec![0; sheet_width * height * 4];
    for (index, image) in images.iter().enumerate() {
        for row in 0..height {
            for column in 0..width {
                let pixel = &image[(row * width + column) * channels..][..channels];
                let [red, green, blue] = match *pixel {
                    [red, green, blue] => [red, green, blue],
                    _ => [pixel[0]; 3],
                };
                let at = (row * sheet_width + index * (width + GAP) + column) * 4;
                sheet[at..at + 4].copy_from_slice(&[red, green, blue, 255]);
            }
        }
    }
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, sheet_width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&sheet));
    written.context("cannot encode a row of images")?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}

/// Size of the curve's drawing and the room around it for labels, in SVG units.
const SIZE: (f64, f64) = (720.0, 320.0);
const LEFT: f64 = 56.0;
const RIGHT: f64 = 92.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// The losses over the epochs, with the floor as a dashed line. Points that are not finite are left out; none if nothing
/// is left.
pub fn curve(history: &[EpochPoint], floor: Option<f64>, loss_name: &str) -> Option<String> {
    let finite = |value: &f64| value.is_finite();
    let values = history.iter().flat_map(|point| [point.train_loss, point.test_loss]).chain(floor);
    let values: Vec<f64> = values.filter(finite).collect();
    let (first, last) = (history.first()?.epoch as f64, history.last()?.epoch as f64);
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    let step = nice_step((high - low).max(high.abs() * 1e-3).max(1e-9) / 5.0);
    let (low, high) = ((low / step).floor() * step, (high / step).ceil().max((low / step).floor() + 1.0) * step);
    let (right, bottom) = (SIZE.0 - RIGHT, SIZE.1 - BOTTOM);
    let x = |epoch: f64| match last > first {
        true => LEFT + (epoch - first) / (last - first) * (right - LEFT),
        false => (LEFT + right) / 2.0,
    };
    let y = |loss: f64| bottom - (loss - low) / (high - low) * (bottom - TOP);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{} over the epochs\">",
        SIZE.0,
        SIZE.1,
        escape(loss_name)
    );
    let decimals = (-step.log10().floor()).clamp(0.0, 8.0) as usize;
    let ticks = ((high - low) / step).round() as usize;
    for tick in 0..=ticks {
        let loss = low + tick as f64 * step;
        let y = y(loss);
        _ = write!(svg, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{loss:.decimals$}</text>", LEFT - 8.0, y + 4.0);
    }
    let epoch_step = nice_step((last - first) / 8.0).max(1.0);
    let mut epoch = first;
    while epoch <= last {
        _ = write!(svg, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{epoch}</text>", x(epoch), bottom + 18.0);
        epoch = (epoch / epoch_step).floor() * epoch_step + epoch_step;
    }
    _ = write!(svg, "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">epoch</text>", bottom + 34.0);
    if let Some(floor) = floor.filter(finite) {
        let y = y(floor);
        _ = write!(svg, "<line class=\"floor\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\">floor {floor:.4}</text>", right + 8.0, y + 4.0);
    }
    let mut taken: Option<f64> = None;
    for (class, loss) in [("train", (|p| p.train_loss) as fn(&EpochPoint) -> f64), ("test", |p| p.test_loss)] {
        let points: Vec<&EpochPoint> = history.iter().filter(|point| loss(point).is_finite()).collect();
        let Some(end) = points.last() else { continue };
        let line: Vec<_> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.epoch as f64), y(loss(p)))).collect();
        _ = write!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "));
        for point in &points {
            let (x, y) = (x(point.epoch as f64), y(loss(point)));
            let title = format!("epoch {}: {class} {:.5}", point.epoch, loss(point));
            _ = write!(
                svg,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"><title>{title}</title></circle>"
            );
        }
        // Two curves that end close together get labels one below the other.
        let mut label = y(loss(end)) + 4.0;
        if let Some(taken) = taken.filter(|taken| (label - taken).abs() < 14.0) {
            label = if label >= taken { taken + 14.0 } else { taken - 14.0 };
        }
        taken = Some(label);
        let label_x = x(end.epoch as f64) + 8.0;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn point(epoch: u64, train_loss: f64, test_loss: f64) -> EpochPoint {
        EpochPoint { epoch, train_loss, test_loss }
    }

    #[test]
    fn a_curve_has_a_point_for_every_finite_loss_and_no_other() {
        let history = [point(1, 0.3, 0.25), point(2, f64::NAN, 0.2), point(3, 0.15, f64::INFINITY)];
        let svg = curve(&history, Some(0.05), "cross-entropy").expect("has points");
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains("floor 0.0500"));
    }

    #[test]
    fn one_epoch_is_a_curve_and_none_is_not() {
        assert!(curve(&[point(1, 0.3, 0.3)], None, "x").is_some_and(|svg| !svg.contains("NaN")));
        assert_eq!(curve(&[], Some(0.1), "x"), None);
    }

    #[test]
    fn a_strip_is_a_png_of_the_images() {
        let shape = ImageShape { height: 2, width: 3, channels: 1 };
        let uri = strip(&[vec![7; 6], vec![9; 6]], shape).expect("encodes");
        let png = STANDARD.decode(uri.strip_prefix("data:image/png;base64,").expect("is a PNG")).expect("is base64");
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("is whole");
        let mut pixels = vec![0; reader.output_buffer_size().expect("is small")];
        let info = reader.next_frame(&mut pixels).expect("is whole");
        assert_eq!((info.width, info.height), (8, 2));
        assert_eq!(
            (&pixels[..4], &pixels[12..16], &pixels[20..24]),
            (&[7, 7, 7, 255][..], &[0; 4][..], &[9, 9, 9, 255][..])
        );
    }
}
