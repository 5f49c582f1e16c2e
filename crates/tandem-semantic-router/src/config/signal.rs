//! Signal rules: what a condition can ask of a request.

use super::policy::{JailbreakPolicy, OnError, PiiPolicy};

/// Names of the domain classifier's labels (MMLU-Pro).
pub const DOMAINS: [&str; 14] = [
    "biology",
    "business",
    "chemistry",
    "computer science",
    "economics",
    "engineering",
    "health",
    "history",
    "law",
    "math",
    "other",
    "philosophy",
    "physics",
    "psychology",
];

/// A question about a request, with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalRule {
    /// Name in conditions and headers.
    pub name: String,
    /// The question.
    pub test: SignalTest,
    /// What it means that the question cannot be answered.
    pub on_error: OnError,
}

/// The question of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum SignalTest {
    /// The question's domain is one of these labels, normalised.
    Domain(Vec<String>),
    /// Words are in the question.
    Keyword(KeywordTest),
    /// The question is similar to examples.
    Embedding(EmbeddingTest),
    /// A turn looks like a jailbreak.
    Jailbreak(JailbreakPolicy),
    /// A turn holds denied personal data.
    Pii(PiiPolicy),
    /// The question is in a language.
    Language(LanguageTest),
    /// The request has so many tokens.
    Context(ContextTest),
    /// The question is hard or easy.
    Complexity(ComplexityTest),
    /// The answer would state facts.
    FactCheck(FactCheckTest),
    /// The question is about the answer before it.
    UserFeedback(FeedbackTest),
    /// A language model, or examples, say what the user prefers.
    Preference(PreferenceTest),
    /// The client has a role.
    Authz(AuthzTest),
    /// The question's form.
    Structure(StructureTest),
    /// The request's messages.
    Conversation(ConversationTest),
    /// The question repeats earlier ones.
    Reask(ReaskTest),
}

/// The families of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    missing_docs,
    reason = "each is the variant of SignalTest of that name"
)]
pub enum Family {
    Domain,
    Keyword,
    Embedding,
    Jailbreak,
    Pii,
    Language,
    Context,
    Complexity,
    FactCheck,
    UserFeedback,
    Preference,
    Authz,
    Structure,
    Conversation,
    Reask,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 15] = [
        Self::Domain,
        Self::Keyword,
        Self::Embedding,
        Self::Jailbreak,
        Self::Pii,
        Self::Language,
        Self::Context,
        Self::Complexity,
        Self::FactCheck,
        Self::UserFeedback,
        Self::Preference,
        Self::Authz,
        Self::Structure,
        Self::Conversation,
        Self::Reask,
    ];

    /// Name as the `type` of a condition.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Keyword => "keyword",
            Self::Embedding => "embedding",
            Self::Jailbreak => "jailbreak",
            Self::Pii => "pii",
            Self::Language => "language",
            Self::Context => "context",
            Self::Complexity => "complexity",
            Self::FactCheck => "fact_check",
            Self::UserFeedback => "user_feedback",
            Self::Preference => "preference",
            Self::Authz => "authz",
            Self::Structure => "structure",
            Self::Conversation => "conversation",
            Self::Reask => "reask",
        }
    }
}

impl SignalRule {
    /// The family of the rule's question.
    pub fn family(&self) -> Family {
        match &self.test {
            SignalTest::Domain(_) => Family::Domain,
            SignalTest::Keyword(_) => Family::Keyword,
            SignalTest::Embedding(_) => Family::Embedding,
            SignalTest::Jailbreak(_) => Family::Jailbreak,
            SignalTest::Pii(_) => Family::Pii,
            SignalTest::Language(_) => Family::Language,
            SignalTest::Context(_) => Family::Context,
            SignalTest::Complexity(_) => Family::Complexity,
            SignalTest::FactCheck(_) => Family::FactCheck,
            SignalTest::UserFeedback(_) => Family::UserFeedback,
            SignalTest::Preference(_) => Family::Preference,
            SignalTest::Authz(_) => Family::Authz,
            SignalTest::Structure(_) => Family::Structure,
            SignalTest::Conversation(_) => Family::Conversation,
            SignalTest::Reask(_) => Family::Reask,
        }
    }
}

/// Words in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct KeywordTest {
    /// How the words combine.
    pub operator: KeywordOperator,
    /// The words.
    pub keywords: Vec<String>,
    /// Whether case counts.
    pub case_sensitive: bool,
    /// When a word counts as found.
    pub method: KeywordMethod,
}

/// How the words of a keyword rule combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeywordOperator {
    /// Any word.
    Or,
    /// Every word.
    And,
    /// No word.
    Nor,
}

/// When a word counts as found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeywordMethod {
    /// It is there as a whole word.
    Exact,
    /// Its BM25 score, each keyword being a document of one term, reaches the threshold.
    Bm25 {
        /// Least score.
        threshold: f32,
    },
    /// Words of the text share enough character n-grams with it.
    Ngram {
        /// Least share of common n-grams (Jaccard), 0 to 1.
        threshold: f32,
        /// Characters in an n-gram.
        arity: usize,
    },
    /// Words of the text are so close to it in edits.
    Fuzzy {
        /// Least similarity, 0 to 1.
        threshold: f32,
    },
}

/// Similarity to examples.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingTest {
    /// The examples.
    pub candidates: Vec<String>,
    /// Least cosine similarity.
    pub threshold: f32,
    /// How the similarities become one.
    pub aggregation: Aggregation,
}

/// How several similarities become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// Their mean.
    Mean,
    /// The highest.
    Max,
    /// The first that reaches the threshold; otherwise the highest.
    Any,
}

/// The language of the question.
#[derive(Debug, Clone, PartialEq)]
pub struct LanguageTest {
    /// ISO 639-1 code, such as `es`.
    pub code: String,
    /// Least confidence.
    pub threshold: f32,
}

/// The estimated size of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextTest {
    /// Least tokens.
    pub min: u64,
    /// Most tokens.
    pub max: Option<u64>,
}

/// Whether a question is hard, by its similarity to examples of both.
#[derive(Debug, Clone, PartialEq)]
pub struct ComplexityTest {
    /// Examples of hard questions.
    pub hard: Vec<String>,
    /// Examples of easy questions.
    pub easy: Vec<String>,
    /// How far the similarities must be apart: hard above it, easy below its negative.
    pub threshold: f32,
    /// The difficulty that matches.
    pub difficulty: Difficulty,
}

/// How hard a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difficulty {
    /// Closer to the hard examples.
    Hard,
    /// In between.
    Medium,
    /// Closer to the easy examples.
    Easy,
}

impl Difficulty {
    /// The names as in `rule:hard`.
    pub const NAMED: [(&'static str, Self); 3] = [
        ("hard", Self::Hard),
        ("medium", Self::Medium),
        ("easy", Self::Easy),
    ];
}

/// Whether the answer would state facts.
#[derive(Debug, Clone, PartialEq)]
pub struct FactCheckTest {
    /// Whether the rule matches if it would, or if it would not.
    pub needed: bool,
    /// Least probability that it would.
    pub threshold: f32,
}

/// What the question says about the answer before it.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedbackTest {
    /// The feedback that matches.
    pub feedback: Feedback,
    /// Least probability; below it the user counts as satisfied.
    pub threshold: f32,
}

/// What a user says about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// It is not clear.
    NeedClarification,
    /// It is fine.
    Satisfied,
    /// Another one is wanted.
    WantDifferent,
    /// It is wrong.
    WrongAnswer,
}

impl Feedback {
    /// The names in conditions, in the order of the classes.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("need_clarification", Self::NeedClarification),
        ("satisfied", Self::Satisfied),
        ("want_different", Self::WantDifferent),
        ("wrong_answer", Self::WrongAnswer),
    ];
}

/// What the user prefers.
#[derive(Debug, Clone, PartialEq)]
pub struct PreferenceTest {
    /// What the route is for; told to the language model.
    pub description: String,
    /// Examples; if there are any, no language model is asked.
    pub examples: Vec<String>,
    /// Least cosine similarity to an example.
    pub threshold: f32,
}

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthzTest {
    /// The role that these have; a condition may name it instead of the rule.
    pub role: String,
    /// Anyone of them.
    pub subjects: Vec<Subject>,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Which.
    pub kind: SubjectKind,
    /// Its name in the identity headers.
    pub name: String,
}

/// Users and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// One user.
    User,
    /// Everyone in a group.
    Group,
}

/// A number, or the presence of something, in the question.
#[derive(Debug, Clone, PartialEq)]
pub struct StructureTest {
    /// What becomes of what was found.
    pub feature: Feature,
    /// What is looked for.
    pub measure: Measure,
    /// Which numbers match.
    pub range: Range,
}

/// What becomes of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// How often.
    Count,
    /// Whether at all.
    Exists,
    /// How often per unit of text: a word, or a character of a script without spaces.
    Density,
}

/// What is looked for in a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Measure {
    /// Matches of a regular expression.
    Regex(String),
    /// Occurrences of words.
    Keywords {
        /// The words.
        words: Vec<String>,
        /// Whether case counts.
        case_sensitive: bool,
    },
    /// Words one after the other; any of the lists.
    Sequences {
        /// The lists.
        sequences: Vec<Vec<String>>,
        /// Whether case counts.
        case_sensitive: bool,
    },
    /// UTF-8 bytes.
    Bytes,
}

/// Messages, tools and images of the request.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversationTest {
    /// What is counted.
    pub turns: TurnKind,
    /// Which numbers match.
    pub range: Range,
}

/// What is counted of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnKind {
    /// Messages of a role.
    Role(String),
    /// Messages of every role but `user`.
    NonUser,
    /// All messages.
    Messages,
    /// Tools that the request defines.
    ToolDefinitions,
    /// 1 if the last message is a tool result.
    ActiveToolLoop,
    /// Parts with an image.
    Images,
}

/// Which numbers match.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Range {
    /// Greater than.
    pub gt: Option<f64>,
    /// Greater or equal.
    pub gte: Option<f64>,
    /// Less than.
    pub lt: Option<f64>,
    /// Less or equal.
    pub lte: Option<f64>,
}

impl Range {
    /// At least one.
    pub const SOME: Self = Self {
        gt: None,
        gte: Some(1.0),
        lt: None,
        lte: None,
    };

    /// Whether `number` matches.
    pub fn contains(&self, number: f64) -> bool {
        self.gt.is_none_or(|bound| number > bound)
            && self.gte.is_none_or(|bound| number >= bound)
            && self.lt.is_none_or(|bound| number < bound)
            && self.lte.is_none_or(|bound| number <= bound)
    }
}

/// Whether the question repeats the user's earlier ones.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaskTest {
    /// Least cosine similarity.
    pub threshold: f32,
    /// How many earlier turns must all be repeated.
    pub lookback: usize,
}

/// Labels compare without regard to case, and `_` is a space.
pub(crate) fn normalise_label(label: &str) -> String {
    label.to_lowercase().replace('_', " ")
}
