use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::*;

const COMMIT: &str = "0123456789abcdef";

/// The two routes of a hub: what a model has, and its files.
struct Hub {
    files: BTreeMap<&'static str, &'static str>,
    token: Option<&'static str>,
    downloads: AtomicUsize,
}

impl Hub {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        self.token
            .is_none_or(|token| given == Some(&format!("Bearer {token}")))
    }
}

async fn info(
    State(hub): State<Arc<Hub>>,
    UrlPath((org, name, revision)): UrlPath<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    if !hub.admits(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if (org.as_str(), name.as_str()) != ("org", "tiny")
        || !["main", "v1"].contains(&revision.as_str())
    {
        return StatusCode::NOT_FOUND.into_response();
    }
    let files = hub
        .files
        .keys()
        .map(|file| serde_json::json!({"rfilename": file}));
    let files: Vec<_> = files.collect();
    axum::Json(serde_json::json!({"sha": COMMIT, "siblings": files})).into_response()
}

async fn file(
    State(hub): State<Arc<Hub>>,
    UrlPath((_, _, _, file)): UrlPath<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(text) = hub
        .files
        .get(file.as_str())
        .filter(|_| hub.admits(&headers))
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let range = headers["range"]
        .to_str()
        .unwrap()
        .strip_prefix("bytes=")
        .unwrap();
    let (start, end) = range.split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    let end = end.min(text.len() - 1);
    hub.downloads
        .fetch_add(usize::from(end > 0), Ordering::Relaxed);
    let headers = [
        ("etag", format!("\"{file}\"")),
        ("x-repo-commit", COMMIT.to_owned()),
        (
            "content-range",
            format!("bytes {start}-{end}/{}", text.len()),
        ),
    ];
    (StatusCode::PARTIAL_CONTENT, headers, &text[start..=end]).into_response()
}

/// A hub with these files; it goes away with the returned set.
async fn serve(
    files: &[(&'static str, &'static str)],
    token: Option<&'static str>,
) -> (Arc<Hub>, String, JoinSet<()>) {
    let hub = Arc::new(Hub {
        files: files.iter().copied().collect(),
        token,
        downloads: AtomicUsize::new(0),
    });
    let routes = Router::new()
        .route("/api/models/{org}/{name}/revision/{revision}", get(info))
        .route("/{org}/{name}/resolve/{revision}/{file}", get(file))
        .with_state(Arc::clone(&hub));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move {
        axum::serve(listener, routes).await.unwrap();
    });
    (hub, endpoint, server)
}

fn options(cache: &Path, endpoint: &str) -> HubOptions {
    HubOptions {
        cache: cache.to_owned(),
        endpoint: endpoint.to_owned(),
        token: None,
        offline: false,
        weights: true,
    }
}

fn quiet() -> OnProgress {
    Arc::new(|_| {})
}

const WHOLE: [(&str, &str); 5] = [
    ("config.json", "{\"a\": 1}"),
    ("tokenizer.json", "{\"b\": 2}"),
    ("chat_template.jinja", "template"),
    ("model.safetensors", "weights"),
    ("README.md", "not needed"),
];

const SHARDED: [(&str, &str); 5] = [
    ("config.json", "{\"a\": 1}"),
    ("tokenizer.json", "{\"b\": 2}"),
    (
        "model.safetensors.index.json",
        "{\"metadata\": {}, \"weight_map\": {\"x\": \"model-1.safetensors\", \"y\": \"model-2.safetensors\", \"z\": \"model-1.safetensors\"}}",
    ),
    ("model-1.safetensors", "first"),
    ("model-2.safetensors", "second"),
];

#[tokio::test]
async fn a_directory_is_used_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().to_str().unwrap();
    let options = options(directory.path(), "http://127.0.0.1:9");
    let check = async |expected: Option<&str>| {
        let resolved = resolve(model, &options, quiet()).await;
        let missing = resolved.err().map(|error| error.to_string());
        let expected =
            expected.map(|file| format!("failed to load model from {model}: {file} is missing"));
        assert_eq!(missing, expected);
    };
    let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
    check(Some("config.json")).await;
    write("config.json", "{}");
    check(Some("tokenizer.json")).await;
    write("tokenizer.json", "{}");
    check(Some("model.safetensors")).await;
    write("model.safetensors.index.json", SHARDED[2].1);
    write("model-1.safetensors", "x");
    check(Some("model-2.safetensors")).await;
    write("model-2.safetensors", "x");
    check(None).await;
}

#[tokio::test]
async fn a_model_is_fetched_once_and_found_offline() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, endpoint, server) = serve(&WHOLE, None).await;
    let mut options = options(cache.path(), &endpoint);
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let on_progress: OnProgress = Arc::new(move |event| seen.lock().push(event));

    let directory = resolve("org/tiny", &options, on_progress).await.unwrap();
    for (file, text) in &WHOLE[..4] {
        assert_eq!(
            &std::fs::read_to_string(directory.join(file)).unwrap(),
            text
        );
    }
    assert!(!directory.join("README.md").exists());
    let started = DownloadEvent::Started {
        file: "model.safetensors".to_owned(),
        bytes: 7,
    };
    assert!(events.lock().contains(&started));
    let downloads = hub.downloads.load(Ordering::Relaxed);
    assert_eq!(downloads, 4);

    assert_eq!(
        resolve("org/tiny", &options, quiet()).await.unwrap(),
        directory
    );
    assert_eq!(
        resolve("org/tiny@v1", &options, quiet()).await.unwrap(),
        directory
    );
    assert_eq!(hub.downloads.load(Ordering::Relaxed), downloads);

    drop(server);
    assert_eq!(
        resolve("org/tiny", &options, quiet()).await.unwrap(),
        directory
    );
    options.offline = true;
    assert_eq!(
        resolve("org/tiny@v1", &options, quiet()).await.unwrap(),
        directory
    );
    let error = resolve("org/other", &options, quiet()).await.unwrap_err();
    assert!(
        matches!(error, Error::Hub(HubError::NotCached { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn split_weights_come_whole_and_only_if_needed() {
    let cache = tempfile::tempdir().unwrap();
    let (_hub, endpoint, _server) = serve(&SHARDED, None).await;
    let mut options = options(cache.path(), &endpoint);
    options.weights = false;
    let directory = resolve("org/tiny", &options, quiet()).await.unwrap();
    assert!(!directory.join("model-1.safetensors").exists());
    options.weights = true;
    let directory = resolve("org/tiny", &options, quiet()).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(directory.join("model-2.safetensors")).unwrap(),
        "second"
    );
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let (_hub, endpoint, server) = serve(&WHOLE[..2], Some("secret")).await;
    let mut options = options(cache.path(), &endpoint);
    let error =
        async |model: &str, options: &HubOptions| match resolve(model, options, quiet()).await {
            Err(Error::Hub(error)) => error,
            other => panic!("{other:?}"),
        };
    let denied = error("org/tiny", &options).await;
    assert!(matches!(denied, HubError::Unauthorized { .. }));
    assert!(denied.to_string().contains("HF_TOKEN"));
    options.token = Some("secret".to_owned());
    assert!(matches!(
        error("org/none", &options).await,
        HubError::NotFound { .. }
    ));
    assert!(matches!(
        error("org/tiny@v9", &options).await,
        HubError::NotFound { .. }
    ));
    let incomplete = error("org/tiny", &options).await.to_string();
    assert_eq!(
        incomplete,
        "failed to use org/tiny from the hub: model.safetensors is missing there"
    );
    let path = error("./no/such/dir", &options).await;
    assert!(matches!(path, HubError::NoSuchDirectory { .. }));
    drop(server);
    let unreachable = error("org/tiny", &options).await;
    assert!(
        matches!(unreachable, HubError::Unreachable { .. }),
        "{unreachable}"
    );
}

#[test]
fn ids_are_told_from_paths() {
    let check = |text: &str, expected: Option<(&str, &str)>| {
        let id = ModelId::parse(text);
        let parts = id
            .as_ref()
            .map(|id| (id.name.as_str(), id.revision.as_str()));
        assert_eq!(parts, expected, "{text}");
    };
    check("Qwen/Qwen3-0.6B", Some(("Qwen/Qwen3-0.6B", "main")));
    check("org/name@refs/pr/1", Some(("org/name", "refs/pr/1")));
    check("org/name@", None);
    check("/models/tiny", None);
    check("./tiny", None);
    check("../tiny", None);
    check("tiny", None);
    check("a/b/c", None);
}
