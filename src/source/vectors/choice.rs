//! Chooses the columns of a table whose numbers make a row.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use arrow_schema::DataType;
use glob::Pattern;

use super::settings::VectorsSettings;
use crate::scaler::Scaler;
use crate::source::columns::label_column;
use crate::source::rows::{Table, Wanted};
use crate::{error, text};

/// Lines of CSV that show which columns hold numbers.
const LINES: usize = 1000;
/// The names of limpid's own columns, which those of results may not have.
const OWN: [&str; 4] = ["id", "split", "label", "error"];
/// Names of columns of positions, as pandas writes them.
const POSITIONS: [&str; 2] = ["", "Unnamed: 0"];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, or truth values.
    Number,
    /// Lists of numbers.
    List,
    /// Nothing, as far as can be seen.
    Empty,
    /// Anything else.
    Other,
}

/// The columns of a table that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The positions of those of numbers, or of one of lists.
    pub numbers: Vec<usize>,
    /// Whether it is one of lists.
    pub is_list: bool,
    /// The position of the labels.
    pub label: Option<usize>,
    /// The position of the ids, if they are kept.
    pub id: Option<usize>,
    /// The names of the columns that are passed over.
    pub others: Vec<String>,
}

impl Chosen {
    /// The columns to be read: the text of the label first, then that of the id.
    pub fn wanted(&self) -> Wanted {
        let texts = self.label.into_iter().chain(self.id).collect();
        Wanted { numbers: self.numbers.clone(), texts, headless: false, gaps: true }
    }

    /// The columns that settings ask for; `kinds` says what each holds.
    ///
    /// # Errors
    /// A column that is not there or holds no numbers, several of lists, none at all; as text that follows the name of the table.
    fn of(head: &[String], kinds: &[Kind], settings: &VectorsSettings) -> Result<Self, String> {
        let label = label_column(head, settings.label.as_deref())?;
        let excluded = matching(&settings.exclude, head, "exclude")?;
        let named = matching(&settings.columns, head, "columns")?;
        let free = |at: &usize| Some(*at) != label && !excluded.contains(at);
        let of_kind = |wanted: Kind| (0..head.len()).filter(free).filter(move |at| kinds[*at] == wanted);
        let numbers: Vec<usize> = if !settings.columns.is_empty() {
            named.into_iter().filter(free).collect()
        } else {
            let lists: Vec<_> = of_kind(Kind::List).collect();
            if let [first, _, ..] = lists[..] {
                let names: Vec<_> = lists.iter().map(|at| &head[*at]).collect();
                let advice = format!("name one, as source.vectors.columns = [{:?}]", head[first]);
                return Err(format!("has several columns of lists, {}; {advice}", text::few(&names)));
            }
            let usual = |at: &usize| {
                let name = head[*at].as_str();
                !OWN.contains(&name) && !POSITIONS.contains(&name)
            };
            if lists.is_empty() { of_kind(Kind::Number).filter(usual).collect() } else { lists }
        };
        let is_list = numbers.iter().any(|at| kinds[*at] == Kind::List);
        if is_list && numbers.len() > 1 {
            return Err(
                "has a column of lists beside others in source.vectors.columns; a row is one list, or one number \
                        of each column"
                    .to_owned(),
            );
        }
        if let Some(at) = numbers.iter().find(|at| kinds[**at] == Kind::Other) {
            return Err(format!("has no numbers in its column {}; leave it out of source.vectors.columns", head[*at]));
        }
        if let Some(at) = numbers.iter().find(|at| OWN.contains(&head[**at].as_str())) {
            let name = &head[*at];
            return Err(format!("has a column {name}, as results have for something else; rename it, or leave it out"));
        }
        if numbers.is_empty() {
            return Err(format!("has no columns of numbers; its columns: {}", text::few(head)));
        }
        let mut known = BTreeSet::new();
        if let Some(at) = numbers.iter().find(|at| !known.insert(&head[**at])) {
            return Err(format!("has two columns called {}", head[*at]));
        }
        let mut is_used: Vec<bool> = (0..head.len()).map(|at| !free(&at)).collect();
        numbers.iter().for_each(|at| is_used[*at] = true);
        let others = head.iter().zip(is_used).filter(|(_, is_used)| !is_used).map(|(name, _)| name.clone()).collect();
        Ok(Self { numbers, is_list, label, id: None, others })
    }
}

/// The columns of a table that settings ask for.
///
/// # Errors
/// A table that cannot be read, or lacks them.
pub fn chosen(table: &Table, settings: &VectorsSettings) -> Result<Chosen> {
    named(table)?;
    Chosen::of(table.head(), &kinds(table)?, settings).map_err(|cause| bad(table, &cause))
}

/// The columns of a further table that are called as in `names`, which are those of one of lists if `is_list`.
///
/// # Errors
/// A column that is missing, or holds no numbers.
pub fn found(table: &Table, names: &[String], is_list: bool, label: Option<usize>) -> Result<Chosen> {
    named(table)?;
    let (head, kinds) = (table.head(), kinds(table)?);
    let mut positions: HashMap<&str, Vec<usize>> = HashMap::new();
    head.iter().enumerate().for_each(|(at, name)| positions.entry(name).or_default().push(at));
    let missing: Vec<_> = names.iter().filter(|name| !positions.contains_key(name.as_str())).collect();
    if let [first, rest @ ..] = &missing[..] {
        let more = if rest.is_empty() { String::new() } else { format!(", nor {}", text::few(rest)) };
        let found = text::few(head);
        return Err(bad(table, &format!("has no column {first}{more}, which the model takes; its columns: {found}")));
    }
    let expected = if is_list { Kind::List } else { Kind::Number };
    let position = |name: &String| match positions[name.as_str()][..] {
        [at] if kinds[at] == expected || (!is_list && kinds[at] == Kind::Empty) => Ok(at),
        [_] => {
            let what = if is_list { "lists of numbers" } else { "numbers" };
            Err(bad(table, &format!("has no {what} in its column {name}, which the model takes")))
        }
        _ => Err(bad(table, &format!("has two columns called {name}"))),
    };
    let numbers = names.iter().map(position).collect::<Result<_>>()?;
    Ok(Chosen { numbers, is_list, label, id: None, others: Vec::new() })
}

/// The names of the columns of a scaler.
pub fn names(scaler: &Scaler) -> Vec<String> {
    match scaler.list() {
        Some(list) => vec![list.to_owned()],
        None => scaler.columns().iter().map(|column| column.column.clone()).collect(),
    }
}

/// Refuses CSV whose first line holds values.
fn named(table: &Table) -> Result<()> {
    let numbers: Vec<f64> = table.head().iter().filter_map(|name| name.parse().ok()).collect();
    // Years, or positions, may be names.
    let count_up = numbers.iter().all(|number| number.trunc() == *number) && numbers.is_sorted_by(|a, b| a < b);
    if table.types().is_some() || count_up {
        return Ok(());
    }
    let advice = "columns are told by their names: add a line of names";
    Err(bad(table, &format!("has numbers in its first line ({}); {advice}", text::few(table.head()))))
}

/// What the columns of a table hold: by their types or, of CSV, by the first lines.
fn kinds(table: &Table) -> Result<Vec<Kind>> {
    if let Some(types) = table.types() {
        return Ok(types.iter().map(kind).collect());
    }
    let mut kinds = vec![None; table.head().len()];
    for line in table.lines(1)?.take(LINES) {
        let line = line?;
        for (kind, field) in kinds.iter_mut().zip(&line).filter(|(kind, _)| **kind != Some(Kind::Other)) {
            match Table::number(field.trim(), true) {
                // It may be a gap in anything.
                Some(number) if number.is_nan() => {}
                Some(_) => *kind = Some(Kind::Number),
                None => *kind = Some(Kind::Other),
            }
        }
    }
    Ok(kinds.into_iter().map(|kind| kind.unwrap_or(Kind::Empty)).collect())
}

fn kind(found: &DataType) -> Kind {
    match found {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            if kind(item.data_type()) == Kind::Number { Kind::List } else { Kind::Other }
        }
        DataType::Null => Kind::Empty,
        found if found.is_numeric() || *found == DataType::Boolean => Kind::Number,
        _ => Kind::Other,
    }
}

/// The positions of the columns that are named, or match a pattern.
///
/// # Errors
/// One that no column matches; as text that follows the name of the table.
fn matching(wanted: &[String], head: &[String], setting: &str) -> Result<BTreeSet<usize>, String> {
    let mut found = BTreeSet::new();
    for wanted in wanted {
        let exact = || (0..head.len()).filter(|at| head[*at] == *wanted);
        // Brackets are taken literally, since names have them.
        let pattern = Pattern::new(&wanted.replace('[', "[[]")).map_err(|cause| format!("{wanted}: {cause}"))?;
        let matched: Vec<usize> = match exact().next() {
            Some(_) => exact().collect(),
            None => (0..head.len()).filter(|at| pattern.matches(&head[*at])).collect(),
        };
        if matched.is_empty() {
            let columns = text::few(head);
            return Err(format!("has no column {wanted}, as source.vectors.{setting} says; its columns: {columns}"));
        }
        found.extend(matched);
    }
    Ok(found)
}

fn bad(table: &Table, cause: &str) -> anyhow::Error {
    error::data(format!("{} {cause}", table.path().display()))
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Missing, Scale};
    use super::*;

    fn settings(columns: &[&str], exclude: &[&str], label: Option<&str>) -> VectorsSettings {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (scale, missing, label) = (Scale::MinMax, Missing::Error, label.map(str::to_owned));
        let (train, test, test_fraction) = ("x.csv".into(), None, Some(0.1));
        let (columns, exclude) = (of(columns), of(exclude));
        VectorsSettings {
            train,
            test,
            validation: None,
            test_fraction,
            validation_fraction: 0.0,
            columns,
            exclude,
            label,
            scale,
            missing,
        }
    }

    fn of(columns: &[(&str, Kind)], settings: &VectorsSettings) -> Result<Chosen, String> {
        let head: Vec<_> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let kinds: Vec<_> = columns.iter().map(|(_, kind)| *kind).collect();
        Chosen::of(&head, &kinds, settings)
    }

    #[test]
    fn columns_are_chosen_by_kind_name_or_pattern() {
        use Kind::{List, Number, Other};
        let table =
            [("id", Number), ("mass", Number), ("name", Other), ("x_1", Number), ("class", Number), ("x_2", Number)];
        let found = of(&table, &settings(&[], &[], None)).expect("has numbers");
        assert_eq!(
            (found.numbers, found.label, found.others),
            (vec![1, 3, 5], Some(4), vec!["id".into(), "name".into()])
        );
        let numbers = |columns: &[&str], exclude: &[&str], label| of(&table, &settings(columns, exclude, label));
        assert_eq!(numbers(&["x_*", "mass"], &["x_2"], None).expect("are there").numbers, [1, 3]);
        assert_eq!(numbers(&[], &["x_?"], Some("none")).expect("are there").numbers, [1, 4]);
        for (found, cause) in [
            (numbers(&["x_3"], &[], None), "has no column x_3, as source.vectors.columns says; its columns: id, mass"),
            (numbers(&[], &["y*"], None), "has no column y*, as source.vectors.exclude says"),
            (numbers(&["name"], &[], None), "has no numbers in its column name"),
            (numbers(&["id"], &[], None), "has a column id, as results have"),
            (numbers(&[], &[], Some("kind")), "has no column kind"),
            (of(&[("a", Other)], &settings(&[], &[], None)), "has no columns of numbers; its columns: a"),
            (of(&[("a", Number), ("a", Number)], &settings(&[], &[], None)), "has two columns called a"),
        ] {
            assert!(found.as_ref().expect_err("is refused").starts_with(cause), "{cause}: {found:?}");
        }
        let lists = [("embedding", List), ("score", Number)];
        let found = of(&lists, &settings(&[], &[], None)).expect("has a list");
        assert_eq!((found.numbers, found.is_list, found.others), (vec![0], true, vec!["score".into()]));
        assert!(of(&lists, &settings(&["*"], &[], None)).expect_err("mixes").contains("a row is one list"));
        let several = of(&[("a", List), ("b", List)], &settings(&[], &[], None)).expect_err("are two");
        assert!(several.contains("several columns of lists, a, b; name one"), "{several}");
    }
}
