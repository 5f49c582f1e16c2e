//! What a method and a path mean.

use http::Method;
use tandem_semantic_router::Endpoint;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Decided by the router, answered by the upstream.
    Routed(Endpoint),
    /// The list of models.
    Models,
    /// One model by name.
    Model(&'a str),
    /// Whether requests can be served.
    Health,
    /// Whether the process runs.
    Live,
    /// Prometheus metrics.
    Metrics,
}

/// Why a request is for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No such path.
    Path,
    /// The path exists; these methods are allowed.
    Method(&'static str),
}

/// Looks a request up.
pub(crate) fn resolve<'a>(method: &Method, path: &'a str) -> Result<Target<'a>, Miss> {
    let target = match path {
        "/v1/chat/completions" => Target::Routed(Endpoint::Chat),
        "/v1/completions" => Target::Routed(Endpoint::Completion),
        "/v1/models" => Target::Models,
        "/health" => Target::Health,
        "/live" => Target::Live,
        "/metrics" => Target::Metrics,
        path => match path.strip_prefix("/v1/models/") {
            Some(name) if !name.is_empty() => Target::Model(name),
            _ => return Err(Miss::Path),
        },
    };
    let (allowed, list): (&[Method], _) = match target {
        Target::Routed(_) => (&[Method::POST], "POST"),
        _ => (&[Method::GET, Method::HEAD], "GET, HEAD"),
    };
    if allowed.contains(method) {
        Ok(target)
    } else {
        Err(Miss::Method(list))
    }
}

/// Looks a request up that Envoy shows: paths outside of the API are none of our business.
pub(crate) fn resolve_api<'a>(method: &Method, path: &'a str) -> Option<Result<Target<'a>, Miss>> {
    let path = path.split('?').next().unwrap_or(path);
    let api = path == "/v1" || path.starts_with("/v1/");
    api.then(|| resolve(method, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods() {
        let check = |method: Method, path, want| {
            assert_eq!(resolve(&method, path), want, "{method} {path}");
        };
        check(
            Method::POST,
            "/v1/chat/completions",
            Ok(Target::Routed(Endpoint::Chat)),
        );
        check(
            Method::POST,
            "/v1/completions",
            Ok(Target::Routed(Endpoint::Completion)),
        );
        check(
            Method::GET,
            "/v1/chat/completions",
            Err(Miss::Method("POST")),
        );
        check(Method::POST, "/v1/models", Err(Miss::Method("GET, HEAD")));
        check(Method::HEAD, "/health", Ok(Target::Health));
        check(
            Method::GET,
            "/v1/models/org/name",
            Ok(Target::Model("org/name")),
        );
        check(Method::GET, "/v1/models/", Err(Miss::Path));
        check(Method::POST, "/v1/embeddings", Err(Miss::Path));
        check(Method::POST, "/v1/chat/completions/", Err(Miss::Path));
        check(Method::GET, "/", Err(Miss::Path));
    }
}
