use crate::event::{Emitter, Event};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWrite, empty};
use tokio::sync::Notify;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Largest piece that is written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What a call writes as its result, up to a limit. Beyond it the guest is ended: one that ignores write errors would
/// otherwise write on for ever.
#[derive(Clone)]
pub struct ResultStream {
    shared: Arc<Mutex<ResultBytes>>,
}

struct ResultBytes {
    bytes: Vec<u8>,
    limit: usize,
    is_over: bool,
}

impl ResultStream {
    pub fn new(limit: usize) -> Self {
        Self { shared: Arc::new(Mutex::new(ResultBytes { bytes: Vec::new(), limit, is_over: false })) }
    }

    /// What has been written; to be asked for once.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.shared.lock().unwrap().bytes)
    }

    pub fn is_over(&self) -> bool {
        self.shared.lock().unwrap().is_over
    }
}

impl IsTerminal for ResultStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for ResultStream {
    /// Of WASI preview 3, which is not offered.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(empty())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for ResultStream {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for ResultStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut shared = self.shared.lock().unwrap();
        if shared.bytes.len() + bytes.len() > shared.limit {
            shared.is_over = true;
            return Err(StreamError::trap("the result is larger than it may be"));
        }
        shared.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK_BYTES)
    }
}

/// What a streamed call writes, passed on as it comes, for as long as whoever reads it has room for more.
#[derive(Clone)]
pub struct PassedOn {
    id: u32,
    emitter: Emitter,
    credit: Arc<Credit>,
}

/// Bytes that may be written before the reader has to grant more.
pub struct Credit {
    left: Mutex<usize>,
    granted: Notify,
}

impl Credit {
    pub fn new(bytes: usize) -> Self {
        Self { left: Mutex::new(bytes), granted: Notify::new() }
    }

    pub fn grant(&self, bytes: usize) {
        *self.left.lock().unwrap() += bytes;
        self.granted.notify_waiters();
        self.granted.notify_one();
    }

    fn left(&self) -> usize {
        *self.left.lock().unwrap()
    }
}

impl PassedOn {
    pub fn new(id: u32, emitter: Emitter, credit: Arc<Credit>) -> Self {
        Self { id, emitter, credit }
    }
}

impl IsTerminal for PassedOn {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for PassedOn {
    /// Of WASI preview 3, which is not offered.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(empty())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for PassedOn {
    async fn ready(&mut self) {
        while self.credit.left() == 0 {
            self.credit.granted.notified().await;
        }
    }
}

#[async_trait]
impl OutputStream for PassedOn {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut left = self.credit.left.lock().unwrap();
        *left = left.saturating_sub(bytes.len());
        drop(left);
        self.emitter.emit(Event::log(self.id, "chunk", bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.credit.left().min(CHUNK_BYTES))
    }
}

/// What a call may print at once, and per second for ever; beyond it the guest waits, and nobody else does.
const BURST_BYTES: f64 = (1 << 20) as f64;
const BYTES_PER_SECOND: f64 = (2 << 20) as f64;
/// What a write costs beside its bytes: it becomes a message, and a line.
const WRITE_COST: f64 = 512.0;

/// What a call prints to its log, passed on as it comes.
#[derive(Clone)]
pub struct LogStream {
    id: u32,
    name: &'static str,
    emitter: Emitter,
    budget: Arc<Mutex<Budget>>,
}

struct Budget {
    left: f64,
    at: Instant,
}

impl LogStream {
    /// `budget_of`: a stream that this one shares its budget with.
    pub fn new(id: u32, name: &'static str, emitter: Emitter, budget_of: Option<&LogStream>) -> Self {
        let budget = match budget_of {
            Some(other) => other.budget.clone(),
            None => Arc::new(Mutex::new(Budget { left: BURST_BYTES, at: Instant::now() })),
        };
        Self { id, name, emitter, budget }
    }

    fn left(&self) -> f64 {
        let mut budget = self.budget.lock().unwrap();
        let now = Instant::now();
        let more = (now - budget.at).as_secs_f64() * BYTES_PER_SECOND;
        budget.left = BURST_BYTES.min(budget.left + more);
        budget.at = now;
        budget.left
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    /// Of WASI preview 3, which is not offered.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(empty())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {
        let left = self.left();
        if left < 0.0 {
            // A little more than is missing, so that there is budget when it is over.
            let seconds = -left / BYTES_PER_SECOND + 0.02;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
    }
}

#[async_trait]
impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.budget.lock().unwrap().left -= bytes.len() as f64 + WRITE_COST;
        self.emitter.emit(Event::log(self.id, self.name, bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.left() < 0.0 { 0 } else { CHUNK_BYTES })
    }
}
