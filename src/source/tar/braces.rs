//! Expands braces in patterns of paths, as WebDataset and shells have them: `{000..009}` counts, and `{a,b}` lists.

/// Most alternatives of a pattern.
const MOST: usize = 100_000;

/// All alternatives of a pattern, in its order.
///
/// # Errors
/// Braces that are not closed, ranges that end before they begin, too many alternatives.
pub fn expanded(pattern: &str) -> Result<Vec<String>, String> {
    let Some(open) = pattern.find('{') else { return Ok(vec![pattern.to_owned()]) };
    let (before, rest) = (&pattern[..open], &pattern[open + 1..]);
    let (inner, after) = rest.split_once('}').ok_or_else(|| format!("{pattern}: a {{ is not closed"))?;
    let alternatives = match inner.split_once("..") {
        Some((first, last)) => {
            counted(first, last).ok_or_else(|| format!("{pattern}: {{{inner}}} does not count up"))?
        }
        None => inner.split(',').map(str::to_owned).collect(),
    };
    let rests = expanded(after)?;
    if alternatives.len().saturating_mul(rests.len()) > MOST {
        return Err(format!("{pattern} means more than {MOST} files"));
    }
    let join =
        |alternative: &String| rests.iter().map(|rest| format!("{before}{alternative}{rest}")).collect::<Vec<_>>();
    Ok(alternatives.iter().flat_map(join).collect())
}

/// The numbers from one to another, with the leading zeros of the first.
fn counted(first: &str, last: &str) -> Option<Vec<String>> {
    let (start, end): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let count = end.checked_sub(start)?;
    let width = if first.starts_with('0') { first.len() } else { 0 };
    (count < MOST as u64).then(|| (start..=end).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_count_and_list() {
        let of = |pattern: &str| expanded(pattern).expect("is a pattern");
        assert_eq!(of("a/x.tar"), ["a/x.tar"]);
        assert_eq!(of("s-{008..011}.tar"), ["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]);
        assert_eq!(of("{a,b}{1..2}"), ["a1", "a2", "b1", "b2"]);
        for bad in ["{1..", "{3..1}", "{a..b}", "{0..999999}", "{0..99999}{0..99999}"] {
            assert!(expanded(bad).is_err(), "{bad}");
        }
    }
}
