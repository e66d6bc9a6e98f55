//! The picture over HTTP, for a browser on this machine, or elsewhere if that was asked for.
//!
//! One thread with a runtime of its own, started when somebody asks for the address. It listens on the
//! loopback interface, or where it was told to; there who asks has to show a token (`token`). What it
//! answers is guarded (`guard`) against pages of other origins. Nothing
//! is queued for a reader: each takes what has happened since its last look when it is ready for more
//! (`stream`), so a slow one costs a connection and gets fewer, larger steps. Connections are bounded.

pub(crate) mod assets;
mod guard;
mod routes;
mod stream;
mod token;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lineshaft_engine::{Noted, Ours};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::collector::Shared;
use crate::limits;
use token::Token;

/// A server for one picture. It stops when it is dropped.
pub struct Server {
    url: String,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Starts to serve at an address of this machine, at a port that is free or at this one.
    pub(crate) fn start(shared: Arc<Shared>, at: IpAddr, port: Option<u16>) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            Ours::new(bind(at, port)?)
        };
        let address = listener.get().local_addr()?;
        let is_for_others = at != Ipv4Addr::LOCALHOST && at != Ipv6Addr::LOCALHOST;
        let token = is_for_others
            .then(|| Token::new(address.port()))
            .transpose()?
            .map(Arc::new);
        let url = url(address, token.as_deref());
        let (stop, stopped) = watch::channel(false);
        let thread = thread::Builder::new()
            .name("lineshaft-http".into())
            .spawn(move || runtime.block_on(serve(listener, shared, token, stopped)))?;
        Ok(Server {
            url,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Where to look, with the token if there is one.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends all connections, those that stream after what they have not sent yet, and closes the port.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by the panic hook.
            let _: thread::Result<()> = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn url(address: SocketAddr, token: Option<&Token>) -> String {
    let (port, query) = (address.port(), token.map_or_else(String::new, Token::query));
    if address.ip().is_unspecified() {
        // It listens on all of them: others know this machine by its name.
        let system = rustix::system::uname();
        return format!(
            "http://{}:{port}{query}",
            system.nodename().to_string_lossy()
        );
    }
    format!("http://{address}{query}")
}

/// Listens on this port, or else on the usual one or the next that is free. Only within a runtime.
fn bind(at: IpAddr, port: Option<u16>) -> io::Result<TcpListener> {
    let wanted = port.unwrap_or(limits::PORT);
    let further = match port {
        Some(_) => 0..0,
        None => limits::PORT + 1..limits::PORT + limits::PORTS_TRIED,
    };
    // The last one leaves it to the kernel.
    let further = further.chain(port.is_none().then_some(0));
    for port in std::iter::once(wanted).chain(further) {
        match std::net::TcpListener::bind((at, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(cannot_listen(at, port, &error)),
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return TcpListener::from_std(listener);
            }
        }
    }
    Err(cannot_listen(at, wanted, &io::ErrorKind::AddrInUse.into()))
}

fn cannot_listen(at: IpAddr, port: u16, why: &io::Error) -> io::Error {
    let address = SocketAddr::new(at, port);
    io::Error::new(why.kind(), format!("cannot listen at {address}: {why}"))
}

async fn serve(
    listener: Ours<TcpListener>,
    shared: Arc<Shared>,
    token: Option<Arc<Token>>,
    mut stopped: watch::Receiver<bool>,
) {
    let (router, stopping) = (
        routes::router(shared, token, stopped.clone()),
        stopped.clone(),
    );
    let free = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = listener.get().accept() => {
                let Ok((socket, _)) = accepted else {
                    // The peer has gone, or there is no descriptor: the next one may have more luck.
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                    continue;
                };
                let Ok(place) = Arc::clone(&free).try_acquire_owned() else {
                    continue;
                };
                let (router, stopped) = (router.clone(), stopping.clone());
                connections.spawn(async move {
                    connection(socket, router, stopped).await;
                    drop(place);
                });
            }
            // What has ended is forgotten.
            Some(_) = connections.join_next() => {}
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    // Who is still not done is cut off.
    let _: Result<(), _> = tokio::time::timeout(limits::STOP_GRACE, all).await;
}

async fn connection(socket: TcpStream, router: axum::Router, mut stopped: watch::Receiver<bool>) {
    let noted = Noted::of(&socket);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::REQUEST_TIME_MAX)
        .max_buf_size(limits::REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    // Declared after what owns the socket, and so dropped before it.
    let _noted = noted;
    // How a connection ends is the peer's affair: garbage and resets are no news.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _: hyper::Result<()> = connection.await;
}
