//! A message's cut into chunks: the sender's half of the codec.

use std::ops::Range;

use super::{Header, Kind, MAX_CHUNK};

/// How far the sending of one message has come.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    total: usize,
    kind: Kind,
    fds: u8,
    /// The longest chunk.
    most: usize,
    /// Bytes in the chunks sent so far.
    sent: usize,
    /// The chunk to be sent next; `None` once the last one was.
    next: Option<Header>,
}

impl Chunks {
    /// A message of `total` bytes with `fds` descriptors, of which nothing was sent yet.
    pub(crate) fn new(total: usize, kind: Kind, fds: u8) -> Self {
        Self::of_at_most(MAX_CHUNK, total, kind, fds)
    }

    /// The same, in chunks of at most `most` bytes.
    #[inline]
    pub(crate) fn of_at_most(most: usize, total: usize, kind: Kind, fds: u8) -> Self {
        let mut chunks = Self { total, kind, fds, most, sent: 0, next: None };
        chunks.next = Some(chunks.header(true));
        chunks
    }

    /// The next chunk's header and the part of the message that goes behind it; `None` when all was sent.
    #[inline]
    pub(crate) fn next(&self) -> Option<(Header, Range<usize>)> {
        self.next.map(|header| (header, self.sent..self.sent + header.len))
    }

    /// The chunk that [`next`](Self::next) gave was sent.
    #[inline]
    pub(crate) fn advance(&mut self) {
        if let Some(header) = self.next.take() {
            self.sent += header.len;
            self.next = (!header.last).then(|| self.header(false));
        }
    }

    #[inline]
    fn header(&self, first: bool) -> Header {
        let left = self.total - self.sent;
        Header {
            len: left.min(self.most),
            first,
            last: left <= self.most,
            kind: self.kind,
            fds: if first { self.fds } else { 0 },
            total: self.total as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(total: usize) -> Vec<(Header, Range<usize>)> {
        let mut chunks = Chunks::new(total, Kind::Value, 2);
        let mut cuts = Vec::new();
        while let Some(cut) = chunks.next() {
            cuts.push(cut);
            chunks.advance();
        }
        chunks.advance();
        assert_eq!(chunks.next(), None);
        cuts
    }

    #[test]
    fn the_chunks_of_a_message_are_the_message() {
        for total in [0, 1, MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, 2 * MAX_CHUNK, 5 * MAX_CHUNK + 7] {
            let cuts = cut(total);
            assert_eq!(cuts.len(), total.div_ceil(MAX_CHUNK).max(1));
            let mut at = 0;
            for (index, (header, range)) in cuts.iter().enumerate() {
                assert_eq!((range.start, range.len()), (at, header.len));
                at = range.end;
                assert_eq!(header.first, index == 0);
                assert_eq!(header.last, index == cuts.len() - 1);
                assert_eq!(header.fds, if index == 0 { 2 } else { 0 });
                assert_eq!(header.total, total as u64);
            }
            assert_eq!(at, total);
        }
    }
}
