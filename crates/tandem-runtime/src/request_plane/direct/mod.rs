//! Requests over TCP between our own processes: one connection from each caller to each process it
//! calls, and any number of requests at a time on it.

mod mux;
mod peers;
mod server;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use tokio::sync::OnceCell;

use super::net::Network;
use super::serving::Served;
use super::{CallError, Request, Responses};
use crate::component::{EndpointId, Instance, TcpAddress};
use crate::lifecycle::Lifecycle;
use peers::Peers;
use server::DirectServer;

/// Calls and serves over TCP.
pub(super) struct DirectPlane<N: Network> {
    network: N,
    host: IpAddr,
    lifecycle: Lifecycle,
    peers: Peers<N>,
    server: OnceCell<DirectServer>,
}

impl<N: Network> DirectPlane<N> {
    /// Serves at `host`, on a port that is opened when it is needed.
    pub(super) fn new(network: N, host: IpAddr, lifecycle: &Lifecycle) -> Self {
        Self {
            peers: Peers::new(network.clone(), lifecycle),
            network,
            host,
            lifecycle: lifecycle.clone(),
            server: OnceCell::new(),
        }
    }

    /// Takes requests for an instance, and says where.
    pub(super) async fn serve(
        &self,
        endpoint: &EndpointId,
        instance_id: u64,
        served: Served,
    ) -> std::io::Result<TcpAddress> {
        let start = || DirectServer::start(&self.network, self.host, &self.lifecycle);
        let server = self.server.get_or_try_init(start).await?;
        server.add(name(endpoint, instance_id), served);
        Ok(TcpAddress {
            address: server.address().to_string(),
            versions: vec![mux::VERSION],
        })
    }

    /// The address of `instance`, if it speaks a version that is spoken here.
    pub(super) fn address(instance: &Instance) -> Option<&str> {
        let direct = instance.direct.as_ref()?;
        let spoken = direct.versions.contains(&mux::VERSION);
        spoken.then_some(&direct.address)
    }

    /// Sends `request` to `instance` at `address`.
    pub(super) async fn call(
        &self,
        address: &str,
        instance: &Instance,
        request: Request,
    ) -> Result<Responses, CallError> {
        let endpoint = name(&instance.endpoint_id(), instance.instance_id);
        let called = self.peers.call(address, endpoint, request).await;
        called.map_err(|error| error.of(instance.instance_id))
    }
}

/// What an instance is called on the wire.
fn name(endpoint: &EndpointId, instance_id: u64) -> String {
    format!("{endpoint}/{instance_id:x}")
}
