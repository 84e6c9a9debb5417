// Imported by node.mjs before there is code, so that the loader is ready for it.
export {};
