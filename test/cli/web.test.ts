/** The example configurations for the web, as real processes: each kind of source with each kind of destination. */

import { once } from "node:events"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type RequestListener, request } from "node:http"
import { createServer as createSecure, request as requestTls } from "node:https"
import type { AddressInfo } from "node:net"
import { createServer as createBytes, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Schedule } from "effect"
import { WebSocket } from "ws"
import { refusedAtStart } from "./clients.ts"
import { startProcess, TookTooLong } from "./Process.ts"
import { example, freePort, stageFor } from "./Tunnel.ts"

class Failed extends Data.TaggedError("Failed")<{ readonly detail: unknown }> {}

const listening = (server: Server) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Socket>()
      server.on("connection", (socket) => sockets.add(socket))
      await once(server.listen(0, "127.0.0.1"), "listening")
      return sockets
    }),
    (sockets) =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(Effect.map(() => (server.address() as AddressInfo).port))

const tell: RequestListener = (req, res) => {
  const { host, forwarded, "x-forwarded-for": users } = req.headers
  let body = ""
  req.on("data", (part) => {
    body += part
  })
  req.on("end", () => res.end(JSON.stringify({ url: req.url, host, forwarded, users, body })))
}

const repeat = (socket: Socket) => socket.on("error", () => {}).pipe(socket)

interface Answer {
  readonly status: number | undefined
  readonly body: string
}

/** Asks until somebody answers: who is online may not be reachable yet. */
const ask = (url: string, ca: string, logs: () => string, text = "") =>
  Effect.tryPromise({
    try: async (): Promise<Answer> => {
      const send = url.startsWith("https") ? requestTls : request
      const out = send(url, { ca, agent: false, method: text === "" ? "GET" : "POST" })
      out.end(text)
      const [answer] = await once(out, "response")
      let body = ""
      for await (const part of answer) body += part
      return { status: answer.statusCode, body }
    },
    catch: (detail) => new Failed({ detail })
  }).pipe(
    Effect.filterOrFail(
      ({ status }) => status !== 502 && status !== 504,
      (detail) => new Failed({ detail })
    ),
    Effect.timeout("5 seconds"),
    Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 100 }))),
    Effect.mapError((error) => new TookTooLong({ detail: `${url}: ${JSON.stringify(error)}\n${logs()}` }))
  )

describe("the example configurations for the web", () => {
  for (const route of ["direct", "relay"] as const) {
    it.live(
      `carry requests, files and WebSockets over ${route} paths`,
      () =>
        Effect.gen(function* () {
          const { path, ports } = yield* stageFor(1)
          const ca = readFileSync(join(path, "server.crt"), "utf8")
          const identity = { cert: ca, key: readFileSync(join(path, "server.key"), "utf8") }
          const http = yield* listening(createServer(tell))
          const https = yield* listening(createSecure(identity, tell))
          const bytes = yield* listening(createBytes({ allowHalfOpen: true }, repeat))
          const users = [yield* freePort, yield* freePort, yield* freePort, yield* freePort] as const
          const replaced: Record<string, number> = {
            ...{ 19190: ports.server, 8080: http, 8443: https, 8081: bytes },
            ...{ 9080: users[0], 9443: users[1], 9081: users[2], 9444: users[3] }
          }
          for (const name of ["web-destination.toml", "web-source.toml"]) {
            const text = example(name)
              .replaceAll(/:(\d{4,5})\b/g, (_, port) => `:${replaced[port]}`)
              .replaceAll(/^url = .*$/gm, (line) => `${line}\nroute = "${route}"`)
            writeFileSync(join(path, name), text)
          }
          mkdirSync(join(path, "public"))
          writeFileSync(join(path, "public", "page.txt"), "a page")
          writeFileSync(join(path, "public", ".env"), "secret")

          yield* startProcess(["server", "--config", "server.toml"], path)
          const destination = yield* startProcess(["--config", "web-destination.toml"], path)
          const source = yield* startProcess(["--config", "web-source.toml"], path)
          const logs = () => `${destination.log()}\n${source.log()}`

          const app = yield* ask(`http://localhost:${users[0]}/a?b`, ca, logs, "hello")
          const told = JSON.parse(app.body)
          assert.deepInclude(told, { url: "/a?b", host: `localhost:${users[0]}`, body: "hello" })
          assert.match(told.users, /^(?:127\.0\.0\.1|::1)$/)
          const secure = JSON.parse((yield* ask(`https://localhost:${users[1]}/c`, ca, logs)).body)
          assert.deepInclude(secure, { url: "/c", host: `localhost:${https}` })
          assert.match(secure.forwarded, /proto=https$/)
          const page = yield* ask(`http://localhost:${users[2]}/page.txt`, ca, logs)
          assert.deepStrictEqual(page, { status: 200, body: "a page" })
          assert.strictEqual((yield* ask(`http://localhost:${users[2]}/.env`, ca, logs)).status, 404)
          assert.match((yield* ask(`http://localhost:${users[2]}/`, ca, logs)).body, /page\.txt/)

          const echo = Effect.tryPromise({
            try: async () => {
              const socket = new WebSocket(`wss://localhost:${users[3]}/bytes`, { ca })
              await once(socket, "open")
              socket.send("hi")
              const [message] = await once(socket, "message")
              socket.terminate()
              return String(message)
            },
            catch: (detail) => new Failed({ detail })
          })
          const retried = Effect.retry(echo, Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 100 })))
          assert.strictEqual(yield* retried, "hi")
        }),
      60_000
    )
  }

  it.live("tell users whether it is the destination or the service that is not there", () =>
    Effect.gen(function* () {
      const { path, ports } = yield* stageFor(1)
      const [user, dead] = [yield* freePort, yield* freePort]
      const client = `[client]\ntoken = "replace-this-token"\nserver-addr = "localhost:${ports.server}"\nserver-cas-file = "server.crt"\ndirect-addr = ":0"\n`
      const source = `[client.sources.app]\nurl = "http://localhost:${user}"\ndial-timeout = "1s"\n`
      writeFileSync(join(path, "source.toml"), client + source)
      writeFileSync(
        join(path, "destination.toml"),
        `${client}[client.destinations.app]\nurl = "http://localhost:${dead}"\n`
      )
      yield* startProcess(["server", "--config", "server.toml"], path)
      const { says, log } = yield* startProcess(["--config", "source.toml"], path)
      yield* says("endpoint.online")
      const told = Effect.promise(async () => {
        const answer = await fetch(`http://localhost:${user}/`)
        return `${answer.status} ${await answer.text()}`
      })
      assert.match(yield* told, /^502 502 No destination\n\nNo destination of "app" is online/)
      yield* startProcess(["--config", "destination.toml"], path)
      // Until there is a path, it is the destination that is missed.
      const refused = told.pipe(
        Effect.filterOrFail(
          (text) => text.startsWith("502 502 Service not reached"),
          (detail) => new Failed({ detail })
        ),
        Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 40 }))),
        Effect.mapError(({ detail }) => new TookTooLong({ detail: `${detail}\n${log()}` }))
      )
      assert.notInclude(yield* refused, String(dead))
    })
  )

  it.live("refuse at the start what cannot work", () =>
    Effect.gen(function* () {
      const { path } = yield* stageFor(1)
      const refused = (endpoint: string, said: RegExp) => refusedAtStart(path, endpoint, said)
      yield* refused(
        `[client.destinations.a]\nurl = "http://h"\nproxy-proto-version = "v1"\nlistings-disable = true
         [client.destinations.b]\nurl = "file:."\nproxy-proto-version = "v2"\npreserve-host = true
         [client.sources.c]\nurl = "ws://:0"\npreserve-host = true
         [client.sources.d]\nurl = "https://:0"`,
        new RegExp(
          [
            /client\.destinations\.a\.proxy-proto-version: one connection to the service carries requests of many users/,
            /client\.destinations\.a\.listings-disable: it is for folders/,
            /client\.destinations\.b\.preserve-host: requests are not looked at with a file URL/,
            /client\.destinations\.b\.proxy-proto-version: there is no service to tell/,
            /client\.sources\.c\.preserve-host: requests are not looked at with a ws URL/,
            /client\.sources\.d\.cert-file: a source at https:\/\/ needs a certificate/
          ]
            .map(({ source }) => source)
            .join("[\\s\\S]*")
        )
      )
    })
  )
})
