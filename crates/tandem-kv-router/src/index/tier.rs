//! Where a worker keeps a block.

use tandem_protocol::kv::StorageTier;

/// Tiers of a worker's cache that the index tells apart, from fast to slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tier {
    Device,
    Host,
    Disk,
}

impl Tier {
    pub(super) const ALL: [Self; 3] = [Self::Device, Self::Host, Self::Disk];

    /// The tier that events name; `None` for storage outside the worker, which every worker
    /// reaches and which therefore says nothing about any of them.
    pub(super) const fn of(storage: StorageTier) -> Option<Self> {
        match storage {
            StorageTier::Device => Some(Self::Device),
            StorageTier::HostPinned => Some(Self::Host),
            StorageTier::Disk => Some(Self::Disk),
            StorageTier::External => None,
        }
    }
}

/// Blocks of a prompt's prefix that a worker has, by the fastest tier that has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overlap {
    /// In the accelerator's memory.
    pub device: u32,
    /// In the host's memory.
    pub host: u32,
    /// On disk.
    pub disk: u32,
}

impl Overlap {
    /// Blocks in the accelerator's memory.
    pub const fn on_device(device: u32) -> Self {
        Self {
            device,
            host: 0,
            disk: 0,
        }
    }

    /// Blocks over all tiers.
    pub const fn blocks(self) -> u32 {
        self.device + self.host + self.disk
    }
}
