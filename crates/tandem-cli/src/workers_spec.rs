//! `--workers prefill=1,decode=2` or `--workers both=2`.

use std::fmt;
use std::str::FromStr;

/// How many workers of each kind to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkersSpec {
    /// Workers that only compute prompts.
    pub prefill: usize,
    /// Workers that take over from a prefill worker; they can compute prompts themselves.
    pub decode: usize,
}

/// More would not be a mistake in principle, but in one process it always is.
const MAX_WORKERS: usize = 64;

impl FromStr for WorkersSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut spec = Self {
            prefill: 0,
            decode: 0,
        };
        let mut seen = Vec::new();
        for part in text.split(',') {
            let (kind, count) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is not KIND=COUNT"))?;
            let count: usize = count
                .trim()
                .parse()
                .map_err(|_| format!("`{count}` is not a number of workers"))?;
            let kind = kind.trim();
            if seen.contains(&kind) {
                return Err(format!("`{kind}` is given twice"));
            }
            seen.push(kind);
            match kind {
                "prefill" => spec.prefill = count,
                "decode" | "both" => spec.decode += count,
                other => {
                    return Err(format!(
                        "unknown kind `{other}`; use prefill, decode or both"
                    ));
                }
            }
        }
        if seen.contains(&"both") && spec.prefill > 0 {
            return Err(
                "workers of kind both compute prompts themselves; use prefill with decode"
                    .to_owned(),
            );
        }
        if spec.decode == 0 {
            return Err("at least one decode (or both) worker is needed".to_owned());
        }
        if spec.prefill + spec.decode > MAX_WORKERS {
            return Err(format!(
                "at most {MAX_WORKERS} workers fit into one process"
            ));
        }
        Ok(spec)
    }
}

impl fmt::Display for WorkersSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefill {
            0 => write!(formatter, "both={}", self.decode),
            prefill => write!(formatter, "prefill={prefill},decode={}", self.decode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_kind() {
        let check = |text: &str, prefill, decode| {
            assert_eq!(text.parse(), Ok(WorkersSpec { prefill, decode }), "{text}");
        };
        check("prefill=1,decode=2", 1, 2);
        check("decode=2, prefill=1", 1, 2);
        check("both=2", 0, 2);
        check("decode=1", 0, 1);
    }

    #[test]
    fn nonsense_is_explained() {
        let check = |text: &str, part: &str| {
            let error = text.parse::<WorkersSpec>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "KIND=COUNT");
        check("decode", "KIND=COUNT");
        check("decode=x", "not a number");
        check("decode=1,decode=2", "twice");
        check("wizard=1", "unknown kind");
        check("prefill=1", "at least one decode");
        check("both=1,prefill=1", "use prefill with decode");
        check("both=65", "at most");
    }
}
