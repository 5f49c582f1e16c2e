use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::*;

const COMMIT: &str = "0123456789abcdef";

/// The two routes of a hub: what a model has, and its files.
struct Hub {
    files: BTreeMap<&'static str, Bytes>,
    token: Option<&'static str>,
    downloads: AtomicUsize,
    /// What happens to the next requests for weights.
    faults: Mutex<VecDeque<Fault>>,
    /// Ranges of the weights that were asked for.
    ranges: Mutex<Vec<String>>,
}

#[derive(Clone)]
enum Fault {
    Status(u16),
    /// The hub asks to come back after so many seconds.
    Busy(u32),
    /// The connection ends once so many bytes are in the file.
    Cut(usize, PathBuf),
    /// Wrong bytes.
    Garbled,
    /// The whole file, whatever was asked for.
    Whole,
}

impl Hub {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        self.token
            .is_none_or(|token| given == Some(&format!("Bearer {token}")))
    }

    fn next_fault(&self, file: &str, range: &str) -> Option<Fault> {
        if file != WEIGHTS || range == "0-0" {
            return None;
        }
        self.ranges.lock().push(range.to_owned());
        self.faults.lock().pop_front()
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
    let Some(content) = hub
        .files
        .get(file.as_str())
        .filter(|_| hub.admits(&headers))
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let range = headers["range"].to_str().unwrap();
    let range = range.strip_prefix("bytes=").unwrap();
    let (start, end) = range.split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let last = content.len() - 1;
    let end = end.parse().unwrap_or(last).min(last);
    hub.downloads
        .fetch_add(usize::from(range != "0-0"), Ordering::Relaxed);
    let headers = [
        ("etag", format!("\"{}\"", etag(&file, content))),
        ("x-repo-commit", COMMIT.to_owned()),
        (
            "content-range",
            format!("bytes {start}-{end}/{}", content.len()),
        ),
    ];
    let piece = content.slice(start..=end);
    match hub.next_fault(&file, range) {
        None => (StatusCode::PARTIAL_CONTENT, headers, piece).into_response(),
        Some(Fault::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Fault::Busy(seconds)) => {
            let headers = [("retry-after", seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, headers).into_response()
        }
        Some(Fault::Cut(bytes, cache)) => {
            let sent = stream::iter([Ok(piece.slice(..bytes - start))]);
            let end = stream::once(async move {
                arrival(&cache, bytes).await;
                Err(std::io::Error::other("cut"))
            });
            let body = Body::from_stream(futures::StreamExt::chain(sent, end));
            (StatusCode::PARTIAL_CONTENT, headers, body).into_response()
        }
        Some(Fault::Garbled) => {
            let garbled: Vec<u8> = piece.iter().map(|byte| !byte).collect();
            (StatusCode::PARTIAL_CONTENT, headers, garbled).into_response()
        }
        Some(Fault::Whole) => (StatusCode::OK, content.clone()).into_response(),
    }
}

/// Names large files by their content, as the hub does.
fn etag(file: &str, content: &[u8]) -> String {
    if file != WEIGHTS {
        return file.to_owned();
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until a partial file in the cache has so many bytes.
async fn arrival(cache: &Path, bytes: usize) {
    let blobs = cache.join("models--org--tiny/blobs");
    let arrived = || {
        let entries = std::fs::read_dir(&blobs).into_iter().flatten().flatten();
        let mut parts = entries.filter(|entry| entry.path().extension() == Some("part".as_ref()));
        parts.any(|part| part.metadata().is_ok_and(|part| part.len() >= bytes as u64))
    };
    while !arrived() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A hub with these files; it goes away with the returned set.
async fn serve(
    files: &[(&'static str, &'static str)],
    token: Option<&'static str>,
) -> (Arc<Hub>, String, JoinSet<()>) {
    let bytes = |(name, text): &(&'static str, &'static str)| (*name, Bytes::from(*text));
    serve_bytes(files.iter().map(bytes).collect(), token).await
}

async fn serve_bytes(
    files: BTreeMap<&'static str, Bytes>,
    token: Option<&'static str>,
) -> (Arc<Hub>, String, JoinSet<()>) {
    let hub = Arc::new(Hub {
        files,
        token,
        downloads: AtomicUsize::new(0),
        faults: Mutex::default(),
        ranges: Mutex::default(),
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
        files: HubFiles::Model,
        first_pause: Duration::from_millis(1),
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
async fn a_gguf_file_needs_company() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tiny.Q8_0.gguf");
    std::fs::write(&file, "GGUF").unwrap();
    let options = options(directory.path(), "http://127.0.0.1:1");
    let find = async || resolve(file.to_str().unwrap(), &options, quiet()).await;
    let error = find().await.unwrap_err().to_string();
    let hint = "config.json is missing; put config.json and tokenizer.json of the model that the \
                GGUF file was made of beside it";
    assert!(error.ends_with(hint), "{error}");
    for needed in HubFiles::Model.needed() {
        std::fs::write(directory.path().join(needed), "{}").unwrap();
    }
    assert_eq!(find().await.unwrap(), directory.path());
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
    options.files = HubFiles::Text;
    let directory = resolve("org/tiny", &options, quiet()).await.unwrap();
    assert!(!directory.join("model-1.safetensors").exists());
    options.files = HubFiles::Model;
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

/// A model with weights of some size, and what goes wrong with them.
async fn faulty(cache: &Path, faults: &[Fault]) -> (Arc<Hub>, HubOptions, JoinSet<()>) {
    let weights: Vec<u8> = (0..300_000_u32)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect();
    let files = BTreeMap::from([
        ("config.json", Bytes::from("{}")),
        ("tokenizer.json", Bytes::from("{}")),
        (WEIGHTS, Bytes::from(weights)),
    ]);
    let (hub, endpoint, server) = serve_bytes(files, None).await;
    hub.faults.lock().extend(faults.iter().cloned());
    let options = options(cache, &endpoint);
    (hub, options, server)
}

fn weights_of(directory: &Path) -> Bytes {
    std::fs::read(directory.join(WEIGHTS)).unwrap().into()
}

#[tokio::test]
async fn a_download_goes_on_where_it_stopped() {
    let cache = tempfile::tempdir().unwrap();
    let path = cache.path();
    let faults = [
        Fault::Cut(70_000, path.to_owned()),
        Fault::Status(503),
        Fault::Busy(0),
        Fault::Cut(200_000, path.to_owned()),
    ];
    let (hub, options, _server) = faulty(path, &faults).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let on_progress: OnProgress = Arc::new(move |event| seen.lock().push(event));
    let directory = resolve("org/tiny", &options, on_progress).await.unwrap();
    assert_eq!(weights_of(&directory), hub.files[WEIGHTS]);
    let asked = hub.ranges.lock().clone();
    assert_eq!(asked, ["0-", "70000-", "70000-", "70000-", "200000-"]);
    // Since the last beginning, exactly the file has arrived.
    let mut arrived = 0;
    for event in events.lock().iter() {
        match event {
            DownloadEvent::Started { file, .. } if file == WEIGHTS => arrived = 0,
            DownloadEvent::Advanced { file, bytes } if file == WEIGHTS => arrived += bytes,
            _ => {}
        }
    }
    assert_eq!(arrived, 300_000);
}

#[tokio::test]
async fn what_a_dead_process_left_is_used() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, options, _server) = faulty(cache.path(), &[]).await;
    let content = &hub.files[WEIGHTS];
    let blobs = cache.path().join("models--org--tiny/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.part", etag(WEIGHTS, content)));
    std::fs::write(part, &content[..123_456]).unwrap();
    let directory = resolve("org/tiny", &options, quiet()).await.unwrap();
    assert_eq!(&weights_of(&directory), content);
    assert_eq!(*hub.ranges.lock(), ["123456-"]);
}

#[tokio::test]
async fn wrong_bytes_are_noticed() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, options, _server) = faulty(cache.path(), &[Fault::Garbled]).await;
    let directory = resolve("org/tiny", &options, quiet()).await.unwrap();
    assert_eq!(weights_of(&directory), hub.files[WEIGHTS]);

    let cache = tempfile::tempdir().unwrap();
    let (hub, options, _server) = faulty(cache.path(), &[Fault::Garbled, Fault::Garbled]).await;
    let error = resolve("org/tiny", &options, quiet()).await.unwrap_err();
    let expect = "failed to download model.safetensors of org/tiny: the file is not what the hub \
                  says it is (checksum ";
    assert!(error.to_string().starts_with(expect), "{error}");
    assert_eq!(*hub.ranges.lock(), ["0-", "0-"]);
}

#[tokio::test]
async fn a_hub_without_ranges_will_do() {
    let cache = tempfile::tempdir().unwrap();
    let faults = [Fault::Cut(1000, cache.path().to_owned()), Fault::Whole];
    let (hub, options, _server) = faulty(cache.path(), &faults).await;
    let directory = resolve("org/tiny", &options, quiet()).await.unwrap();
    assert_eq!(weights_of(&directory), hub.files[WEIGHTS]);
}

#[tokio::test]
async fn patience_depends_on_the_answer() {
    for (status, attempts) in [(403, 1), (401, 1), (404, 1), (500, 7), (429, 7)] {
        let cache = tempfile::tempdir().unwrap();
        let (hub, options, _server) = faulty(cache.path(), &vec![Fault::Status(status); 9]).await;
        let error = resolve("org/tiny", &options, quiet()).await.unwrap_err();
        let fits = match &error {
            Error::Hub(HubError::Unauthorized { .. }) => [401, 403].contains(&status),
            Error::Hub(HubError::Incomplete { .. }) => status == 404,
            Error::Hub(HubError::Download { message, .. }) => message.contains(&status.to_string()),
            _ => false,
        };
        assert!(fits, "{status}: {error}");
        assert_eq!(hub.ranges.lock().len(), attempts, "{status}");
    }
}

#[tokio::test]
async fn processes_that_want_the_same_file_fetch_it_once() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, options, _server) = faulty(cache.path(), &[]).await;
    let fetch = || resolve("org/tiny", &options, quiet());
    let (one, two) = tokio::join!(fetch(), fetch());
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(hub.ranges.lock().len(), 1);
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

#[tokio::test]
async fn an_adapter_has_files_of_its_own() {
    let cache = tempfile::tempdir().unwrap();
    let files = [
        ("adapter_config.json", "{}"),
        ("adapter_model.safetensors", "weights"),
        ("tokenizer_config.json", "{}"),
    ];
    let (_hub, endpoint, server) = serve(&files, None).await;
    let mut options = options(cache.path(), &endpoint);
    options.files = HubFiles::Adapter;
    let directory = resolve("org/tiny", &options, quiet()).await.unwrap();
    assert!(directory.join("adapter_model.safetensors").is_file());
    assert!(!directory.join("tokenizer_config.json").exists());
    // It is found again without a network, and as a directory.
    drop(server);
    options.offline = true;
    assert_eq!(
        resolve("org/tiny", &options, quiet()).await.unwrap(),
        directory
    );
    let path = directory.to_str().unwrap();
    assert_eq!(resolve(path, &options, quiet()).await.unwrap(), directory);
    options.files = HubFiles::Model;
    let error = resolve(path, &options, quiet()).await.unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}
