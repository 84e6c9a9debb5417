/** The used part of the JavaScript interface of WebAssembly (www.w3.org/TR/wasm-js-api-2), which Node has as a global. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }

  class Memory {
    readonly buffer: ArrayBuffer;
  }

  type Exports = Record<string, unknown>;

  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: Exports;
  }

  function compile(bytes: Uint8Array): Promise<Module>;
}
