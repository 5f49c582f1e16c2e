//! An ExtProc server that lets everything pass as it is: what Envoy's filter costs by itself, which
//! is subtracted from what the router costs.
//!
//! ```text
//! cd bench && cargo run --release --bin no_op_extproc
//! ```
//!
//! Prints the address it listens on and serves until it is killed.

use std::pin::Pin;

use anyhow::Result;
use messages::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use messages::processing_request::Request as Shown;
use messages::processing_response::Response as Answer;
use messages::{BodyResponse, HeadersResponse, ProcessingRequest, ProcessingResponse};
use messages::{CommonResponse, TrailersResponse};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

#[allow(
    clippy::all,
    dead_code,
    reason = "generated from ../proto/ext_proc.proto"
)]
mod messages {
    tonic::include_proto!("envoy.service.ext_proc.v3");
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("ready on {}", listener.local_addr()?);
    // Nagle's algorithm would hold back small answers.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = ExternalProcessorServer::new(NoOp);
    Server::builder()
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

struct NoOp;

#[tonic::async_trait]
impl ExternalProcessor for NoOp {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let answers = request.into_inner().map(|message| answer(&message?));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// "Carry on", in the form that the shown part asks for.
fn answer(message: &ProcessingRequest) -> Result<ProcessingResponse, Status> {
    let response = Some(CommonResponse::default());
    let headers = HeadersResponse {
        response: response.clone(),
    };
    let body = BodyResponse { response };
    let answer = match &message.request {
        Some(Shown::RequestHeaders(_)) => Answer::RequestHeaders(headers),
        Some(Shown::ResponseHeaders(_)) => Answer::ResponseHeaders(headers),
        Some(Shown::RequestBody(_)) => Answer::RequestBody(body),
        Some(Shown::ResponseBody(_)) => Answer::ResponseBody(body),
        Some(Shown::RequestTrailers(_)) => Answer::RequestTrailers(TrailersResponse::default()),
        Some(Shown::ResponseTrailers(_)) => Answer::ResponseTrailers(TrailersResponse::default()),
        None => return Err(Status::invalid_argument("the message shows nothing")),
    };
    Ok(ProcessingResponse {
        response: Some(answer),
        ..ProcessingResponse::default()
    })
}
