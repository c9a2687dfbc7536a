//! Panics of the thread, of tasks too, whose panics the runtime would keep to itself.

use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs `work` and gives its value, unless it panicked, and what panicked meanwhile on this thread.
pub fn caught<T>(work: impl FnOnce() -> T) -> (Option<T>, Vec<String>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !keep(info) {
                usual(info);
            }
        }));
    });
    PANICS.with_borrow_mut(|p| *p = Some(Vec::new()));
    let value = panic::catch_unwind(panic::AssertUnwindSafe(work)).ok();
    (value, PANICS.with_borrow_mut(Option::take).unwrap_or_default())
}

fn keep(info: &PanicHookInfo<'_>) -> bool {
    let keep = |panics: &mut Option<Vec<String>>| match panics {
        Some(panics) => {
            panics.push(info.to_string().replace('\n', " "));
            true
        }
        None => false,
    };
    PANICS.try_with(|p| p.try_borrow_mut().is_ok_and(|mut p| keep(&mut p))).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> bool {
        std::hint::black_box(true)
    }

    #[test]
    fn a_panic_is_told_wherever_it_was() {
        let (value, panics) = caught(|| 7);
        assert_eq!((value, panics.len()), (Some(7), 0));
        let (value, panics) = caught(|| {
            if seed() {
                panic!("on purpose")
            }
        });
        assert!(value.is_none() && panics[0].contains("on purpose"), "{panics:?}");
    }
}
