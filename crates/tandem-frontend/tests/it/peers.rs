//! Who has a prompt's KV blocks, if the chosen worker does not.

use std::time::Duration;

use tandem_protocol::engine::KvPeer;

use crate::stage::{Actor, Script, Stage};

/// What a worker was told with its requests since it was asked last.
fn told(actor: &Actor, known: &mut usize) -> Vec<Option<KvPeer>> {
    let requests = actor.requests().into_iter().skip(*known);
    let told: Vec<_> = requests.map(|request| request.kv_peer).collect();
    *known += told.len();
    told
}

#[tokio::test]
async fn a_worker_is_told_who_has_more_of_the_prompt() {
    // All workers are as likely, whatever they have.
    let stage = Stage::new(&["--kv-overlap-score-weight", "0"]).await;
    let finish = || Script::Finish(vec![300]);
    let (first, _first, first_id) = stage.join_at(finish(), None).await;
    let (second, _second, second_id) = stage.join_at(finish(), None).await;
    let (silent, _silent, _) = stage.join_at(finish(), None).await;
    stage.ready(3).await;
    let workers = [&first, &second, &silent];
    let mut known = [0; 3];
    let prompt: Vec<u32> = (0..100).map(|token| 300 + token).collect();
    let mut ask = async || {
        for _ in 0..40 {
            let (status, body) = stage.complete(prompt.clone(), 1).await;
            assert_eq!(status, 200, "{body}");
        }
        let told = [0, 1, 2].map(|which| told(workers[which], &mut known[which]));
        assert!(told.iter().all(|told| !told.is_empty()), "one had no turn");
        told.map(|mut told| {
            told.dedup();
            told
        })
    };
    let peer = |address: &str, blocks| {
        vec![Some(KvPeer {
            address: address.to_owned(),
            blocks,
        })]
    };
    let nobody = || vec![None];

    stage.cached(first_id, &prompt[..96]).await;
    settle().await;
    assert_eq!(ask().await, [nobody(), nobody(), nobody()]);
    // One alone has nobody to give anything to.
    stage.shares(first_id, "10.0.0.1:7000").await;
    settle().await;
    assert_eq!(ask().await, [nobody(), nobody(), nobody()]);
    stage.shares(second_id, "10.0.0.2:7000").await;
    let from_first = peer("10.0.0.1:7000", 6);
    until(&mut ask, [nobody(), from_first, nobody()]).await;
    // Three blocks less are not worth it.
    stage.cached(second_id, &prompt[..48]).await;
    until(&mut ask, [nobody(), nobody(), nobody()]).await;
}

/// Asks until the workers are told what is expected.
async fn until(ask: &mut impl AsyncFnMut() -> Told, expect: Told) {
    for _ in 0..20 {
        if ask().await == expect {
            return;
        }
        settle().await;
    }
    assert_eq!(ask().await, expect);
}

/// What each of three workers was told.
type Told = [Vec<Option<KvPeer>>; 3];

/// Gives the frontend time to hear of something.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}
