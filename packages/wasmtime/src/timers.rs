use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use tokio::runtime::{Builder, Handle};

/// Threads that read files for guests: each waits for one at a time.
const FILE_THREADS: usize = 8;

/// What guests that sleep, and deadlines, are woken by: one thread for all, which is asleep itself while there are none.
/// A guest runs wherever it is polled.
#[derive(Clone)]
pub struct Timers {
    handle: Handle,
}

impl Timers {
    pub fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().max_blocking_threads(FILE_THREADS).build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new().name("wasm-timers".to_owned()).spawn(move || runtime.block_on(pending::<()>()))?;
        Ok(Self { handle })
    }

    /// Runs a future for one turn, and asks for no other: whoever has it afterwards does.
    pub fn turn<T>(&self, future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
        let _entered = self.handle.enter();
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Runs a future to its end on this thread.
    pub fn run<T>(&self, mut future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> T {
        let _entered = self.handle.enter();
        let waker = Arc::new(Parked(thread::current())).into();
        let mut context = Context::from_waker(&waker);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }
}

/// A thread that waits for a future.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
