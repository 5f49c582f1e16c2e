//! Where the protocol of endpoint pickers has its values: a header, and dynamic metadata.

use std::collections::HashMap;

use http::HeaderMap;

use super::convert;
use super::messages::processing_response::Response;
use super::messages::value::Kind;
use super::messages::{Metadata, ProcessingResponse, Struct, Value};
use super::picker::Pick;
use super::subset::EndpointSubset;

/// Name of the header and of the member of the metadata that name the picked endpoint. Longer
/// names begin with it.
const DESTINATION: &str = "x-gateway-destination-endpoint";
/// Who answered, as the proxy says.
const SERVED: &str = "x-gateway-destination-endpoint-served";
/// Among which endpoints to pick.
const SUBSET: &str = "x-gateway-destination-endpoint-subset";
/// Namespace of the picked and of the serving endpoint.
const NAMESPACE: &str = "envoy.lb";
/// Namespace of [`SUBSET`].
const SUBSET_NAMESPACE: &str = "envoy.lb.subset_hint";

/// The endpoints that the proxy allows; `None` where it does not say, and then it allows all.
pub(super) fn subset(context: &Metadata) -> Option<EndpointSubset> {
    let value = member(context, SUBSET_NAMESPACE, SUBSET)?;
    let texts = match &value.kind {
        Some(Kind::ListValue(list)) => list.values.iter().filter_map(text).collect(),
        _ => Vec::from_iter(text(value)),
    };
    Some(EndpointSubset::new(texts))
}

/// Who answered, if the proxy says so.
pub(super) fn served(context: &Metadata) -> Option<&str> {
    text(member(context, NAMESPACE, SERVED)?)
}

/// Names of headers that steer a request, which no client may send.
pub(super) fn steering_headers(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let names = headers.keys().map(|name| name.as_str());
    let steering = names.filter(|name| name.starts_with(DESTINATION));
    steering.map(str::to_owned)
}

/// Has `answer`, which is the first that lets the request's headers go on, name the endpoint.
pub(super) fn direct(answer: &mut ProcessingResponse, pick: &Pick) {
    let endpoints = std::iter::once(&pick.endpoint).chain(&pick.fallbacks);
    let endpoints: Vec<&str> = endpoints.map(String::as_str).collect();
    let endpoints = endpoints.join(",");
    let response = match &mut answer.response {
        Some(Response::RequestHeaders(headers)) => &mut headers.response,
        Some(Response::RequestBody(body)) => &mut body.response,
        other => unreachable!("no request goes on with {other:?}"),
    };
    let response = response.get_or_insert_default();
    response.clear_route_cache = true;
    let headers = response.header_mutation.get_or_insert_default();
    let mut set = convert::mutation([], [(DESTINATION, &*endpoints)]);
    headers.set_headers.append(&mut set.set_headers);
    answer.dynamic_metadata = Some(metadata(endpoints));
}

/// `{"envoy.lb": {"x-gateway-destination-endpoint": …}}`.
fn metadata(endpoints: String) -> Struct {
    let object = |name: &str, kind| Struct {
        fields: HashMap::from([(name.to_owned(), Value { kind: Some(kind) })]),
    };
    let inner = object(DESTINATION, Kind::StringValue(endpoints));
    object(NAMESPACE, Kind::StructValue(inner))
}

fn member<'a>(context: &'a Metadata, namespace: &str, name: &str) -> Option<&'a Value> {
    context.filter_metadata.get(namespace)?.fields.get(name)
}

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// Bytes that Google's own implementation writes for the same contents.
    #[test]
    fn metadata_has_the_form_of_google_protobuf() {
        let golden = b"\n?\n\x08envoy.lb\x123*1\n/\n\x1ex-gateway-destination-endpoint\x12\r\x1a\x0b10.0.0.1:80";
        let written = metadata("10.0.0.1:80".to_owned()).encode_to_vec();
        assert_eq!(written, golden);

        let golden = b"\nF\n%x-gateway-destination-endpoint-subset\x12\x1d2\x1b\n\r\x1a\x0b10.0.0.1:80\n\n\x1a\x0810.0.0.2";
        let hint = Struct::decode(&golden[..]).unwrap();
        let context = Metadata {
            filter_metadata: HashMap::from([(SUBSET_NAMESPACE.to_owned(), hint)]),
        };
        let read = subset(&context).unwrap();
        assert_eq!(read, EndpointSubset::new(["10.0.0.1:80", "10.0.0.2"]));
    }
}
