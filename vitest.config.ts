import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    // Two workers keep a two-core machine busy without starving the tests that talk over real sockets.
    maxWorkers: 3
  }
})
