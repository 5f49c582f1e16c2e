//! Limits on what a client may ask for.

use tandem_protocol::openai::body::JsonObject;

use crate::config::RequestParams;

/// Members that say how many tokens to generate.
const TOKEN_LIMITS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// Takes out what is blocked and lowers what is too high. A member of a wrong type stays: the
/// model's server says what is wrong with it.
pub(crate) fn apply(body: &mut JsonObject, params: &RequestParams) {
    for name in &params.blocked {
        body.remove(name);
    }
    for name in TOKEN_LIMITS {
        lower(body, name, params.max_tokens);
    }
    lower(body, "n", params.max_n);
}

fn lower(body: &mut JsonObject, name: &str, most: Option<u64>) {
    let asked: Option<u64> = body.get(name).ok().flatten();
    if let (Some(asked), Some(most)) = (asked, most)
        && asked > most
    {
        body.set(name, &most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_blocked_and_lowered() {
        let params = RequestParams {
            blocked: vec!["logprobs".into()],
            max_tokens: Some(100),
            max_n: Some(2),
        };
        let check = |before: &str, after: &str| {
            let mut body = JsonObject::parse(before.as_bytes()).unwrap();
            apply(&mut body, &params);
            assert_eq!(String::from_utf8(body.to_bytes()).unwrap(), after);
        };
        check(
            r#"{"logprobs":true,"n":3,"max_tokens":500,"seed":1.0}"#,
            r#"{"n":2,"max_tokens":100,"seed":1.0}"#,
        );
        check(
            r#"{"max_completion_tokens":101}"#,
            r#"{"max_completion_tokens":100}"#,
        );
        check(r#"{"max_tokens":7,"n":1}"#, r#"{"max_tokens":7,"n":1}"#);
        check(r#"{"max_tokens":"many"}"#, r#"{"max_tokens":"many"}"#);
    }
}
