//! Which tools fit a question.

use std::io;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::{RouterConfig, ToolDefinition, ToolSearch, ToolSelection};
use crate::plugin::tools::{ToolEdit, choice_is_auto, of, text};
use crate::request::Prompt;
use crate::signal::{SignalEngine, Signals, cosine};

/// Why the tools of a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// The file cannot be read.
    #[error("failed to read the tools in {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not hold a list of tools.
    #[error("failed to understand the tools in {path}: {source}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// An entry of a tool database.
#[derive(Deserialize)]
struct Entry {
    tool: Box<RawValue>,
    description: Option<String>,
}

impl RouterConfig {
    /// Reads the tools of every tool database that the configuration names; `read` gives the
    /// content of a file.
    ///
    /// The format is that of the original router: a JSON list of `{"tool": {…}, "description"}`.
    ///
    /// # Errors
    /// A file cannot be read or understood; the tools of the others are there.
    pub fn load_tools(
        &mut self,
        read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<(), ToolsError> {
        let global = self.tools.iter_mut();
        let own = self.decisions.iter_mut();
        let own = own.filter_map(|decision| match &mut decision.plugins.tool_selection {
            Some(ToolSelection::Add(search)) => Some(search),
            _ => None,
        });
        let mut result = Ok(());
        for search in global.chain(own) {
            match load(search, read) {
                Ok(tools) => search.tools = tools,
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

fn load(
    search: &ToolSearch,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Vec<ToolDefinition>, ToolsError> {
    let path = || search.path.clone();
    let bytes = read(&search.path).map_err(|source| ToolsError::Read {
        path: path(),
        source,
    })?;
    let entries: Vec<Entry> =
        serde_json::from_slice(&bytes).map_err(|source| ToolsError::Invalid {
            path: path(),
            source,
        })?;
    let tools = entries.into_iter().map(|entry| ToolDefinition {
        description: entry
            .description
            .or_else(|| text(&entry.tool))
            .unwrap_or_default(),
        tool: entry.tool,
    });
    Ok(tools.collect())
}

/// What becomes of the tools of a request. A decision's own selection comes before the global one,
/// which needs `tool_choice: auto`.
pub(crate) async fn select(
    engine: &SignalEngine,
    prompt: &Prompt,
    signals: &Signals,
    own: Option<&ToolSelection>,
    global: Option<&ToolSearch>,
) -> ToolEdit {
    let auto = choice_is_auto(&prompt.body);
    let question = signals.embeddings.get(&prompt.question);
    match (own, global) {
        (Some(_), _) if auto == Some(false) => ToolEdit::Keep,
        (Some(ToolSelection::Add(search)), _) => add(engine, search, question).await,
        (Some(ToolSelection::Filter { threshold, keep }), _) => {
            keep_related(engine, prompt, question, (*threshold, *keep)).await
        }
        (None, Some(search)) if auto == Some(true) => add(engine, search, question).await,
        (None, _) => ToolEdit::Keep,
    }
}

/// The best of the database. Without a question or a database nothing is changed.
async fn add(
    engine: &SignalEngine,
    search: &ToolSearch,
    question: Option<&Arc<[f32]>>,
) -> ToolEdit {
    let Some(question) = question.filter(|_| !search.tools.is_empty()) else {
        return ToolEdit::Keep;
    };
    let Some(similarities) = engine.tool_similarities(search, question).await else {
        return ToolEdit::Keep;
    };
    let ranked = rank(&similarities);
    let fitting = ranked
        .into_iter()
        .filter(|at| similarities[*at] >= search.threshold);
    let tools = fitting
        .take(search.top_k)
        .map(|at| search.tools[at].tool.clone());
    let tools: Vec<Box<RawValue>> = tools.collect();
    if tools.is_empty() && !search.fallback_to_empty {
        return ToolEdit::Keep;
    }
    ToolEdit::Replace(tools)
}

/// The request's own tools that are about the question, in their order.
async fn keep_related(
    engine: &SignalEngine,
    prompt: &Prompt,
    question: Option<&Arc<[f32]>>,
    (threshold, keep): (f32, usize),
) -> ToolEdit {
    let tools = of(&prompt.body);
    let texts: Option<Vec<Arc<str>>> = tools.iter().map(|tool| text(tool).map(Arc::from)).collect();
    let (Some(texts), Some(question)) = (texts.filter(|texts| !texts.is_empty()), question) else {
        return ToolEdit::Keep;
    };
    let vectors: Option<Vec<Arc<[f32]>>> = engine.embed(texts).await.into_iter().collect();
    let Some(vectors) = vectors else {
        return ToolEdit::Keep;
    };
    let similarities: Vec<f32> = vectors
        .iter()
        .map(|vector| cosine(vector, question))
        .collect();
    let mut kept: Vec<usize> = rank(&similarities)
        .into_iter()
        .enumerate()
        .filter(|(rank, at)| *rank < keep || similarities[*at] >= threshold)
        .map(|(_, at)| at)
        .collect();
    if kept.len() == tools.len() {
        return ToolEdit::Keep;
    }
    kept.sort_unstable();
    ToolEdit::Replace(kept.into_iter().map(|at| tools[at].clone()).collect())
}

/// Places by similarity, the highest first, the first of equals first.
fn rank(similarities: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..similarities.len()).collect();
    places.sort_by(|left, right| similarities[*right].total_cmp(&similarities[*left]));
    places
}
