//! Which workers have too many KV blocks in use to be sent more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use parking_lot::Mutex;
use tandem_protocol::load::LoadReport;
use tandem_runtime::{Lifecycle, Messaging};
use tracing::{debug, warn};

/// How long a report counts: a worker repeats what has not changed.
const REPORT_LIFETIME: Duration = Duration::from_secs(30);

/// Follows the load reports of a namespace.
#[derive(Debug)]
pub(crate) struct BusyMonitor {
    threshold: f64,
    /// By worker and rank.
    reports: Mutex<HashMap<u64, HashMap<u32, Report>>>,
}

#[derive(Debug, Clone, Copy)]
struct Report {
    busy: bool,
    at: Instant,
}

impl BusyMonitor {
    /// Workers with more than `threshold` of their KV blocks in use, 0 to 1, are busy.
    pub(crate) fn new(threshold: f64) -> Self {
        Self {
            threshold,
            reports: Mutex::new(HashMap::new()),
        }
    }

    /// Follows the reports until `lifecycle` stops.
    pub(crate) fn start(
        self: Arc<Self>,
        messaging: Arc<dyn Messaging>,
        namespace: &str,
        lifecycle: &Lifecycle,
    ) {
        let subject = format!("namespace.{namespace}.kv_metrics");
        lifecycle.spawn(async move {
            let mut reports = match messaging.subscribe(&subject).await {
                Ok(reports) => reports,
                Err(error) => {
                    warn!(%subject, %error, "routing without the workers' load reports");
                    return;
                }
            };
            while let Some(report) = reports.next().await {
                match serde_json::from_slice(&report) {
                    Ok(report) => self.receive(&report, Instant::now()),
                    Err(error) => debug!(%error, "skipped a load report that does not decode"),
                }
            }
        });
    }

    /// Whether every rank of the worker is busy.
    pub(crate) fn is_busy(&self, worker_id: u64, now: Instant) -> bool {
        let reports = self.reports.lock();
        let Some(ranks) = reports.get(&worker_id) else {
            return false;
        };
        ranks
            .values()
            .all(|report| report.busy && now - report.at < REPORT_LIFETIME)
    }

    fn receive(&self, report: &LoadReport, now: Instant) {
        let LoadReport { worker_id, data } = report;
        let kv = &data.kv_stats;
        let limit = self.threshold * kv.kv_total_blocks as f64;
        let rank = data.worker_stats.data_parallel_rank.unwrap_or(0);
        let report = Report {
            busy: kv.kv_active_blocks as f64 > limit,
            at: now,
        };
        let mut reports = self.reports.lock();
        reports.entry(*worker_id).or_default().insert(rank, report);
        // Workers come and go.
        reports.retain(|_, ranks| {
            ranks.retain(|_, report| now - report.at < REPORT_LIFETIME);
            !ranks.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_protocol::load::{KvStats, LoadFigures, WorkerStats};

    fn report(worker_id: u64, rank: u32, active: u64) -> LoadReport {
        LoadReport {
            worker_id,
            data: LoadFigures {
                worker_stats: WorkerStats {
                    data_parallel_rank: Some(rank),
                    request_active_slots: 1,
                    request_total_slots: 8,
                    num_requests_waiting: 0,
                },
                kv_stats: KvStats {
                    kv_active_blocks: active,
                    kv_total_blocks: 100,
                    gpu_cache_usage_perc: 0.0,
                    gpu_prefix_cache_hit_rate: 0.0,
                },
                spec_decode_stats: None,
            },
        }
    }

    #[test]
    fn a_worker_is_busy_when_all_its_ranks_are() {
        let monitor = BusyMonitor::new(0.8);
        let now = Instant::now();
        assert!(!monitor.is_busy(1, now), "nothing is known");
        monitor.receive(&report(1, 0, 81), now);
        assert!(monitor.is_busy(1, now));
        monitor.receive(&report(1, 1, 80), now);
        assert!(!monitor.is_busy(1, now), "rank 1 has room");
        monitor.receive(&report(1, 1, 90), now);
        assert!(monitor.is_busy(1, now));
        assert!(!monitor.is_busy(2, now));
        assert!(!monitor.is_busy(1, now + REPORT_LIFETIME), "too long ago");
    }
}
