//! Values that are deeper than the stack of who receives them.

use crewkit::ipc::{RecvError, pipe};
use serde::de::DeserializeOwned;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SOON;

/// A type that contains itself, in a message of one byte for each level until it is at its deepest.
trait Chain: DeserializeOwned + Send + 'static {
    /// The bytes that follow then, for each level.
    const REST: usize;

    /// How many it has.
    fn depth(&self) -> usize;
}

#[derive(Deserialize)]
struct Thin(Option<Box<Thin>>);

impl Chain for Thin {
    const REST: usize = 0;

    fn depth(&self) -> usize {
        std::iter::successors(self.0.as_deref(), |level| level.0.as_deref()).count()
    }
}

/// Each level takes many kilobytes of stack.
#[derive(Deserialize)]
struct Fat(Option<Box<Fat>>, [[String; 32]; 16]);

impl Chain for Fat {
    const REST: usize = 32 * 16;

    fn depth(&self) -> usize {
        assert!(self.1.as_flattened().iter().all(String::is_empty));
        std::iter::successors(self.0.as_deref(), |level| level.0.as_deref()).count()
    }
}

/// The same, in a type that is not large itself.
impl Chain for Box<Fat> {
    const REST: usize = Fat::REST;

    fn depth(&self) -> usize {
        self.as_ref().depth()
    }
}

/// So many levels; what is received is a `C`.
struct Deep<C>(usize, Option<C>);

impl<C: Chain> Serialize for Deep<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Who gives up before it is at its deepest does not miss the rest.
        let rest = if self.0 < 1000 { (self.0 + 1) * C::REST } else { 0 };
        let bytes = std::iter::repeat_n(1_u8, self.0).chain(std::iter::repeat_n(0, 1 + rest));
        let mut tuple = serializer.serialize_tuple(self.0 + 1 + rest)?;
        bytes.into_iter().try_for_each(|byte| tuple.serialize_element(&byte))?;
        tuple.end()
    }
}

impl<'de, C: Chain> Deserialize<'de> for Deep<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        C::deserialize(deserializer).map(|chain| Self(chain.depth(), Some(chain)))
    }
}

/// It ends neither a thread nor its process.
pub(crate) fn a_value_deeper_than_the_stack_is_refused() {
    fn round<C: Chain>(taken: usize) {
        let cases = [(0, true), (taken, true), (1 << 20, false), (1 << 17, false), (taken, true)];
        let (near, far) = pipe::<Deep<C>, Deep<C>>().unwrap();
        let sender = std::thread::spawn(move || cases.iter().for_each(|case| near.send(&Deep(case.0, None)).unwrap()));
        for (depth, is_taken) in cases {
            match far.recv_timeout(SOON) {
                Ok(Deep(found, chain)) => assert!(is_taken && found == depth && chain.is_some(), "{found} of {depth}"),
                Err(RecvError::Decode(why)) => assert!(!is_taken && why.contains("contains itself"), "{depth}: {why}"),
                Err(error) => panic!("{error}"),
            }
        }
        sender.join().unwrap();
    }

    round::<Thin>(200);
    // With the stack that a thread has.
    for round in [|| round::<Thin>(200), || round::<Fat>(3), || round::<Box<Fat>>(3)] {
        std::thread::Builder::new().stack_size(2 << 20).spawn(round).unwrap().join().unwrap();
    }
}
