import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    // Real processes wait for each other much of the time: three workers keep a two-core machine busy, and starve nobody.
    maxWorkers: 3,
    // No file leaves anything behind, so the next one need not load everything again: a third of the time of all of them.
    isolate: false
  }
})
