#!/usr/bin/env node
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)

if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`connet needs Node.js 22.19 or later, this is ${process.version}\n`)
  process.exitCode = 1
} else {
  // Compiled once, kept in the temporary folder: a third less time until the next start is ready.
  process.getBuiltinModule("node:module").enableCompileCache()
  const { main } = await import("./cli/main.ts")
  main(process.argv.slice(2))
}
