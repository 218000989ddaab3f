/** Requests that two programs could read in two ways, as raw bytes: each is answered 4xx or 5xx, and no service sees any of it. */
import { connect } from "node:net"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { fileDestination } from "../../../src/endpoint/file/fileDestination.ts"
import { raw, startHttpService, startProxy, startSource, tunnelTo } from "./tunnel.ts"

const chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
const post = "POST / HTTP/1.1\r\nHost: h\r\n"

const cases: Record<string, string> = {
  "Content-Length and Transfer-Encoding": `${chunked}Content-Length: 5\r\n\r\n0\r\n\r\n`,
  "Transfer-Encoding after Content-Length": `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  "two lengths that differ": `${post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
  "two lengths that agree": `${post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
  "a list of lengths": `${post}Content-Length: 3, 3\r\n\r\nabc`,
  "a signed length": `${post}Content-Length: +3\r\n\r\nabc`,
  "a length that is no number": `${post}Content-Length: 0x3\r\n\r\nabc`,
  "a space before the colon": `${post}Content-Length : 3\r\n\r\nabc`,
  "an unknown coding": `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  "a coding besides chunked": `${post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  "chunked that is not the last coding": `${post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  "codings on two lines": `${chunked}Transfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
  "a coding behind a vertical tab": `${post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n`,
  "chunks in HTTP/1.0": "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "a chunk size that is no number": `${chunked}\r\nzz\r\nabc\r\n0\r\n\r\n`,
  "a chunk size with a prefix": `${chunked}\r\n0x3\r\nabc\r\n0\r\n\r\n`,
  "a chunk size that overflows": `${chunked}\r\n1${"0".repeat(16)}\r\nabc\r\n0\r\n\r\n`,
  "chunks with bare line feeds": `${chunked}\r\n3\nabc\n0\n\n`,
  "a chunk longer than it says": `${chunked}\r\n3\r\nabcd\r\n0\r\n\r\n`,
  "a bare line feed in a chunk extension": `${chunked}\r\n3;a\nb\r\nabc\r\n0\r\n\r\n`,
  "a length among the trailers": `${chunked}\r\n3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n`,
  "a folded line": "GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\n\r\n",
  "a folded coding": `${post}X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  "bare line feeds": "GET / HTTP/1.1\nHost: h\n\n",
  "a bare line feed": "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
  "a bare carriage return": "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
  "a carriage return in a value": "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
  "a NUL in a value": "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
  "a name with parentheses": "GET / HTTP/1.1\r\nHost: h\r\nX(y): 1\r\n\r\n",
  "a line without a name": "GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
  "no Host": "GET / HTTP/1.1\r\n\r\n",
  "two Hosts": "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
  "a Host with a path": "GET / HTTP/1.1\r\nHost: h/i\r\n\r\n",
  "a fragment in the target": "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
  "a target that is no path": "GET a HTTP/1.1\r\nHost: h\r\n\r\n",
  "a target with a space": "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
  "a backslash as target": "GET \\a HTTP/1.1\r\nHost: h\r\n\r\n",
  "a file as target": "GET file:///etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n",
  "HTTP/0.9": "GET /\r\n\r\n",
  "HTTP/2.0 on lines": "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
  "a tunnel to somewhere else": "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
  "a head that is too large": `GET / HTTP/1.1\r\nHost: h\r\nX: ${"a".repeat(20_000)}\r\n\r\n`,
  "too many fields": `GET / HTTP/1.1\r\nHost: h\r\n${"X: y\r\n".repeat(200)}\r\n`
}

class Ends extends Context.Service<
  Ends,
  {
    readonly source: number
    readonly files: number
    /** A destination as a tcp source leads to it. */
    readonly destination: (text: string) => Effect.Effect<string>
    readonly seen: ReadonlyArray<string>
  }
>()("test/Ends") {
  static readonly layer = Layer.effect(
    Ends,
    Effect.gen(function* () {
      const service = yield* startHttpService((_req, res) => res.end("reached"))
      const { port, dial } = yield* startProxy(service.port)
      const files = yield* fileDestination({ root: import.meta.dirname })
      const tunnel = yield* tunnelTo(files)
      const fileSource = yield* startSource(tunnel.dial)
      const destination = (text: string) =>
        Effect.gen(function* () {
          const { stream } = yield* Effect.orDie(dial)
          return yield* Effect.callback<string>((resume) => {
            let reply = ""
            stream.on("data", (part) => {
              reply += part
            })
            stream.on("close", () => resume(Effect.succeed(reply)))
            stream.on("end", () => stream.end())
            stream.write(Buffer.from(text, "latin1"))
          })
        }).pipe(Effect.scoped)
      return { source: port, files: fileSource, destination, seen: service.seen }
    })
  )
}

const REFUSED = /^HTTP\/1\.1 (?:4\d\d|501|505) [\s\S]*?\r\n\r\n/

layer(Ends.layer, { excludeTestServices: true })("a request with", (it) => {
  for (const [name, text] of Object.entries(cases)) {
    it.effect(`${name} is refused at every end`, () =>
      Effect.gen(function* () {
        const { source, files, destination, seen } = yield* Ends
        // What follows it is not taken for a request, either; a connection that stays is ended by its last one.
        const end = "GET /end HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-End: 1\r\n\r\n"
        for (const reply of [yield* raw(source, text, { end: true }), yield* raw(files, text, { end: true })]) {
          assert.match(reply, REFUSED)
          assert.notInclude(reply, "reached")
        }
        assert.match(yield* destination(text.startsWith("GET") ? text + end : text), REFUSED)
        assert.deepStrictEqual(
          seen.filter((request) => request !== "GET /end"),
          []
        )
      })
    )
  }
})

layer(Ends.layer, { excludeTestServices: true })("a request that is in order", (it) => {
  it.effect("passes through the same ends", () =>
    Effect.gen(function* () {
      const { source, destination, seen } = yield* Ends
      const text = "GET /fine HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
      assert.match(yield* raw(source, text), /reached/)
      assert.match(yield* destination(text), /reached/)
      assert.deepStrictEqual(seen, ["GET /fine", "GET /fine"])
    })
  )

  it.effect("is cut at the service, and not ended, when a later chunk of it is bad", () =>
    Effect.gen(function* () {
      let outcome: (text: string) => void = () => {}
      let begun: () => void = () => {}
      const over = new Promise<string>((resolve) => {
        outcome = resolve
      })
      const reached = new Promise<void>((resolve) => {
        begun = resolve
      })
      const service = yield* startHttpService((req) => {
        req.once("data", () => begun())
        req.on("end", () => outcome("ended")).on("error", () => outcome("cut"))
      })
      const { port } = yield* startProxy(service.port)
      const user = connect({ port, host: "127.0.0.1" }).on("error", () => {})
      user.write(`${chunked}\r\n3\r\nabc\r\n`)
      yield* Effect.promise(() => reached)
      user.write("zz\r\nabc\r\n0\r\n\r\n")
      assert.strictEqual(
        yield* Effect.timeout(
          Effect.promise(() => over),
          "5 seconds"
        ),
        "cut"
      )
      user.destroy()
    })
  )
})
