//! The targets on the inputs in `fuzz/corpus`, and on as many variations of them as the tests have time for. The same ones
//! each time, so that what fails once fails again.

use std::fmt::Write;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Runs `target` on each input of its corpus, and on `rounds` variations.
fn search(name: &str, target: fn(&[u8]), rounds: u32) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        // The crate as it comes from crates.io is without it.
        return;
    }
    let folder = fuzz.join("corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(corpus.len() >= 8, "{} inputs in {}", corpus.len(), folder.display());
    corpus.iter().for_each(|input| try_on(target, input));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..rounds {
        let input = random.variation(&corpus);
        try_on(target, &input);
    }
}

fn try_on(target: fn(&[u8]), input: &[u8]) {
    if catch_unwind(|| target(input)).is_err() {
        let mut bytes = String::new();
        input.iter().for_each(|byte| write!(bytes, "{byte:02x}").unwrap());
        panic!("on the input {bytes}, for example by: echo … | xxd -r -p > input");
    }
}

/// Xorshift: as good as this needs.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap() % limit.max(1)
    }

    /// One input with a few changes of the kinds that libFuzzer makes.
    fn variation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match (self.below(6), input.get_mut(at)) {
                (0, Some(byte)) => *byte ^= 1 << self.below(8),
                (1, Some(byte)) => *byte = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
                (2, _) => input.truncate(at),
                (3, _) => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                (4, Some(_)) => drop(input.remove(at)),
                _ => input.insert(at, u8::try_from(self.below(256)).unwrap()),
            }
        }
        input
    }
}

#[test]
fn no_records_do_harm() {
    search("wire", super::wire, 6_000);
}

#[test]
fn no_value_does_harm() {
    search("value", super::value, 20_000);
}

#[test]
fn nothing_written_into_an_object_does_harm() {
    search("object", super::object, 1_500);
}

#[test]
fn nothing_written_into_a_ring_does_harm() {
    search("ring", super::ring, 10_000);
}

#[test]
fn nothing_written_into_a_queue_does_harm() {
    search("queue", super::queue, 1_000);
}

#[test]
fn no_stranger_is_believed() {
    search("handshake", super::handshake, 5_000);
}
