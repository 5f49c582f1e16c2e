//! A prefill worker that computes a prompt while the decode worker waits for its blocks: both are
//! started at once, and their engines meet.

use futures::StreamExt;
use rand::RngExt;
use tandem_protocol::engine::{BootstrapInfo, compact};
use tandem_runtime::request_plane::Responses;
use tandem_tokenizer::model_card::DisaggregatedEndpoint;
use tracing::debug;

use crate::worker_pool::Chosen;

/// A prefill worker at work. Dropping it stops the worker.
pub(crate) struct JoinedPrefill {
    /// Where its engine and the decode worker's meet.
    pub info: BootstrapInfo,
    responses: Responses,
    chosen: Chosen,
}

/// How far a prefill worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has more to say.
    Going,
    /// The prompt is computed.
    Done,
    /// The prompt will not be computed.
    Failed,
}

/// A meeting of two engines at `endpoint` that no other two have: SGLang tells them apart by a
/// number of 63 bits.
pub(crate) fn meeting(endpoint: &DisaggregatedEndpoint) -> BootstrapInfo {
    BootstrapInfo {
        bootstrap_host: endpoint.bootstrap_host.clone(),
        bootstrap_port: endpoint.bootstrap_port,
        bootstrap_room: rand::rng().random::<u64>() >> 1,
    }
}

impl JoinedPrefill {
    /// The worker `chosen`, which answers with `responses`.
    pub(crate) const fn new(info: BootstrapInfo, responses: Responses, chosen: Chosen) -> Self {
        Self {
            info,
            responses,
            chosen,
        }
    }

    /// Waits until the worker says something. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Progress {
        let worker = self.chosen.instance.instance_id;
        let bytes = match self.responses.next().await {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => {
                debug!(worker, %error, "lost a prefill worker");
                return Progress::Failed;
            }
            None => return Progress::Failed,
        };
        let Ok(answer) = compact::decode(&bytes) else {
            return Progress::Failed;
        };
        if let Some(failure) = answer.failure() {
            debug!(worker, failure.message, "a prefill worker has failed");
            return Progress::Failed;
        }
        match answer.data.unwrap_or_default().finish_reason {
            None => Progress::Going,
            Some(_) => {
                self.chosen.prefill_completed();
                Progress::Done
            }
        }
    }
}
