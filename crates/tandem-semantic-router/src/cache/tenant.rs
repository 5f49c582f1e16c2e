//! Who shares answers.

use crate::config::CacheScope;
use crate::request::Client;

/// Whose answers a request may have; `None` if its scope needs to know who asks, and nobody said.
pub(crate) fn tenant(scope: CacheScope, client: &Client) -> Option<String> {
    let user = || client.user.as_ref().map(|user| format!("user {user}"));
    let credential = || client.credential.map(|key| format!("credential {key}"));
    match scope {
        CacheScope::Global => Some("everyone".to_owned()),
        CacheScope::User => user(),
        CacheScope::Team => {
            let mut groups: Vec<&str> = client.groups.iter().map(String::as_str).collect();
            groups.sort_unstable();
            (!groups.is_empty()).then(|| format!("team {}", groups.join(",")))
        }
        CacheScope::Client => user()
            .or_else(credential)
            .or_else(|| Some("anonymous".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::CacheKey;
    use super::*;

    #[test]
    fn tenants_are_apart_unless_the_scope_says_otherwise() {
        let client = |user: Option<&str>, groups: &[&str], credential: Option<&str>| Client {
            user: user.map(str::to_owned),
            groups: groups.iter().map(|name| (*name).to_owned()).collect(),
            credential: credential.map(|text| CacheKey::of(&[text.as_bytes()])),
            ..Client::default()
        };
        let (anna, bert) = (
            client(Some("anna"), &["a", "b"], None),
            client(Some("bert"), &["b", "a"], None),
        );
        let (key, other) = (client(None, &[], Some("k1")), client(None, &[], Some("k2")));
        let nobody = client(None, &[], None);
        let same = |scope, left: &Client, right: &Client| {
            Some(tenant(scope, left)? == tenant(scope, right)?)
        };
        assert_eq!(same(CacheScope::Client, &anna, &anna), Some(true));
        assert_eq!(same(CacheScope::Client, &anna, &bert), Some(false));
        assert_eq!(same(CacheScope::Client, &key, &other), Some(false));
        assert_eq!(same(CacheScope::Client, &key, &nobody), Some(false));
        assert_eq!(same(CacheScope::Client, &nobody, &nobody), Some(true));
        assert_eq!(same(CacheScope::User, &anna, &bert), Some(false));
        assert_eq!(same(CacheScope::User, &anna, &key), None);
        assert_eq!(same(CacheScope::Team, &anna, &bert), Some(true));
        assert_eq!(same(CacheScope::Team, &anna, &nobody), None);
        assert_eq!(same(CacheScope::Global, &anna, &nobody), Some(true));
        let posing = client(Some("x credential k1"), &[], None);
        assert_eq!(same(CacheScope::Client, &posing, &key), Some(false));
    }
}
