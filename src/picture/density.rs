//! How many pixels of a picture a length on paper has, in the terms of each format.
//!
//! From a format to the same the numbers stay what they are; from one to another they are converted and rounded.

use image::codecs::jpeg::{PixelDensity, PixelDensityUnit};
use png::{PixelDimensions, Unit as PngUnit};

/// Centimetres of an inch.
const INCH: f64 = 2.54;

/// A length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// None: only the ratio of both densities counts.
    Unknown,
    /// An inch.
    Inch,
    /// A centimetre.
    Centimetre,
    /// A metre.
    Metre,
}

impl Length {
    fn centimetres(self) -> f64 {
        match self {
            Length::Unknown | Length::Centimetre => 1.0,
            Length::Inch => INCH,
            Length::Metre => 100.0,
        }
    }
}

/// Pixels per length, as fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Density {
    /// Along a row.
    pub across: (u32, u32),
    /// Along a column.
    pub down: (u32, u32),
    /// The length.
    pub length: Length,
}

impl Density {
    /// A density, unless it says nothing.
    fn new(across: (u32, u32), down: (u32, u32), length: Length) -> Option<Self> {
        let is_one = |(above, below): (u32, u32)| above > 0 && below > 0;
        (is_one(across) && is_one(down)).then_some(Self { across, down, length })
    }

    /// Whether it says more than that pixels are square, which they are unless it is said.
    fn says(&self) -> bool {
        self.length != Length::Unknown || self.across != self.down
    }

    /// That of a picture which is turned by a quarter.
    pub fn turned(self) -> Self {
        Self { across: self.down, down: self.across, ..self }
    }

    /// Both per another length, as whole numbers up to `most`; none if they are not.
    fn whole(self, length: Length, most: u32) -> Option<[u32; 2]> {
        let factor = length.centimetres() / self.length.centimetres();
        let whole = |(above, below): (u32, u32)| {
            let number = (f64::from(above) / f64::from(below) * factor).round();
            (1.0..=f64::from(most)).contains(&number).then_some(number as u32)
        };
        Some([whole(self.across)?, whole(self.down)?])
    }

    /// Of a PNG's `pHYs`.
    pub fn of_png(PixelDimensions { xppu, yppu, unit }: PixelDimensions) -> Option<Self> {
        let length = if unit == PngUnit::Meter { Length::Metre } else { Length::Unknown };
        Self::new((xppu, 1), (yppu, 1), length).filter(Self::says)
    }

    /// As a PNG's `pHYs`.
    pub fn png(self) -> Option<PixelDimensions> {
        if !self.says() {
            return None;
        }
        let (length, unit) = match self.length {
            Length::Unknown => (Length::Unknown, PngUnit::Unspecified),
            _ => (Length::Metre, PngUnit::Meter),
        };
        let [xppu, yppu] = self.whole(length, i32::MAX as u32)?;
        Some(PixelDimensions { xppu, yppu, unit })
    }

    /// Of the JFIF header of a JPEG file.
    pub fn of_jpeg(bytes: &[u8]) -> Option<Self> {
        let [0xff, 0xd8, 0xff, 0xe0, _, _, b'J', b'F', b'I', b'F', 0, _, _, unit, high, low, tall, short, ..] = *bytes
        else {
            return None;
        };
        let [across, down] = [[high, low], [tall, short]].map(|bytes| u32::from(u16::from_be_bytes(bytes)));
        let length = match unit {
            0 => Length::Unknown,
            1 => Length::Inch,
            2 => Length::Centimetre,
            _ => return None,
        };
        Self::new((across, 1), (down, 1), length).filter(Self::says)
    }

    /// As that of a JPEG.
    pub fn jpeg(self) -> Option<PixelDensity> {
        if !self.says() {
            return None;
        }
        let (length, unit) = match self.length {
            Length::Unknown => (Length::Unknown, PixelDensityUnit::PixelAspectRatio),
            Length::Inch | Length::Metre => (Length::Inch, PixelDensityUnit::Inches),
            Length::Centimetre => (Length::Centimetre, PixelDensityUnit::Centimeters),
        };
        let [across, down] = self.whole(length, u32::from(u16::MAX))?;
        Some(PixelDensity { density: (across as u16, down as u16), unit })
    }

    /// Of the tags XResolution, YResolution and ResolutionUnit of a TIFF. Where it has no unit, ImageDescription may have one, as ImageJ
    /// writes it.
    pub fn of_tiff(across: (u32, u32), down: (u32, u32), unit: u16) -> Option<Self> {
        let length = match unit {
            1 => Length::Unknown,
            2 => Length::Inch,
            3 => Length::Centimetre,
            _ => return None,
        };
        // What some programs write that know of none.
        Self::new(across, down, length).filter(|density| density.says() || across != (1, 1))
    }

    /// As these tags.
    pub fn tiff(self) -> ((u32, u32), (u32, u32), u16) {
        let hundredth = |(above, below): (u32, u32)| (above, below.saturating_mul(100));
        match self.length {
            Length::Unknown => (self.across, self.down, 1),
            Length::Inch => (self.across, self.down, 2),
            Length::Centimetre => (self.across, self.down, 3),
            Length::Metre => (hundredth(self.across), hundredth(self.down), 3),
        }
    }
}
