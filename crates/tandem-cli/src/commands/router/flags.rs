//! Flags in the form of the original router, `-config=FILE`.

use std::ffi::OsString;

/// The arguments, where those of `tandem router` may also be written with one dash.
pub(crate) fn with_long_flags(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let args: Vec<OsString> = args.into_iter().collect();
    if !args.iter().any(|arg| arg == "router") {
        return args;
    }
    args.into_iter().map(with_long_flag).collect()
}

fn with_long_flag(arg: OsString) -> OsString {
    let name = arg.to_str().and_then(|text| text.strip_prefix('-'));
    let is_word = |name: &str| {
        let mut letters = name.bytes();
        letters.next().is_some_and(|byte| byte.is_ascii_lowercase())
            && letters.next().is_some_and(|byte| byte.is_ascii_lowercase())
    };
    match name {
        Some(name) if is_word(name) => format!("--{name}").into(),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_enough_for_the_router_only() {
        let check = |given: &str, want: &str| {
            let found = with_long_flags(given.split(' ').map(OsString::from));
            let want: Vec<OsString> = want.split(' ').map(OsString::from).collect();
            assert_eq!(found, want);
        };
        check(
            "tandem router -config=a.yaml -port 5 --secure=false -h -1",
            "tandem router --config=a.yaml --port 5 --secure=false -h -1",
        );
        check("tandem up -port 5", "tandem up -port 5");
    }
}
