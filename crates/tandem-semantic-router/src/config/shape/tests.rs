mod page;

use super::*;

/// Walks every shape below `fields`.
fn each_field(fields: &'static [Field], visit: &mut impl FnMut(&'static Field)) {
    for field in fields {
        visit(field);
        descend(field.shape, visit);
    }
}

fn descend(shape: Shape, visit: &mut impl FnMut(&'static Field)) {
    match shape {
        Shape::List(inner) | Shape::Map(inner) => descend(*inner, visit),
        Shape::Object(fields) => each_field(fields, visit),
        // The shape of a rule holds itself.
        Shape::Named(..) => {}
        Shape::Plugin => plugins::KINDS
            .iter()
            .for_each(|kind| descend(kind.configuration, visit)),
        _ => {}
    }
}

#[test]
fn keys_are_unique_and_reasons_are_phrases() {
    fn unique(fields: &[Field]) {
        for (i, field) in fields.iter().enumerate() {
            let again = fields[i + 1..].iter().any(|other| other.key == field.key);
            assert!(!again, "{}", field.key);
        }
    }
    for fields in [FLAT, LAYERED] {
        unique(fields);
        each_field(fields, &mut |field| {
            if let Some(reason) = field.unused {
                assert!(
                    !reason.ends_with('.') && !reason.is_empty(),
                    "{}",
                    field.key
                );
            } else {
                assert!(!field.doc.is_empty(), "{} says nothing", field.key);
            }
            if let Shape::Object(inner) = field.shape {
                unique(inner);
            }
        });
    }
}

/// A place of one key, with everything that must stand around it.
struct Place {
    path: String,
    field: &'static Field,
    /// Whether a key above it has no effect.
    below_unused: bool,
    /// The whole document with a value at the place.
    document: Box<dyn Fn(&str) -> String>,
}

/// A value that fits a shape, in YAML's flow style.
fn sample(shape: Shape) -> String {
    match shape {
        Shape::Any | Shape::Text => "word".to_owned(),
        Shape::Bool => "true".to_owned(),
        Shape::Whole(least, most) => 1.clamp(least, most).to_string(),
        Shape::Number(least, most) => 0.5_f64.clamp(least, most).to_string(),
        Shape::Tokens => "32K".to_owned(),
        Shape::Time => "500ms".to_owned(),
        Shape::Choice(words) => words[0].to_owned(),
        Shape::List(inner) => format!("[{}]", sample(*inner)),
        Shape::Map(inner) => format!("{{name: {}}}", sample(*inner)),
        Shape::Object(fields) => format!("{{{}}}", required(fields, None)),
        // Anything deeper is checked where the shape is first met.
        Shape::Named(_, Shape::Object(_)) => "{type: domain, name: math}".to_owned(),
        Shape::Named(_, inner) => sample(*inner),
        Shape::Plugin => "{type: fast_response, configuration: {message: hello}}".to_owned(),
    }
}

/// A value that does not fit, if there is one.
fn wrong(shape: Shape) -> Option<String> {
    Some(match shape {
        Shape::Any => return None,
        Shape::Text => "[1]".to_owned(),
        Shape::Bool => "perhaps".to_owned(),
        Shape::Whole(_, most) if most < i64::MAX => (most + 1).to_string(),
        Shape::Whole(..) => "1.5".to_owned(),
        Shape::Number(_, most) if most < f64::MAX => (most + 0.5).to_string(),
        Shape::Number(..) => "many".to_owned(),
        Shape::Tokens => "32Q".to_owned(),
        Shape::Time => "30x".to_owned(),
        Shape::Choice(_) => "xyzzyx".to_owned(),
        Shape::List(_) | Shape::Map(_) | Shape::Object(_) | Shape::Named(..) | Shape::Plugin => {
            "7".to_owned()
        }
    })
}

/// `key: value` of the fields that must be there, but for one.
fn required(fields: &[Field], but: Option<&str>) -> String {
    let fields = fields
        .iter()
        .filter(|field| field.required && Some(field.key) != but);
    let pairs: Vec<String> = fields
        .map(|field| format!("{}: {}", field.key, sample(field.shape)))
        .collect();
    pairs.join(", ")
}

type Document = std::rc::Rc<dyn Fn(&str) -> String>;

fn places(
    fields: &'static [Field],
    path: &str,
    below_unused: bool,
    around: &Document,
) -> Vec<Place> {
    let mut all = Vec::new();
    for field in fields {
        let path = if path.is_empty() {
            field.key.to_owned()
        } else {
            format!("{path}.{}", field.key)
        };
        let around = std::rc::Rc::clone(around);
        let beside = required(fields, Some(field.key));
        let document: Document = std::rc::Rc::new(move |value| {
            let comma = if beside.is_empty() { "" } else { ", " };
            around(&format!("{{{beside}{comma}{}: {value}}}", field.key))
        });
        let below = below_unused || field.unused.is_some();
        let here = std::rc::Rc::clone(&document);
        all.push(Place {
            path: path.clone(),
            field,
            below_unused,
            document: Box::new(move |value| here(value)),
        });
        all.extend(inside(field.shape, &path, below, &document));
    }
    all
}

fn inside(shape: Shape, path: &str, below: bool, document: &Document) -> Vec<Place> {
    let wrap = |before: &'static str, after: &'static str| -> Document {
        let document = std::rc::Rc::clone(document);
        std::rc::Rc::new(move |value| document(&format!("{before}{value}{after}")))
    };
    match shape {
        Shape::List(inner) => inside(*inner, &format!("{path}[0]"), below, &wrap("[", "]")),
        Shape::Map(inner) => inside(
            *inner,
            &format!("{path}.name"),
            below,
            &wrap("{name: ", "}"),
        ),
        Shape::Object(fields) => places(fields, path, below, document),
        Shape::Plugin => {
            let mut all = Vec::new();
            for kind in plugins::KINDS {
                let document = std::rc::Rc::clone(document);
                let name = kind.name;
                let document: Document = std::rc::Rc::new(move |value| {
                    document(&format!("{{type: {name}, configuration: {value}}}"))
                });
                let below = below || kind.unused.is_some();
                let path = format!("{path}.configuration");
                all.extend(inside(kind.configuration, &path, below, &document));
            }
            all
        }
        _ => Vec::new(),
    }
}

fn report(
    text: &str,
    fields: &[Field],
) -> (Vec<crate::config::Problem>, Vec<crate::config::Problem>) {
    use crate::config::read::tree::Node;
    use crate::config::read::{Cursor, Report};
    let root = Node::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let none = |_: &str| None;
    let report = Report::new(&none);
    check(&Cursor::root(&root, &report).section().unwrap(), fields);
    report.finish()
}

/// Every key: accepted with a fitting value, with exactly one warning that names the key and the
/// reason if it has no effect; refused by its path with a wrong one; not missed when it is not
/// there, unless it must be.
#[test]
fn every_key_may_be_set_unset_or_wrong() {
    let mut count = 0;
    for fields in [FLAT, LAYERED] {
        let root: Document = std::rc::Rc::new(str::to_owned);
        for place in places(fields, "", false, &root) {
            let Place { path, field, .. } = &place;
            let set = (place.document)(&sample(field.shape));
            let (errors, warnings) = report(&set, fields);
            assert_eq!(errors, [], "{set}");
            let mine: Vec<_> = warnings.iter().filter(|one| one.path == *path).collect();
            match field.unused {
                Some(reason) if !place.below_unused => {
                    let [warning] = mine[..] else {
                        panic!("{path}: {warnings:?}");
                    };
                    let want = format!("accepted, and has no effect because {reason}");
                    assert_eq!(warning.message, want, "{path}");
                }
                _ => assert_eq!(mine.len(), 0, "{path}: {warnings:?}"),
            }
            if let Some(value) = wrong(field.shape) {
                let (errors, _) = report(&(place.document)(&value), fields);
                assert!(
                    errors.iter().any(|error| error.path == *path),
                    "{path}: {errors:?}"
                );
            }
            let (errors, _) = report(&(place.document)("null"), fields);
            assert_eq!(errors.is_empty(), !field.required, "{path}: {errors:?}");
            count += 1;
        }
    }
    assert!(count > 500, "{count} keys");
}

#[test]
fn the_schema_describes_every_key() {
    let schema = json_schema();
    for (name, fields) in [("flat", FLAT), ("layered", LAYERED)] {
        let properties = schema["$defs"][name]["properties"].as_object().unwrap();
        let keys: Vec<&str> = fields.iter().map(|field| field.key).collect();
        assert_eq!(properties.keys().collect::<Vec<_>>(), keys, "{name}");
    }
    assert!(schema["$defs"]["rule"]["properties"]["conditions"].is_object());
    assert_eq!(
        schema["$defs"]["flat"]["properties"]["mom_registry"]["deprecated"],
        true
    );
}
