//! From the flat layout to the layered one.

mod places;

use super::load::{ConfigError, Loaded};
use super::read::Problem;
use super::read::tree::{Node, Value};
use super::read::{chart_values, is_layered};
use super::{RouterConfig, yaml};
use places::{MODULE_MOVES, MOVES, OTHERS, RENAMES};

/// A file in the layered layout.
#[derive(Debug)]
pub struct Migrated {
    /// Its text. `${NAME}` is kept as it was, so no secret gets into it.
    pub text: String,
    /// What was left out, and why.
    pub notes: Vec<Problem>,
}

type Entries = Vec<(String, Node)>;

/// Rewrites a file of the flat layout in the layered one; both load to the same
/// [`RouterConfig`].
///
/// `lookup` gives the value of `${NAME}`; a variable that is not set counts as some text here.
///
/// # Errors
/// The file has mistakes, or is in the layered layout already.
pub fn migrate(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Migrated, ConfigError> {
    let tolerant = |name: &str| lookup(name).or_else(|| Some("1".to_owned()));
    let Loaded { .. } = RouterConfig::parse(text, &tolerant)?;
    let root = Node::parse(text).map_err(|_| problem("not valid YAML"))?;
    let chart = chart_values(&root).is_some();
    let flat = chart_values(&root).unwrap_or(&root);
    if is_layered(flat) {
        return Err(problem("the file is in the layout `version: v0.3` already"));
    }
    let Value::Map(entries) = &flat.value else {
        return Err(problem("expected a mapping"));
    };
    let mut migration = Migration {
        flat: entries,
        to: Vec::new(),
        notes: Vec::new(),
    };
    migration.run();
    let mut document = node(Value::Map(migration.to));
    if chart && let Value::Map(values) = &root.value {
        let values = values.iter().map(|(key, value)| {
            let value = if key == "config" { &document } else { value };
            (key.clone(), value.clone())
        });
        document = node(Value::Map(values.collect()));
    }
    Ok(Migrated {
        text: yaml::write(&document),
        notes: migration.notes,
    })
}

fn problem(message: &str) -> ConfigError {
    ConfigError {
        problems: vec![Problem {
            path: String::new(),
            line: None,
            message: message.to_owned(),
        }],
    }
}

struct Migration<'a> {
    flat: &'a [(String, Node)],
    to: Entries,
    notes: Vec<Problem>,
}

impl<'a> Migration<'a> {
    fn run(&mut self) {
        put(&mut self.to, &["version"], node(Value::Text("v0.3".into())));
        self.models();
        for (key, place) in MOVES {
            let path: Vec<&str> = place.iter().copied().chain([*key]).collect();
            self.carry(key, &path);
        }
        for (key, path) in RENAMES {
            self.carry(key, path);
        }
        self.decisions();
        let clear = self.get("clear_route_cache").cloned();
        let clear = clear.unwrap_or_else(|| node(Value::Bool(false)));
        put(
            &mut self.to,
            &["global", "router", "clear_route_cache"],
            clear,
        );
        self.tools();
        self.modules();
        self.tandem();
        for (key, value) in self.flat {
            let known = MOVES.iter().chain(RENAMES).any(|(known, _)| known == key);
            if !known && !OTHERS.contains(&key.as_str()) && value.value != Value::Null {
                self.notes.push(Problem {
                    path: key.clone(),
                    line: Some(value.line),
                    message: "left out: the layered layout has no such key".to_owned(),
                });
            }
        }
    }

    fn get(&self, key: &str) -> Option<&'a Node> {
        let (_, value) = self.flat.iter().find(|(name, _)| name == key)?;
        (value.value != Value::Null).then_some(value)
    }

    fn carry(&mut self, key: &str, path: &[&str]) {
        if let Some(value) = self.get(key) {
            put(&mut self.to, path, value.clone());
        }
    }

    fn models(&mut self) {
        let Some(Node {
            value: Value::Map(models),
            ..
        }) = self.get("model_config")
        else {
            return;
        };
        let mut providers = Vec::new();
        let mut cards = Vec::new();
        for (name, settings) in models {
            let mut provider = vec![("name".to_owned(), text(name))];
            let mut card = Vec::new();
            for key in ["reasoning_family", "pricing"] {
                copy(settings, key, key, &mut provider);
            }
            for key in ["loras", "quality_score", "param_size"] {
                copy(settings, key, key, &mut card);
            }
            let backends = self.backends(settings);
            if !backends.is_empty() {
                provider.push(("backend_refs".to_owned(), node(Value::List(backends))));
            }
            providers.push(node(Value::Map(provider)));
            if !card.is_empty() {
                card.insert(0, ("name".to_owned(), text(name)));
                cards.push(node(Value::Map(card)));
            }
        }
        put(
            &mut self.to,
            &["providers", "models"],
            node(Value::List(providers)),
        );
        if !cards.is_empty() {
            put(
                &mut self.to,
                &["routing", "modelCards"],
                node(Value::List(cards)),
            );
        }
    }

    fn backends(&self, settings: &Node) -> Vec<Node> {
        let names = match settings
            .get("preferred_endpoints")
            .map(|names| &names.value)
        {
            Some(Value::List(names)) => names.as_slice(),
            _ => &[],
        };
        let endpoints = match self.get("vllm_endpoints").map(|list| &list.value) {
            Some(Value::List(endpoints)) => endpoints.as_slice(),
            _ => &[],
        };
        let mut backends = Vec::new();
        for name in names {
            let found = endpoints
                .iter()
                .find(|endpoint| endpoint.get("name").map(plain) == Some(plain(name)));
            let Some(endpoint) = found else {
                continue;
            };
            let host = endpoint.get("address").map(plain).unwrap_or_default();
            let port = endpoint.get("port").map(plain).unwrap_or_default();
            let address = if host.contains(':') && !host.contains("${") {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            };
            let path = endpoint.get("path").map(plain).unwrap_or_default();
            let (key, address) = if path.is_empty() {
                ("endpoint", address)
            } else {
                let path = path.trim_start_matches('/');
                ("base_url", format!("http://{address}/{path}"))
            };
            let mut backend = vec![
                ("name".to_owned(), name.clone()),
                (key.to_owned(), text(&address)),
            ];
            copy(endpoint, "weight", "weight", &mut backend);
            copy(settings, "access_key", "api_key", &mut backend);
            backends.push(node(Value::Map(backend)));
        }
        if backends.is_empty() {
            let mut backend = Vec::new();
            copy(settings, "access_key", "api_key", &mut backend);
            if !backend.is_empty() {
                backends.push(node(Value::Map(backend)));
            }
        }
        backends
    }

    fn decisions(&mut self) {
        let Some(Node {
            value: Value::List(decisions),
            ..
        }) = self.get("decisions")
        else {
            return;
        };
        let decisions = decisions.iter().map(|decision| {
            let Value::Map(entries) = &decision.value else {
                return decision.clone();
            };
            let mut entries: Entries = entries.clone();
            match entries.iter_mut().find(|(key, _)| key == "rules") {
                Some((_, rules)) => *rules = with_conditions(rules),
                None => entries.push(("rules".to_owned(), never())),
            }
            node(Value::Map(entries))
        });
        let decisions = node(Value::List(decisions.collect()));
        put(&mut self.to, &["routing", "decisions"], decisions);
    }

    /// The threshold of `bert_model` is the default of tools in the flat layout only.
    fn tools(&mut self) {
        let Some(tools) = self.get("tools") else {
            return;
        };
        let mut tools = tools.clone();
        let threshold = self
            .get("bert_model")
            .and_then(|bert| bert.get("threshold"));
        if tools.get("similarity_threshold").is_none()
            && let (Some(threshold), Value::Map(entries)) = (threshold, &mut tools.value)
        {
            entries.push(("similarity_threshold".to_owned(), threshold.clone()));
        }
        put(&mut self.to, &["global", "integrations", "tools"], tools);
    }

    fn modules(&mut self) {
        const EMBEDDINGS: &[&str] = &["global", "model_catalog", "embeddings", "semantic"];
        const MODULES: [&str; 3] = ["global", "model_catalog", "modules"];
        if let Some(bert) = self.get("bert_model") {
            let path: Vec<&str> = EMBEDDINGS.iter().copied().chain(["bert"]).collect();
            put(&mut self.to, &path, bert.clone());
        }
        if let Some(Node {
            value: Value::Map(models),
            ..
        }) = self.get("embedding_models")
        {
            for (key, value) in models {
                let path: Vec<&str> = EMBEDDINGS.iter().copied().chain([key.as_str()]).collect();
                put(&mut self.to, &path, value.clone());
            }
        }
        for (section, key, place) in MODULE_MOVES {
            let value = self.get(section).and_then(|section| section.get(key));
            if let Some(value) = value.filter(|value| value.value != Value::Null) {
                let path: Vec<&str> = MODULES.iter().chain(*place).copied().collect();
                put(&mut self.to, &path, value.clone());
            }
        }
    }

    /// The global policies and what the flat layout does by default.
    fn tandem(&mut self) {
        if let Some(Node {
            value: Value::Map(own),
            ..
        }) = self.get("tandem")
        {
            put(&mut self.to, &["tandem"], node(Value::Map(own.clone())));
        }
        let forward = text("forward");
        put_default(&mut self.to, &["tandem", "unknown_models"], forward);
        if let Some(guard) = self.get("prompt_guard") {
            let enabled = guard.get("enabled").map(|node| &node.value);
            if !matches!(enabled, None | Some(Value::Null)) {
                let path = ["tandem", "security", "jailbreak"];
                put_default(&mut self.to, &path, node(Value::Map(Vec::new())));
                for key in ["enabled", "threshold", "on_error"] {
                    if let Some(value) = guard.get(key) {
                        let path = ["tandem", "security", "jailbreak", key];
                        put_default(&mut self.to, &path, value.clone());
                    }
                }
            }
        }
        let pii = self
            .get("classifier")
            .and_then(|section| section.get("pii_model"));
        if let Some(pii) = pii.filter(|pii| pii.value != Value::Null) {
            let path = ["tandem", "security", "pii"];
            put_default(&mut self.to, &path, node(Value::Map(Vec::new())));
            if let Some(threshold) = pii.get("threshold") {
                let path = ["tandem", "security", "pii", "threshold"];
                put_default(&mut self.to, &path, threshold.clone());
            }
        }
    }
}

fn node(value: Value) -> Node {
    Node { line: 0, value }
}

fn text(value: &str) -> Node {
    node(Value::Text(value.to_owned()))
}

/// A scalar as it stands in the file.
fn plain(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null | Value::List(_) | Value::Map(_) => String::new(),
    }
}

fn copy(from: &Node, key: &str, name: &str, to: &mut Entries) {
    if let Some(value) = from.get(key).filter(|value| value.value != Value::Null) {
        to.push((name.to_owned(), value.clone()));
    }
}

/// The rule of the layered layout that no request matches: not (always).
fn never() -> Node {
    let always = node(Value::Map(Vec::new()));
    node(Value::Map(vec![
        ("operator".to_owned(), text("NOT")),
        ("conditions".to_owned(), node(Value::List(vec![always]))),
    ]))
}

/// No conditions mean "never" in the flat layout and "always" in the layered one.
fn with_conditions(rule: &Node) -> Node {
    let Value::Map(entries) = &rule.value else {
        return never();
    };
    let has = |key| rule.get(key).is_some_and(|node| node.value != Value::Null);
    if has("type") {
        return rule.clone();
    }
    match rule.get("conditions").map(|conditions| &conditions.value) {
        Some(Value::List(conditions)) if !conditions.is_empty() => {
            let conditions = conditions.iter().map(with_conditions).collect();
            let conditions = node(Value::List(conditions));
            let entries = entries.iter().map(|(key, value)| {
                let value = if key == "conditions" {
                    &conditions
                } else {
                    value
                };
                (key.clone(), value.clone())
            });
            node(Value::Map(entries.collect()))
        }
        _ => never(),
    }
}

/// Puts a value at a path, replacing what is there.
fn put(to: &mut Entries, path: &[&str], value: Node) {
    let Some((key, rest)) = path.split_first() else {
        return;
    };
    let at = to.iter().position(|(name, _)| name == key);
    let at = at.unwrap_or_else(|| {
        to.push(((*key).to_owned(), node(Value::Map(Vec::new()))));
        to.len() - 1
    });
    let place = &mut to[at].1;
    if rest.is_empty() {
        *place = value;
        return;
    }
    if !matches!(place.value, Value::Map(_)) {
        place.value = Value::Map(Vec::new());
    }
    if let Value::Map(inner) = &mut place.value {
        put(inner, rest, value);
    }
}

/// Puts a value at a path unless there is one.
fn put_default(to: &mut Entries, path: &[&str], value: Node) {
    let mut place: Option<&Node> = None;
    for (i, key) in path.iter().enumerate() {
        place = if i == 0 {
            to.iter()
                .find(|(name, _)| name == key)
                .map(|(_, node)| node)
        } else {
            place.and_then(|node| node.get(key))
        };
    }
    if place.is_none_or(|node| node.value == Value::Null) {
        put(to, path, value);
    }
}

#[cfg(test)]
mod tests;
