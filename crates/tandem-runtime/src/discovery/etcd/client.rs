//! The few calls of etcd's API that discovery needs.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::discovery::DiscoveryError;

#[allow(
    unreachable_pub,
    unused_qualifications,
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::all,
    clippy::pedantic,
    reason = "generated code"
)]
mod api {
    tonic::include_proto!("etcdserverpb");
}

use api::compare::TargetUnion;
use api::kv_client::KvClient;
use api::lease_client::LeaseClient;
use api::request_op;
use api::watch_client::WatchClient;
use api::watch_request::RequestUnion;
#[cfg(test)]
pub(super) use api::{Event, KeyValue};
pub(super) use api::{WatchResponse, event::EventType};

/// Most time for one call to be answered.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Most time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A member that leaves pings unanswered this long is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What a range read found, and the revision that it is of.
pub(super) struct Listing {
    pub(super) revision: i64,
    pub(super) entries: Vec<(String, Bytes)>,
}

/// A connection to an etcd cluster, made when needed and made again when lost.
#[derive(Clone)]
pub(super) struct EtcdClient {
    channel: Channel,
}

impl EtcdClient {
    pub(super) fn new(endpoints: &[String]) -> Result<Self, DiscoveryError> {
        let endpoints = endpoints
            .iter()
            .map(|address| endpoint(address))
            .collect::<Result<Vec<_>, _>>()?;
        let channel = match &*endpoints {
            [] => return Err(DiscoveryError::Address("no etcd endpoint given".to_owned())),
            [one] => one.connect_lazy(),
            many => Channel::balance_list(many.iter().cloned()),
        };
        Ok(Self { channel })
    }

    /// Takes lease `id`, or any if `id` is 0; one that still exists is fine, too.
    pub(super) async fn grant(&self, id: i64, ttl: Duration) -> Result<i64, DiscoveryError> {
        let request = api::LeaseGrantRequest {
            ttl: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1),
            id,
        };
        let mut client = LeaseClient::new(self.channel.clone());
        match in_time(client.lease_grant(request)).await {
            Ok(granted) => Ok(granted.into_inner().id),
            Err(status) if id != 0 && status.code() == tonic::Code::FailedPrecondition => Ok(id),
            Err(status) => Err(unavailable(&status)),
        }
    }

    /// Renews lease `id`; false if there is no such lease any more.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<bool, DiscoveryError> {
        let mut client = LeaseClient::new(self.channel.clone());
        // The request stream stays open until the answer is there: etcd ends the call with it.
        let requests = stream::iter([api::LeaseKeepAliveRequest { id }]).chain(stream::pending());
        let renewal = async {
            let answers = client.lease_keep_alive(requests).await?;
            answers.into_inner().message().await
        };
        let answer = in_time(renewal)
            .await
            .map_err(|status| unavailable(&status))?;
        let answer = answer.ok_or_else(|| {
            DiscoveryError::Unavailable("etcd ended the renewal of the lease".to_owned())
        })?;
        Ok(answer.ttl > 0)
    }

    pub(super) async fn revoke(&self, id: i64) -> Result<(), DiscoveryError> {
        let mut client = LeaseClient::new(self.channel.clone());
        match in_time(client.lease_revoke(api::LeaseRevokeRequest { id })).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
            Err(status) => Err(unavailable(&status)),
        }
    }

    /// Writes an entry under `lease`, unless another lease holds the key.
    pub(super) async fn put(
        &self,
        key: &str,
        value: &Bytes,
        lease: i64,
    ) -> Result<(), DiscoveryError> {
        let absent = api::Compare {
            result: api::compare::CompareResult::Equal.into(),
            target: api::compare::CompareTarget::Version.into(),
            target_union: Some(TargetUnion::Version(0)),
            key: key.to_owned().into(),
        };
        if self.put_if(absent, value, lease).await? {
            return Ok(());
        }
        let own = api::Compare {
            result: api::compare::CompareResult::Equal.into(),
            target: api::compare::CompareTarget::Lease.into(),
            target_union: Some(TargetUnion::Lease(lease)),
            key: key.to_owned().into(),
        };
        if self.put_if(own, value, lease).await? {
            return Ok(());
        }
        Err(DiscoveryError::Taken(key.to_owned()))
    }

    async fn put_if(
        &self,
        condition: api::Compare,
        value: &Bytes,
        lease: i64,
    ) -> Result<bool, DiscoveryError> {
        let put = api::PutRequest {
            key: condition.key.clone(),
            value: value.clone(),
            lease,
        };
        let transaction = api::TxnRequest {
            compare: vec![condition],
            success: vec![api::RequestOp {
                request: Some(request_op::Request::RequestPut(put)),
            }],
            failure: Vec::new(),
        };
        match in_time(KvClient::new(self.channel.clone()).txn(transaction)).await {
            Ok(answer) => Ok(answer.into_inner().succeeded),
            // etcd says so when the lease does not exist.
            Err(status) if status.code() == tonic::Code::NotFound => Err(DiscoveryError::LeaseGone),
            Err(status) => Err(unavailable(&status)),
        }
    }

    /// Removes an entry.
    pub(super) async fn delete(&self, key: &str) -> Result<(), DiscoveryError> {
        let request = api::DeleteRangeRequest {
            key: key.to_owned().into(),
            range_end: Bytes::new(),
        };
        in_time(KvClient::new(self.channel.clone()).delete_range(request))
            .await
            .map(drop)
            .map_err(|status| unavailable(&status))
    }

    /// All entries below `prefix`.
    pub(super) async fn list(&self, prefix: &str) -> Result<Listing, DiscoveryError> {
        let request = api::RangeRequest {
            key: prefix.to_owned().into(),
            range_end: range_end(prefix),
        };
        let answer = in_time(KvClient::new(self.channel.clone()).range(request))
            .await
            .map_err(|status| unavailable(&status))?
            .into_inner();
        let entries = answer.kvs.into_iter().filter_map(|entry| {
            let key = String::from_utf8(entry.key.into()).ok()?;
            Some((key, entry.value))
        });
        Ok(Listing {
            revision: answer.header.unwrap_or_default().revision,
            entries: entries.collect(),
        })
    }

    /// Every change below `prefix` from `revision` on.
    pub(super) async fn watch(
        &self,
        prefix: &str,
        revision: i64,
    ) -> Result<Streaming<WatchResponse>, DiscoveryError> {
        let create = api::WatchCreateRequest {
            key: prefix.to_owned().into(),
            range_end: range_end(prefix),
            start_revision: revision,
            progress_notify: true,
        };
        let create = api::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        let mut request = Request::new(stream::iter([create]).chain(stream::pending()));
        // A member that lost the others ends the watch instead of staying silent.
        request
            .metadata_mut()
            .insert("hasleader", MetadataValue::from_static("true"));
        let mut client = WatchClient::new(self.channel.clone());
        in_time(client.watch(request))
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| unavailable(&status))
    }
}

fn endpoint(address: &str) -> Result<Endpoint, DiscoveryError> {
    let malformed =
        |reason: &str| DiscoveryError::Address(format!("etcd endpoint `{address}`: {reason}"));
    let url = match address.split_once("://") {
        None => format!("http://{address}"),
        Some(("http", _)) => address.to_owned(),
        Some(("https", _)) => return Err(malformed("TLS is not supported yet; use http://")),
        Some(_) => return Err(malformed("the scheme must be http://")),
    };
    let endpoint = Endpoint::from_shared(url).map_err(|_| malformed("not an address"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_TIMEOUT)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true))
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}

fn unavailable(status: &Status) -> DiscoveryError {
    let mut reason = status.message().to_owned();
    if let Some(source) = std::error::Error::source(status) {
        reason = format!("{reason}: {source}");
    }
    DiscoveryError::Unavailable(reason)
}

/// The first key that does not start with `prefix`.
fn range_end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    // To etcd, this is the end of all keys.
    Bytes::from_static(&[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_after_its_prefix() {
        assert_eq!(range_end("v1/mdc/"), Bytes::from_static(b"v1/mdc0"));
        assert_eq!(range_end(""), Bytes::from_static(&[0]));
    }

    #[test]
    fn endpoints_need_no_scheme() {
        let check = |address: &str, good: bool| {
            assert_eq!(endpoint(address).is_ok(), good, "{address}");
        };
        check("localhost:2379", true);
        check("http://10.0.0.1:2379", true);
        check("https://10.0.0.1:2379", false);
        check("ftp://10.0.0.1", false);
        check("http://a b", false);
    }
}
