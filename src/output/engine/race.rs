//! Two things at once, on one thread.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

pub enum First<A, B> {
    Left(A),
    Right(B),
}

/// Waits for either; the other goes on where it was when it is polled again. The left one is asked first.
pub async fn first_of<A, B>(
    mut left: Pin<&mut impl Future<Output = A>>,
    mut right: Pin<&mut impl Future<Output = B>>,
) -> First<A, B> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(a) = left.as_mut().poll(context) {
            return Poll::Ready(First::Left(a));
        }
        right.as_mut().poll(context).map(First::Right)
    })
    .await
}
