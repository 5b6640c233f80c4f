//! Tests of the report: its content, what it omits, and that it loads nothing from elsewhere.

use std::collections::BTreeMap;

use super::*;
use crate::image::{ImageShape, Split};
use crate::quality::Scores;
use crate::quality::metrics::Omitted;

fn scores(what: &str, mse: f64) -> Scores {
    Scores {
        what: what.to_owned(),
        baseline: None,
        mse,
        psnr_pooled: Some(3.0),
        psnr_mean: None,
        ssim: None,
        cross_entropy: 0.5,
        cross_entropy_over_floor: 0.4,
    }
}

fn figure() -> Figure {
    let image = |byte| Image { shape: ImageShape { height: 1, width: 1, channels: 1 }, bytes: vec![byte] };
    Figure { clean: vec![image(1)], noisy: Vec::new(), made: vec![image(9)] }
}

fn report() -> Report {
    Report {
        name: "a<b>&\"c\"".to_owned(),
        title: "T".to_owned(),
        loss_name: "cross-entropy".to_owned(),
        first: figure(),
        best: figure(),
        worst: figure(),
        history: Vec::new(),
        loss_floor: None,
        metrics: Metrics {
            format: 2,
            task: "reconstruction".to_owned(),
            split: Split::Test,
            images: 3,
            fit_rows: 3,
            cross_entropy_floor: Some(0.1),
            noise_levels: None,
            scores: vec![scores("<i>", 0.25), scores("other", 0.5)],
            classes: Vec::new(),
            class_names: None,
            columns: Vec::new(),
            best: Vec::new(),
            worst: Vec::new(),
            code: None,
            probes: None,
            anomaly: None,
            training: None,
            omitted: vec![Omitted::new("x<y", "too large")],
            definitions: BTreeMap::new(),
        },
        gate: Vec::new(),
        map: Vec::new(),
        map_images: Vec::new(),
        settings: vec![("key".to_owned(), "<value>".to_owned())],
        provenance: Vec::new(),
    }
}

#[test]
fn text_is_escaped_and_nothing_is_loaded_from_elsewhere() {
    let page = render(&report()).expect("renders");
    assert!(page.contains("a&lt;b&gt;&amp;&quot;c&quot;") && page.contains("&lt;value&gt;"));
    assert!(page.contains("Without x&lt;y: too large."));
    assert!(!page.contains("<i><") && !page.contains("http"));
    assert_eq!(page, render(&report()).expect("renders"));
}

#[test]
fn what_is_not_known_is_a_dash_or_left_out() {
    let page = render(&report()).expect("renders");
    assert_eq!(page.matches("<td class=\"number\">–</td>").count(), 4);
    assert!(page.contains("<td class=\"number best\">0.25000</td>"));
    assert!(!page.contains("<svg") && !page.contains("<h2>Features") && !page.contains("<h2>Gate"));
    assert_eq!(page.matches("data:image/png").count(), 9);
}

#[test]
fn a_missed_requirement_is_marked() {
    let requirement = |met| Requirement { asked: "better".to_owned(), found: "worse".to_owned(), met };
    let page = render(&Report { gate: vec![requirement(true), requirement(false)], ..report() }).expect("renders");
    assert!(page.contains("1 missed") && page.contains("<li class=\"bad\"><i>✗</i> better"));
}

#[test]
fn a_gate_that_is_met_below_another_way_is_explained() {
    let requirement = |met| Requirement { asked: "better".to_owned(), found: "worse".to_owned(), met };
    let lead = |psnr: f64, gate: Vec<Requirement>| {
        let mut metrics = report().metrics;
        metrics.scores[0].psnr_pooled = Some(psnr);
        sections::summary(&metrics, &gate)
    };
    let aside = "which the gate does not ask it to reach";
    // The other way reaches 3 dB.
    assert!(lead(2.0, vec![requirement(true)]).contains(aside));
    assert!(!lead(2.0, vec![requirement(true), requirement(false)]).contains(aside));
    assert!(!lead(2.0, Vec::new()).contains(aside) && !lead(4.0, vec![requirement(true)]).contains(aside));
}

#[test]
fn two_runs_stand_side_by_side() {
    let other = Report { name: "other".to_owned(), ..report() };
    let differences = [("seed".to_owned(), ["1".to_owned(), "<2>".to_owned()])];
    let page = render_pair(&report(), &other, &differences).expect("renders");
    assert_eq!((page.matches("<article>").count(), page.matches("<script>").count()), (2, 1));
    assert!(page.contains("<td class=\"mono\">&lt;2&gt;</td>"));
}

#[test]
fn a_place_without_a_value_is_an_error() {
    assert!(fill("a {{b}} c", &[("b", "B".to_owned())]).is_ok_and(|page| page == "a B c"));
    assert!(fill("a {{b}} c", &[]).is_err());
}
