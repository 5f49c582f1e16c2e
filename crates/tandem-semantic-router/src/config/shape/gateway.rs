//! Keys for a gateway that sends requests to models itself.

use super::{Field, Shape, field};

/// Envoy's words, in which the layered layout describes servers.
pub(super) const RELIABILITY: &[Field] = &[
    field(
        "lb_policy",
        Shape::Choice(&["least_request", "round_robin", "random"]),
        "how one of several servers is chosen",
    ),
    field(
        "retry_count",
        Shape::Whole(0, 10),
        "most further attempts while no answer has begun",
    ),
    field(
        "retry_on",
        Shape::Text,
        "some of connect-failure, reset, gateway-error, 5xx and 429, separated by commas",
    ),
    field(
        "timeout",
        Shape::Time,
        "longest wait for the beginning of an answer",
    ),
    field(
        "consecutive_5xx",
        Shape::Whole(0, 1_000_000),
        "failures in a row after which a server is left alone; 0 never does",
    ),
    field(
        "base_ejection_time",
        Shape::Time,
        "how long a server is left alone the first time",
    ),
    field(
        "max_ejection_percent",
        Shape::Number(0.0, 100.0),
        "most of a model's servers that are left alone at a time",
    ),
    field(
        "health_check_path",
        Shape::Text,
        "path that is asked for to see whether a server is well",
    ),
    field(
        "health_check_interval",
        Shape::Time,
        "time between two such requests",
    ),
    field(
        "health_check_timeout",
        Shape::Time,
        "longest wait for the answer to one",
    ),
];

const LIMITS: &[Field] = &[
    field(
        "requests_per_minute",
        Shape::POSITIVE,
        "most requests in a minute",
    ),
    field(
        "tokens_per_minute",
        Shape::POSITIVE,
        "most prompt and generated tokens in a minute",
    ),
    field(
        "tokens_per_day",
        Shape::POSITIVE,
        "most prompt and generated tokens in a day",
    ),
    field(
        "concurrent_requests",
        Shape::POSITIVE,
        "most requests at a time",
    ),
];

/// `tandem.gateway`.
pub(super) const GATEWAY: Shape = Shape::Object(&[
    field(
        "clients",
        Shape::List(&Shape::Object(&[
            field("name", Shape::Text, "the user's id").required(),
            field("key", Shape::Text, "what it sends as a bearer token").required(),
            field("groups", Shape::TEXTS, "the user's groups"),
            field("limits", Shape::Object(LIMITS), "how much it may use"),
        ])),
        "who may use the gateway; everybody if there are none",
    ),
    field(
        "limits",
        Shape::Object(LIMITS),
        "limits of every client that has none of its own",
    ),
    field(
        "reliability",
        Shape::Object(RELIABILITY),
        "how failing servers are treated, unless their model says otherwise",
    ),
]);
