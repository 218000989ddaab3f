/** What control tells clients of relays: on a stream of the control link, for as long as that lives. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Logger, Redacted, Schedule, Scope, SubscriptionRef } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { certificateKey } from "../../src/certs/certificateKey.ts"
import { issueClient } from "../../src/certs/issue.ts"
import { makeAccess } from "../../src/directory/server/Access.ts"
import { makeControlIdentity } from "../../src/directory/server/ControlIdentity.ts"
import * as DirectoryServer from "../../src/directory/server/DirectoryServer.ts"
import type { RegisteredRelay } from "../../src/directory/server/RelayRoster.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import * as Messages from "../../src/protocol/ClientControl.ts"
import { ErrorCode } from "../../src/protocol/ErrorCode.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import { openAuthentication } from "../../src/protocol/RelayControl.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { Transport, type TransportStream } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"
import { GOOD, OPTIONS, WEB } from "./World.ts"

const HERE = { host: "127.0.0.1", port: 0 }

const world = Effect.gen(function* () {
  const { bind } = yield* Transport
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["127.0.0.1"])
  const relays = yield* SubscriptionRef.make<ReadonlyArray<RegisteredRelay>>([])
  const server = yield* bind({ address: HERE })
  const listener = yield* server.listen({ protocols: DirectoryServer.PROTOCOLS, identity, trust: Trust.anyone })
  const directory = yield* DirectoryServer.makeDirectoryServer({
    identity: makeControlIdentity(),
    relays,
    access: makeAccess([GOOD]),
    endpointExpiry: Duration.zero
  })
  yield* directory.serve(listener).pipe(Effect.provide(Logger.layer([])), Effect.forkScoped)

  const own = yield* bind({ address: HERE })
  const dial = { address: server.address, protocols: DirectoryServer.PROTOCOLS, trust: Trust.anyone }
  const connection = yield* own.dial({ ...dial, timeout: "1 second" })
  const hello = yield* connection.open
  const said = { token: Redacted.make("good"), reconnectToken: new Uint8Array(), buildVersion: "", metadata: "" }
  yield* send(hello, Messages.authenticateRequest, said, OPTIONS)
  yield* receive(hello, Messages.authenticateResponse, OPTIONS)
  hello.end().resume()
  const clientCertificate = (yield* issueClient).leaf.raw

  /** Asks for relays on a stream of its own. */
  const ask = Effect.fnUntraced(function* (endpoint = WEB, certificate: Uint8Array = clientCertificate) {
    const stream = yield* connection.open
    const request = { _tag: "Relay", endpoint, role: "source", clientCertificate: certificate } as const
    yield* send(stream, Messages.request, request, OPTIONS)
    return stream
  })

  const relay = (id: string, key = 1): RegisteredRelay => ({
    id,
    addresses: [{ host: `${id}.test`, port: 1 }],
    serverCertificate: identity.leaf.raw,
    metadata: `about ${id}`,
    carriers: ["quic"],
    sharedKey: new Uint8Array(32).fill(key)
  })
  const offered = Effect.fnUntraced(function* (stream: TransportStream) {
    const answer = yield* receive(stream, Messages.response, OPTIONS)
    return answer._tag === "Relays" ? answer.relays : yield* Effect.die(answer)
  })
  return {
    relays,
    relay,
    ask,
    offered,
    connection,
    clientCertificate,
    /** Waits until so many streams are open at the server. */
    streams: (count: number) =>
      Effect.sync(() => server.counts().streams).pipe(
        Effect.filterOrFail(
          (open) => open === count,
          (open) => `${open} streams are open`
        ),
        Effect.retry({ schedule: Schedule.spaced("2 millis"), times: 1_000 })
      )
  }
}).pipe(Effect.provide(Memory.layer()))

describe("the relays that control tells of", () => {
  it.live("come as a whole list at once, and at every change", () =>
    Effect.gen(function* () {
      const { ask, offered, relays, relay } = yield* world
      yield* SubscriptionRef.set(relays, [relay("a")])
      const stream = yield* ask()
      const ids = Effect.map(offered(stream), (all) => all.map(({ id }) => id))
      assert.deepEqual(yield* ids, ["a"])
      yield* SubscriptionRef.set(relays, [relay("a"), relay("b")])
      assert.deepEqual(yield* ids, ["a", "b"])
      yield* SubscriptionRef.set(relays, [relay("b")])
      assert.deepEqual(yield* ids, ["b"])
      yield* SubscriptionRef.set(relays, [])
      assert.deepEqual(yield* ids, [])
    }).pipe(Effect.scoped)
  )

  it.live("come with what each of them needs to know of this client, and nobody else can read or make", () =>
    Effect.gen(function* () {
      const { ask, offered, relays, relay, clientCertificate } = yield* world
      const [a, b] = [relay("a", 1), relay("b", 2)]
      yield* SubscriptionRef.set(relays, [a, b])
      const [first, second] = yield* offered(yield* ask())
      const vouched = { endpoint: WEB, role: "source" as const, certificateKey: certificateKey(clientCertificate) }
      assert.deepEqual(openAuthentication(a.sharedKey, first!.authentication), vouched)
      assert.deepEqual(openAuthentication(b.sharedKey, second!.authentication), vouched)
      assert.isUndefined(openAuthentication(b.sharedKey, first!.authentication))
      assert.deepInclude(first, { id: "a", addresses: [{ host: "a.test", port: 1 }], metadata: "about a" })
    }).pipe(Effect.scoped)
  )

  it.live("are the same offers as before when only others have changed, and new ones for a relay that came back", () =>
    Effect.gen(function* () {
      const { ask, offered, relays, relay } = yield* world
      const a = relay("a")
      yield* SubscriptionRef.set(relays, [a])
      const stream = yield* ask()
      const [before] = yield* offered(stream)
      yield* SubscriptionRef.set(relays, [a, relay("b")])
      assert.deepEqual((yield* offered(stream))[0], before)
      yield* SubscriptionRef.set(relays, [relay("a")])
      assert.notDeepEqual((yield* offered(stream))[0]!.authentication, before!.authentication)
    }).pipe(Effect.scoped)
  )

  it.live("are told as long as the client's stream lives: nothing of it is left then, although no relay changes", () =>
    Effect.gen(function* () {
      const { ask, offered, streams, connection } = yield* world
      yield* streams(0)
      const endings = [
        (stream: TransportStream) => stream.destroy(),
        (stream: TransportStream) => stream.end().resume(),
        (stream: TransportStream) => stream.reset(0),
        (stream: TransportStream) => stream.end(Buffer.from("00000000", "hex")).resume(),
        (stream: TransportStream) => stream.end(Buffer.from("ffffffff", "hex")).resume()
      ]
      for (const end of endings) {
        const stream = yield* ask()
        yield* offered(stream)
        yield* streams(1)
        end(stream)
        // What was only reset is read to its end by whoever reset it.
        stream.resume()
        yield* streams(0)
      }
      const last = yield* ask()
      yield* offered(last)
      yield* connection.close(0, "")
      yield* streams(0)
    }).pipe(Effect.scoped)
  )

  it.live("are not told for an endpoint that the client may not use, or without a certificate", () =>
    Effect.gen(function* () {
      const { ask, streams } = yield* world
      for (const [asking, code] of [
        [ask("secret" as EndpointName), ErrorCode.EndpointNotAllowed],
        [ask(WEB, Uint8Array.from([1, 2, 3])), ErrorCode.AnnounceInvalidClientCertificate]
      ] as const) {
        const stream = yield* asking
        assert.deepInclude(yield* receive(stream, Messages.response, OPTIONS), { _tag: "Refused", code })
        stream.end().resume()
      }
      yield* streams(0)
    }).pipe(Effect.scoped)
  )

  it.live("are not listened for any more by anybody when the server ends", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { ask, offered, streams } = yield* world.pipe(Effect.provideService(Scope.Scope, scope))
      yield* offered(yield* ask())
      yield* streams(1)
      yield* Scope.close(scope, Exit.void)
      yield* streams(0)
    }).pipe(Effect.scoped)
  )
})
