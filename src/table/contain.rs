//! Turns panics of the Parquet reader into errors.
//!
//! The reader of the `parquet` crate reports most damage as an error, but panics at some (an embedded Arrow schema of an
//! unknown type, inconsistent levels). Both mean that the file is damaged, and callers see no difference; the message that Rust
//! prints for a panic is suppressed.

use std::any::Any;
use std::cell::Cell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`contained`].
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic becomes an error.
///
/// # Errors
/// The error or the panic message of `work`, as text.
pub fn contained<T, E: Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                hook(panic);
            }
        }));
    });
    let before = INSIDE.replace(true);
    // Unwind safety: the state of `work` is not used again, since a reader that failed is dropped.
    let result = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(before);
    match result {
        Ok(result) => result.map_err(|cause| cause.to_string()),
        Err(panic) => Err(text(&*panic)),
    }
}

/// The same items; panics are errors, and the first error is the last item.
pub fn contained_items<T, E: Display>(
    mut items: impl Iterator<Item = Result<T, E>>,
) -> impl Iterator<Item = Result<T, String>> {
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let next = contained(|| items.next().transpose()).transpose();
        failed = next.as_ref().is_some_and(Result::is_err);
        next
    })
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it cannot be read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_end() {
        assert_eq!(contained(|| Ok::<_, String>(1)), Ok(1));
        let bad: Result<u8, String> = contained(|| -> Result<u8, String> { panic!("bad {}", "page") });
        assert_eq!(bad, Err("bad page".to_owned()));
        let items =
            [1, 0, 2].into_iter().map(|divisor: u32| Ok::<_, String>(6_u32.checked_div(divisor).expect("page")));
        assert_eq!(contained_items(items).collect::<Vec<_>>(), [Ok(6), Err("page".to_owned())]);
    }
}
