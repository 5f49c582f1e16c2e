//! The schema of the collection, and rows of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::client::api::field_data::Field;
use super::client::api::scalar_field::Data;
use super::client::api::{
    ArrayArray, CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, KeyValuePair,
    LongArray, ScalarField, StringArray, VectorField, vector_field,
};
use crate::cache::backend::{BackendError, Candidate};
use crate::cache::codec::{decode, encode, terms};
use crate::cache::entry::{Asked, Entry, Moment};
use crate::cache::invalidation::Invalidation;
use crate::cache::key::Key;
use crate::cache::remote::REMEMBERED;

/// Longest text that a column holds.
const LONGEST_TEXT: usize = 65_535;
/// Longest name of a model or a decision.
const LONGEST_NAME: usize = 1024;
/// Most pieces of an entry.
const MOST_PIECES: usize = 64;
/// Surroundings of a row that says what was dropped.
pub(super) const DROPPED: &str = "dropped";

/// A row. Its vector has as many numbers as the collection wants.
pub(super) struct Row {
    id: String,
    /// Surroundings of the question; empty if only the same request may have the answer.
    rest: String,
    query: String,
    embedding: Vec<f32>,
    model: String,
    decision: String,
    stored_at: i64,
    expires_at: i64,
    /// The entry as text, in pieces that a column can hold.
    entry: Vec<String>,
}

/// The collection as it is made.
pub(super) fn schema(name: &str, dimension: usize) -> CollectionSchema {
    let text = |name: &str, longest: usize| field(name, DataType::VarChar, "max_length", longest);
    let number = |name: &str| FieldSchema {
        type_params: Vec::new(),
        ..field(name, DataType::Int64, "", 0)
    };
    let mut entry = text("entry", LONGEST_TEXT);
    entry.data_type = DataType::Array.into();
    entry.element_type = DataType::VarChar.into();
    entry.type_params.push(pair("max_capacity", MOST_PIECES));
    CollectionSchema {
        name: name.to_owned(),
        description: "answers of language models, form 2".to_owned(),
        fields: vec![
            FieldSchema {
                is_primary_key: true,
                ..text("id", 64)
            },
            text("rest", 64),
            text("query", LONGEST_TEXT),
            field("embedding", DataType::FloatVector, "dim", dimension),
            text("model", LONGEST_NAME),
            text("decision", LONGEST_NAME),
            number("stored_at"),
            number("expires_at"),
            entry,
        ],
    }
}

/// How many numbers a vector of a collection has; `None` if the collection is not one of ours.
pub(super) fn dimension(found: &CollectionSchema) -> Option<usize> {
    let ours = schema("", 0);
    let has = |name: &str| found.fields.iter().find(|field| field.name == name);
    if !ours.fields.iter().all(|field| has(&field.name).is_some()) {
        return None;
    }
    let parameters = &has("embedding")?.type_params;
    let dimension = parameters.iter().find(|pair| pair.key == "dim")?;
    dimension.value.parse().ok()
}

impl Row {
    /// The row of an entry. A vector of another length, of another encoder, is not kept: the answer
    /// is for the same request then.
    pub(super) fn of(entry: &Entry, dimension: usize) -> Result<Self, BackendError> {
        let question = entry.question.as_ref();
        let question = question.filter(|asked| asked.embedding.len() == dimension);
        let decision = entry.decision.clone().unwrap_or_default();
        let text = STANDARD.encode(encode(entry));
        let pieces = text.as_bytes().chunks(LONGEST_TEXT);
        let pieces = pieces.map(|piece| String::from_utf8_lossy(piece).into_owned());
        let row = Self {
            id: entry.key.to_string(),
            rest: question.map_or_else(String::new, |asked| asked.rest.to_string()),
            query: question.map_or_else(String::new, |asked| asked.text.clone()),
            embedding: match question {
                Some(asked) => asked.embedding.to_vec(),
                None => placeholder(dimension),
            },
            model: entry.model.clone(),
            decision,
            stored_at: whole(entry.stored),
            expires_at: entry.expires.map_or(i64::MAX, whole),
            entry: pieces.collect(),
        };
        let names = row.model.len().max(row.decision.len());
        if names > LONGEST_NAME || row.query.len() > LONGEST_TEXT || row.entry.len() > MOST_PIECES {
            return Err(BackendError::Full("the answer is too long".to_owned()));
        }
        Ok(row)
    }

    /// The row that says what was dropped.
    pub(super) fn dropped(invalidation: &Invalidation, dimension: usize) -> Self {
        let text = invalidation.write();
        Self {
            id: format!("{DROPPED}:{}", Key::of(&[text.as_bytes()])),
            rest: DROPPED.to_owned(),
            query: text,
            embedding: placeholder(dimension),
            model: String::new(),
            decision: String::new(),
            stored_at: whole(invalidation.until),
            expires_at: whole(invalidation.until.after(REMEMBERED)),
            entry: vec![String::new()],
        }
    }

    pub(super) fn into_columns(self) -> Vec<FieldData> {
        let dimension = i64::try_from(self.embedding.len()).unwrap_or(i64::MAX);
        let array = ScalarField {
            data: Some(Data::StringData(StringArray { data: self.entry })),
        };
        let array = Data::ArrayData(ArrayArray {
            data: vec![array],
            element_type: DataType::VarChar.into(),
        });
        let vector = VectorField {
            dim: dimension,
            data: Some(vector_field::Data::FloatVector(FloatArray {
                data: self.embedding,
            })),
        };
        vec![
            text("id", self.id),
            text("rest", self.rest),
            text("query", self.query),
            FieldData {
                r#type: DataType::FloatVector.into(),
                field_name: "embedding".to_owned(),
                field: Some(Field::Vectors(vector)),
            },
            text("model", self.model),
            text("decision", self.decision),
            number("stored_at", self.stored_at),
            number("expires_at", self.expires_at),
            column("entry", DataType::Array, array),
        ]
    }
}

/// The first entry in some columns.
pub(super) fn entry(columns: &[FieldData]) -> Option<Entry> {
    let Some(Data::ArrayData(arrays)) = scalars(columns, "entry") else {
        return None;
    };
    let Some(Data::StringData(pieces)) = &arrays.data.first()?.data else {
        return None;
    };
    decode(&STANDARD.decode(pieces.data.concat()).ok()?)
}

/// The texts in a column.
pub(super) fn texts<'a>(columns: &'a [FieldData], name: &str) -> &'a [String] {
    match scalars(columns, name) {
        Some(Data::StringData(texts)) => &texts.data,
        _ => &[],
    }
}

/// The questions in some columns, with these surroundings.
pub(super) fn candidates(columns: &[FieldData], rest: Key) -> Vec<Candidate> {
    let vectors = columns
        .iter()
        .find(|column| column.field_name == "embedding");
    let Some(Field::Vectors(vectors)) = vectors.and_then(|column| column.field.as_ref()) else {
        return Vec::new();
    };
    let (Ok(dimension), Some(vector_field::Data::FloatVector(numbers))) =
        (usize::try_from(vectors.dim), &vectors.data)
    else {
        return Vec::new();
    };
    let vectors = numbers.data.chunks(dimension.max(1));
    let names = texts(columns, "id").iter().zip(texts(columns, "query"));
    let found = names.zip(vectors).filter_map(|((id, query), vector)| {
        let asked = Asked {
            rest,
            text: query.clone(),
            embedding: vector.into(),
            terms: terms(query),
        };
        let key = Key::parse(id)?;
        Some(Candidate { key, asked })
    });
    found.collect()
}

fn scalars<'a>(columns: &'a [FieldData], name: &str) -> Option<&'a Data> {
    let column = columns.iter().find(|column| column.field_name == name)?;
    match column.field.as_ref()? {
        Field::Scalars(scalars) => scalars.data.as_ref(),
        Field::Vectors(_) => None,
    }
}

/// A vector of a row that is not searched for: Milvus wants one.
fn placeholder(dimension: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimension];
    if let Some(first) = vector.first_mut() {
        *first = 1.0;
    }
    vector
}

/// Milliseconds since 1970 as Milvus counts.
pub(super) fn whole(moment: Moment) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}

fn field(name: &str, kind: DataType, parameter: &str, value: usize) -> FieldSchema {
    FieldSchema {
        name: name.to_owned(),
        is_primary_key: false,
        data_type: kind.into(),
        type_params: vec![pair(parameter, value)],
        element_type: DataType::None.into(),
    }
}

fn pair(key: &str, value: usize) -> KeyValuePair {
    KeyValuePair {
        key: key.to_owned(),
        value: value.to_string(),
    }
}

fn column(name: &str, kind: DataType, data: Data) -> FieldData {
    FieldData {
        r#type: kind.into(),
        field_name: name.to_owned(),
        field: Some(Field::Scalars(ScalarField { data: Some(data) })),
    }
}

fn text(name: &str, text: String) -> FieldData {
    let data = Data::StringData(StringArray { data: vec![text] });
    column(name, DataType::VarChar, data)
}

fn number(name: &str, number: i64) -> FieldData {
    let data = Data::LongData(LongArray { data: vec![number] });
    column(name, DataType::Int64, data)
}
