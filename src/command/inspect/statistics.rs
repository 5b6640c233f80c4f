//! Statistics of the columns of a Parquet file: counts, and the least, mean and greatest of their numbers.
//!
//! Every value is read, a few mebibytes of one column at a time, so that damage anywhere in the file is found.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::shown;
use crate::command::print::print;
use crate::error;
use crate::table;
use crate::text::{self, cell};

/// Bytes that are read at a time, as the file counts them before compression.
const BATCH_BYTES: u64 = 4 << 20;
/// Rows that are read at a time.
const MOST_ROWS: usize = 1024;
/// Most different labels or texts that are counted.
const MOST_NAMES: usize = 1000;
/// Longest label or text that is counted, in bytes.
const MOST_NAME_BYTES: usize = 1 << 10;
/// Most labels or texts that are printed.
const MOST_PRINTED: usize = 20;

/// Statistics of the values of a column so far.
#[derive(Default)]
struct Column {
    name: String,
    rows: u64,
    nulls: u64,
    /// Numbers, those in lists included.
    numbers: u64,
    not_finite: u64,
    least: f64,
    greatest: f64,
    sum: f64,
    /// The count of each text or label; none if there are too many, or one is too long.
    names: Option<BTreeMap<String, u64>>,
    has_long: bool,
}

/// Prints the statistics of all columns.
///
/// # Errors
/// Damage, with the row, and the file system.
pub fn print_statistics(path: &Path) -> Result<()> {
    let footer = table::footer(path)?;
    let groups = footer.metadata().row_groups();
    let rows: u64 = groups.iter().map(|group| group.num_rows().max(0) as u64).sum();
    if rows == 0 {
        return Ok(());
    }
    let fields = footer.schema().fields();
    let new = |name: &String| Column {
        name: name.clone(),
        least: f64::INFINITY,
        greatest: f64::NEG_INFINITY,
        names: Some(BTreeMap::new()),
        ..Column::default()
    };
    let mut columns: Vec<Column> = fields.iter().map(|field| new(field.name())).collect();
    for (position, column) in columns.iter_mut().enumerate() {
        for batch in table::columns(path, &footer, &[position], BATCH_BYTES, MOST_ROWS)? {
            let row = column.rows;
            let damaged = |cause| error::data(format!("{} is damaged near row {row}: {cause}", path.display()));
            column.see(batch.map_err(damaged)?.column(0));
        }
    }
    print("\nstatistics")?;
    let most = shown(columns.len());
    let head = ["column", "rows", "nulls", "numbers", "least", "mean", "greatest"].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(head).chain(columns.iter().take(most).map(Column::line)).collect();
    let widths: [usize; 7] = std::array::from_fn(|at| text::width(lines.iter().map(|line| line[at].as_str())));
    for line in &lines {
        let cells = line.iter().zip(widths).skip(1).map(|(cell, width)| format!("{cell:>width$}"));
        print(format!("  {:name$}  {}", line[0], cells.collect::<Vec<_>>().join("  "), name = widths[0]).trim_end())?;
    }
    if columns.len() > most {
        print(format!("  and {} more columns", columns.len() - most))?;
    }
    for column in columns.iter().filter(|column| column.not_finite > 0).take(most) {
        print(format!("  {} has {} numbers that are not finite", cell(&column.name), column.not_finite))?;
    }
    let classes = table::classes(footer.schema());
    columns.iter().take(most).try_for_each(|column| column.print_names(classes.as_deref()))
}

impl Column {
    /// Adds values of the column.
    fn see(&mut self, values: &ArrayRef) {
        self.rows += values.len() as u64;
        self.nulls += values.logical_null_count() as u64;
        if is_label(&self.name) && values.data_type().is_integer() {
            self.see_numbers(values, true);
        } else {
            self.see_inside(values);
        }
    }

    /// Adds numbers, at any depth of lists, and texts.
    fn see_inside(&mut self, values: &ArrayRef) {
        match values.data_type() {
            DataType::List(_) => {
                let list = values.as_list::<i32>();
                let (start, end) = (list.value_offsets()[0] as usize, list.value_offsets()[list.len()] as usize);
                self.see_inside(&list.values().slice(start, end - start));
            }
            DataType::LargeList(_) => {
                let list = values.as_list::<i64>();
                let (start, end) = (list.value_offsets()[0] as usize, list.value_offsets()[list.len()] as usize);
                self.see_inside(&list.values().slice(start, end - start));
            }
            DataType::FixedSizeList(_, size) => {
                let list = values.as_fixed_size_list();
                let len = list.len() * *size as usize;
                self.see_inside(&list.values().slice(list.value_offset(0) as usize, len));
            }
            DataType::Utf8 => values.as_string::<i32>().iter().flatten().for_each(|text| self.count(text)),
            DataType::LargeUtf8 => values.as_string::<i64>().iter().flatten().for_each(|text| self.count(text)),
            DataType::Dictionary(..) => {
                let Some(dictionary) = values.as_any_dictionary_opt() else { return };
                let Some(names) = dictionary.values().as_string_opt::<i32>() else { return };
                if names.is_empty() {
                    return;
                }
                for (row, key) in dictionary.normalized_keys().into_iter().enumerate() {
                    if values.is_valid(row) {
                        self.count(names.value(key));
                    }
                }
            }
            _ => self.see_numbers(values, false),
        }
    }

    fn see_numbers(&mut self, values: &ArrayRef, counted: bool) {
        macro_rules! see {
            ($($kind:ty),*) => {
                $(if let Some(values) = values.as_primitive_opt::<$kind>() {
                    for value in values.iter().flatten() {
                        if counted {
                            self.count(&value.to_string());
                        }
                        self.number(f64::from(value));
                    }
                    return;
                })*
            };
        }
        see!(Int8Type, Int16Type, Int32Type, UInt8Type, UInt16Type, UInt32Type, Float16Type, Float32Type, Float64Type);
        // Beyond 2^53 these are rounded.
        let long =
            values.as_primitive_opt::<Int64Type>().map(|values| values.iter().flatten().map(|value| value as f64));
        let unsigned =
            values.as_primitive_opt::<UInt64Type>().map(|values| values.iter().flatten().map(|value| value as f64));
        for value in long.into_iter().flatten().chain(unsigned.into_iter().flatten()) {
            if counted {
                self.count(&value.to_string());
            }
            self.number(value);
        }
    }

    fn number(&mut self, value: f64) {
        self.numbers += 1;
        if value.is_finite() {
            (self.least, self.greatest) = (self.least.min(value), self.greatest.max(value));
            self.sum += value;
        } else {
            self.not_finite += 1;
        }
    }

    fn count(&mut self, name: &str) {
        let Some(names) = &mut self.names else { return };
        if name.len() > MOST_NAME_BYTES {
            (self.names, self.has_long) = (None, true);
        } else if let Some(count) = names.get_mut(name) {
            *count += 1;
        } else if names.len() < MOST_NAMES {
            names.insert(name.to_owned(), 1);
        } else {
            self.names = None;
        }
    }

    /// Its cells in the table.
    fn line(&self) -> [String; 7] {
        let finite = self.numbers - self.not_finite;
        let number = |value: f64| match finite {
            0 => String::new(),
            _ if value == value.trunc() && value.abs() < 1e15 => format!("{value:.0}"),
            _ => format!("{value:.5}"),
        };
        let numbers = if self.numbers == 0 { String::new() } else { self.numbers.to_string() };
        let mean = number(self.sum / finite as f64);
        let (rows, nulls) = (self.rows.to_string(), self.nulls.to_string());
        [cell(&self.name), rows, nulls, numbers, number(self.least), mean, number(self.greatest)]
    }

    /// Prints the count of each label or text.
    fn print_names(&self, classes: Option<&[String]>) -> Result<()> {
        let Some(names) = &self.names else {
            if self.has_long {
                return print(format!("\n{}: texts of more than {MOST_NAME_BYTES} bytes", cell(&self.name)));
            }
            return print(format!("\n{}: more than {MOST_NAMES} different ones", cell(&self.name)));
        };
        if names.is_empty() {
            return Ok(());
        }
        let name = |key: &String| {
            let class = key.parse::<usize>().ok().and_then(|at| classes?.get(at)).filter(|_| is_label(&self.name));
            class.filter(|class| *class != key).map_or(key.clone(), |class| format!("{key} {class:?}"))
        };
        let mut named: Vec<(i64, String, u64)> =
            names.iter().map(|(key, count)| (key.parse().unwrap_or(i64::MAX), name(key), *count)).collect();
        named.sort();
        print(format!("\n{}: {} different", cell(&self.name), names.len()))?;
        let printed = named.iter().take(MOST_PRINTED);
        let cells = text::column(printed.clone().map(|(_, name, _)| name.as_str()), 0);
        for (name, (_, _, count)) in cells.iter().zip(printed) {
            print(format!("  {name}  {count:>8}"))?;
        }
        if named.len() > MOST_PRINTED { print(format!("  and {} more", named.len() - MOST_PRINTED)) } else { Ok(()) }
    }
}

/// Whether a column holds labels, which are counted.
fn is_label(name: &str) -> bool {
    ["label", "labels", "class"].contains(&name)
}
