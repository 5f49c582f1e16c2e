//! Answers of a given form: what may come next after what was said so far.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tandem_protocol::engine::FinishReason;
use tandem_tokenizer::Tokenizer;
use xxhash_rust::xxh3::xxh3_128;

use super::limits::Limits;
use crate::engine::EngineError;

/// Compiled grammars that are kept.
const KEPT: usize = 32;

/// Compiles what requests say about the form of their answers.
///
/// All of it takes time: see that no other request waits for it.
pub(super) struct Grammars {
    directory: PathBuf,
    /// The tokenizer's vocabulary, made ready when it is first needed.
    factory: OnceLock<Result<ParserFactory, String>>,
    /// Those that were used last, the newest first.
    compiled: Mutex<VecDeque<(u128, Arc<Compiled>)>>,
}

/// What became of a form; whoever asks meanwhile waits for it.
type Compiled = OnceLock<Result<Mutex<Matcher>, EngineError>>;

/// How far an answer has come in its grammar.
pub(super) struct Guide {
    matcher: Mutex<Matcher>,
    /// The tokens that end it, whether or not they end other answers.
    eos: Vec<u32>,
}

/// The tokens that may come next.
pub(super) struct Allowed(SimpleVob);

impl Grammars {
    /// Grammars for the tokenizer in `directory`.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            factory: OnceLock::new(),
            compiled: Mutex::default(),
        }
    }

    /// The guide of an answer whose first tokens are known already.
    ///
    /// # Errors
    /// `form` is not what a grammar can be made of, or the tokens do not follow it.
    pub(super) fn guide(
        &self,
        form: &Value,
        (said, eos): (&[u32], &[u32]),
        limits: &Limits,
    ) -> Result<Guide, EngineError> {
        let key = xxh3_128(form.to_string().as_bytes());
        let place = self.place(key);
        let compiled = place.get_or_init(|| self.compile(form, limits).map(Mutex::new));
        let mut matcher = match compiled {
            Ok(matcher) => matcher.lock().deep_clone(),
            Err(error) => return Err(error.clone()),
        };
        matcher
            .consume_tokens(said)
            .map_err(|error| EngineError::Failed(left(&error)))?;
        Ok(Guide {
            matcher: Mutex::new(matcher),
            eos: eos.to_vec(),
        })
    }

    /// Where what is compiled under `key` is, or will be.
    fn place(&self, key: u128) -> Arc<Compiled> {
        let mut compiled = self.compiled.lock();
        let known = compiled.iter().position(|(other, _)| *other == key);
        let entry = known.and_then(|place| compiled.remove(place));
        let entry = entry.unwrap_or_else(|| (key, Arc::default()));
        let place = Arc::clone(&entry.1);
        compiled.truncate(KEPT - 1);
        compiled.push_front(entry);
        place
    }

    fn compile(&self, form: &Value, limits: &Limits) -> Result<Matcher, EngineError> {
        let invalid = |error: &dyn fmt::Display| {
            EngineError::Invalid(format!("the answer cannot have this form: {error}"))
        };
        let grammar = grammar(form).map_err(|error| invalid(&error))?;
        let factory = self
            .factory
            .get_or_init(|| factory(&self.directory, limits));
        let factory = factory
            .as_ref()
            .map_err(|error| EngineError::Failed(error.clone()))?;
        let matcher = Matcher::new(factory.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => Err(invalid(&error)),
            None => Ok(matcher),
        }
    }
}

/// What the members of `guided_decoding` mean.
fn grammar(form: &Value) -> Result<TopLevelGrammar, String> {
    let member = |name: &str| form.get(name).filter(|value| !value.is_null());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(schema) = member("json") {
        let mut schema = match schema {
            Value::String(text) => serde_json::from_str(text)
                .map_err(|error| format!("its schema is not JSON: {error}"))?,
            other => other.clone(),
        };
        // A model that may write spaces between members forever sometimes does.
        if let Some(schema) = schema.as_object_mut()
            && !schema.contains_key("x-guidance")
        {
            let spaces = json!({
                "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": ",
            });
            schema.insert("x-guidance".to_owned(), spaces);
        }
        return Ok(TopLevelGrammar::from_json_schema(schema));
    }
    if let Some(pattern) = member("regex") {
        let pattern = text(pattern).ok_or("regex is not a text")?;
        return Ok(TopLevelGrammar::from_regex(&pattern));
    }
    if let Some(choice) = member("choice") {
        let texts = choice.as_array().ok_or("choice is not a list")?;
        let mut options = Vec::new();
        for text in texts {
            if !text.is_string() {
                return Err("choice holds something that is not a text".to_owned());
            }
            // Texts are written in grammars as they are in JSON.
            options.push(text.to_string());
        }
        let options = options.join(" | ");
        return Ok(TopLevelGrammar::from_lark(format!("start: {options}")));
    }
    let grammar = member("grammar").ok_or("it has none of json, regex, choice and grammar")?;
    let grammar = text(grammar).ok_or("grammar is not a text")?;
    if grammar.contains("::=") {
        return Err("grammars are written in Lark's syntax, not in GBNF".to_owned());
    }
    Ok(TopLevelGrammar::from_lark(grammar))
}

/// The vocabulary of the tokenizer in `directory`, as far as the model knows it.
fn factory(directory: &Path, limits: &Limits) -> Result<ParserFactory, String> {
    let tokenizer = Tokenizer::from_dir(directory).map_err(|error| error.to_string())?;
    let eos = limits.eos_token_ids.first();
    let eos = *eos.ok_or("the model has no token that ends an answer")?;
    let size = u32::try_from(limits.vocab_size).map_err(|error| error.to_string())?;
    let words: Vec<Vec<u8>> = (0..size)
        .map(|token| {
            let bytes = tokenizer.token_bytes(token).unwrap_or_default();
            if tokenizer.is_special(token) || token == eos {
                return [&[TokTrie::SPECIAL_TOKEN_MARKER], &*bytes].concat();
            }
            bytes
        })
        .collect();
    let trie = TokTrie::from(&TokRxInfo::new(size, eos), &words);
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let mut factory = ParserFactory::new_simple(&environment).map_err(|error| error.to_string())?;
    factory.quiet();
    Ok(factory)
}

impl Guide {
    /// What may come next: what ends the answer, once it is whole.
    pub(super) fn allowed(&self) -> Allowed {
        let mut matcher = self.matcher.lock();
        // An error is told when the token is accepted.
        let mut tokens = matcher.compute_mask_or_eos().unwrap_or_default();
        if matcher.is_stopped() || matcher.is_accepting().unwrap_or(true) {
            // The grammar knows one of them.
            let known = tokens.len();
            for &token in self.eos.iter().filter(|&&token| (token as usize) < known) {
                tokens.allow_token(token);
            }
        }
        Allowed(tokens)
    }

    /// Goes on with `token`; why the answer ends with it, if it does.
    pub(super) fn accept(&self, token: u32) -> Option<FinishReason> {
        let mut matcher = self.matcher.lock();
        if let Some(error) = matcher.get_error() {
            return Some(FinishReason::Error(left(&error)));
        }
        if self.eos.contains(&token) {
            let whole = matcher.is_stopped() || matcher.is_accepting().unwrap_or(false);
            return whole.then_some(FinishReason::Eos);
        }
        let consumed = matcher.consume_token(token);
        consumed
            .err()
            .map(|error| FinishReason::Error(left(&error)))
    }
}

fn left(error: &dyn fmt::Display) -> String {
    format!("the answer left its form: {error}")
}

impl Allowed {
    /// Makes all other tokens impossible.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (token, logit) in logits.iter_mut().enumerate() {
            if token >= self.0.len() || !self.0.get(token) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// Whether only these tokens are possible.
    pub(super) fn is_among(&self, tokens: &[u32]) -> bool {
        self.0.iter().all(|token| tokens.contains(&token))
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

impl fmt::Debug for Guide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guide").finish_non_exhaustive()
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.num_set())
    }
}
