//! Values that are deeper than the stack of who receives them.

use crewkit::ipc::{RecvError, pipe};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SOON;

/// A type that contains itself, in a message of one byte for each level: it ends neither a thread nor its process.
pub(crate) fn a_value_deeper_than_the_stack_is_refused() {
    #[derive(Deserialize)]
    struct Chain(Option<Box<Chain>>);

    struct Deep(usize);
    impl Serialize for Deep {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let links = std::iter::repeat_n(1_u8, self.0);
            let mut bytes = serializer.serialize_tuple(self.0 + 1)?;
            links.chain([0]).try_for_each(|byte| bytes.serialize_element(&byte))?;
            bytes.end()
        }
    }
    impl<'de> Deserialize<'de> for Deep {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let chain = Chain::deserialize(deserializer)?;
            Ok(Self(std::iter::successors(chain.0.as_deref(), |chain| chain.0.as_deref()).count()))
        }
    }

    const CASES: [(usize, bool); 5] = [(0, true), (200, true), (1 << 20, false), (1 << 17, false), (200, true)];
    let round = || {
        let (near, far) = pipe::<Deep, Deep>().unwrap();
        let sender = std::thread::spawn(move || CASES.iter().for_each(|case| near.send(&Deep(case.0)).unwrap()));
        for (depth, is_taken) in CASES {
            match far.recv_timeout(SOON) {
                Ok(Deep(found)) => assert!(is_taken && found == depth, "{found} levels of {depth}"),
                Err(RecvError::Decode(why)) => assert!(!is_taken && why.contains("contains itself"), "{depth}: {why}"),
                Err(error) => panic!("{error}"),
            }
        }
        sender.join().unwrap();
    };
    round();
    // With the stack that a thread has.
    std::thread::Builder::new().stack_size(2 << 20).spawn(round).unwrap().join().unwrap();
}
