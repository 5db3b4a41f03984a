//! Where what is read of documents stands, until all of it goes as one.

use std::cell::Cell;
use std::fmt;

use bumpalo::Bump;

/// Room for what is read. Threads keep the last one that they have dropped: the next document is read
/// into memory that is warm, and nothing is allocated for it.
#[derive(Default)]
pub struct Arena(Bump);

/// One that is larger is not kept: a batch of a hundred questions fits. Bytes.
const KEPT: usize = 256 << 10;

thread_local! {
    static SPARE: Cell<Option<Bump>> = const { Cell::new(None) };
}

impl Arena {
    pub fn new() -> Self {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        Self(spare.unwrap_or_default())
    }

    pub(crate) fn slice<T>(
        &self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> &[T] {
        self.0.alloc_slice_fill_iter(items)
    }

    /// The same of what stands side by side already.
    pub(crate) fn copy<T: Copy>(&self, items: &[T]) -> &[T] {
        self.0.alloc_slice_copy(items)
    }

    pub(crate) fn text(&self, text: &str) -> &str {
        self.0.alloc_str(text)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let mut bump = std::mem::take(&mut self.0);
        bump.reset();
        if bump.allocated_bytes() <= KEPT {
            // A thread that is about to end keeps nothing.
            let _ = SPARE.try_with(|spare| spare.set(Some(bump)));
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Arena")
            .field("bytes", &self.0.allocated_bytes())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_after(texts: usize) -> usize {
        let arena = Arena::new();
        for _ in 0..texts {
            arena.text(&"x".repeat(1000));
        }
        drop(arena);
        Arena::new().0.allocated_bytes()
    }

    #[test]
    fn the_last_one_is_used_again_where_it_is_not_too_large() {
        let few = bytes_after(10);
        assert!((1000..=KEPT).contains(&few), "{few}");
        assert_eq!(bytes_after(1), few);
        assert_eq!(bytes_after(1000), 0);
        assert_eq!(bytes_after(0), 0);
    }

    #[test]
    fn two_at_once_are_two() {
        let (one, other) = (Arena::new(), Arena::new());
        let texts: Vec<_> = (0..100)
            .map(|n| {
                (
                    one.text(&format!("one {n}")),
                    other.text(&format!("other {n}")),
                )
            })
            .collect();
        for (n, (of_one, of_other)) in texts.into_iter().enumerate() {
            assert_eq!(of_one, format!("one {n}"));
            assert_eq!(of_other, format!("other {n}"));
        }
    }
}
