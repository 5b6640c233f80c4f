//! Tells what a file is that is no table, IDX file or picture, and advises what to do with it: the only place that does.

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{describe_npy, names_in_npz, unpacked_start};
use crate::text::few;
use crate::{error, store};

/// Bytes at the start of a file by which it is recognised.
const START: u64 = 1 << 16;
/// Largest JSON file that is read to its end.
const MOST_JSON: u64 = 64 << 20;
/// Most keys of a JSON object that are printed.
const MOST_KEYS: usize = 12;
/// Largest header of a safetensors file that is accepted.
const MOST_HEADER: u64 = 100 << 20;

/// The recognised format of a file.
pub enum Look {
    /// To be read as IDX, which reports any error.
    Idx,
    /// Something else.
    Other {
        /// What it is, as in "it is …".
        what: String,
        /// What to do with it.
        advice: String,
        /// Whether the file seems complete.
        whole: bool,
    },
}

fn other(what: impl Into<String>, advice: impl Into<String>) -> Look {
    Look::Other { what: what.into(), advice: advice.into(), whole: true }
}

fn damaged(what: impl Into<String>) -> Look {
    let advice = "it broke off while it was copied or written, or still is: copy or write it again";
    Look::Other { what: what.into(), advice: advice.into(), whole: false }
}

/// Advice for pictures of formats that are not read.
const CONVERT: &str = "limpid reads PNG, JPEG, WebP, GIF, BMP and TIFF: convert it, as to PNG";
/// Advice for videos.
const FRAMES: &str = "limpid reads pictures: write its frames as PNG";

/// The bytes by which files of other programs are recognised, each with their position, a description of the format, and advice.
const MAGICS: [(usize, &[u8], &str, &str); 46] = [
    (
        0,
        b"ARROW1",
        "an Arrow or Feather file",
        "write it as Parquet: pyarrow.parquet.write_table(pyarrow.feather.read_table(…))",
    ),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", "save its arrays with numpy.savez, and read that with source.npz"),
    (0, b"CDF", "a NetCDF file", "save its arrays with numpy.savez, and read that with source.npz"),
    (0, b"MATLAB 5.0", "a MATLAB file", "save its arrays with numpy.savez, and read that with source.npz"),
    (0, b"SIMPLE  =", "a FITS file", "save its arrays with numpy.savez, and read that with source.npz"),
    (344, b"n+1\0", "a NIfTI volume", "save its slices with numpy.savez, and read that with source.npz"),
    (128, b"DICM", "a DICOM picture", CONVERT),
    (0, b"GIF8", "a GIF picture", "read pictures with source.folder = { path = \"…\" }"),
    (4, b"ftypavi", "an AVIF picture", CONVERT),
    (4, b"ftyphei", "a HEIC picture", CONVERT),
    (4, b"ftyphev", "a HEIC picture", CONVERT),
    (4, b"ftypmif", "a HEIF picture", CONVERT),
    (4, b"ftypmsf", "a HEIF picture", CONVERT),
    (4, b"ftyp", "an MP4 or QuickTime video", FRAMES),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video", FRAMES),
    (8, b"AVI LIST", "an AVI video", FRAMES),
    (0, b"II+\0", "a BigTIFF picture", "read pictures with source.folder = { path = \"…\" }"),
    (0, b"MM\0+", "a BigTIFF picture", "read pictures with source.folder = { path = \"…\" }"),
    (0, b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (4, b"JXL \r\n\x87\n", "a JPEG XL picture", CONVERT),
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 picture", CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", CONVERT),
    (0, b"8BPS", "a Photoshop picture", CONVERT),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", CONVERT),
    (0, b"#?RADIANCE", "a Radiance HDR picture", CONVERT),
    (0, b"\0\0\x01\0", "an icon", CONVERT),
    (0, b"P5\n", "a PGM picture", CONVERT),
    (0, b"P6\n", "a PPM picture", CONVERT),
    (0, b"P5 ", "a PGM picture", CONVERT),
    (0, b"P6 ", "a PPM picture", CONVERT),
    (0, b"<svg", "an SVG drawing", CONVERT),
    (0, b"%PDF", "a PDF file", "limpid reads pictures: convert its pages"),
    (0, b"SQLite format 3\0", "an SQLite database", "export its table as Parquet"),
    (0, b"BZh", "compressed with bzip2", "unpack it with bunzip2 first"),
    (0, b"\xfd7zXZ\0", "compressed with xz", "unpack it with unxz first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (0, b"Rar!", "a RAR archive", "unpack it first"),
    (
        257,
        b"ustar",
        "a tar archive",
        "read its pictures with source.tar = { train = \"…\", test-fraction = 0.1 }, or unpack it",
    ),
    (0, b"Obj\x01", "an Avro file", "write it as Parquet"),
    (0, b"ORC", "an ORC file", "write it as Parquet"),
    (0, b"\x7fELF", "a program", "name a file of data"),
    (0, b"\x89PNG", "a PNG picture", "read pictures with source.folder = { path = \"…\" }"),
    (0, b"\xff\xd8\xff", "a JPEG picture", "read pictures with source.folder = { path = \"…\" }"),
    (0, b"PAR1", "a Parquet file", "read it with source.parquet = { train = \"…\", test-fraction = 0.1 }"),
    (0, b"\x93NUMPY", "a NumPy array", "read it with source.npy = { train = \"…\", test-fraction = 0.1 }"),
];

/// What a file of another program is that starts like this, and advice.
pub fn format(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let is = |at: usize, magic: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(magic));
    MAGICS.iter().find(|(at, magic, ..)| is(*at, magic)).map(|(_, _, what, advice)| (*what, *advice))
}

/// The error of a reader that wants something else, as `an IDX file`, and fails with `cause`: where the file is of a known format, the
/// error says of which.
pub fn explained(path: &Path, wanted: &str, cause: anyhow::Error) -> anyhow::Error {
    let mut start = Vec::new();
    // A pipe can be read only once, and might never end.
    if store::is_file(path) {
        _ = store::reader(path).and_then(|file| file.take(START).read_to_end(&mut start));
    }
    // Of a damaged file of the wanted format, the cause tells more.
    match format(&start).filter(|(what, _)| *what != wanted) {
        Some((what, advice)) => error::data(format!("{} is not {wanted}, but {what}; {advice}", path.display())),
        None => cause,
    }
}

/// Recognises a file.
///
/// # Errors
/// It cannot be read.
pub fn look(path: &Path) -> Result<Look> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut file = store::reader(path).with_context(unreadable)?;
    let (size, mut start) = (file.size(), Vec::new());
    (&mut file).take(START).read_to_end(&mut start).with_context(unreadable)?;
    if start.is_empty() {
        return Ok(Look::Other {
            what: "empty".to_owned(),
            advice: "whatever was to write it has failed or has not begun: write it again".to_owned(),
            whole: false,
        });
    }
    if start.starts_with(b"\x1f\x8b") {
        return Ok(packed(path));
    }
    if start.starts_with(b"\x93NUMPY") {
        return Ok(match describe_npy(path) {
            Ok(what) => other(what, "read it with source.npy = { train = \"…\" }"),
            Err(cause) => Look::Other {
                what: format!("a NumPy array that cannot be used ({cause:#})"),
                advice: "write it again with numpy.save, as uint8 or as float32 in [0, 1]".to_owned(),
                whole: false,
            },
        });
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return Ok(match names_in_npz(path) {
            Ok(names) if names.is_empty() => other("a zip archive", "unpack it first"),
            Ok(names) => {
                let what = format!("a NumPy archive of {}", few(&names));
                other(what, "read it with source.npz = { path = \"…\", train = \"…\" }")
            }
            Err(_) => damaged("a zip or NumPy archive whose end is missing"),
        });
    }
    if let Some((what, advice)) = format(&start) {
        return Ok(other(what, advice));
    }
    if let Some(look) = safetensors(&start, size) {
        return Ok(look);
    }
    if start.starts_with(&[0, 0]) {
        return Ok(Look::Idx);
    }
    if let Some(text) = text(&start, size) {
        return as_text(path, text, size);
    }
    let mut end = [0; 4];
    let read = file.seek(SeekFrom::End(-4)).and_then(|_| file.read_exact(&mut end));
    if read.is_ok() && &end == b"PAR1" {
        return Ok(damaged("a Parquet file whose beginning is damaged or missing"));
    }
    if matches!(start[..], [0x80, 2..=5, ..]) {
        return Ok(other("a Python pickle", "save the arrays in it with numpy.savez, and read that with source.npz"));
    }
    let bytes: Vec<_> = start.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let what = format!("nothing that limpid knows: it starts with {}", bytes.join(" "));
    Ok(other(what, "limpid reads Parquet, IDX, NumPy arrays and pictures"))
}

/// Recognises the content of a gzip file.
fn packed(path: &Path) -> Look {
    match unpacked_start(path) {
        Ok(start) if start.starts_with(&[0, 0]) => Look::Idx,
        Ok(start) if start.is_empty() => other("a gzip file of nothing", "write it again"),
        Ok(start) => {
            let inside = if text(&start, u64::MAX).is_some() { "text" } else { "something that is not IDX" };
            other(format!("a gzip file of {inside}"), "unpack it with gunzip, and inspect what comes out")
        }
        Err(cause) => damaged(format!("a gzip file that cannot be unpacked ({cause})")),
    }
}

/// Recognises safetensors by the length of the header, and the header, in JSON.
fn safetensors(start: &[u8], size: u64) -> Option<Look> {
    let (length, rest) = start.split_first_chunk::<8>()?;
    let length = u64::from_le_bytes(*length);
    if length > MOST_HEADER || !rest.starts_with(b"{") {
        return None;
    }
    let Some(header) = rest.get(..length as usize) else {
        return Some(if size < length + 8 {
            damaged("a safetensors file that ends within its header")
        } else {
            other("a safetensors file", "limpid reads its own models from the folder that they are in")
        });
    };
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    let tensors: Vec<_> = header.iter().filter(|(name, _)| *name != "__metadata__").collect();
    let end = tensors.iter().filter_map(|(_, tensor)| tensor["data_offsets"][1].as_u64()).max().unwrap_or(0);
    let expected = end.saturating_add(8 + length);
    if size < expected {
        return Some(damaged(format!("a safetensors file of {size} bytes, where its header promises {expected}")));
    }
    let few: Vec<_> = tensors.iter().take(8).map(|(name, tensor)| format!("{name} {}", tensor["shape"])).collect();
    let more = if tensors.len() > few.len() { ", …" } else { "" };
    let what = format!("a safetensors file of {} tensors: {}{more}", tensors.len(), few.join(", "));
    Some(other(what, "a model is used by its run: limpid encode RUN INPUT… -o DIR"))
}

/// The start of a file as text, if it is UTF-8, without a character that is cut off at the end.
fn text(start: &[u8], size: u64) -> Option<&str> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(cause) if cause.error_len().is_none() && size > start.len() as u64 => {
            std::str::from_utf8(&start[..cause.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

fn as_text(path: &Path, text: &str, size: u64) -> Result<Look> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with("version https://git-lfs.github.com/spec/") {
        return Ok(other("a pointer of Git LFS, not the file itself", "fetch it with git lfs pull"));
    }
    if start.starts_with(['{', '[']) && size <= MOST_JSON {
        let file = store::reader(path).with_context(|| format!("cannot read {}", path.display()))?;
        match Outline::read(file) {
            Ok(Outline::Object(mut keys)) => {
                let more = if keys.len() > MOST_KEYS { ", …" } else { "" };
                keys.truncate(MOST_KEYS);
                let what = format!("JSON with the keys {}{more}", keys.join(", "));
                return Ok(other(what, "a run is shown by limpid show RUN"));
            }
            Ok(Outline::List) => {
                return Ok(other("JSON", "limpid reads tables as Parquet, and lists of pictures as CSV"));
            }
            Err(cause) if cause.is_io() => {
                return Err(std::io::Error::from(cause)).with_context(|| format!("cannot read {}", path.display()));
            }
            Err(cause) if cause.is_eof() => return Ok(damaged(format!("JSON that breaks off ({cause})"))),
            // Not JSON; TOML may begin with a bracket too.
            Err(_) => {}
        }
    }
    let lower = start.get(..64).unwrap_or(start).to_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        return Ok(other(
            "an HTML page",
            "open it in a browser; if it was downloaded as something else, the download failed",
        ));
    }
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_lowercase();
    Ok(match end.as_str() {
        "toml" => other("a TOML file", "if it is a pipeline, limpid plan FILE says what it would do"),
        "csv" | "tsv" => {
            let advice = "if it lists pictures, name it with source.folder.csv; source.vectors = { train = \"…\", test-fraction = 0.1 } \
                          reads its numbers";
            other("a table in text", advice)
        }
        _ => other("text", "limpid reads Parquet, IDX, NumPy arrays and pictures"),
    })
}

/// The outline of a JSON file. Its values are skipped: parsed, they would take thirty times the memory of their text.
enum Outline {
    /// The first keys of an object in alphabetical order, and one more if there are more than are printed.
    Object(Vec<String>),
    /// A list.
    List,
}

impl Outline {
    fn read(file: impl Read) -> serde_json::Result<Self> {
        // Bounded, since the file may have grown since its size was checked.
        let mut json = serde_json::Deserializer::from_reader(BufReader::new(file.take(MOST_JSON)));
        let outline = Self::deserialize(&mut json)?;
        json.end().map(|()| outline)
    }
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Outlining;
        impl<'de> Visitor<'de> for Outlining {
            type Value = Outline;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object or a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outline, A::Error> {
                let mut keys = BTreeSet::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.insert(key);
                    if keys.len() > MOST_KEYS + 1 {
                        keys.pop_last();
                    }
                }
                Ok(Outline::Object(keys.into_iter().collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Outline, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Outline::List)
            }
        }
        deserializer.deserialize_any(Outlining)
    }
}

/// A description of a folder, and advice what to do with it.
pub fn look_at_folder(path: &Path) -> String {
    let names = store::of(path).list(path).unwrap_or_default();
    let has = |name: &str| names.iter().any(|found| found == name);
    let ends = |ends: &[&str]| names.iter().any(|name| ends.iter().any(|end| name.to_lowercase().ends_with(end)));
    let folder = path.display();
    if has("pipeline.json") {
        format!("a folder, a run directory: show it with limpid show {folder}")
    } else if ends(&[".parquet"]) {
        format!("a folder of Parquet files: name one of them, as {folder}/*.parquet")
    } else if ends(&[".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"]) {
        "a folder of pictures: name one of them, or read all with source.folder = { path = \"…\" }".to_owned()
    } else if names.is_empty() {
        "a folder, an empty one: name a file".to_owned()
    } else {
        "a folder: name a file in it, or a run directory with limpid show".to_owned()
    }
}
