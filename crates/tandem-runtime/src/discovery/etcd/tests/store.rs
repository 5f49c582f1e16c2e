//! A store that behaves like etcd, as far as discovery asks it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::discovery::etcd::client::api;
use api::event::EventType;

/// What etcd keeps on its disk.
#[derive(Debug, Default)]
pub(super) struct Store {
    revision: i64,
    entries: BTreeMap<Bytes, Entry>,
    leases: HashMap<i64, Lease>,
    /// Every change since `compacted`.
    history: Vec<(i64, api::Event)>,
    compacted: i64,
    forgetful: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    lease: i64,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    ttl: Duration,
    expires: Duration,
}

/// The changes that a watcher has not seen, or the revision up to which they are forgotten.
pub(super) enum Changes {
    Known(Vec<api::Event>),
    Compacted(i64),
}

impl Store {
    pub(super) const fn header(&self) -> Option<api::ResponseHeader> {
        Some(api::ResponseHeader {
            revision: self.revision,
        })
    }

    pub(super) const fn revision(&self) -> i64 {
        self.revision
    }

    /// What is there, as text.
    pub(super) fn contents(&self) -> BTreeMap<String, Bytes> {
        let text = |key: &Bytes| String::from_utf8(key.to_vec()).unwrap();
        let entries = self.entries.iter();
        entries
            .map(|(key, entry)| (text(key), entry.value.clone()))
            .collect()
    }

    pub(super) fn grant(&mut self, id: i64, ttl: Duration, now: Duration) -> Option<i64> {
        let id = if id == 0 {
            1000 + i64::try_from(self.leases.len()).unwrap() + self.revision
        } else {
            id
        };
        if self.leases.contains_key(&id) {
            return None;
        }
        let expires = now + ttl;
        self.leases.insert(id, Lease { ttl, expires });
        self.revision += 1;
        Some(id)
    }

    /// Seconds that the lease has now; 0 if there is none.
    pub(super) fn renew(&mut self, id: i64, now: Duration) -> i64 {
        self.leases.get_mut(&id).map_or(0, |lease| {
            lease.expires = now + lease.ttl;
            i64::try_from(lease.ttl.as_secs()).unwrap()
        })
    }

    /// Gives every lease its whole time again, as a new leader does.
    pub(super) fn restart(&mut self, now: Duration) {
        for lease in self.leases.values_mut() {
            lease.expires = now + lease.ttl;
        }
    }

    pub(super) fn expire(&mut self, now: Duration) {
        let expired = self.leases.iter().filter(|(_, lease)| lease.expires <= now);
        for id in expired.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.revoke(id);
        }
    }

    pub(super) fn revoke(&mut self, id: i64) {
        if self.leases.remove(&id).is_none() {
            return;
        }
        let keys = self.entries.iter().filter(|(_, entry)| entry.lease == id);
        for key in keys.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.delete(&key);
        }
    }

    pub(super) fn delete(&mut self, key: &Bytes) {
        if self.entries.remove(key).is_some() {
            self.record(EventType::Delete, key.clone(), Bytes::new());
        }
    }

    /// Writes if every condition holds; `None` if the lease does not exist.
    pub(super) fn transact(&mut self, request: api::TxnRequest) -> Option<bool> {
        use api::compare::TargetUnion;
        let holds = request.compare.iter().all(|compare| {
            let entry = self.entries.get(&compare.key);
            match compare.target_union.unwrap() {
                TargetUnion::Version(0) => entry.is_none(),
                TargetUnion::Version(version) => panic!("nobody asks for version {version}"),
                TargetUnion::Lease(lease) => entry.is_some_and(|entry| entry.lease == lease),
            }
        });
        if !holds {
            return Some(false);
        }
        for operation in request.success {
            let Some(api::request_op::Request::RequestPut(put)) = operation.request else {
                panic!("nobody asks for anything else");
            };
            if !self.leases.contains_key(&put.lease) {
                return None;
            }
            let entry = Entry {
                value: put.value.clone(),
                lease: put.lease,
            };
            self.entries.insert(put.key.clone(), entry);
            self.record(EventType::Put, put.key, put.value);
        }
        Some(true)
    }

    pub(super) fn range(&self, start: &Bytes, end: &Bytes) -> Vec<api::KeyValue> {
        // An empty end asks for one key.
        let end = if end.is_empty() { start } else { end };
        let range = self.entries.range(start.clone()..end.clone());
        range
            .map(|(key, entry)| api::KeyValue {
                key: key.clone(),
                value: entry.value.clone(),
                ..api::KeyValue::default()
            })
            .collect()
    }

    /// What has happened from revision `from` on.
    pub(super) fn changes(&self, from: i64, start: &Bytes, end: &Bytes) -> Changes {
        if from <= self.compacted {
            return Changes::Compacted(self.compacted);
        }
        let seen = self.history.iter().filter(|(revision, event)| {
            let key = &event.kv.as_ref().unwrap().key;
            *revision >= from && key >= start && key < end
        });
        Changes::Known(seen.map(|(_, event)| event.clone()).collect())
    }

    /// Compacts its history after every change from now on.
    pub(super) const fn forget(&mut self) {
        self.forgetful = true;
    }

    fn record(&mut self, kind: EventType, key: Bytes, value: Bytes) {
        self.revision += 1;
        let entry = api::KeyValue {
            key,
            value,
            ..api::KeyValue::default()
        };
        let event = api::Event {
            r#type: kind.into(),
            kv: Some(entry),
        };
        self.history.push((self.revision, event));
        if self.forgetful {
            self.history.clear();
            self.compacted = self.revision;
        }
    }
}
