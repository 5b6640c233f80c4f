//! MNIST from a local folder or a mirror, always verified against the canonical images.
//!
//! Mirrors and tools recompress the four files, so digests are taken of their payloads. They are small
//! enough to hold in memory, which lets every container (raw IDX, gzip, Keras' archive) end in the same four byte strings.
//!
//! A folder that the user names must hold MNIST. In a folder that is merely searched, wrong files are reported, and
//! the search continues.

mod download;
mod files;

use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::draw::{Draw, Members, pick};
use super::settings::{drawn, resolve_validation};
use super::{ImageBytes, Source, SourceKind, bytes_of, row_group_of};
use crate::error;
use crate::image::{Classes, ImageShape, PerSplit, Split};
use crate::progress::Progress;
use crate::setting::{Choice, Section};
use crate::table::{Content, RowGroup};

/// Size of its images.
const SHAPE: ImageShape = ImageShape { height: 28, width: 28, channels: 1 };

/// One of the four files.
struct Part {
    /// Its name without `.gz`.
    name: &'static str,
    /// Its name in Keras' `mnist.npz`.
    keras: &'static str,
    /// Bytes of its IDX header: what comes before the pixels or labels.
    header: usize,
    /// Bytes of the payload, header included.
    len: usize,
    /// Lower-case hexadecimal SHA-256 of the payload.
    sha256: &'static str,
}

/// Images and labels of train, then of test.
const PARTS: [Part; 4] = [
    Part {
        name: "train-images-idx3-ubyte",
        keras: "x_train.npy",
        header: 16,
        len: 47_040_016,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    Part {
        name: "train-labels-idx1-ubyte",
        keras: "y_train.npy",
        header: 8,
        len: 60_008,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    Part {
        name: "t10k-images-idx3-ubyte",
        keras: "x_test.npy",
        header: 16,
        len: 7_840_016,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Part {
        name: "t10k-labels-idx1-ubyte",
        keras: "y_test.npy",
        header: 8,
        len: 10_008,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
];

/// The whole data set in memory, 55 MB.
pub struct Mnist {
    /// The payloads of [`PARTS`].
    payloads: [Vec<u8>; 4],
    /// The images of the training split that are for training, and those that are for validation, if any are.
    drawn: PerSplit<Option<Members>>,
}

impl Mnist {
    /// Reads MNIST from `path`, or from the first of the usual places that has it, or downloads it to `data/mnist`.
    ///
    /// # Errors
    /// A named folder without it, with damaged files or unreadable; no mirror that answers.
    pub fn open(path: Option<&Path>, mirrors: &[String], data: &Path, progress: &Progress) -> Result<Self> {
        let variable = || std::env::var_os("MNIST_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        if let Some(folder) = path.map(Path::to_owned).or_else(variable) {
            let by = if path.is_some() { "source.mnist.path" } else { "MNIST_DIR" };
            return files::read_folder(&folder)?.ok_or_else(|| {
                let (folder, name) = (folder.display(), files::first_missing(&folder));
                error::data(format!("{folder} ({by}) does not hold MNIST: {name}[.gz] is missing"))
            });
        }
        let own = data.join("mnist");
        for folder in std::iter::once(own.clone()).chain(usual_places()) {
            match files::read_folder(&folder) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(cause) => progress.note(&format!("mnist: passing over {} ({cause:#})", folder.display())),
            }
        }
        download::download(mirrors, &own, progress)
    }

    fn new(payloads: Vec<Vec<u8>>) -> Self {
        let mut payloads = payloads.into_iter();
        let payloads = std::array::from_fn(|_| payloads.next().unwrap_or_default());
        Self { payloads, drawn: [Some(Members::All), None, None] }
    }

    /// The same with a share of the training images drawn for validation.
    fn with_validation(self, seed: u64, fraction: f64) -> Result<Self> {
        let count = self.labels(Split::Train).len() as u64;
        Ok(Self { drawn: Members::drawn(Draw::new(seed, 0.0, fraction), count)?, ..self })
    }

    /// The payload of the images of a split, or of those that it is drawn from, or of their labels.
    fn payload(&self, split: Split, labels: bool) -> &[u8] {
        let index = 2 * usize::from(split == Split::Test) + usize::from(labels);
        &self.payloads[index][PARTS[index].header..]
    }

    fn labels(&self, split: Split) -> &[u8] {
        self.payload(split, true)
    }

    /// The images of its payload that belong to a split, if any do.
    fn members(&self, split: Split) -> Option<Members> {
        if split == Split::Test { Some(Members::All) } else { self.drawn[split as usize] }
    }
}

impl Source for Mnist {
    fn content(&self) -> Content {
        bytes_of(SHAPE)
    }

    fn count(&self, split: Split) -> u64 {
        self.members(split).map_or(0, |members| members.count(self.labels(split).len() as u64))
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let Some(members) = self.members(split) else { return Ok(Box::new(std::iter::empty())) };
        let labels = Some(self.labels(split));
        let chunks = self.payload(split, false).chunks(rows * SHAPE.len()).map(|chunk| Ok(chunk.to_vec()));
        Ok(Box::new(pick(chunks, SHAPE.len(), rows, members).map(move |picked| {
            let (ids, bytes) = picked?;
            Ok(row_group_of(ImageBytes { split, shape: SHAPE, ids, bytes: bytes.into(), labels }))
        })))
    }

    fn classes(&self) -> Classes {
        super::digits()
    }
}

/// The folders where TensorFlow 1, torchvision, Burn and Keras store it.
fn usual_places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = ["MNIST_data", "data/MNIST/raw", "MNIST/raw"].map(PathBuf::from).to_vec();
    if let Some(home) = std::env::home_dir() {
        places.push(home.join(".cache/burn-dataset/mnist"));
        places.push(home.join(".keras/datasets"));
    }
    places
}

/// Checks that a payload is the one of `part`; `path` is for messages.
fn verify(part: &Part, payload: Vec<u8>, path: &Path) -> Result<Vec<u8>> {
    if payload.len() != part.len {
        let (name, found, expected) = (part.name, payload.len(), part.len);
        let found = if found > expected { "more".to_owned() } else { format!("{found}") };
        let message = format!("{} is not MNIST's {name}: it has {found} bytes, expected {expected}", path.display());
        return Err(error::data(message));
    }
    let digest: String = Sha256::digest(&payload).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest != part.sha256 {
        let message = format!("sha256 of its content is {digest}, expected {}", part.sha256);
        return Err(error::data(format!("{} is not MNIST's {}: {message}", path.display(), part.name)));
    }
    Ok(payload)
}

/// MNIST, from a folder or found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MnistSettings {
    /// The folder that holds the four files.
    pub path: Option<PathBuf>,
    /// Where they are downloaded from if they are not found.
    pub mirrors: Vec<String>,
    /// Share of the training images that are drawn for validation.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation_fraction: f64,
}

/// The MNIST handwritten digits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawMnist {
    /// The folder that holds the four files; searched for in the usual places unless given.
    path: Option<String>,
    /// Where the files are downloaded from, one after the other until one works; each URL ends with '/'.
    mirrors: Option<Vec<String>>,
    /// Share of the training images that are for validation.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
}

impl Choice for MnistSettings {
    type Written = RawMnist;

    fn resolve(written: RawMnist, section: &mut Section<'_>) -> Option<Self> {
        let RawMnist { path, mirrors, validation_fraction } = written;
        Some(Self {
            mirrors: section.required("mirrors", mirrors)?,
            path: path.map(|path| section.file(path)),
            validation_fraction: resolve_validation(validation_fraction, &[], None, section),
        })
    }
}

impl SourceKind for MnistSettings {
    // It is always the same, wherever it comes from.
    fn decisive(&self, seed: u64) -> Value {
        let Self { path: _, mirrors: _, validation_fraction } = self;
        drawn(json!({}), None, *validation_fraction, seed)
    }

    fn known_shape(&self) -> Option<ImageShape> {
        Some(SHAPE)
    }

    fn open(&self, seed: u64, data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        let mnist = Mnist::open(self.path.as_deref(), &self.mirrors, data, progress)?;
        Ok(Box::new(mnist.with_validation(seed, self.validation_fraction)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_images_are_drawn_from_those_for_training() {
        let payloads = || PARTS.iter().map(|part| (0..part.len).map(|at| at as u8).collect()).collect::<Vec<Vec<u8>>>();
        let counts = |mnist: &Mnist| Split::ALL.map(|split| mnist.count(split));
        let plain = Mnist::new(payloads());
        assert_eq!(counts(&plain), [60_000, 10_000, 0]);
        let drawn = plain.with_validation(1, 0.1).expect("is drawn");
        let [train, test, validation] = counts(&drawn);
        assert!(train + validation == 60_000 && test == 10_000 && (5_700..6_300).contains(&validation));
        let mut ids = Vec::new();
        for split in [Split::Train, Split::Validation] {
            for group in drawn.row_groups(split, 5_000).expect("opens") {
                let mut emit = |batch: arrow_array::RecordBatch| {
                    ids.extend_from_slice(crate::table::ids(&batch)?.values());
                    Ok(())
                };
                group.and_then(|group| group(&mut emit)).expect("is read");
            }
        }
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..60_000));
        let none = drawn.with_validation(1, 0.0).expect("is not drawn");
        assert_eq!(counts(&none), [60_000, 10_000, 0]);
    }

    #[test]
    fn a_wrong_payload_is_refused_with_both_digests() {
        let part = &PARTS[3];
        let error = verify(part, vec![0; part.len], Path::new("x")).expect_err("is not MNIST").to_string();
        assert!(error.contains("sha256") && error.contains(part.sha256), "{error}");
        let error = verify(part, vec![0; 5], Path::new("x")).expect_err("is short").to_string();
        assert!(error.contains("it has 5 bytes, expected 10008"), "{error}");
    }
}
