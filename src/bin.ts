#!/usr/bin/env node
const major = Number(process.versions.node.split(".")[0])

if (major < 24) {
  process.stderr.write(`connet needs Node.js 24 or later, this is ${process.version}\n`)
  process.exitCode = 1
} else {
  // Compiled once, kept in the temporary folder: a third less time until the next start is ready.
  process.getBuiltinModule("node:module").enableCompileCache()
  const { main } = await import("./cli/main.ts")
  main(process.argv.slice(2))
}
