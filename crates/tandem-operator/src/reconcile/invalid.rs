//! What is wrong with a resource, for the one who wrote it.

use std::fmt;

/// A resource that nothing can be made of: what is wrong with it, all at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    path: String,
    reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                formatter.write_str("; ")?;
            }
            write!(formatter, "{}: {}", problem.path, problem.reason)?;
        }
        Ok(())
    }
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, path: &str, reason: &str) {
        self.0.push(Problem {
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }

    pub(super) fn into_result(self) -> Result<(), Invalid> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Invalid { problems: self.0 })
        }
    }
}
