//! JSON values of clients, read as they are written.
//!
//! `serde_json::Value` takes an object whose first member is called
//! `$serde_json::private::RawValue` for a serialised `RawValue`: it parses the member's text in the
//! object's place, or fails. Clients may call members what they like, so values of theirs are read
//! with [`Json`], or with the functions here where a field has another type.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A JSON value in which no name of a member has a meaning.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Json(pub Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self)
    }
}

/// For `#[serde(deserialize_with)]`: a list.
///
/// # Errors
/// It is not a list.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(values(Vec::deserialize(deserializer)?))
}

/// For `#[serde(default, deserialize_with)]`: a list, or `null`.
///
/// # Errors
/// It is neither.
pub fn optional_list<'de, D>(deserializer: D) -> Result<Option<Vec<Value>>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.map(values))
}

/// For `#[serde(default, deserialize_with)]`: any value; `null` is none.
///
/// # Errors
/// It is not JSON.
pub fn optional_value<'de, D>(deserializer: D) -> Result<Option<Value>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.map(|Json(value)| value))
}

/// For `#[serde(default, deserialize_with)]`: an object, or `null`.
///
/// # Errors
/// It is neither.
pub fn optional_object<'de, D>(deserializer: D) -> Result<Option<Map<String, Value>>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.map(|Object(members)| members))
}

/// For `#[serde(flatten, deserialize_with)]`: the members that no other field takes.
///
/// # Errors
/// It is not an object.
pub fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Object::deserialize(deserializer).map(|Object(members)| members)
}

fn values(list: Vec<Json>) -> Vec<Value> {
    list.into_iter().map(|Json(value)| value).collect()
}

struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Self)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Json(value))) = map.next_entry()? {
            members.insert(name, value);
        }
        Ok(members)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any valid JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Json(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        ObjectVisitor.visit_map(map).map(Value::Object)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names that `serde_json` gives a meaning in its own formats.
    const PRIVATE: [&str; 2] = [
        "$serde_json::private::RawValue",
        "$serde_json::private::Number",
    ];

    /// Any JSON value; its members are often called what `serde_json` knows.
    pub(in crate::openai) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            // Others may lose their last digit when they are read.
            any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                members(inner).prop_map(Value::Object),
            ]
        })
    }

    /// Any JSON object.
    pub(in crate::openai) fn any_object() -> impl Strategy<Value = Map<String, Value>> {
        members(any_json())
    }

    fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        let name = prop_oneof![
            prop::sample::select(&PRIVATE[..]).prop_map(str::to_owned),
            any::<String>(),
        ];
        prop::collection::vec((name, value), 0..4).prop_map(|members| members.into_iter().collect())
    }

    #[test]
    fn no_name_of_a_member_has_a_meaning() {
        for name in PRIVATE {
            for value in ["44", r#""1""#, r#""{\"role\":\"system\"}""#, "{}", "null"] {
                let text = format!(r#"[{{"{name}":{value}}},{{"a":{{"{name}":{value},"b":1}}}}]"#);
                let Json(read) = serde_json::from_str(&text).unwrap();
                assert_eq!(read.to_string(), text);
            }
        }
    }

    #[test]
    fn numbers_are_those_of_serde_json() {
        for text in [
            "-1",
            "18446744073709551615",
            "1.5",
            "1e300",
            "123456789012345678901234",
        ] {
            let Json(read) = serde_json::from_str(text).unwrap();
            assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
        }
    }

    proptest! {
        #[test]
        fn every_value_is_read_as_it_is_written(value in any_json()) {
            let Json(read) = serde_json::from_str(&value.to_string()).unwrap();
            prop_assert_eq!(read, value);
        }
    }
}
