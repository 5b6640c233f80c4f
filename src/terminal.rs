//! Draws images in a terminal: as pictures where it supports them, as blocks of text everywhere.
//!
//! The environment alone decides what a terminal supports. It is never queried: its answer would come on stdin, which may belong
//! to another program, and a terminal that does not answer would cost a timeout.

use std::fmt::Write;
use std::io::IsTerminal;

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::image::ImageShape;
use crate::table::layout::png;

/// How images are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Drawing {
    /// As the terminal can, by what the environment says of it; as blocks where stdout is no terminal.
    Auto,
    /// With the protocol of kitty.
    Kitty,
    /// With that of iTerm2.
    Iterm2,
    /// With DEC's sixels.
    Sixel,
    /// With blocks of text.
    Blocks,
    /// Not at all.
    None,
}

/// Sides that small pictures are enlarged to and large ones thinned out to, in pixels.
const LEAST_SIDE: usize = 160;
const MOST_SIDE: usize = 640;
/// Most columns of text.
const MOST_COLUMNS: usize = 100;
/// Characters of base64 in one command of kitty.
const KITTY_CHUNK: usize = 4096;

impl Drawing {
    /// Resolves [`Drawing::Auto`] for this environment; others stay as they are.
    pub fn resolve(self) -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        match self {
            Self::Auto if std::io::stdout().is_terminal() => known(variable),
            Self::Auto => Self::Blocks,
            other => other,
        }
    }

    /// The text that draws an image; none if it is not to be drawn.
    ///
    /// # Errors
    /// The PNG encoder fails, which no content causes.
    pub fn draw(self, pixels: &[u8], shape: ImageShape) -> Result<Option<String>> {
        Ok(Some(match self.resolve() {
            Self::None => return Ok(None),
            Self::Sixel => {
                let (pixels, shape) = scaled(pixels, shape);
                sixel(&pixels, shape)
            }
            way @ (Self::Kitty | Self::Iterm2) if shape.channels <= 4 => {
                let (pixels, shape) = scaled(pixels, shape);
                let file = png(&pixels, shape)?;
                if way == Self::Kitty { kitty(&file) } else { iterm2(&file, shape) }
            }
            _ => blocks(pixels, shape),
        }))
    }
}

/// The form of drawing that a terminal with these environment variables supports.
fn known(variable: impl Fn(&str) -> String) -> Drawing {
    let (term, program) = (variable("TERM"), variable("TERM_PROGRAM"));
    // tmux and screen pass on text only.
    if !variable("TMUX").is_empty() || !variable("STY").is_empty() || term.starts_with("screen") {
        return Drawing::Blocks;
    }
    if !variable("KITTY_WINDOW_ID").is_empty() || ["xterm-kitty", "xterm-ghostty"].contains(&term.as_str()) {
        return Drawing::Kitty;
    }
    match program.as_str() {
        "ghostty" => Drawing::Kitty,
        "iTerm.app" | "WezTerm" => Drawing::Iterm2,
        _ if variable("LC_TERMINAL") == "iTerm2" => Drawing::Iterm2,
        "mintty" => Drawing::Sixel,
        _ if ["foot", "mlterm", "contour", "yaft"].iter().any(|name| term.starts_with(name)) => Drawing::Sixel,
        _ if term.contains("sixel") => Drawing::Sixel,
        _ => Drawing::Blocks,
    }
}

/// An image enlarged by repeating pixels, or reduced by leaving some out, so that its longer side has a visible size.
fn scaled(pixels: &[u8], shape: ImageShape) -> (Vec<u8>, ImageShape) {
    let side = shape.height.max(shape.width);
    let (times, step) = ((LEAST_SIDE / side).max(1), side.div_ceil(MOST_SIDE).max(1));
    let positions = |len: usize| (0..len).step_by(step).flat_map(move |at| std::iter::repeat_n(at, times));
    let mut out = Vec::new();
    for row in positions(shape.height) {
        for column in positions(shape.width) {
            out.extend_from_slice(&pixels[(row * shape.width + column) * shape.channels..][..shape.channels]);
        }
    }
    let [height, width] = [shape.height, shape.width].map(|len| positions(len).count());
    (out, ImageShape { height, width, channels: shape.channels })
}

/// A PNG file in commands of kitty's protocol: shown at once (`a=T`), and with no answer (`q=2`).
fn kitty(file: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(file);
    let (mut out, mut rest, mut keys) = (String::new(), text.as_str(), "a=T,f=100,q=2,");
    loop {
        let (chunk, more) = rest.split_at(rest.len().min(KITTY_CHUNK));
        let last = u8::from(!more.is_empty());
        out += &format!("\x1b_G{keys}m={last};{chunk}\x1b\\");
        if more.is_empty() {
            return out;
        }
        (rest, keys) = (more, "");
    }
}

/// A PNG file in a command of iTerm2's protocol.
fn iterm2(file: &[u8], shape: ImageShape) -> String {
    let (size, width, text) = (file.len(), shape.width, BASE64_STANDARD.encode(file));
    format!("\x1b]1337;File=inline=1;size={size};width={width}px:{text}\x07")
}

/// An image in sixels: grey in the shades of its bytes, of which a terminal shows a hundred, colours in a cube of 6×6×6.
fn sixel(pixels: &[u8], shape: ImageShape) -> String {
    let colour = |pixel: &[u8]| match *pixel {
        [red, green, blue, ..] => {
            [red, green, blue].iter().fold(0, |index, byte| index * 6 + (usize::from(*byte) * 5 + 127) / 255)
        }
        ref other => usize::from(other[0]),
    };
    let indices: Vec<usize> = pixels.chunks_exact(shape.channels).map(colour).collect();
    let mut used = vec![false; 256];
    indices.iter().for_each(|index| used[*index] = true);
    let palette = |index: usize| match shape.channels {
        1 | 2 => [(index * 100 + 127) / 255; 3],
        _ => [index / 36, index / 6 % 6, index % 6].map(|level| level * 20),
    };
    let mut out = format!("\x1bPq\"1;1;{};{}", shape.width, shape.height);
    for index in (0..256).filter(|index| used[*index]) {
        let [red, green, blue] = palette(index);
        _ = write!(out, "#{index};2;{red};{green};{blue}");
    }
    // Bands of six rows, drawn colour by colour: a sixel is a column of a band, one bit for each pixel of that colour.
    for band in indices.chunks(6 * shape.width) {
        let mut colours: Vec<usize> = band.to_vec();
        colours.sort_unstable();
        colours.dedup();
        for index in colours {
            _ = write!(out, "#{index}");
            let bits = |column: usize| {
                let rows = band.iter().skip(column).step_by(shape.width).enumerate();
                rows.filter(|(_, found)| **found == index).fold(0, |bits, (row, _)| bits | 1_u8 << row)
            };
            let columns: Vec<u8> = (0..shape.width).map(bits).collect();
            for run in columns.chunk_by(|one, other| one == other) {
                let (count, sixel) = (run.len(), char::from(63 + run[0]));
                _ = if count > 3 {
                    write!(out, "!{count}{sixel}")
                } else {
                    write!(out, "{}", sixel.to_string().repeat(count))
                };
            }
            out.push('$');
        }
        out.push('-');
    }
    out + "\x1b\\"
}

/// An image as text, two rows of pixels to a line; channels are averaged, and wide images are reduced.
fn blocks(pixels: &[u8], shape: ImageShape) -> String {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let step = shape.width.div_ceil(MOST_COLUMNS).max(1);
    let grey = |row: usize, column: usize| {
        let pixel = &pixels[(row * shape.width + column) * shape.channels..][..shape.channels];
        pixel.iter().map(|byte| f32::from(*byte) / 255.0).sum::<f32>() / shape.channels as f32
    };
    let line = |row: usize| {
        let shade = |column: usize| {
            let below = (row + step).min(shape.height - 1);
            let mean = (grey(row, column) + grey(below, column)) / 2.0;
            SHADES[((mean.clamp(0.0, 1.0) * 4.0).round()) as usize]
        };
        let line: String = (0..shape.width).step_by(step).map(shade).collect();
        format!("  {}", line.trim_end())
    };
    (0..shape.height).step_by(2 * step).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_known_by_its_variables() {
        let of = |pairs: &[(&str, &str)]| {
            known(|name| {
                pairs.iter().find(|(key, _)| *key == name).map_or(String::new(), |(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[("TERM", "xterm-256color")]), Drawing::Blocks);
        assert_eq!(of(&[("TERM", "xterm-kitty")]), Drawing::Kitty);
        assert_eq!(of(&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")]), Drawing::Kitty);
        assert_eq!(of(&[("TERM_PROGRAM", "WezTerm")]), Drawing::Iterm2);
        assert_eq!(of(&[("LC_TERMINAL", "iTerm2")]), Drawing::Iterm2);
        assert_eq!(of(&[("TERM", "foot-extra")]), Drawing::Sixel);
        assert_eq!(of(&[("TERM", "tmux-256color"), ("TMUX", "x"), ("KITTY_WINDOW_ID", "1")]), Drawing::Blocks);
    }

    #[test]
    fn small_images_are_enlarged_and_large_ones_thinned_out() {
        let shape = |height, width| ImageShape { height, width, channels: 1 };
        let (pixels, found) = scaled(&[1, 2, 3, 4, 5, 6], shape(2, 3));
        assert_eq!((found.height, found.width), (106, 159));
        assert_eq!((pixels[0], pixels[158], pixels[105 * 159]), (1, 3, 4));
        let (_, found) = scaled(&vec![0; 1300 * 10], shape(10, 1300));
        assert_eq!((found.height, found.width), (4, 434));
    }

    /// Draws sixels as a terminal does: the index of the colour of each pixel.
    fn drawn(text: &str, shape: ImageShape) -> Vec<Option<usize>> {
        let body = text.strip_prefix("\x1bPq\"1;1;").and_then(|text| text.strip_suffix("\x1b\\")).expect("is sixel");
        let mut pixels = vec![None; shape.height * shape.width];
        let (mut top, mut column, mut colour) = (0, 0, 0);
        let mut rest = body.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').chars().peekable();
        let number = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits.parse::<usize>().expect("is a number")
        };
        while let Some(character) = rest.next() {
            let mut count = 1;
            let mut sixel = character;
            match character {
                '#' => {
                    colour = number(&mut rest);
                    while rest.next_if_eq(&';').is_some() {
                        number(&mut rest);
                    }
                    continue;
                }
                '$' => {
                    column = 0;
                    continue;
                }
                '-' => {
                    (top, column) = (top + 6, 0);
                    continue;
                }
                '!' => {
                    count = number(&mut rest);
                    sixel = rest.next().expect("repeats something");
                }
                _ => {}
            }
            for _ in 0..count {
                for row in (0..6).filter(|row| (sixel as usize - 63) >> row & 1 == 1) {
                    pixels[(top + row) * shape.width + column] = Some(colour);
                }
                column += 1;
            }
        }
        pixels
    }

    #[test]
    fn sixels_draw_every_pixel_in_its_colour() {
        let grey = ImageShape { height: 8, width: 11, channels: 1 };
        let pixels: Vec<u8> = (0..88).map(|at| (at / 5 * 20) as u8).collect();
        let expected: Vec<_> = pixels.iter().map(|byte| Some(usize::from(*byte))).collect();
        assert_eq!(drawn(&sixel(&pixels, grey), grey), expected);
        let colour = ImageShape { height: 1, width: 3, channels: 3 };
        let text = sixel(&[255, 0, 0, 0, 255, 0, 10, 10, 250], colour);
        assert_eq!(drawn(&text, colour), [Some(180), Some(30), Some(5)]);
        assert!(text.contains("#180;2;100;0;0") && text.contains("#5;2;0;0;100"), "{text}");
    }

    #[test]
    fn pictures_are_sent_in_pieces_that_make_the_file_again() {
        let file: Vec<u8> = (0..10_000).map(|at| (at * 7) as u8).collect();
        let text = kitty(&file);
        let pieces: Vec<_> = text.split("\x1b\\").filter(|piece| !piece.is_empty()).collect();
        assert_eq!(pieces.len(), 4);
        assert!(pieces[0].starts_with("\x1b_Ga=T,f=100,q=2,m=1;") && pieces[3].starts_with("\x1b_Gm=0;"));
        let joined: String = pieces.iter().filter_map(|piece| piece.split_once(';')).map(|(_, text)| text).collect();
        assert_eq!(BASE64_STANDARD.decode(joined).expect("is base64"), file);
        let text = iterm2(&file, ImageShape { height: 1, width: 7, channels: 1 });
        assert!(text.starts_with("\x1b]1337;File=inline=1;size=10000;width=7px:") && text.ends_with('\x07'));
    }
}
