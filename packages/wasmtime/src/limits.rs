use crate::config::MAX_TABLE_ELEMENTS;
use wasmtime::{ResourceLimiter, Result};

/// What one call may have of memory and tables. A guest that asks for more is told so, as the specification has it: what
/// it makes of that is its own matter, and is remembered for whoever says why it failed.
pub struct CallLimits {
    memory_bytes: usize,
    pub was_denied: bool,
    table_elements: usize,
}

impl CallLimits {
    pub fn new(memory_bytes: usize) -> Self {
        Self { memory_bytes, was_denied: false, table_elements: 0 }
    }
}

impl ResourceLimiter for CallLimits {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let allowed = desired <= self.memory_bytes;
        self.was_denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        // Of all tables together.
        let total = self.table_elements + desired.saturating_sub(current);
        if total > MAX_TABLE_ELEMENTS {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }
}
