//! Where KV blocks go that the cache of a worker has no room for.

use std::path::PathBuf;

use tandem_worker::{DiskConfig, TierConfig};

use crate::args::CacheArgs;

/// The tiers below a worker's KV cache.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "KV tiers: what is not in the KV cache")]
pub(crate) struct TierArgs {
    /// Memory of each worker for KV blocks that its KV cache gave up, in GiB; 0 for none
    #[arg(
        long,
        value_name = "GIB",
        default_value_t = 0.0,
        value_parser = gibibytes,
        env = "DYN_KVBM_CPU_CACHE_GB"
    )]
    kv_host_cache_gb: f64,

    /// Disk of each worker for KV blocks that were seen before, in GiB; they are found again after a
    /// restart; 0 for none
    #[arg(
        long,
        value_name = "GIB",
        default_value_t = 0.0,
        value_parser = gibibytes,
        env = "DYN_KVBM_DISK_CACHE_GB"
    )]
    kv_disk_cache_gb: f64,

    /// Where the blocks on disk are; workers may share it [default: kv in the cache directory]
    #[arg(long, value_name = "DIR", env = "DYN_KVBM_DISK_CACHE_DIR")]
    kv_disk_cache_dir: Option<PathBuf>,

    /// How often a KV block has to be seen before it is written to disk; 1 for always
    #[arg(
        long,
        value_name = "TIMES",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    kv_offload_min_frequency: u32,

    /// Take KV blocks from other workers of the model that have them, instead of computing them, and
    /// give them ours; the network that workers are in must be trusted
    #[arg(long, env = "TANDEM_KV_PEERS")]
    kv_peers: bool,
}

impl TierArgs {
    /// The tiers that were asked for.
    pub(crate) fn config(&self, cache: &CacheArgs) -> TierConfig {
        let disk_bytes = bytes(self.kv_disk_cache_gb);
        TierConfig {
            host_bytes: bytes(self.kv_host_cache_gb),
            disk: (disk_bytes > 0).then(|| DiskConfig {
                bytes: disk_bytes,
                directory: self
                    .kv_disk_cache_dir
                    .clone()
                    .unwrap_or_else(|| cache.directory().join("kv")),
            }),
            min_frequency: self.kv_offload_min_frequency,
            peers: self.kv_peers,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked when it was parsed"
)]
fn bytes(gibibytes: f64) -> u64 {
    (gibibytes * f64::from(1 << 30)) as u64
}

fn gibibytes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..1e9).contains(&value) => Ok(value),
        Ok(_) => Err("must be from 0 to 1e9".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        tiers: TierArgs,
        #[command(flatten)]
        cache: CacheArgs,
    }

    fn config(flags: &[&str]) -> Result<TierConfig, clap::Error> {
        let command =
            Command::try_parse_from(["test", "--cache-dir", "/cache"].iter().chain(flags))?;
        Ok(command.tiers.config(&command.cache))
    }

    #[test]
    fn tiers_are_off_unless_they_have_a_size() {
        assert_eq!(config(&[]).unwrap(), TierConfig::default());
        let given = config(&["--kv-host-cache-gb", "0.5", "--kv-disk-cache-gb", "2"]).unwrap();
        let expect = TierConfig {
            host_bytes: 1 << 29,
            disk: Some(DiskConfig {
                bytes: 2 << 30,
                directory: "/cache/kv".into(),
            }),
            min_frequency: 2,
            peers: false,
        };
        assert_eq!(given, expect);
        assert!(config(&["--kv-peers"]).unwrap().peers);
        let elsewhere = ["--kv-disk-cache-gb", "1", "--kv-disk-cache-dir", "/kv"];
        assert_eq!(
            config(&elsewhere).unwrap().disk.unwrap().directory,
            PathBuf::from("/kv")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            ["--kv-host-cache-gb", "-1"],
            ["--kv-host-cache-gb", "NaN"],
            ["--kv-disk-cache-gb", "much"],
            ["--kv-offload-min-frequency", "0"],
        ] {
            assert!(config(&flags).is_err(), "{flags:?}");
        }
    }
}
