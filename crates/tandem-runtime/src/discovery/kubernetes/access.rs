//! What the API server says when it does not do what was asked, and what helps.

use std::error::Error as _;

use kube::core::Status;

use crate::discovery::DiscoveryError;

/// Rules of the Role that the service account of a process needs.
const RULES: &str = "rules: [{apiGroups: [nvidia.com], resources: [dynamoworkermetadatas], \
    verbs: [create, delete, list, patch, watch]}, {apiGroups: [discovery.k8s.io], \
    resources: [endpointslices], verbs: [list, watch]}]";
/// Name of the definition that must be installed.
const DEFINITION: &str = "dynamoworkermetadatas.nvidia.com";

/// The error of an attempt to `act`.
pub(super) fn explain(act: &str, error: &kube::Error) -> DiscoveryError {
    if let kube::Error::Api(status) = error {
        return refused(act, status);
    }
    let mut message = format!("failed to {act}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !message.ends_with(&cause_text) {
            message = format!("{message}: {cause_text}");
        }
        source = cause.source();
    }
    match error {
        kube::Error::Auth(_) => DiscoveryError::Denied(message),
        _ => DiscoveryError::Unavailable(message),
    }
}

fn refused(act: &str, status: &Status) -> DiscoveryError {
    let message = match status.message.trim() {
        "" => status.reason.as_str(),
        message => message,
    };
    match status.code {
        401 => DiscoveryError::Denied(format!(
            "failed to {act}: the Kubernetes API does not know this process: {message}; look at \
             the service account of the pod, or at --kubeconfig"
        )),
        403 => DiscoveryError::Denied(format!(
            "failed to {act}: {message}; bind the service account of the pod to a Role with {RULES}"
        )),
        404 => DiscoveryError::Unavailable(format!(
            "failed to {act}: {message}; is the CustomResourceDefinition {DEFINITION} installed, \
             and does the namespace exist?"
        )),
        400 | 422 => DiscoveryError::Address(format!("failed to {act}: {message}")),
        code => DiscoveryError::Unavailable(format!("failed to {act}: {message} (status {code})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u16, expected: fn(String) -> DiscoveryError, words: &str) {
        let status = Status::failure("it says so", "Reason").with_code(code);
        let explained = explain("list x", &kube::Error::Api(status.boxed()));
        let text = explained.to_string();
        assert!(
            text.contains("failed to list x") && text.contains("it says so"),
            "{text}"
        );
        assert!(text.contains(words), "{text}");
        let inner = match &explained {
            DiscoveryError::Denied(inner)
            | DiscoveryError::Address(inner)
            | DiscoveryError::Unavailable(inner) => inner.clone(),
            other => other.to_string(),
        };
        assert_eq!(explained, expected(inner), "{code}");
    }

    #[test]
    fn a_refusal_says_what_helps_and_whether_to_try_again() {
        check(401, DiscoveryError::Denied, "service account");
        check(
            403,
            DiscoveryError::Denied,
            "verbs: [create, delete, list, patch, watch]",
        );
        check(404, DiscoveryError::Unavailable, "CustomResourceDefinition");
        check(422, DiscoveryError::Address, "");
        check(500, DiscoveryError::Unavailable, "status 500");
    }
}
