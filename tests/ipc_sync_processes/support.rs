//! Children that sleep on something.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alone::{Child, peer};
use crate::holders::SOON;
use crate::sleeping::until_asleep;

/// A child that does something with an object, in which it sleeps when this returns.
pub(crate) fn sleeper<T: Serialize + DeserializeOwned>(object: &T, body: impl FnOnce(&T) -> i32) -> Child {
    let (end, child) = peer::<T, (), _>(|end| {
        let object = end.recv().unwrap();
        end.send(&()).unwrap();
        body(&object)
    });
    end.send(object).unwrap();
    end.recv_timeout(SOON).unwrap();
    until_asleep(&child);
    child
}
