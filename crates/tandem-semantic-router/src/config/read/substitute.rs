//! `${NAME}` in a text.

/// Why a text could not be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SubstituteError {
    #[error("environment variable `{0}` is not set; use `${{{0}:-default}}` to give a default")]
    Unset(String),
    #[error("`${{` without `}}`")]
    Open,
}

/// Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for a literal `${`.
///
/// The value is not read again, so a secret may hold any characters.
pub(super) fn substitute(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, SubstituteError> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, tail) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            done.push_str(before);
            done.push_str("${");
            rest = &tail[2..];
            continue;
        }
        done.push_str(before);
        let (name, after) = tail[2..].split_once('}').ok_or(SubstituteError::Open)?;
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        let value = lookup(name).or_else(|| default.map(str::to_owned));
        done.push_str(&value.ok_or_else(|| SubstituteError::Unset(name.to_owned()))?);
        rest = after;
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<&str, SubstituteError>) {
        let lookup = |name: &str| (name == "KEY").then(|| "${secret}".to_owned());
        assert_eq!(substitute(text, lookup), want.map(str::to_owned));
    }

    #[test]
    fn names_are_replaced_once() {
        check("plain $5 {x}", Ok("plain $5 {x}"));
        check("Bearer ${KEY}!", Ok("Bearer ${secret}!"));
        check("${NO:-a:-b}${NO:-}", Ok("a:-b"));
        check("$${KEY}", Ok("${KEY}"));
        check("${NO}", Err(SubstituteError::Unset("NO".into())));
        check("${KEY", Err(SubstituteError::Open));
    }
}
