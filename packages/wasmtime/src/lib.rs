//! The engine of Pilum's WebAssembly runtime: wasmtime, for Node. It is loaded by the process that runs guests and by
//! the one that compiles them, and by nobody else: `apps/worker/src/runtimes/wasm/engine`.

mod call;
mod config;
mod event;
mod files;
mod limits;
mod streams;
mod threads;
mod ticker;
mod timers;

use call::{Call, CallState, Entry, Layer};
use event::{Emitter, Event, EventFunction};
use napi::bindgen_prelude::{Buffer, Function};
use napi_derive::napi;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};
use streams::Credit;
use tokio::sync::oneshot;
use wasmtime::{Engine, InstancePre, Linker, Module};
use wasmtime_wasi::{I32Exit, p1};

fn failure(error: impl std::fmt::Display) -> napi::Error {
    napi::Error::from_reason(format!("{error:#}"))
}

/// Counted up with each change of what a caller has to say: an addon that was built before would leave it out in silence.
/// `apps/worker/src/runtimes/wasm/engine/wasmtime-engine.ts` has the same.
const INTERFACE: u32 = 2;

/// Which one this was built with.
#[napi(js_name = "interfaceNumber")]
pub fn interface_number() -> u32 {
    INTERFACE
}

/// The version of wasmtime.
#[napi]
pub fn version() -> &'static str {
    env!("WASMTIME_VERSION")
}

/// What has to be the same for a compiled module to be loaded: version, settings, processor.
#[napi]
pub fn compatibility() -> napi::Result<String> {
    Ok(config::compatibility(&config::make_engine(1).map_err(failure)?))
}

/// Compiles a module. Takes as long as it takes: the caller is a process that can be killed.
#[napi]
pub fn compile(wasm: Buffer) -> napi::Result<Buffer> {
    let engine = config::make_engine(1).map_err(failure)?;
    Ok(engine.precompile_module(&wasm).map_err(failure)?.into())
}

/// A module that is ready to be run.
#[napi]
pub struct LoadedModule {
    pre: InstancePre<CallState>,
    /// What its calls have taken lately, µs.
    usual_us: Arc<AtomicU32>,
}

/// A call of a module whose calls take no longer than this, µs, begins on JavaScript's own thread, where the way to
/// another and back would take longer than the call. One that takes longer all the same goes on elsewhere after a tick.
const SHORT_US: u32 = 250;
/// Of a module that was never called: a first call runs elsewhere, and a short one makes the next ones run here.
const UNKNOWN_US: u32 = 2 * SHORT_US - 50;

#[napi(object)]
pub struct CallOptions {
    pub id: u32,
    /// `command`, `numbers` or `bytes`.
    pub kind: String,
    /// The exported function; empty for a command.
    pub name: String,
    /// Of a function of bytes.
    pub allocator: String,
    pub args: Vec<String>,
    /// Names and values in turn.
    pub env: Vec<String>,
    /// Where the guest finds a layer, and where it is, in turn.
    pub layers: Vec<String>,
    pub memory_bytes: f64,
    pub output_bytes: f64,
    pub cpu: f64,
    /// Bytes of a streamed result that may be written before more is granted; 0 where the result is wanted whole.
    pub stream_credit: f64,
    /// From now on, ms.
    pub timeout_ms: f64,
}

/// What reaches a call that runs.
struct Running {
    abort: oneshot::Sender<()>,
    credit: Option<Arc<Credit>>,
}

#[napi]
pub struct WasmtimeEngine {
    engine: Engine,
    linker: Linker<CallState>,
    threads: threads::Threads,
    ticker: ticker::Ticker,
    timers: timers::Timers,
    on_event: Arc<EventFunction>,
    running: Arc<Mutex<HashMap<u32, Running>>>,
}

#[napi]
impl WasmtimeEngine {
    /// An engine for so many calls at once, which tells `on_event` what they have to say.
    #[napi(constructor)]
    pub fn new(max_calls: u32, on_event: Function<Event, ()>) -> napi::Result<Self> {
        let engine = config::make_engine(max_calls).map_err(failure)?;
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_async(&mut linker, CallState::wasi).map_err(failure)?;
        // The stock one takes a code from 126 on for a fault.
        linker.allow_shadowing(true);
        let exit = |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) };
        linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit).map_err(failure)?;
        files::bound(&mut linker).map_err(failure)?;
        let function =
            on_event.build_threadsafe_function::<Event>().callee_handled::<false>().weak::<true>().build()?;
        Ok(Self {
            ticker: ticker::Ticker::new(engine.clone()).map_err(failure)?,
            engine,
            linker,
            threads: threads::Threads::default(),
            timers: timers::Timers::new().map_err(failure)?,
            on_event: Arc::new(function),
            running: Arc::default(),
        })
    }

    /// Loads what `compile` has made, from a file. The file must be what it was: whoever names it has checked that.
    #[napi]
    pub fn load(&self, path: String) -> napi::Result<LoadedModule> {
        // SAFETY: the worker names only files that it has written itself, in a directory that is its own, and whose
        // digest it has compared; the directory is mounted read-only here.
        let module = unsafe { Module::deserialize_file(&self.engine, path) }.map_err(failure)?;
        Ok(LoadedModule {
            pre: self.linker.instantiate_pre(&module).map_err(failure)?,
            usual_us: Arc::new(AtomicU32::new(UNKNOWN_US)),
        })
    }

    /// Begins a call, whose time counts from now.
    ///
    /// Returns what there is to say of it already, which may be all; the rest comes as events.
    #[napi]
    pub fn call(&self, module: &LoadedModule, options: CallOptions, payload: Buffer) -> napi::Result<Vec<Event>> {
        let begun = Instant::now();
        let entry = match options.kind.as_str() {
            "command" => Entry::Command,
            "numbers" => Entry::Numbers(options.name),
            "bytes" => Entry::Bytes { name: options.name, allocator: options.allocator },
            other => return Err(failure(format!("there is no kind of call {other}"))),
        };
        let id = options.id;
        let env = options.env.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let layers = options.layers.chunks_exact(2);
        let layers = layers.map(|pair| Layer { at: pair[0].clone(), directory: pair[1].clone() }).collect();
        let credit = match options.stream_credit as usize {
            0 => None,
            bytes => Some(Arc::new(Credit::new(bytes))),
        };
        let call = Call {
            id,
            entry,
            payload: payload.to_vec(),
            args: options.args,
            env,
            layers,
            memory_bytes: options.memory_bytes as usize,
            output_bytes: options.output_bytes as usize,
            cpu: options.cpu,
            credit: credit.clone(),
        };
        let deadline = begun + Duration::from_secs_f64(options.timeout_ms.max(0.0) / 1000.0);
        let emitter = Emitter::holding(self.on_event.clone());
        let ticking = self.ticker.hold();
        let mut guest = call::begin(module.pre.clone(), call, emitter.clone());
        let usual_us = module.usual_us.clone();
        if usual_us.load(Relaxed) <= SHORT_US && begun < deadline {
            let turn = AssertUnwindSafe(|| self.timers.turn(guest.as_mut()));
            let ended = match std::panic::catch_unwind(turn) {
                Ok(Poll::Ready(event)) => Some(event),
                Ok(Poll::Pending) => None,
                Err(_) => Some(engine_failed(id)),
            };
            if let Some(event) = ended {
                let mut events = emitter.release();
                events.push(timed(event, begun, &usual_us));
                return Ok(events);
            }
        }
        let events = emitter.release();
        let (abort, aborted) = oneshot::channel();
        self.running.lock().unwrap().insert(id, Running { abort, credit });
        let (running, timers) = (self.running.clone(), self.timers.clone());
        let job = move || {
            let _ticking = ticking;
            let begun = Instant::now();
            let run = || timers.run(pin!(call::finish(id, guest, deadline, aborted)));
            let event = std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| engine_failed(id));
            running.lock().unwrap().remove(&id);
            emitter.emit(timed(event, begun, &usual_us));
        };
        self.threads.run(Box::new(job)).map_err(failure)?;
        Ok(events)
    }

    /// Ends a call within a tick; nothing where there is none.
    #[napi]
    pub fn abort(&self, id: u32) {
        if let Some(running) = self.running.lock().unwrap().remove(&id) {
            let _ = running.abort.send(());
        }
    }

    /// Lets a streamed call write so many bytes more; nothing where there is none.
    #[napi]
    pub fn grant(&self, id: u32, bytes: f64) {
        if let Some(Running { credit: Some(credit), .. }) = self.running.lock().unwrap().get(&id) {
            credit.grant(bytes as usize);
        }
    }
}

fn engine_failed(id: u32) -> Event {
    Event::failure(id, "error", 0, "the engine has failed".to_owned())
}

/// Says in the last event of a call what it took, and remembers it: half of what is usual is the last call.
fn timed(mut event: Event, begun: Instant, usual_us: &AtomicU32) -> Event {
    let took = begun.elapsed();
    event.took_us = took.as_secs_f64() * 1e6;
    let took_us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    usual_us.store(usual_us.load(Relaxed) / 2 + took_us / 2, Relaxed);
    event
}
