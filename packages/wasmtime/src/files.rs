//! What wasmtime's own WASI leaves without a bound: how much is read at once, of which the host makes a copy, and how many
//! files are open, where it ends the guest in place of telling it.
use crate::call::CallState;
use wasmtime::{AsContextMut, Caller, Extern, Linker, Result, format_err};
use wasmtime_wasi::ResourceTableError;
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as stock, WasiSnapshotPreview1};
use wiggle::GuestMemory;

const MODULE: &str = "wasi_snapshot_preview1";
/// Read by one call: who wants more asks again. `v8-files.ts` has the same.
const MAX_READ_BYTES: u32 = 1 << 20;
/// Buffers of a read that are looked at for the first one that is not empty; as of Linux, IOV_MAX.
const MAX_VECTORS: u32 = 1024;
const VECTOR_BYTES: u32 = 8;
/// `errno` of WASI preview 1: too many open files.
const MFILE: i32 = 33;

/// Puts functions with a bound in the place of the stock ones.
pub fn bound(linker: &mut Linker<CallState>) -> Result<()> {
    linker.func_wrap_async(
        MODULE,
        "path_open",
        |mut caller: Caller<'_, CallState>,
         (fd, lookup, path, size, flags, rights, inheriting, fd_flags, to): (
            i32,
            i32,
            i32,
            i32,
            i32,
            i64,
            i64,
            i32,
            i32,
        )| {
            Box::new(async move {
                let (memory, state) = parts(&mut caller)?;
                let memory = &mut GuestMemory::Unshared(memory);
                let wasi = state.wasi();
                let opened =
                    stock::path_open(wasi, memory, fd, lookup, path, size, flags, rights, inheriting, fd_flags, to);
                match opened.await {
                    Err(error) if is_full(&error) => Ok(MFILE),
                    other => other,
                }
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_read",
        |mut caller: Caller<'_, CallState>, (fd, vectors, count, to): (i32, i32, i32, i32)| {
            Box::new(async move {
                let (memory, state) = parts(&mut caller)?;
                let shortened = Shortened::first_of(memory, vectors, count);
                let mut guest = GuestMemory::Unshared(&mut *memory);
                let read = stock::fd_read(state.wasi(), &mut guest, fd, vectors, count, to).await;
                shortened.restore(memory);
                read
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_pread",
        |mut caller: Caller<'_, CallState>, (fd, vectors, count, offset, to): (i32, i32, i32, i64, i32)| {
            Box::new(async move {
                let (memory, state) = parts(&mut caller)?;
                let shortened = Shortened::first_of(memory, vectors, count);
                let mut guest = GuestMemory::Unshared(&mut *memory);
                let read = stock::fd_pread(state.wasi(), &mut guest, fd, vectors, count, offset, to).await;
                shortened.restore(memory);
                read
            })
        },
    )?;
    Ok(())
}

/// The memory of the guest that calls, and what it has of WASI, as the stock functions get them.
fn parts<'a>(caller: &'a mut Caller<'_, CallState>) -> Result<(&'a mut [u8], &'a mut CallState)> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(format_err!("missing required memory export"));
    };
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (memory, state) = memory.data_and_store_mut(caller);
    state.wasi().set_hostcall_fuel(fuel);
    Ok((memory, state))
}

fn is_full(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
}

/// The buffer that a read fills, which is the first that is not empty, made shorter for the time of the call. A guest does nothing
/// meanwhile.
struct Shortened {
    /// Where its length stands, and what that was; none where it is short enough, or not in the guest's memory.
    length: Option<(usize, u32)>,
}

impl Shortened {
    fn first_of(memory: &mut [u8], vectors: i32, count: i32) -> Self {
        for index in 0..(count as u32).min(MAX_VECTORS) {
            let at = vectors as u32 as usize + (index * VECTOR_BYTES) as usize + 4;
            let Some(field) = memory.get_mut(at..at + 4) else { break };
            let length = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
            if length > MAX_READ_BYTES {
                field.copy_from_slice(&MAX_READ_BYTES.to_le_bytes());
                return Self { length: Some((at, length)) };
            }
            if length > 0 {
                break;
            }
        }
        Self { length: None }
    }

    fn restore(self, memory: &mut [u8]) {
        if let Some((at, length)) = self.length {
            memory[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }
}
