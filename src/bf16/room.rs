//! Memory for operands in pages of 2 MiB, where the system has them. A step reads 8 MB of operands in pieces of a
//! kilobyte; in pages of 4 KiB, looking these up takes a tenth of its time.

// A part of a chunk is a slice of its own, and only raw pointers can say that no two parts overlap.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use crate::error::NO_MEMORY;
use crate::memory::Size;

/// A large page.
const PAGE: usize = 2 << 20;
/// The least that is taken of the system at once. What is not used of it takes no memory.
const CHUNK: usize = 4 * PAGE;

/// Memory of the system, which is given back when the last of its parts has gone.
struct Chunk {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its memory, and hands out no reference to it.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// # Panics
    /// Where there is no memory.
    fn new(bytes: usize) -> Self {
        let lacking = || -> ! { panic!("{NO_MEMORY} {} more", Size(bytes as u64)) };
        let size = bytes.max(CHUNK).checked_next_multiple_of(PAGE);
        let layout = size.and_then(|size| Layout::from_size_align(size, PAGE).ok());
        let layout = layout.unwrap_or_else(|| lacking());
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| lacking());
        #[cfg(target_os = "linux")]
        // SAFETY: it is advice on memory of our own; where it is not taken, pages are small.
        unsafe {
            libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE);
        }
        Self { start, layout }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// What buffers are cut from, one beside the other.
#[derive(Default)]
pub struct Room {
    chunk: Option<Arc<Chunk>>,
    used: usize, // bytes of it
}

impl Room {
    /// So many copies of a value.
    ///
    /// # Panics
    /// Where there is no memory for them: the message says how much is needed.
    pub fn filled<T: Copy>(&mut self, value: T, count: usize) -> Buffer<T> {
        self.part(count, |_| value)
    }

    fn part<T: Copy>(&mut self, count: usize, value: impl Fn(usize) -> T) -> Buffer<T> {
        let bytes = count.saturating_mul(size_of::<T>());
        let from = self.used.next_multiple_of(align_of::<T>());
        let has_room = |chunk: &Arc<Chunk>| bytes <= chunk.layout.size().saturating_sub(from);
        let (chunk, from) = match self.chunk.take().filter(has_room) {
            Some(chunk) => (chunk, from),
            None => (Arc::new(Chunk::new(bytes)), 0),
        };
        // SAFETY: the part is in the chunk, which is aligned for every such type, and no other part has it.
        let start = unsafe { chunk.start.add(from) }.cast::<T>();
        for index in 0..count {
            // SAFETY: it is in the part.
            unsafe { start.add(index).write(value(index)) };
        }
        (self.chunk, self.used) = (Some(Arc::clone(&chunk)), from + bytes);
        Buffer { start, len: count, _chunk: chunk }
    }
}

/// A slice of its own, in memory that it shares.
pub struct Buffer<T> {
    start: NonNull<T>,
    len: usize,
    _chunk: Arc<Chunk>,
}

// SAFETY: it owns its part as a vector does.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Buffer<T> {}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: its part is filled, and lives as long as the chunk.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Buffer<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the part is this buffer's alone.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Room::default().part(self.len, |index| self[index])
    }
}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::tiles::{Block, EDGE, Tiles};

    #[test]
    fn buffers_are_aligned_and_do_not_overlap_and_outlive_their_room() {
        let mut room = Room::default();
        // The fourth needs a chunk of its own, larger than others.
        let counts = [1, 0, 2000, CHUNK / size_of::<Block>() + 1, 5];
        let of_room = |(index, &count): (usize, &usize)| {
            let value = Block([index as f32; EDGE * EDGE]);
            (room.filled(value, count), room.filled(Tiles([index as u16; EDGE * EDGE]), count))
        };
        let mut all: Vec<_> = counts.iter().enumerate().map(of_room).collect();
        drop(room);
        let copies = all.clone();
        for (index, ((blocks, tiles), count)) in all.iter_mut().zip(counts).enumerate() {
            assert_eq!((blocks.len(), tiles.len()), (count, count));
            assert!(blocks.as_ptr().is_aligned() && tiles.as_ptr().is_aligned());
            assert!(blocks.iter().all(|it| it.0 == [index as f32; EDGE * EDGE]));
            assert!(tiles.iter().all(|it| it.0 == [index as u16; EDGE * EDGE]));
            blocks.fill(Block([-1.0; EDGE * EDGE]));
            tiles.fill(Tiles([u16::MAX; EDGE * EDGE]));
        }
        for (index, (blocks, tiles)) in copies.iter().enumerate() {
            assert!(blocks.iter().all(|it| it.0 == [index as f32; EDGE * EDGE]));
            assert!(tiles.iter().all(|it| it.0 == [index as u16; EDGE * EDGE]));
        }
    }

    #[test]
    fn a_lack_of_memory_is_told_by_its_size() {
        let told = crate::error::catch_panic(|| Room::default().filled(0_u8, isize::MAX as usize));
        assert!(told.is_err_and(|told| told.starts_with(NO_MEMORY)));
    }
}
