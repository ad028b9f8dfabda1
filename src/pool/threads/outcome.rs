//! What came of a map: results in the places where workers wrote them, and errors apart.
//!
//! # Safety
//!
//! Whoever makes an [`Outcome`] promises that of the first `filled` places of each [`Segment`] all were written, but for
//! those whose index stands in `errors`.

#![expect(unsafe_code, reason = "which places were written is known by number only")]

use crate::pool::error::{MapError, TaskError};

/// What came of a map, apart by kind: nearly always there are no errors, and every result is in its place.
pub(super) struct Outcome<R> {
    /// Together they have the results of all items that began, in order. The first one is for what the iterator promised.
    pub(super) segments: Vec<Segment<R>>,
    pub(super) items: usize,
    /// In the order of the items.
    pub(super) errors: Vec<(usize, TaskError)>,
}

/// Places for the results of neighbouring items.
pub(super) struct Segment<R> {
    /// The index of the first of these items.
    pub(super) first: usize,
    /// Empty: the places are its spare capacity.
    pub(super) places: Vec<R>,
    pub(super) filled: usize,
}

impl<R> Outcome<R> {
    /// All results, or the first error and the results of all the others.
    pub(super) fn into_result(self) -> Result<Vec<R>, MapError<R>> {
        let Some(first) = self.errors.first() else { return Ok(self.into_all()) };
        let (index, error) = first.clone();
        Err(MapError { index, error, results: self.into_some().0 })
    }

    /// A result for each item.
    pub(super) fn into_results(self) -> Vec<Result<R, TaskError>> {
        let (results, errors) = self.into_some();
        let mut errors = errors.into_iter().map(|(_, error)| error);
        // Each item has a result or an error, and both are in order.
        let mut error = || errors.next().unwrap_or(TaskError::Taken);
        results.into_iter().map(|result| result.ok_or_else(&mut error)).collect()
    }

    /// The results, where there are no errors.
    fn into_all(self) -> Vec<R> {
        debug_assert!(self.errors.is_empty());
        let filled = self.segments.into_iter().map(|Segment { mut places, filled, .. }| {
            // SAFETY: these were written, as there are no errors.
            unsafe { places.set_len(filled) };
            places
        });
        filled
            .reduce(|mut all, mut more| {
                all.append(&mut more);
                all
            })
            .unwrap_or_default()
    }

    /// The results by index, and the errors.
    fn into_some(self) -> (Vec<Option<R>>, Vec<(usize, TaskError)>) {
        let mut results: Vec<Option<R>> = Vec::with_capacity(self.items);
        let mut failed = self.errors.iter().map(|(index, _)| *index).peekable();
        for Segment { first, mut places, filled } in self.segments {
            let places = places.spare_capacity_mut();
            for (index, place) in (first..).zip(&places[..filled]) {
                let has_result = failed.next_if_eq(&index).is_none();
                // SAFETY: it was written, is moved out here only, and its vector stays empty.
                results.push(has_result.then(|| unsafe { place.assume_init_read() }));
            }
        }
        results.resize_with(self.items, || None);
        (results, self.errors)
    }
}
