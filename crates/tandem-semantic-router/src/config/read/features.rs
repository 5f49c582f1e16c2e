//! Rules about the form of a question and of a conversation.

use super::reader::{Cursor, Section, unknown};
use super::rules::SignalRules;
use super::signal::words;
use crate::config::{
    ConversationTest, Feature, Measure, Range, SignalTest, StructureTest, TurnKind,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum FeatureKind {
    Count,
    Exists,
    Density,
    Sequence,
}

const FEATURES: [(&str, FeatureKind); 4] = [
    ("count", FeatureKind::Count),
    ("exists", FeatureKind::Exists),
    ("density", FeatureKind::Density),
    ("sequence", FeatureKind::Sequence),
];

const SOURCES: [&str; 4] = ["regex", "keyword_set", "sequence", "text_bytes"];
const TURNS: [&str; 4] = [
    "message",
    "tool_definition",
    "active_tool_loop",
    "image_content",
];

pub(super) fn structures(rules: &mut SignalRules<'_>, list: Vec<Cursor<'_>>) {
    for section in list.into_iter().filter_map(Cursor::section) {
        let Some((kind, source)) = feature(&section) else {
            continue;
        };
        let case_sensitive = source.boolean("case_sensitive").unwrap_or(false);
        let measure = match source.text("type").as_deref() {
            Some("regex") => regex(&source),
            Some("keyword_set") => Some(Measure::Keywords {
                words: words(&source, "keywords"),
                case_sensitive,
            }),
            Some("sequence") => Some(Measure::Sequences {
                sequences: sequences(&source),
                case_sensitive,
            }),
            Some("text_bytes") => Some(Measure::Bytes),
            Some(other) => {
                source
                    .at
                    .error(unknown("source", other, SOURCES.into_iter()));
                None
            }
            None => None,
        };
        let Some(measure) = measure else {
            continue;
        };
        let feature = match kind {
            FeatureKind::Count => Feature::Count,
            FeatureKind::Density => Feature::Density,
            FeatureKind::Exists | FeatureKind::Sequence => Feature::Exists,
        };
        let test = StructureTest {
            feature,
            measure,
            range: range(&section, kind),
        };
        rules.add(
            &section,
            section.required("name"),
            SignalTest::Structure(test),
        );
    }
}

pub(super) fn conversations(rules: &mut SignalRules<'_>, list: Vec<Cursor<'_>>) {
    for section in list.into_iter().filter_map(Cursor::section) {
        let Some((kind, source)) = feature(&section) else {
            continue;
        };
        let turns = match source.text("type").as_deref() {
            Some("message") => match source.text("role").as_deref() {
                None => TurnKind::Messages,
                Some("non_user") => TurnKind::NonUser,
                Some(role) => TurnKind::Role(role.to_owned()),
            },
            Some("tool_definition") => TurnKind::ToolDefinitions,
            Some("active_tool_loop") => TurnKind::ActiveToolLoop,
            Some("image_content") => TurnKind::Images,
            Some(other) => {
                source.at.error(unknown("source", other, TURNS.into_iter()));
                continue;
            }
            None => continue,
        };
        let test = ConversationTest {
            turns,
            range: range(&section, kind),
        };
        rules.add(
            &section,
            section.required("name"),
            SignalTest::Conversation(test),
        );
    }
}

fn feature<'a>(section: &Section<'a>) -> Option<(FeatureKind, Section<'a>)> {
    let feature = section.section("feature")?;
    let kind = feature.choice("type", &FEATURES)?;
    Some((kind, feature.section("source")?))
}

fn regex(source: &Section<'_>) -> Option<Measure> {
    let pattern = source.required("pattern")?;
    if let Err(error) = regex::Regex::new(&pattern) {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
        source
            .at
            .error(format!("`pattern` is not a regular expression: {reason}"));
        return None;
    }
    Some(Measure::Regex(pattern))
}

fn sequences(source: &Section<'_>) -> Vec<Vec<String>> {
    let lists = source.list("sequences").into_iter();
    let lists = lists.map(|list| list.list().iter().filter_map(Cursor::text).collect());
    lists
        .filter(|list: &Vec<String>| !list.is_empty())
        .collect()
}

fn range(section: &Section<'_>, kind: FeatureKind) -> Range {
    let Some(predicate) = section.section("predicate") else {
        if !matches!(kind, FeatureKind::Exists | FeatureKind::Sequence) {
            section.at.error("`predicate` is missing");
        }
        return Range::SOME;
    };
    let bound = |key| predicate.get(key).and_then(|cursor| cursor.number());
    Range {
        gt: bound("gt"),
        gte: bound("gte"),
        lt: bound("lt"),
        lte: bound("lte"),
    }
}
