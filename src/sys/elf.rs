//! What the main executable is in memory: its load bias, its executable segments, its identity.
//!
//! Called by `process`, to name functions to other processes that run the same executable at another address.
//!
//! # Safety
//!
//! `dl_iterate_phdr` lends structures that live as long as the object is loaded, and the main executable is never
//! unloaded. Reads stay inside segments that those structures describe and that are mapped readable.
#![expect(unsafe_code, reason = "dl_iterate_phdr, and reading the executable's own segments")]

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::slice;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Tells builds of the program apart: the build-id that the linker wrote, or a hash of the machine code where it wrote
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity([u8; 20]);

impl Identity {
    /// The same as whole words.
    pub(crate) fn words(self) -> [u64; 3] {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(self.0.chunks(size_of::<u64>())) {
            *word = bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        words
    }
}

/// The main executable as it is mapped here.
#[derive(Debug)]
pub(crate) struct Image {
    bias: usize,
    executable: Vec<Segment>,
    identity: Identity,
}

#[derive(Clone, Debug)]
struct Segment {
    range: Range<usize>,
    readable: bool,
}

impl Image {
    /// The executable of this process; read once.
    pub(crate) fn main() -> &'static Self {
        static MAIN: OnceLock<Image> = OnceLock::new();
        MAIN.get_or_init(read_main)
    }

    /// Which build this is.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Where an address of machine code is, counted from the load bias. `None` if it is in no executable segment of
    /// the main executable (a shared library's function, or no function).
    pub(crate) fn offset_of(&self, address: usize) -> Option<u64> {
        if !self.contains(address) {
            return None;
        }
        u64::try_from(address.wrapping_sub(self.bias)).ok()
    }

    /// The address for an offset, unless it is outside the executable segments.
    pub(crate) fn address_of(&self, offset: u64) -> Option<usize> {
        let address = self.bias.wrapping_add(usize::try_from(offset).ok()?);
        self.contains(address).then_some(address)
    }

    fn contains(&self, address: usize) -> bool {
        self.executable.iter().any(|segment| segment.range.contains(&address))
    }
}

fn read_main() -> Image {
    let mut found: Option<Image> = None;
    // SAFETY: the callback has the signature that is asked for, does not unwind into C (it only reads and collects),
    // and `found` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(first_object), (&raw mut found).cast()) };
    // Without an answer no address is inside, so that every function is refused.
    found.unwrap_or(Image { bias: 0, executable: Vec::new(), identity: Identity([0; 20]) })
}

/// Looks at the first object, which is the main executable, and ends the iteration.
extern "C" fn first_object(info: *mut libc::dl_phdr_info, _size: libc::size_t, found: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the dynamic linker passes a valid description, for the duration of the callback.
    let info = unsafe { &*info };
    // SAFETY: this is the pointer that `read_main` passed, to an `Option<Image>` of its own.
    let found = unsafe { &mut *found.cast::<Option<Image>>() };
    *found = Some(read_object(info));
    1
}

fn read_object(info: &libc::dl_phdr_info) -> Image {
    // SAFETY: the program headers of a loaded object are mapped and constant.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let bias = address(info.dlpi_addr);
    let range = |header: &libc::Elf64_Phdr| {
        let start = bias.wrapping_add(address(header.p_vaddr));
        start..start.wrapping_add(address(header.p_memsz))
    };
    let executable: Vec<Segment> = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)
        .map(|header| Segment { range: range(header), readable: header.p_flags & libc::PF_R != 0 })
        .collect();
    let build_id = headers.iter().filter(|header| header.p_type == libc::PT_NOTE).find_map(|header| {
        // SAFETY: a note segment is part of a readable load segment.
        let notes = unsafe { bytes(&range(header)) };
        build_id(notes, if header.p_align == 8 { 8 } else { 4 })
    });
    let identity = build_id.unwrap_or_else(|| hash(&executable));
    Image { bias, executable, identity }
}

/// A mapped range as bytes.
///
/// # Safety
///
/// The range is mapped readable for ever, and nobody writes to it.
unsafe fn bytes(range: &Range<usize>) -> &'static [u8] {
    let start = std::ptr::with_exposed_provenance::<u8>(range.start);
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start, range.end - range.start) }
}

/// The NT_GNU_BUILD_ID among `notes`: records of three words (length of name, length of content, type), name and
/// content, each padded to `align`.
fn build_id(mut notes: &[u8], align: usize) -> Option<Identity> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let padded = |len: usize| len.checked_next_multiple_of(align);
    loop {
        let (head, rest) = notes.split_at_checked(12)?;
        let word = |at: usize| Some(u32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let (name_len, content_len) = (usize::try_from(word(0)?).ok()?, usize::try_from(word(4)?).ok()?);
        // The name is padded together with the head before it: 12 + 4 is a multiple of either alignment.
        let content_at = padded(12_usize.checked_add(name_len)?)?.checked_sub(12)?;
        let (name, content) = (rest.get(..name_len)?, rest.get(content_at..content_at.checked_add(content_len)?)?);
        if word(8)? == NT_GNU_BUILD_ID && name == b"GNU\0" && !content.is_empty() {
            let mut identity = [0; 20];
            let len = content.len().min(identity.len());
            identity.get_mut(..len)?.copy_from_slice(content.get(..len)?);
            return Some(Identity(identity));
        }
        notes = rest.get(content_at.checked_add(padded(content_len)?)?..)?;
    }
}

/// A hash of the machine code: the same in every process that runs this executable, because code has no relocations.
/// A debugger's breakpoints change it.
fn hash(executable: &[Segment]) -> Identity {
    let mut identity = [0; 20];
    for (seed, half) in identity.chunks_exact_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        hasher.write_usize(seed);
        for segment in executable {
            hasher.write_usize(segment.range.end - segment.range.start);
            if segment.readable {
                // SAFETY: the segment is mapped readable, and code is never written to.
                hasher.write(unsafe { bytes(&segment.range) });
            }
        }
        half.copy_from_slice(&hasher.finish().to_ne_bytes());
    }
    Identity(identity)
}

/// A number of the ELF headers as an address; both have 64 bits on the targets that this crate builds on.
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
fn address(value: u64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_function() -> u32 {
        7
    }

    #[test]
    fn a_function_of_the_program_has_an_offset_that_leads_back() {
        let address = some_function as fn() -> u32 as usize;
        let image = Image::main();
        let offset = image.offset_of(address).unwrap();
        assert_eq!(image.address_of(offset), Some(address));
    }

    #[test]
    fn data_and_functions_of_libraries_are_refused() {
        static DATA: u32 = 0;
        let image = Image::main();
        assert_eq!(image.offset_of((&raw const DATA).addr()), None);
        assert_eq!(image.offset_of(libc::getpid as *const () as usize), None);
        assert_eq!(image.offset_of(0), None);
        assert_eq!(image.address_of(u64::MAX), None);
        assert_eq!(image.address_of(1 << 40), None);
    }

    #[test]
    fn the_hash_of_the_code_is_repeatable() {
        let image = Image::main();
        let first = hash(&image.executable);
        assert_eq!(first, hash(&image.executable));
        assert_ne!(first, hash(&[]));
        assert_ne!(image.identity().0, [0; 20]);
    }

    fn note(name: &[u8], kind: u32, content: &[u8], align: usize) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [u32::try_from(name.len()).unwrap(), u32::try_from(content.len()).unwrap(), kind] {
            note.extend(word.to_ne_bytes());
        }
        for part in [name, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(align), 0);
        }
        note
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        for align in [4, 8] {
            let mut notes = note(b"GNU\0", 5, &[1; 20], align);
            notes.extend(note(b"stapsdt\0", 3, b"no", align));
            notes.extend(note(b"GNU\0", 3, &[9; 8], align));
            let found = build_id(&notes, align).unwrap();
            assert_eq!(found.0[..8], [9; 8]);
            assert_eq!(found.0[8..], [0; 12]);
            for cut in 0..notes.len() {
                assert!(cut >= notes.len() - (align - 1) || build_id(&notes[..cut], align).is_none(), "{cut}");
            }
        }
    }
}
