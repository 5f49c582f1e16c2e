use std::os::unix::fs::symlink;

use tandem_runtime::Lifecycle;
use tandem_semantic_router::testing::FixedClassifier;
use tempfile::TempDir;

use super::*;

struct Watched {
    directory: TempDir,
    router: Arc<ArcSwap<Router>>,
    registry: Registry,
    lifecycle: Lifecycle,
}

/// A watched file that was read through a link, as in a mounted `ConfigMap`.
async fn watch() -> Watched {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    let watched = Watched {
        directory,
        router: Arc::new(ArcSwap::from_pointee(router(RouterConfig::built_in(
            "none",
        )))),
        registry: Registry::default(),
        lifecycle: Lifecycle::new(),
    };
    watched.publish("one", "default_model: a\nmodel_config: {a: {}}\n");
    symlink("..data/config.yaml", &path).unwrap();
    let first = read(&path).await.unwrap();
    let config = first.config().unwrap();
    watched.router.store(Arc::new(router(config)));
    let Watched {
        directory,
        router,
        mut registry,
        lifecycle,
    } = watched;
    let classifier = Arc::new(FixedClassifier::default());
    let reloader = Reloader::new(first, Arc::clone(&router), classifier, &mut registry);
    lifecycle.spawn(reloader.run());
    Watched {
        directory,
        router,
        registry,
        lifecycle,
    }
}

fn router(config: RouterConfig) -> Router {
    Router::new(config, Arc::new(FixedClassifier::default()))
}

impl Watched {
    /// Swaps the directory that `..data` points to, as the kubelet does.
    fn publish(&self, name: &str, text: &str) {
        let root = self.directory.path();
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::write(root.join(name).join("config.yaml"), text).unwrap();
        symlink(name, root.join("..new")).unwrap();
        std::fs::rename(root.join("..new"), root.join("..data")).unwrap();
    }

    fn page(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page
    }

    async fn wait_for(&self, line: &str) {
        for _ in 0..1000 {
            if self.page().contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{line} is missing in\n{}", self.page());
    }

    fn model(&self) -> Option<String> {
        self.router.load().config().default_model.clone()
    }
}

#[tokio::test]
async fn a_change_is_taken_over_and_a_mistake_is_not() {
    let watched = watch().await;
    assert_eq!(watched.model().as_deref(), Some("a"));
    let before = watched.router.load_full();
    watched.publish("two", "default_model: b\nmodel_config: {b: {}}\n");
    watched
        .wait_for(r#"tandem_router_config_reloads_total{result="success"} 1"#)
        .await;
    assert_eq!(watched.model().as_deref(), Some("b"));
    let old = before.config().default_model.as_deref();
    assert_eq!(old, Some("a"), "requests in flight keep their router");

    watched.publish("three", "default_model: [\n");
    watched
        .wait_for(r#"tandem_router_config_reloads_total{result="failure"} 1"#)
        .await;
    watched
        .wait_for("tandem_router_config_last_reload_successful 0")
        .await;
    assert_eq!(watched.model().as_deref(), Some("b"));

    watched.publish("four", "default_model: b\nmodel_config: {b: {}}\n");
    watched
        .wait_for("tandem_router_config_last_reload_successful 1")
        .await;
    let page = watched.page();
    assert!(
        page.contains(r#"{result="failure"} 1"#),
        "tried once\n{page}"
    );
    assert!(page.contains(r#"{result="success"} 1"#), "{page}");
}

#[tokio::test]
async fn a_file_that_vanishes_changes_nothing() {
    let watched = watch().await;
    std::fs::remove_file(watched.directory.path().join("config.yaml")).unwrap();
    watched
        .wait_for(r#"tandem_router_config_reloads_total{result="failure"} 1"#)
        .await;
    assert_eq!(watched.model().as_deref(), Some("a"));
}
