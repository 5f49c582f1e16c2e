//! Taking over a configuration file that has changed.
//!
//! The file's text is compared, not its times: that also sees a Kubernetes `ConfigMap`, whose
//! files are links that move, and works on file systems without notifications.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tandem_classifier::Classifier;
use tandem_semantic_router::{Router, RouterConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::commands::{parse_config, router};

/// Time between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(500);
/// Time that the file must stay the same before it is read: editors write in steps.
const SETTLE: Duration = Duration::from_millis(250);

/// A configuration file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
}

/// Reads the file.
pub(super) async fn read(path: &Path) -> Result<ConfigFile> {
    let text = tokio::fs::read_to_string(path).await.with_context(|| {
        format!(
            "failed to read the router config {}; name another file with --config",
            path.display()
        )
    })?;
    Ok(ConfigFile {
        path: path.to_owned(),
        text,
    })
}

impl ConfigFile {
    /// What the file says; what has no effect is logged.
    pub(super) fn config(&self) -> Result<RouterConfig> {
        let loaded = parse_config(&self.text, &self.path)?;
        for warning in &loaded.warnings {
            warn!(config = %self.path.display(), "{warning}");
        }
        Ok(loaded.config.with_default_security())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, Default)]
struct ReloadMetrics {
    reloads: Family<ResultLabel, Counter>,
    good: Gauge,
    loaded_at: Gauge,
}

/// Watches a file and swaps the router. Requests in flight keep the one that they began with.
pub(super) struct Reloader {
    current: ConfigFile,
    router: Arc<ArcSwap<Router>>,
    classifier: Arc<dyn Classifier>,
    metrics: ReloadMetrics,
}

impl Reloader {
    /// A watch over the file that `router` was made of.
    pub(super) fn new(
        current: ConfigFile,
        router: Arc<ArcSwap<Router>>,
        classifier: Arc<dyn Classifier>,
        registry: &mut Registry,
    ) -> Self {
        let metrics = ReloadMetrics::default();
        registry.register(
            "tandem_router_config_reloads",
            "Changes of the configuration file, by result",
            metrics.reloads.clone(),
        );
        registry.register(
            "tandem_router_config_last_reload_successful",
            "Whether the configuration file, as it is now, is the one in use",
            metrics.good.clone(),
        );
        registry.register(
            "tandem_router_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was loaded",
            metrics.loaded_at.clone(),
        );
        metrics.good.set(1);
        metrics.loaded_at.set(unix_seconds());
        Self {
            current,
            router,
            classifier,
            metrics,
        }
    }

    /// Runs until it is dropped. SIGHUP has the file read at once, even if it is the same.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(signal) => Some(signal),
            Err(error) => {
                warn!(%error, "failed to listen for SIGHUP");
                None
            }
        };
        // What failed is not tried again until the file changes once more.
        let mut failed = None;
        loop {
            let forced = tokio::select! {
                _ = ticks.tick() => false,
                () = next(&mut hangups) => true,
            };
            let found = settled(&self.current.path).await;
            let seen = failed.as_ref() == Some(&found) || found.as_ref() == Ok(&self.current);
            if forced || !seen {
                failed = self.take(found).await;
            } else if failed.is_some() && found.as_ref() == Ok(&self.current) {
                // The mistake was taken back.
                self.metrics.good.set(1);
                failed = None;
            }
        }
    }

    /// Takes what was found, or says why not and returns it.
    async fn take(
        &mut self,
        found: Result<ConfigFile, String>,
    ) -> Option<Result<ConfigFile, String>> {
        let config = match &found {
            Ok(file) => file.config().map_err(|error| format!("{error:#}")),
            Err(reason) => Err(reason.clone()),
        };
        let path = self.current.path.display();
        let (result, failed) = match (config, found) {
            (Ok(config), Ok(file)) => {
                let old = self.router.load_full();
                let (statistics, cache) = (Arc::clone(old.statistics()), Arc::clone(old.cache()));
                let router = router(config, Arc::clone(&self.classifier), statistics, cache);
                router.warm_up().await;
                self.router.store(Arc::new(router));
                info!(event = "config_reloaded", file = %path, "config_reloaded");
                self.current = file;
                self.metrics.loaded_at.set(unix_seconds());
                ("success", None)
            }
            (config, found) => {
                let reason = config.err().unwrap_or_default();
                error!(
                    event = "config_reload_failed",
                    file = %path,
                    error = reason,
                    "config_reload_failed: the last good configuration stays in use"
                );
                ("failure", Some(found))
            }
        };
        self.metrics.good.set(i64::from(failed.is_none()));
        let label = ResultLabel { result };
        self.metrics.reloads.get_or_create(&label).inc();
        failed
    }
}

/// The file once it stays the same.
async fn settled(path: &Path) -> Result<ConfigFile, String> {
    let look = async || read(path).await.map_err(|error| format!("{error:#}"));
    let mut last = look().await;
    loop {
        tokio::time::sleep(SETTLE).await;
        let now = look().await;
        if now == last {
            return now;
        }
        last = now;
    }
}

async fn next(hangups: &mut Option<Signal>) {
    match hangups {
        Some(hangups) => drop(hangups.recv().await),
        None => std::future::pending().await,
    }
}

fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.ok()
        .and_then(|now| i64::try_from(now.as_secs()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
