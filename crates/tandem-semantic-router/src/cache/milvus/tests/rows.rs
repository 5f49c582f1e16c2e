//! What needs no server.

use super::super::client::api::{CollectionSchema, FieldSchema};
use super::super::columns::{candidates, dimension, entry, schema, texts};
use super::*;
use crate::cache::testing;

const QUESTION: &str = "What is the capital of Peru?";

#[test]
fn a_row_is_read_as_it_was_written() {
    let long = Entry {
        answer: vec![b'x'; 1 << 20].into(),
        ..testing::entry(QUESTION)
    };
    for written in [testing::entry(QUESTION), long] {
        let columns = Row::of(&written, 2).unwrap().into_columns();
        assert_eq!(entry(&columns).as_ref(), Some(&written));
        let asked = written.question.unwrap();
        let found = candidates(&columns, asked.rest);
        let key = written.key;
        assert_eq!(found, [Candidate { key, asked }]);
    }
}

#[test]
fn a_vector_of_another_encoder_is_not_kept() {
    let written = testing::entry(QUESTION);
    let columns = Row::of(&written, 3).unwrap().into_columns();
    assert_eq!(texts(&columns, "rest"), [""]);
    assert_eq!(entry(&columns), Some(written));
}

#[test]
fn what_was_dropped_is_read_as_it_was_written() {
    let dropped = Invalidation {
        selector: Selector::Model("a \"b\"".to_owned()),
        until: Moment(5),
    };
    let columns = Row::dropped(&dropped, 2).into_columns();
    assert_eq!(texts(&columns, "query"), [dropped.write()]);
    assert_eq!(texts(&columns, "rest"), [DROPPED]);
    assert_eq!(entry(&columns), None);
}

#[test]
fn only_our_schema_is_ours() {
    let ours = schema("c", 384);
    assert_eq!(dimension(&ours), Some(384));
    let original = [
        "id",
        "request_id",
        "model",
        "query",
        "response_body",
        "embedding",
    ];
    let fields = original.map(|name| FieldSchema {
        name: name.to_owned(),
        ..FieldSchema::default()
    });
    let original = CollectionSchema {
        fields: fields.to_vec(),
        ..ours
    };
    assert_eq!(dimension(&original), None);
}

#[test]
fn names_stay_within_their_quotes() {
    assert_eq!(quote("m"), r#""m""#);
    assert_eq!(quote(r#"m" or id != ""#), r#""m\" or id != \"""#);
    assert_eq!(quote(r"m\"), r#""m\\""#);
}
