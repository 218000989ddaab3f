import { once } from "node:events"
import { readdirSync, readlinkSync } from "node:fs"
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setImmediate } from "node:timers/promises"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { fileDestination } from "../../../src/endpoint/file/fileDestination.ts"
import { eventually, raw, startSource, tunnelTo } from "../http/tunnel.ts"

const TEXT = "0123456789".repeat(50_000)
const NASTY = `a&b<c>"d'?#%é`

/** Files behind an http source. */
class Site extends Context.Service<Site, { readonly port: number; readonly unlisted: number }>()("test/Site") {
  static readonly layer = Layer.effect(
    Site,
    Effect.gen(function* () {
      const base = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "connet-site-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const root = join(base, "root")
      yield* Effect.promise(async () => {
        await mkdir(join(root, "site"), { recursive: true })
        await mkdir(join(root, NASTY))
        await writeFile(join(base, "secret"), "secret")
        await writeFile(join(root, "text.txt"), TEXT)
        await writeFile(join(root, "empty"), "")
        await writeFile(join(root, ".env"), "secret")
        await writeFile(join(root, "site", "index.html"), "<h1>index</h1>")
        await symlink("../secret", join(root, "out"))
      })
      const serve = Effect.fnUntraced(function* (listings: boolean) {
        const { dial } = yield* tunnelTo(yield* fileDestination({ root, listings }))
        return yield* startSource(dial)
      })
      return { port: yield* serve(true), unlisted: yield* serve(false) }
    })
  )
}

const ask = (port: number, path: string, init?: RequestInit) =>
  Effect.promise(async () => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { redirect: "manual", ...init })
    return { status: response.status, headers: response.headers, body: await response.text() }
  })

/** What a descriptor stands for; nothing when it is closed by now. */
const linkOf = (path: string) => {
  try {
    return [readlinkSync(path)]
  } catch {
    return []
  }
}

layer(Site.layer, { excludeTestServices: true })("a file destination", (it) => {
  it.effect("serves files with their types, lengths and tags, and their heads alone", () =>
    Effect.gen(function* () {
      const { port } = yield* Site
      const got = yield* ask(port, "/text.txt?x")
      assert.strictEqual(got.body, TEXT)
      assert.strictEqual(got.headers.get("content-type"), "text/plain; charset=utf-8")
      assert.strictEqual(got.headers.get("content-length"), String(TEXT.length))
      const head = yield* ask(port, "/text.txt", { method: "HEAD" })
      assert.deepInclude(head, { status: 200, body: "" })
      assert.strictEqual(head.headers.get("content-length"), String(TEXT.length))
      assert.strictEqual(head.headers.get("etag"), got.headers.get("etag"))
      assert.deepInclude(yield* ask(port, "/empty"), { status: 200, body: "" })
    })
  )

  it.effect("serves ranges", () =>
    Effect.gen(function* () {
      const { port } = yield* Site
      const range = (value: string, more = {}) => ask(port, "/text.txt", { headers: { Range: value, ...more } })
      const part = yield* range("bytes=10-14")
      assert.deepInclude(part, { status: 206, body: "01234" })
      assert.strictEqual(part.headers.get("content-range"), `bytes 10-14/${TEXT.length}`)
      assert.deepInclude(yield* range("bytes=-3"), { status: 206, body: "789" })
      assert.deepInclude(yield* range("bytes=499990-"), { status: 206, body: "0123456789" })
      const beyond = yield* range("bytes=500000-")
      assert.strictEqual(beyond.status, 416)
      assert.strictEqual(beyond.headers.get("content-range"), "bytes */500000")
      assert.strictEqual((yield* range("bytes=0-1,4-5")).status, 200)
      assert.strictEqual((yield* range("bytes=0-1", { "If-Range": '"other"' })).status, 200)
    })
  )

  it.effect("answers whether a file has changed", () =>
    Effect.gen(function* () {
      const { port } = yield* Site
      const { headers } = yield* ask(port, "/text.txt")
      // Fetch says no-cache with each condition of its own making; these are bare.
      const conditional = (field: string) =>
        raw(port, `GET /text.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${field}\r\n\r\n`)
      assert.match(
        yield* conditional(`If-None-Match: ${headers.get("etag")}`),
        /^HTTP\/1.1 304 [^\r]*\r\n(?:.+\r\n)+\r\n$/
      )
      assert.match(yield* conditional(`If-Modified-Since: ${headers.get("last-modified")}`), /^HTTP\/1.1 304 /)
      assert.match(yield* conditional(`If-None-Match: "other"`), /^HTTP\/1.1 200 /)
      assert.match(yield* conditional(`If-Match: "other"`), /^HTTP\/1.1 412 /)
    })
  )

  it.effect("shows what is in a folder, and nothing hidden or elsewhere in it", () =>
    Effect.gen(function* () {
      const { port, unlisted } = yield* Site
      const { body, headers } = yield* ask(port, "/")
      assert.include(body, `<a href="./text.txt">text.txt</a><td>488 KiB`)
      assert.include(
        body,
        `<a href="./${encodeURIComponent(NASTY).replace("'", "&#39;")}/">a&amp;b&lt;c&gt;&quot;d&#39;?#%é/</a>`
      )
      assert.notInclude(body, ".env")
      assert.match(headers.get("content-security-policy")!, /default-src 'none'/)
      const inner = yield* ask(port, `/${encodeURIComponent(NASTY)}/`)
      assert.include(inner.body, "<h1>/a&amp;b&lt;c&gt;&quot;d&#39;?#%é/</h1>")
      assert.strictEqual((yield* ask(unlisted, "/")).status, 404)
    })
  )

  it.effect("serves the index of a folder, below its slash", () =>
    Effect.gen(function* () {
      const { port, unlisted } = yield* Site
      const moved = yield* ask(port, "/site?q")
      assert.strictEqual(moved.status, 301)
      assert.strictEqual(moved.headers.get("location"), "/site/?q")
      for (const each of [port, unlisted]) assert.strictEqual((yield* ask(each, "/site/")).body, "<h1>index</h1>")
      // A path that begins with two slashes must not become the name of a host.
      const reply = yield* raw(port, "GET //site HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
      assert.match(reply, /\r\nLocation: \/site\/\r\n/)
    })
  )

  for (const target of [
    "/../secret",
    "/site/../../secret",
    "/%2e%2e/secret",
    "/%252e%252e/secret",
    "/..%2fsecret",
    "/..%5csecret",
    "/text.txt%00",
    "/out",
    "/.env",
    "/%2eenv",
    "http://h/../secret",
    "http://h/out",
    "file:///etc/passwd",
    "//etc/passwd"
  ]) {
    it.effect(`does not serve ${target}`, () =>
      Effect.gen(function* () {
        const { port } = yield* Site
        const reply = yield* raw(port, `GET ${target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)
        assert.match(reply, /^HTTP\/1.1 40[04] /)
        assert.notMatch(reply, /secret|root:|\/tmp/)
      })
    )
  }

  it.effect("keeps no file open, and no timer, for users who leave while it is looked for", () =>
    Effect.gen(function* () {
      const { port } = yield* Site
      const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
      const files = () => readdirSync("/proc/self/fd").flatMap((fd) => linkOf(`/proc/self/fd/${fd}`))
      const isOpen = () => files().some((path) => path.endsWith("/root/text.txt"))
      const before = timers()
      yield* Effect.forEach(
        Array.from({ length: 60 }),
        () =>
          Effect.promise(async () => {
            const user = connect({ port, host: "127.0.0.1" }).on("error", () => {})
            await once(user, "connect")
            user.write("GET /text.txt HTTP/1.1\r\nHost: h\r\n\r\n")
            await setImmediate()
            user.resetAndDestroy()
          }),
        { concurrency: 20 }
      )
      assert.strictEqual((yield* ask(port, "/text.txt")).body, TEXT)
      // The timer of this look is one.
      yield* eventually(() => !isOpen() && timers() <= before + 1, "all is closed")
    })
  )

  it.effect("only reads", () =>
    Effect.gen(function* () {
      const { port } = yield* Site
      const refused = yield* ask(port, "/text.txt", { method: "PUT", body: "x" })
      assert.strictEqual(refused.status, 405)
      assert.strictEqual(refused.headers.get("allow"), "GET, HEAD")
      assert.strictEqual((yield* ask(port, "/text.txt")).body, TEXT)
    })
  )
})
