//! Signal rules, the same in both layouts.

use super::plugin::{jailbreak_policy, pii_policy};
use super::reader::{Cursor, Section};
use super::rules::{Defaults, SignalRules};
use crate::config::{
    Aggregation, AuthzTest, ComplexityTest, ContextTest, Difficulty, EmbeddingTest, FactCheckTest,
    Feedback, FeedbackTest, JailbreakPolicy, KeywordMethod, KeywordOperator, KeywordTest,
    LanguageTest, PiiPolicy, PreferenceTest, ReaskTest, SignalTest, Subject, SubjectKind,
    normalise_label,
};

const EMBEDDING_THRESHOLD: f32 = 0.7;
const PREFERENCE_THRESHOLD: f32 = 0.7;
const LANGUAGE_THRESHOLD: f32 = 0.3;
const COMPLEXITY_THRESHOLD: f32 = 0.1;
const REASK_THRESHOLD: f32 = 0.8;

impl<'a> SignalRules<'a> {
    pub(super) fn domains(&mut self, list: Vec<Cursor<'_>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let name = section.required("name");
            let mut labels = section.texts("mmlu_categories");
            labels.extend(name.clone());
            let mut labels: Vec<String> =
                labels.iter().map(|label| normalise_label(label)).collect();
            labels.sort();
            labels.dedup();
            self.add(&section, name, SignalTest::Domain(labels));
        }
    }

    pub(super) fn keywords(&mut self, list: Vec<Cursor<'_>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let operators = [
                ("OR", KeywordOperator::Or),
                ("AND", KeywordOperator::And),
                ("NOR", KeywordOperator::Nor),
            ];
            let operator = section.choice("operator", &operators);
            let keywords = words(&section, "keywords");
            let test = KeywordTest {
                operator: operator.unwrap_or(KeywordOperator::Or),
                keywords,
                case_sensitive: section.boolean("case_sensitive").unwrap_or(false),
                method: keyword_method(&section),
            };
            self.add(
                &section,
                section.required("name"),
                SignalTest::Keyword(test),
            );
        }
    }

    pub(super) fn embeddings(&mut self, list: Vec<Cursor<'_>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            if let Some(modality) = section.get("query_modality")
                && modality.text().is_some_and(|text| text != "text")
            {
                modality.warn("only text is compared: the rule looks at the request's text");
            }
            let aggregations = [
                ("mean", Aggregation::Mean),
                ("max", Aggregation::Max),
                ("any", Aggregation::Any),
            ];
            let test = EmbeddingTest {
                candidates: words(&section, "candidates"),
                threshold: section.fraction("threshold").unwrap_or(EMBEDDING_THRESHOLD),
                aggregation: section
                    .choice("aggregation_method", &aggregations)
                    .unwrap_or(Aggregation::Max),
            };
            self.add(
                &section,
                section.required("name"),
                SignalTest::Embedding(test),
            );
        }
    }

    pub(super) fn fact_checks(&mut self, list: Vec<Cursor<'_>>, defaults: &Defaults) {
        let names = [("needs_fact_check", true), ("no_fact_check_needed", false)];
        for section in list.into_iter().filter_map(Cursor::section) {
            let Some(needed) = section.choice("name", &names) else {
                continue;
            };
            let test = FactCheckTest {
                needed,
                threshold: section.fraction("threshold").unwrap_or(defaults.fact_check),
            };
            self.add(
                &section,
                section.required("name"),
                SignalTest::FactCheck(test),
            );
        }
    }

    pub(super) fn feedbacks(&mut self, list: Vec<Cursor<'_>>, defaults: &Defaults) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let Some(feedback) = section.choice("name", &Feedback::NAMED) else {
                continue;
            };
            if !defaults.feedback_enabled {
                self.disabled.extend(section.text("name"));
                continue;
            }
            let test = FeedbackTest {
                feedback,
                threshold: section.fraction("threshold").unwrap_or(defaults.feedback),
            };
            self.add(
                &section,
                section.required("name"),
                SignalTest::UserFeedback(test),
            );
        }
    }

    pub(super) fn preferences(&mut self, list: Vec<Cursor<'_>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let test = PreferenceTest {
                description: section.text("description").unwrap_or_default(),
                examples: section.texts("examples"),
                threshold: section
                    .fraction("threshold")
                    .unwrap_or(PREFERENCE_THRESHOLD),
            };
            self.add(
                &section,
                section.required("name"),
                SignalTest::Preference(test),
            );
        }
    }

    pub(super) fn reasks(&mut self, list: Vec<Cursor<'_>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let turns = section.integer("lookback_turns");
            let test = ReaskTest {
                threshold: section.fraction("threshold").unwrap_or(REASK_THRESHOLD),
                lookback: turns
                    .and_then(|turns| usize::try_from(turns).ok())
                    .unwrap_or(1),
            };
            self.add(&section, section.required("name"), SignalTest::Reask(test));
        }
    }

    pub(super) fn languages(&mut self, list: Vec<Cursor<'_>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let Some(name) = section.required("name") else {
                continue;
            };
            if !crate::signal::language::is_known(&name) {
                section.at.error(format!(
                    "`{name}` is not the ISO 639-1 code of a language that can be detected"
                ));
            }
            // 0 stands for the default, as in the original router.
            let threshold = section.fraction("threshold").filter(|value| *value > 0.0);
            let test = LanguageTest {
                code: name.to_ascii_lowercase(),
                threshold: threshold.unwrap_or(LANGUAGE_THRESHOLD),
            };
            self.add(&section, Some(name), SignalTest::Language(test));
        }
    }

    pub(super) fn contexts(&mut self, list: Vec<Cursor<'_>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let tokens = |key| section.get(key).and_then(|cursor| cursor.tokens());
            let test = ContextTest {
                min: tokens("min_tokens").unwrap_or(0),
                max: tokens("max_tokens"),
            };
            if test.max.is_some_and(|max| max < test.min) {
                section.at.error("`max_tokens` is less than `min_tokens`");
            }
            self.add(
                &section,
                section.required("name"),
                SignalTest::Context(test),
            );
        }
    }

    pub(super) fn complexities(&mut self, list: Vec<Cursor<'a>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let name = section.required("name");
            let candidates = |key| {
                let examples: Option<Section<'_>> = section.section(key);
                examples
                    .map(|examples| examples.texts("candidates"))
                    .unwrap_or_default()
            };
            if let (Some(composer), Some(name)) = (section.get("composer"), &name) {
                self.composers.push((name.clone(), composer));
            }
            let test = ComplexityTest {
                hard: candidates("hard"),
                easy: candidates("easy"),
                threshold: section
                    .fraction("threshold")
                    .unwrap_or(COMPLEXITY_THRESHOLD),
                difficulty: Difficulty::Hard,
            };
            self.add(&section, name, SignalTest::Complexity(test));
        }
    }

    pub(super) fn roles(&mut self, list: Vec<Cursor<'_>>) {
        for section in list.into_iter().filter_map(Cursor::section) {
            let kinds = [("User", SubjectKind::User), ("Group", SubjectKind::Group)];
            let subjects = section.list("subjects").into_iter();
            let subjects: Vec<Subject> = subjects
                .filter_map(Cursor::section)
                .filter_map(|subject| {
                    Some(Subject {
                        kind: subject.choice("kind", &kinds)?,
                        name: subject.required("name")?,
                    })
                })
                .collect();
            if subjects.is_empty() {
                section
                    .at
                    .error("`subjects` must name at least one user or group");
            }
            let test = AuthzTest {
                role: section.required("role").unwrap_or_default(),
                subjects,
            };
            self.add(&section, section.required("name"), SignalTest::Authz(test));
        }
    }

    pub(super) fn jailbreaks(&mut self, list: Vec<Cursor<'_>>, default: &JailbreakPolicy) {
        for section in list.into_iter().filter_map(Cursor::section) {
            every_turn(&section);
            let policy = jailbreak_policy(&section, default);
            self.add(
                &section,
                section.required("name"),
                SignalTest::Jailbreak(policy),
            );
        }
    }

    pub(super) fn pii(&mut self, list: Vec<Cursor<'_>>, default: &PiiPolicy) {
        for section in list.into_iter().filter_map(Cursor::section) {
            every_turn(&section);
            let policy = pii_policy(&section, default);
            self.add(&section, section.required("name"), SignalTest::Pii(policy));
        }
    }
}

/// A list of texts that must not be empty.
pub(super) fn words(section: &Section<'_>, key: &'static str) -> Vec<String> {
    let words = section.texts(key);
    if section.get(key).is_some() && words.is_empty() {
        section.at.error(format!("`{key}` must not be empty"));
    }
    words
}

fn keyword_method(section: &Section<'_>) -> KeywordMethod {
    #[derive(Clone, Copy)]
    enum Method {
        Exact,
        Bm25,
        Ngram,
        Fuzzy,
    }
    let methods = [
        ("regex", Method::Exact),
        ("exact", Method::Exact),
        ("bm25", Method::Bm25),
        ("ngram", Method::Ngram),
        ("fuzzy", Method::Fuzzy),
    ];
    let fuzzy = section.boolean("fuzzy_match") == Some(true);
    let method = section.choice("method", &methods);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a threshold needs no more than seven digits"
    )]
    let number = |key, default: f64| {
        let number = section.get(key).and_then(|cursor| cursor.number());
        number.unwrap_or(default) as f32
    };
    match method {
        Some(Method::Bm25) => KeywordMethod::Bm25 {
            threshold: number("bm25_threshold", 0.1),
        },
        Some(Method::Ngram) => KeywordMethod::Ngram {
            threshold: number("ngram_threshold", 0.4),
            arity: section
                .integer("ngram_arity")
                .and_then(|arity| usize::try_from(arity).ok())
                .unwrap_or(3),
        },
        Some(Method::Fuzzy) => KeywordMethod::Fuzzy {
            threshold: number("fuzzy_threshold", 80.0) / 100.0,
        },
        None if fuzzy => KeywordMethod::Fuzzy {
            threshold: number("fuzzy_threshold", 80.0) / 100.0,
        },
        Some(Method::Exact) | None => KeywordMethod::Exact,
    }
}

/// Earlier turns are always inspected, so a file that excludes them is told so.
fn every_turn(section: &Section<'_>) {
    if let Some(history) = section.get("include_history")
        && history.boolean() == Some(false)
    {
        history.warn("accepted, and has no effect because every turn is inspected");
    }
}
