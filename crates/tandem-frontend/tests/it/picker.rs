//! Which worker a proxy is told to send a request to.

use std::time::Duration;

use serde_json::{Value, json};
use tandem_frontend::{Form, FrontendError, PickRequest, Picked, Picker};
use tandem_runtime::request_plane::ServedEndpoint;

use crate::stage::{MODEL, Script, Stage};

const ENDPOINTS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

/// A picker and as many workers as there are `endpoints`.
struct Scene {
    picker: Picker,
    stage: Stage,
    ids: Vec<u64>,
    _served: Vec<ServedEndpoint>,
}

impl Scene {
    async fn new(flags: &[&str], endpoints: &[&str]) -> Self {
        let stage = Stage::new(&[]).await;
        let (mut ids, mut served) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            let script = Script::Finish(vec![300]);
            let (_, one, id) = stage.join_at(script, Some(endpoint)).await;
            served.push(one);
            ids.push(id);
        }
        let scene = Self {
            picker: stage.picker(flags),
            stage,
            ids,
            _served: served,
        };
        for endpoint in endpoints {
            let only = |allowed: &str| allowed == *endpoint;
            eventually(|| scene.picker.pick_any(&only).is_some()).await;
        }
        scene
    }

    async fn pick(&self, prompt: &str) -> Result<Picked, FrontendError> {
        self.pick_among(prompt, &ENDPOINTS).await
    }

    async fn pick_among(&self, prompt: &str, allowed: &[&str]) -> Result<Picked, FrontendError> {
        let body = json!({"model": MODEL, "prompt": prompt, "max_tokens": 1});
        self.ask(Form::Completion, &body, 0, allowed).await
    }

    async fn ask(
        &self,
        form: Form,
        body: &Value,
        fallbacks: usize,
        allowed: &[&str],
    ) -> Result<Picked, FrontendError> {
        let request = PickRequest {
            form,
            body: body.to_string().into(),
            request_id: "r",
            fallbacks,
        };
        let allowed = |endpoint: &str| allowed.contains(&endpoint);
        self.picker.pick(request, &allowed).await
    }
}

async fn eventually(check: impl Fn() -> bool) {
    for _ in 0..500 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s");
}

#[tokio::test]
async fn only_workers_with_an_address_are_picked() {
    let scene = Scene::new(&[], &[]).await;
    assert!(!scene.picker.is_ready());
    let silent = scene.stage.join(Script::Finish(vec![300])).await;
    scene.stage.ready(1).await;
    let error = scene.pick("Hi").await.err().unwrap();
    assert!(matches!(error, FrontendError::NoWorkers(_)), "{error}");
    assert!(!scene.picker.is_ready());
    let script = Script::Finish(vec![300]);
    let open = scene.stage.join_at(script, Some(ENDPOINTS[0])).await;
    eventually(|| scene.picker.is_ready()).await;
    for _ in 0..10 {
        let picked = scene.pick("Hi").await.unwrap();
        assert_eq!(picked.endpoint(), ENDPOINTS[0]);
        assert!(picked.fallbacks().is_empty());
    }
    drop((silent, open));
}

#[tokio::test]
async fn subsets_limit_the_choice() {
    let scene = Scene::new(&[], &ENDPOINTS).await;
    for _ in 0..10 {
        let picked = scene.pick_among("Hi", &ENDPOINTS[1..2]).await.unwrap();
        assert_eq!(picked.endpoint(), ENDPOINTS[1]);
        let any = |endpoint: &str| endpoint == ENDPOINTS[2];
        assert_eq!(
            scene.picker.pick_any(&any).unwrap().endpoint(),
            ENDPOINTS[2]
        );
    }
    let error = scene.pick_among("Hi", &[]).await.err().unwrap();
    assert!(matches!(error, FrontendError::NoWorkers(_)), "{error}");
    assert!(scene.picker.pick_any(&|_| false).is_none());
}

#[tokio::test]
async fn a_prompt_goes_where_it_was() {
    let scene = Scene::new(&["--no-kv-events"], &ENDPOINTS).await;
    for topic in 0..8 {
        let prompt = format!("Number {topic}. ") + &"The old baker repaired the door. ".repeat(20);
        let home = scene.pick(&prompt).await.unwrap().endpoint().to_owned();
        let again = scene.pick(&format!("{prompt} And then?")).await.unwrap();
        assert_eq!(again.endpoint(), home);
    }
}

#[tokio::test]
async fn a_request_counts_until_it_is_dropped() {
    let scene = Scene::new(&["--router-mode", "least-loaded"], &ENDPOINTS[..2]).await;
    let first = scene.pick("Hi").await.unwrap();
    let second = scene.pick("Hi").await.unwrap();
    let home = first.endpoint().to_owned();
    assert_ne!(second.endpoint(), home);
    drop(first);
    assert_eq!(scene.pick("Hi").await.unwrap().endpoint(), home);
}

#[tokio::test]
async fn every_sequence_of_a_request_counts() {
    let scene = Scene::new(&["--router-mode", "least-loaded"], &ENDPOINTS[..2]).await;
    let body = json!({"model": MODEL, "prompt": ["Hi", "Hello"], "n": 2, "max_tokens": 1});
    let four = scene.ask(Form::Completion, &body, 0, &ENDPOINTS).await;
    let four = four.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let one = scene.pick("Hi").await.unwrap();
        assert_ne!(one.endpoint(), four.endpoint());
        held.push(one);
    }
}

#[tokio::test]
async fn load_moves_to_who_really_serves() {
    let scene = Scene::new(&["--router-mode", "least-loaded"], &ENDPOINTS[..2]).await;
    let mut moved = scene.pick("Hi").await.unwrap();
    let home = moved.endpoint().to_owned();
    let other = ENDPOINTS.into_iter().find(|one| *one != home).unwrap();
    moved.prefill_completed();
    moved.served_by(other);
    for _ in 0..5 {
        assert_eq!(scene.pick("Hi").await.unwrap().endpoint(), home);
    }
    // Somebody whom we do not know takes the load with them.
    moved.served_by("192.0.2.1:80");
    moved.failed();
    let held = scene.pick_among("Hi", &[&home]).await.unwrap();
    assert_eq!(scene.pick("Hi").await.unwrap().endpoint(), other);
    drop(held);
}

#[tokio::test]
async fn who_does_not_answer_is_left_alone() {
    let scene = Scene::new(&[], &ENDPOINTS[..2]).await;
    let mut picked = scene.pick("Hi").await.unwrap();
    picked.failed();
    // The error that the client gets in its place is no sign of life.
    picked.prefill_completed();
    for _ in 0..10 {
        let next = scene.pick("Hi").await.unwrap();
        assert_ne!(next.endpoint(), picked.endpoint());
        let any = scene.picker.pick_any(&|_| true).unwrap();
        assert_ne!(any.endpoint(), picked.endpoint());
    }
    let only = scene.pick_among("Hi", &[picked.endpoint()]).await.unwrap();
    assert_eq!(only.endpoint(), picked.endpoint(), "better than nobody");
}

#[tokio::test]
async fn fallbacks_are_other_workers() {
    let scene = Scene::new(&[], &ENDPOINTS).await;
    let body = json!({"model": MODEL, "prompt": "Hi", "max_tokens": 1});
    let check = async |fallbacks: usize, want: usize| {
        let picked = scene.ask(Form::Completion, &body, fallbacks, &ENDPOINTS);
        let picked = picked.await.unwrap();
        let mut all = picked.fallbacks().to_vec();
        assert_eq!(all.len(), want);
        all.push(picked.endpoint().to_owned());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), want + 1, "{all:?}");
    };
    check(0, 0).await;
    check(1, 1).await;
    check(9, 2).await;
}

#[tokio::test]
async fn requests_are_refused_as_a_frontend_would() {
    let scene = Scene::new(&[], &ENDPOINTS[..1]).await;
    let check = async |form: Form, body: Value, status: u16| {
        let error = scene.ask(form, &body, 0, &ENDPOINTS).await.err().unwrap();
        assert_eq!(error.kind().status(), status, "{body}: {error}");
    };
    let chat = |content: &str| json!([{"role": "user", "content": content}]);
    check(Form::Chat, json!({"model": MODEL}), 400).await;
    check(
        Form::Chat,
        json!({"model": "x", "messages": chat("Hi")}),
        404,
    )
    .await;
    let long = chat(&"word ".repeat(20_000));
    check(Form::Chat, json!({"model": MODEL, "messages": long}), 400).await;
    check(Form::Completion, json!({"model": MODEL, "prompt": []}), 400).await;
    let hi = json!({"model": MODEL, "messages": chat("Hi")});
    let picked = scene.ask(Form::Chat, &hi, 0, &ENDPOINTS).await.unwrap();
    assert_eq!(picked.endpoint(), ENDPOINTS[0]);
}

#[tokio::test]
async fn busy_workers_are_spared() {
    let scene = Scene::new(&["--busy-threshold", "0.8"], &ENDPOINTS[..2]).await;
    // Reports are heard once the picker listens for them.
    let busy = async |workers: &[u64]| {
        for worker in workers {
            scene.stage.report(*worker, 90).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut in_turn = 0;
    for _ in 0..500 {
        busy(&scene.ids[..1]).await;
        let picked = scene.pick("Hi").await.unwrap();
        in_turn = match picked.endpoint() == ENDPOINTS[1] {
            true => in_turn + 1,
            false => 0,
        };
        if in_turn == 20 {
            break;
        }
    }
    assert_eq!(in_turn, 20, "a busy worker is picked");
    for _ in 0..500 {
        busy(&scene.ids).await;
        if let Err(error) = scene.pick("Hi").await {
            assert!(matches!(error, FrontendError::AllBusy(_)), "{error}");
            return;
        }
    }
    panic!("busy workers are picked");
}
