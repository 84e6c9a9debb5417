//! What the engine itself takes for a call of a command that does nothing, in a fresh instance: `empty-call <wasm> <calls>`
//! prints what each call took, in microseconds, a line for each. With the settings of the addon, and nothing of it.

#[path = "../src/config.rs"]
mod config;

use std::time::Instant;
use wasmtime::{Linker, Module, Result, Store};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, calls] = arguments.as_slice() else {
        return Err(wasmtime::format_err!("empty-call <wasm> <calls>"));
    };
    let engine = config::make_engine(4)?;
    let module = Module::new(&engine, std::fs::read(path)?)?;
    let pre = Linker::<()>::new(&engine).instantiate_pre(&module)?;
    eprintln!("{}", config::compatibility(&engine));
    for _ in 0..calls.parse::<usize>()? {
        let begun = Instant::now();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = pre.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
        drop(store);
        println!("{:.2}", begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(())
}
