//! The connection that commands come over: one socket, what was read and not taken yet, what is still to be written.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use rumqttc::tokio_rustls::TlsConnector;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::wire::{Frame, Frames, Violation};
use crate::limits::{COMMAND_OUT_BYTES_MAX, COMMAND_READ_BYTES};
use crate::peer::{Failure, Peer};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a turn brought.
pub(super) enum Turn<T> {
    /// Its time is over.
    Over,
    Came(T),
    /// So many bytes, which [`Line::next`] gives as packets.
    Read(usize),
    /// The other side closed the connection, or the network did.
    Closed(io::Error),
}

pub(super) struct Line {
    stream: Box<dyn Stream>,
    frames: Frames,
    chunk: Box<[u8]>,
    pub(super) out: Vec<u8>,
    /// Of `out`.
    written: usize,
    flushed: bool,
    /// Writing failed: what the other side has said before it closed is still read.
    broken: Option<io::Error>,
}

impl Line {
    /// TCP, and TLS over it. The caller bounds the time.
    pub(super) async fn open(peer: &Peer, tls: Option<Arc<ClientConfig>>) -> Result<Line, Failure> {
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
        Ok(Line {
            stream,
            frames: Frames::default(),
            chunk: vec![0; COMMAND_READ_BYTES].into_boxed_slice(),
            out: Vec::new(),
            written: 0,
            flushed: true,
            broken: None,
        })
    }

    /// The next packet of what was read.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Violation> {
        self.frames.next()
    }

    /// Writes what is to be written; waits until something comes in `channel`, or bytes when `may_read`, or until
    /// `until`. Time and answers go first: however fast a broker sends, they have their turn.
    pub(super) async fn turn<T>(
        &mut self,
        until: Instant,
        may_read: bool,
        mut channel: Option<&mut mpsc::Receiver<T>>,
    ) -> Turn<T> {
        let mut sleep = pin!(tokio::time::sleep_until(until));
        std::future::poll_fn(|context| {
            if self.broken.is_none()
                && let Poll::Ready(Err(error)) = self.poll_out(context)
            {
                self.broken = Some(error);
            }
            if let Some(channel) = &mut channel
                && let Poll::Ready(Some(came)) = channel.poll_recv(context)
            {
                return Poll::Ready(Turn::Came(came));
            }
            if sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(Turn::Over);
            }
            // Answers that the broker does not take keep further requests out.
            let has_room = self.out.len() - self.written < COMMAND_OUT_BYTES_MAX && !self.frames.is_full();
            if self.broken.is_none() && !(may_read && has_room) {
                return Poll::Pending;
            }
            let mut bytes = ReadBuf::new(&mut self.chunk);
            match Pin::new(&mut self.stream).poll_read(context, &mut bytes) {
                Poll::Pending => match self.broken.take() {
                    Some(error) => Poll::Ready(Turn::Closed(error)),
                    None => Poll::Pending,
                },
                Poll::Ready(Ok(())) if bytes.filled().is_empty() => {
                    Poll::Ready(Turn::Closed(io::ErrorKind::UnexpectedEof.into()))
                }
                Poll::Ready(Ok(())) => {
                    self.frames.push(bytes.filled());
                    Poll::Ready(Turn::Read(bytes.filled().len()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Turn::Closed(error)),
            }
        })
        .await
    }

    /// Whether all that was to be written is on its way.
    pub(super) fn is_written(&self) -> bool {
        self.out.is_empty() && self.flushed
    }

    fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            self.flushed = false;
            match Pin::new(&mut self.stream).poll_write(context, &self.out[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.out.drain(..self.written);
                    self.written = 0;
                    return Poll::Pending;
                }
            }
        }
        self.out.clear();
        self.written = 0;
        if !self.flushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => self.flushed = true,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}
