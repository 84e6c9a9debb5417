use napi::Status;
use napi::bindgen_prelude::Buffer;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use std::sync::{Arc, Mutex};

/// Something that a call has to say: `stdout` and `stderr` with bytes for its log, `chunk` with bytes of a streamed result,
/// and once, at its end, how it ended:
///
/// * `ok` with its result
/// * `exit` with a code other than 0
/// * `trap`, `memory`, `output`, `timeout`, `aborted`, or `error` for what is not the guest's fault, with a message
#[napi(object)]
pub struct Event {
    pub id: u32,
    pub kind: String,
    pub code: i32,
    /// At its end: what the call took on its thread, µs.
    pub took_us: f64,
    pub message: String,
    pub body: Buffer,
}

impl Event {
    pub fn log(id: u32, stream: &str, bytes: Vec<u8>) -> Self {
        Self { id, kind: stream.to_owned(), code: 0, took_us: 0.0, message: String::new(), body: bytes.into() }
    }

    pub fn result(id: u32, body: Vec<u8>) -> Self {
        Self { id, kind: "ok".to_owned(), code: 0, took_us: 0.0, message: String::new(), body: body.into() }
    }

    pub fn failure(id: u32, kind: &str, code: i32, message: String) -> Self {
        Self { id, kind: kind.to_owned(), code, took_us: 0.0, message, body: Vec::new().into() }
    }
}

pub type EventFunction = ThreadsafeFunction<Event, (), Event, Status, false, true>;

/// Tells JavaScript of events, from any thread. One function for all calls: making one takes as long as a call.
#[derive(Clone)]
pub struct Emitter {
    function: Arc<EventFunction>,
    /// While the call runs on JavaScript's own thread: it gets them when the turn is over, in their order.
    held: Arc<Mutex<Option<Vec<Event>>>>,
}

impl Emitter {
    /// For a call that begins on JavaScript's thread.
    pub fn holding(function: Arc<EventFunction>) -> Self {
        Self { function, held: Arc::new(Mutex::new(Some(Vec::new()))) }
    }

    /// What was held; from now on events are passed on as they come.
    pub fn release(&self) -> Vec<Event> {
        self.held.lock().unwrap().take().unwrap_or_default()
    }

    pub fn emit(&self, event: Event) {
        if let Some(held) = self.held.lock().unwrap().as_mut() {
            held.push(event);
            return;
        }
        // It fails only where the process is about to end.
        self.function.call(event, ThreadsafeFunctionCallMode::NonBlocking);
    }
}
