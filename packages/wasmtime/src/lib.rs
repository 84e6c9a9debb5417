//! The engine of Pilum's WebAssembly runtime: wasmtime, for Node. It is loaded by the process that runs guests and by
//! the one that compiles them, and by nobody else: `apps/worker/src/runtimes/wasm/engine`.

mod call;
mod config;
mod event;
mod limits;
mod streams;
mod threads;
mod ticker;

use call::{Call, CallState, Entry};
use event::{Emitter, Event};
use napi::bindgen_prelude::{Buffer, Function};
use napi_derive::napi;
use std::collections::HashMap;
use streams::Credit;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use wasmtime::{Engine, InstancePre, Linker, Module};
use wasmtime_wasi::p1;

fn failure(error: impl std::fmt::Display) -> napi::Error {
    napi::Error::from_reason(format!("{error:#}"))
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
}

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
    emitter: Emitter,
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
        let function =
            on_event.build_threadsafe_function::<Event>().callee_handled::<false>().weak::<true>().build()?;
        Ok(Self {
            ticker: ticker::Ticker::new(engine.clone()).map_err(failure)?,
            engine,
            linker,
            threads: threads::Threads::default(),
            emitter: Emitter(Arc::new(function)),
            running: Arc::default(),
        })
    }

    /// Loads what `compile` has made, from a file. The file must be what it was: whoever names it has checked that.
    #[napi]
    pub fn load(&self, path: String) -> napi::Result<LoadedModule> {
        // SAFETY: the worker names only files that it has written itself, in a directory that is its own, and whose
        // digest it has compared; the directory is mounted read-only here.
        let module = unsafe { Module::deserialize_file(&self.engine, path) }.map_err(failure)?;
        Ok(LoadedModule { pre: self.linker.instantiate_pre(&module).map_err(failure)? })
    }

    /// Begins a call, whose time counts from now. What becomes of it comes as events.
    #[napi]
    pub fn call(&self, module: &LoadedModule, options: CallOptions, payload: Buffer) -> napi::Result<()> {
        let entry = match options.kind.as_str() {
            "command" => Entry::Command,
            "numbers" => Entry::Numbers(options.name),
            "bytes" => Entry::Bytes { name: options.name, allocator: options.allocator },
            other => return Err(failure(format!("there is no kind of call {other}"))),
        };
        let (abort, aborted) = oneshot::channel();
        let id = options.id;
        let env = options.env.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
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
            memory_bytes: options.memory_bytes as usize,
            output_bytes: options.output_bytes as usize,
            cpu: options.cpu,
            credit: credit.clone(),
            deadline: Instant::now() + Duration::from_secs_f64(options.timeout_ms.max(0.0) / 1000.0),
            abort: aborted,
        };
        self.running.lock().unwrap().insert(id, Running { abort, credit });
        let (pre, emitter) = (module.pre.clone(), self.emitter.clone());
        let (running, ticking) = (self.running.clone(), self.ticker.hold());
        let job = move |runtime: &Runtime| {
            let _ticking = ticking;
            let run = std::panic::AssertUnwindSafe(|| call::run(runtime, &pre, call, &emitter));
            let begun = Instant::now();
            let mut event = std::panic::catch_unwind(run)
                .unwrap_or_else(|_| Event::failure(id, "error", 0, "the engine has failed".to_owned()));
            event.took_us = begun.elapsed().as_secs_f64() * 1e6;
            running.lock().unwrap().remove(&id);
            emitter.emit(event);
        };
        self.threads.run(Box::new(job)).map_err(failure)
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
