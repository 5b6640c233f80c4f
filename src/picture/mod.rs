//! Picture files as they are, a few rows at a time: as deep as they are, with their colour profile and their alpha channel.
//!
//! `source::picture` makes images of one size and of bytes for tables; here a picture stays a picture. PNG and TIFF are decoded and
//! encoded row by row, so that a picture may be larger than the memory. The other formats, interlaced PNG, and pictures that are
//! turned by their EXIF orientation are held whole, within the bounds of `source::picture`.

mod density;
mod format;
mod png;
mod samples;
mod tiff;
mod tiff_writer;
mod whole;

use std::cell::RefCell;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use image::ImageReader;
use image::metadata::Orientation;

use crate::store::{self, RangeReader};
use crate::{error, source};
pub use density::Density;
pub use format::Format;
pub use samples::{of_numbers, to_numbers};

/// Longest side of a picture that is read row by row.
const MOST_SIDE: u32 = 1 << 20;
/// Most bytes of the decoded pixels of a picture that is held whole, and of a strip of a TIFF.
const MOST_BYTES: usize = 512 << 20;
/// Most bytes of a colour profile or other metadata.
const MOST_ASIDE: usize = 16 << 20;

/// How deep the numbers of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Bytes.
    U8,
    /// 16-bit numbers.
    U16,
    /// 32-bit floats.
    F32,
}

impl Depth {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Depth::U8 => 1,
            Depth::U16 => 2,
            Depth::F32 => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Depth::U8 => "8 bits",
            Depth::U16 => "16 bits",
            Depth::F32 => "32-bit floats",
        }
    }
}

/// What is known of a picture besides its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Numbers per pixel: 1 for grey, 3 for RGB, and one more with alpha.
    pub channels: usize,
    /// Of each number.
    pub depth: Depth,
    /// Whether the colours are multiplied by the alpha.
    pub premultiplied: bool,
    /// The ICC profile of its colours.
    pub profile: Option<Vec<u8>>,
    /// How large it is on paper.
    pub density: Option<Density>,
    /// EXIF: what a camera says, with an orientation that turns nothing. TIFF has it in other parts.
    pub exif: Option<Vec<u8>>,
    /// Frames of an animation, of which it is the first.
    pub frames: usize,
    /// Texts of a TIFF by their tags, as their bytes: some programs write UTF-8.
    pub texts: Vec<(u16, Vec<u8>)>,
}

impl Header {
    /// A picture of which no more is known; its last channel is an alpha if their number is even.
    pub fn new(height: usize, width: usize, channels: usize, depth: Depth) -> Self {
        let (profile, density, exif, frames, texts) = (None, None, None, 1, Vec::new());
        Self { height, width, channels, depth, premultiplied: false, profile, density, exif, frames, texts }
    }

    /// Numbers of a pixel without its alpha.
    pub fn colours(&self) -> usize {
        if self.has_alpha() { self.channels - 1 } else { self.channels }
    }

    /// Whether its pixels have an alpha, their last number.
    pub fn has_alpha(&self) -> bool {
        self.channels.is_multiple_of(2)
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.width * self.channels * self.depth.bytes()
    }

    /// Leaves out a profile for other colours, as that of a CMYK picture that was decoded to RGB.
    fn with_fitting_profile(mut self) -> Self {
        let wanted: &[u8] = if self.colours() == 1 { b"GRAY" } else { b"RGB " };
        self.profile = self.profile.filter(|profile| profile.get(16..20) == Some(wanted));
        self
    }
}

/// Rows of a picture, from the top.
trait Rows: Send {
    /// Reads the next row, which there is.
    fn read(&mut self, row: &mut [u8]) -> Result<()>;

    /// Checks what follows the last row.
    fn end(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether another page follows.
    fn has_more(&self) -> bool {
        false
    }

    /// The page that follows.
    fn next_page(self: Box<Self>) -> Result<Option<Opened>> {
        Ok(None)
    }
}

/// A picture, how it is to be turned, and its rows.
type Opened = (Header, Orientation, Box<dyn Rows>);

/// A picture that is being read.
pub struct Reader {
    header: Header,
    next: usize,
    rows: Box<dyn Rows>,
}

/// A file that is read, buffered.
type File = BufReader<RangeReader>;

impl Reader {
    /// Opens a picture, whose format its first bytes say.
    ///
    /// # Errors
    /// A file that cannot be read or is no picture, and one that is too large or of a kind that cannot be kept.
    pub fn open(path: &Path) -> Result<Self> {
        let file = store::of(path).open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut file = BufReader::new(RangeReader::new(file, 0));
        let mut start = Vec::new();
        let rewound = file.by_ref().take(16).read_to_end(&mut start).and_then(|_| file.seek(SeekFrom::Start(0)));
        rewound.with_context(|| format!("cannot read {}", path.display()))?;
        Self::of(match source::guess_format(&start) {
            Some(image::ImageFormat::Png) => png::open(file)?,
            Some(image::ImageFormat::Tiff) => tiff::open(file)?,
            _ => {
                drop(file);
                whole::open(path)?
            }
        })
    }

    fn of((header, orientation, rows): Opened) -> Result<Self> {
        let reader = Self { header: header.with_fitting_profile(), next: 0, rows };
        if orientation == Orientation::NoTransforms { Ok(reader) } else { whole::turned(reader, orientation) }
    }

    /// What is known of the picture.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the next row: numbers in the byte order of the machine, channels last. After the last it checks the rest of the file.
    ///
    /// # Errors
    /// A damaged file, the file system.
    pub fn read(&mut self, row: &mut [u8]) -> Result<()> {
        self.rows.read(row)?;
        self.next += 1;
        if self.next == self.header.height { self.rows.end() } else { Ok(()) }
    }

    /// Whether another page follows this one.
    pub fn has_more_pages(&self) -> bool {
        self.rows.has_more()
    }

    /// The page that follows this one, which has been read; none if it is the last.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn next_page(self) -> Result<Option<Self>> {
        self.rows.next_page()?.map(Self::of).transpose()
    }
}

/// A file that encoders own while its owner waits for it.
pub struct Shared<W>(pub Rc<RefCell<W>>);

impl<W: Write> Write for Shared<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// A picture that is being written.
pub enum Writer {
    /// Row by row.
    Png(Box<png::PngWriter>),
    /// Row by row.
    Tiff(tiff_writer::TiffWriter),
    /// When all rows are there.
    Whole(whole::WholeWriter),
}

impl Writer {
    /// Begins a picture that [`Format::check`] has nothing against; with `more`, others follow in the same file, where
    /// [`Format::check_pages`] has nothing against it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(file: Box<dyn Write>, format: Format, header: &Header, more: bool) -> Result<Self> {
        Ok(match format {
            Format::Png => Writer::Png(Box::new(png::PngWriter::new(file, header)?)),
            Format::Tiff => Writer::Tiff(tiff_writer::TiffWriter::new(file, header, more)?),
            Format::Jpeg | Format::WebP | Format::Bmp => {
                Writer::Whole(whole::WholeWriter::new(file, format, header.clone()))
            }
        })
    }

    /// Writes the next rows, as [`Reader::read`] gives them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, rows: &[u8]) -> Result<()> {
        match self {
            Writer::Png(writer) => writer.write(rows),
            Writer::Tiff(writer) => writer.write(rows),
            Writer::Whole(writer) => {
                writer.write(rows);
                Ok(())
            }
        }
    }

    /// Begins the page that follows the last row; with `more`, others follow it.
    ///
    /// # Errors
    /// The file cannot be written, or cannot hold it.
    pub fn next_page(&mut self, header: &Header, more: bool) -> Result<()> {
        match self {
            Writer::Tiff(writer) => writer.next_page(header, more),
            Writer::Png(_) | Writer::Whole(_) => Format::Png.check_pages(),
        }
    }

    /// Writes what follows the last row.
    ///
    /// # Errors
    /// The file cannot be written, or the picture cannot be encoded.
    pub fn finish(self) -> Result<()> {
        match self {
            Writer::Png(writer) => writer.finish(),
            Writer::Tiff(writer) => writer.finish(),
            Writer::Whole(writer) => writer.finish(),
        }
    }
}

/// Most pixels of a small picture.
const MOST_SMALL: u64 = 1 << 20;

/// Whether a picture takes little memory, as its header says; not where that is not known.
pub fn is_small(path: &Path) -> bool {
    let Ok(file) = store::reader(path) else { return false };
    let small = file.size() <= 8 * MOST_SMALL;
    let size = || ImageReader::new(BufReader::new(file)).with_guessed_format().ok()?.into_dimensions().ok();
    small && size().is_some_and(|(width, height)| u64::from(width) * u64::from(height) <= MOST_SMALL)
}

/// A side that a picture is read row by row with.
fn checked_side(side: u32) -> Result<usize> {
    if (1..=MOST_SIDE).contains(&side) {
        return Ok(side as usize);
    }
    Err(error::data(format!("it has a side of {side} pixels; 1 to {MOST_SIDE} work")))
}

#[cfg(test)]
mod tests;
