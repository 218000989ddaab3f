/**
 * What every transport does, whatever it is made of. Each layer runs this one suite; the names of the tests are the list
 * of behaviours that the rest of connet builds on.
 */
import "reflect-metadata"
import { createHash, KeyObject, randomBytes, webcrypto, X509Certificate } from "node:crypto"
import { once } from "node:events"
import type { Duplex } from "node:stream"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { X509CertificateGenerator } from "@peculiar/x509"
import { Deferred, type Duration, Effect, Exit, Fiber, type Layer, Redacted, Scope } from "effect"
import { type Authority, makeAuthority } from "../../src/certs/Authority.ts"
import type { Identity } from "../../src/certs/Identity.ts"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import {
  type Connection,
  type DialTarget,
  type Endpoint,
  type Listener,
  StreamReset,
  StreamStopped,
  serve,
  Transport,
  type TransportStream
} from "../../src/transport/Transport.ts"
import type { TransportError } from "../../src/transport/TransportError.ts"
import { Trust } from "../../src/transport/Trust.ts"

export interface Faults {
  /** One way, in milliseconds. */
  readonly delayMillis?: number
  /** Share of the packets that are lost, come twice, or come late, where there are packets. */
  readonly loss?: number
  readonly duplication?: number
  readonly reordering?: number
}

export interface FaultyLink {
  /** Dialing this leads to the listener. */
  readonly address: SocketAddress
  /** From now on nothing passes. */
  readonly cut: () => void
}

export interface Subject {
  /** A fresh transport; `idleTimeoutMillis` as given. */
  readonly layer: (options: { readonly idleTimeoutMillis: number }) => Layer.Layer<Transport, TransportError>
  /** A link with faults to a listener of that transport. */
  readonly link: (to: SocketAddress, faults: Faults) => Effect.Effect<FaultyLink, never, Scope.Scope | Transport>
  /** Whether what is dialed leaves from the port of the endpoint, as it does unless this is false. */
  readonly dialsFromItsPort?: boolean
  /** Who shall open the streams of what is dialed. */
  readonly opener?: DialTarget["opener"]
  /** More than there may be at once, unless another subject shows the same. */
  readonly abandoned?: number
}

const LOOPBACK: SocketAddress = { host: "127.0.0.1", port: 0 }
const ALPN = ["compliance/2", "compliance/1"]
const MIB = 1024 * 1024

interface Identities {
  readonly authority: Authority
  readonly server: Identity
  readonly otherServer: Identity
  readonly client: Identity
  readonly otherClient: Identity
  readonly expired: Identity
  readonly selfMade: Identity
}

const issueAll = Effect.gen(function* () {
  const authority = yield* makeAuthority()
  const past = { notBefore: new Date("2020-01-01"), notAfter: new Date("2021-01-01") }
  return {
    authority,
    server: yield* authority.issueServer(["one.example.test", "127.0.0.1"]),
    otherServer: yield* authority.issueServer(["two.example.test"]),
    client: yield* authority.issueClient(),
    otherClient: yield* authority.issueClient(),
    expired: yield* authority.issueServer(["one.example.test"], past),
    selfMade: yield* Effect.promise(makeSelfSigned)
  } satisfies Identities
})

/** A certificate that vouches for itself and has no name to check, as devices make them. */
const makeSelfSigned = async (): Promise<Identity> => {
  const keys = (await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify"
  ])) as webcrypto.CryptoKeyPair
  const certificate = await X509CertificateGenerator.createSelfSigned(
    { name: "CN=device", keys, signingAlgorithm: { name: "ECDSA", hash: "SHA-256" } },
    webcrypto as Crypto
  )
  const key = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" })
  return {
    leaf: new X509Certificate(Buffer.from(certificate.rawData)),
    certificatePem: certificate.toString("pem"),
    privateKeyPem: Redacted.make(String(key))
  }
}

export const transportCompliance = (name: string, subject: Subject): void => {
  const { abandoned = 12_000 } = subject
  describe(name, () => {
    let ids: Identities
    beforeAll(async () => {
      ids = await Effect.runPromise(issueAll)
    })

    const test = (
      behaviour: string,
      body: () => Effect.Effect<void, unknown, Transport | Scope.Scope>,
      idleTimeoutMillis = 20_000
    ) =>
      it.live(
        behaviour,
        () =>
          Effect.scoped(Effect.suspend(body)).pipe(
            Effect.provide(subject.layer({ idleTimeoutMillis })),
            Effect.timeoutOrElse({ duration: "50 seconds", orElse: () => Effect.die(new Error("the test is stuck")) })
          ),
        55_000
      )

    const bind = Effect.flatMap(Transport, (transport) => transport.bind({ address: LOOPBACK }))

    const listen = (endpoint: Endpoint, options: { protocols?: string[]; identity?: Identity; trust?: Trust } = {}) =>
      endpoint.listen({ protocols: ALPN, identity: ids.server, trust: trustClient(), ...options })

    const trustClient = () => Trust.expected((der) => Buffer.from(der).equals(ids.client.leaf.raw))
    const trustServer = () => Trust.pinned(ids.server.leaf.raw)

    const dial = (
      endpoint: Endpoint,
      address: SocketAddress,
      options: { protocols?: string[]; identity?: Identity; trust?: Trust; timeout?: Duration.Input } = {}
    ) =>
      endpoint.dial({
        address,
        protocols: ALPN,
        trust: trustServer(),
        identity: ids.client,
        timeout: "5 seconds",
        opener: subject.opener,
        ...options
      })

    /** Two connected ends, and what they stand on. */
    const connected = Effect.gen(function* () {
      const [near, far] = [yield* bind, yield* bind]
      const listener = yield* listen(far)
      const [ours, theirs] = yield* Effect.all([dial(near, far.address), listener.accept], { concurrency: 2 })
      return { near, far, listener, ours, theirs }
    })

    /** The same over a link with faults. */
    const connectedOver = Effect.fnUntraced(function* (faults: Faults) {
      const [near, far] = [yield* bind, yield* bind]
      const listener = yield* listen(far)
      const link = yield* subject.link(far.address, faults)
      const [ours, theirs] = yield* Effect.all([dial(near, link.address), listener.accept], { concurrency: 2 })
      return { near, far, link, ours, theirs }
    })

    /** A stream with both of its ends; the opener has written `hello`. */
    const stream = Effect.fnUntraced(function* ({ ours, theirs }: { ours: Connection; theirs: Connection }) {
      const opened = yield* ours.open
      opened.write("hello")
      const accepted = yield* theirs.accept
      assert.strictEqual((yield* readSome(accepted)).toString(), "hello")
      return [opened, accepted] as const
    })

    const failure = <A, R>(effect: Effect.Effect<A, TransportError, R>) =>
      Effect.map(Effect.flip(effect), (e) => e.reason)

    describe("protocols", () => {
      test("the first protocol of the dialer that the listener speaks is chosen", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          const listener = yield* listen(far)
          const [ours, theirs] = yield* Effect.all(
            [dial(near, far.address, { protocols: ["unknown/1", ...ALPN] }), listener.accept],
            { concurrency: 2 }
          )
          assert.strictEqual(ours.protocol, "compliance/2")
          assert.strictEqual(theirs.protocol, "compliance/2")
        }))

      test("a dialer that speaks none of the listener's is refused and told so", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          yield* listen(far)
          const reason = yield* failure(dial(near, far.address, { protocols: ["unknown/1"] }))
          assert.strictEqual(reason._tag, "ProtocolRefused")
        }))

      test("several listeners and dials share one socket, told apart by protocol", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          const one = yield* listen(far, { protocols: ["one/1"] })
          const two = yield* listen(far, { protocols: ["two/1"] })
          const back = yield* listen(near, { protocols: ["back/1"] })
          const accepted = yield* Effect.all([one.accept, two.accept, back.accept], { concurrency: 3 }).pipe(
            Effect.forkScoped({ startImmediately: true })
          )
          yield* Effect.all(
            [
              dial(near, far.address, { protocols: ["two/1"] }),
              dial(near, far.address, { protocols: ["one/1"] }),
              dial(far, near.address, { protocols: ["back/1"] })
            ],
            { concurrency: 3 }
          )
          const protocols = (yield* Fiber.join(accepted)).map(({ protocol }) => protocol)
          assert.deepEqual(protocols, ["one/1", "two/1", "back/1"])
        }))

      test("a second listener for the same protocol, or with another certificate, is refused", () =>
        Effect.gen(function* () {
          const far = yield* bind
          yield* listen(far, { protocols: ["one/1"] })
          assert.strictEqual((yield* failure(listen(far, { protocols: ["one/1"] })))._tag, "ListenConflict")
          const other = listen(far, { protocols: ["two/1"], identity: ids.otherServer })
          assert.strictEqual((yield* failure(other))._tag, "ListenConflict")
        }))
    })

    describe("trust", () => {
      const accepts = (what: string, options: () => { trust: Trust }) =>
        test(`a dialer accepts ${what}`, () =>
          Effect.gen(function* () {
            const [near, far] = [yield* bind, yield* bind]
            const listener = yield* listen(far)
            const [ours, theirs] = yield* Effect.all([dial(near, far.address, options()), listener.accept], {
              concurrency: 2
            })
            assert.isTrue(ids.server.leaf.raw.equals(ours.peerCertificate!))
            assert.isTrue(ids.client.leaf.raw.equals(theirs.peerCertificate!))
          }))
      accepts("the pinned certificate", () => ({ trust: Trust.pinned(ids.server.leaf.raw) }))
      accepts("a certificate from a root, for a DNS name", () => ({
        trust: Trust.authorities("one.example.test", [ids.authority.certificatePem])
      }))
      accepts("a certificate from a root, for an IP address", () => ({
        trust: Trust.authorities("127.0.0.1", [ids.authority.certificatePem])
      }))

      const refuses = (
        what: string,
        tag: string,
        options: () => { trust: Trust; server?: Identity } | Effect.Effect<{ trust: Trust }>
      ) =>
        test(`a dialer refuses ${what}`, () =>
          Effect.gen(function* () {
            const [near, far] = [yield* bind, yield* bind]
            const given = options()
            const { trust, server } = (Effect.isEffect(given) ? yield* given : given) as {
              trust: Trust
              server?: Identity
            }
            yield* listen(far, { identity: server ?? ids.server })
            const reason = yield* failure(dial(near, far.address, { trust }))
            assert.strictEqual(reason._tag, tag)
          }))
      refuses("another certificate than the pinned one", "CertificateUnexpected", () => ({
        trust: Trust.pinned(ids.otherServer.leaf.raw)
      }))
      for (const [what, server] of [
        ["self-made", () => ids.selfMade],
        ["expired", () => ids.expired],
        ["for other names", () => ids.otherServer]
      ] as const) {
        test(`a dialer accepts a certificate with the fingerprint, though it is ${what}`, () =>
          Effect.gen(function* () {
            const [near, far] = [yield* bind, yield* bind]
            const listener = yield* listen(far, { identity: server() })
            const trust = Trust.fingerprint(sha256(server()))
            const [ours] = yield* Effect.all([dial(near, far.address, { trust }), listener.accept], { concurrency: 2 })
            assert.isTrue(server().leaf.raw.equals(ours.peerCertificate!))
          }))
      }
      test("a dialer refuses a certificate with another fingerprint, and names both", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          yield* listen(far)
          const expected = sha256(ids.otherServer)
          const reason = yield* failure(dial(near, far.address, { trust: Trust.fingerprint(expected) }))
          const shown = sha256(ids.server)
          assert.deepInclude(reason, { _tag: "FingerprintMismatch", expected, shown })
          assert.include(reason.message, `the certificate has the fingerprint ${shown}, not ${expected}:`)
        }))
      refuses("a certificate for another DNS name", "CertificateNameMismatch", () => ({
        trust: Trust.authorities("two.example.test", [ids.authority.certificatePem])
      }))
      refuses("a certificate for another IP address", "CertificateNameMismatch", () => ({
        trust: Trust.authorities("127.0.0.2", [ids.authority.certificatePem])
      }))
      refuses("an expired certificate, though it is pinned", "CertificateExpired", () => ({
        trust: Trust.pinned(ids.expired.leaf.raw),
        server: ids.expired
      }))
      refuses("an expired certificate from a known root", "CertificateExpired", () => ({
        trust: Trust.authorities("one.example.test", [ids.authority.certificatePem]),
        server: ids.expired
      }))
      refuses("a certificate from an unknown root", "CertificateUntrusted", () =>
        Effect.map(makeAuthority(), (stranger) => ({
          trust: Trust.authorities("one.example.test", [stranger.certificatePem])
        }))
      )

      const refusesClient = (what: string, text: RegExp, options: () => { identity?: Identity }, trust?: () => Trust) =>
        test(`a listener refuses ${what} before any stream is seen`, () =>
          Effect.gen(function* () {
            const [near, far] = [yield* bind, yield* bind]
            const listener = yield* listen(far, trust ? { trust: trust() } : {})
            const seen = yield* Effect.forkScoped(listener.accept)
            const { identity } = options()
            const target = {
              address: far.address,
              protocols: ALPN,
              trust: trustServer(),
              timeout: "5 seconds"
            } as const
            const reason = yield* failure(
              Effect.flatMap(near.dial(identity ? { ...target, identity } : target), (connection) =>
                Effect.flatMap(connection.open, (opened) => {
                  opened.write("let me in")
                  return Effect.andThen(connection.closed, connection.open)
                })
              )
            )
            assert.match(`${reason._tag} ${reason._tag === "Closed" ? reason.code : ""} ${reason.message}`, text)
            assert.isUndefined(seen.pollUnsafe())
          }))
      refusesClient("a client certificate that it does not expect", /Closed 100 .*not an expected one/, () => ({
        identity: ids.otherClient
      }))
      refusesClient("a client without a certificate", /CertificateMissing|Closed .*(372|no certificate)/, () => ({}))
      refusesClient(
        "an expired client certificate",
        /Closed 100 .*valid only from/,
        () => ({ identity: ids.expired }),
        () => Trust.expected(() => true)
      )

      test("who is expected may change at any time", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          let expected = ids.client
          const trust = Trust.expected((der) => expected.leaf.raw.equals(Buffer.from(der)))
          const listener = yield* listen(far, { trust })
          yield* Effect.all([dial(near, far.address), listener.accept], { concurrency: 2 })
          expected = ids.otherClient
          const refused = yield* dial(near, far.address)
          assert.strictEqual((yield* refused.closed)._tag, "Closed")
          yield* Effect.all([dial(near, far.address, { identity: ids.otherClient }), listener.accept], {
            concurrency: 2
          })
        }))

      test("a listener for anyone lets in a client without a certificate", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          const listener = yield* listen(far, { trust: Trust.anyone })
          const target = { address: far.address, protocols: ALPN, trust: trustServer(), timeout: "5 seconds" } as const
          const [, theirs] = yield* Effect.all([near.dial(target), listener.accept], { concurrency: 2 })
          assert.isUndefined(theirs.peerCertificate)
        }))
    })

    describe("renewal", () => {
      test("newcomers see another certificate, and who is connected notices nothing", () =>
        Effect.gen(function* () {
          const { near, far, listener, ours, theirs } = yield* connected
          yield* far.renew(ids.otherServer)
          const trust = Trust.pinned(ids.otherServer.leaf.raw)
          const [anew, itsEnd] = yield* Effect.all([dial(near, far.address, { trust }), listener.accept], {
            concurrency: 2
          })
          yield* stream({ ours: anew, theirs: itsEnd })
          yield* stream({ ours, theirs })
          const reason = yield* failure(Effect.scoped(dial(near, far.address)))
          assert.strictEqual(reason._tag, "CertificateUnexpected")
        }))
    })

    describe("admission", () => {
      test("who is not admitted is refused at once and never seen, and it is asked anew for each newcomer", () =>
        Effect.gen(function* () {
          const asked: Array<string> = []
          let admitted = false
          const admits = (host: string) => {
            asked.push(host)
            return admitted
          }
          const near = yield* bind
          const transport = yield* Transport
          const far = yield* transport.bind({ address: { host: "::", port: 0 }, admits })
          const address = { host: "127.0.0.1", port: far.address.port }
          const listener = yield* listen(far)
          const next = yield* Effect.forkScoped(listener.accept, { startImmediately: true })
          const reason = yield* failure(Effect.scoped(dial(near, address)))
          assert.deepEqual([reason._tag, asked], ["Refused", ["127.0.0.1"]])
          assert.deepEqual(near.counts(), { connections: 0, streams: 0, timers: 0, listeners: 0 })
          assert.deepEqual(far.counts(), { connections: 0, streams: 0, timers: 0, listeners: 1 })

          admitted = true
          const ours = yield* dial(near, address)
          const theirs = yield* Fiber.join(next)
          // Who is in stays in.
          admitted = false
          assert.strictEqual((yield* failure(Effect.scoped(dial(near, address))))._tag, "Refused")
          yield* stream({ ours, theirs })
          assert.isUndefined(theirs.ended())
        }))
    })

    describe("dialing", () => {
      test("a dial that nobody answers ends at its deadline and leaves nothing behind", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          yield* listen(far)
          const link = yield* subject.link(far.address, {})
          link.cut()
          const reason = yield* failure(Effect.scoped(dial(near, link.address, { timeout: "200 millis" })))
          assert.deepEqual([reason._tag, reason.message], ["DialTimedOut", "no answer within 200 ms"])
          assert.deepEqual(near.counts(), { connections: 0, streams: 0, timers: 0, listeners: 0 })
        }))

      test("a cancelled dial leaves nothing behind", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          const dialing = yield* Effect.forkChild(Effect.scoped(dial(near, far.address)), { startImmediately: true })
          yield* Fiber.interrupt(dialing)
          assert.deepEqual(near.counts(), { connections: 0, streams: 0, timers: 0, listeners: 0 })
        }))

      test("an address that is taken cannot be bound, and is named", () =>
        Effect.gen(function* () {
          const near = yield* bind
          const transport = yield* Transport
          const reason = yield* failure(transport.bind({ address: near.address }))
          assert.strictEqual(reason.message, `cannot listen on 127.0.0.1:${near.address.port}: address in use`)
        }))

      test("each end knows where the other one is", () =>
        Effect.gen(function* () {
          const { near, far, ours, theirs } = yield* connected
          assert.deepEqual(ours.remoteAddress(), far.address)
          const { host, port } = theirs.remoteAddress()
          assert.strictEqual(host, near.address.host)
          if (subject.dialsFromItsPort !== false) assert.strictEqual(port, near.address.port)
        }))
    })

    describe("streams", () => {
      test("2,000 streams are open at once on one connection, each with its own bytes", () =>
        Effect.gen(function* () {
          const { near, ours, theirs } = yield* connected
          yield* Effect.forkScoped(
            Effect.forever(
              Effect.map(theirs.accept, (accepted) => {
                accepted.pipe(accepted)
              })
            )
          )
          const streams = yield* Effect.forEach(
            Array.from({ length: 2_000 }, (_, at) => at),
            (at) =>
              Effect.gen(function* () {
                const opened = yield* ours.open
                opened.write(`stream ${at}`)
                assert.strictEqual((yield* readSome(opened)).toString(), `stream ${at}`)
                return opened
              }),
            { concurrency: 500 }
          )
          assert.strictEqual(near.counts().streams, 2_000)
          for (const opened of streams) opened.destroy()
        }))

      test("a finished write half ends the other side's reading, and the way back stays open", () =>
        Effect.gen(function* () {
          const [opened, accepted] = yield* Effect.flatMap(connected, stream)
          opened.end(" and goodbye")
          assert.strictEqual((yield* readAll(accepted)).toString(), " and goodbye")
          accepted.end("the answer comes after the end")
          assert.strictEqual((yield* readAll(opened)).toString(), "the answer comes after the end")
        }))

      test("the accepting side may finish first", () =>
        Effect.gen(function* () {
          const [opened, accepted] = yield* Effect.flatMap(connected, stream)
          accepted.end("first")
          assert.strictEqual((yield* readAll(opened)).toString(), "first")
          opened.end("second")
          assert.strictEqual((yield* readAll(accepted)).toString(), "second")
        }))

      test("an end that comes a moment after the last bytes arrives, on each of 200 streams", () =>
        Effect.gen(function* () {
          const pair = yield* connected
          yield* Effect.forkScoped(echoThenEnd(pair.theirs))
          for (let round = 0; round < 200; round++) {
            const opened = yield* pair.ours.open
            opened.write("hello")
            setTimeout(() => opened.end(), round % 3)
            assert.strictEqual((yield* readAll(opened)).toString(), "hello")
          }
        }))

      test("a reset is told apart from an end, with its code", () =>
        Effect.gen(function* () {
          const [opened, accepted] = yield* Effect.flatMap(connected, stream)
          opened.reset(42)
          const error = yield* Effect.flip(readAll(accepted))
          assert.instanceOf(error, StreamReset)
          assert.strictEqual((error as StreamReset).code, 42)
        }))

      test("a stop is told apart from an end, with its code, and what was sent before it can be read", () =>
        Effect.gen(function* () {
          const [opened, accepted] = yield* Effect.flatMap(connected, stream)
          const stopped = once(opened, "stop")
          const closed = new Promise((resolve) => opened.once("close", resolve))
          accepted.write("last words")
          accepted.stop(43)
          accepted.end()
          opened.write(Buffer.alloc(MIB))
          assert.deepEqual(yield* Effect.promise(() => stopped), [43])
          assert.strictEqual((yield* readAll(opened)).toString(), "last words")
          yield* Effect.promise(() => closed)
          assert.instanceOf(opened.errored, StreamStopped)
        }))

      test("a destroyed stream is a reset to the other side", () =>
        Effect.gen(function* () {
          const [opened, accepted] = yield* Effect.flatMap(connected, stream)
          opened.destroy()
          assert.instanceOf(yield* Effect.flip(readAll(accepted)), StreamReset)
        }))

      test("64 MiB both ways at once arrive unharmed", () =>
        Effect.gen(function* () {
          const [opened, accepted] = yield* Effect.flatMap(connected, stream)
          const hashes = yield* Effect.all(
            [writeBulk(opened, 64), hashAll(accepted), writeBulk(accepted, 64), hashAll(opened)],
            { concurrency: 4 }
          )
          assert.strictEqual(hashes[1], hashes[0])
          assert.strictEqual(hashes[3], hashes[2])
        }))

      test("50 stalled readers stop their own streams only", () =>
        Effect.gen(function* () {
          const pair = yield* connected
          const stalled = yield* Effect.forEach(Array.from({ length: 50 }), () => stream(pair))
          for (const [, accepted] of stalled) accepted.pause()
          const writing = stalled.map(([opened]) => opened.write(Buffer.alloc(4 * MIB)))
          assert.deepEqual(new Set(writing), new Set([false]))
          const [opened, accepted] = yield* stream(pair)
          const [sent, received] = yield* Effect.all([writeBulk(opened, 64), hashAll(accepted)], { concurrency: 2 })
          assert.strictEqual(received, sent)
          for (const [stuck] of stalled) assert.isAbove(stuck.writableLength, 0)
        }))
    })

    describe("ends", () => {
      test("the close code and reason reach the other end, and every stream with it", () =>
        Effect.gen(function* () {
          const pair = yield* connected
          const [, accepted] = yield* stream(pair)
          const cut = Effect.flip(readAll(accepted))
          const [error] = yield* Effect.all([cut, pair.ours.close(401, "no more")], { concurrency: 2 })
          const ended = yield* pair.theirs.closed
          assert.deepInclude(ended, { _tag: "Closed", by: "peer", code: 401, application: true, text: "no more" })
          assert.strictEqual(error.message, ended.message)
          assert.deepInclude(yield* pair.ours.closed, { by: "local", code: 401 })
          assert.strictEqual((yield* failure(pair.theirs.open))._tag, "Closed")
          assert.strictEqual((yield* failure(pair.theirs.accept))._tag, "Closed")
        }))

      test("a connection ends with the Scope it was dialed in", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          const listener = yield* listen(far)
          const theirs = yield* Effect.scoped(
            Effect.gen(function* () {
              yield* dial(near, far.address)
              return yield* Effect.provideService(listener.accept, Scope.Scope, yield* Effect.scope)
            })
          )
          assert.strictEqual((yield* theirs.closed)._tag, "Closed")
        }))

      test("a listener that is closed refuses newcomers and leaves its connections alone", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          const done = yield* Deferred.make<void>()
          const listening = yield* Deferred.make<readonly [Connection, Listener]>()
          const dialed = yield* Deferred.make<Connection>()
          const hold = yield* Effect.scope
          yield* Effect.gen(function* () {
            const listener = yield* listen(far)
            const accepted = yield* Effect.provideService(listener.accept, Scope.Scope, hold)
            yield* Deferred.succeed(listening, [accepted, listener])
            yield* Deferred.await(done)
          }).pipe(Effect.scoped, Effect.forkScoped({ startImmediately: true }))
          yield* Deferred.succeed(dialed, yield* dial(near, far.address))
          const [theirs, listener] = yield* Deferred.await(listening)
          const waiting = yield* Effect.forkChild(Effect.scoped(Effect.flip(listener.accept)), {
            startImmediately: true
          })
          yield* Deferred.succeed(done, undefined)
          assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "Closed")
          const ours = yield* Deferred.await(dialed)
          yield* stream({ ours, theirs })
          const refused = yield* Effect.exit(Effect.scoped(dial(near, far.address, { timeout: "300 millis" })))
          assert.isTrue(Exit.isFailure(refused))
        }))

      test(
        "a peer that vanishes is noticed within the idle timeout",
        () =>
          Effect.gen(function* () {
            const { ours, theirs, link } = yield* connectedOver({})
            const opened = yield* ours.open
            opened.write("hello")
            yield* theirs.accept
            link.cut()
            opened.write("is anybody there?")
            assert.strictEqual((yield* ours.closed)._tag, "Lost")
          }),
        700
      )

      test(
        "a connection on which nothing is said lasts longer than the idle timeout",
        () =>
          Effect.gen(function* () {
            const { ours, theirs } = yield* connected
            const ended = yield* Effect.timeoutOption(Effect.raceFirst(ours.closed, theirs.closed), "1200 millis")
            assert.strictEqual(ended._tag, "None")
          }),
        800
      )

      test("a probe is answered by a peer that lives, and not by one that has vanished", () =>
        Effect.gen(function* () {
          const { ours, link } = yield* connectedOver({ delayMillis: 5 })
          const millis = yield* ours.probe
          assert.isAbove(millis, 0)
          assert.isBelow(millis, 1_000)
          link.cut()
          const silence = yield* Effect.timeoutOption(ours.probe, "200 millis")
          assert.strictEqual(silence._tag, "None")
        }))
    })

    describe("datagrams", () => {
      test("raw datagrams pass on the socket that carries connections", () =>
        Effect.gen(function* () {
          const { near, far } = yield* connected
          const bytes = Uint8Array.from([0, 1, 2, 3])
          yield* near.datagrams.send(far.address, bytes)
          const { from, bytes: received } = yield* far.datagrams.receive
          assert.deepEqual([from, [...received]], [near.address, [...bytes]])
        }))
    })

    describe("faults", () => {
      test("5 % loss, duplication and reordering harm nothing", () =>
        Effect.gen(function* () {
          const pair = yield* connectedOver({ delayMillis: 2, loss: 0.05, duplication: 0.05, reordering: 0.05 })
          const results = yield* Effect.forEach(
            Array.from({ length: 8 }),
            () =>
              Effect.gen(function* () {
                const opened = yield* pair.ours.open
                const hash = createHash("sha256")
                const bytes = randomBytes(MIB / 2)
                opened.end(bytes)
                hash.update(bytes)
                return [yield* hashAll(opened), hash.digest("hex")] as const
              }),
            { concurrency: 8 }
          ).pipe(
            Effect.raceFirst(
              Effect.forever(
                Effect.map(pair.theirs.accept, (accepted) => {
                  accepted.pipe(accepted)
                })
              )
            )
          )
          for (const [received, sent] of results) assert.strictEqual(received, sent)
        }))

      test("an end arrives on each of 300 streams, though 5 % of the packets are lost", () =>
        Effect.gen(function* () {
          const pair = yield* connectedOver({ delayMillis: 1, loss: 0.05, reordering: 0.05 })
          yield* Effect.forkScoped(echoThenEnd(pair.theirs))
          yield* Effect.forEach(
            Array.from({ length: 300 }, (_, round) => round),
            (round) =>
              Effect.gen(function* () {
                const opened = yield* pair.ours.open
                opened.write("hello")
                setTimeout(() => opened.end(), round % 5)
                assert.strictEqual((yield* readAll(opened)).toString(), "hello")
              }),
            { concurrency: 30, discard: true }
          )
        }))
    })

    describe("release", () => {
      test("closing every Scope leaves no socket, timer, connection or stream", () =>
        Effect.gen(function* () {
          // Those of a test before this one may still be closing.
          const before = sockets().length
          const counts = yield* Effect.gen(function* () {
            const pair = yield* connected
            const held = yield* Effect.forEach(Array.from({ length: 10 }), () => stream(pair))
            assert.strictEqual(pair.near.counts().streams, 10)
            assert.strictEqual(held.length, 10)
            return [pair.near.counts, pair.far.counts]
          }).pipe(Effect.scoped)
          for (const count of counts) {
            assert.deepEqual(count(), { connections: 0, streams: 0, timers: 0, listeners: 0 })
          }
          // The system takes a few turns of the event loop to close what was told to close.
          for (let turn = 0; turn < 100 && sockets().length > before; turn++) {
            yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          }
          assert.isAtMost(sockets().length, before)
        }))

      test("streams that end are released while the connection lives", () =>
        Effect.gen(function* () {
          const pair = yield* connected
          for (let round = 0; round < 20; round++) {
            const [opened, accepted] = yield* stream(pair)
            opened.end()
            accepted.end()
            const closed = [opened, accepted].map((end) => new Promise((resolve) => end.once("close", resolve)))
            yield* Effect.all([readAll(opened), readAll(accepted)], { concurrency: 2 })
            yield* Effect.promise(() => Promise.all(closed))
          }
          assert.strictEqual(pair.near.counts().streams, 0)
          assert.strictEqual(pair.far.counts().streams, 0)
        }))

      test(`${abandoned} streams abandoned half way leave room for the next one`, () =>
        Effect.gen(function* () {
          const pair = yield* connected
          const left = pair.ours.traffic().streamsLeft
          yield* Effect.forkScoped(
            serveStreams(pair.theirs, (accepted) => {
              accepted.write(Buffer.alloc(2_000))
            })
          )
          yield* Effect.forEach(
            Array.from({ length: abandoned }),
            () =>
              Effect.gen(function* () {
                const opened = yield* pair.ours.open
                opened.write("hello")
                yield* readSome(opened)
                opened.destroy()
              }),
            { concurrency: 100, discard: true }
          )
          const last = yield* pair.ours.open
          last.write("hello")
          yield* readSome(last)
          last.destroy()
          // Whoever abandons fewer than there may be must have every place back.
          if (abandoned < left) yield* eventually(() => pair.ours.traffic().streamsLeft === left)
        }))

      test("a handler of one connection cannot end another", () =>
        Effect.gen(function* () {
          const [near, far] = [yield* bind, yield* bind]
          const listener = yield* listen(far)
          let served = 0
          yield* Effect.forkScoped(
            serve(listener, (connection) =>
              served++ === 0
                ? Effect.die(new Error("a handler that fails"))
                : Effect.ignore(
                    Effect.forever(
                      Effect.map(connection.accept, (accepted) => {
                        accepted.pipe(accepted)
                      })
                    )
                  )
            )
          )
          const first = yield* dial(near, far.address)
          assert.strictEqual((yield* first.closed)._tag, "Closed")
          const second = yield* dial(near, far.address)
          const opened = yield* second.open
          opened.end("echo")
          assert.strictEqual((yield* readAll(opened)).toString(), "echo")
        }))
    })
  })
}

const sha256 = ({ leaf }: Identity) => createHash("sha256").update(leaf.raw).digest("hex")

/** Sends back what comes, and the end some milliseconds after the bytes. */
const echoThenEnd = (connection: Connection) => {
  let round = 0
  return serveStreams(connection, (stream) => {
    let text = ""
    stream.on("data", (bytes) => {
      text += bytes
    })
    stream.once("end", () => {
      stream.write(text)
      setTimeout(() => stream.end(), round++ % 4)
    })
  })
}

/** Looks at each turn of the event loop. The test has a deadline. */
const eventually = (holds: () => boolean) =>
  Effect.promise(async () => {
    while (!holds()) await new Promise((resolve) => setImmediate(resolve))
  })

const serveStreams = (connection: Connection, handle: (stream: TransportStream) => void) =>
  Effect.forever(Effect.map(connection.accept, handle))

/** The next bytes. */
const readSome = (stream: Duplex): Effect.Effect<Buffer, Error> =>
  Effect.callback((resume) => {
    const onData = (bytes: Buffer) => {
      stream.pause()
      finish(Effect.succeed(bytes))
    }
    const onEnd = () => finish(Effect.die(new Error("the stream ended where bytes were expected")))
    const onError = (error: Error) => finish(Effect.fail(error))
    const finish = (result: Effect.Effect<Buffer, Error>) => {
      stop()
      resume(result)
    }
    const stop = () => stream.off("data", onData).off("end", onEnd).off("error", onError)
    stream.once("end", onEnd).once("error", onError).on("data", onData)
    stream.resume()
    return Effect.sync(stop)
  })

/** Everything up to the end. */
const readAll = (stream: Duplex): Effect.Effect<Buffer, Error> =>
  Effect.map(
    collect(stream, (chunks: Array<Buffer>, chunk) => [...chunks, chunk], []),
    (chunks) => Buffer.concat(chunks)
  )

const hashAll = (stream: Duplex): Effect.Effect<string, Error> =>
  Effect.map(
    collect(stream, (hash, chunk) => hash.update(chunk), createHash("sha256")),
    (hash) => hash.digest("hex")
  )

const collect = <A>(stream: Duplex, add: (all: A, chunk: Buffer) => A, initial: A): Effect.Effect<A, Error> =>
  Effect.callback((resume) => {
    let all = initial
    if (stream.errored) {
      resume(Effect.fail(stream.errored))
      return
    }
    stream
      .on("data", (chunk) => {
        all = add(all, chunk)
      })
      .once("end", () => resume(Effect.succeed(all)))
      .once("error", (error) => resume(Effect.fail(error)))
      .resume()
  })

/** Writes some MiB, respecting back-pressure, and finishes; the hash of what was written. */
const writeBulk = (stream: Duplex, mebibytes: number): Effect.Effect<string, Error> =>
  Effect.promise(async () => {
    const hash = createHash("sha256")
    const chunk = randomBytes(MIB)
    for (let sent = 0; sent < mebibytes; sent++) {
      hash.update(chunk)
      if (!stream.write(chunk)) await once(stream, "drain")
    }
    stream.end()
    return hash.digest("hex")
  })

const sockets = () => process.getActiveResourcesInfo().filter((name) => /UDP|TCP/.test(name))
