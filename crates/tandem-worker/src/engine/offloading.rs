//! What the tiers of the embedded engine are called in vLLM.

use serde_json::{Value, json};
use tandem_kv_cache::tier::TierConfig;

/// The `--kv-transfer-config` of a vLLM engine that keeps its blocks in the tiers of `config`: its
/// own OffloadingConnector, with a file tier if there is one on disk. `None` without tiers.
///
/// That configuration has no place for `min_frequency` and the size of the disk. Blocks get to the
/// file tier through the host's memory, so it is given 1 GiB if `config` has none.
///
/// Source: the connector of vLLM 0.32.
pub fn offloading_connector_config(config: &TierConfig) -> Option<Value> {
    if config.host_bytes == 0 && config.disk.is_none() {
        return None;
    }
    let host_bytes = match config.host_bytes {
        0 => LEAST_HOST_BYTES,
        bytes => bytes,
    };
    let mut extra = json!({
        "spec_name": "TieringOffloadingSpec",
        "cpu_bytes_to_use": host_bytes,
        "eviction_policy": "lru",
        "self_describing_kv_events": true,
    });
    if let Some(disk) = &config.disk {
        extra["secondary_tiers"] = json!([{
            "type": "fs",
            "root_dir": disk.directory,
            "enable_kv_events": true,
            "locality": "LOCAL",
        }]);
    }
    Some(json!({
        "kv_connector": "OffloadingConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": extra,
    }))
}

/// Memory that blocks pass through on their way to disk.
const LEAST_HOST_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use tandem_kv_cache::tier::DiskConfig;

    use super::*;

    fn check(host_bytes: u64, disk: Option<&str>, expect: Option<&Value>) {
        let config = TierConfig {
            host_bytes,
            disk: disk.map(|directory| DiskConfig {
                bytes: 5,
                directory: directory.into(),
            }),
            min_frequency: 2,
            peers: false,
        };
        assert_eq!(offloading_connector_config(&config).as_ref(), expect);
    }

    #[test]
    fn tiers_become_an_offloading_connector() {
        check(0, None, None);
        let host = json!({
            "kv_connector": "OffloadingConnector",
            "kv_role": "kv_both",
            "kv_connector_extra_config": {
                "spec_name": "TieringOffloadingSpec",
                "cpu_bytes_to_use": 10_u64 << 30,
                "eviction_policy": "lru",
                "self_describing_kv_events": true,
            },
        });
        check(10 << 30, None, Some(&host));
        let mut both = host;
        both["kv_connector_extra_config"]["secondary_tiers"] = json!([
            {"type": "fs", "root_dir": "/kv", "enable_kv_events": true, "locality": "LOCAL"},
        ]);
        check(10 << 30, Some("/kv"), Some(&both));
        both["kv_connector_extra_config"]["cpu_bytes_to_use"] = json!(1_u64 << 30);
        check(0, Some("/kv"), Some(&both));
    }
}
