//! Rules that need no model.

use std::sync::Arc;

use super::keyword::KeywordMatcher;
use super::structure::StructureMatcher;
use super::{Reading, language, tokens};
use crate::config::{
    AuthzTest, ContextTest, ConversationTest, LanguageTest, SignalTest, SubjectKind, TurnKind,
};
use crate::request::{Client, Prompt, Turns};

/// Bytes of a request up to which its rules are evaluated at once; longer ones leave the async
/// threads.
pub(super) const AT_ONCE: usize = 8 * 1024;

/// A rule that needs no model, compiled.
#[derive(Debug)]
pub(super) enum Matcher {
    Keyword(KeywordMatcher),
    Language(LanguageTest),
    Context(ContextTest),
    Structure(StructureMatcher),
    Conversation(ConversationTest),
    Authz(AuthzTest),
}

/// What the rules look at.
pub(super) struct Observed {
    pub(super) question: Arc<str>,
    pub(super) turns: Vec<Arc<str>>,
    pub(super) conversation: Turns,
    pub(super) client: Client,
}

impl Observed {
    pub(super) fn new(prompt: &Prompt, client: &Client) -> Self {
        Self {
            question: Arc::clone(&prompt.question),
            turns: prompt.turns.clone(),
            conversation: prompt.conversation.clone(),
            client: client.clone(),
        }
    }

    /// How much there is to read.
    pub(super) fn bytes(&self) -> usize {
        self.turns.iter().map(|turn| turn.len()).sum()
    }
}

impl Matcher {
    /// `None` for rules that need a model.
    pub(super) fn new(test: &SignalTest) -> Option<Self> {
        Some(match test {
            SignalTest::Keyword(test) => Self::Keyword(KeywordMatcher::new(test)),
            SignalTest::Language(test) => Self::Language(test.clone()),
            SignalTest::Context(test) => Self::Context(test.clone()),
            SignalTest::Structure(test) => Self::Structure(StructureMatcher::new(test)),
            SignalTest::Conversation(test) => Self::Conversation(test.clone()),
            SignalTest::Authz(test) => Self::Authz(test.clone()),
            _ => return None,
        })
    }
}

/// What every rule finds, in the order of the rules, and the estimated tokens if a rule asked.
pub(super) fn read_all(rules: &[(usize, Matcher)], observed: &Observed) -> Local {
    let asks = |wanted: fn(&Matcher) -> bool| rules.iter().any(|(_, rule)| wanted(rule));
    let language = asks(|rule| matches!(rule, Matcher::Language(_)))
        .then(|| language::detect(&observed.question))
        .flatten();
    let tokens = asks(|rule| matches!(rule, Matcher::Context(_))).then(|| {
        observed
            .turns
            .iter()
            .map(|turn| tokens::estimate(turn))
            .sum()
    });
    let readings = rules.iter().map(|(at, rule)| {
        let reading = match rule {
            Matcher::Keyword(words) => certain(words.matches(&observed.question)),
            Matcher::Language(test) => match language::score(test, language) {
                Some(value) => Reading::Score {
                    value,
                    matched: true,
                },
                None => certain(false),
            },
            Matcher::Context(test) => {
                let tokens: u64 = tokens.unwrap_or(0);
                let fits = tokens >= test.min && test.max.is_none_or(|max| tokens <= max);
                certain(fits)
            }
            Matcher::Structure(form) => certain(form.matches(&observed.question)),
            Matcher::Conversation(test) => certain(conversation(test, &observed.conversation)),
            Matcher::Authz(test) => certain(has_role(test, &observed.client)),
        };
        (*at, reading)
    });
    Local {
        readings: readings.collect(),
        tokens,
    }
}

/// What the rules found.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) readings: Vec<(usize, Reading)>,
    pub(super) tokens: Option<u64>,
}

fn certain(matched: bool) -> Reading {
    Reading::Score {
        value: f32::from(u8::from(matched)),
        matched,
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts within a request are far below 2^53, where the cast is exact"
)]
fn conversation(test: &ConversationTest, turns: &Turns) -> bool {
    let roles = turns.roles.iter();
    let count = match &test.turns {
        TurnKind::Role(role) => roles.filter(|one| *one == role).count(),
        TurnKind::NonUser => roles.filter(|one| *one != "user").count(),
        TurnKind::Messages => roles.count(),
        TurnKind::ToolDefinitions => turns.tools,
        TurnKind::ActiveToolLoop => {
            let last = turns.roles.last().map(String::as_str);
            usize::from(matches!(last, Some("tool" | "function")))
        }
        TurnKind::Images => turns.images,
    };
    test.range.contains(count as f64)
}

fn has_role(test: &AuthzTest, client: &Client) -> bool {
    test.subjects.iter().any(|subject| match subject.kind {
        SubjectKind::User => client.user.as_deref() == Some(subject.name.as_str()),
        SubjectKind::Group => client.groups.contains(&subject.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Range, Subject};

    #[test]
    fn roles_come_from_users_and_groups() {
        let test = AuthzTest {
            role: "admin".into(),
            subjects: vec![
                Subject {
                    kind: SubjectKind::Group,
                    name: "platform".into(),
                },
                Subject {
                    kind: SubjectKind::User,
                    name: "ada".into(),
                },
            ],
        };
        let check = |user: Option<&str>, groups: &[&str], want: bool| {
            let client = Client {
                user: user.map(str::to_owned),
                groups: groups.iter().map(|name| (*name).to_owned()).collect(),
                ..Client::default()
            };
            assert_eq!(has_role(&test, &client), want, "{user:?} {groups:?}");
        };
        check(Some("ada"), &[], true);
        check(Some("bob"), &["sales", "platform"], true);
        check(Some("platform"), &["ada"], false);
        check(None, &[], false);
    }

    #[test]
    fn conversations_are_counted() {
        let turns = Turns {
            roles: ["developer", "user", "assistant", "tool"]
                .map(str::to_owned)
                .to_vec(),
            tools: 2,
            images: 1,
        };
        let check = |kind: TurnKind, want: f64| {
            let test = ConversationTest {
                turns: kind.clone(),
                range: Range {
                    gte: Some(want),
                    lte: Some(want),
                    ..Range::default()
                },
            };
            assert!(conversation(&test, &turns), "{kind:?}");
        };
        check(TurnKind::Role("user".into()), 1.0);
        check(TurnKind::Role("system".into()), 0.0);
        check(TurnKind::NonUser, 3.0);
        check(TurnKind::Messages, 4.0);
        check(TurnKind::ToolDefinitions, 2.0);
        check(TurnKind::ActiveToolLoop, 1.0);
        check(TurnKind::Images, 1.0);
    }
}
