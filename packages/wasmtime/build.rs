use std::fs;

/// The version of the engine, as the lock file pins it.
fn wasmtime_version() -> Option<String> {
    let lock = fs::read_to_string("Cargo.lock").ok()?;
    let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"")?;
    Some(after.split_once('"')?.0.to_owned())
}

fn main() {
    println!("cargo:rerun-if-changed=Cargo.lock");
    println!("cargo:rustc-env=WASMTIME_VERSION={}", wasmtime_version().expect("Cargo.lock has wasmtime"));
    napi_build::setup();
}
