//! Reads the figures that an engine shows at `/metrics`, in Prometheus' text format.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

/// The samples of a scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples(Vec<Sample>);

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Samples {
    /// Reads `text`; lines that are no samples are left out.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    /// The sum of the samples of `name` that have `labels`; `None` if there is none.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(name, value)| sample.label(name) == Some(value))
        };
        let values = self.0.iter().filter(has).map(|sample| sample.value);
        values.reduce(|sum, value| sum + value)
    }

    /// The value of a label of the first sample of `name`.
    pub(super) fn label(&self, name: &str, label: &str) -> Option<&str> {
        let sample = self.0.iter().find(|sample| sample.name == name)?;
        sample.label(label)
    }
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map(|(_, value)| &**value)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let line = line.trim_start();
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().ok()?,
    })
}

/// Labels up to the closing brace, and what comes after it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// A text up to its closing quote, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Some lines of what vLLM 0.32 showed.
    const VLLM: &str = r#"# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 3.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_compute"} 201.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_cache_hit"} 512.0
vllm:prompt_tokens_created{engine="0",model_name="m"} 1.795204399433808e+09
vllm:cache_config_info{block_size="32",num_gpu_blocks="16384",note="a \"b\", {c}\\"} 1.0
python_gc_objects 7
"#;

    #[test]
    fn samples_are_summed_and_picked() {
        let samples = Samples::parse(VLLM);
        let running = |labels: &[(&str, &str)]| samples.sum("vllm:num_requests_running", labels);
        assert_eq!(running(&[]), Some(5.0));
        assert_eq!(running(&[("engine", "1")]), Some(3.0));
        assert_eq!(running(&[("engine", "2")]), None);
        let computed = [("source", "local_compute"), ("engine", "0")];
        let name = "vllm:prompt_tokens_by_source_total";
        assert_eq!(samples.sum(name, &computed), Some(201.0));
        assert_eq!(samples.sum("python_gc_objects", &[]), Some(7.0));
        let info = |label| samples.label("vllm:cache_config_info", label);
        assert_eq!(info("num_gpu_blocks"), Some("16384"));
        assert_eq!(info("note"), Some("a \"b\", {c}\\"));
        assert_eq!(info("absent"), None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[a-z:_{}=\",\\\\ 0-9.\n#é]{0,80}") {
            drop(Samples::parse(&text));
        }
    }
}
