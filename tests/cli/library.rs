//! What the library does for programs that it is a part of is what the commands do.

use limpid::command::library::{self, Images, Model, Reading, Rows};
use limpid::error::{self, Kind};
use limpid::progress::Progress;
use limpid::source::HeldArray;
use serde_json::json;

use crate::harness::Sandbox;
use crate::own_arrays::npy;

fn held(sizes: &[u64], numbers: Vec<u8>) -> Images {
    let (name, description) = ("the array".to_owned(), "|u1".to_owned());
    Images::Array(HeldArray { name, description, sizes: sizes.to_vec(), numbers: numbers.into() })
}

#[test]
fn a_model_makes_in_memory_what_the_commands_write() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    let pixels: Vec<u8> = (0..9 * 784).map(|at| (at * 31 % 256) as u8).collect();
    sandbox.write("x.npy", &npy("|u1", "(9, 28, 28)", &pixels));
    let progress = Progress::silent();
    let model = |threads| Model::load(&sandbox.path("runs/small"), "flex", Some(threads), &progress).expect("is there");
    let reading = Reading::default();
    let one = model(1);
    for what in ["encode", "denoise"] {
        sandbox.limpid(&format!("{what} runs/small x.npy -o {what}")).succeeds();
        let table = library::table(&sandbox.path(what).join("x.parquet")).expect("is written");
        let written = table.all().collect::<anyhow::Result<Vec<_>>>().expect("is whole");
        let made = |model: &Model, sizes: &[u64]| -> Rows {
            let images = held(sizes, pixels.clone());
            let made = match what {
                "encode" => model.encode(images, &reading, ("image", true), &progress),
                _ => model.denoise(images, &reading, (false, false), &progress),
            };
            made.expect("are images")
        };
        for sizes in [&[9, 28, 28][..], &[9, 28, 28, 1], &[9, 784]] {
            assert_eq!(made(&one, sizes).batches, written, "{what} {sizes:?}");
        }
        // Each thread has a share.
        let rows = made(&model(4), &[9, 28, 28]).batches;
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(), [3, 3, 3]);
        assert!(
            rows.iter()
                .enumerate()
                .all(|(at, batch)| batch.column(3) == &written[0].slice(3 * at, 3).column(3).clone())
        );
    }
    assert!(
        one.encode(held(&[0, 28, 28], Vec::new()), &reading, ("image", true), &progress)
            .expect("none")
            .batches
            .is_empty()
    );
    for (sizes, numbers) in [(&[1, 27, 29][..], 783), (&[1, 28], 28), (&[2, 28, 28], 784)] {
        let refused =
            one.encode(held(sizes, vec![0; numbers]), &reading, ("image", true), &progress).err().expect("is refused");
        assert_eq!(error::kind(&refused), Kind::Data, "{refused}");
    }
}

#[test]
fn settings_may_be_values_in_place_of_a_file() {
    let sandbox = Sandbox::new();
    let document = || {
        json!({
            "name": "small", "source": { "strokes": { "train": 600, "test": 120 } }, "corruption": { "gaussian": { "std": 0.5 } },
            "model": { "dense": { "hidden": [32], "code": 8 } }, "gate": { "baselines": [] },
            "training": { "input": "noisy", "epochs": 2, "batch-size": 50 },
        })
    };
    let document = || document().as_object().cloned();
    let arguments = |command: &str, more: &[&str]| -> Vec<String> {
        let runs = format!("--runs={}", sandbox.path("runs").display());
        [command, &runs].into_iter().chain(more.iter().copied()).chain(["the pipeline"]).map(str::to_owned).collect()
    };
    let progress = Progress::silent();
    library::run(&arguments("run", &["--to=corrupt"]), document(), &progress).expect("runs");
    assert_eq!(library::directory(&arguments("run", &[]), document()).expect("is right"), sandbox.path("runs/small"));
    // The file has the same settings.
    sandbox.limpid("plan small.toml --to corrupt --check").succeeds();
    let plans = library::plan(&arguments("plan", &["--to=train"]), document(), &progress).expect("is planned");
    assert_eq!((&plans[1]["action"], &plans[2]["action"]), (&json!("up-to-date"), &json!("run")));
    assert_eq!(library::show(&sandbox.path("runs/small")).expect("is a run")["stages"][0]["stage"], "ingest");
    assert!(library::scores(&sandbox.path("runs/small")).expect("is a run").is_null());
    for (more, message) in [(&["--to=bake"][..], "no stage \"bake\""), (&["--sett=1"], "unexpected argument '--sett'")]
    {
        let refused = library::run(&arguments("run", more), document(), &progress).expect_err("is refused");
        assert!(error::kind(&refused) == Kind::Settings && refused.to_string().contains(message), "{refused}");
    }
}
