//! Wall and CPU time of a piece of work.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What a piece of work took.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub wall: Duration,
    /// Of all threads of the process.
    pub cpu: Duration,
}

/// Runs since it was started.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Instant,
    cpu: Duration,
}

impl Clock {
    pub fn start() -> Result<Self> {
        Ok(Self {
            cpu: cpu_time()?,
            wall: Instant::now(),
        })
    }

    pub fn spent(&self) -> Result<Spent> {
        let wall = self.wall.elapsed();
        let cpu = cpu_time()?.saturating_sub(self.cpu);
        Ok(Spent { wall, cpu })
    }
}

/// User and system time of this process, from `/proc`: in ticks of 10 ms.
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("failed to read cpu time")?;
    // The second field is the name in brackets, which may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// Memory of this process that is resident, in MiB.
pub fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("failed to read memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("failed to read memory")? / 1024)
}
