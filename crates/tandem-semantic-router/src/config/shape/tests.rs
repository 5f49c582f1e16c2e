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
