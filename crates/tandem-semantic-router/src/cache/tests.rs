use std::pin::pin;

use super::*;
use crate::request::Endpoint;

pub(super) const ANSWER: &str = r#"{"choices":[{"message":{"content":"four"},"finish_reason":"stop"}],"usage":{"total_tokens":5}}"#;

/// A request as tests vary it.
#[derive(Clone)]
pub(super) struct Asks {
    pub(super) question: &'static str,
    pub(super) system: &'static str,
    pub(super) tenant: &'static str,
    pub(super) vector: [f32; 2],
    pub(super) policy: CachePolicy,
    pub(super) control: CacheControl,
}

impl Default for Asks {
    fn default() -> Self {
        Self {
            question: "What is the capital of Peru?",
            system: "Be brief.",
            tenant: "anna",
            vector: [1.0, 0.0],
            policy: CachePolicy::default(),
            control: CacheControl::default(),
        }
    }
}

impl Asks {
    fn wanted(&self) -> Wanted<'_> {
        let partition = Partition {
            tenant: self.tenant.to_owned(),
            endpoint: Endpoint::Chat,
            decision: Some("geography".to_owned()),
            model: "m".to_owned(),
            address: None,
            scan: None,
        };
        let body = serde_json::json!({"model": "m", "messages": [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.question},
        ]});
        Wanted {
            keys: Keys::of(&partition, body.to_string().as_bytes()).unwrap(),
            embedding: Some(Arc::from(self.vector.as_slice())),
            policy: &self.policy,
            control: &self.control,
            model: "m",
            decision: Some("geography"),
            stream: false,
        }
    }
}

async fn recording(cache: &Arc<ResponseCache>, asks: &Asks) -> Box<Recording> {
    match cache.look_up(asks.wanted()).await {
        Found::Miss(Some(recording)) => recording,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn answer(cache: &Arc<ResponseCache>, asks: &Asks, body: &str) {
    let recording = recording(cache, asks).await;
    recording.piece(body.as_bytes()).unwrap().complete();
}

pub(super) async fn hit(cache: &Arc<ResponseCache>, asks: &Asks) -> Option<Hit> {
    match cache.look_up(asks.wanted()).await {
        Found::Hit(hit) => Some(hit),
        Found::Miss(_) => None,
    }
}

async fn answered() -> Arc<ResponseCache> {
    let cache = Arc::<ResponseCache>::default();
    answer(&cache, &Asks::default(), ANSWER).await;
    cache
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_to_the_byte() {
    let cache = answered().await;
    let hit = hit(&cache, &Asks::default()).await.unwrap();
    assert_eq!(hit.answer, ANSWER);
    assert_eq!(hit.similarity, None);
    let statistics = cache.statistics();
    assert_eq!(
        (statistics.exact_hits, statistics.misses, statistics.stored),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn a_similar_question_has_it_if_everything_around_is_the_same() {
    let cache = answered().await;
    let similar = Asks {
        question: "tell me the capital of Peru please",
        vector: [0.8, 0.6],
        ..Asks::default()
    };
    let check = async |asks: Asks, want: bool| {
        let hit = hit(&cache, &asks).await;
        assert_eq!(
            hit.is_some(),
            want,
            "{} {} {}",
            asks.question,
            asks.system,
            asks.tenant
        );
    };
    check(similar.clone(), true).await;
    assert_eq!(cache.statistics().semantic_hits, 1);
    check(
        Asks {
            system: "Be long.",
            ..similar.clone()
        },
        false,
    )
    .await;
    check(
        Asks {
            tenant: "bert",
            ..similar.clone()
        },
        false,
    )
    .await;
    check(
        Asks {
            tenant: "bert",
            ..Asks::default()
        },
        false,
    )
    .await;
    check(
        Asks {
            vector: [0.6, 0.8],
            ..similar.clone()
        },
        false,
    )
    .await;
    check(
        Asks {
            question: "What is the capital of Chile?",
            ..Asks::default()
        },
        false,
    )
    .await;
    let exact = CachePolicy {
        mode: CacheMode::Exact,
        ..CachePolicy::default()
    };
    check(
        Asks {
            policy: exact,
            ..similar
        },
        false,
    )
    .await;
}

#[tokio::test]
async fn only_whole_answers_are_kept() {
    let cache = Arc::<ResponseCache>::default();
    for partial in ["", &ANSWER[..40], r#"{"error":{"message":"busy"}}"#] {
        answer(&cache, &Asks::default(), partial).await;
    }
    drop(
        recording(&cache, &Asks::default())
            .await
            .piece(ANSWER.as_bytes()),
    );
    assert_eq!(hit(&cache, &Asks::default()).await, None);
    assert_eq!(cache.statistics().skipped, 3);
}

#[tokio::test]
async fn a_call_of_a_tool_answers_only_the_same_request() {
    let call =
        r#"{"choices":[{"message":{"tool_calls":[{"id":"1"}]},"finish_reason":"tool_calls"}]}"#;
    let cache = Arc::<ResponseCache>::default();
    answer(&cache, &Asks::default(), call).await;
    assert!(hit(&cache, &Asks::default()).await.is_some());
    let similar = Asks {
        question: "capital of Peru",
        ..Asks::default()
    };
    assert_eq!(hit(&cache, &similar).await, None);
}

#[tokio::test]
async fn a_long_answer_passes_and_is_not_kept() {
    let cache = Arc::<ResponseCache>::default();
    let mut recording = Some(recording(&cache, &Asks::default()).await);
    let mut pieces = 0;
    while let Some(open) = recording.take() {
        recording = open.piece(&[b'x'; 100_000]);
        pieces += 1;
    }
    assert_eq!(pieces, MAX_ANSWER / 100_000 + 1);
    assert_eq!(
        cache.recording.load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn clients_may_ask_for_a_fresh_answer_and_for_no_trace() {
    let control = |text: &str| Asks {
        control: CacheControl::parse(std::iter::once(text)),
        ..Asks::default()
    };
    let cache = answered().await;
    assert_eq!(hit(&cache, &control("no-cache")).await, None);
    assert_eq!(hit(&cache, &control("bypass")).await, None);
    assert!(hit(&cache, &control("max-age=60")).await.is_some());
    let fresh = ANSWER.replace("four", "five");
    answer(&cache, &control("no-cache"), &fresh).await;
    assert_eq!(hit(&cache, &Asks::default()).await.unwrap().answer, fresh);
    cache.invalidate(&Selector::All).await.unwrap();
    let found = cache.look_up(control("no-store").wanted()).await;
    assert!(matches!(found, Found::Miss(None)));
}

#[tokio::test]
async fn answers_end_with_their_time_and_with_a_word() {
    let cache = Arc::<ResponseCache>::default();
    let policy = CachePolicy {
        ttl: Some(Duration::ZERO),
        ..CachePolicy::default()
    };
    let asks = Asks {
        policy,
        ..Asks::default()
    };
    answer(&cache, &asks, ANSWER).await;
    assert_eq!(hit(&cache, &asks).await, None);
    let cache = answered().await;
    let key = hit(&cache, &Asks::default()).await.unwrap().key;
    assert_eq!(cache.invalidate(&Selector::Key(key)).await, Ok(1));
    assert_eq!(cache.invalidate(&Selector::Key(key)).await, Ok(0));
    assert_eq!(hit(&cache, &Asks::default()).await, None);
}

#[tokio::test(start_paused = true)]
async fn many_ask_and_one_request_goes_out() {
    let cache = Arc::<ResponseCache>::default();
    let asks = Asks::default();
    let leader = recording(&cache, &asks).await;
    let mut first = pin!(cache.look_up(asks.wanted()));
    let mut second = pin!(cache.look_up(asks.wanted()));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    leader.piece(ANSWER.as_bytes()).unwrap().complete();
    assert!(matches!(first.await, Found::Hit(_)));
    assert!(matches!(second.await, Found::Hit(_)));
    assert_eq!(cache.statistics().followed, 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_out_when_the_first_fails_or_takes_too_long() {
    let cache = Arc::<ResponseCache>::default();
    let asks = Asks::default();
    let leader = recording(&cache, &asks).await;
    let mut follower = pin!(cache.look_up(asks.wanted()));
    assert!(futures::poll!(&mut follower).is_pending());
    drop(leader);
    let Found::Miss(Some(_leads_now)) = follower.await else {
        panic!("nobody has answered")
    };
    let before = Instant::now();
    let alone = cache.look_up(asks.wanted()).await;
    assert!(matches!(alone, Found::Miss(Some(_))));
    assert_eq!(before.elapsed(), MAX_WAIT);
}

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
    let same =
        |scope, left: &Client, right: &Client| Some(tenant(scope, left)? == tenant(scope, right)?);
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
