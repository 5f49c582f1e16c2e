//! The servers behind the proxy.

mod condition;
mod health;
mod pool;
mod server;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use tandem_runtime::Lifecycle;
use tandem_semantic_router::Router;
use tandem_semantic_router::config::{Address, Backend, HealthCheck, Reliability};

use pool::Credentials;
pub(super) use pool::{Member, Pool};
pub(super) use server::Attempt;
use server::Server;

/// Keeps connections to all servers.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Which servers there are.
pub(super) struct Upstreams {
    client: HttpClient,
    /// Serves the models that name no server.
    fallback: Option<Address>,
    /// Ends the health checks.
    lifecycle: Lifecycle,
    /// What is known of a server outlives a change of the configuration.
    servers: Mutex<HashMap<Address, Weak<Server>>>,
    pools: ArcSwapOption<Pools>,
}

/// The pools of one configuration.
struct Pools {
    /// Whose configuration it is.
    router: Weak<Router>,
    models: HashMap<String, Arc<Pool>>,
    fallback: Option<Arc<Pool>>,
}

impl Upstreams {
    pub(super) fn new(client: HttpClient, fallback: Option<Address>, lifecycle: Lifecycle) -> Self {
        Self {
            client,
            fallback,
            lifecycle,
            servers: Mutex::default(),
            pools: ArcSwapOption::empty(),
        }
    }

    /// Begins to ask the servers of a configuration whether they are well.
    pub(super) fn check_health(&self, router: &Arc<Router>) {
        self.pools(router);
    }

    pub(super) fn client(&self) -> &HttpClient {
        &self.client
    }

    /// The servers of a model; `None` if no server is configured for it.
    pub(super) fn of(&self, router: &Arc<Router>, model: &str) -> Option<Arc<Pool>> {
        let pools = self.pools(router);
        let named = pools.models.get(model);
        named.or(pools.fallback.as_ref()).map(Arc::clone)
    }

    /// The pools of the configuration that is in use.
    fn pools(&self, router: &Arc<Router>) -> Arc<Pools> {
        let is_current = |pools: &Arc<Pools>| pools.router.as_ptr() == Arc::as_ptr(router);
        if let Some(pools) = self.pools.load_full().filter(is_current) {
            return pools;
        }
        let mut servers = self.servers.lock();
        // Another request may have been faster.
        if let Some(pools) = self.pools.load_full().filter(is_current) {
            return pools;
        }
        let pools = Arc::new(self.build(router, &mut servers));
        self.pools.store(Some(Arc::clone(&pools)));
        servers.retain(|_, server| server.strong_count() > 0);
        pools
    }

    fn build(&self, router: &Arc<Router>, servers: &mut HashMap<Address, Weak<Server>>) -> Pools {
        let config = router.config();
        let mut models = HashMap::new();
        for model in config
            .models
            .iter()
            .filter(|model| !model.backends.is_empty())
        {
            let members = self.members(&model.backends, &model.reliability, servers);
            let members = members.map(|(backend, server)| {
                let own = Credentials::Own(backend.credential.clone());
                Member::new(backend, own, server)
            });
            let pool = Arc::new(Pool::new(members.collect(), model.reliability.clone()));
            for name in std::iter::once(&model.name).chain(&model.loras) {
                models.insert(name.clone(), Arc::clone(&pool));
            }
        }
        let fallback = self.fallback.as_ref().map(|address| {
            let backend = Backend {
                name: address.authority.clone(),
                address: address.clone(),
                weight: 1.0,
                credential: None,
                headers: Vec::new(),
            };
            let members =
                self.members(std::slice::from_ref(&backend), &config.reliability, servers);
            let members =
                members.map(|(backend, server)| Member::new(backend, Credentials::OfModel, server));
            Arc::new(Pool::new(members.collect(), config.reliability.clone()))
        });
        Pools {
            router: Arc::downgrade(router),
            models,
            fallback,
        }
    }

    /// The servers of `backends`, checked as `reliability` says.
    fn members<'a>(
        &'a self,
        backends: &'a [Backend],
        reliability: &'a Reliability,
        servers: &'a mut HashMap<Address, Weak<Server>>,
    ) -> impl Iterator<Item = (&'a Backend, Arc<Server>)> {
        backends.iter().map(move |backend| {
            let known = servers.get(&backend.address).and_then(Weak::upgrade);
            let server = known.unwrap_or_else(|| {
                let server = Arc::new(Server::new(backend.address.clone()));
                servers.insert(backend.address.clone(), Arc::downgrade(&server));
                server
            });
            if let Some(check) = &reliability.health_check {
                self.watch(&server, check);
            }
            (backend, server)
        })
    }

    fn watch(&self, server: &Arc<Server>, check: &HealthCheck) {
        if server.set_check(check) {
            let watch = health::watch(Arc::downgrade(server), self.client.clone());
            self.lifecycle.spawn(watch);
        }
    }
}

/// Where a server is asked for `path`.
pub(crate) fn uri(address: &Address, path: &str) -> Uri {
    let scheme = if address.tls { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(address.authority.as_str())
        .path_and_query(format!("{}{path}", address.path))
        .build();
    // An authority that is none cannot be reached, which is what its requests are told.
    uri.unwrap_or_default()
}
