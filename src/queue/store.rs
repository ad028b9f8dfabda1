//! What a queue keeps its items in, which decides the order in which they come out.

/// Items under a queue's mutex.
pub(super) trait Store: Default {
    type Item;

    fn len(&self) -> usize;

    /// Takes the item in `slot` in. Should the item's own code unwind, it is still there, and nothing has changed.
    fn push(&mut self, slot: &mut Option<Self::Item>);

    /// Hands the next item out. Should the items' own code unwind, nothing has changed.
    fn pop(&mut self) -> Option<Self::Item>;

    /// Moves the next items into `got` until it holds `max`. Should the items' own code unwind, nothing has changed.
    fn pop_many(&mut self, max: usize, got: &mut Vec<Self::Item>);

    /// The next item.
    fn peek(&self) -> Option<&Self::Item>;
}

/// Last in, first out.
impl<T> Store for Vec<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn push(&mut self, slot: &mut Option<T>) {
        self.extend(slot.take());
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.pop()
    }

    fn pop_many(&mut self, max: usize, got: &mut Vec<T>) {
        let kept = self.len().saturating_sub(max - got.len());
        got.extend(self.drain(kept..).rev());
    }

    fn peek(&self) -> Option<&T> {
        self.last()
    }
}
