import { existsSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted, Result } from "effect"
import { lastingResetKey, resetKeyFile } from "../../src/cli/lastingResetKey.ts"
import { parseListenAddress } from "../../src/config/HostPort.ts"
import { folder, golden } from "../config/golden.ts"

const HERE = { host: "", port: 19_192 }

const keyWith = (variables: Readonly<Record<string, string>>) =>
  lastingResetKey(HERE).pipe(
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(variables))
  )

describe("the file of a key", () => {
  for (const { direct_addr, file } of golden.reset_key_files) {
    it(`of a client at ${direct_addr} is ${file}`, () => {
      assert.strictEqual(resetKeyFile(Result.getOrThrow(parseListenAddress(direct_addr))), file)
    })
  }
})

describe("the key of a client without a configured one", () => {
  it.effect("is made at the first start, for its owner only, and found again", () =>
    Effect.gen(function* () {
      const path = yield* folder({})
      const variables = { CONNET_CACHE_DIR: path, CACHE_DIRECTORY: "/nowhere", XDG_CACHE_HOME: "/nowhere" }
      const first = Redacted.value((yield* keyWith(variables))!)
      const file = join(path, "stateless-reset-19192.key")
      assert.isTrue(readFileSync(file).equals(first))
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      assert.deepEqual(Redacted.value((yield* keyWith(variables))!), first)
    })
  )

  it.effect("is in the cache of the user where nothing else is named, in a folder of its owner", () =>
    Effect.gen(function* () {
      const path = yield* folder({ ".cache/others": "" })
      yield* keyWith({ HOME: path })
      assert.strictEqual(statSync(join(path, ".cache", "connet")).mode & 0o777, 0o700)
      assert.isTrue(existsSync(join(path, ".cache", "connet", "stateless-reset-19192.key")))
      yield* keyWith({ HOME: "/nowhere", XDG_CACHE_HOME: path })
      assert.isTrue(existsSync(join(path, "connet", "stateless-reset-19192.key")))
    })
  )

  it.effect("is not kept where no cache is, or where that of the user cannot be written", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* keyWith({}))
      assert.isUndefined(yield* keyWith({ HOME: "/nowhere" }))
      assert.isUndefined(yield* keyWith({ XDG_CACHE_HOME: "relative" }))
      const path = yield* folder({ connet: "a file where a folder should be" })
      assert.isUndefined(yield* keyWith({ XDG_CACHE_HOME: path }))
      assert.isFalse(existsSync("relative"))
    })
  )

  it.effect("is refused where a folder is named that cannot be written, or holds something else", () =>
    Effect.gen(function* () {
      const path = yield* folder({ "stateless-reset-19192.key": "short" })
      const refusal = (cache: string) => Effect.map(Effect.flip(keyWith({ CACHE_DIRECTORY: cache })), (e) => e.message)
      assert.strictEqual(
        yield* refusal(path),
        `${path}/stateless-reset-19192.key: CACHE_DIRECTORY: the file has 5 bytes, and a key has 32; remove it to get a new one`
      )
      assert.strictEqual(
        yield* refusal("/nowhere"),
        "/nowhere/stateless-reset-19192.key: CACHE_DIRECTORY: the key for stateless resets cannot be kept there (ENOENT); name a folder that can be written"
      )
    })
  )
})
