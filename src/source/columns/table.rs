//! A table with a column for each pixel.

use std::path::Path;

use anyhow::Result;

use super::layout::Layout;
use super::settings::ColumnsSettings;
use crate::image::ImageShape;
use crate::source::explained;
use crate::source::rows::{Rows, Table, Wanted};
use crate::{error, text};

/// A table that was opened once.
#[derive(Clone)]
pub struct PixelTable {
    table: Table,
    has_floats: bool,
    layout: Layout,
}

impl PixelTable {
    /// Reads the names of the columns; `note` is told which are passed over.
    ///
    /// # Errors
    /// A file that cannot be read, or whose columns are no image.
    pub fn open(path: &Path, settings: &ColumnsSettings, note: &dyn Fn(&str)) -> Result<Self> {
        let table = Table::open(path)?;
        let (head, types) = (table.head(), table.types());
        let (label, shape) = (settings.label.as_deref(), settings.shape.as_deref());
        let layout = Layout::of(head, types.is_none(), label, shape).map_err(|cause| {
            explained(path, "a table of pixels", error::data(format!("{} {cause}", path.display())))
        })?;
        let mut typed = types.into_iter().flat_map(|types| layout.pixels.iter().map(|at| (*at, &types[*at])));
        if let Some((at, kind)) = typed.find(|(_, kind)| !kind.is_numeric()) {
            return Err(error::data(format!("{}: its column {} is {kind}, no number", path.display(), head[at])));
        }
        if let Some(first) = layout.others.first() {
            let (count, others, name) = (layout.others.len(), text::few(&layout.others), path.display());
            let advice = if layout.label.is_some() {
                String::new()
            } else {
                format!("; no labels are read, source.columns.label = {first:?} would take some")
            };
            note(&format!("passed over: {count} columns of {name}, {others}{advice}"));
        }
        // In text, a number with a point is a float.
        let has_floats = if let Some(types) = types {
            layout.pixels.iter().any(|at| types[*at].is_floating())
        } else {
            let first = table.lines(usize::from(!layout.headless))?.next().transpose()?.unwrap_or_default();
            layout.pixels.iter().any(|at| first.get(*at).is_some_and(|field| field.contains('.')))
        };
        Ok(Self { table, has_floats, layout })
    }

    /// The size of its images.
    pub fn shape(&self) -> ImageShape {
        self.layout.shape
    }

    /// Whether its pixels are written as floats.
    pub fn has_floats(&self) -> bool {
        self.has_floats
    }

    /// Whether it has labels.
    pub fn has_labels(&self) -> bool {
        self.layout.label.is_some()
    }

    /// Its rows: the numbers of the pixels, row by row, and the text of the label, if it has labels.
    ///
    /// # Errors
    /// A file that cannot be opened; each row can fail too.
    pub fn rows(&self) -> Result<Rows> {
        let Layout { pixels, label, headless, .. } = &self.layout;
        let texts = label.iter().copied().collect();
        self.table.rows(&Wanted { numbers: pixels.clone(), texts, headless: *headless, gaps: false })
    }
}
