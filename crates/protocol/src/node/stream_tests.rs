//! The stream between a worker and a coordinator, over a real connection.

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

use super::wire::{self, coordinator_message, worker_message};
use super::{MESSAGE_BYTES_MAX, coordinator_client, coordinator_server};

/// Answers every announcement with a fragment as large as its proof.
struct Echo;

#[tonic::async_trait]
impl wire::coordinator_server::Coordinator for Echo {
    type AttachStream = ReceiverStream<Result<wire::CoordinatorMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<wire::WorkerMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (answers, stream) = mpsc::channel(1);
        let mut messages = request.into_inner();
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let answer = message.map(|message| {
                    let encoded = match message.message {
                        Some(worker_message::Message::Announcement(announcement)) => {
                            announcement.authentication
                        }
                        _ => Default::default(),
                    };
                    let fragments = vec![wire::Fragment { encoded, ..Default::default() }];
                    let desired = wire::Desired { fragments, ..Default::default() };
                    wire::CoordinatorMessage { message: Some(coordinator_message::Message::Desired(desired)) }
                });
                if answers.send(answer).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// The coordinator's answer to an announcement with so many bytes in it.
async fn answer_to(bytes: usize) -> Result<Option<wire::CoordinatorMessage>, Status> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(coordinator_server(Echo));
    let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let announcement = wire::Announcement { authentication: vec![1; bytes].into(), ..Default::default() };
    let message = wire::WorkerMessage { message: Some(worker_message::Message::Announcement(announcement)) };
    let answer = async {
        let mut answers =
            coordinator_client(channel).attach(tokio_stream::iter([message])).await?.into_inner();
        answers.message().await
    }
    .await;
    server.abort();
    answer
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let bytes = MESSAGE_BYTES_MAX - 1024;
    let answer = answer_to(bytes).await.unwrap().unwrap();
    let Some(coordinator_message::Message::Desired(desired)) = answer.message else { panic!("{answer:?}") };
    assert_eq!(desired.fragments[0].encoded.len(), bytes);
}

#[tokio::test]
async fn messages_beyond_the_limit_break_the_stream() {
    assert!(!matches!(answer_to(MESSAGE_BYTES_MAX + 1).await, Ok(Some(_))));
}
