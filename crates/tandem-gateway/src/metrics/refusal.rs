//! Requests and answers that policies refuse.

use tandem_semantic_router::{AnswerFindings, Block, Explanation};

use super::{GatewayMetrics, PiiLabels};

impl GatewayMetrics {
    /// Counts a request that was answered without a model.
    pub(super) fn blocked(&self, block: &Block, explanation: &Explanation, requested: String) {
        self.refused(block, explanation.decision.as_deref(), requested);
    }

    /// Counts what was found in an answer of `model`.
    pub(crate) fn scanned(&self, model: &str, decision: Option<&str>, findings: &AnswerFindings) {
        match &findings.blocked {
            Some(block) => self.refused(block, decision, model.to_owned()),
            None => self.personal_data(&findings.redacted, decision),
        }
    }

    fn refused(&self, block: &Block, decision: Option<&str>, model: String) {
        match block {
            Block::Pii { types } => {
                self.personal_data(types, decision);
                self.failed(model, "pii_policy_denied");
            }
            Block::Jailbreak { .. } => self.failed(model, "jailbreak_block"),
            Block::FastResponse => {}
        }
    }

    fn personal_data(&self, types: &[String], decision: Option<&str>) {
        for pii_type in types {
            let labels = PiiLabels {
                model: decision.unwrap_or_default().to_owned(),
                pii_type: pii_type.clone(),
            };
            self.pii_violations.get_or_create(&labels).inc();
        }
    }
}
