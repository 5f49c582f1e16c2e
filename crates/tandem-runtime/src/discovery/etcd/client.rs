//! The few calls of etcd's API that discovery needs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::EtcdOptions;
use super::login::{AddToken, Authorized, Session};
use super::tls::EtcdTls;
use crate::component::INSTANCE_ROOT;
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
pub(super) mod api {
    tonic::include_proto!("etcdserverpb");
}

use api::WatchResponse;
use api::compare::TargetUnion;
use api::kv_client::KvClient;
use api::lease_client::LeaseClient;
use api::request_op;
use api::watch_client::WatchClient;
use api::watch_request::RequestUnion;

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
    /// How to log in, if that has to be done.
    session: Option<Arc<Session>>,
}

impl EtcdClient {
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, DiscoveryError> {
        let endpoints = options
            .endpoints
            .iter()
            .map(|address| endpoint(address, &options.tls))
            .collect::<Result<Vec<_>, _>>()?;
        let channel = match &*endpoints {
            [] => return Err(DiscoveryError::Address("no etcd endpoint given".to_owned())),
            [one] => one.connect_lazy(),
            many => Channel::balance_list(many.iter().cloned()),
        };
        let login = options.login.clone();
        Ok(Self {
            session: login.map(|login| Arc::new(Session::new(login))),
            ..Self::over(channel)
        })
    }

    /// A client that speaks over `channel` and does not log in.
    pub(super) const fn over(channel: Channel) -> Self {
        Self {
            channel,
            session: None,
        }
    }

    /// Makes a call as whom this process has logged in as.
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(Authorized) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let answer = in_time(async {
            let token = match &self.session {
                Some(session) => session.token(&self.channel).await?,
                None => None,
            };
            call(Authorized::new(self.channel.clone(), AddToken(token))).await
        });
        match (answer.await, &self.session) {
            // The token has expired, or the store has begun to ask: the next call logs in again.
            (Err(status), Some(session))
                if status.code() == Code::Unauthenticated || anonymous(&status) =>
            {
                session.forget();
                Err(Status::unauthenticated(status.message()))
            }
            (answer, _) => answer,
        }
    }

    /// Takes lease `id`, or any if `id` is 0; one that still exists is fine, too.
    pub(super) async fn grant(&self, id: i64, ttl: Duration) -> Result<i64, DiscoveryError> {
        let request = api::LeaseGrantRequest {
            ttl: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1),
            id,
        };
        let granted = self.call(async |etcd| LeaseClient::new(etcd).lease_grant(request).await);
        match granted.await {
            Ok(granted) => Ok(granted.into_inner().id),
            Err(status) if id != 0 && status.code() == Code::FailedPrecondition => Ok(id),
            Err(status) => Err(unavailable(&status)),
        }
    }

    /// An error if etcd wants to know who this process is and it did not say. Anybody gets a lease,
    /// so reading is what tells.
    pub(super) async fn admitted(&self) -> Result<(), DiscoveryError> {
        let request = api::RangeRequest {
            key: Bytes::from_static(INSTANCE_ROOT.as_bytes()),
            range_end: Bytes::new(),
        };
        let read = self.call(async |etcd| KvClient::new(etcd).range(request).await);
        match read.await {
            // A role may be narrow: what it lacks shows when it is needed.
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::PermissionDenied => Ok(()),
            Err(status) => Err(unavailable(&status)),
        }
    }

    /// Renews lease `id`; false if there is no such lease any more.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<bool, DiscoveryError> {
        // The request stream stays open until the answer is there: etcd ends the call with it.
        let requests = stream::iter([api::LeaseKeepAliveRequest { id }]).chain(stream::pending());
        let renewal = self.call(async |etcd| {
            let answers = LeaseClient::new(etcd).lease_keep_alive(requests).await?;
            answers.into_inner().message().await
        });
        let answer = renewal.await.map_err(|status| unavailable(&status))?;
        let answer = answer.ok_or_else(|| {
            DiscoveryError::Unavailable("etcd ended the renewal of the lease".to_owned())
        })?;
        Ok(answer.ttl > 0)
    }

    pub(super) async fn revoke(&self, id: i64) -> Result<(), DiscoveryError> {
        let request = api::LeaseRevokeRequest { id };
        let revoked = self.call(async |etcd| LeaseClient::new(etcd).lease_revoke(request).await);
        match revoked.await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => Ok(()),
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
        let answer = self.call(async |etcd| KvClient::new(etcd).txn(transaction).await);
        match answer.await {
            Ok(answer) => Ok(answer.into_inner().succeeded),
            // etcd says so when the lease does not exist.
            Err(status) if status.code() == Code::NotFound => Err(DiscoveryError::LeaseGone),
            Err(status) => Err(unavailable(&status)),
        }
    }

    /// Removes an entry.
    pub(super) async fn delete(&self, key: &str) -> Result<(), DiscoveryError> {
        let request = api::DeleteRangeRequest {
            key: key.to_owned().into(),
            range_end: Bytes::new(),
        };
        self.call(async |etcd| KvClient::new(etcd).delete_range(request).await)
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
        let answer = self
            .call(async |etcd| KvClient::new(etcd).range(request).await)
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
        self.call(async |etcd| WatchClient::new(etcd).watch(request).await)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| unavailable(&status))
    }
}

fn endpoint(address: &str, tls: &EtcdTls) -> Result<Endpoint, DiscoveryError> {
    let malformed =
        |reason: &str| DiscoveryError::Address(format!("etcd endpoint `{address}`: {reason}"));
    let (secure, url) = match address.split_once("://") {
        None if tls.is_set() => (true, format!("https://{address}")),
        None => (false, format!("http://{address}")),
        Some(("http", _)) if tls.is_set() => {
            return Err(malformed("there are certificates, which need https://"));
        }
        Some(("http", _)) => (false, address.to_owned()),
        Some(("https", _)) => (true, address.to_owned()),
        Some(_) => return Err(malformed("the scheme must be http:// or https://")),
    };
    let endpoint = Endpoint::from_shared(url).map_err(|_| malformed("not an address"))?;
    if !secure {
        return Ok(patient(endpoint));
    }
    let endpoint = endpoint.tls_config(tls.config());
    let endpoint = endpoint.map_err(|error| malformed(&reasons(&error)))?;
    Ok(patient(endpoint))
}

/// `endpoint`, with limits on how long it may be silent.
pub(super) fn patient(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_TIMEOUT)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}

fn unavailable(status: &Status) -> DiscoveryError {
    if denied(status) {
        return DiscoveryError::Denied(status.message().to_owned());
    }
    let mut reason = status.message().to_owned();
    if let Some(source) = std::error::Error::source(status) {
        reason = format!("{reason}: {}", reasons(source));
    }
    DiscoveryError::Unavailable(reason)
}

/// Whether etcd does not let this process do something. Its codes do not tell a wrong password from
/// a malformed request.
fn denied(status: &Status) -> bool {
    match status.code() {
        Code::PermissionDenied => true,
        Code::InvalidArgument => {
            anonymous(status) || status.message().contains("authentication failed")
        }
        _ => false,
    }
}

/// Whether etcd wants to know who asks.
fn anonymous(status: &Status) -> bool {
    status.code() == Code::InvalidArgument && status.message().contains("user name is empty")
}

/// What an error says, and what its causes say.
fn reasons(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
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
        let made = rcgen::generate_simple_self_signed(["etcd".to_owned()]).unwrap();
        let plain = EtcdTls::default();
        let tls = EtcdTls {
            authorities: Some(made.cert.pem()),
            ..EtcdTls::default()
        };
        let check = |address: &str, tls: &EtcdTls, scheme: Option<&str>| {
            let endpoint = endpoint(address, tls).ok();
            let found = endpoint
                .as_ref()
                .and_then(|endpoint| endpoint.uri().scheme_str());
            assert_eq!(found, scheme, "{address}");
        };
        check("localhost:2379", &plain, Some("http"));
        check("localhost:2379", &tls, Some("https"));
        check("http://10.0.0.1:2379", &plain, Some("http"));
        check("http://10.0.0.1:2379", &tls, None);
        check("https://10.0.0.1:2379", &plain, Some("https"));
        check("ftp://10.0.0.1", &plain, None);
        check("http://a b", &plain, None);
    }

    #[test]
    fn a_certificate_that_is_none_is_named() {
        let tls = EtcdTls {
            authorities: Some("-----BEGIN CERTIFICATE-----\nno\n".to_owned()),
            ..EtcdTls::default()
        };
        let error = endpoint("https://a:1", &tls).unwrap_err().to_string();
        assert!(error.contains("https://a:1"), "{error}");
    }
}
