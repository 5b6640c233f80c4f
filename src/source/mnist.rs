//! MNIST, found where people keep it or downloaded, and always the canonical images.
//!
//! Mirrors and tools recompress the four files, so their payloads are what is digested and compared. They are small
//! enough to hold in memory, which lets every container (raw IDX, gzip, Keras' archive) end in the same four byte strings.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::{ImageBytes, Source, row_group_of};
use crate::error;
use crate::progress::Progress;
use crate::table::{ImageShape, RowGroup, Split};

/// Size of its images.
pub const SHAPE: ImageShape = ImageShape { height: 28, width: 28, channels: 1 };

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
}

impl Mnist {
    /// Reads MNIST from `path`, or from the first of the usual places that has it, or downloads it to `data/mnist`.
    ///
    /// # Errors
    /// A named folder without it, damaged files, no mirror that answers.
    pub fn open(path: Option<&Path>, mirrors: &[String], data: &Path, progress: &Progress) -> Result<Self> {
        let named = path.map(Path::to_owned).or_else(|| std::env::var_os("MNIST_DIR").map(PathBuf::from));
        if let Some(folder) = named {
            return read_folder(&folder)?.ok_or_else(|| {
                let missing = PARTS.iter().find(|part| find(&folder, part).is_none());
                let name = missing.map_or("train-images-idx3-ubyte", |part| part.name);
                let by = if path.is_some() { "source.mnist.path" } else { "MNIST_DIR" };
                let message = format!("{} ({by}) does not hold MNIST: {name}[.gz] is missing", folder.display());
                error::data(message)
            });
        }
        let own = data.join("mnist");
        for folder in std::iter::once(own.clone()).chain(usual_places()) {
            if let Some(found) = read_folder(&folder)? {
                return Ok(found);
            }
        }
        download(mirrors, &own, progress)?;
        read_folder(&own)?.ok_or_else(|| error::bug("MNIST was downloaded and is not there"))
    }

    fn pixels(&self, split: Split) -> &[u8] {
        let index = 2 * split as usize;
        &self.payloads[index][PARTS[index].header..]
    }

    fn labels(&self, split: Split) -> &[u8] {
        let index = 2 * split as usize + 1;
        &self.payloads[index][PARTS[index].header..]
    }
}

impl Source for Mnist {
    fn shape(&self) -> ImageShape {
        SHAPE
    }

    fn count(&self, split: Split) -> u64 {
        self.labels(split).len() as u64
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let chunks = self.pixels(split).chunks(rows * SHAPE.len()).zip(self.labels(split).chunks(rows));
        Ok(Box::new(chunks.enumerate().map(move |(index, (bytes, labels))| {
            let first = (index * rows) as u64;
            let bytes = Cow::Borrowed(bytes);
            Ok(row_group_of(ImageBytes { split, shape: SHAPE, first, bytes, labels: Some(labels) }))
        })))
    }
}

/// Where TensorFlow 1, torchvision, Burn and Keras leave it.
fn usual_places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = ["MNIST_data", "data/MNIST/raw", "MNIST/raw"].map(PathBuf::from).to_vec();
    if let Some(home) = std::env::home_dir() {
        places.push(home.join(".cache/burn-dataset/mnist"));
        places.push(home.join(".keras/datasets"));
    }
    places
}

/// The file of a part in a folder, raw or gzip.
fn find(folder: &Path, part: &Part) -> Option<PathBuf> {
    [part.name.to_owned(), format!("{}.gz", part.name)]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.is_file())
}

/// MNIST from a folder: four IDX files, torchvision's `MNIST/raw` below it, or Keras' `mnist.npz`; none if it has none.
fn read_folder(folder: &Path) -> Result<Option<Mnist>> {
    for folder in [folder.to_owned(), folder.join("MNIST/raw")] {
        let files: Option<Vec<_>> = PARTS.iter().map(|part| find(&folder, part)).collect();
        let Some(files) = files else { continue };
        let payloads = PARTS.iter().zip(&files).map(|(part, path)| verify(part, read_file(path, part)?, path));
        return Ok(Some(mnist(payloads.collect::<Result<_>>()?)));
    }
    let archive = folder.join("mnist.npz");
    if archive.is_file() { read_keras(&archive).map(Some) } else { Ok(None) }
}

fn mnist(payloads: Vec<Vec<u8>>) -> Mnist {
    let mut payloads = payloads.into_iter();
    Mnist { payloads: std::array::from_fn(|_| payloads.next().unwrap_or_default()) }
}

fn read_file(path: &Path, part: &Part) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let gzip = path.extension().is_some_and(|extension| extension == "gz");
    let payload: Box<dyn Read> =
        if gzip { Box::new(MultiGzDecoder::new(io::BufReader::new(file))) } else { Box::new(file) };
    read_limited(payload, part, path)
}

/// Reads a payload, but not much more than it should have: a wrong file shall not fill the memory.
fn read_limited(payload: impl Read, part: &Part, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len);
    let read = payload.take(part.len as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|cause| match cause.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            error::data(format!("{} is damaged: {cause}", path.display()))
        }
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    })?;
    Ok(bytes)
}

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

/// Keras keeps the same bytes as four NumPy arrays in an archive: the IDX headers are put back before the check.
fn read_keras(path: &Path) -> Result<Mnist> {
    let damaged = |cause: &dyn std::fmt::Display| error::data(format!("{} is damaged: {cause}", path.display()));
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(|cause| damaged(&cause))?;
    let payloads = PARTS.iter().map(|part| {
        let entry = archive.by_name(part.keras).map_err(|cause| damaged(&format!("{}: {cause}", part.keras)))?;
        let mut array = entry.take(part.len as u64 + (1 << 16));
        let mut bytes = Vec::with_capacity(part.len);
        array.read_to_end(&mut bytes).map_err(|cause| damaged(&cause))?;
        let data = npy_data(&bytes).ok_or_else(|| damaged(&format!("{} is not a NumPy array", part.keras)))?;
        let items = (part.len - part.header) / if part.header == 16 { SHAPE.len() } else { 1 };
        let mut payload = vec![0, 0, 8, if part.header == 16 { 3 } else { 1 }];
        payload.extend((items as u32).to_be_bytes());
        if part.header == 16 {
            payload.extend([0, 0, 0, 28, 0, 0, 0, 28]);
        }
        payload.extend(data);
        verify(part, payload, path)
    });
    Ok(mnist(payloads.collect::<Result<_>>()?))
}

/// The data of a `.npy` file of any version, after its header (NEP 1).
fn npy_data(bytes: &[u8]) -> Option<&[u8]> {
    let major = *bytes.strip_prefix(b"\x93NUMPY")?.first()?;
    let start = if major == 1 {
        10 + usize::from(u16::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?]))
    } else {
        12 + u32::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?, *bytes.get(10)?, *bytes.get(11)?]) as usize
    };
    bytes.get(start..)
}

/// Downloads what is missing from the first mirror that delivers it whole; a file appears under its name only once its
/// digest is right.
fn download(mirrors: &[String], folder: &Path, progress: &Progress) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_global(Some(Duration::from_secs(600)))
        .user_agent(concat!("limpid/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    for part in PARTS.iter().filter(|part| find(folder, part).is_none()) {
        let mut failures = Vec::new();
        // Each mirror twice: a dropped connection is common, and a clean start is simple and safe.
        let delivered = mirrors.iter().flat_map(|mirror| [mirror, mirror]).any(|mirror| {
            match fetch(&agent, mirror, part, folder, progress) {
                Ok(()) => true,
                Err(cause) => {
                    failures.push(format!("{mirror}: {cause:#}"));
                    false
                }
            }
        });
        if !delivered {
            failures.dedup();
            let tried = failures.join("; ");
            let advice = "put the four files into a folder and name it in MNIST_DIR, or use `strokes` as the source";
            return Err(error::io(format!(
                "MNIST is not on this machine and {} could not be downloaded ({tried}); {advice}",
                part.name
            )));
        }
    }
    Ok(())
}

fn fetch(agent: &ureq::Agent, mirror: &str, part: &Part, folder: &Path, progress: &Progress) -> Result<()> {
    crate::interrupt::check()?;
    let name = format!("{}.gz", part.name);
    let mut response = agent.get(format!("{mirror}{name}")).call()?;
    let task = progress.task(&format!("download {name}"), response.body().content_length().unwrap_or(0), "bytes");
    let mut body = response.body_mut().as_reader();
    // Gzip never makes it larger than this.
    let most = part.len + (1 << 20);
    let mut compressed = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = body.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        compressed.extend_from_slice(&buffer[..read]);
        task.advance(read as u64);
        crate::interrupt::check()?;
        anyhow::ensure!(compressed.len() <= most, "it sends more than {most} bytes");
    }
    drop(task);
    let path = folder.join(&name);
    let payload = if compressed.starts_with(&[0x1f, 0x8b]) {
        read_limited(MultiGzDecoder::new(compressed.as_slice()), part, &path)?
    } else {
        anyhow::bail!("what it sends is not gzip");
    };
    verify(part, payload, &path)?;
    let partial = folder.join(format!("{name}.part"));
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(&compressed)?;
        file.sync_all()?;
        std::fs::rename(&partial, &path)
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numpy_header_is_skipped_whatever_its_version() {
        let mut first = b"\x93NUMPY\x01\x00\x04\x00{  }".to_vec();
        first.extend([1, 2]);
        assert_eq!(npy_data(&first), Some(&[1, 2][..]));
        let mut second = b"\x93NUMPY\x02\x00\x04\x00\x00\x00{  }".to_vec();
        second.extend([3]);
        assert_eq!(npy_data(&second), Some(&[3][..]));
        assert_eq!(npy_data(b"\x93NUMPY\x01\x00\xff\xff"), None);
        assert_eq!(npy_data(b"PK"), None);
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
