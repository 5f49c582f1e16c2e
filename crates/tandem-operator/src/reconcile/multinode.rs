//! Replicas that are spread over several nodes: which pod leads, and how the others find it.

use serde_json::{Map, Value, json};

use super::graph::{Component, Graph};
use super::invalid::Problems;
use crate::crd::BackendFramework;

/// Port of the head of a Ray cluster.
const RAY_PORT: u16 = 6379;
/// Port on which the processes of SGLang meet.
const SGLANG_PORT: u16 = 29500;

/// What a pod is within its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// All of it.
    Only,
    /// The pod that answers.
    Leader,
    /// One that computes for the leader.
    Follower,
}

impl Node {
    /// As labels say it.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Only => None,
            Self::Leader => Some("leader"),
            Self::Follower => Some("worker"),
        }
    }
}

/// Which engine the command runs, or the graph says; `None` if neither does.
pub(super) fn engine(
    graph: &Graph<'_>,
    component: &Component<'_>,
    container: &Map<String, Value>,
    problems: &mut Problems,
) -> Option<BackendFramework> {
    let detected = detect(&text(container));
    let declared = graph.backend_framework;
    if let (Some(detected), Some(declared)) = (detected, declared)
        && detected != declared
    {
        let path = format!("spec.services.{}", component.service);
        let reason = format!(
            "the command runs {}, and backendFramework says {}",
            module(detected),
            module(declared)
        );
        problems.add(&path, &reason);
    }
    detected.or(declared)
}

const fn module(engine: BackendFramework) -> &'static str {
    match engine {
        BackendFramework::Sglang => "dynamo.sglang",
        BackendFramework::Vllm => "dynamo.vllm",
        BackendFramework::Trtllm => "dynamo.trtllm",
    }
}

/// The engine that `command` runs with `python -m`.
fn detect(command: &str) -> Option<BackendFramework> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let modules = words
        .windows(2)
        .filter(|pair| pair[0] == "-m")
        .map(|pair| pair[1]);
    let engines = [
        BackendFramework::Sglang,
        BackendFramework::Vllm,
        BackendFramework::Trtllm,
    ];
    modules.into_iter().find_map(|name| {
        engines.into_iter().find(|engine| {
            let module = module(*engine);
            name == module || name.starts_with(&format!("{module}."))
        })
    })
}

/// Command and arguments as one text.
fn text(container: &Map<String, Value>) -> String {
    let words = ["command", "args"]
        .into_iter()
        .filter_map(|name| container.get(name)?.as_array());
    let words: Vec<&str> = words.flatten().filter_map(Value::as_str).collect();
    words.join(" ")
}

/// Turns the container of a replica on one node into that of `node` of several.
///
/// The address of the leader and the number of the pod are in the variables that
/// LeaderWorkerSets set; StatefulSets get them from us.
pub(super) fn adapt(
    container: &mut Map<String, Value>,
    node: Node,
    nodes: i32,
    engine: Option<BackendFramework>,
) {
    if node == Node::Follower {
        // What serves is asked on the leader only.
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            container.remove(probe);
        }
    }
    let script = match (engine, node) {
        (_, Node::Only) | (Some(BackendFramework::Trtllm) | None, _) => return,
        (Some(BackendFramework::Vllm), Node::Leader) => {
            format!(
                "ray start --head --port={RAY_PORT} && {}",
                script(container)
            )
        }
        (Some(BackendFramework::Vllm), Node::Follower) => {
            format!("ray start --address=$LWS_LEADER_ADDRESS:{RAY_PORT} --block")
        }
        (Some(BackendFramework::Sglang), Node::Leader | Node::Follower) => {
            let rank = if node == Node::Leader {
                "0"
            } else {
                "$LWS_WORKER_INDEX"
            };
            let flags = format!(
                " --dist-init-addr $LWS_LEADER_ADDRESS:{SGLANG_PORT} --nnodes {nodes} \
                 --node-rank {rank}"
            );
            let mut script = script(container);
            let module = module(BackendFramework::Sglang);
            let end = script.find(module).map_or(script.len(), |start| {
                let rest = &script[start..];
                start + rest.find(char::is_whitespace).unwrap_or(rest.len())
            });
            script.insert_str(end, &flags);
            script
        }
    };
    container.insert("command".to_owned(), json!(["/bin/sh", "-c"]));
    container.insert("args".to_owned(), json!([script]));
}

/// The command as a script of a shell.
fn script(container: &Map<String, Value>) -> String {
    let words = |name: &str| -> Vec<String> {
        let words = container.get(name).and_then(Value::as_array);
        let words = words.into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    };
    let (command, args) = (words("command"), words("args"));
    if let [shell, flag] = command.as_slice()
        && shell.ends_with("sh")
        && flag.starts_with('-')
        && flag.ends_with('c')
    {
        return args.first().cloned().unwrap_or_default();
    }
    let quoted: Vec<String> = command
        .iter()
        .chain(&args)
        .map(|word| quote(word))
        .collect();
    format!("exec {}", quoted.join(" "))
}

/// `word` as a shell reads it back. References to variables that Kubernetes replaces stay.
fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(container: Value, node: Node, engine: BackendFramework, expected: &str) {
        let Value::Object(mut container) = container else {
            panic!("a container is an object")
        };
        assert_eq!(detect(&text(&container)), Some(engine));
        adapt(&mut container, node, 2, Some(engine));
        assert_eq!(container["args"], json!([expected]));
    }

    #[test]
    fn nodes_of_vllm_make_a_ray_cluster() {
        let container = json!({"command": ["/bin/sh", "-c"], "args": ["sleep 1 && python3 -m dynamo.vllm -tp 16"]});
        let engine = BackendFramework::Vllm;
        let leader = "ray start --head --port=6379 && sleep 1 && python3 -m dynamo.vllm -tp 16";
        check(container.clone(), Node::Leader, engine, leader);
        let follower = "ray start --address=$LWS_LEADER_ADDRESS:6379 --block";
        check(container, Node::Follower, engine, follower);
    }

    #[test]
    fn nodes_of_sglang_know_their_rank() {
        let container =
            json!({"command": ["python3", "-m", "dynamo.sglang"], "args": ["--model", "a b"]});
        check(
            container,
            Node::Follower,
            BackendFramework::Sglang,
            "exec python3 -m dynamo.sglang --dist-init-addr $LWS_LEADER_ADDRESS:29500 --nnodes 2 \
             --node-rank $LWS_WORKER_INDEX --model 'a b'",
        );
    }

    #[test]
    fn words_survive_the_shell() {
        for word in ["plain", "two words", "it's", "", "{\"a\": 1}"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
