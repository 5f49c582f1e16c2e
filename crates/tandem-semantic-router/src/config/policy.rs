//! What is refused.

use super::Override;

/// Personal data that nobody sends by accident: refused by the built-in policy.
pub const SECRET_PII: [&str; 4] = ["US_SSN", "CREDIT_CARD", "IBAN_CODE", "US_DRIVER_LICENSE"];

/// Policies that apply to every request unless its decision has its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SecurityPolicy {
    /// Jailbreak check.
    pub jailbreak: Override<JailbreakPolicy>,
    /// Personal data check.
    pub pii: Override<PiiPolicy>,
    /// Jailbreak check of answers.
    pub response_jailbreak: Override<ResponseJailbreakPolicy>,
}

/// When a prompt counts as a jailbreak.
#[derive(Debug, Clone, PartialEq)]
pub struct JailbreakPolicy {
    /// Least probability.
    pub threshold: f32,
    /// What an unavailable classifier means.
    pub on_error: OnError,
}

/// When an answer counts as the work of a jailbreak, and what happens to it.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseJailbreakPolicy {
    /// When it does.
    pub check: JailbreakPolicy,
    /// What happens to it.
    pub action: ResponseAction,
}

/// What happens to an answer that counts as the work of a jailbreak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseAction {
    /// It is withheld.
    Block,
    /// A response header says so, where the answer is not a stream.
    Header,
    /// It is logged and passes.
    Log,
}

/// Which personal data is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct PiiPolicy {
    /// The types.
    pub types: PiiTypes,
    /// Least probability.
    pub threshold: f32,
    /// What happens to a request that holds them.
    pub action: PiiAction,
    /// What an unavailable classifier means.
    pub on_error: OnError,
    /// Whether answers are looked at, too.
    pub scan_response: bool,
}

/// What happens to a request that holds denied personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PiiAction {
    /// It is refused.
    Block,
    /// The data is replaced by its type and the request goes on.
    Redact,
}

/// A set of personal data types, without BIO prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PiiTypes {
    /// Every type but these is refused.
    AllBut(Vec<String>),
    /// Only these are refused.
    Only(Vec<String>),
}

/// What an unavailable signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// As if nothing was found.
    Allow,
    /// As if it was found with certainty.
    Block,
}

impl SecurityPolicy {
    /// Adds the built-in policies where nothing is said: jailbreaks and secrets are refused, a
    /// broken classifier stops nobody.
    pub(super) fn complete(&mut self) {
        self.jailbreak.or_insert(JailbreakPolicy::default());
        self.pii.or_insert(PiiPolicy::default());
    }
}

impl JailbreakPolicy {
    /// Threshold when none is configured.
    pub const DEFAULT_THRESHOLD: f32 = 0.7;
}

impl Default for JailbreakPolicy {
    fn default() -> Self {
        Self {
            threshold: Self::DEFAULT_THRESHOLD,
            on_error: OnError::Allow,
        }
    }
}

impl Default for ResponseJailbreakPolicy {
    /// Clients are told, and get the answer all the same.
    fn default() -> Self {
        Self {
            check: JailbreakPolicy::default(),
            action: ResponseAction::Header,
        }
    }
}

impl PiiPolicy {
    /// Threshold when none is configured.
    pub const DEFAULT_THRESHOLD: f32 = 0.7;
}

impl Default for PiiPolicy {
    /// Secrets are refused.
    fn default() -> Self {
        Self {
            types: PiiTypes::Only(SECRET_PII.map(str::to_owned).to_vec()),
            threshold: Self::DEFAULT_THRESHOLD,
            action: PiiAction::Block,
            on_error: OnError::Allow,
            scan_response: false,
        }
    }
}

impl PiiTypes {
    /// Whether `kind` (without BIO prefix) is refused.
    pub fn denies(&self, kind: &str) -> bool {
        match self {
            Self::AllBut(allowed) => !allowed.iter().any(|name| name == kind),
            Self::Only(denied) => denied.iter().any(|name| name == kind),
        }
    }
}
