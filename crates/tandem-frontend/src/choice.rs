//! One choice of an answer: from the worker's tokens to text.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tandem_protocol::ErrorKind;
use tandem_protocol::engine::{EngineOutput, FinishReason, WorkerFailure};
use tandem_tokenizer::{Detokenizer, StopMatcher, Tokenizer};

use crate::error::FrontendError;
use crate::preprocess::Prepared;

/// A worker's outputs for one sequence.
pub(crate) type Outputs = BoxStream<'static, Result<EngineOutput, FrontendError>>;

/// Turns one sequence's outputs into text.
pub(crate) struct Choice {
    outputs: Option<Outputs>,
    tokenizer: Arc<Tokenizer>,
    detokenizer: Detokenizer,
    stop: StopMatcher,
}

/// What is new in a choice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ChoiceDelta {
    /// New text; may be empty while a character or a stop string is incomplete.
    pub text: String,
    /// The new tokens.
    pub tokens: Vec<TokenInfo>,
    /// Number of new tokens.
    pub token_count: u32,
    /// Prompt tokens whose KV was reused, when the worker says so.
    pub cached_tokens: Option<u32>,
    /// Set on the last delta.
    pub finish_reason: Option<FinishReason>,
}

/// A token with its log probability; only made when the client asked for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenInfo {
    /// Its text; replacement characters where it is part of a character.
    pub text: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Alternatives, best first.
    pub top: Vec<(String, Vec<u8>, f64)>,
}

impl Choice {
    /// A choice fed by `outputs`.
    pub(crate) fn new(tokenizer: &Arc<Tokenizer>, prepared: &Prepared, outputs: Outputs) -> Self {
        Self {
            outputs: Some(outputs),
            tokenizer: Arc::clone(tokenizer),
            detokenizer: Detokenizer::new(
                Arc::clone(tokenizer),
                &prepared.engine.token_ids,
                prepared.skip_special_tokens,
            ),
            stop: StopMatcher::new(&prepared.stop, prepared.include_stop),
        }
    }

    /// The next delta; `None` after the last one.
    ///
    /// # Errors
    /// The worker failed; there is no further delta.
    pub(crate) async fn next(&mut self) -> Option<Result<ChoiceDelta, FrontendError>> {
        let output = match self.outputs.as_mut()?.next().await {
            Some(Ok(output)) => output,
            Some(Err(error)) => return Some(self.fail(error)),
            None => return Some(self.fail(FrontendError::WorkerLost)),
        };
        if let Some(FinishReason::Error(detail)) = output.finish_reason {
            return Some(self.fail(FrontendError::Worker(WorkerFailure {
                kind: ErrorKind::Upstream { retryable: false },
                message: detail,
            })));
        }
        Some(Ok(self.advance(output)))
    }

    fn fail(&mut self, error: FrontendError) -> Result<ChoiceDelta, FrontendError> {
        self.outputs = None;
        Err(error)
    }

    fn advance(&mut self, output: EngineOutput) -> ChoiceDelta {
        let mut delta = ChoiceDelta {
            cached_tokens: output.cached_tokens,
            tokens: self.token_infos(&output),
            finish_reason: output.finish_reason,
            ..ChoiceDelta::default()
        };
        let stopped_by_token = matches!(delta.finish_reason, Some(FinishReason::Eos));
        for (i, token) in output.token_ids.iter().enumerate() {
            delta.token_count += 1;
            let last = i + 1 == output.token_ids.len();
            // The end-of-sequence token is counted, but it is not text.
            if stopped_by_token && last {
                continue;
            }
            let Some(text) = self.detokenizer.push(*token) else {
                continue;
            };
            let step = self.stop.push(&text);
            delta.text.push_str(&step.text);
            if step.stopped {
                return self.stop_early(delta, i + 1);
            }
        }
        if delta.finish_reason.is_some() {
            self.finish(&mut delta);
        }
        delta
    }

    /// A stop string was complete after `tokens` tokens of this delta.
    fn stop_early(&mut self, mut delta: ChoiceDelta, tokens: usize) -> ChoiceDelta {
        delta.tokens.truncate(tokens);
        delta.finish_reason = Some(FinishReason::Stop);
        // Dropping the stream stops the worker.
        self.outputs = None;
        delta
    }

    fn finish(&mut self, delta: &mut ChoiceDelta) {
        self.outputs = None;
        if let Some(rest) = self.detokenizer.finish() {
            let step = self.stop.push(&rest);
            delta.text.push_str(&step.text);
            if step.stopped {
                delta.finish_reason = Some(FinishReason::Stop);
                return;
            }
        }
        delta.text.push_str(&self.stop.finish());
    }

    fn token_infos(&self, output: &EngineOutput) -> Vec<TokenInfo> {
        let Some(logprobs) = &output.log_probs else {
            return Vec::new();
        };
        let tops = output.top_logprobs.as_deref().unwrap_or(&[]);
        output
            .token_ids
            .iter()
            .zip(logprobs)
            .enumerate()
            .map(|(i, (token, logprob))| {
                let top = tops.get(i).map_or(&[][..], Vec::as_slice);
                TokenInfo {
                    text: self.tokenizer.token_text(*token),
                    bytes: self.tokenizer.token_bytes(*token),
                    logprob: *logprob,
                    top: top
                        .iter()
                        .map(|top| {
                            let text = self.tokenizer.token_text(top.token_id);
                            (text, self.tokenizer.token_bytes(top.token_id), top.logprob)
                        })
                        .collect(),
                }
            })
            .collect()
    }
}
