//! Reading a metrics page, in Prometheus' or OpenMetrics' text form.

use super::{Increases, Mean};

/// Figures of a page, summed over their series.
pub(super) struct Page<'a> {
    text: &'a str,
    /// Only series of this model count, if there is one.
    model: Option<&'a str>,
}

impl<'a> Page<'a> {
    pub(super) const fn new(text: &'a str, model: Option<&'a str>) -> Self {
        Self { text, model }
    }

    /// The sum over all series of `name`; `None` if there is none.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        let values = self.text.lines().filter_map(|line| self.value(line, name));
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// All that the frontend counts.
    pub(super) fn counters(&self) -> Increases {
        let sum = |name: &str| self.sum(&format!("dynamo_frontend_{name}")).unwrap_or(0.0);
        let mean = |name: &str| Mean {
            sum: sum(&format!("{name}_sum")),
            count: sum(&format!("{name}_count")),
        };
        Increases {
            requests: sum("requests_total"),
            prompt_tokens: mean("input_sequence_tokens"),
            answer_tokens: mean("output_sequence_tokens"),
            first_token: mean("time_to_first_token_seconds"),
            inter_token: mean("inter_token_latency_seconds"),
            request: mean("request_duration_seconds"),
        }
    }

    fn value(&self, line: &str, name: &str) -> Option<f64> {
        let rest = line.strip_prefix(name)?;
        let (labels, rest) = match rest.strip_prefix('{') {
            // The last brace: a label may hold one, a value does not.
            Some(rest) => rest.rsplit_once('}')?,
            None => ("", rest.strip_prefix(' ')?),
        };
        if let Some(model) = self.model
            && label(labels, "model") != Some(model)
        {
            return None;
        }
        rest.split_whitespace().next()?.parse().ok()
    }
}

/// The value of a label as it is written, which is as it is unless it has quotes or backslashes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = labels;
    loop {
        let (key, after) = rest.split_once("=\"")?;
        let mut escaped = false;
        let end = after.find(|letter| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        })?;
        if key.trim_matches([',', ' ']) == name {
            return Some(&after[..end]);
        }
        rest = &after[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# TYPE dynamo_frontend_requests counter
dynamo_frontend_requests_total{model="a",endpoint="chat",odd="x\"}=\"y"} 7
dynamo_frontend_requests_total{endpoint="chat",model="b"} 2.5 1700000000.0
dynamo_frontend_requests_total_other 99
dynamo_frontend_input_sequence_tokens_sum{model="a"} 400
dynamo_frontend_input_sequence_tokens_count{model="a"} 8
plain 3
# EOF
"#;

    #[test]
    fn series_are_summed_by_model() {
        let check = |model: Option<&str>, want: f64| {
            assert_eq!(Page::new(PAGE, model).counters().requests, want);
        };
        check(None, 9.5);
        check(Some("a"), 7.0);
        check(Some("b"), 2.5);
        check(Some("c"), 0.0);
        let page = Page::new(PAGE, None);
        assert_eq!(page.sum("plain"), Some(3.0));
        assert_eq!(page.sum("absent"), None);
        assert_eq!(page.counters().prompt_tokens.value(), Some(50.0));
        assert_eq!(page.counters().first_token.value(), None);
    }
}
