//! Editing a JSON object without touching what is not edited.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{InvalidParameter, error::from_json};

/// A JSON object whose members keep their order and their exact text until they are replaced.
///
/// Serialising an unedited object gives the members' original bytes back (white space between
/// members aside), so number formats and unknown members survive.
#[derive(Debug, Clone, Default)]
pub struct JsonObject {
    members: Vec<(String, Box<RawValue>)>,
}

impl JsonObject {
    /// Reads one object.
    ///
    /// # Errors
    /// The text is not JSON, or not an object.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidParameter> {
        from_json(bytes)
    }

    /// The text of a member; the last one, if the name occurs twice.
    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        let found = self.members.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| &**value)
    }

    /// A member decoded as `T`; `None` if it is absent or `null`.
    ///
    /// # Errors
    /// The member is there and is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, InvalidParameter> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map_err(|error| {
            InvalidParameter::new(name, format!("invalid value for `{name}`: {error}"))
        })
    }

    /// Replaces a member in place, or appends it.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        let raw = serde_json::value::to_raw_value(value)
            .expect("a value made of maps with string keys always serialises");
        self.set_raw(name, raw);
    }

    /// Replaces a member in place, or appends it.
    pub fn set_raw(&mut self, name: &str, raw: Box<RawValue>) {
        let Some(at) = self.members.iter().position(|(key, _)| key == name) else {
            self.members.push((name.to_owned(), raw));
            return;
        };
        self.members[at].1 = raw;
        let mut seen = 0;
        self.members.retain(|(key, _)| {
            let same = key == name;
            seen += usize::from(same);
            !same || seen == 1
        });
    }

    /// Takes a member out; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|(key, _)| key != name);
        self.members.len() < before
    }

    /// Names of the members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// The object as JSON text.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("raw members always serialise")
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = JsonObject;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
        let mut members = Vec::with_capacity(map.size_hint().unwrap_or(8));
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(JsonObject { members })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::openai::json::Json;
    use crate::openai::json::tests::{any_json, any_object};

    fn check(before: &str, edit: impl Fn(&mut JsonObject), after: &str) {
        let mut object = JsonObject::parse(before.as_bytes()).unwrap();
        edit(&mut object);
        assert_eq!(String::from_utf8(object.to_bytes()).unwrap(), after);
    }

    #[test]
    fn untouched_members_keep_order_and_number_format() {
        let text = r#"{"z":1.10,"a":1e3,"big":123456789012345678901234567890,"u":"\u00e9"}"#;
        check(text, |_| {}, text);
        check(
            text,
            |object| object.set("a", &"new"),
            r#"{"z":1.10,"a":"new","big":123456789012345678901234567890,"u":"\u00e9"}"#,
        );
    }

    #[test]
    fn set_appends_and_removes_duplicates() {
        check("{}", |object| object.set("a", &1), r#"{"a":1}"#);
        check(
            r#"{"a":1,"b":2,"a":3}"#,
            |object| object.set("a", &4),
            r#"{"a":4,"b":2}"#,
        );
        check(
            r#"{"a":1,"b":2,"a":3}"#,
            |object| assert!(object.remove("a")),
            r#"{"b":2}"#,
        );
    }

    #[test]
    fn the_last_of_two_members_counts() {
        let object = JsonObject::parse(br#"{"a":1,"a":2,"n":null}"#).unwrap();
        assert_eq!(object.get::<u32>("a").unwrap(), Some(2));
        assert_eq!(object.get::<u32>("n").unwrap(), None);
        assert_eq!(object.get::<u32>("b").unwrap(), None);
        assert_eq!(
            object.get::<String>("a").unwrap_err().param.as_deref(),
            Some("a")
        );
    }

    #[test]
    fn only_objects_are_accepted() {
        for text in ["", "[]", "1", "{", "{}{}", "nul"] {
            assert!(JsonObject::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(JsonObject::parse(&bytes));
        }

        #[test]
        fn parse_then_print_is_the_identity(keys in prop::collection::hash_set("[a-z]{1,6}", 0..8)) {
            let text = format!(
                "{{{}}}",
                keys.iter().map(|key| format!(r#""{key}":{{"x":[1.0,"{key}"]}}"#)).collect::<Vec<_>>().join(",")
            );
            let object = JsonObject::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(object.to_bytes(), text.into_bytes());
        }

        #[test]
        fn every_object_survives_a_view_and_an_edit(members in any_object(), new in any_json()) {
            let text = serde_json::to_vec(&members).unwrap();
            let mut object = JsonObject::parse(&text).unwrap();
            for (name, value) in &members {
                prop_assert_eq!(object.get::<Json>(name).unwrap().unwrap_or_default().0, value.clone());
            }
            prop_assert_eq!(object.to_bytes(), text);
            object.set("model", &new);
            let mut want = members;
            want.insert("model".to_owned(), new);
            prop_assert_eq!(object.to_bytes(), serde_json::to_vec(&want).unwrap());
        }
    }
}
