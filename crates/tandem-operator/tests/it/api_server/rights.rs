//! What the operator may do: the rules of its documentation, which are those of its chart.

use std::collections::HashSet;

const GUIDE: &str = include_str!("../../../../../docs/operator.md");

/// Group, resource and verb of everything that is allowed.
pub(super) struct Rights(HashSet<[String; 3]>);

impl Rights {
    /// The rules of the guide, which are YAML of one form.
    pub(super) fn documented() -> Self {
        let rules = GUIDE.lines().skip_while(|line| *line != "rules:").skip(1);
        let mut rules = rules.take_while(|line| !line.starts_with("```"));
        let mut all = HashSet::new();
        while let Some(groups) = rules.next() {
            let list = |line: Option<&str>, name: &str| {
                let line = line
                    .expect("a rule has three lines")
                    .trim_start_matches("  - ");
                let inner = line.trim().strip_prefix(name).expect("in this order");
                let inner = inner.trim_start_matches(": [").trim_end_matches(']');
                let items = inner.split(',').map(|item| item.trim().trim_matches('"'));
                items.map(str::to_owned).collect::<Vec<_>>()
            };
            let groups = list(Some(groups), "apiGroups");
            let resources = list(rules.next(), "resources");
            let verbs = list(rules.next(), "verbs");
            for group in &groups {
                for resource in &resources {
                    for verb in &verbs {
                        all.insert([group.clone(), resource.clone(), verb.clone()]);
                    }
                }
            }
        }
        assert!(!all.is_empty(), "the guide has rules");
        Self(all)
    }

    /// What real servers say if `verb` is not allowed on a resource of `version`, such as
    /// `deployments` or `deployments/status`.
    pub(super) fn refusal(&self, version: &str, resource: &str, verb: &str) -> Option<String> {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let wanted = [group, resource, verb].map(str::to_owned);
        let message = || format!("cannot {verb} resource {resource:?} in API group {group:?}");
        (!self.0.contains(&wanted)).then(message)
    }
}
