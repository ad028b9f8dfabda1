//! Elements in shared memory: a process that changes them is killed.

use crewkit::ipc::{Array, Item, LockError, ShareableList};

use crate::points::{HANG, Outcome, Stage, When, given, traced};

/// Twelve bytes: each lies in two words, one of which it shares with a neighbour.
type Element = [u32; 3];

const OLD: Element = [1; 3];
const NEW: Element = [2; 3];

fn array() -> Array<Element> {
    Array::new(&[OLD; 3]).unwrap()
}

/// The victim replaces an element. Survivors find all of it replaced or nothing, its neighbours as they were, and nothing
/// to be put in order.
pub(crate) fn replacing_an_element(_: When) -> Stage {
    let array = array();
    let victim = traced(&array, |array: Array<Element>| move || array.set(1, NEW).unwrap());
    let judge = move || {
        let seen = array.get_timeout(1, HANG).unwrap();
        let code = given(&array, |array: Array<Element>| {
            array.set_timeout(1, [3; 3], HANG).unwrap();
            let guard = array.lock_timeout(HANG).unwrap();
            i32::from(*guard != [OLD, [3; 3], OLD])
        });
        assert_eq!(code.exit_code(), 0);
        match seen {
            OLD => Outcome::Before,
            NEW => Outcome::After,
            torn => panic!("half an element: {torn:?}"),
        }
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim replaces all elements as a slice. Survivors find all of them as they were, or all replaced, or are told.
pub(crate) fn writing_through_a_guard(_: When) -> Stage {
    let array = array();
    let victim = traced(&array, |array: Array<Element>| {
        move || array.lock().unwrap().iter_mut().for_each(|element| *element = NEW)
    });
    let judge = move || {
        let outcome = match array.lock_timeout(HANG) {
            Ok(guard) if *guard == [OLD; 3] => Outcome::Before,
            Ok(guard) if *guard == [NEW; 3] => Outcome::After,
            Ok(guard) => panic!("half done, and nobody told: {:?}", &*guard),
            Err(LockError::OwnerDied(guard)) => {
                let done = *guard == [NEW; 3];
                guard.recover();
                if done { Outcome::After } else { Outcome::Before }
            }
            Err(error) => panic!("{error}"),
        };
        let code = given(&array, |array: Array<Element>| i32::from(array.lock_timeout(HANG).is_err()));
        assert_eq!(code.exit_code(), 0, "in order, for a process that knows nothing of the death");
        outcome
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim replaces a text by bytes of another length. Survivors find one or the other, and can replace it themselves.
pub(crate) fn replacing_an_item(_: When) -> Stage {
    let list = ShareableList::new(["a text of old", "its neighbour"]).unwrap();
    let victim = traced(&list, |list: ShareableList| move || list.set(0, &b"bytes"[..]).unwrap());
    let judge = move || {
        let seen = list.get(0).unwrap();
        let code = given(&list, |list: ShareableList| {
            list.set_timeout(0, 7, HANG).unwrap();
            i32::from(list.to_vec().unwrap() != [7.into(), Item::from("its neighbour")])
        });
        assert_eq!(code.exit_code(), 0);
        if seen == Item::from("a text of old") {
            return Outcome::Before;
        }
        assert_eq!(seen, Item::from(&b"bytes"[..]), "half an item");
        Outcome::After
    };
    Stage { victim, judge: Box::new(judge) }
}
