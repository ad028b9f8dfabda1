//! A ring against a plain queue, on random operations; against a liar; and as an object.

use super::*;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;

/// Memory for a ring of `LENGTH` bytes; what lies behind it must stay as it is.
struct Area {
    words: Words,
    bytes: Vec<AtomicU64>,
}

const LENGTH: usize = 256;
const FENCE: u64 = 0x5AFE_5AFE_5AFE_5AFE;

impl Area {
    /// An empty ring whose indices are at `position`.
    fn at(position: u32) -> Self {
        let bytes = (0..LENGTH / 8).map(|_| AtomicU64::new(0)).chain([AtomicU64::new(FENCE)]).collect();
        let area = Self { words: Words::default(), bytes };
        for index in [&area.words.head, &area.words.tail] {
            index.0.store(u64::from(position), Ordering::Relaxed);
        }
        area
    }

    fn raw(&self) -> Raw<'_> {
        Raw::new(&self.bytes[..LENGTH / 8]).expect("a power of two")
    }

    fn ends(&self) -> (Producer, Consumer) {
        (Producer::resume(&self.words), Consumer::resume(&self.words))
    }

    fn put(&self, producer: &mut Producer, tag: u32, pieces: [&[u8]; 2]) -> Result<Put, Corrupt> {
        producer.put(&self.words, &self.raw(), tag, pieces)
    }

    fn take(&self, consumer: &mut Consumer, skipped: usize) -> Result<Option<(u32, Vec<u8>)>, Corrupt> {
        let Some(record) = consumer.peek(&self.words, &self.raw())? else { return Ok(None) };
        let mut bytes = b"kept".to_vec();
        consumer.take(&self.words, &self.raw(), record, skipped, &mut bytes);
        assert_eq!(&bytes[..4], b"kept");
        Ok(Some((record.tag, bytes.split_off(4))))
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % bound
    }
}

#[test]
fn random_operations_are_those_of_a_queue_with_that_many_bytes() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let area = Area::at(0_u32.wrapping_sub(40 * 8));
    let (mut producer, mut consumer) = area.ends();
    let mut queue: VecDeque<(u32, Vec<u8>)> = VecDeque::new();
    let (mut used, mut full, mut empty) = (0, 0, 0);
    for step in 0..200_000_u32 {
        match random.below(8) {
            // A side that goes on elsewhere.
            0 => producer = Producer::resume(&area.words),
            1 => consumer = Consumer::resume(&area.words),
            2..5 => {
                let first: Vec<u8> = step.to_ne_bytes().repeat(2 * random.below(2));
                let second: Vec<u8> = (0..random.below(49)).map(|_| random.next().to_ne_bytes()[0]).collect();
                let needed = 8 + (first.len() + second.len()).next_multiple_of(8);
                let put = area.put(&mut producer, step, [&first, &second]).unwrap();
                assert_eq!(put == Put::Done, used + needed <= LENGTH);
                if put == Put::Done {
                    used += needed;
                    queue.push_back((step, [first, second].concat()));
                } else {
                    full += 1;
                }
            }
            _ => {
                let expected = queue.pop_front();
                assert_eq!(consumer.has_news(&area.words, &area.raw()), expected.is_some());
                let skipped = expected.as_ref().map_or(0, |(_, bytes)| bytes.len().min(8 * random.below(2)));
                let taken = area.take(&mut consumer, skipped).unwrap();
                assert_eq!(taken, expected.clone().map(|(tag, bytes)| (tag, bytes[skipped..].to_vec())));
                match expected {
                    Some((_, bytes)) => used -= 8 + bytes.len().next_multiple_of(8),
                    None => empty += 1,
                }
            }
        }
        assert_eq!(area.bytes[LENGTH / 8].load(Ordering::Relaxed), FENCE, "written beyond the end");
    }
    assert!(full > 1000 && empty > 1000, "{full} times full, {empty} times empty");
}

/// Whatever is written into the memory, at any time: an error, or bytes that are as many as a record may have.
#[test]
fn a_liar_gets_errors_and_reaches_nothing_else() {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let (mut refused, mut taken, mut put) = (0, 0, 0);
    for _ in 0..20_000 {
        let area = Area::at(0);
        let (mut producer, mut consumer) = area.ends();
        for _ in 0..10 {
            let lie = match random.below(4) {
                0 => random.next(),
                1 => random.next() & 0x1F_0000_01FF,
                2 => random.next() & 0x3_0000_00F8,
                _ => random.next() & 0xFFFF_FFFF,
            };
            match random.below(6) {
                0 => area.words.tail.0.store(lie, Ordering::Relaxed),
                1 => area.words.head.0.store(lie, Ordering::Relaxed),
                2 => area.bytes[random.below(LENGTH / 8)].store(lie, Ordering::Relaxed),
                3 => match area.put(&mut producer, 1, [&[], &[7; 20]]) {
                    Ok(done) => put += usize::from(done == Put::Done),
                    Err(_) => refused += 1,
                },
                4 => match area.take(&mut consumer, 8) {
                    Ok(record) => taken += usize::from(record.is_some_and(|(_, bytes)| bytes.len() <= longest(256))),
                    Err(_) => refused += 1,
                },
                _ => (producer, consumer) = area.ends(),
            }
        }
        assert_eq!(area.bytes[LENGTH / 8].load(Ordering::Relaxed), FENCE, "written beyond the end");
    }
    assert!(refused > 1000 && taken > 1000 && put > 1000, "{refused} refused, {taken} taken, {put} put");
}

#[test]
fn each_lie_about_an_index_or_a_header_is_noticed() {
    let index = |count: u64, position: u64| count << 32 | position;
    let tails = [
        ("beyond the ring", index(2, 256 + 8)),
        ("behind the head", index(2, 0x1_0000_0000 - 8)),
        ("no word", index(2, 44)),
        ("no bytes", index(2, 0)),
        ("more records than words", index(7, 48)),
    ];
    for (lie, tail) in tails {
        let area = Area::at(0);
        let (_, mut consumer) = area.ends();
        area.words.tail.0.store(tail, Ordering::Relaxed);
        assert!(consumer.has_news(&area.words, &area.raw()), "{lie}");
        assert!(area.take(&mut consumer, 0).is_err(), "{lie}");
    }
    for (lie, header, count) in [
        ("longer than there is", 41_u64, 1),
        ("longer than any", 57, 1),
        ("huge", u64::from(u32::MAX), 1),
        ("the last of two, alone", 40, 2),
        ("more behind the last", 32, 1),
    ] {
        let area = Area::at(0);
        let (_, mut consumer) = area.ends();
        area.bytes[0].store(header, Ordering::Relaxed);
        area.words.tail.0.store(index(count, 48), Ordering::Relaxed);
        assert!(area.take(&mut consumer, 0).is_err(), "{lie}");
    }
    for (lie, head) in
        [("beyond the tail", index(6, 240)), ("back", index(0, 0x1_0000_0000 - 8)), ("no word", index(1, 12))]
    {
        let area = Area::at(0);
        let (mut producer, _) = area.ends();
        for _ in 0..5 {
            assert_eq!(area.put(&mut producer, 0, [&[], &[1; 40]]), Ok(Put::Done));
        }
        area.words.head.0.store(head, Ordering::Relaxed);
        assert!(area.put(&mut producer, 0, [&[], &[1; 40]]).is_err(), "{lie}");
        assert!(producer.could_put(&area.words, &area.raw(), 40).is_err(), "{lie}");
    }
}

#[test]
#[should_panic(expected = "no such record fits")]
fn a_record_that_never_fits_is_the_callers_mistake() {
    let area = Area::at(0);
    let _never = area.put(&mut area.ends().0, 0, [&[], &[0; longest(256) + 1]]);
}

#[test]
fn a_bell_is_told_of_once_and_only_when_it_is_set() {
    let words = Words::default();
    assert!(!words.must_wake(Side::Consumer));
    assert_eq!(words.arm(Side::Consumer), Alarm::Slices, "a producer that is not there is not fenced either");
    words.attach(Side::Producer, true);
    assert_eq!(words.arm(Side::Consumer), Alarm::Sure);
    assert!(!words.must_wake(Side::Producer));
    assert!(words.must_wake(Side::Consumer) && !words.must_wake(Side::Consumer));
    words.attach(Side::Producer, false);
    assert_eq!(words.arm(Side::Consumer), Alarm::Slices);
    words.bell(Side::Consumer).disarm();
    assert!(!words.must_wake(Side::Consumer));
}

#[test]
fn a_ring_opened_elsewhere_is_the_same_ring() {
    let made = Ring::create(4096).unwrap();
    let opened = Ring::open(made.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let (mut producer, mut consumer) = (Producer::resume(made.words()), Consumer::resume(opened.words()));
    let put = producer.put(made.words(), &made.bytes(), 9, [b"in words", b"bytes"]);
    assert_eq!(put, Ok(Put::Done));
    let record = consumer.peek(opened.words(), &opened.bytes()).unwrap().unwrap();
    assert_eq!((record, consumer.known_bytes()), (Record { tag: 9, length: 13 }, 24));
    assert_eq!(consumer.first_word(&opened.bytes()).to_ne_bytes(), *b"in words");
    let mut bytes = Vec::new();
    consumer.take(opened.words(), &opened.bytes(), record, 8, &mut bytes);
    assert_eq!((bytes.as_slice(), consumer.known_bytes()), (&b"bytes"[..], 0));
}

#[test]
fn a_ring_is_taken_up_or_withdrawn_never_both() {
    let words = Words::default();
    words.attach(Side::Producer, true);
    assert!(!words.take_up(), "nobody has attached");
    words.attach(Side::Consumer, true);
    assert!(words.withdraw() && !words.take_up());
    words.attach(Side::Consumer, false);
    assert!(words.take_up() && !words.withdraw() && !words.is_deaf());
    words.attach(Side::Consumer, true);
    assert!(!words.withdraw(), "another consumer goes on with it");
    words.turn_deaf();
    assert!(words.is_deaf() && !words.take_up() && !words.withdraw());
}

#[test]
fn what_is_no_ring_is_refused() {
    for length in [32, 8 * 9] {
        assert_eq!(Ring::create(length).unwrap_err().kind(), io::ErrorKind::InvalidData, "{length}");
    }
    let segment = crate::shm::Segment::create(4096).unwrap();
    let refused = Ring::open(segment.as_fd().try_clone_to_owned().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
}
