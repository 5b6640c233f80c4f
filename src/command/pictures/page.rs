//! A page of a picture through the model, a few rows after the other: in strips side by side, or in bands of tiles.

use std::ops::Range;

use anyhow::Result;

use crate::engine::inference::Inference;
use crate::engine::strips::Strips;
use crate::engine::tiles::{Band, Tile, Tiles};
use crate::error;
use crate::image::{ImageShape, Levels};
use crate::picture::{Header, Reader, Writer, of_numbers, to_numbers};
use crate::progress::Task;

/// Most bytes of the rows that a band of tiles is made from: beside them are those that it makes, and a strip of the file.
const MOST_WINDOW: usize = 384 << 20;

/// Whether other pictures are under way.
#[derive(Debug, Clone, Copy)]
pub enum Turn {
    /// It has all of so many threads.
    Alone(usize),
    /// It is one of so many, and has one thread.
    Beside(usize),
}

impl Turn {
    fn tiles(self, model: &Inference, picture: ImageShape) -> Result<Tiles<'_>> {
        match self {
            Turn::Alone(threads) => Tiles::new(model, picture, threads),
            Turn::Beside(pictures) => Tiles::of_one_among(pictures, model, picture),
        }
    }

    fn strips(self, model: &Inference, picture: ImageShape) -> Result<Option<Strips<'_>>> {
        Strips::new(model, picture, if let Turn::Alone(threads) = self { threads } else { 1 })
    }
}

/// Checks that the model takes a page.
///
/// # Errors
/// It does not.
pub fn check(model: &Inference, header: &Header, turn: Turn) -> Result<()> {
    turn.tiles(model, shape(header)).map(|_| ())
}

/// Reads a page, and writes what the model makes of it.
///
/// # Errors
/// A page that the model does not take, a damaged one, the device, interruption, the file system.
pub fn write(model: &Inference, reader: &mut Reader, writer: &mut Writer, turn: Turn, task: &Task) -> Result<()> {
    let header = reader.header().clone();
    if let Some(strips) = turn.strips(model, shape(&header))? {
        return write_strips(strips, model.levels(), reader, writer, task);
    }
    let tiles = turn.tiles(model, shape(&header))?;
    let mut window = Window { rows: Vec::new(), first: 0, end: 0 };
    for band in tiles.bands() {
        window.move_to(&band, reader)?;
        writer.write(&window.made(&band, &tiles, &header)?)?;
        task.advance(band.rows.len() as u64);
    }
    Ok(())
}

fn write_strips(
    mut strips: Strips<'_>,
    levels: Option<Levels>,
    reader: &mut Reader,
    writer: &mut Writer,
    task: &Task,
) -> Result<()> {
    let header = reader.header().clone();
    let (stride, colours) = (header.row_bytes(), header.width * header.colours());
    // The rows that were read, as far as they are not complete.
    let mut waiting = Vec::new();
    for first in (0..header.height).step_by(strips.rows_at_once()) {
        let count = strips.rows_at_once().min(header.height - first);
        let (start, mut given) = (waiting.len(), vec![0.0; count * colours]);
        waiting.resize(start + count * stride, 0);
        let rows = waiting[start..].chunks_exact_mut(stride).zip(given.chunks_exact_mut(colours));
        for (row, (bytes, to)) in (first..).zip(rows) {
            reader.read(bytes)?;
            numbers(&header, levels, row, bytes, to)?;
        }
        let made = strips.push(&given)?;
        let complete = made.len() / colours;
        let rows = &mut waiting[..complete * stride];
        colour(&header, rows, &of_numbers(header.depth, levels, &made));
        writer.write(rows)?;
        task.advance(complete as u64);
        waiting.drain(..complete * stride);
    }
    Ok(())
}

/// The numbers of a picture that the model changes.
fn shape(header: &Header) -> ImageShape {
    ImageShape { height: header.height, width: header.width, channels: header.colours() }
}

/// The numbers in [0, 1] of some pixels of a row.
fn numbers(header: &Header, levels: Option<Levels>, row: usize, pixels: &[u8], to: &mut [f32]) -> Result<()> {
    to_numbers(header, levels, pixels, to)
        .map_err(|cause| error::data(format!("row {row} {}", cause.strip_prefix("it ").unwrap_or(&cause))))
}

/// Puts colours into pixels; their alpha stays as it is.
fn colour(header: &Header, pixels: &mut [u8], colours: &[u8]) {
    let (pixel, colour) = (header.channels * header.depth.bytes(), header.colours() * header.depth.bytes());
    for (to, from) in pixels.chunks_exact_mut(pixel).zip(colours.chunks_exact(colour)) {
        to[..colour].copy_from_slice(from);
    }
}

/// Some rows of a picture, as they were read.
struct Window {
    rows: Vec<u8>,
    first: usize,
    end: usize,
}

impl Window {
    /// Drops the rows before those of a band, and reads up to the last of them.
    fn move_to(&mut self, band: &Band, reader: &mut Reader) -> Result<()> {
        let stride = reader.header().row_bytes();
        let bytes = band.window.len().saturating_mul(stride);
        if bytes > MOST_WINDOW {
            let (rows, most) = (band.window.len(), MOST_WINDOW >> 20);
            let message = format!("it is too wide: {rows} rows of it, as many as are needed at once, take more than");
            return Err(error::data(format!("{message} {most} MiB; cut it into narrower pictures")));
        }
        let old = band.window.start.min(self.end) - self.first;
        self.rows.drain(..old * stride);
        self.first += old;
        self.rows.reserve_exact(bytes.saturating_sub(self.rows.len()));
        for _ in self.end..band.window.end {
            let from = self.rows.len();
            self.rows.resize(from + stride, 0);
            reader.read(&mut self.rows[from..])?;
        }
        self.end = self.end.max(band.window.end);
        Ok(())
    }

    /// The rows that are made of a band.
    fn made(&self, band: &Band, tiles: &Tiles<'_>, header: &Header) -> Result<Vec<u8>> {
        let stride = header.row_bytes();
        let (pixel, colours) = (header.channels * header.depth.bytes(), header.colours() * header.depth.bytes());
        let levels = tiles.model().levels();
        let read = |row: usize, columns: Range<usize>, to: &mut [f32]| {
            let at = (row - self.first) * stride;
            numbers(header, levels, row, &self.rows[at + columns.start * pixel..at + columns.end * pixel], to)
        };
        let parts = tiles.make(band, &read, &|numbers| of_numbers(header.depth, levels, &numbers))?;
        let at = (band.rows.start - self.first) * stride;
        let mut made = self.rows[at..at + band.rows.len() * stride].to_vec();
        for Tile { rows, columns, made: part } in parts {
            for (row, line) in rows.zip(part.chunks_exact(columns.len() * colours)) {
                let at = (row - band.rows.start) * stride + columns.start * pixel;
                colour(header, &mut made[at..at + columns.len() * pixel], line);
            }
        }
        Ok(made)
    }
}
