//! How the process's allocator treats the memory of freed tensors.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lets glibc keep the memory of freed tensors for the next ones, up to a gibibyte. By default it hands every larger block
/// back to the kernel at once, and a training step, which frees and takes the same blocks again, spends a tenth of its time
/// in page faults. Changes no result; does nothing with another allocator.
pub fn keep_freed() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: mallopt only sets two of the allocator's numbers, under the allocator's own lock.
        unsafe {
            // 32 MiB is the most that glibc takes for blocks mapped by themselves.
            libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
        }
    });
}

/// Bytes freed for good after which they are given back.
const GIVEN_BACK: usize = 32 << 20;

/// Says that so many bytes were freed for good, such as weights that were laid out anew: from time to time they go back to
/// the kernel, so that a network is not held twice.
pub fn freed(bytes: usize) {
    static FREED: AtomicUsize = AtomicUsize::new(0);
    if FREED.fetch_add(bytes, Ordering::Relaxed) + bytes < GIVEN_BACK {
        return;
    }
    FREED.store(0, Ordering::Relaxed);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim only hands free pages back, under the allocator's own lock.
    unsafe {
        libc::malloc_trim(0);
    }
}
