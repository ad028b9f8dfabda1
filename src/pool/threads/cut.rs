//! Iterators that give their first items away as an iterator of its own, without being asked for them: ranges.
//!
//! The workers of a map cut parts off such an iterator, and each calls the function in a loop over its own part. No item
//! is handed over: what [`mapping`](super::mapping) says of that is for all other iterators.
//!
//! Which type an iterator has is asked at run time, since a generic function of stable Rust cannot choose by type. The
//! compiler knows the answer, and nothing of the question is left.
//!
//! # Safety
//!
//! [`id_of`] tells types apart but for their lifetimes, of which a type that is `'static` for any reason has none. So what
//! has the id of such a type is of that type.

#![expect(unsafe_code, reason = "one type under two names")]

use std::any::TypeId;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;

/// Takes the first `count` items, if it is an iterator that can be cut and has as many, and `count` is not 0.
pub(super) fn first<I: Iterator>(items: &mut I, count: usize) -> Option<I> {
    let before_last = count.checked_sub(1).filter(|_| count <= items.size_hint().0)?;
    let mut part = None;
    macro_rules! ranges {
        ($($number:ty)*) => {
            $(if let (Some(items), Some(part)) = (same::<_, Range<$number>>(items), same(&mut part)) {
                let start = items.start;
                items.nth(before_last);
                *part = Some(start..items.start);
            })*
        };
    }
    ranges!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
    part
}

/// A value under the other name of its type, if the two are one.
fn same<T, S: 'static>(value: &mut T) -> Option<&mut S> {
    // SAFETY: it is of this type, see the head of the file.
    (id_of::<T>() == TypeId::of::<S>()).then(|| unsafe { &mut *ptr::from_mut(value).cast() })
}

/// The id that a type would have if all its lifetimes were `'static`.
fn id_of<T>() -> TypeId {
    trait Named {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T> Named for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let named: &dyn Named = &PhantomData::<T>;
    // SAFETY: a reference to a value without lifetimes in it; only its type has them, which the method makes no use of.
    let named = unsafe { ptr::from_ref(&named).cast::<&(dyn Named + 'static)>().read() };
    named.id()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// The first so many, and the others.
    fn cut<I: Iterator + Clone + PartialEq + Debug>(mut items: I, count: usize) -> Option<(I, I)> {
        let whole = items.clone();
        let part = first(&mut items, count);
        assert!(part.is_some() || items == whole, "{items:?}");
        part.map(|part| (part, items))
    }

    #[test]
    fn a_range_is_cut_where_it_should_be() {
        assert_eq!(cut(0_u64..10, 3), Some((0..3, 3..10)));
        assert_eq!(cut(0_u64..10, 10), Some((0..10, 10..10)));
        assert_eq!(cut(-128_i8..127, 200), Some((-128..72, 72..127)));
        assert_eq!(cut(-128_i8..127, 255), Some((-128..127, 127..127)));
        assert_eq!(cut(5..u64::MAX, 7), Some((5..12, 12..u64::MAX)));
        assert_eq!(cut(i128::MIN..i128::MAX, 1), Some((i128::MIN..i128::MIN + 1, i128::MIN + 1..i128::MAX)));
    }

    #[test]
    fn no_more_is_cut_than_there_is() {
        assert_eq!([0, 11].map(|count| cut(0_usize..10, count)), [None, None]);
        assert_eq!(cut(Range { start: 3_i32, end: 1 }, 1), None);
    }

    #[test]
    fn other_iterators_are_not_cut() {
        assert_eq!(cut(1_u64..=10, 3), None);
        assert_eq!(cut('b'..'y', 3), None);
        let local = [1, 2, 3];
        assert!(first(&mut local.iter(), 1).is_none());
        assert!(first(&mut local.into_iter().map(|end| 0..end), 1).is_none());
    }
}
