use std::path::Path;
use std::time::Instant;

use super::*;

fn start(command: &str, arguments: &[&str], directory: &Path) -> EngineProcess {
    let flags = Flags {
        arguments: arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect(),
        variables: vec![("GREETING", "hello world".to_owned())],
        files: Vec::new(),
    };
    EngineProcess::start((command, ""), &flags, directory, &Lifecycle::new()).unwrap()
}

fn exists(pid: &str) -> bool {
    // A zombie is gone, too: nobody has waited for it yet.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn read(path: &Path) -> String {
    let full = || std::fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'));
    eventually("the file is written", full).await;
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn words_and_variables_arrive_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words");
    let script = format!(
        r#"sh -c 'printf "%s|" "$GREETING" "$@" > {0}; echo >> {0}' sh"#,
        path.display()
    );
    let mut engine = start(
        &script,
        &["a b", "$HOME", "\"quoted\"", "'"],
        directory.path(),
    );
    assert!(engine.ended().await.unwrap().success());
    assert_eq!(read(&path).await, "hello world|a b|$HOME|\"quoted\"|'|\n");
}

#[tokio::test]
async fn a_command_that_does_not_exist_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = start("/no/such/engine", &[], directory.path());
    assert_eq!(engine.ended().await.unwrap().code(), Some(127));
}

/// An engine that ignores `signals` and has a child of its own; the numbers of both.
async fn stubborn(directory: &Path, signals: &str) -> (EngineProcess, Vec<String>) {
    let path = directory.join("pids");
    let script = format!(
        r#"sh -c 'trap "" {signals}; sleep 1000 & echo "$$ $!" > {}; wait; wait' sh"#,
        path.display()
    );
    let engine = start(&script, &[], directory);
    let pids = read(&path).await;
    let pids: Vec<String> = pids.split_whitespace().map(str::to_owned).collect();
    assert!(pids.iter().all(|pid| exists(pid)), "{pids:?}");
    (engine, pids)
}

#[tokio::test]
async fn an_engine_that_does_not_end_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, pids) = stubborn(directory.path(), "TERM").await;
    engine.stop(Duration::from_millis(50)).await;
    eventually("all are gone", || !pids.iter().any(|pid| exists(pid))).await;
}

#[tokio::test]
async fn a_dropped_engine_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, pids) = stubborn(directory.path(), "TERM INT HUP").await;
    drop(engine);
    eventually("all are gone", || !pids.iter().any(|pid| exists(pid))).await;
}

#[tokio::test]
async fn whoever_watches_kills_the_engine_when_nobody_holds_its_lifeline() {
    let directory = tempfile::tempdir().unwrap();
    let (mut engine, pids) = stubborn(directory.path(), "TERM INT HUP").await;
    // What the system does to a process that is killed.
    drop(engine._lifeline.take());
    assert!(!engine.ended().await.unwrap().success());
    eventually("all are gone", || !pids.iter().any(|pid| exists(pid))).await;
    assert!(!directory.path().exists());
}
