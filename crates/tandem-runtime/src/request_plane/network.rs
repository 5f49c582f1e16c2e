//! The request plane between processes: NATS with dial-back, which every Dynamo process speaks,
//! and direct TCP connections between our own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::service::{Service, ServiceExt};
use futures::future::BoxFuture;
use tokio::sync::{Mutex, OnceCell};

use super::dial_back::{self, AnswerServer};
use super::direct::DirectPlane;
use super::net::Tcp;
use super::serving::Served;
use super::{CallError, Handler, Request, RequestPlane, Responses, ServedEndpoint};
use crate::component::{EndpointId, Instance, Transport};
use crate::lifecycle::Lifecycle;

/// Most time for the server to confirm a subscription.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// Version in the NATS service records: that of the protocol.
const PROTOCOL_VERSION: &str = "0.6.1";

/// Which way requests take when a worker offers several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// The direct TCP connection where the worker offers one that is spoken here, else NATS.
    Direct,
    /// Always NATS.
    Nats,
}

/// Settings of the request plane between processes.
#[derive(Debug, Clone, Copy)]
pub struct NetworkOptions {
    /// Address of this host that other processes can reach.
    pub host: IpAddr,
    /// Which way calls take.
    pub preference: Preference,
}

/// Calls and serves across processes.
pub struct NetworkRequestPlane {
    /// `None` where there is no NATS.
    client: Option<Client>,
    options: NetworkOptions,
    lifecycle: Lifecycle,
    direct: DirectPlane<Tcp>,
    answers: OnceCell<AnswerServer>,
    /// By component; they end when dropped.
    services: Mutex<HashMap<String, Service>>,
}

impl NetworkRequestPlane {
    /// Uses `client`, or TCP alone; ports are opened when they are needed.
    pub fn new(client: Option<Client>, options: NetworkOptions, lifecycle: &Lifecycle) -> Self {
        Self {
            client,
            options,
            lifecycle: lifecycle.clone(),
            direct: DirectPlane::new(Tcp, options.host, lifecycle),
            answers: OnceCell::new(),
            services: Mutex::new(HashMap::new()),
        }
    }

    async fn serve_nats(
        &self,
        client: &Client,
        endpoint: &EndpointId,
        instance_id: u64,
        served: Served,
    ) -> Result<String, CallError> {
        let name = service_name(endpoint);
        let mut services = self.services.lock().await;
        if !services.contains_key(&name) {
            let EndpointId {
                namespace,
                component,
                ..
            } = endpoint;
            let service = client
                .service_builder()
                .description(format!(
                    "Dynamo component {component} in namespace {namespace}"
                ))
                .start(name.clone(), PROTOCOL_VERSION)
                .await
                .map_err(local)?;
            services.insert(name.clone(), service);
        }
        let Some(service) = services.get(&name) else {
            return Err(CallError::Local("the service is gone".to_owned()));
        };
        let leaf = format!("{}-{instance_id:x}", endpoint.endpoint);
        let listening = service
            .group(&name)
            .endpoint_builder()
            .name(format!("{name}-{leaf}"))
            .add(&leaf)
            .await
            .map_err(local)?;
        drop(services);
        // Nobody may hear of the instance before the server knows the subscription.
        tokio::time::timeout(CONFIRM_TIMEOUT, client.flush())
            .await
            .map_err(local)?
            .map_err(local)?;
        let tasks = served.in_flight.clone();
        self.lifecycle
            .spawn(dial_back::serve(listening, served, tasks));
        Ok(format!("{name}.{leaf}"))
    }
}

impl RequestPlane for NetworkRequestPlane {
    fn serve<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        instance_id: u64,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<ServedEndpoint, CallError>> {
        Box::pin(async move {
            let served = Served::new(handler);
            let direct = self.direct.serve(endpoint, instance_id, served.clone());
            let direct = direct.await.map_err(local)?;
            let transport = match &self.client {
                None => Transport::TandemTcp(format!("{endpoint}/{instance_id:x}")),
                Some(client) => {
                    let subject = self.serve_nats(client, endpoint, instance_id, served.clone());
                    Transport::NatsTcp(subject.await?)
                }
            };
            Ok(ServedEndpoint {
                transport,
                direct: Some(direct),
                closing: served.closing,
                in_flight: served.in_flight,
                cut: served.cut.drop_guard(),
            })
        })
    }

    fn call<'a>(
        &'a self,
        instance: &'a Instance,
        request: Request,
    ) -> BoxFuture<'a, Result<Responses, CallError>> {
        let instance_id = instance.instance_id;
        Box::pin(async move {
            if self.options.preference == Preference::Direct
                && let Some(address) = DirectPlane::<Tcp>::address(instance)
            {
                return self.direct.call(address, instance, request).await;
            }
            let (Transport::NatsTcp(subject), Some(client)) = (&instance.transport, &self.client)
            else {
                return Err(CallError::Unreachable { instance_id });
            };
            let start = || AnswerServer::start(self.options.host, &self.lifecycle);
            let answers = self.answers.get_or_try_init(start).await.map_err(local)?;
            answers.call(client, subject, instance_id, request).await
        })
    }
}

/// The address of this host that others most likely reach it by: that of the default route, or
/// the loopback address if there is none. Nothing is sent.
pub fn reachable_host() -> IpAddr {
    let routed = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address of the documentation range (RFC 5737).
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    routed().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// Namespace and component as one word that fits into a subject.
fn service_name(endpoint: &EndpointId) -> String {
    let name = format!("{}_{}", endpoint.namespace, endpoint.component).to_lowercase();
    let fits = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    let slug: String = name
        .chars()
        .map(|char| if fits(char) { char } else { '_' })
        .collect();
    slug.trim_start_matches('_').to_owned()
}

fn local(error: impl std::fmt::Display) -> CallError {
    CallError::Local(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_as_in_the_capture() {
        let check = |namespace: &str, component: &str, name: &str| {
            let endpoint = EndpointId::new(namespace, component, "generate");
            assert_eq!(service_name(&endpoint), name);
        };
        check("dynamo", "backend", "dynamo_backend");
        check("a.b", "C", "a_b_c");
        check("_x", "y", "x_y");
    }

    #[test]
    fn there_always_is_a_host() {
        assert!(!reachable_host().is_unspecified());
    }
}
