//! The memory of rings.

use std::os::fd::AsFd;

use super::{Input, scribble};
use crate::shm::Segment;
use crate::shm::ring::{Bytes, Consumer, Producer, Ring, longest};

const LENGTH: u32 = 1024;

/// Makes a ring with some records in it, has the input write over them, and goes on with either side, new and old.
pub fn ring(data: &[u8]) {
    let mut input = Input(data);
    let ring = Ring::create(LENGTH).expect("a ring");
    let memory = Segment::from_any_fd(ring.as_fd().try_clone_to_owned().expect("a descriptor")).expect("a segment");
    let (mut producer, mut consumer) = (Producer::resume(ring.words()), Consumer::resume(ring.words()));
    let records = input.below(12);
    for _ in 0..records {
        put(&ring, &mut producer, input.below(longest(LENGTH) + 1));
    }
    for _ in 0..input.below(records + 1) {
        take(&ring, &mut consumer, 0);
    }
    let skipped = 8 * input.below(3);
    while !input.is_empty() {
        scribble(memory.words(), &mut input, |_| false);
        let (mut new_producer, mut new_consumer) = (Producer::resume(ring.words()), Consumer::resume(ring.words()));
        for (producer, consumer) in [(&mut producer, &mut consumer), (&mut new_producer, &mut new_consumer)] {
            put(&ring, producer, 40);
            while take(&ring, consumer, skipped) {}
            put(&ring, producer, longest(LENGTH));
            take(&ring, consumer, skipped);
        }
    }
}

fn put(ring: &Ring, producer: &mut Producer, length: usize) {
    let bytes = [7; LENGTH as usize];
    let _any = producer.put(ring.words(), &ring.bytes(), 1, [&[], &bytes[..length]]);
    let _any = producer.could_put(ring.words(), &ring.bytes(), length);
}

/// Whether there was a record.
fn take(ring: &Ring, consumer: &mut Consumer, skipped: usize) -> bool {
    let (words, bytes) = (ring.words(), ring.bytes());
    let Ok(Some(record)) = consumer.peek(words, &bytes) else { return false };
    assert!(record.length <= longest(bytes.length()));
    if record.length >= 8 {
        let _any = consumer.first_word(&bytes);
    }
    let mut taken = Vec::new();
    consumer.take(words, &bytes, record, skipped, &mut taken);
    assert_eq!(taken.len(), record.length.saturating_sub(skipped));
    true
}
