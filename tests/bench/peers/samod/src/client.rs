//! A client, which is a samod repo of its own with one connection to the server, and its documents.
//!
//! Invariant: each byte of a message that came over the connection is counted, the greeting's too; all else is as in
//! samod's own dialer.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use automerge::transaction::Transactable as _;
use automerge::{Automerge, AutomergeError, ObjId, ObjType, ROOT, ReadDoc};
use futures::future::{BoxFuture, ready};
use futures::{FutureExt as _, SinkExt as _, Stream, StreamExt as _, TryStreamExt as _};
use samod::storage::InMemoryStorage;
use samod::{BackoffConfig, DialError, Dialer, DialerHandle, DocHandle, DocumentId, Repo, Transport, Url};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::Outcome;

/// What is typed, over and over.
pub(crate) const WORDS: &str = "the quick brown fox ";

/// The key of the text within its document.
const TEXT: &str = "text";
/// How often a document is asked for that has not come to the server yet, and how long between two questions.
const QUESTIONS: u32 = 100;
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(50);

/// One step of a recorded text: where, how many characters go, and what comes.
pub(crate) type Step = (usize, isize, String);

/// A connected client; clones are the same client.
#[derive(Clone)]
pub(crate) struct Client {
    repo: Repo,
    dialer: DialerHandle<Infallible>,
    received: Arc<AtomicU64>,
}

impl Client {
    /// Connects a client that keeps whatever `kept` has.
    pub(crate) async fn connect(address: Url, kept: InMemoryStorage) -> Outcome<Self> {
        let received = Arc::new(AtomicU64::new(0));
        let repo = Repo::build_tokio().with_storage(kept).load().await;
        let counting = CountingDialer { address, received: Arc::clone(&received) };
        let dialer = repo.dial(BackoffConfig::default(), Arc::new(counting))?;
        dialer.established().await?;
        Ok(Self { repo, dialer, received })
    }

    /// Makes a document with an empty text.
    pub(crate) async fn create(&self) -> Outcome<Document> {
        let mut empty = Automerge::new();
        empty.transact(|change| change.put_object(ROOT, TEXT, ObjType::Text)).map_err(|failure| failure.error)?;
        Ok(Document { client: self.clone(), handle: self.repo.create(empty).await? })
    }

    /// Opens a document that is there, or comes to the server before long.
    pub(crate) async fn open(&self, id: DocumentId) -> Outcome<Document> {
        for _ in 0..QUESTIONS {
            if let Some(handle) = self.repo.find(id.clone()).await? {
                return Ok(Document { client: self.clone(), handle });
            }
            // waits: what has not come to the server yet is said to be unavailable.
            tokio::time::sleep(BETWEEN_QUESTIONS).await;
        }
        Err("the document is unavailable".into())
    }

    /// Bytes of messages so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Writes what is still to be written into its storage, and leaves.
    pub(crate) async fn close(&self) {
        self.repo.stop().await;
    }
}

/// A document that a client has open.
pub(crate) struct Document {
    pub(crate) client: Client,
    handle: DocHandle,
}

impl Document {
    /// By what others find its document.
    pub(crate) fn id(&self) -> DocumentId {
        self.handle.document_id().clone()
    }

    /// Types [`WORDS`] at the end.
    pub(crate) fn append(&self) -> Outcome {
        self.edit(|change, text| change.splice_text(text, change.length(text), 0, WORDS))
    }

    /// Types all steps in one change.
    pub(crate) fn type_all(&self, steps: &[Step]) -> Outcome {
        self.edit(|change, text| {
            steps.iter().try_for_each(|(at, gone, words)| change.splice_text(text, *at, *gone, words))
        })
    }

    fn edit(
        &self,
        edit: impl FnOnce(&mut automerge::transaction::Transaction<'_>, &ObjId) -> Result<(), AutomergeError>,
    ) -> Outcome {
        let edited = self.handle.with_document(|document| {
            let Some(text) = text_of(document) else { return Ok(false) };
            document.transact(|change| edit(change, &text)).map(|_| true).map_err(|failure| failure.error)
        });
        if edited? { Ok(()) } else { Err("the document has no text".into()) }
    }

    /// How many characters the text has.
    pub(crate) fn length(&self) -> usize {
        self.handle.with_document(|document| text_of(document).map_or(0, |text| document.length(text)))
    }

    /// Comes up whenever the document has changed.
    pub(crate) fn changes(&self) -> impl Stream<Item = ()> + Send + Unpin + 'static {
        self.handle.changes().map(drop)
    }

    /// Whether the server has said that it has everything: its heads, as it last told them, contain ours.
    pub(crate) fn acknowledged(&self) -> bool {
        let ours = self.handle.with_document(|document| document.get_heads());
        let theirs = self.client.dialer.connection_id().and_then(|id| self.handle.peers().0.remove(&id)?.their_heads);
        theirs.is_some_and(|theirs| ours.iter().all(|head| theirs.contains(head)))
    }
}

fn text_of(document: &Automerge) -> Option<ObjId> {
    document.get(ROOT, TEXT).ok().flatten().map(|(_, text)| text)
}

/// samod's dialer for WebSockets, with a count of what comes.
struct CountingDialer {
    address: Url,
    received: Arc<AtomicU64>,
}

impl Dialer for CountingDialer {
    type Error = Infallible;

    fn url(&self) -> Url {
        self.address.clone()
    }

    fn connect(&self) -> BoxFuture<'static, Result<Transport, DialError<Infallible>>> {
        let (address, received) = (self.address.clone(), Arc::clone(&self.received));
        async move {
            let (socket, _) = connect_async(address.as_str()).await.map_err(DialError::transient)?;
            let (sink, stream) = socket.split();
            let counted = stream.try_filter_map(move |message| {
                let Message::Binary(bytes) = message else { return ready(Ok(None)) };
                received.fetch_add(bytes.len() as u64, Relaxed);
                ready(Ok(Some(Vec::from(bytes))))
            });
            let framed = sink.with(|bytes: Vec<u8>| ready(Ok::<_, tungstenite::Error>(Message::Binary(bytes.into()))));
            Ok(Transport::new(counted, framed))
        }
        .boxed()
    }
}
