/**
 * A relay's registration at its control server: a session that is kept for ever. Each session makes the key anew by which
 * the relay knows whom control let in; the last one stays good while there is no session.
 */
import { Duration, Effect, type Redacted } from "effect"
import { keepSession, rejection, type SessionOptions } from "../../directory/client/sessions.ts"
import type { DirectoryError } from "../../directory/DirectoryError.ts"
import type { Carrier } from "../../domain/Carrier.ts"
import { frameWidth } from "../../protocol/Alpn.ts"
import { MAX_STRANGER_MESSAGE_BYTES } from "../../protocol/Frame.ts"
import { receiveWithin, send } from "../../protocol/MessageStream.ts"
import * as Messages from "../../protocol/RelayControl.ts"
import { makeBoxKey } from "../../protocol/seal.ts"
import type { Connection } from "../../transport/Transport.ts"
import { ControlChanged, RelayError } from "../RelayError.ts"
import type { RelayMemory } from "./RelayMemory.ts"

export interface RegistrationOptions {
  /** The control server, for people. */
  readonly control: string
  /** What may carry the registration. */
  readonly controlCarriers: ReadonlyArray<Carrier>
  readonly connect: SessionOptions<unknown, never>["connect"]
  readonly token: Redacted.Redacted<string>
  /** Free text that clients see. */
  readonly metadata: string
  readonly buildVersion: string
  /** Where clients find this relay. */
  readonly addresses: Messages.AuthenticateRequest["addresses"]
  readonly carriers: Messages.AuthenticateRequest["carriers"]
  readonly serverCertificate: Uint8Array
  readonly memory: RelayMemory
}

/** Whether a relay is registered at the moment. */
export type RegistrationStatus =
  | { readonly _tag: "Connecting"; readonly wasOnline: boolean; readonly controlId: string | undefined }
  | { readonly _tag: "Online"; readonly controlId: string; readonly carrier: Carrier }

export interface Registration {
  readonly status: () => RegistrationStatus
  /** Who a blob of authentication lets in; undefined when control did not make it for this relay. */
  readonly open: (authentication: Uint8Array) => Messages.ClientAuthentication | undefined
  /** Keeps the registration. Fails when control will never take this relay. */
  readonly run: Effect.Effect<never, RelayError | DirectoryError>
}

const HELLO_DEADLINE = Duration.seconds(5)

export const makeRegistration = (options: RegistrationOptions): Registration => {
  const { control, memory } = options
  let sharedKey: Uint8Array | undefined
  let status: RegistrationStatus = { _tag: "Connecting", wasOnline: false, controlId: undefined }

  const hello = Effect.fnUntraced(function* (connection: Connection) {
    const remembered = yield* memory.recall
    const messages = { width: frameWidth("registration", connection.protocol), limit: MAX_STRANGER_MESSAGE_BYTES }
    const key = makeBoxKey()
    const { token, metadata, buildVersion, addresses, carriers, serverCertificate } = options
    const stream = yield* connection.open
    const request = {
      token,
      metadata,
      buildVersion,
      addresses,
      carriers,
      serverCertificate,
      reconnectToken: remembered?.reconnectToken ?? new Uint8Array(),
      authenticationKey: key.publicKey
    }
    yield* send(stream, Messages.authenticateRequest, request, messages)
    const answer = yield* receiveWithin(stream, Messages.authenticateResponse, messages, HELLO_DEADLINE)
    stream.end().resume()
    if (answer._tag === "Refused") return yield* Effect.fail(rejection(control, answer))
    const { controlId, reconnectToken, authenticationKey } = answer
    if (memory.lasting && remembered !== undefined && remembered.controlId !== controlId) {
      return yield* new RelayError({
        reason: new ControlChanged({ control, expected: remembered.controlId, found: controlId, path: memory.place })
      })
    }
    const shared = key.sharedWith(authenticationKey)
    if (shared === undefined) return yield* Effect.fail("the control server's authentication key is not one")
    yield* memory.remember({ controlId, reconnectToken })
    return { shared, controlId }
  })

  return {
    status: () => status,
    open: (authentication) => sharedKey && Messages.openAuthentication(sharedKey, authentication),
    run: keepSession({
      label: "control",
      name: control,
      carriers: options.controlCarriers,
      connect: options.connect,
      hello,
      online: ({ shared, controlId }, { carrier }) => {
        sharedKey = shared
        status = { _tag: "Online", controlId, carrier }
        return Effect.annotateLogs(Effect.logInfo("control.online"), { control, carrier, id: controlId })
      },
      offline: () =>
        Effect.sync(() => {
          status = { _tag: "Connecting", wasOnline: sharedKey !== undefined, controlId: status.controlId }
        })
    })
  }
}
