//! What may be in a `ShareableList`, and its bytes there.

/// An item of a [`ShareableList`](super::ShareableList): what Python's may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Python's `None`.
    None,
    /// A `bool`.
    Bool(bool),
    /// An `int`, of 64 bits.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `str`.
    Str(String),
    /// `bytes`.
    Bytes(Vec<u8>),
}

/// Bytes before those of an item's own: its type and its length in one word.
pub(super) const HEAD: usize = size_of::<u64>();

impl Item {
    /// The bytes of a text or of bytes; none of anything else.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Str(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Float(_) => &[],
        }
    }

    /// Writes the item into bytes of which there are enough.
    pub(super) fn encode(&self, target: &mut [u8]) {
        let number = |number: u64| (number.to_ne_bytes(), size_of::<u64>());
        let (kind, (bytes, len)) = match self {
            Self::None => (0_u64, number(0)),
            Self::Bool(value) => (1, number(u64::from(*value))),
            Self::Int(value) => (2, number(value.cast_unsigned())),
            Self::Float(value) => (3, number(value.to_bits())),
            Self::Str(text) => (4, ([0; 8], text.len())),
            Self::Bytes(bytes) => (5, ([0; 8], bytes.len())),
        };
        target[..HEAD].copy_from_slice(&(kind | (len as u64) << 8).to_ne_bytes());
        let text = self.bytes();
        let payload = if kind < 4 { &bytes[..] } else { text };
        target[HEAD..HEAD + len].copy_from_slice(payload);
    }

    /// The item that bytes are; `None` for nonsense.
    pub(super) fn decode(source: &[u8]) -> Option<Self> {
        let (head, rest) = source.split_first_chunk::<HEAD>()?;
        let head = u64::from_ne_bytes(*head);
        let bytes = rest.get(..usize::try_from(head >> 8).ok()?)?;
        let number = || bytes.try_into().ok().map(u64::from_ne_bytes);
        match head & 0xFF {
            0 => Some(Self::None),
            1 => number().map(|number| Self::Bool(number != 0)),
            2 => number().map(|number| Self::Int(number.cast_signed())),
            3 => number().map(|number| Self::Float(f64::from_bits(number))),
            4 => String::from_utf8(bytes.to_vec()).ok().map(Self::Str),
            5 => Some(Self::Bytes(bytes.to_vec())),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $item:expr),* $(,)?) => { $(
        impl From<$type> for Item {
            fn from($value: $type) -> Self {
                $item
            }
        }
    )* };
}

from! {
    () => |_nothing| Self::None,
    bool => |value| Self::Bool(value),
    i32 => |value| Self::Int(value.into()),
    i64 => |value| Self::Int(value),
    f64 => |value| Self::Float(value),
    &str => |text| Self::Str(text.to_owned()),
    String => |text| Self::Str(text),
    &[u8] => |bytes| Self::Bytes(bytes.to_vec()),
    Vec<u8> => |bytes| Self::Bytes(bytes),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let items: [Item; 9] = [
            ().into(),
            true.into(),
            i64::MIN.into(),
            (-0.5).into(),
            "".into(),
            "zwölf".into(),
            vec![0; 8].into(),
            b"\0\0"[..].into(),
            7.into(),
        ];
        for item in items {
            let mut bytes = [0xEE; HEAD + 8];
            item.encode(&mut bytes);
            assert_eq!(Item::decode(&bytes), Some(item));
        }
    }

    #[test]
    fn nonsense_is_no_item() {
        let mut sound = [0; HEAD + 8];
        Item::from("text").encode(&mut sound);
        let with = |at: usize, byte: u8| {
            let mut bytes = sound;
            bytes[at] = byte;
            Item::decode(&bytes)
        };
        assert_eq!(with(0, 6), None, "a type that there is not");
        assert_eq!(with(1, 9), None, "longer than there is room");
        assert_eq!(with(7, 255), None, "much longer");
        assert_eq!(with(HEAD, 255), None, "no text");
        assert_eq!(with(0, 2), None, "a number of four bytes");
        assert_eq!(Item::decode(&[0; 7]), None);
    }
}
