//! What the frontend tells of its load.

use tandem_protocol::prefix::PromptPrefixes;
use tandem_protocol::serving_load::ServingLoad;

use crate::stage::{MODEL, Script, Stage};

async fn load(stage: &Stage, query: &str) -> ServingLoad {
    let (status, body) = stage.get(&format!("/load{query}")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn the_load_tells_of_waiting_requests_costs_and_cached_prompts() {
    let stage = Stage::new(&[]).await;
    let (_worker, _served) = stage.join(Script::Finish(vec![300, 301])).await;
    stage.ready(1).await;
    let idle = load(&stage, "").await;
    let model = &idle.models[MODEL];
    assert_eq!((model.workers, model.waiting_requests), (1, 0));
    assert_eq!((&model.prefill, &model.prefixes), (&None, &None));

    let prompt = "The old baker repaired the wooden door. ".repeat(30);
    let (status, _) = stage.complete(prompt.as_str(), 2).await;
    assert_eq!(status, 200);
    let served = load(&stage, "").await;
    let model = &served.models[MODEL];
    assert_eq!(
        (model.waiting_requests, model.queued_prefill_tokens),
        (0, 0)
    );
    assert!(model.prefill.unwrap().bytes_per_token > 1.0);
    let overlap =
        |text: &str| PromptPrefixes::of_text(text).overlap(model.prefixes.as_ref().unwrap());
    assert_eq!(overlap(&format!("{prompt} Why?")), 1024);
    assert_eq!(overlap(&format!("So: {prompt}")), 0);

    // What has not changed is not told again, unless the asker may know another frontend's.
    let since = format!("?since={}", served.version);
    assert_eq!(load(&stage, &since).await.models[MODEL].prefixes, None);
    let other = load(&stage, "?since=0000000000000000-9").await;
    assert!(other.models[MODEL].prefixes.is_some());
    stage.complete(format!("So: {prompt}").as_str(), 2).await;
    assert!(load(&stage, &since).await.models[MODEL].prefixes.is_some());
}

#[tokio::test]
async fn requests_without_a_first_token_wait() {
    let stage = Stage::new(&[]).await;
    let (_worker, _served) = stage.join(Script::Hang(Vec::new())).await;
    stage.ready(1).await;
    let asking = stage.complete("one two three four", 2);
    let watching = async {
        loop {
            let load = load(&stage, "").await;
            let model = &load.models[MODEL];
            if model.waiting_requests == 1 && model.queued_prefill_tokens > 0 {
                return;
            }
        }
    };
    tokio::select! {
        answer = asking => panic!("the worker said nothing: {answer:?}"),
        () = watching => {}
    }
}
