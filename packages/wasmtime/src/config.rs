use std::hash::{DefaultHasher, Hash, Hasher};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

/// What a 32-bit memory can be at most. Address space, not memory: each call that runs has so much reserved.
const MAX_MEMORY_BYTES: usize = 4 << 30;
/// Of a module; `packages/core/src/wasm/module-problems.ts` refuses what has more.
const MAX_TABLES: u32 = 4;
pub const MAX_TABLE_ELEMENTS: usize = 100_000;
/// A guest's own stack, and what its fiber has for the host's functions beside it.
const WASM_STACK_BYTES: usize = 1 << 20;
const FIBER_STACK_BYTES: usize = 2 << 20;
/// What stays in memory of a slot after a call, and is set to zero for the next: less than that costs a page fault for
/// each page of each call, more is memory of idle slots.
const KEPT_MEMORY_BYTES: usize = 128 << 10;
const KEPT_TABLE_BYTES: usize = 16 << 10;

/// An engine for so many calls at once. A module that one of them has compiled can be loaded by another.
pub fn make_engine(max_calls: u32) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(max_calls)
        .total_memories(max_calls)
        .total_tables(max_calls * 2)
        .total_stacks(max_calls)
        .max_memories_per_module(1)
        .max_tables_per_module(MAX_TABLES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(MAX_MEMORY_BYTES)
        .linear_memory_keep_resident(KEPT_MEMORY_BYTES)
        .table_keep_resident(KEPT_TABLE_BYTES);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .wasm_multi_memory(false)
        .wasm_memory64(false);
    Engine::new(&config)
}

/// Says of two engines whether one can load what the other has compiled: version, settings and processor go into it.
pub fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
