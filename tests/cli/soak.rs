//! Runs a pipeline repeatedly with random settings; each run must do exactly what `plan` said before.
//!
//! `LIMPID_ROUNDS` is the number of runs (50 for a night, a few otherwise), `LIMPID_SEED` the seed of the settings.

use serde_json::Value;

use crate::harness::Sandbox;
use crate::random::{Random, number};

const PIPELINE: &str = "[source]\nstrokes = { train = 300, test = 50 }\n[corruption]\ngaussian = { std = 0.5 }\n\
                        [model]\ndense = { hidden = [16], code = 8 }\n[training]\ninput = \"noisy\"\nepochs = 1\nbatch-size = 100\n";

/// Settings that are changed, with their values.
const CHOICES: [(&str, &[&str]); 11] = [
    ("seed", &["1", "2"]),
    ("source.strokes.train", &["300", "400"]),
    ("corruption.gaussian.std", &["0.3", "0.5"]),
    ("model.dense.code", &["4", "8"]),
    ("model.loss", &["cross-entropy", "mse"]),
    ("training.epochs", &["1", "2", "3"]),
    ("training.learning-rate", &["1e-3", "2e-3"]),
    ("training.weights", &["last", "best"]),
    ("training.checkpoint-seconds", &["5", "30"]),
    ("encode.input", &["clean", "noisy"]),
    ("output.pixels", &["u8", "f32"]),
];

/// A stage, its action, and the reasons.
type Decision = (String, String, Vec<String>);

fn decision(value: &Value) -> Decision {
    let text = |key: &str| value[key].as_str().expect("is text").to_owned();
    let reasons = value["reasons"].as_array().into_iter().flatten();
    (text("stage"), text("action"), reasons.map(|reason| reason.as_str().expect("is text").to_owned()).collect())
}

#[test]
fn a_plan_is_what_the_run_then_does() {
    let (rounds, seed) = (number("LIMPID_ROUNDS", 8), number("LIMPID_SEED", 1));
    let mut random = Random(seed);
    let sandbox = Sandbox::with(PIPELINE);
    let mut chosen: Vec<usize> = vec![0; CHOICES.len()];
    let (mut ran, mut skipped) = (0, 0);
    for round in 0..rounds {
        for _ in 0..random.below(3) {
            let which = random.below(CHOICES.len());
            chosen[which] = random.below(CHOICES[which].1.len());
        }
        let sets =
            CHOICES.iter().zip(&chosen).map(|((key, values), chosen)| format!(" --set {key}={}", values[*chosen]));
        let mut words = format!("small.toml{}", sets.collect::<String>());
        words +=
            ["", "", "", " --from train", " --to encode", " --force --only evaluate", " --verify"][random.below(7)];
        if round == 0 {
            words = "small.toml".to_owned();
        }
        let plan = sandbox.limpid(&format!("plan {words} --json")).ends();
        let run = sandbox.limpid(&format!("run {words} --log json")).ends();
        assert_eq!(plan.status().code(), run.status().code(), "round {round}: {words}\n{plan}{run}");
        if plan.status().code() != Some(0) {
            continue;
        }
        let plans: Vec<Value> = serde_json::from_str(&plan.stdout()).expect("is JSON");
        let events: Vec<Value> =
            run.stderr().lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
        let done =
            events.iter().filter(|event| matches!(event["event"].as_str(), Some("stage-started" | "stage-skipped")));
        let done: Vec<Decision> = done.map(decision).collect();
        assert_eq!(plans.len(), done.len(), "round {round}: {words}\n{plan}{run}");
        for ((stage, planned, why), (_, action, reasons)) in plans.iter().map(decision).zip(&done) {
            let what = format!("round {round}, {stage}: planned {planned} {why:?}, done {action} {reasons:?}: {words}");
            // The plan cannot know the future output of an earlier stage; once it has run, a change of it becomes a reason.
            let (known, open): (Vec<_>, Vec<_>) = why.iter().partition(|reason| !reason.ends_with(" runs first"));
            let sources: Vec<_> = open.iter().filter_map(|reason| reason.strip_suffix(" runs first")).collect();
            // Likewise, whether other images mean a new training.
            let new = |reason: &str| reason.starts_with("a new training") && !why.iter().any(|known| known == reason);
            let (from_sources, others): (Vec<_>, Vec<_>) = reasons.iter().partition(|reason| {
                sources.iter().any(|stage| reason.starts_with(&format!("{stage}/")) || new(reason))
            });
            let same = known.is_empty() && !sources.is_empty() && action == "up-to-date";
            assert!(same || planned == *action, "{what}");
            assert!(same || known == others, "{what}");
            assert!(same || sources.is_empty() || !from_sources.is_empty() || !known.is_empty(), "{what}");
            if action == "up-to-date" { skipped += 1 } else { ran += 1 }
        }
    }
    println!("rounds: {rounds}, stages run: {ran}, skipped: {skipped}, differences from the plan: 0");
}
