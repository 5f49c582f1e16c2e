//! The planner's flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::Settings;
use super::decide::{Limits, LoadTarget, Pace, Policy, SlaTarget, Target};
use super::observe::{Frontends, ObserveError, Prometheus, Source};
use super::predict::{Method, Predictor};
use super::profile::{Profile, ProfileError};
use super::role::{PerRole, Role};

/// How the planner decides and whom it asks.
#[derive(Debug, Clone, clap::Args)]
pub struct PlannerArgs {
    /// What the number of workers follows
    #[arg(long, value_enum, default_value_t = OptimizationTarget::Sla)]
    optimization_target: OptimizationTarget,

    /// Which workers are planned: prefill and decode workers, or workers that do both
    #[arg(long, value_enum, default_value_t = Mode::Disagg)]
    mode: Mode,

    /// Prometheus server to ask
    #[arg(
        long,
        value_name = "URL",
        env = "PROMETHEUS_ENDPOINT",
        required_unless_present = "frontend_url"
    )]
    prometheus_endpoint: Option<String>,

    /// Frontends to ask instead of Prometheus, separated by commas
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    frontend_url: Vec<String>,

    /// Model whose traffic counts [default: all]
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,

    /// Seconds from one decision to the next [default: 180, for load 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    adjustment_interval: Option<u64>,

    /// Decide, and say why, but change nothing
    #[arg(long)]
    pub no_operation: bool,

    /// GPUs that all workers together may have
    #[arg(long, value_name = "N", default_value_t = 8)]
    max_gpu_budget: u32,

    /// Fewest workers of each role
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_endpoint: u32,

    /// GPUs of a prefill worker
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    prefill_engine_num_gpu: u32,

    /// GPUs of a decode worker
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    decode_engine_num_gpu: u32,

    /// Most workers of a role to add or remove at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    max_scaling_replicas: u32,

    /// Seconds after a change of a role before the next one
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    cooldown: u64,

    /// Seconds that fewer workers have to be enough before some are given up
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    scale_down_stabilization: u64,

    /// What one worker can do, in JSON, for the SLA target
    #[arg(
        long,
        value_name = "FILE",
        required_if_eq("optimization_target", "sla")
    )]
    profile: Option<PathBuf>,

    /// Time to the first token that clients are to get, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500.0)]
    ttft: f64,

    /// Time between tokens that clients are to get, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50.0)]
    itl: f64,

    /// How the traffic of the next interval is predicted
    #[arg(long, value_enum, default_value_t = Method::Trend)]
    load_predictor: Method,

    /// Intervals that the prediction looks back
    #[arg(long, value_name = "N", default_value_t = 50)]
    load_prediction_window_size: usize,

    /// Intervals after which the traffic repeats, for the seasonal predictor
    #[arg(long, value_name = "N", default_value_t = 480)]
    load_prediction_period: usize,

    /// Believe the profile, whatever times are measured
    #[arg(long)]
    no_correction: bool,

    /// Waiting requests per prefill worker over which there are too few
    #[arg(long, value_name = "N", default_value_t = LoadTarget::default().queue.up)]
    prefill_queue_scale_up_threshold: f64,

    /// Waiting requests per prefill worker under which there are too many
    #[arg(long, value_name = "N", default_value_t = LoadTarget::default().queue.down)]
    prefill_queue_scale_down_threshold: f64,

    /// Share of the decode workers' KV blocks in use over which there are too few
    #[arg(long, value_name = "SHARE", default_value_t = LoadTarget::default().kv_usage.up)]
    decode_kv_scale_up_threshold: f64,

    /// Share of the decode workers' KV blocks in use under which there are too many
    #[arg(long, value_name = "SHARE", default_value_t = LoadTarget::default().kv_usage.down)]
    decode_kv_scale_down_threshold: f64,
}

/// What the number of workers follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptimizationTarget {
    /// The traffic, within the times that clients are to get
    Sla,
    /// The workers' load, within thresholds
    Load,
}

/// Which workers are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Prefill and decode workers
    Disagg,
    /// Workers that do both, planned as decode workers
    Agg,
}

/// Who starts and stops workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// An operator in Kubernetes
    Kubernetes,
    /// Whoever watches the planner's keys in discovery
    Virtual,
}

/// Why the flags are of no use.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// The profile cannot be read.
    #[error("failed to read the profile {path}")]
    Read {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The profile makes no sense.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// An address makes no sense.
    #[error(transparent)]
    Source(#[from] ObserveError),
    /// A threshold or a time makes no sense.
    #[error("{0}")]
    Value(&'static str),
}

impl PlannerArgs {
    /// Which roles are planned.
    pub fn planned(&self) -> PerRole<bool> {
        PerRole {
            prefill: self.mode == Mode::Disagg,
            decode: true,
        }
    }

    /// Who is asked.
    ///
    /// # Errors
    /// An address is not one of plain HTTP.
    pub fn source(&self) -> Result<Source, ArgsError> {
        let model = self.model_name.clone();
        Ok(match &self.prometheus_endpoint {
            Some(url) if self.frontend_url.is_empty() => {
                Source::Prometheus(Prometheus::new(url, model)?)
            }
            _ => Source::Frontends(Frontends::new(&self.frontend_url, model)?),
        })
    }

    /// How the planner works. Reads the profile.
    ///
    /// # Errors
    /// The profile is of no use, or a figure makes no sense.
    pub fn settings(&self) -> Result<Settings, ArgsError> {
        let (target, interval) = match self.optimization_target {
            OptimizationTarget::Load => (Target::Load(self.load_target()?), 10),
            OptimizationTarget::Sla => (Target::Sla(Box::new(self.sla_target()?)), 180),
        };
        let limits = |role: Role| {
            self.planned().get(role).then_some(Limits {
                min: self.min_endpoint,
                max: u32::MAX,
                gpus: match role {
                    Role::Prefill => self.prefill_engine_num_gpu,
                    Role::Decode => self.decode_engine_num_gpu,
                },
            })
        };
        let policy = Policy {
            target,
            limits: PerRole::of(limits),
            gpu_budget: Some(self.max_gpu_budget),
            pace: Pace {
                max_step: self.max_scaling_replicas,
                cooldown: Duration::from_secs(self.cooldown),
                stabilization: Duration::from_secs(self.scale_down_stabilization),
            },
        };
        Ok(Settings {
            policy,
            interval: Duration::from_secs(self.adjustment_interval.unwrap_or(interval)),
            dry_run: self.no_operation,
        })
    }

    fn load_target(&self) -> Result<LoadTarget, ArgsError> {
        let mut target = LoadTarget::default();
        target.queue.up = self.prefill_queue_scale_up_threshold;
        target.queue.down = self.prefill_queue_scale_down_threshold;
        target.kv_usage.up = self.decode_kv_scale_up_threshold;
        target.kv_usage.down = self.decode_kv_scale_down_threshold;
        for thresholds in [target.queue, target.kv_usage] {
            if !(thresholds.down >= 0.0 && thresholds.up > thresholds.down) {
                let reason = "a scale-up threshold must be over its scale-down threshold";
                return Err(ArgsError::Value(reason));
            }
        }
        Ok(target)
    }

    fn sla_target(&self) -> Result<SlaTarget, ArgsError> {
        if !(self.ttft > 0.0 && self.itl > 0.0) {
            return Err(ArgsError::Value("--ttft and --itl must be positive"));
        }
        let Some(path) = self.profile.clone() else {
            let reason = "--optimization-target sla needs --profile; load does without";
            return Err(ArgsError::Value(reason));
        };
        let json = std::fs::read(&path).map_err(|source| ArgsError::Read { path, source })?;
        Ok(SlaTarget {
            first_token: self.ttft * 1e-3,
            inter_token: self.itl * 1e-3,
            predictor: Predictor {
                method: self.load_predictor,
                window: self.load_prediction_window_size,
                period: self.load_prediction_period,
            },
            correct: !self.no_correction,
            profile: Profile::parse(&json)?,
        })
    }
}
