//! Monitoring ports that misbehave, for what a real server cannot be made to do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

/// What a fake answers to one path.
#[derive(Clone)]
pub enum Answer {
    /// These bytes, as they are, then it hangs up.
    Raw(Vec<u8>),
    /// These bytes, piece by piece as long as somebody takes them, then it hangs up.
    Pieces(Arc<dyn Fn() -> Pieces + Send + Sync>),
    /// These bytes, one every second.
    Drip(Vec<u8>),
    /// Nothing, ever.
    Silence,
}

/// What an answer is made of; there may be no end to it.
pub type Pieces = Box<dyn Iterator<Item = Vec<u8>> + Send>;

impl Answer {
    /// A JSON document with status 200 that is made while it is sent, and whose length nobody is told.
    pub fn made<I>(pieces: impl Fn() -> I + Send + Sync + 'static) -> Self
    where
        I: Iterator<Item = Vec<u8>> + Send + 'static,
    {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n";
        Self::Pieces(Arc::new(move || Box::new([head.as_bytes().to_vec()].into_iter().chain(pieces()))))
    }

    /// A JSON document with status 200.
    pub fn json(body: &str) -> Self {
        Self::http("200 OK", &[("Content-Type", "application/json")], body)
    }

    /// A whole HTTP answer.
    pub fn http(status: &str, headers: &[(&str, &str)], body: &str) -> Self {
        Self::promising(status, headers, body, body.len())
    }

    /// A JSON document that ends in the middle: `body` of `promised` bytes.
    pub fn cut_short(body: &str, promised: usize) -> Self {
        Self::promising("200 OK", &[("Content-Type", "application/json")], body, promised)
    }

    fn promising(status: &str, headers: &[(&str, &str)], body: &str, length: usize) -> Self {
        let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        Self::Raw(format!("{text}\r\n{body}").into_bytes())
    }
}

/// A monitoring port that answers as it is told.
pub struct FakeMonitor {
    pub url: Url,
    requests: Requests,
    sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// The paths that were asked for.
type Requests = Arc<Mutex<Vec<String>>>;

impl FakeMonitor {
    /// Answers each path (without its query) with what `answer` makes of it.
    pub async fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), answer).await
    }

    /// The same at a certain address.
    pub async fn start_at(
        address: SocketAddr,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (listener, url) = listen(address).await;
        let (answer, requests, sent) = (Arc::new(answer), Requests::default(), Arc::new(AtomicU64::new(0)));
        let (book, counter) = (requests.clone(), sent.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), book.clone(), counter.clone()));
            }
        });
        Self { url, requests, sent, task }
    }

    /// How many bytes it has got rid of that were sent piece by piece.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Every path that was asked for, in the order of asking.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for FakeMonitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Arc<impl Fn(&str) -> Answer>,
    requests: Requests,
    sent: Arc<AtomicU64>,
) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&piece[..length]),
        }
    }
    let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
    let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    requests.lock().unwrap().push(path.clone());
    match answer(&path) {
        Answer::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Answer::Pieces(pieces) => {
            for piece in pieces() {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
                sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
            let _ = stream.shutdown().await;
        }
        Answer::Drip(bytes) => {
            let mut every_second = tokio::time::interval(Duration::from_secs(1));
            for byte in bytes {
                every_second.tick().await;
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        }
        Answer::Silence => std::future::pending().await,
    }
}

/// A gate before a real monitoring port: closed, it accepts and lets nothing through.
pub struct Gate {
    pub url: Url,
    open: watch::Sender<bool>,
    waiting: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Gate {
    /// A closed gate before `monitor`.
    pub async fn before(monitor: &Url) -> Self {
        let (listener, url) = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let target: SocketAddr = format!("127.0.0.1:{}", monitor.port().unwrap()).parse().unwrap();
        let (open, opened) = watch::channel(false);
        let waiting = Arc::new(AtomicU64::new(0));
        let counter = waiting.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                let mut opened = opened.clone();
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    opened.wait_for(|open| *open).await.ok()?;
                    let mut outside = TcpStream::connect(target).await.ok()?;
                    tokio::io::copy_bidirectional(&mut inside, &mut outside).await.ok()
                });
            }
        });
        Self { url, open, waiting, task }
    }

    /// Lets everything through.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// How many have come to the gate.
    pub fn arrivals(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port at which nobody listens, kept from everybody else as long as it lives.
pub struct ClosedPort {
    pub url: Url,
    _socket: TcpSocket,
}

impl ClosedPort {
    /// A port of the system's choice.
    pub fn new() -> Self {
        Self::at(0)
    }

    /// The port of a monitoring URL whose server has ended.
    pub fn of(monitor: &Url) -> Self {
        Self::at(monitor.port().unwrap())
    }

    fn at(port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let url = Url::parse(&format!("http://{}", socket.local_addr().unwrap())).unwrap();
        Self { url, _socket: socket }
    }
}

async fn listen(address: SocketAddr) -> (TcpListener, Url) {
    let listener = TcpListener::bind(address).await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    (listener, url)
}
