//! The source `folder` on the layouts that public data sets of pictures have: what their authors meant, or one clear error.

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_images::{TEST, TRAIN, VALIDATION, classes, png, sandbox};

/// The images of each split, and the names of the labels.
struct Meant {
    train: usize,
    test: usize,
    validation: usize,
    labels: &'static [&'static str],
}

const fn meant(train: usize, test: usize, labels: &'static [&'static str]) -> Result<Meant, &'static str> {
    Ok(Meant { train, test, validation: 0, labels })
}

/// The same with images for validation: those of one folder.
const fn validated(train: usize, test: usize, labels: &'static [&'static str]) -> Result<Meant, &'static str> {
    Ok(Meant { train, test, validation: EACH, labels })
}

/// All of one set, of which some are drawn for testing.
const fn drawn(labels: &'static [&'static str]) -> Result<Meant, &'static str> {
    Ok(Meant { train: 0, test: 0, validation: 0, labels })
}

/// Images in each of the folders of a layout.
const EACH: usize = 12;

/// Layouts: the folders that hold images, and what is meant.
const LAYOUTS: [(&str, &[&str], Result<Meant, &str>); 53] = [
    ("train and test", &["train/a", "train/b", "test/a", "test/b"], meant(24, 24, &["a", "b"])),
    ("train, val and test", &["train/a", "train/b", "val/a", "test/b"], validated(24, 12, &["a", "b"])),
    ("Train, Valid and Test", &["Train/a", "Train/b", "Valid/b", "Test/b"], validated(24, 12, &["a", "b"])),
    (
        "seg_train, seg_dev and seg_test",
        &["seg_train/a", "seg_train/b", "seg_dev/b", "seg_test/b"],
        validated(24, 12, &["a", "b"]),
    ),
    ("three of a set", &["DIV_train_HR", "DIV_valid_HR", "DIV_test_HR"], validated(12, 12, &[])),
    ("two for validation", &["train/a", "train/b", "val/a", "dev/a", "test/b"], meant(24, 12, &["a", "b"])),
    (
        "another label for validation",
        &["train/a", "val/b", "test/a"],
        Err("all images for training have the label a, and all for validation b; name the folders of the labels"),
    ),
    ("train and val", &["train/n01", "train/n02", "val/n01", "val/n02"], meant(24, 24, &["n01", "n02"])),
    ("train and validation", &["train/a", "train/b", "validation/a"], meant(24, 12, &["a", "b"])),
    ("train and dev, wrapped", &["set/train/a", "set/train/b", "set/dev/b"], meant(24, 12, &["a", "b"])),
    ("Training and Testing", &["Training/a", "Training/b", "Testing/b"], meant(24, 12, &["a", "b"])),
    ("training and Test", &["f/training/a", "f/training/b", "f/Test/b"], meant(24, 12, &["a", "b"])),
    ("TRAIN and VALID", &["TRAIN/a", "TRAIN/b", "VALID/a"], meant(24, 12, &["a", "b"])),
    ("Train and Val", &["Train/a", "Train/b", "Val/a"], meant(24, 12, &["a", "b"])),
    ("Train_Data and Test_Data", &["Train_Data/a", "Train_Data/b", "Test_Data/a"], meant(24, 12, &["a", "b"])),
    ("trainset and testset", &["trainset/a", "trainset/b", "testset/a"], meant(24, 12, &["a", "b"])),
    ("numbered", &["1_train/a", "1_train/b", "2_test/a"], meant(24, 12, &["a", "b"])),
    ("years", &["train2017", "val2017"], meant(12, 12, &[])),
    ("one domain", &["trainA", "testA"], meant(12, 12, &[])),
    ("two domains", &["trainA", "trainB", "testA", "testB"], Err("which look like splits; say which")),
    (
        "doubled, with unlabelled",
        &["seg_train/seg_train/a", "seg_train/seg_train/b", "seg_test/seg_test/a", "seg_pred/seg_pred"],
        meant(24, 12, &["a", "b"]),
    ),
    (
        "doubled sets",
        &["training_set/training_set/a", "training_set/training_set/b", "test_set/test_set/a"],
        meant(24, 12, &["a", "b"]),
    ),
    ("doubled wrapper", &["x/x/train/a", "x/x/train/b", "x/x/test/a", "x/x/val/a"], validated(24, 12, &["a", "b"])),
    ("name of the set", &["DIV_train_HR", "DIV_valid_HR"], meant(12, 12, &[])),
    ("small beside large", &["DIV_train_HR/DIV_train_HR", "DIV_valid_HR", "DIV_train_LR_x2"], meant(12, 12, &[])),
    ("images by split", &["images/train", "images/val"], meant(12, 12, &[])),
    ("images in splits", &["train/images", "valid/images"], meant(12, 12, &[])),
    ("three splits of images", &["images/train", "images/test", "images/val"], validated(12, 12, &[])),
    ("splits without labels", &["train", "test"], meant(12, 12, &[])),
    (
        "a test split without labels",
        &["train/a", "train/b", "test"],
        Err("lies in no sub-folder that could be its label"),
    ),
    ("more, not to train on", &["train_images", "test_images", "unlabeled_images"], meant(12, 12, &[])),
    ("train, test and extra", &["train", "test", "extra"], meant(12, 12, &[])),
    ("defects", &["train/good", "test/good", "test/broken"], meant(12, 24, &["broken", "good"])),
    (
        "splits in labels",
        &["bottle/train/good", "bottle/test/cut", "cable/train/good"],
        Err("look like splits, test and train"),
    ),
    ("splits in each label", &["cat/train", "cat/test", "dog/train", "dog/test"], meant(24, 24, &["cat", "dog"])),
    (
        "splits in each label, wrapped, with images",
        &["pets/cat/Training/images", "pets/cat/Testing/images", "pets/dog/training", "pets/dog/Test"],
        meant(24, 24, &["cat", "dog"]),
    ),
    (
        "three splits in each label",
        &["cat/train", "cat/val", "cat/test", "dog/train", "dog/val", "dog/test"],
        Ok(Meant { train: 24, test: 24, validation: 24, labels: &["cat", "dog"] }),
    ),
    ("train and val in each label", &["0/train", "0/val", "1/train", "1/val"], meant(24, 24, &["0", "1"])),
    (
        "splits in some labels",
        &["cat/train", "cat/test", "dog/train"],
        Err("look like splits, test and train; read it alone"),
    ),
    (
        "other splits in other labels",
        &["cat/train", "cat/test", "dog/train", "dog/val"],
        Err("look like splits, test and train; read it alone"),
    ),
    (
        "splits and more in labels",
        &["cat/train", "cat/test", "cat/masks", "dog/train", "dog/test"],
        Err("look like splits, test and train; read it alone"),
    ),
    (
        "splits in folds",
        &["fold_1/train", "fold_1/test", "fold_2/train", "fold_2/test"],
        Err("look like splits, test and train; read it alone"),
    ),
    ("labels of splits", &["train/horse1", "test/horse2"], Err("all images for training have the label horse1")),
    (
        "evaluation without training",
        &["images_background/a", "images_evaluation/b"],
        Err("a sub-folder images_evaluation but none called train"),
    ),
    ("train alone", &["train/a", "train/b"], Err("has a sub-folder train but none called test")),
    ("vehicles", &["bus", "train", "car"], Err("if train is a label, set source.folder.train")),
    ("trains and tubes", &["bullet_train", "test_tube"], drawn(&["bullet_train", "test_tube"])),
    ("labels", &["cat", "dog"], drawn(&["cat", "dog"])),
    ("wrapped labels", &["PetImages/Cat", "PetImages/Dog"], drawn(&["Cat", "Dog"])),
    ("images of labels", &["food/images/apple_pie", "food/images/waffles"], drawn(&["apple_pie", "waffles"])),
    ("many", &["101_Objects/BACKGROUND_Web", "101_Objects/accordion"], drawn(&["BACKGROUND_Web", "accordion"])),
    ("flat", &[""], drawn(&[])),
    ("flat in a folder", &["images"], drawn(&[])),
];

fn fill(sandbox: &Sandbox, folders: &[&str]) {
    for (number, folder) in folders.iter().enumerate() {
        for index in 0..EACH {
            sandbox.write(&format!("set/{folder}/{number}{index:02}.png"), &png(4, 4, index as u32));
        }
    }
}

#[test]
fn layouts_of_public_data_sets_are_read_as_they_are_meant() {
    for (name, folders, expected) in &LAYOUTS {
        let sandbox = sandbox("folder = { path = \"set\", test-fraction = 0.4 }");
        fill(&sandbox, folders);
        let done = sandbox.limpid("run small.toml --to ingest").ends();
        let code = done.status().code();
        match expected {
            Err(message) => {
                assert!(code == Some(65) && done.stderr().contains(message), "{name}: {message}\n{done}");
            }
            Ok(Meant { train, test, validation, labels }) => {
                assert_eq!(code, Some(0), "{name}\n{done}");
                let [found_train, found_test] = [TRAIN, TEST].map(|path| read(&sandbox, path).0.num_rows());
                let names = (!labels.is_empty()).then(|| format!("[\"{}\"]", labels.join("\",\"")));
                assert_eq!(classes(&sandbox, TRAIN), names, "{name}\n{done}");
                if *train == 0 {
                    assert_eq!(found_train + found_test, EACH * folders.len(), "{name}");
                } else {
                    assert_eq!((found_train, found_test), (*train, *test), "{name}\n{done}");
                    let found = sandbox.path(VALIDATION).exists().then(|| read(&sandbox, VALIDATION).0.num_rows());
                    assert_eq!(found.unwrap_or(0), *validation, "{name}\n{done}");
                    // Whatever is not read is counted.
                    let over = EACH * folders.len() - train - test - validation;
                    let said = format!("passed over: {over} images outside of both splits");
                    assert_eq!(done.stderr().contains(&said), over > 0, "{name}\n{done}");
                }
            }
        }
    }
}

#[test]
fn splits_in_the_names_of_files_are_no_draw() {
    let sandbox = sandbox("folder = { path = \"set\", test-fraction = 0.4 }");
    for name in ["train_001", "train_002", "test_001"] {
        sandbox.write(&format!("set/{name}.png"), &png(4, 4, 1));
    }
    sandbox.limpid("run small.toml --to ingest").exits(65).says("the names of the images in set say splits");
}

#[test]
fn a_label_may_be_called_as_a_split() {
    let sandbox = sandbox("folder = { path = \"set\", test-fraction = 0.4, train = \"-\", test = \"-\" }");
    fill(&sandbox, &["bus", "train", "car"]);
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!(classes(&sandbox, TRAIN).as_deref(), Some("[\"bus\",\"car\",\"train\"]"));
}

#[test]
fn what_is_passed_over_in_a_folder_is_said() {
    let sandbox = sandbox("folder = { path = \"set\" }");
    fill(&sandbox, &["train/a", "train/b", "test/a", "val/b"]);
    sandbox.write("set/stray.png", &png(4, 4, 1));
    sandbox.write("set/train/notes.txt", b"");
    sandbox.write("set/train/Thumbs.db", b"");
    sandbox
        .limpid("run small.toml --to ingest")
        .succeeds()
        .says("splits by sub-folders: train is train (24 images), test is test (12), validation is val (12)")
        .says("passed over: 1 images outside of all splits (1 in no sub-folder), such as stray.png; ")
        .says("passed over: 1 files that are no images by their names, such as set/train/notes.txt");
    sandbox
        .limpid("run small.toml --to ingest --set source.folder.validation=none")
        .succeeds()
        .says("passed over: 13 images outside of both splits (1 in no sub-folder, 12 in val), such as stray.png; ")
        .says("source.folder.validation = \"val\" would choose weights by those in val");
    assert!(!sandbox.path(VALIDATION).exists());
    sandbox.limpid("run small.toml --to ingest --set source.folder.test=val").succeeds().says("12 in test");
    sandbox.write("set/labels.csv", b"");
    let table =
        "such as set/labels.csv; if it lists images with their labels or splits, source.folder.csv would read it";
    sandbox.limpid("run small.toml --force --to ingest").succeeds().says(table);
    // A table that does not list all, and one without labels.
    sandbox.write("list.csv", b"file,split,kind\ntrain/a/000.png,train,x\ntest/a/200.png,test,y\n");
    let by_table = "run small.toml --to ingest --set source.folder.csv=list.csv";
    sandbox.limpid(by_table).succeeds().says("passed over: 47 images that the table of the files does not list").says(
        "no labels: list.csv has no column called label, class, category, but kind; source.folder.label = \"kind\"",
    );
    sandbox.limpid(&format!("{by_table} --set source.folder.label=kind")).succeeds().never_says("no labels");
    assert_eq!(classes(&sandbox, TRAIN).as_deref(), Some("[\"x\",\"y\"]"));
    sandbox.limpid(&format!("{by_table} --set source.folder.label=king")).exits(65).says("it has no column king");
}

#[test]
fn a_table_without_splits_leaves_them_to_the_folders() {
    let sandbox = sandbox("folder = { path = \"set\", csv = \"list.csv\", test-fraction = 0.4 }");
    fill(&sandbox, &["Training", "Testing"]);
    let list = |folders: &[&str]| {
        let name = |(number, folder): (usize, &&str)| {
            (0..EACH).map(|index| format!("{folder}/{number}{index:02}.png,7\n")).collect::<String>()
        };
        let lines: String = folders.iter().enumerate().map(name).collect();
        sandbox.write("list.csv", format!("file,label\n{lines}").as_bytes());
        sandbox.limpid("run small.toml --to ingest").succeeds();
        [TRAIN, TEST].map(|path| read(&sandbox, path).0.num_rows())
    };
    assert_eq!(list(&["Training", "Testing"]), [EACH, EACH]);
    // Of files that are all for training, some are drawn.
    let drawn = list(&["Training"]);
    assert!(drawn[0] + drawn[1] == EACH && drawn[1] > 0, "{drawn:?}");
}

#[cfg(unix)]
#[test]
fn what_links_in_a_split_lead_to_is_not_passed_over() {
    let sandbox = sandbox("folder = { path = \"set\" }");
    fill(&sandbox, &["all", "test/a"]);
    std::fs::create_dir_all(sandbox.path("set/train/a")).expect("created");
    for index in 0..EACH {
        let name = format!("0{index:02}.png");
        std::os::unix::fs::symlink(format!("../../all/{name}"), sandbox.path(&format!("set/train/a/{name}")))
            .expect("linked");
    }
    sandbox.limpid("run small.toml --to ingest").succeeds().never_says("passed over");
    assert_eq!(read(&sandbox, TRAIN).0.num_rows(), EACH);
}
