use crate::event::{Emitter, Event};
use crate::limits::CallLimits;
use crate::streams::{Credit, LogStream, PassedOn, ResultStream};
use crate::ticker::TICK;
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;
use tokio::sync::oneshot;
use wasmtime::{Error, InstancePre, Result, Store, Trap, UpdateDeadline, Val, ValType, format_err};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, I32Exit, ResourceTableError, WasiCtxBuilder, WasiView};

/// Of random numbers at once: making them cannot be interrupted. Who wants more in one call is ended.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// Files and directories that one guest may have open. `v8-files.ts` has the same.
const MAX_OPEN: usize = 256;
/// Beside those: standard streams, and what lives for one call of the host.
const OTHER_RESOURCES: usize = 16;

/// What is called, and with what.
pub enum Entry {
    /// `_start` of a command: the payload is its standard input, what it prints is the result.
    Command,
    /// A function of numbers: 8 bytes for each, little-endian, as many as it takes.
    Numbers(String),
    /// A function of bytes, and the allocator of its module.
    Bytes { name: String, allocator: String },
}

pub struct Call {
    pub id: u32,
    pub entry: Entry,
    pub payload: Vec<u8>,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub layers: Vec<Layer>,
    pub memory_bytes: usize,
    pub output_bytes: usize,
    /// Processors: below 1 the guest pauses after each tick.
    pub cpu: f64,
    /// Whoever reads a streamed result says how much; none where the result is wanted whole.
    pub credit: Option<Arc<Credit>>,
}

/// The files of a layer, which a guest can read and not change.
pub struct Layer {
    /// Where the guest finds them.
    pub at: String,
    pub directory: String,
}

pub struct CallState {
    wasi: WasiP1Ctx,
    limits: CallLimits,
    /// From then on whatever goes wrong is the guest's doing.
    is_instantiated: bool,
}

impl CallState {
    pub fn wasi(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi
    }
}

/// A call that has begun, and can be gone on with on any thread.
pub type Guest = Pin<Box<dyn Future<Output = Event> + Send>>;

/// A call in an instance of its own, to the event that says how it ended.
pub fn begin(pre: InstancePre<CallState>, call: Call, emitter: Emitter) -> Guest {
    Box::pin(run_guest(pre, call, emitter))
}

/// Runs a guest to its end, or until its deadline or its abort and one tick, whichever comes first.
pub async fn finish(id: u32, mut guest: Guest, deadline: Instant, abort: oneshot::Receiver<()>) -> Event {
    let mut abort = pin!(abort);
    let mut limit = pin!(tokio::time::sleep_until(deadline.into()));
    poll_fn(|context| {
        if abort.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::failure(id, "aborted", 0, "it was stopped".to_owned()));
        }
        if Instant::now() < deadline
            && let Poll::Ready(event) = guest.as_mut().poll(context)
        {
            return Poll::Ready(event);
        }
        // Last: a call that is over by now needs no timer.
        limit.as_mut().poll(context).map(|()| Event::failure(id, "timeout", 0, "it ran past its time limit".to_owned()))
    })
    .await
}

async fn run_guest(pre: InstancePre<CallState>, mut call: Call, emitter: Emitter) -> Event {
    let id = call.id;
    let output = ResultStream::new(call.output_bytes);
    let log = LogStream::new(id, "stderr", emitter.clone(), None);
    let payload = std::mem::take(&mut call.payload);
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&call.args).envs(&call.env).stderr(log.clone()).max_random_size(MAX_RANDOM_BYTES);
    for Layer { at, directory } in &call.layers {
        if let Err(error) = wasi.preopened_dir(directory, at, FsPerms::ReadOnly) {
            return Event::failure(id, "error", 0, format!("the layer {at} cannot be opened: {error:#}"));
        }
    }
    let input = match &call.entry {
        Entry::Command => {
            wasi.stdin(MemoryInputPipe::new(Bytes::from(payload)));
            match &call.credit {
                Some(credit) => wasi.stdout(PassedOn::new(id, emitter.clone(), credit.clone())),
                None => wasi.stdout(output.clone()),
            };
            Vec::new()
        }
        _ => {
            wasi.stdout(LogStream::new(id, "stdout", emitter.clone(), Some(&log)));
            payload
        }
    };
    let mut wasi = wasi.build_p1();
    if !call.layers.is_empty() {
        wasi.ctx().table.set_max_capacity(MAX_OPEN + call.layers.len() + OTHER_RESOURCES);
    }
    let state = CallState { wasi, limits: CallLimits::new(call.memory_bytes), is_instantiated: false };
    let mut store = Store::new(pre.module().engine(), state);
    store.limiter(|state| &mut state.limits);
    // The next tick may come at once.
    store.set_epoch_deadline(2);
    let pause = if call.cpu < 1.0 { Some(TICK.mul_f64((1.0 - call.cpu) / call.cpu)) } else { None };
    store.epoch_deadline_callback(move |_| {
        Ok(match pause {
            Some(pause) => UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(pause))),
            None => UpdateDeadline::Yield(1),
        })
    });
    let result = call_entry(&pre, &mut store, &call, &input).await;
    match result {
        Ok(body) => Event::result(id, body.unwrap_or_else(|| output.take())),
        Err(error) => {
            if let Some(exit) = error.downcast_ref::<I32Exit>()
                && exit.0 == 0
            {
                return Event::result(id, output.take());
            }
            describe(id, &error, output.is_over(), store.data())
        }
    }
}

fn describe(id: u32, error: &Error, is_output_over: bool, state: &CallState) -> Event {
    if is_output_over {
        return Event::failure(id, "output", 0, "its result is too large".to_owned());
    }
    let (kind, code, message) = if let Some(exit) = error.downcast_ref::<I32Exit>() {
        ("exit", exit.0, format!("exit code {}", exit.0))
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        ("trap", 0, trap.to_string())
    } else if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        ("trap", 0, format!("it has more than {MAX_OPEN} files open"))
    } else if let Some(bad) = error.downcast_ref::<BadAnswer>() {
        ("trap", 0, bad.0.to_owned())
    } else {
        (if state.is_instantiated { "trap" } else { "error" }, 0, format!("{error:#}"))
    };
    // Whatever it died of then: it asked for memory that it did not get.
    let kind = if state.limits.was_denied { "memory" } else { kind };
    Event::failure(id, kind, code, message)
}

/// Returns the result, or none where it is what was printed.
async fn call_entry(
    pre: &InstancePre<CallState>,
    store: &mut Store<CallState>,
    call: &Call,
    input: &[u8],
) -> Result<Option<Vec<u8>>> {
    let instance = pre.instantiate_async(&mut *store).await?;
    store.data_mut().is_instantiated = true;
    if let Entry::Command = call.entry {
        let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
        start.call_async(&mut *store, ()).await?;
        return Ok(None);
    }
    if let Some(initialize) = instance.get_func(&mut *store, "_initialize") {
        initialize.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await?;
    }
    match &call.entry {
        Entry::Numbers(name) => {
            let function =
                instance.get_func(&mut *store, name).ok_or_else(|| format_err!("there is no function {name}"))?;
            let kind = function.ty(&*store);
            let arguments = kind.params().zip(input.chunks_exact(8)).map(|(t, raw)| value_of(t, raw));
            let arguments = arguments.collect::<Result<Vec<_>>>()?;
            let mut results = vec![Val::I32(0); kind.results().len()];
            function.call_async(&mut *store, &arguments, &mut results).await?;
            Ok(Some(results.iter().flat_map(raw_of).collect()))
        }
        Entry::Bytes { name, allocator } => {
            let memory = instance.get_memory(&mut *store, "memory").ok_or(BadAnswer("it exports no memory"))?;
            let allocate = instance.get_typed_func::<i32, i32>(&mut *store, allocator)?;
            let function = instance.get_typed_func::<(i32, i32), i64>(&mut *store, name)?;
            let length = i32::try_from(input.len())?;
            let address = allocate.call_async(&mut *store, length).await?;
            memory
                .write(&mut *store, address as u32 as usize, input)
                .map_err(|_| BadAnswer("its allocator returned an address outside of its memory"))?;
            let packed = function.call_async(&mut *store, (address, length)).await? as u64;
            let (from, size) = ((packed >> 32) as usize, (packed & 0xffff_ffff) as usize);
            if size > call.output_bytes {
                return Err(BadAnswer("its result is larger than limits.outputMiB").into());
            }
            let bytes = memory
                .data(&*store)
                .get(from..from + size)
                .ok_or(BadAnswer("it returned bytes outside of its memory"))?;
            Ok(Some(bytes.to_vec()))
        }
        Entry::Command => unreachable!("it was called above"),
    }
}

/// A guest that does not keep to the way in which bytes are passed.
#[derive(Debug)]
struct BadAnswer(&'static str);

impl std::fmt::Display for BadAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for BadAnswer {}

fn value_of(kind: ValType, raw: &[u8]) -> Result<Val> {
    let bits = u64::from_le_bytes(raw.try_into()?);
    Ok(match kind {
        ValType::I32 => Val::I32(bits as u32 as i32),
        ValType::I64 => Val::I64(bits as i64),
        ValType::F32 => Val::F32(bits as u32),
        ValType::F64 => Val::F64(bits),
        other => return Err(format_err!("a {other} cannot be passed")),
    })
}

fn raw_of(value: &Val) -> [u8; 8] {
    match value {
        Val::I32(number) => (*number as u32 as u64).to_le_bytes(),
        Val::I64(number) => number.to_le_bytes(),
        Val::F32(bits) => u64::from(*bits).to_le_bytes(),
        Val::F64(bits) => bits.to_le_bytes(),
        _ => [0; 8],
    }
}
