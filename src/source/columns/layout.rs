//! Finds the columns of pixels and labels by their names.

use std::collections::BTreeMap;

use crate::image::ImageShape;
use crate::text;

/// Usual names of the column of labels.
const LABEL_COLUMNS: [&str; 3] = ["label", "labels", "class"];
/// The setting for images without labels, unless a column is called so.
const NONE: &str = "none";

/// The columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The positions of the pixels, row by row.
    pub pixels: Vec<usize>,
    /// The position of the labels.
    pub label: Option<usize>,
    /// Whether the first line holds numbers already.
    pub headless: bool,
    /// The size of the images.
    pub shape: ImageShape,
    /// The names of the columns that are passed over.
    pub others: Vec<String>,
}

impl Layout {
    /// The layout by the names of the columns, `head`; of a table of text, these may be numbers, which are then no names.
    ///
    /// # Errors
    /// No columns of pixels, or not all of them, or no shape; as text that follows the name of the table.
    pub fn of(head: &[String], is_text: bool, label: Option<&str>, shape: Option<&[usize]>) -> Result<Self, String> {
        let headless = is_text && !head.is_empty() && head.iter().all(|name| name.trim().parse::<f64>().is_ok());
        let wanted = |count: usize| match shape {
            Some(sides) => sides.iter().product::<usize>() == count,
            None => square(count).is_some(),
        };
        let (pixels, label) = if headless {
            // As in MNIST in CSV, the label comes first.
            let first = head.len() - 1;
            match (wanted(head.len()), wanted(first)) {
                (true, false) => ((0..head.len()).collect(), None),
                (_, true) => ((1..head.len()).collect(), Some(0)),
                _ => return Err(format!("has {} columns without names, which are no image", head.len())),
            }
        } else {
            let label = label_column(head, label)?;
            (counted(head, label)?, label)
        };
        let count = pixels.len();
        let shape = match shape {
            Some([height, width]) => ImageShape::new(*height, *width, 1),
            Some([height, width, channels]) => ImageShape::new(*height, *width, *channels),
            _ => square(count).and_then(|side| ImageShape::new(side, side, 1)),
        };
        let advice = "set source.columns.shape = [rows, columns], or [rows, columns, channels]";
        let shape = shape.ok_or_else(|| format!("has {count} columns of pixels, which are no square: {advice}"))?;
        if shape.len() != count {
            return Err(format!("has {count} columns of pixels, and {shape} are {}: {advice}", shape.len()));
        }
        let mut is_used = vec![headless; head.len()];
        pixels.iter().copied().chain(label).for_each(|at| is_used[at] = true);
        let others = head.iter().zip(is_used).filter(|(_, is_used)| !is_used).map(|(name, _)| name.clone()).collect();
        Ok(Self { pixels, label, headless, shape, others })
    }
}

/// The position of the column of labels: the one that is named, none for "none", or one with a usual name.
///
/// # Errors
/// There is none of this name; as text that follows the name of the table.
pub fn label_column(head: &[String], label: Option<&str>) -> Result<Option<usize>, String> {
    let at = |name: &str| head.iter().position(|found| found == name);
    match label {
        Some(NONE) if at(NONE).is_none() => Ok(None),
        Some(name) => at(name).map(Some).ok_or_else(|| format!("has no column {name}; it has {}", text::few(head))),
        None => Ok(LABEL_COLUMNS
            .into_iter()
            .find_map(|wanted| head.iter().position(|name| name.eq_ignore_ascii_case(wanted)))),
    }
}

/// The side of a square of so many pixels.
fn square(count: usize) -> Option<usize> {
    let side = count.isqrt();
    (side > 0 && side * side == count).then_some(side)
}

/// The positions of the columns whose names count up, in the order of their numbers; of several such groups, the largest.
fn counted(head: &[String], label: Option<usize>) -> Result<Vec<usize>, String> {
    let mut groups: BTreeMap<&str, BTreeMap<(u64, u64), usize>> = BTreeMap::new();
    for (at, name) in head.iter().enumerate().filter(|(at, _)| Some(*at) != label) {
        let Some((group, number)) = number(name) else { continue };
        if groups.entry(group).or_default().insert(number, at).is_some() {
            return Err(format!("has two columns for the pixel {name}"));
        }
    }
    let largest = groups.into_iter().max_by_key(|(_, columns)| columns.len());
    let Some((group, columns)) = largest.filter(|(_, columns)| columns.len() > 1) else {
        let found = text::few(head);
        let advice = "rows of other numbers are for source.vectors";
        return Err(format!("has no columns of pixels, as pixel0, pixel1 and so on; its columns: {found}; {advice}"));
    };
    let numbers: Vec<_> = columns.keys().copied().collect();
    let breaks = |pair: &&[(u64, u64)]| {
        let [(row, column), next] = [pair[0], pair[1]];
        next != (row, column + 1) && !(next.0 == row + 1 && next.1 == numbers[0].1)
    };
    if let Some(gap) = numbers.windows(2).find(breaks) {
        let name = |number: &(u64, u64)| &head[columns[number]];
        let (before, after) = (name(&gap[0]), name(&gap[1]));
        return Err(format!("has columns of pixels called {group}…, but none between {before} and {after}"));
    }
    Ok(columns.into_values().collect())
}

/// The group and the number of a column: the row and column of `3x5`, and 0 and the number of `pixel7`.
fn number(name: &str) -> Option<(&str, (u64, u64))> {
    if let Some((row, column)) = name.split_once(['x', 'X'])
        && let (Ok(row), Ok(column)) = (row.parse(), column.parse())
    {
        return Some(("", (row, column)));
    }
    let group = name.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((group, (0, name[group.len()..].parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(names: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
        names.into_iter().map(Into::into).collect()
    }

    #[test]
    fn pixels_are_in_the_order_of_their_numbers() {
        let mut sorted: Vec<String> = (0..16).map(|at| format!("pixel{at}")).collect();
        sorted.sort();
        let names = [&head(["id", "label"])[..], &sorted].concat();
        let layout = Layout::of(&names, true, None, None).expect("is one");
        let shown: Vec<_> = layout.pixels.iter().map(|at| names[*at].clone()).collect();
        assert_eq!(shown, (0..16).map(|at| format!("pixel{at}")).collect::<Vec<_>>());
        assert_eq!((layout.label, layout.others, layout.headless), (Some(1), head(["id"]), false));
        let grid = (1..=2).flat_map(|row| (1..=2).map(move |column| format!("{row}x{column}")));
        let layout = Layout::of(&head(grid), true, None, None).expect("is one");
        assert_eq!((layout.pixels, layout.label), (vec![0, 1, 2, 3], None));
        let layout = Layout::of(&head(["7", "0", "255", "1", "9"]), true, None, None).expect("is one");
        assert_eq!((layout.pixels, layout.label, layout.headless), (vec![1, 2, 3, 4], Some(0), true));
    }

    #[test]
    fn columns_that_are_no_image_are_refused() {
        let of = |names: &[&str], shape: Option<&[usize]>| Layout::of(&head(names.to_vec()), true, None, shape);
        let refused = |names: &[&str], shape| of(names, shape).expect_err("is none");
        assert!(refused(&["a", "b"], None).contains("its columns: a, b"));
        assert!(refused(&["p0", "p1", "p3", "p4"], None).contains("none between p1 and p3"));
        assert!(refused(&["p0", "p1", "p2"], None).contains("set source.columns.shape"));
        assert!(refused(&["p0", "p1", "p2"], Some(&[2, 2])).contains("has 3 columns of pixels, and 2×2 are 4"));
        assert!(of(&["p0", "p1", "p2"], Some(&[1, 3])).is_ok());
        assert!(refused(&["1", "2", "3"], None).contains("without names"));
        assert!(refused(&["p1", "p01", "p2", "p3"], None).contains("two columns"));
    }
}
