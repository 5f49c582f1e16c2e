//! Page-locked memory of the host, which a GPU reads and writes by itself.

use std::ptr::NonNull;
use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, PinnedHostSlice};
use tandem_kv_cache::SlabSource;

/// Bytes of a slab. Locking its pages takes some ten milliseconds, in which the engine waits.
const SLAB_BYTES: usize = 16 << 20;

/// Takes page-locked memory for blocks of one length.
#[derive(Debug)]
pub(super) struct PinnedSlabs {
    context: Arc<CudaContext>,
    block_len: usize,
}

/// Memory of one block.
#[derive(Debug)]
pub(super) struct PinnedRoom {
    slab: Arc<Slab>,
    /// Of its first number in the slab.
    offset: usize,
    len: usize,
}

#[derive(Debug)]
struct Slab {
    memory: PinnedHostSlice<f32>,
    start: NonNull<f32>,
}

#[allow(
    unsafe_code,
    reason = "the driver's memory has no owner that Rust knows"
)]
// SAFETY: `start` points into `memory`, which may be sent and shared; what is read and written
// through it is the business of rooms, and no two rooms overlap.
unsafe impl Send for Slab {}

#[allow(
    unsafe_code,
    reason = "the driver's memory has no owner that Rust knows"
)]
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl PinnedSlabs {
    /// Of blocks of `block_len` numbers.
    pub(super) fn new(context: &Arc<CudaContext>, block_len: usize) -> Self {
        Self {
            context: Arc::clone(context),
            block_len,
        }
    }
}

impl SlabSource for PinnedSlabs {
    type Room = PinnedRoom;
    type Error = DriverError;

    #[allow(unsafe_code, reason = "the driver does not say what is in its memory")]
    fn slab(&self, most: usize) -> Result<Vec<PinnedRoom>, DriverError> {
        let len = self.block_len;
        let blocks = (SLAB_BYTES / (len * size_of::<f32>())).clamp(1, most);
        // Cached by the processor as other memory is, because disks and networks read it.
        let flags = 0;
        // SAFETY: any bits are numbers, and nobody reads them before a block is copied over them.
        let mut memory = unsafe {
            self.context
                .alloc_pinned_with_flags::<f32>(blocks * len, flags)
        }?;
        let start = NonNull::new(memory.as_mut_ptr()?).expect("the driver gave memory");
        let slab = Arc::new(Slab { memory, start });
        let room = |index| PinnedRoom {
            slab: Arc::clone(&slab),
            offset: index * len,
            len,
        };
        Ok((0..blocks).map(room).collect())
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // Nothing is being copied unless an engine has panicked meanwhile; the memory must not go to
        // somebody else then.
        self.memory.context().synchronize().ok();
    }
}

impl AsRef<[f32]> for PinnedRoom {
    #[allow(unsafe_code, reason = "rooms are parts of one slab")]
    fn as_ref(&self) -> &[f32] {
        // SAFETY: the slab has as many numbers as all of its rooms, lives as long as this one, and no
        // other room has these.
        unsafe {
            let start = self.slab.start.add(self.offset);
            std::slice::from_raw_parts(start.as_ptr(), self.len)
        }
    }
}

impl AsMut<[f32]> for PinnedRoom {
    #[allow(unsafe_code, reason = "rooms are parts of one slab")]
    fn as_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `as_ref`.
        unsafe {
            let start = self.slab.start.add(self.offset);
            std::slice::from_raw_parts_mut(start.as_ptr(), self.len)
        }
    }
}
