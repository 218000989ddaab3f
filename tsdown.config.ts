import { defineConfig } from "tsdown"

/** The native binding finds its files by its own place in node_modules. */
const isNative = (id: string) => id.startsWith("@matrixai/quic")

export default defineConfig([
  // The command line brings everything with it: one file to load instead of hundreds, for a fast start.
  {
    entry: { bin: "src/bin.ts" },
    format: "esm",
    platform: "node",
    fixedExtension: false,
    target: "node24",
    deps: { alwaysBundle: (id) => !isNative(id) && !id.startsWith("node:") },
    minify: true,
    dts: false
  },
  // The library shares Effect with the program that uses it.
  {
    entry: { index: "src/index.ts" },
    format: "esm",
    platform: "node",
    fixedExtension: false,
    target: "node24",
    dts: true,
    clean: false
  }
])
