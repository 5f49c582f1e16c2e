//! The few calls of Milvus' API that the cache needs, on one collection.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response};

use crate::cache::backend::BackendError;
use crate::config::{Consistency, StoreServer, StoreTls};

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
    tonic::include_proto!("milvus.proto.milvus");
}

use api::milvus_service_client::MilvusServiceClient;
use api::{ConsistencyLevel, KeyValuePair, Status};

/// Most time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// `PlaceholderType` of a vector of floats.
const FLOAT_VECTOR: i32 = 101;
/// `DslType` of an expression.
const EXPRESSION: i32 = 1;

/// A connection, made when needed and made again when lost.
#[derive(Debug, Clone)]
pub(super) struct MilvusClient {
    service: MilvusServiceClient<Channel>,
    login: Option<MetadataValue<Ascii>>,
    database: String,
    consistency: ConsistencyLevel,
}

/// A search for the nearest vectors.
pub(super) struct Search<'a> {
    pub(super) filter: String,
    pub(super) vector: &'a [f32],
    pub(super) most: usize,
    pub(super) outputs: &'a [&'a str],
}

impl MilvusClient {
    pub(super) async fn new(
        server: &StoreServer,
        database: &str,
        consistency: Consistency,
    ) -> Result<Self, BackendError> {
        let scheme = match server.tls {
            None => "http",
            Some(_) => "https",
        };
        let refused = |error: tonic::transport::Error| BackendError::Refused(error.to_string());
        let url = format!("{scheme}://{}:{}", server.host, server.port);
        let mut endpoint = Endpoint::from_shared(url)
            .map_err(refused)?
            .connect_timeout(CONNECT);
        if let Some(tls) = &server.tls {
            endpoint = endpoint
                .tls_config(tls_config(tls).await?)
                .map_err(refused)?;
        }
        let login = server.username.as_ref().map(|username| {
            let password = server.password.as_ref();
            let password = password.map_or("", |password| password.expose());
            let login = STANDARD.encode(format!("{username}:{password}"));
            let login = MetadataValue::try_from(login);
            let mut login = login.expect("base64 is ASCII");
            login.set_sensitive(true);
            login
        });
        Ok(Self {
            service: MilvusServiceClient::new(endpoint.connect_lazy()),
            login,
            database: database.to_owned(),
            consistency: match consistency {
                Consistency::Strong => ConsistencyLevel::Strong,
                Consistency::Session => ConsistencyLevel::Session,
                Consistency::Bounded => ConsistencyLevel::Bounded,
                Consistency::Eventually => ConsistencyLevel::Eventually,
            },
        })
    }

    /// The schema of a collection, if there is one.
    pub(super) async fn describe(
        &self,
        collection: &str,
    ) -> Result<Option<api::CollectionSchema>, BackendError> {
        let request = self.request(api::DescribeCollectionRequest {
            db_name: self.database.clone(),
            collection_name: collection.to_owned(),
        });
        let answer = self.service.clone().describe_collection(request).await;
        let answer = received(answer)?;
        if answer.status.as_ref().is_some_and(is_missing) {
            return Ok(None);
        }
        accepted(answer.status.as_ref())?;
        Ok(answer.schema)
    }

    pub(super) async fn create(&self, schema: &api::CollectionSchema) -> Result<(), BackendError> {
        let request = self.request(api::CreateCollectionRequest {
            db_name: self.database.clone(),
            collection_name: schema.name.clone(),
            schema: schema.encode_to_vec().into(),
            shards_num: 1,
            consistency_level: self.consistency.into(),
        });
        let status = received(self.service.clone().create_collection(request).await)?;
        accepted(Some(&status))
    }

    pub(super) async fn index(
        &self,
        collection: &str,
        field: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(), BackendError> {
        let request = self.request(api::CreateIndexRequest {
            db_name: self.database.clone(),
            collection_name: collection.to_owned(),
            field_name: field.to_owned(),
            extra_params: pairs(parameters),
            index_name: field.to_owned(),
        });
        let status = received(self.service.clone().create_index(request).await)?;
        accepted(Some(&status))
    }

    pub(super) async fn load(&self, collection: &str) -> Result<(), BackendError> {
        let request = self.request(api::LoadCollectionRequest {
            db_name: self.database.clone(),
            collection_name: collection.to_owned(),
            replica_number: 1,
        });
        let status = received(self.service.clone().load_collection(request).await)?;
        accepted(Some(&status))
    }

    /// Writes one row, in place of one with the same key.
    pub(super) async fn upsert(
        &self,
        collection: &str,
        row: Vec<api::FieldData>,
    ) -> Result<(), BackendError> {
        let request = self.request(api::UpsertRequest {
            db_name: self.database.clone(),
            collection_name: collection.to_owned(),
            fields_data: row,
            num_rows: 1,
        });
        let answer = received(self.service.clone().upsert(request).await)?;
        accepted(answer.status.as_ref())
    }

    pub(super) async fn delete(
        &self,
        collection: &str,
        filter: String,
    ) -> Result<(), BackendError> {
        let request = self.request(api::DeleteRequest {
            db_name: self.database.clone(),
            collection_name: collection.to_owned(),
            expr: filter,
            consistency_level: ConsistencyLevel::Strong.into(),
        });
        let answer = received(self.service.clone().delete(request).await)?;
        accepted(answer.status.as_ref())
    }

    /// Columns of the rows that a filter selects.
    pub(super) async fn query(
        &self,
        collection: &str,
        filter: String,
        outputs: &[&str],
    ) -> Result<Vec<api::FieldData>, BackendError> {
        let request = self.request(api::QueryRequest {
            db_name: self.database.clone(),
            collection_name: collection.to_owned(),
            expr: filter,
            output_fields: outputs.iter().map(|&name| name.to_owned()).collect(),
            query_params: pairs(&[("limit", "1024")]),
            consistency_level: self.consistency.into(),
        });
        let answer = received(self.service.clone().query(request).await)?;
        accepted(answer.status.as_ref())?;
        Ok(answer.fields_data)
    }

    pub(super) async fn search(
        &self,
        collection: &str,
        search: Search<'_>,
    ) -> Result<api::SearchResultData, BackendError> {
        let vector: Vec<u8> = search
            .vector
            .iter()
            .flat_map(|one| one.to_le_bytes())
            .collect();
        let group = api::PlaceholderGroup {
            placeholders: vec![api::PlaceholderValue {
                tag: "$0".to_owned(),
                r#type: FLOAT_VECTOR,
                values: vec![Bytes::from(vector)],
            }],
        };
        let most = search.most.to_string();
        let parameters = [
            ("anns_field", "embedding"),
            ("topk", most.as_str()),
            ("metric_type", "COSINE"),
            ("params", "{}"),
        ];
        let outputs = search.outputs.iter();
        let request = self.request(api::SearchRequest {
            db_name: self.database.clone(),
            collection_name: collection.to_owned(),
            dsl: search.filter,
            placeholder_group: group.encode_to_vec().into(),
            dsl_type: EXPRESSION,
            output_fields: outputs.map(|&name| name.to_owned()).collect(),
            search_params: pairs(&parameters),
            nq: 1,
            consistency_level: self.consistency.into(),
        });
        let answer = received(self.service.clone().search(request).await)?;
        accepted(answer.status.as_ref())?;
        Ok(answer.results.unwrap_or_default())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(login) = &self.login {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", login.clone());
        }
        request
    }
}

fn pairs(parameters: &[(&str, &str)]) -> Vec<KeyValuePair> {
    let pair = |(key, value): &(&str, &str)| KeyValuePair {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    parameters.iter().map(pair).collect()
}

async fn tls_config(tls: &StoreTls) -> Result<ClientTlsConfig, BackendError> {
    let read = async |path: &String| {
        let bytes = tokio::fs::read(path).await;
        bytes.map_err(|error| BackendError::Refused(format!("failed to read {path}: {error}")))
    };
    let mut config = match &tls.authorities {
        Some(path) => {
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path).await?))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        let identity = Identity::from_pem(read(certificate).await?, read(key).await?);
        config = config.identity(identity);
    }
    Ok(config)
}

/// The answer of a call, unless the call itself failed.
fn received<T>(answer: Result<Response<T>, tonic::Status>) -> Result<T, BackendError> {
    answer.map(Response::into_inner).map_err(|status| {
        let text = format!("{}: {}", status.code(), status.message());
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::InvalidArgument => BackendError::Refused(text),
            Code::ResourceExhausted => BackendError::Full(text),
            _ => BackendError::Unavailable(text),
        }
    })
}

/// Older servers set one number, newer ones both.
fn is_missing(status: &Status) -> bool {
    status.code == 100 || status.error_code == 4
}

fn accepted(status: Option<&Status>) -> Result<(), BackendError> {
    let Some(status) = status.filter(|status| status.code != 0 || status.error_code != 0) else {
        return Ok(());
    };
    let text = status.reason.clone();
    Err(match status.code {
        // Limits of memory, disk, rate and quota.
        3 | 7..=9 => BackendError::Full(text),
        // Not ready, not there, or not loaded any more: it is made ready again.
        1 | 2 | 100 | 101 => BackendError::Unavailable(text),
        _ => BackendError::Refused(text),
    })
}
