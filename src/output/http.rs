//! One HTTP/1.1 connection for requests one after another: every wait is bounded, so is what is read of an answer, and no
//! redirect is followed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, rt};
use rumqttc::tokio_rustls::TlsConnector;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::peer::{Failure, Peer, Words};
use super::tls::Renewed;
use crate::limits::{HTTP_ANSWER_BYTES_MAX, HTTP_CONNECT_TIMEOUT};

pub(crate) const WORDS: Words =
    Words { server: "server", protocol: "HTTP", plain: "http://", tls: "https://", steps: "TCP, TLS" };

pub(crate) struct Http {
    pub(crate) peer: Peer,
    tls: Renewed,
    timeout: Duration,
    line: Option<Line>,
}

/// An open connection, and the task that drives it.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    /// Whether it has carried a request already: one that was idle for long may be closed at the other end by now.
    used: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The beginning of it, if it is long.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// What Retry-After says: seconds, or a date.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<u32>() {
            return Some(Duration::from_secs(seconds.into()));
        }
        let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        Duration::try_from(at - OffsetDateTime::now_utc()).ok()
    }
}

impl Http {
    pub(crate) fn new(peer: Peer, tls: Renewed, timeout: Duration) -> Http {
        Http { peer, tls, timeout, line: None }
    }

    /// Opens a connection, unless there is one.
    pub(crate) async fn connect(&mut self, output: &str) -> Result<(), Failure> {
        if self.line.as_ref().is_some_and(|line| !line.sender.is_closed()) {
            return Ok(());
        }
        self.line = None;
        let tls = self.tls.renew(output);
        let opening = open(&self.peer, tls);
        let silent = |_| self.peer.silent(HTTP_CONNECT_TIMEOUT.as_secs());
        self.line = Some(tokio::time::timeout(HTTP_CONNECT_TIMEOUT, opening).await.map_err(silent)??);
        Ok(())
    }

    /// Sends a request on the open connection, or on a new one, and reads the answer.
    pub(crate) async fn post(
        &mut self,
        output: &str,
        target: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: &Bytes,
    ) -> Result<Answer, Failure> {
        let was_used = self.line.as_ref().is_some_and(|line| line.used);
        match self.try_post(output, target, headers, body).await {
            // A server may close an idle connection in the moment in which the request goes out.
            Err(Failure::Closed(_)) if was_used => self.try_post(output, target, headers, body).await,
            answer => answer,
        }
    }

    async fn try_post(
        &mut self,
        output: &str,
        target: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: &Bytes,
    ) -> Result<Answer, Failure> {
        self.connect(output).await?;
        let unusable = |error: hyper::http::Error| Failure::Client(format!("the request cannot be made: {error}"));
        let mut request = Request::builder().method(Method::POST).uri(target);
        let host = match (self.peer.host.contains(':'), self.peer.port) {
            (false, 80 | 443) => self.peer.host.clone(),
            _ => self.peer.address(),
        };
        request = request.header(header::HOST, host);
        request = request.header(header::USER_AGENT, concat!("fieldbeat/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.clone())).map_err(unusable)?;
        // Taken out: a request that is dropped half way leaves no connection that is in the middle of something.
        let Some(mut line) = self.line.take() else { return Err(self.peer.closed()) };
        line.used = true;
        let seconds = self.timeout.as_secs();
        let exchange = async {
            let answer = line.sender.send_request(request).await?;
            let (parts, mut body) = answer.into_parts();
            let (mut bytes, mut whole) = (Vec::new(), true);
            while let Some(frame) = body.frame().await {
                let frame = frame?;
                let Some(data) = frame.data_ref() else { continue };
                let room = HTTP_ANSWER_BYTES_MAX - bytes.len();
                bytes.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    whole = false;
                    break;
                }
            }
            Ok((Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes }, whole))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok((answer, whole))) => {
                if whole {
                    self.line = Some(line);
                }
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(Failure::Silent(format!(
                "{} gave no answer to a request within {seconds} s; check network and server, or raise `timeout_s`",
                self.peer.address()
            ))),
        }
    }

    fn explain(&self, error: &hyper::Error) -> Failure {
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return self.peer.closed();
        }
        if error.is_parse() {
            return self.peer.garbage(&error.to_string());
        }
        self.peer.describe(error)
    }
}

async fn open(peer: &Peer, tls: Option<std::sync::Arc<rustls::ClientConfig>>) -> Result<Line, Failure> {
    let describe = |error: io::Error| peer.describe(&error);
    let tcp = TcpStream::connect((peer.host.as_str(), peer.port)).await.map_err(describe)?;
    tcp.set_nodelay(true).map_err(describe)?;
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(tcp),
        Some(tls) => {
            let name = peer.server_name()?;
            Box::new(TlsConnector::from(tls).connect(name, tcp).await.map_err(describe)?)
        }
    };
    let (sender, connection) = http1::handshake(Io(stream)).await.map_err(|error| peer.describe(&error))?;
    let driver = tokio::spawn(async move {
        // What ends it is told to the request that is under way.
        let _ = connection.await;
    });
    Ok(Line { sender, driver, used: false })
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// tokio's streams as hyper sees them.
struct Io(Box<dyn Stream>);

impl rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut to: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0u8; 4096];
        let room = chunk.len().min(to.remaining());
        let mut buffer = ReadBuf::new(&mut chunk[..room]);
        std::task::ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer))?;
        to.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Basic authentication (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = "Basic ".to_owned();
    for chunk in format!("{user}:{password}").as_bytes().chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            out.push(if digit <= chunk.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_told_in_base64() {
        // RFC 7617, section 2; and each length of the last group.
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("a", "b"), "Basic YTpi");
        assert_eq!(basic("a", "bc"), "Basic YTpiYw==");
        assert_eq!(basic("a", "bcd"), "Basic YTpiY2Q=");
    }

    #[test]
    fn a_pause_is_told_in_seconds_or_as_a_date() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            Answer { status: 503, headers, body: Vec::new() }.retry_after()
        };
        assert_eq!(with("120"), Some(Duration::from_secs(120)));
        let left = with("Fri, 31 Dec 2100 23:59:59 GMT").unwrap();
        assert!(left > Duration::from_secs(86_400), "{left:?}");
        assert_eq!(with("Sun, 06 Nov 1994 08:49:37 GMT"), None, "over already");
        assert_eq!(with("soon"), None);
        assert_eq!(with("-5"), None);
    }
}
