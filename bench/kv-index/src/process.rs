//! What this process has used.

use std::time::Duration;

use anyhow::{Result, ensure};

/// CPU time of all threads.
pub fn cpu_time() -> Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live `timespec`.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    ensure!(failed == 0, "no CPU clock");
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Bytes that are allocated and not freed, by the C library's account.
pub fn heap_bytes() -> usize {
    // SAFETY: the function has no preconditions.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}
